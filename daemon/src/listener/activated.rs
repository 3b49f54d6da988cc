//! Sockets that a service manager has opened before it started us (sd_listen_fds(3)).
//!
//! Always true: descriptors are looked at only where `LISTEN_PID` is this process, and taken once.

#![expect(unsafe_code, reason = "descriptors are inherited as bare numbers")]

use super::inherited::Received;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// `SD_LISTEN_FDS_START`
const FIRST: RawFd = 3;
/// More sockets than a service has use for.
const SOCKETS_MAX: RawFd = 64;

/// Every socket that is meant for this process, with its name. The second call finds none.
pub(super) fn take() -> io::Result<Vec<Received>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |key| std::env::var(key).ok().and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0);
    if count > SOCKETS_MAX {
        return Err(io::Error::other(format!("LISTEN_FDS is {count}, at most {SOCKETS_MAX}")));
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for fd in FIRST..FIRST + count {
        // SAFETY: the service manager opened these descriptors for this process and no other code
        // of it knows their numbers; `TAKEN` sees to it that each is taken once.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // They come without it, and children must not listen.
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        let name = names.next().unwrap_or_default().to_owned();
        sockets.push(Received { socket, name, has_file: false });
    }
    Ok(sockets)
}
