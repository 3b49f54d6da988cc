//! Whole pushes beside `git receive-pack --stateless-rpc`: the same bytes to two copies of one
//! repository, then reports, messages, refs and objects are compared.

mod packs;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::objects::tests::fixture::{Fixture, git_in};

/// A repository to push to, and one that has more.
struct Scene {
    target: Fixture,
    source: Fixture,
}

/// What a push left.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    report: String,
    messages: Vec<String>,
    refs: String,
    fsck: String,
}

// === impl Scene ===

impl Scene {
    /// `main` has 20 commits in the target and 26 in the source, which also has `side`, that left
    /// `main` at the tenth, and `other`, a history of its own.
    fn new() -> Self {
        let (target, source) = (Fixture::empty(), Fixture::empty());
        source.import("main", 1, 26);
        source.import("other", 2, 4);
        source.git(&["update-ref", "refs/heads/old", "main~6"]);
        let side = "commit refs/heads/side\ncommitter C <c@example.org> 1600002000 +0000\ndata 4\n\
                    side\nfrom refs/heads/main~16\nM 644 inline side\ndata 4\nside\n";
        source.git_with(&["fast-import", "--quiet"], side.as_bytes());
        source.git(&["tag", "-a", "-m", "t", "v1", "main"]);
        let from = format!("file://{}", source.dir.path().display());
        target.git(&["fetch", "-q", &from, "refs/heads/old:refs/heads/main"]);
        target.git(&["update-ref", "refs/heads/topic", "main~2"]);
        target.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/topic"]);
        Self { target, source }
    }

    /// `main>main~1` in the target's and the source's names; `-` for none.
    fn command(&self, text: &str) -> String {
        let (name, values) = text.split_once(' ').unwrap();
        let (old, new) = values.split_once('>').unwrap();
        let value = |fixture: &Fixture, text: &str| match text {
            "-" => NULL.to_owned(),
            "?" => "7777777777777777777777777777777777777777".to_owned(),
            revision => fixture.id(revision).to_string(),
        };
        let (old, new) = (value(&self.target, old), value(&self.source, new));
        format!("{old} {new} {name}")
    }

    /// The request of a client that pushes `commands`, with a pack of what `objects` names.
    fn request(&self, features: &str, commands: &[&str], objects: Option<&str>) -> Vec<u8> {
        let mut request = Vec::new();
        for (number, command) in commands.iter().enumerate() {
            let features = if number == 0 { format!("\0 {features}") } else { String::new() };
            pkt_line::push_text(&mut request, format_args!("{}{features}", self.command(command)));
        }
        request.extend_from_slice(pkt_line::FLUSH);
        if let Some(objects) = objects {
            // Deltas have their bases in the pack, so that it is taken whatever the target lacks.
            let input = objects.replace(' ', "\n");
            let pack = ["pack-objects", "-q", "--revs", "--stdout"];
            request.extend(self.source.git_with(&pack, format!("{input}\n").as_bytes()));
        }
        request
    }

    fn check_bytes(&self, config: &[&str], request: &[u8], case: &str) -> Left {
        for setting in config {
            let (key, value) = setting.split_once('=').unwrap();
            self.target.git(&["config", "--add", key, value]);
        }
        let copies = tempfile::tempdir().unwrap();
        let [theirs, ours] = ["theirs", "ours"].map(|name| copies.path().join(name));
        for copy in [&theirs, &ours] {
            let copied =
                Command::new("cp").arg("-a").arg(self.target.dir.path()).arg(copy).status();
            assert!(copied.unwrap().success());
        }
        let expected = left(&theirs, &stock(&theirs, request));
        let actual = left(&ours, &driver::push(&ours, request));
        assert_eq!(actual, expected, "{case}");
        actual
    }

    fn check(&self, config: &[&str], commands: &[&str], objects: Option<&str>, expected: &str) {
        // Where something is refused early, atomic pushes differ on purpose: see below.
        let early = ["broken symref", "missing necessary objects"];
        let is_early = early.iter().any(|reason| expected.contains(reason));
        let features = ["report-status side-band-64k", "report-status-v2 atomic side-band-64k"];
        for features in &features[..if is_early { 1 } else { 2 }] {
            let request = self.request(features, commands, objects);
            let left = self.check_bytes(config, &request, &format!("{commands:?} {features}"));
            if !features.contains("atomic") {
                assert_eq!(left.report, expected, "{commands:?}");
            }
        }
    }
}

fn stock(git_dir: &Path, request: &[u8]) -> Vec<u8> {
    let mut git = Command::new("git");
    git.args(["receive-pack", "--stateless-rpc", "."]).current_dir(git_dir);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/none").env("LC_ALL", "C");
    git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut git = git.spawn().unwrap();
    let mut stdin = git.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(request)));
        git.wait_with_output().unwrap().stdout
    })
}

/// Report and messages out of what a client was told, and what the repository is now.
fn left(git_dir: &Path, told: &[u8]) -> Left {
    let (mut report, mut progress, mut rest) = (Vec::new(), Vec::new(), told);
    while let Ok(Decoded::Packet { packet, length_bytes }) = pkt_line::decode(rest) {
        match packet {
            Packet::Data([1, data @ ..]) => report.extend_from_slice(data),
            Packet::Data([2, data @ ..]) => progress.extend_from_slice(data),
            Packet::Data(line) => pkt_line::push(&mut report, line),
            Packet::Flush | Packet::Delimiter | Packet::ResponseEnd => {
                report.extend_from_slice(b"0000")
            }
        }
        rest = &rest[length_bytes..];
    }
    // What children say, and how a funny ref or a gap is called, differs between versions of git.
    let is_compared = |line: &&str| {
        ["error: ", "warning: "].iter().any(|start| line.starts_with(start))
            && !["funny", "missing", "bad", "index-pack", "unpack", "cannot lock", "Could not"]
                .iter()
                .any(|word| line.contains(word))
    };
    let progress = String::from_utf8_lossy(&progress).into_owned();
    Left {
        report: shown(&report),
        messages: progress.lines().filter(is_compared).map(str::to_owned).collect(),
        refs: String::from_utf8(git_in(git_dir, &["for-each-ref"], b"")).unwrap(),
        fsck: fsck(git_dir),
    }
}

/// What is wrong with a repository.
fn fsck(git_dir: &Path) -> String {
    let mut git = Command::new("git");
    git.args(["fsck", "--no-dangling"]).current_dir(git_dir).env("HOME", "/none");
    let output = git.output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

const FORWARD: &str = "refs/heads/main main>main";

#[test]
fn branches_and_tags_come_and_go() {
    let scene = Scene::new();
    let pack = Some("main ^old");
    scene.check(&[], &[FORWARD], pack, "[unpack ok][ok refs/heads/main]00000000");
    scene.check(
        &[],
        &[FORWARD, "refs/tags/v1 ->v1", "refs/heads/topic topic>-", "refs/heads/new ->main~1"],
        Some("main v1 ^old"),
        "[unpack ok][ok refs/heads/main][ok refs/tags/v1][ok refs/heads/topic][ok refs/heads/new]\
         00000000",
    );
    let gone = "[unpack ok][ok refs/heads/gone]00000000";
    scene.check(&[], &["refs/heads/gone ->-"], None, gone);
    scene.check(&[], &["refs/heads/gone ?>-"], None, gone);
    scene.check(&[], &["refs/heads/x ->old"], Some(""), "[unpack ok][ok refs/heads/x]00000000");
    scene.check(
        &["transfer.unpackLimit=1"],
        &[FORWARD],
        pack,
        "[unpack ok][ok refs/heads/main]00000000",
    );
}

#[test]
fn single_refs_are_refused_in_gits_words() {
    let scene = Scene::new();
    let stale = "refs/heads/topic main>main";
    let refused = |reason: &str| format!("[unpack ok][ng {reason}]00000000");
    scene.check(
        &[],
        &[stale],
        Some("main ^old"),
        &refused("refs/heads/topic failed to update ref"),
    );
    for name in ["refs/heads/a..b", "refs/heads/x.lock", "HEAD", "refs/one", "refs/../../x", ""] {
        let command = format!("{name} ->main");
        let expected = refused(&format!("{name} funny refname"));
        scene.check(&[], &[&command], Some("main ^old"), &expected);
    }
    scene.check(
        &[],
        &["refs/heads/main main>-"],
        None,
        &refused("refs/heads/main deletion of the current branch prohibited"),
    );
    scene.check(
        &["receive.denyDeletes=true", "receive.hideRefs=refs/secret"],
        &["refs/heads/topic topic>-", "refs/secret/a ->-", "refs/secret/b ->old"],
        Some(""),
        "[unpack ok][ng refs/heads/topic deletion prohibited][ng refs/secret/a deny deleting a \
         hidden ref][ng refs/secret/b deny updating a hidden ref]00000000",
    );
}

#[test]
fn an_atomic_push_is_all_or_nothing() {
    let scene = Scene::new();
    scene.target.git(&["config", "receive.hideRefs", "refs/secret"]);
    let commands = [FORWARD, "refs/secret/a ->old"];
    let request = scene.request("report-status atomic", &commands, Some("main ^old"));
    let left = left(scene.target.dir.path(), &driver::push(scene.target.dir.path(), &request));
    // git would update the branch.
    let expected = "[unpack ok][ng refs/heads/main atomic push failure][ng refs/secret/a deny \
                    updating a hidden ref]0000";
    assert_eq!(left.report, expected);
    assert_eq!(scene.target.id("main"), scene.source.id("old"));
}

#[test]
fn non_fast_forwards_are_refused_where_configured() {
    let scene = Scene::new();
    let config = &["receive.denyNonFastForwards=true"];
    let forced = "refs/heads/main main>side";
    let objects = Some("side ^old");
    scene.check(&[], &[forced], objects, "[unpack ok][ok refs/heads/main]00000000");
    let refused = "[unpack ok][ng refs/heads/main non-fast-forward]00000000";
    scene.check(config, &[forced], objects, refused);
    scene.check(config, &[FORWARD], Some("main ^old"), "[unpack ok][ok refs/heads/main]00000000");
    scene.check(
        config,
        &["refs/heads/main ?>main", "refs/tags/v ->side"],
        Some("main side ^old"),
        "[unpack ok][ng refs/heads/main bad ref][ok refs/tags/v]00000000",
    );
}

#[test]
fn symbolic_refs_are_updated_once() {
    let scene = Scene::new();
    scene.target.git(&["symbolic-ref", "refs/heads/round", "refs/heads/round"]);
    scene.target.git(&["symbolic-ref", "refs/heads/early", "refs/heads/unborn"]);
    let pack = Some("main ^old");
    scene.check(
        &[],
        &["refs/heads/alias topic>main", "refs/heads/topic topic>main"],
        pack,
        "[unpack ok][ok refs/heads/alias][ok refs/heads/topic]00000000",
    );
    scene.check(
        &[],
        &["refs/heads/alias topic>main"],
        pack,
        "[unpack ok][ok refs/heads/alias]00000000",
    );
    let inconsistent = "inconsistent aliased update";
    scene.check(
        &[],
        &["refs/heads/alias topic>main~1", "refs/heads/topic topic>main"],
        pack,
        &format!(
            "[unpack ok][ng refs/heads/alias {inconsistent}][ng refs/heads/topic {inconsistent}]00000000"
        ),
    );
    scene.check(
        &[],
        &["refs/heads/early ->main", "refs/heads/unborn ->main~1"],
        pack,
        &format!(
            "[unpack ok][ng refs/heads/early {inconsistent}][ng refs/heads/unborn {inconsistent}]00000000"
        ),
    );
    scene.check(
        &[],
        &["refs/heads/round ->main", "refs/heads/fine ->main"],
        pack,
        "[unpack ok][ng refs/heads/round broken symref][ok refs/heads/fine]00000000",
    );
}

#[test]
fn a_work_trees_branch_is_guarded() {
    let scene = Scene::new();
    scene.target.git(&["config", "core.bare", "false"]);
    let checked_out = "[unpack ok][ng refs/heads/main branch is currently checked out]00000000";
    scene.check(&[], &[FORWARD], Some("main ^old"), checked_out);
    scene.check(
        &[],
        &["refs/heads/new ->main"],
        Some("main ^old"),
        "[unpack ok][ok refs/heads/new]00000000",
    );
    let refuse = &["receive.denyCurrentBranch=refuse"];
    scene.check(refuse, &[FORWARD], Some("main ^old"), checked_out);
    let warn = &["receive.denyCurrentBranch=warn", "receive.denyDeleteCurrent=warn"];
    scene.check(warn, &[FORWARD], Some("main ^old"), "[unpack ok][ok refs/heads/main]00000000");
    scene.check(&[], &["refs/heads/main main>-"], None, "[unpack ok][ok refs/heads/main]00000000");
}

#[test]
fn without_bands_and_reports_less_is_said() {
    let scene = Scene::new();
    for (features, expected) in [
        ("report-status", "[unpack ok][ok refs/heads/main]0000"),
        ("side-band-64k", "0000"),
        ("", ""),
    ] {
        let request = scene.request(features, &[FORWARD], Some("main ^old"));
        assert_eq!(scene.check_bytes(&[], &request, features).report, expected);
    }
}
