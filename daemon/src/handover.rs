//! One process takes another's place: the listening sockets go over, and nobody is refused.
//!
//! ```text
//!   the one that serves                        the one that it starts
//!   Successor::start ── standard input ──────► Predecessor::receive
//!                       sockets, facts         opens, listens, accepts
//!   Successor::serves ◄─── "ready" or why not ─ ready, failed
//! ```
//!
//! The new process finds one end of a socket pair as its standard input and its parent's number in
//! [`VARIABLE`]. Sockets travel as SCM_RIGHTS (unix(7)), so that no child of either process ever
//! inherits one.
//!
//! Always true: until the new process has said that it is ready, the old one serves as before, and
//! so it goes on if that is never said.
//! Never here: which sockets there are, how long draining takes, signals.

use crate::listener::{Inherited, Kept, Received};
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Holds the number of the process that hands over.
pub const VARIABLE: &str = "GITRING_HANDOVER";
/// What begins the message: another version is another way to hand over.
const VERSION: u8 = b'1';
/// Sockets of one message (the kernel takes 253).
const SOCKETS_MAX: usize = 64;
/// What a process may say about its failure.
const REASON_BYTES_MAX: u64 = 64 << 10;
const READY: &[u8] = b"ready\n";
/// How long a process that has said why it fails may take to exit by itself.
const EXIT_LOOKS: u32 = 20;
const EXIT_LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why the old process goes on.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// The program cannot be started, or its sockets not sent.
    #[error("start the new process")]
    Start(#[source] io::Error),
    /// It has ended, or said why it will.
    #[error("the new process did not start: {reason} ({status})")]
    Failed {
        /// In its words.
        reason: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// It said nothing.
    #[error("the new process was not ready within {} seconds", .0.as_secs())]
    TimedOut(Duration),
}

/// The process that was started.
/// Killed when dropped, unless it serves.
#[derive(Debug)]
pub struct Successor {
    process: Option<Child>,
    socket: tokio::net::UnixStream,
}

/// What the old process tells the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Nobody could call without a token.
    pub is_closed: bool,
}

/// The process whose place is taken.
#[derive(Debug)]
pub struct Predecessor {
    socket: UnixStream,
    /// What it said.
    pub facts: Facts,
}

// === impl Successor ===

impl Successor {
    /// Starts a program with these arguments and sends it the sockets.
    pub fn start(
        program: &Path,
        arguments: &[OsString],
        sockets: &[Kept],
        facts: Facts,
    ) -> Result<Self, HandOverError> {
        let start = || -> io::Result<Self> {
            let (ours, theirs) = UnixStream::pair()?;
            send(&ours, sockets, facts)?;
            ours.set_nonblocking(true)?;
            let socket = tokio::net::UnixStream::from_std(ours)?;
            let process = Command::new(program)
                .args(arguments)
                .env(VARIABLE, std::process::id().to_string())
                // They count for this process alone.
                .env_remove("LISTEN_PID")
                .env_remove("LISTEN_FDS")
                .env_remove("LISTEN_FDNAMES")
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .spawn()?;
            Ok(Self { process: Some(process), socket })
        };
        start().map_err(HandOverError::Start)
    }

    /// The new process's number, once it serves. One that does not within `time_max` is killed.
    pub async fn serves(mut self, time_max: Duration) -> Result<u32, HandOverError> {
        let mut said = Vec::new();
        let listening = async {
            // Ends with the process, or once it has said all.
            while said != READY {
                let mut room = (&mut self.socket).take(REASON_BYTES_MAX - said.len() as u64);
                match room.read_buf(&mut said).await {
                    Ok(0) | Err(_) => return false,
                    Ok(_) => {}
                }
            }
            true
        };
        match tokio::time::timeout(time_max, listening).await {
            Ok(true) => Ok(self.process.take().map_or(0, |process| process.id())),
            Ok(false) => {
                let status = self.end().map_err(HandOverError::Start)?;
                let reason = String::from_utf8_lossy(&said).trim().to_owned();
                let reason =
                    if reason.is_empty() { "it gave no reason".to_owned() } else { reason };
                Err(HandOverError::Failed { reason, status })
            }
            Err(_) => Err(HandOverError::TimedOut(time_max)),
        }
    }

    /// Waits for a process that has closed its end: it is about to exit, or is made to.
    fn end(&mut self) -> io::Result<ExitStatus> {
        let Some(mut process) = self.process.take() else { return Ok(ExitStatus::default()) };
        for _ in 0..EXIT_LOOKS {
            if let Some(status) = process.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(EXIT_LOOK_EVERY);
        }
        process.kill()?;
        process.wait()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn send(to: &UnixStream, sockets: &[Kept], facts: Facts) -> io::Result<()> {
    if sockets.len() > SOCKETS_MAX {
        return Err(io::Error::other(format!("{} sockets, at most {SOCKETS_MAX}", sockets.len())));
    }
    let fact = |holds: bool| if holds { b'1' } else { b'0' };
    let mut message = vec![VERSION, fact(facts.is_closed)];
    message.extend(sockets.iter().map(|kept| fact(kept.has_file())));
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(Kept::socket).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for the sockets"));
    }
    let sent = retry_on_intr(|| {
        sendmsg(to, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL)
    })?;
    if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

// === impl Predecessor ===

impl Predecessor {
    /// What this process was started with by the one whose place it takes; `None` if it was started
    /// by somebody else.
    pub fn receive() -> io::Result<Option<(Self, Inherited)>> {
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
        if parent.is_none() || std::env::var(VARIABLE).ok() != parent {
            return Ok(None);
        }
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let (facts, received) = receive(&socket)?;
        Ok(Some((Self { socket, facts }, Inherited::new(received)?)))
    }

    /// This process accepts connections: the old one may stop to.
    pub fn ready(mut self) {
        // One that is gone does not wait.
        let _ = self.socket.write_all(READY);
    }

    /// This process gives up, for this reason.
    pub fn failed(mut self, reason: &str) {
        let _ = self.socket.write_all(reason.as_bytes());
    }
}

fn receive(from: &UnixStream) -> io::Result<(Facts, Vec<Received>)> {
    let mut message = [0; SOCKETS_MAX + 2];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let count = retry_on_intr(|| {
        let mut slices = [IoSliceMut::new(&mut message)];
        recvmsg(from, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let sockets: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| {
            let RecvAncillaryMessage::ScmRights(descriptors) = message else { return None };
            Some(descriptors)
        })
        .flatten()
        .collect();
    let foreign = || io::Error::other("the process that hands over speaks another language");
    let [VERSION, is_closed, files @ ..] = &message[..count.bytes] else { return Err(foreign()) };
    if files.len() != sockets.len() {
        return Err(foreign());
    }
    let received = sockets.into_iter().zip(files).map(|(socket, file)| Received {
        socket,
        name: String::new(),
        has_file: *file == b'1',
    });
    Ok((Facts { is_closed: *is_closed == b'1' }, received.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Goal: sockets and facts arrive as they were sent; a message of another version is refused.
    #[test]
    fn sockets_and_facts_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for is_closed in [true, false] {
            let (old, new) = UnixStream::pair().unwrap();
            let kept = [Kept::of_tcp(&listener).unwrap()];
            send(&old, &kept, Facts { is_closed }).unwrap();
            let (facts, received) = receive(&new).unwrap();
            assert_eq!(facts, Facts { is_closed });
            let mut inherited = Inherited::new(received).unwrap();
            assert_eq!(inherited.tcp(address).unwrap().local_addr().unwrap(), address);
        }
        let (mut old, new) = UnixStream::pair().unwrap();
        old.write_all(b"2 something else").unwrap();
        receive(&new).unwrap_err();
        drop(old);
    }

    /// Goal: the old process learns why the new one did not start, whether it says so, dies or
    /// hangs.
    #[tokio::test]
    async fn a_successor_that_fails() {
        let start = |script: &str| {
            let arguments = ["-c".into(), script.into()];
            Successor::start(Path::new("/bin/sh"), &arguments, &[], Facts { is_closed: true })
        };
        async fn check(successor: Successor, time_max: Duration, expected: &str) {
            let error = successor.serves(time_max).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let long = Duration::from_secs(60);
        check(start("echo no such file >&0; exit 7").unwrap(), long, "no such file").await;
        check(start("exit 7").unwrap(), long, "it gave no reason (exit status: 7)").await;
        check(start("sleep 60").unwrap(), Duration::from_millis(50), "not ready within").await;
        let ready = start("echo ready >&0; exec sleep 60").unwrap();
        let pid = ready.serves(long).await.unwrap();
        assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success(), "it lives");
        Successor::start(Path::new("/nowhere"), &[], &[], Facts { is_closed: true }).unwrap_err();
    }
}
