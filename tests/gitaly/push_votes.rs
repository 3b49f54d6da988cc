//! Votes on pushes: hash for hash and in the order in which Gitaly 16.7 was seen to cast them, and
//! what becomes of a push that is not carried.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use gitring_daemon::client::Client;
use gitring_proto::gitaly::vote_transaction_request::Phase::{
    self, CommittedPhase, PreparedPhase, SynchronizedPhase,
};
use gitring_tests::gitaly::{Door, run};
use gitring_tests::push::{CAPABILITIES, Method, Push, Pushed, ZERO, commands, pack};
use gitring_tests::voter::{Answer, Voter};
use tonic::{Code, Status};

use super::push::{Ground, OPEN};

const PRE_RECEIVE: &str = "7475a0d87cbbee23b9a7e8ccde58a494db01611f";
const UPDATE: &str = "959087c30d483e52b9e8574a4bd58c4cd7070692";
const POST_RECEIVE: &str = "17709ba9f26ecc0b0109e3015ed9e824792841fb";
/// `main` is made of `c0`, and HEAD points to it.
const CREATION: &str = "524533a24add8ed0281345bb0d2030f498e426f2";

const C0: &str = "52afc8c609ea25cec6ddf16d432af63e5d3e6a1a";
const C1: &str = "7a63920df539886e21615395dbe0d86e488f4272";
const C2: &str = "008eb77fd8d813bfe07ff6e44aeb695046d85e39";

/// One push of these commands, `old new ref` each.
async fn push(
    client: &Client,
    ground: &Ground,
    (method, is_primary): (Method, bool),
    (capability, lines): (&str, &[&str]),
) -> Pushed {
    let mut bytes = commands(lines, &format!("{CAPABILITIES} {capability}"));
    if lines.iter().any(|line| line.split(' ').nth(1) != Some(ZERO)) {
        bytes.extend(pack(&ground.work, &["c2"]));
    }
    let began = Push::begin(client, method, "target.git", Some(is_primary)).await;
    let mut push = began.expect("the call begins");
    push.send(&bytes).await;
    push.finish_writing();
    push.end().await
}

/// What Gitaly voted: with its phase each.
fn votes(list: &[(Phase, &str)]) -> Vec<(String, Phase)> {
    list.iter().map(|(phase, hash)| ((*hash).to_owned(), *phase)).collect()
}

/// The votes around those on refs.
fn around(refs: &[(Phase, &str)]) -> Vec<(String, Phase)> {
    let mut list = vec![(SynchronizedPhase, PRE_RECEIVE)];
    list.extend_from_slice(refs);
    list.extend([(SynchronizedPhase, POST_RECEIVE), (CommittedPhase, ZERO)]);
    votes(&list)
}

#[test]
fn pushes_are_voted_on_as_gitaly_does() {
    let (update, prepared, committed) = (SynchronizedPhase, PreparedPhase, CommittedPhase);
    let (main, other) = ("refs/heads/main", "refs/heads/b");
    let created = format!("{ZERO} {C0} {main}");
    let (updated, branch) = (format!("{C0} {C1} {main}"), format!("{ZERO} {C0} {other}"));
    let (both, last) = (format!("{C1} {C2} {main}"), format!("{C0} {C1} {other}"));
    let deleted = format!("{C1} {ZERO} {other}");
    for method in [Method::Ssh, Method::Http] {
        for is_primary in [true, false] {
            let (ground, voter) = (Ground::start(OPEN), Voter::default());
            let how = (method, is_primary);
            run(async {
                let client = voter.connect(&ground.node, Door::Mux).await;
                let check = async |what: (&str, &[&str]), expected: &[(Phase, &str)]| {
                    let pushed = push(&client, &ground, how, what).await;
                    assert!(pushed.reply.is_ok(), "{how:?} {what:?}: {pushed:?}");
                    assert_eq!(voter.votes(), around(expected), "{how:?} {what:?}: {pushed:?}");
                };
                let refs = |hash| [(update, UPDATE), (prepared, hash), (committed, hash)];
                check(("", &[&created]), &refs(CREATION)).await;
                let expected = [
                    refs("7d0e09a465f905a6611ddef90dc1e0f9bb5f1bc5"),
                    refs("219b6b8406260fd7068f3f2bef55470d42712399"),
                ];
                check(("", &[&updated, &branch]), &expected.concat()).await;
                let atomic = refs("7f36c00098c024160b5ef10f8a780ff263b87699");
                let expected = [&[(update, UPDATE)], &atomic[..]].concat();
                // Clients send commands in the order of what is advertised.
                check(("atomic", &[&last, &both]), &expected).await;
                let expected = refs("67f30e059da8817b43e22edb694d1fa26619f19c");
                check(("", &[&deleted]), &expected).await;
                assert_eq!(voter.stops(), 0);
            });
            assert_eq!(ground.refs(), format!("{main} {C2}"), "{how:?}");
            ground.assert_clean();
        }
    }
}

/// A hook that leaves a mark, and ends like this.
fn write_hook(ground: &Ground, name: &str, ending: &str) {
    let folder = ground.target.path.join("custom_hooks");
    fs::create_dir_all(&folder).expect("a folder can be made");
    let path = folder.join(name);
    let mark = ground.work.join(name);
    fs::write(&path, format!("#!/bin/sh\ntouch '{}'\n{ending}\n", mark.display())).expect("a hook");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
}

/// What a push that creates `main` comes to where votes are answered like this.
struct Outcome<'a> {
    report: &'a str,
    text: &'a str,
    votes: usize,
    is_there: bool,
    reply: Result<(), (Code, &'a str)>,
}

async fn check(answers: &[Answer], expected: Outcome<'_>) {
    for is_primary in [true, false] {
        let (ground, voter) = (Ground::start(OPEN), Voter::default());
        let client = voter.connect(&ground.node, Door::Mux).await;
        voter.answer(answers);
        let line = format!("{ZERO} {C0} refs/heads/main");
        let pushed = push(&client, &ground, (Method::Ssh, is_primary), ("", &[&line])).await;
        let what = format!("{answers:?} {is_primary} {pushed:?}");
        let (text, report) = pushed.told();
        assert_eq!(report, ["unpack ok", expected.report], "{what}");
        assert_eq!(text, expected.text, "{what}");
        let reply = pushed.reply.as_ref().copied();
        let of = |status: &Status| (status.code(), status.message().to_owned());
        let owned = expected.reply.map_err(|(code, text)| (code, text.to_owned()));
        assert_eq!(reply.map_err(of), owned, "{what}");
        assert_eq!(voter.votes().len(), expected.votes, "{what}");
        assert_eq!(!ground.refs().is_empty(), expected.is_there, "{what}");
        assert_eq!(ground.has(C0), expected.is_there, "{what}");
        ground.assert_clean();
    }
}

#[test]
fn what_is_not_carried_does_not_happen() {
    use Answer::{Abort, Commit, Fail, Late, Stop};
    run(async {
        let declined = |votes| Outcome {
            report: "ng refs/heads/main pre-receive hook declined",
            text: "",
            votes,
            is_there: false,
            reply: Ok(()),
        };
        check(&[Abort], declined(2)).await;
        check(&[Stop], declined(2)).await;
        check(&[Fail(Code::NotFound)], declined(2)).await;
        let report = "ng refs/heads/main hook declined";
        let text = "error: hook declined to update refs/heads/main\n";
        check(&[Commit, Abort], Outcome { report, text, ..declined(3) }).await;
        let failed = |votes| Outcome {
            report: "ng refs/heads/main failed to update ref",
            text: "error: ref updates aborted by hook\n",
            ..declined(votes)
        };
        check(&[Commit, Commit, Abort], failed(4)).await;
        check(&[Commit, Commit, Stop], failed(4)).await;
        let report = "ok refs/heads/main";
        let there = || Outcome { report, is_there: true, ..declined(6) };
        // What is visible stays; whoever counts repairs it.
        check(&[Commit, Commit, Commit, Abort], there()).await;
        check(&[Commit, Commit, Late(Duration::from_millis(300))], there()).await;
        let aborted = "final transactional vote: transaction was aborted";
        let reply = Err((Code::Aborted, aborted));
        let last = [Commit, Commit, Commit, Commit, Commit, Abort];
        check(&last, Outcome { reply, ..there() }).await;
        let last = [Commit, Commit, Commit, Commit, Commit, Stop];
        check(&last, there()).await;
    });
}

/// A primary whose hook fails calls the transaction off; a secondary runs none.
#[test]
fn hooks_run_on_the_primary() {
    for (hook, reason, votes) in
        [("pre-receive", "pre-receive hook declined", 1), ("update", "hook declined", 2)]
    {
        let (ground, voter) = (Ground::start(OPEN), Voter::default());
        write_hook(&ground, hook, "exit 1");
        write_hook(&ground, "post-receive", "exit 0");
        let line = format!("{ZERO} {C0} refs/heads/main");
        run(async {
            let client = voter.connect(&ground.node, Door::Mux).await;
            let pushed = push(&client, &ground, (Method::Ssh, true), ("", &[&line])).await;
            let report = format!("ng refs/heads/main {reason}");
            assert_eq!(pushed.told().1, ["unpack ok", &report], "{pushed:?}");
            assert!(pushed.reply.is_ok(), "{pushed:?}");
            assert_eq!((voter.stops(), voter.votes().len()), (1, votes), "{hook}");
            assert!(ground.work.join(hook).exists() && ground.refs().is_empty());
            fs::remove_file(ground.work.join(hook)).expect("it was there");
            let pushed = push(&client, &ground, (Method::Ssh, false), ("", &[&line])).await;
            assert!(pushed.reply.is_ok(), "{pushed:?}");
        });
        assert_eq!(voter.stops(), 0);
        assert!(!ground.work.join(hook).exists() && !ground.work.join("post-receive").exists());
        assert_eq!(ground.refs(), format!("refs/heads/main {C0}"));
        ground.assert_clean();
    }
}
