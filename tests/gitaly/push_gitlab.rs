//! Pushes and GitLab: what it is asked and told, what pushers read of it, and that it sees what is
//! pushed while it decides, and nobody else does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::{Arc, Mutex, OnceLock};

use gitring_daemon::client::{Address, Client};
use gitring_proto::gitaly::blob_service_client::BlobServiceClient;
use gitring_proto::gitaly::commit_service_client::CommitServiceClient;
use gitring_proto::gitaly::diff_service_client::DiffServiceClient;
use gitring_proto::gitaly::find_changed_paths_request::{Request as Asked, request};
use gitring_proto::gitaly::{
    CheckObjectsExistRequest, CommitIsAncestorRequest, FindChangedPathsRequest,
    ListAllBlobsRequest, ListAllCommitsRequest, ListAllLfsPointersRequest, ListCommitsRequest,
    Repository as Named,
};
use gitring_tests::git;
use gitring_tests::gitaly::{Door, dial, named, run};
use gitring_tests::gitlab::{Gitlab, Listens, Reply, Seen};
use gitring_tests::push::{Method, Push, ZERO};
use gitring_tests::shell::{Carrier, Shell};
use tonic::codegen::tokio_stream::iter;
use tonic::{Status, Streaming};

use super::push::Ground;

/// A pointer as git-lfs writes it.
const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 12345\n";

/// A stock client's push over SSH.
fn push(ground: &Ground, words: &[&str]) -> Output {
    let shell = Shell::start(&ground.node, Carrier::Messages);
    let mut command = shell.git(&ground.work);
    command.args(["push", "ssh://git@node/target.git"]).args(words);
    command.output().expect("git can be started")
}

/// What the pusher's terminal shows of the server, without the blanks that git puts at its end.
fn remote_lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = text.lines().filter_map(|line| line.strip_prefix("remote: "));
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// The string behind a key of a body, or of the JSON in its `env`.
fn field(seen: &Seen, key: &str) -> Option<String> {
    let body = seen.body.replace("\\\"", "\"");
    let (_, rest) = body.split_once(&format!("\"{key}\":\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

#[test]
fn an_allowed_push() {
    let gitlab = Gitlab::start(&Listens::Tcp, |seen| match &*seen.path {
        "/api/v4/internal/post_receive" => {
            let text = "the quick brown fox jumps over the lazy dog and over many other animals, \
                        too";
            let messages = format!(
                r#"[{{"type":"basic","message":"hello\nthere"}},
                    {{"type":"alert","message":"{text}"}}]"#
            );
            let counted = r#""reference_counter_decreased":true"#;
            Reply::Json(200, format!(r#"{{{counted},"messages":{messages}}}"#))
        }
        _ => seen.friendly(),
    });
    let ground = Ground::start(&gitlab.toml());
    ground.target.git(&["config", "receive.advertisePushOptions", "true"]);
    let words = ["-o", "ci.skip", "-o", "a b", "c1:refs/heads/main", "c0:refs/heads/b"];
    let output = push(&ground, &words);
    assert!(output.status.success(), "{}", git::describe(&words, &output));
    let rule = "=".repeat(72);
    let expected = [
        "",
        "hello",
        "there",
        "",
        "",
        &rule,
        "",
        "    the quick brown fox jumps over the lazy dog and over many other",
        "                              animals, too",
        "",
        &rule,
        "",
    ];
    let told = remote_lines(&output);
    assert_eq!(told[told.len() - expected.len()..], expected, "{told:#?}");
    assert_eq!(gitlab.endpoints(), ["allowed", "pre_receive", "post_receive"]);
    let seen = gitlab.seen();
    // Clients send commands in their own order.
    let lines = [
        format!("{ZERO} {} refs/heads/main\\n", ground.id("c1")),
        format!("{ZERO} {} refs/heads/b\\n", ground.id("c0")),
    ];
    for at in [0, 2] {
        let changes = field(&seen[at], "changes").unwrap_or_default();
        assert_eq!(changes.len(), lines.concat().len(), "{changes}");
        assert!(lines.iter().all(|line| changes.contains(line)), "{changes}");
    }
    let path = ground.target.path.canonicalize().expect("it is there");
    for (key, value) in [
        ("action", "git-receive-pack"),
        ("gl_repository", "project-1"),
        ("project", &*path.to_string_lossy()),
        ("protocol", "ssh"),
        ("relative_path", "target.git"),
        ("user_id", "1"),
    ] {
        assert_eq!(field(&seen[0], key).as_deref(), Some(value), "{key} in {}", seen[0].body);
    }
    let quarantine = field(&seen[0], "GIT_OBJECT_DIRECTORY_RELATIVE").unwrap_or_default();
    assert!(quarantine.starts_with("objects/"), "{quarantine}");
    assert!(
        seen[0].body.contains(r#"\"GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE\":[\"objects\"]"#),
        "{}",
        seen[0].body
    );
    assert_eq!(field(&seen[2], "identifier").as_deref(), Some("user-1"));
    assert!(seen[2].body.contains(r#""push_options":["ci.skip","a b"]"#), "{}", seen[2].body);
    ground.assert_clean();
}

/// A push that is refused, what the pusher reads, and which endpoints were asked.
fn check(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static, told: &str, asked: &[&str]) {
    let gitlab = Gitlab::start(&Listens::Tcp, reply);
    let ground = Ground::start(&gitlab.toml());
    let output = push(&ground, &["c2:refs/heads/main"]);
    let what = git::describe(&[told], &output);
    assert!(!output.status.success(), "{what}");
    assert_eq!(remote_lines(&output).join("\n"), told, "{what}");
    let rejected = "! [remote rejected] c2 -> main (pre-receive hook declined)";
    assert!(String::from_utf8_lossy(&output.stderr).contains(rejected), "{what}");
    assert_eq!(gitlab.endpoints(), asked, "{what}");
    assert_eq!((ground.refs(), ground.has(&ground.id("c2"))), (String::new(), false), "{what}");
    ground.assert_clean();
}

#[test]
fn refused_pushes() {
    let no = |status, body: &str| Reply::Json(status, body.to_owned());
    let denied = r#"{"status":false,"message":"You are not allowed.\nAsk somebody."}"#;
    let text = "GitLab: You are not allowed.\nAsk somebody.";
    check(move |_| no(200, denied), text, &["allowed"]);
    check(move |_| no(401, denied), text, &["allowed"]);
    let text = "GitLab: Internal API error (500)";
    check(move |_| Reply::Text(500, "text/html", "<p>".to_owned()), text, &["allowed"]);
    let uncounted = move |seen: &Seen| match seen.path.ends_with("/pre_receive") {
        true => no(200, r#"{"reference_counter_increased":false}"#),
        false => seen.friendly(),
    };
    check(uncounted, "", &["allowed", "pre_receive"]);
}

/// The push stays made; its pusher is told what went wrong.
#[test]
fn a_gitlab_that_cannot_be_told() {
    let gitlab = Gitlab::start(&Listens::Tcp, |seen| match seen.path.ends_with("/post_receive") {
        true => Reply::Json(500, "{}".to_owned()),
        false => seen.friendly(),
    });
    let ground = Ground::start(&gitlab.toml());
    write_hook(&ground, "post-receive", "");
    let pushed = run(async {
        let client = ground.client(Door::Unix).await;
        Push::whole(&client, Method::Http, "target.git", &ground.creation("c2")).await
    });
    assert!(pushed.reply.is_ok(), "{pushed:?}");
    let (text, report) = pushed.told();
    assert_eq!(report, ["unpack ok", "ok refs/heads/main"]);
    let words = "GitLab: http post to gitlab api /post_receive endpoint: Internal API error (500)";
    assert_eq!(text, words);
    assert_eq!(gitlab.endpoints(), ["allowed", "pre_receive", "post_receive"]);
    assert_eq!(field(&gitlab.seen()[0], "protocol").as_deref(), Some("http"));
    assert!(!ground.work.join("log").exists(), "hooks come behind GitLab");
    assert_eq!(ground.refs(), format!("refs/heads/main {}", ground.id("c2")));
}

/// What one who calls back gets to see of the newest commit.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    exists: bool,
    new: Vec<String>,
    all: bool,
    is_ancestor: bool,
    changed: Vec<String>,
    blob: bool,
    pointers: usize,
}

async fn gather<M>(reply: Result<tonic::Response<Streaming<M>>, Status>) -> Result<Vec<M>, Status> {
    let (mut stream, mut messages) = (reply?.into_inner(), Vec::new());
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

/// Looks at commit `new`, whose parent is `old`.
async fn look(client: &Client, repository: Named, (old, new): (&str, &str)) -> Sight {
    let repository = Some(repository);
    let mut commits = CommitServiceClient::new(client.clone());
    let mut blobs = BlobServiceClient::new(client.clone());
    let message = CheckObjectsExistRequest {
        repository: repository.clone(),
        revisions: vec![new.to_owned().into()],
    };
    let found = gather(commits.check_objects_exist(iter([message])).await).await.expect("known");
    let exists = found.iter().flat_map(|reply| &reply.revisions).any(|found| found.exists);
    let message = ListCommitsRequest {
        repository: repository.clone(),
        revisions: [new, "--not", "--all"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let listed = gather(commits.list_commits(message).await).await.unwrap_or_default();
    let ids = listed.into_iter().flat_map(|reply| reply.commits).map(|commit| commit.id);
    let message = ListAllCommitsRequest { repository: repository.clone(), ..Default::default() };
    let all = gather(commits.list_all_commits(message).await).await.expect("listed");
    let all = all.iter().flat_map(|reply| &reply.commits).any(|commit| commit.id == new);
    let message = CommitIsAncestorRequest {
        repository: repository.clone(),
        ancestor_id: old.to_owned(),
        child_id: new.to_owned(),
    };
    let is_ancestor = commits.commit_is_ancestor(message).await;
    let is_ancestor = is_ancestor.is_ok_and(|reply| reply.into_inner().value);
    let commit = request::CommitRequest { commit_revision: new.to_owned(), ..Default::default() };
    let requests = vec![Asked { r#type: Some(request::Type::CommitRequest(commit)) }];
    let message =
        FindChangedPathsRequest { repository: repository.clone(), requests, ..Default::default() };
    let mut diffs = DiffServiceClient::new(client.clone());
    let changed = gather(diffs.find_changed_paths(message).await).await.unwrap_or_default();
    let paths = changed.into_iter().flat_map(|reply| reply.paths);
    let message = ListAllBlobsRequest {
        repository: repository.clone(),
        bytes_limit: -1,
        ..Default::default()
    };
    let all_blobs = gather(blobs.list_all_blobs(message).await).await.expect("listed");
    let blob = all_blobs.iter().flat_map(|reply| &reply.blobs).any(|blob| blob.data == "new\n");
    let message = ListAllLfsPointersRequest { repository, ..Default::default() };
    let pointers = gather(blobs.list_all_lfs_pointers(message).await).await.expect("listed");
    Sight {
        exists,
        new: ids.collect(),
        all,
        is_ancestor,
        changed: paths.map(|path| String::from_utf8_lossy(&path.path).into_owned()).collect(),
        blob,
        pointers: pointers.iter().map(|reply| reply.lfs_pointers.len()).sum(),
    }
}

impl Sight {
    fn of_nothing() -> Self {
        Self {
            exists: false,
            new: Vec::new(),
            all: false,
            is_ancestor: false,
            changed: Vec::new(),
            blob: false,
            pointers: 0,
        }
    }
}

/// What a GitLab saw that looked while it was asked: with the quarantine, and without.
type Sights = Arc<Mutex<Vec<(Sight, Sight)>>>;

/// A GitLab that looks at what is pushed to `target.git` before it answers like this.
fn curious(
    ids: Arc<OnceLock<(Address, String, String)>>,
    sights: Sights,
    body: &'static str,
) -> Gitlab {
    Gitlab::start(&Listens::Tcp, move |seen| {
        if !seen.path.ends_with("/allowed") {
            return seen.friendly();
        }
        let Some((address, old, new)) = ids.get() else { return Reply::Hangup };
        let quarantine = field(seen, "GIT_OBJECT_DIRECTORY_RELATIVE").unwrap_or_default();
        let sight = run(async {
            let client = dial(address, Door::Tcp, "").await;
            let plain = named("target.git").expect("a repository");
            let within = Named {
                git_object_directory: quarantine,
                git_alternate_object_directories: vec!["objects".to_owned()],
                ..plain.clone()
            };
            (look(&client, within, (old, new)).await, look(&client, plain, (old, new)).await)
        });
        sights.lock().expect("nobody panics with it").push(sight);
        Reply::Json(200, body.to_owned())
    })
}

#[test]
fn gitlab_sees_what_is_pushed_while_it_decides() {
    for (body, is_allowed) in
        [(r#"{"status":true,"message":""}"#, true), (r#"{"status":false,"message":"no"}"#, false)]
    {
        let (ids, sights) = (Arc::default(), Sights::default());
        let gitlab = curious(Arc::clone(&ids), Arc::clone(&sights), body);
        let ground = Ground::start(&gitlab.toml());
        ground.target.git(&["fetch", "-q", &ground.work.to_string_lossy(), "c2:refs/heads/main"]);
        git::run(&ground.work, &["checkout", "-q", "-f", "main"]);
        for (name, content) in [("new", "new\n"), ("pointer", POINTER)] {
            fs::write(ground.work.join(name), content).expect("a file can be written");
        }
        git::run(&ground.work, &["add", "new", "pointer"]);
        git::run(&ground.work, &["commit", "-q", "-m", "new"]);
        let (old, new) = (ground.id("c2"), ground.id("main"));
        let address = Door::Tcp.address(&ground.node);
        ids.set((address, old.clone(), new.clone())).expect("once");
        let words = ["main:refs/heads/main"];
        let output = push(&ground, &words);
        assert_eq!(output.status.success(), is_allowed, "{}", git::describe(&words, &output));
        let whole = Sight {
            exists: true,
            new: vec![new.clone()],
            all: true,
            is_ancestor: true,
            changed: vec!["new".to_owned(), "pointer".to_owned()],
            blob: true,
            pointers: 1,
        };
        let seen = std::mem::take(&mut *sights.lock().expect("nobody panics with it"));
        assert_eq!(seen, [(whole, Sight::of_nothing())]);
        let later = run(async {
            let client = ground.client(Door::Unix).await;
            look(&client, named("target.git").expect("a repository"), (&old, &new)).await
        });
        assert_eq!((later.exists, later.all, later.blob), (is_allowed, is_allowed, is_allowed));
        ground.assert_clean();
    }
}

/// A hook that writes its name, environment and input down.
fn write_hook(ground: &Ground, path: &str, ending: &str) {
    let path = ground.target.path.join("custom_hooks").join(path);
    fs::create_dir_all(path.parent().expect("it has one")).expect("a folder can be made");
    let log = ground.work.join("log");
    let script = format!(
        "#!/bin/sh\n{{ echo \"== ${{0##*/}} $*\"; env | grep -E '^(GL_|GIT_PUSH_|GIT_QUARANTINE)' \
         | sed 's/=.*incoming.*/=…/;s/=.*objects.*/=…/' | sort; cat; }} >>'{}' \n{ending}\n",
        log.display()
    );
    fs::write(&path, script).expect("a hook can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
}

#[test]
fn custom_hooks_come_in_order() {
    let gitlab = Gitlab::friendly(&Listens::Tcp);
    let ground = Ground::start(&gitlab.toml());
    ground.target.git(&["config", "receive.advertisePushOptions", "true"]);
    for (path, ending) in [
        ("pre-receive", "echo 'hear me'"),
        ("pre-receive.d/second", ""),
        ("update", ""),
        ("post-receive", "echo failing >&2; exit 1"),
        ("post-receive.d/never", ""),
    ] {
        write_hook(&ground, path, ending);
    }
    let output = push(&ground, &["-o", "x=y", "c2:refs/heads/main"]);
    assert!(output.status.success(), "{}", git::describe(&["push"], &output));
    assert_eq!(remote_lines(&output), ["hear me", "failing"]);
    let log = fs::read_to_string(ground.work.join("log")).expect("hooks have run");
    let id = ground.id("c2");
    let who = "GL_ID=user-1\nGL_PROJECT_PATH=group/project\nGL_PROTOCOL=ssh\n\
               GL_REPOSITORY=project-1\nGL_USERNAME=alice\n";
    let options = "GIT_PUSH_OPTION_0=x=y\nGIT_PUSH_OPTION_COUNT=1\n";
    let (quarantined, change) =
        ("GIT_QUARANTINE_PATH=…\n", format!("{ZERO} {id} refs/heads/main\n"));
    let expected = format!(
        "== pre-receive \n{options}{quarantined}{who}{change}\
         == second \n{options}{quarantined}{who}{change}\
         == update refs/heads/main {ZERO} {id}\n{quarantined}{who}\
         == post-receive \n{options}{who}{change}"
    );
    assert_eq!(log, expected);
    assert_eq!(gitlab.endpoints(), ["allowed", "pre_receive", "post_receive"]);
    assert!(ground.node.log().contains("post-receive hook failed"), "{}", ground.node.log());
}
