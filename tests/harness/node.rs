//! A running `gitring-node` on free ports with a storage of its own: the gateway, and Gitaly's door
//! on TCP and on a unix socket.
//!
//! Always true:
//! - The value exists only once all its ports accept connections.
//! - Dropping it kills and reaps the node.
//! - Every git that the node starts leaves a line in a file, so they can be counted.
//!
//! Never here: a node in this process; tests meet the program that users run.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{git, process};

/// How long a node may take until it accepts connections, on a loaded machine.
const START_MAX: Duration = Duration::from_secs(20);

/// A port found free may be taken before the node binds it; then another one is tried.
const START_ATTEMPTS: usize = 5;

/// A node and its temporary folder.
#[derive(Debug)]
pub struct Node {
    folder: TempDir,
    child: Child,
    ports: Ports,
}

/// Where a node listens.
#[derive(Debug, Clone, Copy)]
struct Ports {
    gateway: SocketAddr,
    gitaly: SocketAddr,
    metrics: SocketAddr,
}

/// The node under test: `GITRING_NODE`, else the one that cargo built beside this test.
///
/// # Panics
/// If it is not there, with the command that builds it.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("GITRING_NODE") {
        return PathBuf::from(path);
    }
    let own = std::env::current_exe().expect("a test knows its own path");
    // target/<profile>/deps/main-<hash>, or target/<profile>/<program>
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join("gitring-node"));
    found.filter(|path| path.is_file()).last().unwrap_or_else(|| {
        panic!("no gitring-node beside {}: run `cargo build -p gitring-node`", own.display())
    })
}

// === impl Node ===

impl Node {
    /// Starts a node over an empty storage.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a node with more lines of TOML at the end of its configuration.
    pub fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("storage")).expect("a fresh folder is empty");
        fs::create_dir(folder.path().join("run")).expect("a fresh folder is empty");
        write_counting_git(folder.path());
        Self::start_in(folder, more)
    }

    /// The folder of the storage `default`.
    pub fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }

    /// The URL of a repository of the storage.
    pub fn url(&self, relative: &str) -> String {
        format!("http://{}/{relative}", self.ports.gateway)
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        self.ports.gateway
    }

    /// Where it listens for Gitaly's clients.
    pub fn gitaly_address(&self) -> SocketAddr {
        self.ports.gitaly
    }

    /// The unix socket for Gitaly's clients.
    pub fn socket_path(&self) -> PathBuf {
        self.folder.path().join("gitaly.socket")
    }

    /// Where the metrics are.
    pub fn metrics(&self) -> SocketAddr {
        self.ports.metrics
    }

    /// The node's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many git processes the node has started for its clients.
    pub fn children_started(&self) -> usize {
        self.children_log().lines().count()
    }

    /// First arguments of every git process that the node has started for its clients, one a line.
    pub fn children_log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("children")).unwrap_or_default();
        // Which git it is, the node asks first, for itself.
        log.strip_prefix("version\n").unwrap_or(&log).to_owned()
    }

    /// The correlation ids that these found in their environment, one a line.
    pub fn children_correlation_ids(&self) -> String {
        fs::read_to_string(self.folder.path().join("correlation_ids")).unwrap_or_default()
    }

    /// What the node has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until the node ends by itself.
    ///
    /// # Panics
    /// If it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(start.elapsed() < limit, "the node runs after {limit:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Fails if the node has ended, with its log.
    pub fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "the node ended with {ended:?}\n{}", self.log());
    }

    fn start_in(folder: TempDir, more: &str) -> Self {
        for _ in 0..START_ATTEMPTS {
            let ports = Ports::free();
            let config = folder.path().join("config.toml");
            fs::write(&config, configuration(folder.path(), ports, more))
                .expect("the configuration can be written");
            let mut child = spawn(&config, &folder.path().join("log"));
            let doors = [ports.gateway, ports.gitaly, ports.metrics];
            if doors.into_iter().all(|door| accepts(&mut child, door)) {
                return Self { folder, child, ports };
            }
            drop(child.kill());
            drop(child.wait());
        }
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("the node does not accept connections\n{log}");
    }
}

// === impl Ports ===

impl Ports {
    /// Ports that were free a moment ago, all different.
    fn free() -> Self {
        let listeners: Vec<_> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free")).collect();
        let address =
            |at: usize| listeners[at].local_addr().expect("a bound socket has an address");
        Self { gateway: address(0), gitaly: address(1), metrics: address(2) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let children = process::children(self.child.id());
        drop(self.child.kill());
        drop(self.child.wait());
        // Children end with their pipes; what does not must not outlive the test.
        for child in
            children.into_iter().filter(|child| Path::new(&format!("/proc/{child}")).exists())
        {
            drop(Command::new("sh").arg("-c").arg(format!("kill -KILL {child} 2>&-")).status());
        }
    }
}

fn spawn(config: &Path, log: &Path) -> Child {
    let mut command = Command::new(program());
    git::close_environment(&mut command);
    let stdout = File::create(log).expect("the log can be created");
    let stderr = stdout.try_clone().expect("a file can be cloned");
    command.arg("serve").arg(config).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    command.spawn().expect("the node can be started")
}

/// Whether an address accepts before the node ends or the time is over.
fn accepts(child: &mut Child, address: SocketAddr) -> bool {
    let start = Instant::now();
    while start.elapsed() < START_MAX {
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return true;
        }
        if child.try_wait().expect("a child can be waited for").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn configuration(folder: &Path, ports: Ports, more: &str) -> String {
    let folder = folder.display();
    let Ports { gateway, gitaly, metrics } = ports;
    format!(
        "runtime_dir = \"{folder}/run\"\nlisten_addr = \"{gitaly}\"\n\
         socket_path = \"{folder}/gitaly.socket\"\nprometheus_listen_addr = \"{metrics}\"\n\
         graceful_restart_timeout = \"10s\"\n\n\
         [[storage]]\nname = \"default\"\npath = \"{folder}/storage\"\n\n\
         [git]\nbin_path = \"{folder}/git\"\n\n[logging]\nformat = \"json\"\nlevel = \"info\"\n\n\
         [gateway]\nlisten_addr = \"{gateway}\"\n\n{more}"
    )
}

/// A git that notes its arguments before it becomes the real one.
fn write_counting_git(folder: &Path) {
    let (path, git, folder) = (folder.join("git"), git::program(), folder.display());
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>'{folder}/children'\n\
         test -z \"$CORRELATION_ID\" || echo \"$CORRELATION_ID\" >>'{folder}/correlation_ids'\n\
         exec '{}' \"$@\"\n",
        git.display()
    );
    fs::write(&path, script).expect("the script can be written");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&path, executable).expect("the script can be made executable");
}
