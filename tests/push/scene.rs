//! One scenario's repositories and client: a server repository in a room of its own, a clone that
//! pushes to it, and the transcript of what the client printed.
//!
//! Always true:
//! - Every scene begins with the same repository and the same clone, whoever serves.
//! - Nothing in a transcript depends on where the scene lies: paths and URLs are cut out.
//!
//! Never here: expectations; stock git gives them.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use gitring_tests::client::Served;
use gitring_tests::git;
use gitring_tests::history::{Stream, write};
use gitring_tests::repository::Repository;
use tempfile::TempDir;

use super::remains;

/// What scenes begin with: `server.git` and `clone`, a clone of it with a work tree.
#[derive(Debug)]
pub(crate) struct Template(TempDir);

/// One scenario with one server.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    served: Served<'a>,
    version: u8,
    /// Holds the server's repositories: a folder of the storage.
    room: PathBuf,
    /// What URLs of the room begin with.
    base: String,
    /// Holds what is the client's.
    folder: TempDir,
    transcript: RefCell<String>,
}

// === impl Template ===

impl Template {
    /// Three commits on `main`, two more on `topic`, an annotated tag, a light one.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bare = ["init", "-q", "--bare", "--template=", "-b", "main", "server.git"];
        git::run(folder.path(), &bare);
        let mut s = Stream::new(51);
        let readme = s.text(40);
        let mut tip = s.commit("refs/heads/main", &[], &[write("README", readme)]);
        s.tag("v1", tip);
        for path in ["src/a.txt", "src/deep/b.txt"] {
            tip = s.commit_text("refs/heads/main", &[tip], path);
        }
        s.reset("refs/tags/light", tip);
        let topic = s.commit_text("refs/heads/topic", &[tip], "topic.txt");
        s.commit_text("refs/heads/topic", &[topic], "topic.txt");
        let server = Repository { path: folder.path().join("server.git") };
        server.import(&s.finish());
        let from = server.path.to_string_lossy().into_owned();
        git::run(folder.path(), &["clone", "-q", "--template=", &from, "clone"]);
        git::run(&folder.path().join("clone"), &["branch", "-q", "topic", "origin/topic"]);
        Self(folder)
    }
}

// === impl Scene ===

impl<'a> Scene<'a> {
    /// A scene in a new folder `number` of the served storage.
    pub(crate) fn new(
        template: &Template,
        served: Served<'a>,
        (storage, number): (&Path, usize),
        version: u8,
    ) -> Self {
        let room = storage.join(number.to_string());
        fs::create_dir(&room).expect("a room is new");
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, target) in [("server.git", &*room), ("clone", folder.path())] {
            copy(&template.0.path().join(name), &target.join(name));
        }
        let base = match served {
            Served::Stock(_) | Served::Stdio(_) => format!("file://{}/", room.display()),
            Served::StockHttp(server) => server.url(&format!("{number}/")),
            Served::Gateway(node) => node.url(&format!("{number}/")),
        };
        let scene = Self { served, version, room, base, folder, transcript: RefCell::default() };
        scene.turn_to("server");
        scene
    }

    /// Who serves.
    pub(crate) fn served(&self) -> Served<'a> {
        self.served
    }

    /// Whether hooks of the repository run, and its environment is the client's.
    pub(crate) fn is_piped(&self) -> bool {
        self.served.is_piped()
    }

    /// The folder of the server's repositories.
    pub(crate) fn room(&self) -> &Path {
        &self.room
    }

    /// `server.git`
    pub(crate) fn server(&self) -> Repository {
        self.repository("server")
    }

    /// A repository of the room, which may have to be made.
    pub(crate) fn repository(&self, name: &str) -> Repository {
        Repository { path: self.room.join(format!("{name}.git")) }
    }

    /// Every repository of the room, by name.
    pub(crate) fn repositories(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.room).expect("a room can be listed");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    }

    /// The folder of the client's clone.
    pub(crate) fn clone_folder(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    /// The URL of a repository of the room.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}{name}.git", self.base)
    }

    /// Points the clone's `origin` at another repository of the room.
    pub(crate) fn turn_to(&self, name: &str) {
        self.git(&["remote", "set-url", "origin", &self.url(name)]);
    }

    /// Runs git in the clone; it must succeed.
    pub(crate) fn git(&self, words: &[&str]) -> String {
        git::run(&self.clone_folder(), words)
    }

    /// Writes a file of the clone.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.clone_folder().join(path);
        fs::create_dir_all(path.parent().expect("below the clone")).expect("a folder can be made");
        fs::write(path, content).expect("a file can be written");
    }

    /// A commit in the clone that adds a file named like its message.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.write(message, format!("{message}\n").repeat(20));
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A hook, of the server where `folder` is its git directory.
    pub(crate) fn hook(&self, folder: &Path, name: &str, script: &str) {
        let hooks = folder.join("hooks");
        fs::create_dir_all(&hooks).expect("a folder can be made");
        let path = hooks.join(name);
        // Written by a child, so that no sibling that forks meanwhile holds it open for writing.
        let text = format!("#!/bin/sh\n{script}\n");
        let mut cp = std::process::Command::new("sh");
        cp.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(&path);
        cp.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        cp.stderr(std::process::Stdio::piped());
        assert!(git::feed(cp, text.as_bytes()).status.success(), "write {name}");
        let mode = fs::metadata(&path).expect("the hook is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    /// `git push --porcelain <words>`, whose outcome goes to the transcript.
    pub(crate) fn push(&self, words: &[&str]) -> bool {
        self.push_with(&[], words)
    }

    /// The same with settings of the client, as `key=value`.
    pub(crate) fn push_with(&self, settings: &[&str], words: &[&str]) -> bool {
        let output = self.run(settings, &[&["push", "--porcelain"], words].concat());
        self.note(&format!("push {words:?} {settings:?}"), &output);
        output.status.success()
    }

    /// Any command of the client that talks to the server; how it ended goes to the transcript.
    pub(crate) fn client(&self, words: &[&str]) {
        let output = self.run(&[], words);
        self.note(&format!("{words:?}"), &output);
    }

    /// Adds a line to the transcript.
    pub(crate) fn say(&self, text: &str) {
        let text = self.without_places(text);
        self.transcript.borrow_mut().push_str(&format!("{text}\n"));
    }

    /// What was printed so far.
    pub(crate) fn transcript(&self) -> String {
        self.transcript.borrow().clone()
    }

    /// The file that tells that a server was started for this scene.
    pub(crate) fn started(&self) -> PathBuf {
        self.folder.path().join("started")
    }

    fn note(&self, title: &str, output: &Output) {
        let code = output.status.code();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        self.say(&format!("== {title}: {code:?}\n{stdout}--\n{}", last_words(&stderr)));
    }

    fn run(&self, settings: &[&str], words: &[&str]) -> Output {
        let mut all = vec![
            format!("protocol.version={}", self.version),
            "maintenance.auto=false".to_owned(),
            "gc.auto=0".to_owned(),
            "advice.pushUpdateRejected=false".to_owned(),
            "pack.threads=1".to_owned(),
        ];
        for service in ["upload-pack", "receive-pack"] {
            if let Some(line) = self.served.script(self.folder.path(), service) {
                let key = service.replace('-', "");
                all.push(format!("remote.origin.{key}={line}"));
            }
        }
        all.extend(settings.iter().map(|&setting| setting.to_owned()));
        let mut command = git::command(&self.clone_folder());
        command.args(all.iter().flat_map(|setting| ["-c", setting])).args(words);
        command.stdin(std::process::Stdio::null());
        command.output().expect("git can be started")
    }

    fn without_places(&self, text: &str) -> String {
        let text = text.replace(&self.base, "<room>/");
        let text = text.replace(&*self.room.to_string_lossy(), "<room>");
        let text = remains::without_quarantine(&text);
        // git 2.41 has another word for it, which is ours.
        text.replace("refusing to create funny ref", "refusing to update funny ref")
    }
}

/// Progress shows how it ended: what was overwritten on a terminal is gone.
fn last_words(text: &str) -> String {
    // Advice for whoever sits at the server.
    let text = text.split("remote: \nremote: Another git process seems").enumerate();
    let text: String = text
        .map(|(at, part)| match at {
            0 => part,
            _ => part.split_once("to continue.        \n").map_or("", |(_, rest)| rest),
        })
        .collect();
    // So is this; it is said beside the conversation.
    let aside = ["error: hooks/", "error: Could not read "];
    let lines = text.split('\n').filter(|line| !aside.iter().any(|one| line.starts_with(one)));
    let lines = lines.map(|line| {
        let line = line.trim_end_matches('\r');
        let line = line.rsplit('\r').find(|part| part.trim() != "remote:").unwrap_or(line);
        // Progress of the client, with its speed.
        let is_speed = line.starts_with("Writing objects: ");
        let line = line.split_once(", ").filter(|_| is_speed).map_or(line, |(front, _)| front);
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.expect("cp can be started").success(), "copy {}", from.display());
}
