//! The spawning thread: `std::process` blocks for about half a millisecond, and so must not run
//! on a reactor.

use super::reap::{Birth, Group};
use super::standing::Standing;
use super::{CORRELATION_ID, ChildCommand, Life, Order, Output, Started};
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
pub(super) fn run(orders: &Receiver<Order>, births: &mpsc::Sender<Birth>, standing: &Standing) {
    while let Ok(Order { command, output, permit, reply }) = orders.recv() {
        if reply.is_closed() {
            continue;
        }
        let started = start(&command, output).map(|(started, mut birth)| {
            standing.give(birth.pid, &command);
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

fn start(command: &ChildCommand, output: Output) -> io::Result<(Started, Birth)> {
    let mut prepared = prepare(command);
    let joined = match output {
        Output::Apart => None,
        Output::Joined => {
            let (both, stdout) = std::io::pipe()?;
            prepared.stdout(stdout.try_clone()?).stderr(stdout);
            Some(OwnedFd::from(both))
        }
    };
    let began = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "this is the spawning thread")]
    let mut child = prepared.spawn()?;
    // It holds the ends that the child writes to.
    drop(prepared);
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
    let stdout = child.stdout.take().map(OwnedFd::from);
    let stderr = joined.or_else(|| child.stderr.take().map(OwnedFd::from));
    let stderr = stderr.expect("one of both pipes was asked for");
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
