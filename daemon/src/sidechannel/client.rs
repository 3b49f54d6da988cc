//! The client's end: it waits for the stream that the server opens during a call.

use crate::mux::{MuxStream, StreamError};
use bytes::Bytes;
use gitring_proto::sidechannel::{CONFIRMATION, END, METADATA_KEY, SidechannelId, packets};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tonic::metadata::MetadataMap;

/// The calls of one connection that wait for their sidechannels.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    waiters: Rc<RefCell<Waiters>>,
}

#[derive(Debug, Default)]
struct Waiters {
    next: i64,
    waiting: HashMap<SidechannelId, oneshot::Sender<MuxStream>>,
    /// No stream can come any more.
    closed: bool,
}

/// A call's claim to a sidechannel. Dropping it gives the claim up.
#[derive(Debug)]
pub struct Waiter {
    id: SidechannelId,
    registry: Registry,
    stream: oneshot::Receiver<MuxStream>,
}

/// Why a client got no sidechannel.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AcceptError {
    /// The server did not open it in time. Servers that need none do not.
    #[error("no sidechannel within {0:?}")]
    TimedOut(Duration),
    /// The connection is gone.
    #[error("the connection ended before the sidechannel came")]
    Gone,
    /// The confirmation could not be sent.
    #[error("sidechannel handshake: {0}")]
    Broken(#[from] StreamError),
}

/// Why a stream is no sidechannel of ours.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It broke before the id had come.
    #[error("read the id of a sidechannel")]
    Id(#[from] std::io::Error),
    /// Nobody waits for it (any more).
    #[error("sidechannel id {0} is not registered")]
    Unknown(SidechannelId),
}

/// The end of whoever calls: writes packets, reads bytes as they are.
#[derive(Debug)]
pub struct ClientEnd {
    stream: MuxStream,
}

/// A stream that the server has opened and that nobody has confirmed. Dropping it refuses it.
#[derive(Debug)]
pub(crate) struct Offered {
    stream: MuxStream,
}

// === impl Registry ===

impl Registry {
    /// Claims the next id.
    pub fn register(&self) -> Waiter {
        let (sender, stream) = oneshot::channel();
        let mut waiters = self.waiters.borrow_mut();
        let id = SidechannelId(waiters.next);
        waiters.next += 1;
        if !waiters.closed {
            waiters.waiting.insert(id, sender);
        }
        Waiter { id, registry: self.clone(), stream }
    }

    /// Hands a stream that the server opened, read up to behind the magic, to whom it belongs. A
    /// stream that belongs to nobody is reset.
    pub async fn receive(&self, mut stream: MuxStream) -> Result<(), ReceiveError> {
        let mut id = [0; size_of::<i64>()];
        stream.read_exact(&mut id).await?;
        let id = SidechannelId::from_wire(id);
        let waiter = self.waiters.borrow_mut().waiting.remove(&id);
        let waiter = waiter.ok_or(ReceiveError::Unknown(id))?;
        waiter.send(stream).map_err(|_| ReceiveError::Unknown(id))
    }

    /// Calls that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiters.borrow().waiting.len()
    }

    /// The connection is gone: nobody waits any longer, and nobody begins to.
    pub fn close(&self) {
        let mut waiters = self.waiters.borrow_mut();
        waiters.closed = true;
        let given_up = std::mem::take(&mut waiters.waiting);
        drop(waiters);
        drop(given_up);
    }
}

// === impl Waiter ===

impl Waiter {
    /// The id that the server is told.
    pub fn id(&self) -> SidechannelId {
        self.id
    }

    /// Names the sidechannel in the metadata of the call.
    pub fn announce(&self, metadata: &mut MetadataMap) {
        let value = self.id.to_string().parse().expect("decimal digits are a header value");
        metadata.insert(METADATA_KEY, value);
    }

    /// Waits for the server's stream and confirms it. To be polled beside the call.
    pub async fn accept(self, deadline: Duration) -> Result<ClientEnd, AcceptError> {
        let offered = tokio::time::timeout(deadline, self.offered())
            .await
            .map_err(|_| AcceptError::TimedOut(deadline))??;
        Ok(ClientEnd { stream: offered.confirm().await? })
    }

    /// Waits for the server's stream, as long as it takes.
    pub(crate) async fn offered(mut self) -> Result<Offered, AcceptError> {
        let stream = (&mut self.stream).await.map_err(|_| AcceptError::Gone)?;
        Ok(Offered { stream })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // Whatever it drops is dropped behind the borrow.
        let forgotten = self.registry.waiters.borrow_mut().waiting.remove(&self.id);
        drop(forgotten);
    }
}

// === impl Offered ===

impl Offered {
    /// Tells the server that its stream is taken.
    pub(crate) async fn confirm(self) -> Result<MuxStream, StreamError> {
        let mut stream = self.stream;
        stream.send(Bytes::from_static(CONFIRMATION)).await?;
        Ok(stream)
    }
}

// === impl ClientEnd ===

impl ClientEnd {
    /// The next bytes from the server; `None` once it has closed.
    pub async fn read(&mut self) -> Result<Option<Bytes>, StreamError> {
        self.stream.receive().await
    }

    /// Sends bytes as packets.
    pub async fn write(&mut self, data: Bytes) -> Result<(), StreamError> {
        for packet in packets(data) {
            self.stream.send(Bytes::copy_from_slice(&packet.header)).await?;
            self.stream.send(packet.payload).await?;
        }
        Ok(())
    }

    /// Tells the server that nothing more comes. Reading goes on.
    pub async fn finish_writing(&mut self) -> Result<(), StreamError> {
        self.stream.send(Bytes::from_static(END)).await
    }

    /// Closes the stream, usually once [`ClientEnd::read`] has given `None`.
    pub async fn close(mut self) -> Result<(), StreamError> {
        self.stream.finish().await
    }
}
