//! The end of a node: signals, requests in flight, what is left behind.

use crate::harness::{LS_REFS, Place, Process, connect, post_head, rest};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A node with a request in flight whose body still lacks its last byte.
fn in_flight() -> (Process, TcpStream) {
    let place = Place::new();
    place.leave_to_git();
    let process = place.spawn("");
    let mut stream = connect(process.address);
    let body = &LS_REFS[..LS_REFS.len() - 1];
    stream.write_all((post_head(LS_REFS.len(), "") + body).as_bytes()).unwrap();
    // Until the child runs, the request might not have been read.
    until_child(process.child.id());
    (process, stream)
}

fn until_child(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !any_child(pid) {
        assert!(Instant::now() < deadline, "no child was started");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Children of any thread of a process.
fn any_child(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().any(|task| {
        std::fs::read_to_string(task.path().join("children")).is_ok_and(|text| !text.is_empty())
    })
}

fn signal(process: &Process, signal: Signal) {
    let pid = Pid::from_raw(process.child.id().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn check_end(mut process: Process, at_most: Duration) {
    let began = Instant::now();
    let status = process.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < at_most, "{:?}", began.elapsed());
    let left = std::fs::read_dir(process.place.dir.path()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("gitring-")), "{left:?}");
}

fn refuses(process: &Process) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(process.address).is_ok() {
        assert!(Instant::now() < deadline, "it still accepts");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_request_in_flight_may_finish() {
    let (process, mut stream) = in_flight();
    signal(&process, Signal::TERM);
    refuses(&process);
    stream.write_all(&LS_REFS.as_bytes()[LS_REFS.len() - 1..]).unwrap();
    let answer = rest(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("refs/heads/side\n") && answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    check_end(process, Duration::from_secs(1));
}

#[test]
fn a_request_that_does_not_finish_is_cancelled_after_the_grace() {
    let (process, mut stream) = in_flight();
    signal(&process, Signal::INT);
    assert_eq!(rest(&mut stream), "");
    check_end(process, Duration::from_secs(2));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (process, _stream) = in_flight();
    signal(&process, Signal::TERM);
    refuses(&process);
    signal(&process, Signal::TERM);
    check_end(process, Duration::from_secs(1));
}

/// The same over HTTP/2, where each answer is a task of its own.
#[test]
fn an_http2_request_is_cancelled_with_its_child() {
    let place = Place::new();
    let git = place.script("echo 0008PACK; cat /dev/zero");
    let process = place.spawn(&git);
    let url = format!("http://{}/group/a.git/info/refs?service=git-upload-pack", process.address);
    let mut curl = std::process::Command::new("curl")
        .args(["-s", "--http2-prior-knowledge", "--limit-rate", "1M", "-o", "/dev/null", &url])
        .spawn()
        .unwrap();
    until_child(process.child.id());
    signal(&process, Signal::TERM);
    refuses(&process);
    signal(&process, Signal::TERM);
    check_end(process, Duration::from_secs(1));
    assert!(!curl.wait().unwrap().success(), "curl took a part for the whole");
}

#[test]
fn without_requests_it_ends_at_once() {
    let process = Place::new().spawn("");
    let _idle = connect(process.address);
    signal(&process, Signal::TERM);
    check_end(process, Duration::from_secs(1));
}
