//! What a service manager is told about this process (sd_notify(3)).
//!
//! Always true: without `NOTIFY_SOCKET` nothing is said; a manager that does not listen is no
//! error of ours, and is logged.

use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service takes requests; also at the end of a reload.
pub fn ready() {
    tell("READY=1");
}

/// The configuration is being read; to be followed by [`ready`], whatever comes of it.
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let now_us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}"));
}

/// The service is about to end.
pub fn stopping() {
    tell("STOPPING=1");
}

/// Another process takes this one's place, and serves.
pub fn succeeded_by(pid: u32) {
    tell(&format!("MAINPID={pid}\nREADY=1"));
}

fn tell(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let send = || -> io::Result<()> {
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
        Ok(())
    };
    if let Err(error) = send() {
        tracing::warn!(%error, "tell the service manager");
    }
}
