//! A running `gitring-node` on free ports with a storage of its own: the gateway, and Gitaly's door
//! on TCP and on a unix socket.
//!
//! Always true:
//! - The value exists only once all its ports accept connections.
//! - Dropping it kills and reaps the node.
//! - `GITRING_TEST_IO_URING`, if set, is what a node's `[runtime] io_uring` says by default.
//! - Every git that the node starts leaves a line in a file, so they can be counted, unless a
//!   measurement does without.
//!
//! Never here: a node in this process; tests meet the program that users run.

mod change;

pub use self::change::{Certificate, FIRST, SECOND};

use std::fs::{self, OpenOptions};
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
    plan: Plan,
    child: Child,
    ports: Ports,
    /// The process that has taken the child's place.
    successor: Option<u32>,
}

/// What a node is started with, once or again.
#[derive(Debug)]
struct Plan {
    folder: TempDir,
    storage: PathBuf,
    /// A program and its arguments that become the node.
    launcher: Vec<String>,
    /// The end of the configuration.
    more: String,
    /// Whether it listens for TLS, too.
    within_tls: bool,
}

/// While it is held, no `git pack-objects` of the node begins its work.
#[derive(Debug)]
pub struct Held(PathBuf);

/// Where a node listens.
#[derive(Debug, Clone, Copy)]
struct Ports {
    gateway: SocketAddr,
    gitaly: SocketAddr,
    metrics: SocketAddr,
    tls: SocketAddr,
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
        Self::start_under(&[], more)
    }

    /// As [`Self::start_with`], by way of a program that becomes the node: `unshare -m …`.
    pub fn start_under(launcher: &[String], more: &str) -> Self {
        Plan { launcher: launcher.to_vec(), more: more.to_owned(), ..Plan::fresh() }.start()
    }

    /// Starts another node over the storage of this one.
    pub fn start_beside(&self, more: &str) -> Self {
        Plan { storage: self.storage(), more: more.to_owned(), ..Plan::fresh() }.start()
    }

    /// Kills the node at once, as a crash does. Its children are left to themselves.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Starts a node that has ended again: the same configuration, other ports.
    pub fn restart(&mut self) {
        (self.child, self.ports) = self.plan.run();
    }

    /// Holds up every pack that is built from now on.
    pub fn hold_packs(&self) -> Held {
        let path = self.plan.held();
        fs::write(&path, "").expect("a file can be written");
        Held(path)
    }

    /// The folder of the storage `default`.
    pub fn storage(&self) -> PathBuf {
        self.plan.storage.clone()
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
        self.plan.folder.path().join("gitaly.socket")
    }

    /// Where the metrics are.
    pub fn metrics(&self) -> SocketAddr {
        self.ports.metrics
    }

    /// The node's process id.
    pub fn pid(&self) -> u32 {
        self.successor.unwrap_or(self.child.id())
    }

    /// How many git processes the node has started for its clients.
    pub fn children_started(&self) -> usize {
        self.children_log().lines().count()
    }

    /// First arguments of every git process that the node has started for its clients, one a line.
    pub fn children_log(&self) -> String {
        let log = self.plan.folder.path().join("children");
        let log = fs::read_to_string(log).unwrap_or_default();
        // Which git it is, a node asks first, for itself.
        let mut lines: Vec<_> = log.lines().filter(|line| *line != "version").collect();
        lines.push("");
        lines.join("\n")
    }

    /// The correlation ids that these found in their environment, one a line.
    pub fn children_correlation_ids(&self) -> String {
        fs::read_to_string(self.plan.folder.path().join("correlation_ids")).unwrap_or_default()
    }

    /// From now on git is started without the script that counts: a shell costs CPU.
    pub fn start_git_directly(&self) {
        let folder = self.plan.folder.path();
        let link = folder.join("git-itself");
        std::os::unix::fs::symlink(git::program(), &link).expect("a link can be made");
        fs::rename(link, folder.join("git")).expect("a name can be replaced");
    }

    /// What the node has logged so far.
    pub fn log(&self) -> String {
        self.plan.log()
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
}

// === impl Plan ===

impl Plan {
    /// A folder with an empty storage.
    fn fresh() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let storage = folder.path().join("storage");
        fs::create_dir(&storage).expect("a fresh folder is empty");
        Self { folder, storage, launcher: Vec::new(), more: String::new(), within_tls: false }
    }

    fn start(self) -> Node {
        let folder = self.folder.path();
        fs::create_dir(folder.join("run")).expect("a fresh folder is empty");
        write_counting_git(folder);
        let (child, ports) = self.run();
        Node { plan: self, child, ports, successor: None }
    }

    fn run(&self) -> (Child, Ports) {
        let config = self.folder.path().join("config.toml");
        for _ in 0..START_ATTEMPTS {
            let ports = Ports::free();
            fs::write(&config, self.configuration(ports)).expect("the configuration is written");
            let mut child = self.spawn(&config);
            let doors = [ports.gateway, ports.gitaly, ports.metrics];
            if doors.into_iter().all(|door| accepts(&mut child, door)) {
                return (child, ports);
            }
            drop(child.kill());
            drop(child.wait());
        }
        panic!("the node does not accept connections\n{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The file that holds up packs while it is there.
    fn held(&self) -> PathBuf {
        self.folder.path().join("held")
    }

    fn spawn(&self, config: &Path) -> Child {
        let program = program();
        let mut command = match self.launcher.split_first() {
            None => Command::new(program),
            Some((launcher, arguments)) => {
                let mut command = Command::new(launcher);
                command.args(arguments).arg(program);
                command
            }
        };
        git::close_environment(&mut command);
        let log = self.folder.path().join("log");
        let log = OpenOptions::new().create(true).append(true).open(log);
        let stdout = log.expect("the log can be opened");
        let stderr = stdout.try_clone().expect("a file can be cloned");
        command.arg("serve").arg(config).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        command.spawn().expect("the node can be started")
    }

    fn configuration(&self, ports: Ports) -> String {
        let (folder, storage) = (self.folder.path().display(), self.storage.display());
        let Ports { gateway, gitaly, metrics, tls } = ports;
        let tls =
            if self.within_tls { format!("tls_listen_addr = \"{tls}\"\n") } else { String::new() };
        let mut more = self.more.clone();
        let io_uring = std::env::var("GITRING_TEST_IO_URING");
        if let Some(io_uring) = io_uring.ok().filter(|_| !more.contains("io_uring = ")) {
            let line = format!("[runtime]\nio_uring = \"{io_uring}\"\n");
            more = match more.contains("[runtime]\n") {
                true => more.replacen("[runtime]\n", &line, 1),
                false => more + "\n" + &line,
            };
        }
        format!(
            "runtime_dir = \"{folder}/run\"\nlisten_addr = \"{gitaly}\"\n\
             socket_path = \"{folder}/gitaly.socket\"\nprometheus_listen_addr = \"{metrics}\"\n\
             graceful_restart_timeout = \"10s\"\n{tls}\n\
             [[storage]]\nname = \"default\"\npath = \"{storage}\"\n\n\
             [git]\nbin_path = \"{folder}/git\"\n\n[logging]\nformat = \"json\"\n\
             level = \"info\"\n\n[gateway]\nlisten_addr = \"{gateway}\"\n\n{more}"
        )
    }
}

// === impl Ports ===

impl Ports {
    /// Ports that were free a moment ago, all different.
    fn free() -> Self {
        let listeners: Vec<_> =
            (0..4).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free")).collect();
        let address =
            |at: usize| listeners[at].local_addr().expect("a bound socket has an address");
        Self { gateway: address(0), gitaly: address(1), metrics: address(2), tls: address(3) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The number of one that has ended may be another's by now.
        let runs = matches!(self.child.try_wait(), Ok(None));
        let children = if runs { process::children(self.child.id()) } else { Vec::new() };
        drop(self.child.kill());
        drop(self.child.wait());
        let children = [children, self.end_successor()].concat();
        // Children end with their pipes; what does not must not outlive the test.
        for child in
            children.into_iter().filter(|child| Path::new(&format!("/proc/{child}")).exists())
        {
            drop(Command::new("sh").arg("-c").arg(format!("kill -KILL {child} 2>&-")).status());
        }
    }
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

/// A git that notes its arguments before it becomes the real one; packs wait while they are held.
fn write_counting_git(folder: &Path) {
    let (path, git, folder) = (folder.join("git"), git::program(), folder.display());
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>'{folder}/children'\n\
         test -z \"$CORRELATION_ID\" || echo \"$CORRELATION_ID\" >>'{folder}/correlation_ids'\n\
         case \" $* \" in *\" pack-objects \"*)\n\
         while [ -e '{folder}/held' ]; do sleep 0.02; done ;;\nesac\n\
         exec '{}' \"$@\"\n",
        git.display()
    );
    fs::write(&path, script).expect("the script can be written");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&path, executable).expect("the script can be made executable");
}
