//! What happens between the beginning of a push and its commands, and what earlier ones have left.
//!
//! Never here: a git client; the bytes are the test's own.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use gitring_tests::git;
use gitring_tests::pktline::{FLUSH, readable};
use gitring_tests::stdio::Server;

use super::raw::{NULL, commands, shown};

const CAPABILITIES: &str = "report-status object-format=sha1 agent=git/2.39";

/// A bare repository with `main` and `x` at one commit.
fn repository(folder: &Path) -> PathBuf {
    git::run(folder, &["init", "-q", "--bare", "--template=", "-b", "main", "server.git"]);
    let path = folder.join("server.git");
    let tree = git::run_with(&path, &["hash-object", "-t", "tree", "-w", "--stdin"], b"");
    let commit = git::run(&path, &["commit-tree", "-m", "first", tree.trim()]);
    for name in ["refs/heads/main", "refs/heads/x"] {
        git::run(&path, &["update-ref", name, commit.trim()]);
    }
    path
}

/// Reads the list of refs, lets `meanwhile` happen, then sends `body`; what the server says to it.
fn converse(server: Server, path: &Path, meanwhile: impl FnOnce(), body: &[u8]) -> String {
    let mut command = server.command_of("receive-pack");
    command.arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the server starts");
    let mut stdout = child.stdout.take().expect("it is a pipe");
    let mut list = Vec::new();
    while !list.ends_with(FLUSH) {
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("the server lists refs");
        list.push(byte[0]);
    }
    meanwhile();
    child.stdin.take().expect("it is a pipe").write_all(body).expect("the server listens");
    let mut said = Vec::new();
    stdout.read_to_end(&mut said).expect("the server speaks");
    child.wait().expect("the server ends");
    shown(&said)
}

/// Goal: rules are judged by the refs of the moment, not by those that the client was told.
/// Method: HEAD moves to a branch after the client has heard of it, and before it deletes it.
#[test]
fn the_refs_of_the_moment_count() {
    let told = [Server::Stock, Server::Ours].map(|server| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = repository(folder.path());
        let x = git::run(&path, &["rev-parse", "refs/heads/x"]);
        let body = commands(CAPABILITIES, &[&format!("{} {NULL} refs/heads/x", x.trim())]);
        let meanwhile = || drop(git::run(&path, &["symbolic-ref", "HEAD", "refs/heads/x"]));
        converse(server, &path, meanwhile, &body)
    });
    assert!(told[0].contains("deletion of the current branch prohibited"), "{}", told[0]);
    assert_eq!(told[0], told[1]);
}

/// Goal: a drop-in removes what dead ones have left, and nothing of a living one.
#[test]
fn a_drop_in_sweeps_what_dead_ones_left() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = repository(folder.path());
    let dead = path.join("objects/tmp_objdir-incoming-gitring-abcdef");
    let of_git = path.join("objects/tmp_objdir-incoming-abcdef");
    for directory in [&dead, &of_git] {
        fs::create_dir_all(directory.join("pack")).expect("a directory");
    }
    let keep = path.join("objects/pack/pack-1.keep");
    fs::write(&keep, "gitring push\n").expect("a file");
    converse(Server::Ours, &path, || (), FLUSH);
    assert!(!dead.exists() && !keep.exists() && of_git.exists());
}

/// Goal: more refs than one transaction takes are refused before their pack is, with both numbers.
#[test]
fn an_atomic_push_of_too_many_refs_is_told_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = repository(folder.path());
    let x = git::run(&path, &["rev-parse", "refs/heads/x"]);
    let lines: Vec<String> =
        (0..30_001).map(|n| format!("{NULL} {} refs/heads/n{n}", x.trim())).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let body = commands(&format!("{CAPABILITIES} atomic"), &lines);
    let mut command = Server::Ours.command_of("receive-pack");
    command.arg("--stateless-rpc").arg(&path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = git::feed(command, &body);
    let report = readable(&output.stdout);
    let unpack = "unpack an atomic push of 30001 refs, allowed: 30000";
    assert!(report[0].starts_with(unpack), "{}", report[0]);
    assert!(report[1].starts_with("ng refs/heads/n0 unpacker error"), "{}", report[1]);
}
