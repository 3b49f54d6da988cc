//! The reaper: one thread that waits for every child by its pidfd.
//!
//! Always true: a group is signalled only while its leader is not reaped, so the number cannot
//! belong to somebody else by then.

#![expect(unsafe_code, reason = "wait4 with its usage, and watching a pidfd, are not safe")]

use super::admission::Permit;
use super::metrics::Metrics;
use super::{Account, CommandName, Exit, Usage};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

/// A child that was started.
pub(super) struct Birth {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) group: Arc<Group>,
    pub(super) exited: oneshot::Sender<Exit>,
    /// Returned when this value is dropped, after the child was reaped.
    pub(super) permit: Option<Permit>,
    pub(super) name: CommandName,
    pub(super) account: Arc<Account>,
    pub(super) began: Instant,
}

/// The process group of a child, until its leader was reaped.
#[derive(Debug)]
pub(super) struct Group {
    leader: Mutex<Option<Pid>>,
}

/// Starts the thread. It ends when the spawning thread has ended and every child was reaped.
pub(super) fn start(children_max: usize, metrics: Metrics) -> io::Result<mpsc::Sender<Birth>> {
    let (births, mut inbox) = mpsc::channel(children_max);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::Builder::new().name("reap".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let mut reaping = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    birth = inbox.recv() => match birth {
                        Some(birth) => drop(reaping.spawn(reap(birth, metrics.clone()))),
                        None => break,
                    },
                    Some(_) = reaping.join_next() => {}
                }
            }
            while reaping.join_next().await.is_some() {}
        });
    })?;
    Ok(births)
}

async fn reap(birth: Birth, metrics: Metrics) {
    let Birth { pid, pidfd, group, exited, permit, name, account, began } = birth;
    metrics.running.inc();
    // SAFETY: the AsyncFd owns the descriptor, which nobody else has and which never changes.
    match unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) } {
        Ok(pidfd) => drop(pidfd.readable().await),
        // It cannot be watched, so it must end now.
        Err(_) => group.kill(),
    }
    let exit = group.bury(pid);
    metrics.running.dec();
    if let Ok(mut exit) = exit {
        exit.usage.real = began.elapsed();
        account.ended(name, &exit);
        metrics.used(&account, name, &exit.usage);
        // Nobody may be left to be told.
        let _ = exited.send(exit);
    }
    drop(permit);
}

// === impl Group ===

impl Group {
    pub(super) fn new(leader: Pid) -> Self {
        Self { leader: Mutex::new(Some(leader)) }
    }

    /// SIGKILL to every process of the group; nothing if its leader was reaped.
    pub(super) fn kill(&self) {
        if let Some(leader) = *self.lock() {
            // ESRCH: all of them have ended already.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }

    /// Kills what is left of the group, then reaps its leader, which has ended.
    fn bury(&self, pid: Pid) -> io::Result<Exit> {
        let mut leader = self.lock();
        let _ = kill_process_group(pid, Signal::KILL);
        let exit = wait(pid);
        *leader = None;
        exit
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// wait4(2): status and usage of a child, which is reaped. Since when it ran is not known here.
fn wait(pid: Pid) -> io::Result<Exit> {
    let mut status = 0;
    loop {
        // SAFETY: rusage is a C struct of integers, for which all zeros is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live locals of the types that wait4 writes.
        let reaped =
            unsafe { libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, 0, &raw mut usage) };
        if reaped >= 0 {
            let status = ExitStatus::from_raw(status);
            return Ok(Exit { status, usage: used(&usage) });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn used(usage: &libc::rusage) -> Usage {
    let count = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
    Usage {
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        real: Duration::ZERO,
        max_rss_kib: count(usage.ru_maxrss),
        blocks_read: count(usage.ru_inblock),
        blocks_written: count(usage.ru_oublock),
        minor_faults: count(usage.ru_minflt),
        major_faults: count(usage.ru_majflt),
        signals: count(usage.ru_nsignals),
        voluntary_switches: count(usage.ru_nvcsw),
        involuntary_switches: count(usage.ru_nivcsw),
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}
