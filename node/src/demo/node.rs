//! The node of the demo: this program as a child, over a temporary storage.
//!
//! Always true:
//! - The value exists only once the gateway accepts connections; dropping it ends the node.
//! - Every git that the node starts leaves a line in `children`.
//!
//! Never here: the node's own code; it is met over HTTP only.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::measure::cpu_ms;
use super::relay::Relay;
use super::repository::RELATIVE_PATH;
use super::{Cost, DemoError};

/// How long the node may take until it accepts connections.
const START_MAX: Duration = Duration::from_secs(20);

/// How long the node may take to reap the children of a request that has ended.
const REAP_MAX: Duration = Duration::from_secs(2);

/// A running node.
pub(crate) struct DemoNode {
    child: Child,
    gateway: SocketAddr,
    metrics: SocketAddr,
    relay: Relay,
    started: PathBuf,
}

// === impl DemoNode ===

impl DemoNode {
    /// Starts a node over `folder/storage`.
    pub(crate) fn start(folder: &Path) -> Result<Self, DemoError> {
        let failed = |source| DemoError::Io { what: "start the node".to_owned(), source };
        let (gateway, metrics) = free_addresses().map_err(failed)?;
        let started = folder.join("children");
        write_files(folder, &started, gateway, metrics).map_err(failed)?;
        let log_path = folder.join("node.log");
        let log = File::create(&log_path).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("serve").arg(folder.join("config.toml"));
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let relay = Relay::start(gateway).map_err(failed)?;
        let child = command.spawn().map_err(failed)?;
        let mut node = Self { child, gateway, metrics, relay, started };
        if node.accepts() {
            return Ok(node);
        }
        Err(DemoError::NotReady { log: fs::read_to_string(log_path).unwrap_or_default() })
    }

    /// The repository's URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/{RELATIVE_PATH}", self.gateway)
    }

    /// The repository's URL through the relay that counts bytes.
    pub(crate) fn relayed_url(&self) -> String {
        format!("http://{}/{RELATIVE_PATH}", self.relay.address())
    }

    /// Where the node's metrics are.
    pub(crate) fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.metrics)
    }

    /// The node's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets a client play, and returns its wall time and what it cost.
    pub(crate) fn measure(
        &self,
        play: impl FnOnce() -> Result<(), DemoError>,
    ) -> Result<(Duration, Cost), DemoError> {
        let before = self.read();
        let start = Instant::now();
        play()?;
        let wall = start.elapsed();
        // A child's time counts from the moment when it is reaped.
        while self.has_children() && start.elapsed() < wall + REAP_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
        let after = self.read();
        let cost = Cost {
            bytes: after.bytes - before.bytes,
            cpu_ms: after.cpu_ms - before.cpu_ms,
            processes: after.processes - before.processes,
        };
        Ok((wall, cost))
    }

    /// Waits until the node ends by itself.
    pub(crate) fn wait(&mut self) -> Result<(), DemoError> {
        let ended = self.child.wait();
        ended.map(drop).map_err(|source| DemoError::Io { what: "the node".to_owned(), source })
    }

    fn read(&self) -> Cost {
        let lines = fs::read_to_string(&self.started).unwrap_or_default().lines().count();
        let cpu_ms = cpu_ms(&self.pid().to_string());
        Cost { bytes: self.relay.bytes(), cpu_ms, processes: lines as u64 }
    }

    fn has_children(&self) -> bool {
        // Children belong to the thread that started them, so every thread is asked.
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid()));
        threads.into_iter().flatten().flatten().any(|thread| {
            fs::read_to_string(thread.path().join("children")).is_ok_and(|list| !list.is_empty())
        })
    }

    fn accepts(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < START_MAX && matches!(self.child.try_wait(), Ok(None)) {
            if TcpStream::connect_timeout(&self.gateway, Duration::from_secs(1)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for DemoNode {
    fn drop(&mut self) {
        // It holds nothing but copies: no need to wait for a graceful end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Two different free ports; both are bound while the other is looked for.
fn free_addresses() -> std::io::Result<(SocketAddr, SocketAddr)> {
    let (one, two) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?, two.local_addr()?))
}

/// The configuration, and a git that notes its start before it becomes the real one.
fn write_files(
    folder: &Path,
    started: &Path,
    gateway: SocketAddr,
    metrics: SocketAddr,
) -> std::io::Result<()> {
    let git = folder.join("git");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|place| place.join("git"));
    let real = found.into_iter().find(|program| program.is_file());
    let real = real.ok_or_else(|| std::io::Error::other("no git in PATH"))?;
    let (started, real) = (started.display(), real.display());
    fs::write(&git, format!("#!/bin/sh\necho x >>'{started}'\nexec '{real}' \"$@\"\n"))?;
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755))?;
    fs::create_dir_all(folder.join("run"))?;
    let folder_name = folder.display();
    let config = format!(
        "runtime_dir = \"{folder_name}/run\"\nprometheus_listen_addr = \"{metrics}\"\n\n\
         [[storage]]\nname = \"default\"\npath = \"{folder_name}/storage\"\n\n\
         [git]\nbin_path = \"{folder_name}/git\"\n\n\
         [logging]\nformat = \"text\"\nlevel = \"info\"\n\n\
         [hooks]\nwithout_gitlab = \"allow\"\n\n\
         [gateway]\nreceive_pack = true\nlisten_addr = \"{gateway}\"\n"
    );
    fs::write(folder.join("config.toml"), config)
}
