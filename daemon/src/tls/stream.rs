//! A connection within TLS, which may change its runtime once it is made.
//!
//! Always true: a [`TlsSocket`] belongs to no runtime, a [`TlsStream`] to the one it was registered
//! with; what was read ahead in the handshake is kept.
//!
//! Writes are vectored down to the socket: rustls gathers up to 64 KiB of the slices that it is
//! given into records of 16 KiB, and hands all of them to one writev(2). Bytes that the socket has
//! not taken stay with rustls, so whoever has written everything must flush.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server;

/// A connection on its way to a thread.
#[derive(Debug)]
pub struct TlsSocket(Box<server::TlsStream<Carrier>>);

/// A connection within a runtime.
#[derive(Debug)]
pub struct TlsStream(Box<server::TlsStream<Carrier>>);

/// The socket below: registered with a runtime, or on its way to another.
#[derive(Debug)]
pub(super) enum Carrier {
    Registered(TcpStream),
    Bare(std::net::TcpStream),
    /// A socket that could not be registered.
    Lost,
}

/// Takes a connection from the runtime that is entered.
pub(super) fn leave(mut made: server::TlsStream<Carrier>) -> io::Result<TlsSocket> {
    made.get_mut().0.leave()?;
    Ok(TlsSocket(Box::new(made)))
}

// === impl TlsSocket ===

impl TlsSocket {
    /// Registers it with the runtime that is entered.
    pub fn register(mut self) -> io::Result<TlsStream> {
        self.0.get_mut().0.arrive()?;
        Ok(TlsStream(self.0))
    }
}

// === impl Carrier ===

impl Carrier {
    pub(super) fn arrived(socket: std::net::TcpStream) -> io::Result<Self> {
        Ok(Self::Registered(TcpStream::from_std(socket)?))
    }

    fn leave(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Registered(socket) => Self::Bare(socket.into_std()?),
            away @ (Self::Bare(_) | Self::Lost) => away,
        };
        Ok(())
    }

    fn arrive(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Bare(socket) => Self::arrived(socket)?,
            there @ (Self::Registered(_) | Self::Lost) => there,
        };
        Ok(())
    }

    fn socket(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        match self.get_mut() {
            Self::Registered(socket) => Ok(Pin::new(socket)),
            Self::Bare(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }
}

// === impl TlsStream ===

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
