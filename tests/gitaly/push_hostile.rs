//! Pushes that no honest client makes: each is refused with a reason, and nothing of it is left.

use std::fs;
use std::time::{Duration, Instant};

use gitring_tests::git;
use gitring_tests::gitaly::{Door, WAIT_MAX, run};
use gitring_tests::pktline;
use gitring_tests::process;
use gitring_tests::push::{CAPABILITIES, Method, Push, Pushed, ZERO, commands, pack};
use tonic::Code;

use super::push::{Ground, OPEN};

const METHODS: [Method; 2] = [Method::Ssh, Method::Http];

/// How a push must end.
enum Ends<'a> {
    /// The report's lines.
    Report(&'a [&'a str]),
    /// A failure with a text like this.
    Failure(&'a str),
}

/// Sends `bytes`, and looks at how the push ends and what it leaves.
fn check(ground: &Ground, what: &str, bytes: &[u8], ends: &Ends<'_>) {
    for method in METHODS {
        let pushed = run(async {
            let client = ground.client(Door::Tcp).await;
            Push::whole(&client, method, "target.git", bytes).await
        });
        expect(&pushed, &format!("{what} {method:?}"), method, ends);
        assert_eq!(ground.refs(), "", "{what}");
        ground.assert_clean();
    }
    assert!(!ground.has(&ground.id("c2")), "{what}");
}

fn expect(pushed: &Pushed, what: &str, method: Method, ends: &Ends<'_>) {
    match ends {
        Ends::Report(lines) => {
            assert!(pushed.reply.is_ok(), "{what}: {pushed:?}");
            assert_eq!(pushed.told().1, *lines, "{what}: {pushed:?}");
        }
        Ends::Failure(text) => {
            let Err(status) = &pushed.reply else { panic!("{what}: {pushed:?}") };
            let (code, exit) = match method {
                Method::Ssh => (Code::Internal, Some(128)),
                Method::Http => (Code::FailedPrecondition, None),
            };
            let is_hung_up = *text == "the remote end hung up unexpectedly";
            let code = if is_hung_up && method == Method::Ssh { Code::Cancelled } else { code };
            assert_eq!((status.code(), pushed.exit_status), (code, exit), "{what}: {pushed:?}");
            let is_said = status.message().contains(text) || pushed.stderr.contains(text);
            assert!(is_said, "{what}: {pushed:?}");
        }
    }
}

/// A command with this old value, new value and name.
fn commanded(line: &str) -> Vec<u8> {
    commands(&[line], CAPABILITIES)
}

#[test]
fn commands_that_are_none() {
    let ground = Ground::start(OPEN);
    let id = ground.id("c2");
    let protocol = "protocol error";
    for (what, line) in [
        ("no ids", "hello world".to_owned()),
        ("one id", format!("{id} refs/heads/main")),
        ("a short id", format!("{ZERO} {} refs/heads/main", &id[1..])),
        ("letters", format!("{ZERO} {} refs/heads/main", id.replace('0', "g").replace('a', "z"))),
        ("nothing", String::new()),
    ] {
        check(&ground, what, &commanded(&line), &Ends::Failure(protocol));
    }
    check(&ground, "no length", b"zzzz", &Ends::Failure(protocol));
    check(&ground, "a length of 3", b"0003", &Ends::Failure(protocol));
    let halves: [&[u8]; 2] =
        [b"00b1000000", &commanded(&format!("{ZERO} {id} refs/heads/main"))[..50]];
    for bytes in halves {
        check(&ground, "half", bytes, &Ends::Failure("the remote end hung up unexpectedly"));
    }
    let twice = format!("{ZERO} {id} refs/heads/main");
    let mut bytes = commands(&[&twice, &twice], CAPABILITIES);
    bytes.extend(pack(&ground.work, &["c2"]));
    let pushed = run(async {
        let client = ground.client(Door::Tcp).await;
        Push::whole(&client, Method::Ssh, "target.git", &bytes).await
    });
    assert!(pushed.told().1.iter().any(|line| line.starts_with("ng ")), "{pushed:?}");
    ground.target.git(&["fsck"]);
    ground.assert_clean();
}

#[test]
fn refs_that_must_not_be() {
    let ground = Ground::start(OPEN);
    let (id, thin) = (ground.id("c2"), pack(&ground.work, &["c2"]));
    let check = |name: &str, reason: &str| {
        let mut bytes = commanded(&format!("{ZERO} {id} {name}"));
        bytes.extend_from_slice(&thin);
        let report = format!("ng {name} {reason}");
        check(&ground, name, &bytes, &Ends::Report(&["unpack ok", &report]));
    };
    for name in [
        "refs/../../x",
        "refs/heads/../../../../x",
        "refs/heads/.lock",
        "refs/heads/x.lock",
        "refs/heads/",
        "refs//heads/x",
        "/refs/heads/x",
        "/etc/passwd",
        "refs/heads/a b",
        "refs/heads/@{x}",
        "refs/heads/\u{1}",
        "config",
        "HEAD",
    ] {
        check(name, "funny refname");
    }
    for name in ["refs/keep-around/x", "refs/tmp/x", "refs/pipelines/1"] {
        let mut bytes = commanded(&format!("{ZERO} {id} {name}"));
        bytes.extend_from_slice(&thin);
        let pushed = run(async {
            let client = ground.client(Door::Tcp).await;
            Push::whole(&client, Method::Ssh, "target.git", &bytes).await
        });
        let lines = pushed.told().1;
        let report = format!("ng {name} deny updating a hidden ref");
        assert_eq!(lines, ["unpack ok", &report], "{pushed:?}");
    }
    assert!(!ground.target.path.join("../x").exists());
}

#[test]
fn packs_that_are_none() {
    let ground = Ground::start(OPEN);
    let line = format!("{ZERO} {} refs/heads/main", ground.id("c2"));
    let (front, whole) = (commanded(&line), pack(&ground.work, &["c2"]));
    let check = |what: &str, pack: &[u8], unpack: &str| {
        let bytes = [&front[..], pack].concat();
        let lines = [unpack, "ng refs/heads/main unpacker error"];
        check(&ground, what, &bytes, &Ends::Report(&lines));
    };
    let failed = "unpack unpack-objects abnormal exit";
    for length in [0, 3, 4, 8, 11] {
        check(
            &format!("{length} bytes"),
            &whole[..length],
            "unpack eof before pack header was fully read",
        );
    }
    for length in [12, 13, 40, whole.len() / 2, whole.len() - 21, whole.len() - 20, whole.len() - 1]
    {
        check(&format!("{length} bytes"), &whole[..length], failed);
    }
    check(
        "no pack",
        b"JUNKJUNKJUNKJUNK",
        "unpack protocol error (pack signature mismatch detected)",
    );
    let mut other = whole.clone();
    other[7] = 9;
    check("version 9", &other, "unpack protocol error (pack version unsupported)");
    for at in [13, whole.len() / 2, whole.len() - 1] {
        let mut other = whole.clone();
        other[at] ^= 0x55;
        check(&format!("byte {at}"), &other, failed);
    }
    // Says it has more objects than there are.
    let mut other = whole.clone();
    other[11] = 20;
    check("few objects", &other, failed);
    // A delta against an object that nobody has: its id is made up.
    let mut lone = b"PACK\0\0\0\x02\0\0\0\x01\x74".to_vec();
    lone.extend([7; 20]);
    lone.extend([0x78, 0x9c, 0x63, 0x60, 0x60, 0, 0, 0, 2, 0, 1]);
    check("a delta alone", &lone, failed);
}

#[test]
fn packs_that_lack_something() {
    let ground = Ground::start(OPEN);
    let line = format!("{ZERO} {} refs/heads/main", ground.id("c2"));
    // git itself misses what the pack's own objects lead to.
    let strict = ["unpack unpack-objects abnormal exit", "ng refs/heads/main unpacker error"];
    let missing = ["unpack ok", "ng refs/heads/main missing necessary objects"];
    for (revisions, lines) in [(&["c2", "^c1"][..], &strict), (&["c0"], &missing)] {
        let bytes = [commanded(&line), pack(&ground.work, revisions)].concat();
        check(&ground, &format!("{revisions:?}"), &bytes, &Ends::Report(lines));
    }
}

/// Objects that cannot be published: no ref of the push may lead to them.
#[test]
fn objects_that_find_no_place() {
    let ground = Ground::start(OPEN);
    let (id, other) = (ground.id("c2"), ground.id("c1"));
    let lines = [format!("{ZERO} {id} refs/heads/main"), format!("{ZERO} {other} refs/heads/b")];
    let thin = pack(&ground.work, &["c2"]);
    let place = ground.target.path.join("objects").join(&id[..2]);
    let reason = "unable to migrate objects to permanent storage";
    for atomic in ["", "atomic"] {
        fs::write(&place, "").expect("a file can be written");
        let capabilities = format!("{CAPABILITIES} {atomic}");
        let bytes = [commands(&[&lines[0], &lines[1]], &capabilities), thin.clone()].concat();
        let pushed = run(async {
            let client = ground.client(Door::Tcp).await;
            Push::whole(&client, Method::Ssh, "target.git", &bytes).await
        });
        let told = [
            "unpack ok",
            &format!("ng refs/heads/main {reason}"),
            &format!("ng refs/heads/b {reason}"),
        ];
        assert_eq!(pushed.told().1, told, "{atomic}: {pushed:?}");
        fs::remove_file(&place).expect("it is a file");
        assert_eq!(ground.refs(), "", "{atomic}");
        ground.assert_clean();
    }
}

/// As with stock git, what follows a whole pack is nobody's.
#[test]
fn garbage_behind_the_pack() {
    let ground = Ground::start(OPEN);
    let bytes = [ground.creation("c2"), b"garbage".repeat(1000)].concat();
    for method in METHODS {
        let pushed = run(async {
            let client = ground.client(Door::Tcp).await;
            Push::whole(&client, method, "target.git", &bytes).await
        });
        assert_eq!(pushed.told().1, ["unpack ok", "ok refs/heads/main"], "{pushed:?}");
        ground.assert_clean();
        ground.target.git(&["update-ref", "-d", "refs/heads/main"]);
    }
}

/// 300 KB that become 300 MB: nobody holds them in memory.
#[test]
fn a_blob_that_swells() {
    let mut ground = Ground::start(OPEN);
    let zeros = vec![0; 300 << 20];
    let words = ["-c", "core.bigFileThreshold=1m", "hash-object", "-w", "--stdin"];
    let blob = git::run_with(&ground.work, &words, &zeros);
    drop(zeros);
    let line = format!("{ZERO} {blob} refs/tags/zeros");
    let bytes = [commanded(&line), pack(&ground.work, &[&blob])].concat();
    assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
    let before = process::anonymous_bytes(ground.node.pid());
    let pushed = run(async {
        let client = ground.client(Door::Tcp).await;
        Push::whole(&client, Method::Ssh, "target.git", &bytes).await
    });
    assert_eq!(pushed.told().1, ["unpack ok", "ok refs/tags/zeros"], "{pushed:?}");
    let grown = process::anonymous_bytes(ground.node.pid()).saturating_sub(before);
    assert!(grown < 50 << 20, "{grown} bytes");
    let find = || {
        let log = ground.node.log();
        let (_, rest) = log.split_once("\"command.maxrss\":")?;
        rest.split(',').next()?.parse::<u64>().ok()
    };
    process::wait_until("the line is written", WAIT_MAX, || find().is_some());
    assert!(find().is_some_and(|kibibytes| kibibytes < 150_000), "{}", ground.node.log());
    ground.node.assert_alive();
}

#[test]
fn what_is_too_much() {
    let limits = "[pushes]\npack_bytes_max = 20000\nobjects_max = 5\nunpack_time_max = \"1s\"\n";
    let ground = Ground::start(&format!("{OPEN}{limits}"));
    let id = ground.id("c2");
    let line = format!("{ZERO} {id} refs/heads/main");
    let refused = "ng refs/heads/main unpacker error";
    let bytes = [commanded(&line), pack(&ground.work, &["c2"])].concat();
    let text = "unpack the pack has 9 objects, allowed: 5";
    check(&ground, "objects", &bytes, &Ends::Report(&[text, refused]));
    // Bytes that do not shrink.
    let mut random = gitring_tests::random::Random::new(7);
    let noise = random.bytes(60_000);
    let blob = git::run_with(&ground.work, &["hash-object", "-w", "--stdin"], &noise);
    let line = format!("{ZERO} {blob} refs/tags/noise");
    let bytes = [commanded(&line), pack(&ground.work, &[&blob])].concat();
    let lines = ["unpack unpack-objects abnormal exit", "ng refs/tags/noise unpacker error"];
    check(&ground, "bytes", &bytes, &Ends::Report(&lines));
    let pushed = run(async {
        let client = ground.client(Door::Tcp).await;
        Push::whole(&client, Method::Http, "target.git", &bytes).await
    });
    assert!(pushed.told().0.contains("pack exceeds maximum allowed size"), "{pushed:?}");
    // One that never ends.
    let bytes = [commanded(&line), pack(&ground.work, &[&blob])[..1000].to_vec()].concat();
    for method in METHODS {
        let began = Instant::now();
        let pushed = run(async {
            let client = ground.client(Door::Tcp).await;
            let push = Push::begin(&client, method, "target.git", None).await;
            let mut push = push.expect("the call begins");
            push.send(&bytes).await;
            push.end().await
        });
        let lines = ["unpack no whole pack came within 1 s", "ng refs/tags/noise unpacker error"];
        assert_eq!(pushed.told().1, lines, "{pushed:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        ground.assert_clean();
    }
}

/// Commands without end: refused at some point, within bounded memory.
#[test]
fn commands_without_end() {
    let ground = Ground::start(OPEN);
    let (id, before) = (ground.id("c2"), process::anonymous_bytes(ground.node.pid()));
    let mut bytes = Vec::new();
    for at in 0..1_000_001 {
        let tail = if at == 0 { format!("\0 {CAPABILITIES}") } else { String::new() };
        bytes.extend(pktline::data(format!("{ZERO} {id} refs/heads/b{at}{tail}")));
    }
    bytes.extend_from_slice(pktline::FLUSH);
    let began = Instant::now();
    let pushed = run(async {
        let client = ground.client(Door::Tcp).await;
        Push::whole(&client, Method::Ssh, "target.git", &bytes).await
    });
    assert!(pushed.reply.is_err(), "{:?}", pushed.told());
    let grown = process::anonymous_bytes(ground.node.pid()).saturating_sub(before);
    assert!(grown < 400 << 20, "{grown} bytes");
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    assert_eq!(ground.refs(), "");
    ground.assert_clean();
}
