//! A node in this process or in one of its own, and the simplest client.

use gitring_node::config::Config;
use gitring_node::rpc::gateway::Limits;
use gitring_node::server::Node;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing in these tests may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with a storage, in which `group/a.git` lies.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

/// A node of this process.
pub(crate) struct Local {
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// A node in a process of its own.
pub(crate) struct Process {
    pub(crate) place: Place,
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

pub(crate) fn git(args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=n", "-c", "user.email=n@localhost"])
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

// === impl Place ===

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        let work = place.path("work");
        git(&["init", "-q", "-b", "main", &work]);
        for number in 0..20 {
            // Random enough that packs have some size.
            let noise: String = (0..2000_u64)
                .map(|n| format!("{:x}\n", (n + number * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                .collect();
            fs::write(format!("{work}/file{}", number % 5), noise).unwrap();
            git(&["-C", &work, "add", "."]);
            git(&["-C", &work, "commit", "-q", "-m", &format!("commit {number}")]);
        }
        git(&["-C", &work, "tag", "-m", "first", "v1", "main~10"]);
        git(&["-C", &work, "branch", "side", "main~3"]);
        git(&["clone", "-q", "--bare", &work, &place.path("storage/group/a.git")]);
        place
    }

    pub(crate) fn path(&self, below: &str) -> String {
        self.dir.path().join(below).to_str().unwrap().to_owned()
    }

    fn config(&self, more: &str) -> String {
        format!(
            "runtime_dir = '{}'\ngraceful_restart_timeout = '2s'\n\
             prometheus_listen_addr = '127.0.0.1:0'\n\
             [[storage]]\nname = 'default'\npath = '{}'\n\
             [gateway]\nlisten_addr = '127.0.0.1:0'\n{more}",
            self.dir.path().display(),
            self.path("storage"),
        )
    }

    /// Makes the repository one that is served by `git upload-pack` as a whole: a shallow one.
    pub(crate) fn leave_to_git(&self) {
        let repository = self.path("storage/group/a.git");
        let root = git(&["-C", &repository, "rev-list", "--max-parents=0", "main"]);
        fs::write(format!("{repository}/shallow"), root).unwrap();
    }

    /// A script in git's place, which serves the repository.
    pub(crate) fn script(&self, text: &str) -> String {
        self.leave_to_git();
        let path = self.path("git");
        let version = "[ \"$1\" = version ] && exec git version\n";
        fs::write(&path, format!("#!/bin/sh\n{version}{text}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        format!("[git]\nbin_path = '{path}'")
    }

    pub(crate) fn start(self, more: &str, limits: Limits) -> Local {
        let file = PathBuf::from("node.toml");
        let mut config = Config::parse(&file, &self.config(more)).unwrap();
        config.gateway.as_mut().unwrap().limits = limits;
        Local { node: Node::start(config).unwrap(), place: self }
    }

    pub(crate) fn spawn(self, more: &str) -> Process {
        let file = self.path("node.toml");
        fs::write(&file, self.config(more)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_gitring-node"))
            .args(["serve", &file])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let serving = lines.find_map(|line| {
            let line = line.unwrap();
            Some(line.split_once(" address=")?.1.split(' ').next()?.to_owned())
        });
        let address = serving.expect("the node says where it serves").parse().unwrap();
        // Whoever does not read lets the node wait at some point.
        std::thread::spawn(move || lines.for_each(drop));
        Process { place: self, child, address }
    }
}

// === impl Local ===

impl Local {
    pub(crate) fn url(&self) -> String {
        format!("http://{}/group/a.git", self.node.gateway_address().unwrap())
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.node.gateway_address().unwrap())
    }

    /// Waits until a line of `/metrics` is exactly this.
    pub(crate) fn until_metric(&self, expected: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let address = self.node.metrics_address().unwrap();
            let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let answer = exchange(connect(address), request.as_bytes());
            if answer.lines().any(|line| line == expected) {
                return;
            }
            assert!(Instant::now() < deadline, "never: {expected}\n{answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a request and reads until the server closes.
pub(crate) fn exchange(mut stream: TcpStream, request: &[u8]) -> String {
    // The server may refuse, and close, before it has read all.
    let _ = stream.write_all(request);
    rest(&mut stream)
}

/// Everything until the end of the connection, however it ends.
pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("read the answer: {error}"),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A POST to git-upload-pack whose head promises `length` bytes.
pub(crate) fn post_head(length: usize, more: &str) -> String {
    format!(
        "POST /group/a.git/git-upload-pack HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/x-git-upload-pack-request\r\ngit-protocol: version=2\r\n\
         content-length: {length}\r\n{more}\r\n"
    )
}

/// What version 2 asks to list all references.
pub(crate) const LS_REFS: &str =
    "0014command=ls-refs\n0014agent=git/2.39.50016object-format=sha100010000";
