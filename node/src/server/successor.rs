//! SIGUSR2: the program that lies there now is started, gets the listening sockets, and serves.
//!
//! Always true: where it does not come to serve, this process goes on as before, and says why.
//! Never here: how sockets travel; that is the daemon's `handover`.

use super::Node;
use super::signals::Signals;
use gitring_daemon::handover::{Facts, HandOverError, Successor};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Until a new process serves: it may have to look at large storages first.
const READY_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long connections that are open notice nothing, once another process accepts: who has just
/// connected speaks within it.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// How this program was started, and so how another one is.
#[derive(Debug)]
pub(super) struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Another process serves.
    HandedOver,
    /// This one goes on.
    Stays,
    /// It was asked to end meanwhile.
    Ends,
}

// === impl Launch ===

impl Launch {
    /// To be called before anybody changes the working directory or replaces the program.
    pub(super) fn observe() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let name = PathBuf::from(arguments.next().unwrap_or_default());
        // By the name that was used: it may be a link that the next version moves.
        let program = match name.components().count() {
            0 => std::env::current_exe()?,
            1 if !name.has_root() => in_path(&name).map_or_else(std::env::current_exe, Ok)?,
            _ => std::path::absolute(&name)?,
        };
        Ok(Self { program, arguments: arguments.collect() })
    }

    /// Starts the program and waits until it serves.
    pub(super) async fn hand_over(
        &self,
        node: &Node,
        is_closed: bool,
        signals: &mut Signals,
    ) -> Outcome {
        if ends_container() {
            tracing::error!("hand-over: the container would end with this process");
            return Outcome::Stays;
        }
        tracing::info!(program = %self.program.display(), "handing over");
        let starting = async {
            let facts = Facts { is_closed };
            let successor = Successor::start(&self.program, &self.arguments, &node.kept, facts)?;
            successor.serves(READY_WAIT_MAX).await
        };
        let started: Result<u32, HandOverError> = tokio::select! {
            started = starting => started,
            () = signals.end() => return Outcome::Ends,
        };
        match started {
            Ok(pid) => {
                tracing::info!(successor = pid, "handed over");
                gitring_daemon::notify::succeeded_by(pid);
                Outcome::HandedOver
            }
            Err(error) => {
                let error = gitring_daemon::log::chain(&error);
                tracing::error!(error, "not handed over, this process goes on");
                Outcome::Stays
            }
        }
    }
}

/// Whether a container ends with this process: it is the first one, or the child of a small init.
#[expect(clippy::disallowed_methods, reason = "no reactor runs on this thread")]
fn ends_container() -> bool {
    const INITS: [&str; 5] = ["tini", "docker-init", "dumb-init", "catatonit", "podman-init"];
    let is_first = std::process::id() == 1;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    let first = || std::fs::read_to_string("/proc/1/comm");
    is_first || parent == Some(1) && first().is_ok_and(|name| INITS.contains(&name.trim()))
}

#[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
fn in_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}
