//! The mux on a socket: streams that are read and written like sockets of their own.
//!
//! ```text
//!   owner polls Driver ── one read, one vectored write a turn ── socket
//!     Mux::open ─────┐
//!     Incoming ──────┼── yamux session (gitring_proto::yamux)
//!     MuxStream ─────┘
//! ```
//!
//! Always true:
//! - everything of one connection stays on one thread and shares no lock;
//! - nothing runs unless the [`Driver`] is polled: whoever owns it owns the connection;
//! - a driver ends when its socket does, when the peer breaks the protocol, or when nobody holds
//!   the [`Mux`], the [`Incoming`] or a stream any more; every stream ends with it;
//! - what waits in memory per stream is bounded by [`Limits`], per connection by one write.
//!
//! Never here: what streams carry, and who may open them.

mod driver;
mod replay;
mod shared;
mod stream;

#[cfg(test)]
mod tests;

use gitring_proto::yamux::{OpenError, Session};
use shared::Shared;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};

pub use driver::Driver;
pub use gitring_proto::yamux::{Limits, Role, SessionError, StreamError};
pub use replay::Replay;
pub use stream::MuxStream;

/// What a node admits on a connection of a client.
///
/// The window of accepted streams is Gitaly's, 16 MiB: the one that carries gRPC has a reader that
/// always reads, bounded by HTTP/2's own windows, and pushes over long links need it. Streams that
/// are not accepted stay at 256 KiB each, and a client has no reason to open a second one, so few
/// may wait. Sidechannels bring requests, not packs: 1 MiB.
pub const NODE: Limits = Limits {
    accepted_window_bytes: 16 << 20,
    opened_window_bytes: 1 << 20,
    backlog_max: 16,
    accepted_streams_max: 256,
    // One for each fetch that runs on the connection; Workhorse has few connections.
    opened_streams_max: 4096,
    unacknowledged_max: BACKLOG_OF_CLIENTS,
    send_queue_bytes_max: SEND_QUEUE_BYTES_MAX,
};

/// What a client of a Gitaly admits: the settings of the stock client.
pub const CLIENT: Limits = Limits {
    accepted_window_bytes: 256 << 10,
    opened_window_bytes: 256 << 10,
    backlog_max: BACKLOG_OF_CLIENTS,
    accepted_streams_max: 4096,
    // Gitaly accepts one stream and never a second.
    opened_streams_max: 1,
    unacknowledged_max: 1,
    send_queue_bytes_max: SEND_QUEUE_BYTES_MAX,
};

/// What Go's library keeps for its acceptor by default; it resets what exceeds it.
const BACKLOG_OF_CLIENTS: usize = 256;
/// Two windows of a stock client: one to be written, one ready when the window opens again.
const SEND_QUEUE_BYTES_MAX: usize = 512 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum MuxError {
    /// The socket.
    #[error("the connection failed")]
    Socket(#[from] io::Error),
    /// The socket ended within a frame.
    #[error("the connection ended within a frame")]
    Truncated,
    /// The socket took no byte for so long that nobody can be at its other end.
    #[error("the peer read nothing for {} seconds", driver::WRITE_STALL_MAX.as_secs())]
    Stalled,
    /// The protocol.
    #[error(transparent)]
    Protocol(#[from] SessionError),
}

/// Opens streams.
#[derive(Debug, Clone)]
pub struct Mux {
    shared: Rc<Handle>,
}

/// Accepts streams. Without it every stream that the peer opens is reset.
#[derive(Debug)]
pub struct Incoming {
    shared: Rc<Handle>,
}

/// Counts its holders: the last one that goes wakes the driver.
#[derive(Debug)]
struct Handle(Rc<RefCell<Shared>>);

/// Begins yamux on a socket. Nothing happens until the [`Driver`] is polled.
pub fn start<S>(socket: S, role: Role, limits: Limits) -> (Mux, Incoming, Driver<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let shared = Rc::new(RefCell::new(Shared::new(Session::new(role, limits))));
    let driver = Driver::new(socket, Rc::clone(&shared));
    let handle = Rc::new(Handle(shared));
    (Mux { shared: Rc::clone(&handle) }, Incoming { shared: handle }, driver)
}

// === impl Mux ===

impl Mux {
    /// Opens a stream; waits while as many as may be are open or unacknowledged.
    pub async fn open(&self) -> Result<MuxStream, OpenError> {
        let id = poll_fn(|cx| {
            let mut shared = self.shared.0.borrow_mut();
            match shared.session.open() {
                Err(OpenError::Busy) => {
                    shared.wait_to_open(cx.waker());
                    Poll::Pending
                }
                other => Poll::Ready(other),
            }
        })
        .await?;
        shared::after(&self.shared.0);
        Ok(MuxStream::new(Rc::clone(&self.shared), id))
    }

    /// Whether the connection lasts.
    pub fn is_open(&self) -> bool {
        !self.shared.0.borrow().ended
    }
}

// === impl Incoming ===

impl Incoming {
    /// The next stream that the peer opens; `None` once the connection has ended.
    pub async fn accept(&mut self) -> Option<MuxStream> {
        let id = poll_fn(|cx| {
            let mut shared = self.shared.0.borrow_mut();
            if let Some(id) = shared.session.accept() {
                return Poll::Ready(Some(id));
            }
            if shared.ended {
                return Poll::Ready(None);
            }
            let former = shared.wait_to_accept(cx.waker());
            drop(shared);
            drop(former);
            Poll::Pending
        })
        .await?;
        shared::after(&self.shared.0);
        Some(MuxStream::new(Rc::clone(&self.shared), id))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.shared.0.borrow_mut().session.stop_accepting();
        shared::after(&self.shared.0);
    }
}

// === impl Handle ===

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.borrow_mut().abandoned = true;
        shared::after(&self.0);
    }
}
