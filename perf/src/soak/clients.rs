//! Clients of the soak: each does one thing, and some die of it.
//!
//! Always true: a client waits for what it has started, so nothing of it is left.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use gitring_tests::git;
use gitring_tests::node::Node;
use gitring_tests::random::Random;

use super::Deeds;

/// One in so many commands is killed.
const KILLED_ONE_IN: usize = 3;
/// At most so long after it began.
const KILLED_AFTER_MS: usize = 150;
/// A command that takes longer hangs.
const TIME_MAX: Duration = Duration::from_secs(120);

/// What a thread does again and again.
pub type Client = fn(&Node, &Deeds, &mut Random);

/// Names of threads, and what they do.
pub const KINDS: [(&str, Client); 4] =
    [("clone", clone), ("fetch", fetch), ("push", push), ("half", half)];

/// A clone of one of both repositories, of all of it or of a part.
fn clone(node: &Node, deeds: &Deeds, random: &mut Random) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = ["heavy.git", "varied.git"][random.below(2)];
    let how: &[&str] =
        [&["--mirror"][..], &["--bare", "--depth=3"], &["--bare", "--filter=blob:none"]]
            [random.below(3)];
    let mut command = git::command(folder.path());
    let version = format!("protocol.version={}", [0, 2][random.below(2)]);
    command.args(["-c", &version, "clone", "-q"]).args(how).args([&node.url(name), "c"]);
    run(command, deeds, random);
}

/// A shallow clone, and then the rest of it.
fn fetch(node: &Node, deeds: &Deeds, random: &mut Random) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = node.url("varied.git");
    let mut command = git::command(folder.path());
    command.args(["clone", "-q", "--bare", "--depth=2", &url, "c"]);
    if !run(command, deeds, random) {
        return;
    }
    for how in ["--deepen=2", "--unshallow"] {
        let mut command = git::command(&folder.path().join("c"));
        command.args(["fetch", "-q", how, &url, "+refs/heads/main:refs/heads/main"]);
        if !run(command, deeds, random) {
            return;
        }
    }
}

/// A branch that comes, moves and goes.
fn push(node: &Node, deeds: &Deeds, random: &mut Random) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = node.url("varied.git");
    let branch = format!("refs/heads/soak-{:x}", random.next_u64());
    let mut command = git::command(folder.path());
    command.args(["clone", "-q", "--depth=1", &url, "c"]);
    if !run(command, deeds, random) {
        return;
    }
    let work = folder.path().join("c");
    for round in 0..3 {
        let length = 1 + random.below(40_000);
        let content = random.bytes(length);
        fs::write(work.join(format!("file-{round}")), content).expect("a file can be written");
        drop(git::try_run(&work, &["add", "."]));
        drop(git::try_run(&work, &["commit", "-q", "-m", "more"]));
        let mut command = git::command(&work);
        command.args(["push", "-q", "-f", &url, &format!("HEAD:{branch}")]);
        run(command, deeds, random);
    }
    // Whether or not it came into being.
    drop(git::try_run(&work, &["push", "-q", "-f", &url, &format!(":{branch}")]));
}

/// A connection that says half of something, waits, and leaves.
fn half(node: &Node, deeds: &Deeds, random: &mut Random) {
    let address = if random.below(2) == 0 { node.gateway() } else { node.gitaly_address() };
    let Ok(mut socket) = TcpStream::connect(address) else { return };
    let whole = [
        &b"POST /heavy.git/git-upload-pack HTTP/1.1\r\nHost: n\r\nContent-Length: 4000\r\n\r\n0011comm"[..],
        b"GET /varied.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: n\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"backchannel\0\x01\0\x01\0\0\0\x01\0\0\0\0\0\0",
    ];
    let whole = whole[random.below(whole.len())];
    let sent = 1 + random.below(whole.len());
    drop(socket.write_all(&whole[..sent]));
    thread::sleep(Duration::from_millis(random.below(3_000) as u64));
    if random.below(2) == 0 {
        drop(socket.set_read_timeout(Some(Duration::from_millis(50))));
        drop(socket.read(&mut [0; 1_000]));
    }
    deeds.killed.fetch_add(1, Ordering::Relaxed);
}

/// Whether a command ended well. Some are killed, with all that they have started.
fn run(mut command: Command, deeds: &Deeds, random: &mut Random) -> bool {
    use std::os::unix::process::CommandExt;
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let is_victim = random.below(KILLED_ONE_IN) == 0;
    let life = Duration::from_millis(random.below(KILLED_AFTER_MS) as u64);
    let life = if is_victim { life } else { TIME_MAX };
    let began = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if began.elapsed() < life => thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => break None,
        }
    };
    match ended {
        Some(status) if status.success() => {
            deeds.done.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        Some(_) => deeds.failed.fetch_add(1, Ordering::Relaxed),
        None => {
            let group = rustix::process::Pid::from_child(&child);
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            drop(child.wait());
            let count = if is_victim { &deeds.killed } else { &deeds.failed };
            count.fetch_add(1, Ordering::Relaxed)
        }
    };
    false
}
