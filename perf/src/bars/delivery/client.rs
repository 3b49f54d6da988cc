//! Who reads: our mux with the stock client's windows, as in every other load.

use std::io;

use gitring_daemon::mux::{self, CLIENT, Role};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime;
use tokio::task::LocalSet;

use crate::bars::plain_send::End;

/// Reads as many streams as there are to come, and drops what they bring: of each so many bytes.
pub(super) fn read(socket: End, expected_bytes: u64, streams: usize) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        socket.set_nonblocking()?;
        match socket {
            End::Unix(socket) => {
                drain(UnixStream::from_std(socket)?, expected_bytes, streams).await
            }
            End::Tcp(socket) => drain(TcpStream::from_std(socket)?, expected_bytes, streams).await,
        }
    })
}

async fn drain<S>(socket: S, expected_bytes: u64, streams: usize) -> io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let (_mux, mut incoming, driver) = mux::start(socket, Role::Client, CLIENT);
    let driving = tokio::task::spawn_local(driver);
    for _ in 0..streams {
        let mut stream = incoming.accept().await.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut bytes = 0;
        while let Some(piece) = stream.receive().await.map_err(io::Error::other)? {
            bytes += piece.len() as u64;
        }
        if bytes != expected_bytes {
            return Err(io::Error::other(format!("{bytes} bytes came of {expected_bytes}")));
        }
        stream.finish().await.map_err(io::Error::other)?;
    }
    driving.abort();
    Ok(())
}
