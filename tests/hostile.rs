//! Clients that lie, stop or vanish: the node stays healthy and keeps nothing of them.
//!
//! Goal: bad input ends in an answer or a closed connection; no leak of processes, files, memory.
//! Method: a node is measured before and after (`/proc`), and a stock client must still be served.
//!
//! Never here: which words an error has; `protocol` compares those.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use gitring_tests::git;
use gitring_tests::history;
use gitring_tests::http;
use gitring_tests::node::Node;
use gitring_tests::pktline::{self, request};
use gitring_tests::process::{anonymous_bytes, children, open_files, wait_until};
use gitring_tests::random::Random;
use gitring_tests::repository::{Kind, Repository};

/// Files that a node may hold open more than before: maps and lists it keeps of a repository.
const KEPT_FILES_MAX: usize = 24;

/// Anonymous memory that a node may hold more than before: caches of one small repository.
const KEPT_BYTES_MAX: u64 = 48 << 20;

/// How long a node may take until nothing is left of clients that are gone.
const FORGET_MAX: Duration = Duration::from_secs(30);

/// A node that has served one client, and what it held then.
struct Health {
    node: Node,
    files: usize,
    bytes: u64,
}

// === impl Health ===

impl Health {
    /// Serves `varied.git`, and `heavy.git`: 12 MB, more than all buffers on the way.
    fn new() -> Self {
        let node = Node::start();
        Repository::create(&node.storage(), "varied", Kind::Varied).allow_everything();
        let heavy = Repository::create(&node.storage(), "heavy", Kind::Empty);
        heavy.import(&history::heavy(400));
        serve_a_client(&node);
        drop(clone_request(&node, "heavy.git", false));
        let gone = || children(node.pid()).is_empty();
        wait_until("children of the first clients end", FORGET_MAX, gone);
        let (files, bytes) = (open_files(node.pid()), anonymous_bytes(node.pid()));
        Self { node, files, bytes }
    }

    /// The node lives, serves, and holds no more than before.
    fn assert_unchanged(mut self) {
        self.node.assert_alive();
        serve_a_client(&self.node);
        let pid = self.node.pid();
        wait_until("no child is left", FORGET_MAX, || children(pid).is_empty());
        let files_max = self.files + KEPT_FILES_MAX;
        wait_until("connections are closed", FORGET_MAX, || open_files(pid) <= files_max);
        let grown = anonymous_bytes(pid).saturating_sub(self.bytes);
        assert!(grown <= KEPT_BYTES_MAX, "{} MiB more than before", grown >> 20);
    }
}

fn serve_a_client(node: &Node) {
    let client = tempfile::tempdir().expect("a temporary folder");
    git::run(client.path(), &["clone", "-q", "--mirror", &node.url("varied.git"), "c"]);
    git::run(&client.path().join("c"), &["fsck", "--full", "--no-progress"]);
}

/// Asks for everything; the answer is read to its end, or left in the socket.
fn clone_request(node: &Node, relative: &str, unread: bool) -> TcpStream {
    let repository = Repository { path: node.storage().join(relative) };
    let want = format!("want {}", repository.id("main"));
    let head = ["command=fetch", "object-format=sha1", "delim", "no-progress", "ofs-delta"];
    let body = request(&[&head[..], &[&want, "done", "flush"]].concat());
    let mut stream = http::open_upload_pack(node.gateway(), relative, &body);
    if !unread {
        http::drain(&mut stream, Duration::ZERO, || false);
    }
    stream
}

#[test]
fn random_bytes() {
    let health = Health::new();
    let seed = 7;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    for round in 0..200 {
        let length = random.below(3_000);
        let mut body = random.bytes(length);
        if round % 2 == 0 {
            // A true length in front leads deeper than noise does.
            body = [pktline::data(&body), b"0000".to_vec()].concat();
        }
        let answer = http::upload_pack(health.node.gateway(), "varied.git", round % 3, &body);
        assert!(answer.status < 500, "seed {seed} round {round}: {answer:?}");
    }
    for _ in 0..50 {
        let mut stream = TcpStream::connect(health.node.gateway()).unwrap();
        drop(stream.write_all(&random.bytes(500)));
    }
    health.assert_unchanged();
}

#[test]
fn requests_cut_and_changed_anywhere() {
    let health = Health::new();
    let repository = Repository { path: health.node.storage().join("varied.git") };
    let want = format!("want {}", repository.id("main"));
    let have = format!("have {}", repository.id("main~3"));
    let lines = ["command=fetch", "object-format=sha1", "delim", &want, &have, "done", "flush"];
    let whole = request(&lines);
    for end in 0..whole.len() {
        let answer = http::upload_pack(health.node.gateway(), "varied.git", 2, &whole[..end]);
        assert!(answer.status < 500, "cut at {end}: {answer:?}");
    }
    let seed = 3;
    let mut random = Random::new(seed);
    for round in 0..200 {
        let mut body = whole.clone();
        let at = random.below(body.len());
        body[at] = random.below(256) as u8;
        let answer = http::upload_pack(health.node.gateway(), "varied.git", 2, &body);
        assert!(answer.status < 500, "seed {seed} round {round}: {answer:?}");
    }
    health.assert_unchanged();
}

#[test]
fn wants_that_do_not_exist() {
    let health = Health::new();
    let mut body = request(&["command=fetch", "object-format=sha1", "delim"]);
    for n in 0..2_000 {
        body.extend(pktline::data(format!("want {n:040x}\n")));
    }
    body.extend(request(&["done", "flush"]));
    for version in [0, 2] {
        let answer = http::upload_pack(health.node.gateway(), "varied.git", version, &body);
        assert!(answer.status < 500, "{answer:?}");
        assert!(!answer.body.windows(4).any(|window| window == b"PACK"), "{answer:?}");
    }
    health.assert_unchanged();
}

#[test]
fn floods_of_haves_and_prefixes() {
    let health = Health::new();
    let mut haves = request(&["command=fetch", "object-format=sha1", "delim"]);
    let mut prefixes = request(&["command=ls-refs", "object-format=sha1", "delim"]);
    for n in 0..100_000 {
        haves.extend(pktline::data(format!("have {n:040x}\n")));
        prefixes.extend(pktline::data(format!("ref-prefix refs/heads/{n}\n")));
    }
    for mut body in [haves, prefixes] {
        body.extend(b"0000");
        for _ in 0..5 {
            let answer = http::upload_pack(health.node.gateway(), "varied.git", 2, &body);
            assert!(answer.status < 500, "{answer:?}");
        }
    }
    health.assert_unchanged();
}

#[test]
fn clients_that_vanish() {
    let health = Health::new();
    for round in 0..12 {
        let mut stream = clone_request(&health.node, "heavy.git", true);
        // Some leave before the first byte, some in the middle of the pack.
        if round % 3 > 0 {
            let mut buffer = vec![0; 200_000];
            drop(std::io::Read::read_exact(&mut stream, &mut buffer));
        }
        if round % 2 == 0 {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
    health.assert_unchanged();
}

#[test]
fn clients_that_stop_reading() {
    let health = Health::new();
    let parked: Vec<_> = (0..4).map(|_| clone_request(&health.node, "heavy.git", true)).collect();
    std::thread::sleep(Duration::from_secs(1));
    // What nobody reads must wait in the pipes, not in the node.
    let grown = anonymous_bytes(health.node.pid()).saturating_sub(health.bytes);
    assert!(grown <= KEPT_BYTES_MAX, "{} MiB for parked clients", grown >> 20);
    serve_a_client(&health.node);
    drop(parked);
    health.assert_unchanged();
}

#[test]
fn clients_that_write_slowly() {
    let health = Health::new();
    let mut slow: Vec<TcpStream> = (0..32)
        .map(|_| TcpStream::connect(health.node.gateway()).expect("the node accepts"))
        .collect();
    let head = b"GET /varied.git/info/refs?service=git-upload-pack HTTP/1.1\r\n";
    for byte in &head[..20] {
        for stream in &mut slow {
            drop(stream.write_all(&[*byte]));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Bodies that were announced and never come.
    let path = "/varied.git/git-upload-pack";
    let headers = [("Content-Type", "application/x-git-upload-pack-request")];
    let waiting: Vec<_> =
        (0..16).map(|_| http::open(health.node.gateway(), "POST", path, &headers, 500)).collect();
    serve_a_client(&health.node);
    drop((slow, waiting));
    health.assert_unchanged();
}
