//! A TCP relay in front of the node that counts what the node sends.
//!
//! Always true: bytes pass unchanged, and are counted before the client gets them.
//!
//! Never here: HTTP. A relay knows bytes only.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A relay; its threads end with the program.
pub(crate) struct Relay {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

// === impl Relay ===

impl Relay {
    /// Listens on a free port and connects each client to `server`.
    pub(crate) fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                // An end that is gone ends both directions; the client then sees it too.
                std::thread::spawn(move || drop(connect(client, server, &counter)));
            }
        });
        Ok(Self { address, bytes })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes sent by the server so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

fn connect(client: TcpStream, server: SocketAddr, answered: &AtomicU64) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    let asked = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| copy(from_client, to_server, &asked));
        copy(server, client, answered);
    });
    Ok(())
}

/// Copies until one end is gone, then tells the other.
fn copy(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        counter.fetch_add(read as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
    drop(from.shutdown(Shutdown::Read));
}
