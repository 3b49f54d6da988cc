//! Vectored writes of bytes that may lie in maps of files.
//!
//! Always true: a page that is gone is written as what the process reads there (zeroes, where a
//! guard stands in for it), and never ends the connection. Who sent it has to find out.
//! Never here: what is written, and what waits for it.

use rustix::io::Errno;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Writes of `slices`, of which there is at least one, what the socket takes.
pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
    socket: &mut S,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let mut socket = Pin::new(socket);
    let written = if socket.is_write_vectored() {
        ready!(socket.as_mut().poll_write_vectored(cx, slices))
    } else {
        ready!(socket.as_mut().poll_write(cx, &slices[0]))
    };
    match written {
        // The kernel could not read a page of a map; we can, or a guard lets us.
        Err(error) if error.raw_os_error() == Some(Errno::FAULT.raw_os_error()) => {
            let copies: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
            socket.poll_write(cx, &copies.concat())
        }
        written => Poll::Ready(written),
    }
}
