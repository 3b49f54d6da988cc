//! The spawning thread: `std::process` blocks for about half a millisecond, and so must not run
//! on a reactor.

use super::reap::{Birth, Group};
use super::{CORRELATION_ID, ChildCommand, Life, Order, Started};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Starts children until the last [`super::Children`] is gone.
pub(super) fn run(orders: &Receiver<Order>, births: &mpsc::Sender<Birth>) {
    while let Ok(Order { command, permit, reply }) = orders.recv() {
        if reply.is_closed() {
            continue;
        }
        let started = start(&command).map(|(started, mut birth)| {
            birth.permit = Some(permit);
            // The reaper's inbox holds `children_max`, so this waits for the reaper at most.
            if let Err(lost) = births.blocking_send(birth) {
                lost.0.group.kill();
            }
            started
        });
        // A caller that has left drops what was started, which kills it.
        let _ = reply.send(started);
    }
}

fn start(command: &ChildCommand) -> io::Result<(Started, Birth)> {
    let mut child = prepare(command);
    let began = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "this is the spawning thread")]
    let mut child = child.spawn()?;
    let pid = Pid::from_child(&child);
    let pidfd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            // Without a pidfd nobody would notice its end: it must not begin.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error.into());
        }
    };
    let stdin = OwnedFd::from(child.stdin.take().expect("stdin was asked for as a pipe"));
    let stdout = OwnedFd::from(child.stdout.take().expect("stdout was asked for as a pipe"));
    let stderr = OwnedFd::from(child.stderr.take().expect("stderr was asked for as a pipe"));
    let group = Arc::new(Group::new(pid));
    let (exited, exit) = oneshot::channel();
    let life = Life { group: Arc::clone(&group), exit };
    let (name, account) = (command.name, Arc::clone(&command.account));
    let birth = Birth { pid, pidfd, group, exited, permit: None, name, account, began };
    Ok((Started { stdin, stdout, stderr, life }, birth))
}

fn prepare(command: &ChildCommand) -> Command {
    let mut prepared = Command::new(&command.program);
    prepared
        .args(&command.args)
        .env_clear()
        .envs(command.env.iter().map(|(key, value)| (key, value)))
        .current_dir(&command.current_dir)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    match command.account.correlation_id() {
        "" => {}
        id => {
            prepared.env(CORRELATION_ID, id);
        }
    }
    prepared
}
