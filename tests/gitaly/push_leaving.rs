//! Pushers who leave: either nothing is left behind, or the push is whole and everybody who wants
//! to know of it hears of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use gitring_proto::gitaly::vote_transaction_request::Phase;
use gitring_tests::gitaly::{Door, WAIT_MAX, run};
use gitring_tests::gitlab::{Gitlab, Listens};
use gitring_tests::http;
use gitring_tests::process::{signal, wait_until};
use gitring_tests::push::{CAPABILITIES, Method, Push, ZERO, commands};
use gitring_tests::stdio::Server;
use gitring_tests::voter::{Answer, Voter};

use super::push::{Ground, OPEN};

const METHODS: [Method; 2] = [Method::Ssh, Method::Http];

/// A custom hook of the target.
fn write_hook(ground: &Ground, name: &str, script: &str) {
    let folder = ground.target.path.join("custom_hooks");
    fs::create_dir_all(&folder).expect("a folder can be made");
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a hook can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
}

/// Waits without holding up the client's own thread.
async fn wait_for(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends the first bytes of a push and leaves, over every method.
fn leave_after(what: &str, bytes: impl Fn(&[u8]) -> usize) {
    let ground = Ground::start(OPEN);
    for method in METHODS {
        run(async {
            let client = ground.client(Door::Tcp).await;
            let whole = ground.creation("c2");
            let length = bytes(&whole);
            let mut push = Push::begin(&client, method, "target.git", None).await.expect(what);
            push.send(&whole[..length]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop((push, client));
        });
        ground.assert_clean();
        assert_eq!((ground.refs(), ground.has(&ground.id("c2"))), (String::new(), false), "{what}");
    }
}

#[test]
fn before_the_pack_has_come() {
    let flush = |whole: &[u8]| {
        whole.windows(8).position(|bytes| bytes == b"0000PACK").expect("a pack follows") + 4
    };
    leave_after("nothing", |_| 0);
    leave_after("half a command", |_| 30);
    leave_after("commands", flush);
    leave_after("a header", |whole| flush(whole) + 12);
    leave_after("half a pack", |whole| flush(whole) + 100);
    leave_after("all but a byte", |whole| whole.len() - 1);
}

#[test]
fn while_pre_receive_runs() {
    let ground = Ground::start(OPEN);
    let (began, ended) = (ground.work.join("began"), ground.work.join("ended"));
    let (path, end) = (began.display(), ended.display());
    write_hook(&ground, "pre-receive", &format!("touch '{path}'; sleep 60; touch '{end}'"));
    for method in METHODS {
        drop(fs::remove_file(&began));
        run(async {
            let client = ground.client(Door::Tcp).await;
            let push = Push::begin(&client, method, "target.git", None).await;
            let mut push = push.expect("the call begins");
            push.send(&ground.creation("c2")).await;
            wait_for(|| began.exists()).await;
            drop((push, client));
        });
        ground.assert_clean();
        assert_eq!((ground.refs(), ended.exists()), (String::new(), false));
    }
}

/// A push of two refs whose client leaves in the middle, over gRPC or the gateway.
fn leave_while_landing(method: Option<Method>) {
    let gitlab = Gitlab::friendly(&Listens::Tcp);
    let more = match method {
        Some(_) => gitlab.toml(),
        // The gateway's section goes on.
        None => format!("receive_pack = true\n{OPEN}"),
    };
    let ground = Ground::start(&more);
    let (began, go) = (ground.work.join("began"), ground.work.join("go"));
    let told = ground.work.join("told");
    // The second ref's turn: the first is there.
    let hook = format!(
        "test \"$1\" = refs/heads/main && exit 0\ntouch '{}'\nwhile ! test -e '{}'; do sleep 0.05; \
         done",
        began.display(),
        go.display()
    );
    write_hook(&ground, "update", &hook);
    write_hook(&ground, "post-receive", &format!("cat >'{}'; echo heard", told.display()));
    let (main, other) = (ground.id("c2"), ground.id("c1"));
    let lines =
        [format!("{ZERO} {main} refs/heads/main"), format!("{ZERO} {other} refs/heads/other")];
    let mut bytes = commands(&[&lines[0], &lines[1]], CAPABILITIES);
    bytes.extend(gitring_tests::push::pack(&ground.work, &["c2"]));
    match method {
        Some(method) => run(async {
            let client = ground.client(Door::Tcp).await;
            let push = Push::begin(&client, method, "target.git", None).await;
            let mut push = push.expect("the call begins");
            push.send(&bytes).await;
            wait_for(|| began.exists()).await;
            drop((push, client));
            // The node notices.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }),
        None => {
            let kind = [("Content-Type", "application/x-git-receive-pack-request")];
            let (path, gateway) = ("/target.git/git-receive-pack", ground.node.gateway());
            let mut stream = http::open(gateway, "POST", path, &kind, bytes.len());
            stream.write_all(&bytes).expect("the node reads");
            wait_until("the second ref's turn", WAIT_MAX, || began.exists());
            drop(stream);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    assert_eq!(ground.refs(), format!("refs/heads/main {main}"), "{method:?}");
    fs::write(&go, "").expect("a file can be written");
    wait_until("the hook hears", WAIT_MAX, || {
        fs::read_to_string(&told).is_ok_and(|text| text.lines().count() == 2)
    });
    let expected = format!("refs/heads/main {main}\nrefs/heads/other {other}");
    assert_eq!(ground.refs(), expected, "{method:?}");
    ground.assert_clean();
    if method.is_some() {
        assert_eq!(gitlab.endpoints(), ["allowed", "pre_receive", "post_receive"]);
    }
}

#[test]
fn while_refs_land() {
    leave_while_landing(Some(Method::Ssh));
    leave_while_landing(Some(Method::Http));
}

#[test]
fn while_refs_land_over_the_gateway() {
    leave_while_landing(None);
}

/// The drop-in for `git receive-pack`: its caller's ends of the pipes are closed.
#[test]
fn while_refs_land_over_pipes() {
    let ground = Ground::start(OPEN);
    let (began, go) = (ground.work.join("began"), ground.work.join("go"));
    let told = ground.work.join("told");
    let (began_path, go_path) = (began.display(), go.display());
    let update = format!("touch '{began_path}'; while ! test -e '{go_path}'; do sleep 0.05; done");
    let hooks = ground.target.path.join("hooks");
    for (name, script) in
        [("update", update), ("post-receive", format!("echo heard; cat >'{}'", told.display()))]
    {
        fs::create_dir_all(&hooks).expect("a folder can be made");
        let path = hooks.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a hook can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
    }
    let mut command = Server::Ours.command_of("receive-pack");
    command.arg(&ground.target.path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().expect("it can be started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&ground.creation("c2")).expect("it reads");
    wait_until("the hook begins", WAIT_MAX, || began.exists());
    drop((stdin, child.stdout.take()));
    fs::write(&go, "").expect("a file can be written");
    child.wait().expect("it ends");
    let line = format!("{ZERO} {} refs/heads/main\n", ground.id("c2"));
    assert_eq!(fs::read_to_string(&told).unwrap_or_default(), line);
    ground.assert_clean();
}

/// A node that ends waits for a push whose client has left.
#[test]
fn while_refs_land_and_the_node_ends() {
    let mut ground = Ground::start(OPEN);
    let (began, told) = (ground.work.join("began"), ground.work.join("told"));
    let hook = format!("touch '{}'; sleep 2; cat >'{}'", began.display(), told.display());
    write_hook(&ground, "post-receive", &hook);
    run(async {
        let client = ground.client(Door::Tcp).await;
        let push = Push::begin(&client, Method::Ssh, "target.git", None).await;
        let mut push = push.expect("the call begins");
        push.send(&ground.creation("c2")).await;
        wait_for(|| began.exists()).await;
        drop((push, client));
    });
    signal(ground.node.pid(), "TERM");
    assert!(ground.node.wait(Duration::from_secs(20)).success());
    let line = format!("{ZERO} {} refs/heads/main\n", ground.id("c2"));
    assert_eq!(fs::read_to_string(&told).unwrap_or_default(), line);
}

/// While the others are asked nothing is done yet, and it is not done for who leaves.
#[test]
fn while_the_others_are_asked() {
    let ground = Ground::start(OPEN);
    let voter = Voter::default();
    for takes_the_connection in [false, true] {
        voter.answer(&[Answer::Commit, Answer::Commit, Answer::Never]);
        run(async {
            let client = voter.connect(&ground.node, Door::Mux).await;
            let push = Push::begin(&client, Method::Ssh, "target.git", Some(true)).await;
            let mut push = push.expect("the call begins");
            push.send(&ground.creation("c2")).await;
            let mut votes = Vec::new();
            while !votes.iter().any(|(_, phase)| *phase == Phase::PreparedPhase) {
                votes.extend(voter.votes());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let kept = (!takes_the_connection).then(|| client.clone());
            drop((push, client));
            wait_for(|| super::push::leftovers(&ground.target.path).is_empty()).await;
            drop(kept);
        });
        ground.assert_clean();
        assert_eq!((ground.refs(), ground.has(&ground.id("c2"))), (String::new(), false));
    }
}

/// What is done is done, and told, though nobody counts any more.
#[test]
fn while_others_are_told() {
    let (ground, voter) = (Ground::start(OPEN), Voter::default());
    let told = ground.work.join("told");
    write_hook(&ground, "post-receive", &format!("cat >'{}'", told.display()));
    for takes_the_connection in [false, true] {
        voter.answer(&[Answer::Commit, Answer::Commit, Answer::Commit, Answer::Never]);
        run(async {
            let client = voter.connect(&ground.node, Door::Mux).await;
            let push = Push::begin(&client, Method::Ssh, "target.git", Some(true)).await;
            let mut push = push.expect("the call begins");
            push.send(&ground.creation("c2")).await;
            let mut votes = Vec::new();
            while !votes.iter().any(|(_, phase)| *phase == Phase::CommittedPhase) {
                votes.extend(voter.votes());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let kept = (!takes_the_connection).then(|| client.clone());
            drop((push, client));
            wait_for(|| fs::read_to_string(&told).is_ok_and(|text| text.ends_with("main\n"))).await;
            drop(kept);
        });
        ground.assert_clean();
        assert_eq!(ground.refs(), format!("refs/heads/main {}", ground.id("c2")));
        ground.target.git(&["update-ref", "-d", "refs/heads/main"]);
        fs::remove_file(&told).expect("it was told");
    }
}
