//! SIGUSR2, under load.

use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gitring_tests::git;
use gitring_tests::gitaly::Door;
use gitring_tests::http;
use gitring_tests::metrics;
use gitring_tests::node::Node;
use gitring_tests::process::wait_until;
use gitring_tests::repository::{Kind, Repository};

use super::{LET_IN, ask_on, ask_once, heavy, tcp, wait_for_more};

/// Everybody may push over HTTP: the configuration's last table is the gateway's.
const PUSHES: &str = "receive_pack = true\n[hooks]\nwithout_gitlab = \"allow\"\n";

fn is_gone(pid: u32) -> bool {
    // One that nobody has waited for is no process any more.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.contains("\nState:\tZ")
}

/// Clones with stock git until told to end.
fn clone_on(url: &str, ended: &AtomicBool, done: &AtomicUsize) {
    while !ended.load(Ordering::Relaxed) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        git::run(folder.path(), &["clone", "-q", "--bare", url, "clone"]);
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Pushes a new commit each time, to a branch of its own.
fn push_on(url: &str, work: &Path, ended: &AtomicBool, done: &AtomicUsize) {
    while !ended.load(Ordering::Relaxed) {
        let number = done.load(Ordering::Relaxed);
        let message = format!("commit {number}");
        git::run(work, &["commit", "-q", "--allow-empty", "-m", &message]);
        let refspec = format!("HEAD:refs/heads/branch-{number}");
        git::run(work, &["push", "-q", url, &refspec, "HEAD:refs/heads/latest"]);
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Goal: through three upgrades in a row no client is refused, no clone breaks, no push is lost:
/// gRPC with fresh connections over TCP, TLS, the unix socket and a mux, stock git's clones and
/// pushes over HTTP. The old processes end; the socket's file stays.
#[test]
fn upgrades_under_load() {
    let mut node = Node::start_within_tls("[auth]\ntoken = \"secret\"\n");
    Repository::create(&node.storage(), "varied", Kind::Varied);
    let doors = [
        (tcp(&node), Door::Tcp),
        (tcp(&node), Door::Mux),
        (node.tls_address(), Door::Mux),
        (Door::Unix.address(&node), Door::Unix),
    ];
    let (ended, asked, cloned) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut former = Vec::new();
    std::thread::scope(|scope| {
        for (address, door) in &doors {
            scope.spawn(|| ask_on(address, *door, "secret", &ended, &asked));
        }
        let (url, ended, cloned) = (node.url("varied.git"), &ended, &cloned);
        scope.spawn(move || clone_on(&url, ended, cloned));
        wait_for_more(cloned, 2);
        for _ in 0..3 {
            former.push(node.hand_over().expect("another process serves"));
            wait_for_more(&asked, 20);
            wait_for_more(cloned, 2);
        }
        ended.store(true, Ordering::Relaxed);
    });
    for pid in former {
        wait_until("the old process is gone", Duration::from_secs(30), || is_gone(pid));
    }
    assert_eq!(ask_once(&Door::Unix.address(&node), Door::Unix, "secret"), LET_IN);
    let started = metrics::sum(&node, "process_start_time_seconds", &[]);
    assert!(started > 0, "the metrics' port went over, too");
}

/// Goal: a clone that the old process serves goes on to its end, while new ones and pushes are the
/// new one's; both have a pack cache, and reference transactions, of the same repositories.
#[test]
fn two_processes_at_once() {
    let mut node = Node::start_with(PUSHES);
    let (_heavy, body) = heavy(&node);
    let target = Repository::create(&node.storage(), "target", Kind::Empty);
    let work = tempfile::tempdir().expect("a temporary folder");
    git::run(work.path(), &["init", "-q", "-b", "main", "."]);
    let slow = http::open_upload_pack(node.gateway(), "heavy.git", &body);
    let mut slow = begun(slow);
    let (ended, pushed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut former = 0;
    std::thread::scope(|scope| {
        let (url, work, ended, pushed) = (node.url("target.git"), work.path(), &ended, &pushed);
        scope.spawn(move || push_on(&url, work, ended, pushed));
        wait_for_more(pushed, 3);
        former = node.hand_over().expect("another process serves");
        wait_for_more(pushed, 5);
        // Made by the new process, while the old one holds what it made.
        let again = http::upload_pack(node.gateway(), "heavy.git", 2, &body);
        assert!(again.complete && again.body.len() > 10_000_000, "{again:?}");
        wait_for_more(pushed, 3);
        assert!(!is_gone(former), "it serves the slow clone");
        let answer = http::read_answer(&mut slow).expect("the answer goes on");
        assert!(answer.complete && answer.body.ends_with(b"0000"), "{} bytes", answer.body.len());
        wait_for_more(pushed, 3);
        ended.store(true, Ordering::Relaxed);
    });
    wait_until("the old process is gone", Duration::from_secs(30), || is_gone(former));
    let pushed = pushed.load(Ordering::Relaxed);
    let refs = target.git(&["for-each-ref", "--format=%(refname)", "refs/heads/branch-*"]);
    assert_eq!(refs.lines().count(), pushed);
    target.git(&["fsck", "--full", "--strict"]);
}

/// Waits until an answer begins.
fn begun(stream: TcpStream) -> TcpStream {
    let mut first = [0; 1];
    // signal(7): a socket with a time-out is interrupted by any signal, as of a child.
    while stream
        .peek(&mut first)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::Interrupted)
    {}
    stream
}

/// Goal: where the new process cannot start, the old one goes on as if nothing had been asked, says
/// why, and can be asked again; a file that would open the node is no way around the rule.
#[test]
fn a_successor_that_fails() {
    const OLD: &str = "[auth]\ntoken = \"old\"\n";
    let mut node = Node::start_with(OLD);
    let socket = Door::Unix.address(&node);
    for (more, words) in [
        ("[auth]\ntoken = 7\n", "auth.token: is of type integer"),
        ("[auth]\ntoken = \"\"\n", "there is no token any more"),
        ("[git.config]\n", "git.config"),
    ] {
        node.configure(more);
        assert_eq!(node.hand_over(), None);
        let log = node.log();
        let why = log.lines().rfind(|line| line.contains("not handed over"));
        assert!(why.is_some_and(|why| why.contains(words)), "{words}: {log}");
        assert_eq!(ask_once(&socket, Door::Unix, "old"), LET_IN);
        assert!(node.socket_path().exists());
    }
    node.configure(OLD);
    assert!(node.hand_over().is_some(), "{}", node.log());
    assert_eq!(ask_once(&socket, Door::Unix, "old"), LET_IN);
}
