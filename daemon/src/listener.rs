//! Listening sockets.
//!
//! Always true: a socket returned from here is non-blocking and listens already, so an address in
//! use is an error of the start, not of the first client.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that the kernel completes and keeps while the service is busy or at its limit.
const BACKLOG_MAX: i32 = 1024;

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Listens on a TCP address. Port 0 lets the kernel choose.
pub fn tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    listen(address).map_err(|source| ListenError { address, source })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process in TIME_WAIT must not keep a new one from starting.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_MAX)?;
    Ok(socket.into())
}
