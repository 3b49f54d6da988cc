//! One sidechannel of the client, passed on: the upstream opens ours, and we open the client's.
//!
//! Always true:
//! - bytes pass as they are, packets of the one direction included; each direction holds no more
//!   than a window and a queue of the mux;
//! - the end of one side's bytes is the end of what the other one reads; a stream that breaks, or
//!   a client that takes nothing for [`STALL_MAX`], breaks the other side's.

use crate::mux::{Mux, MuxStream, StreamError};
use crate::sidechannel::{self, AcceptError, OpenError, Waiter};
use bytes::Bytes;
use gitring_proto::sidechannel::{METADATA_KEY, SidechannelId};
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;

/// A client that takes nothing for so long has gone.
const STALL_MAX: Duration = Duration::from_secs(300);
/// What the client gets of the five seconds within which the upstream wants its confirmation.
const OPENING_MAX: Duration = Duration::from_millis(4_500);

/// Passes one sidechannel on, in a task of its own. Dropping it breaks both sides.
#[derive(Debug)]
pub(super) struct Pump {
    task: JoinHandle<()>,
    /// The upstream has opened its side.
    begun: Arc<AtomicBool>,
}

/// Why a sidechannel is no longer passed on.
#[derive(Debug, thiserror::Error)]
enum PumpError {
    #[error("of the upstream: {0}")]
    Far(#[from] AcceptError),
    #[error("of the client: {0}")]
    Near(#[from] OpenError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("the client took nothing for {} seconds", STALL_MAX.as_secs())]
    Stalled,
}

// === impl Pump ===

impl Pump {
    /// Names our sidechannel in the metadata of the call, and passes on what comes over it to the
    /// client's. None where the number is no header value, which cannot be.
    pub(super) fn start(
        far: Waiter,
        near: (Mux, SidechannelId),
        metadata: &mut HeaderMap,
    ) -> Option<Self> {
        metadata.insert(METADATA_KEY, HeaderValue::try_from(far.id().to_string()).ok()?);
        let begun = Arc::new(AtomicBool::new(false));
        let passing = pass(far, near, Arc::clone(&begun));
        let task = spawn_local(async {
            if let Err(error) = passing.await {
                tracing::debug!(%error, "a sidechannel is not passed on");
            }
        });
        Some(Self { task, begun })
    }

    /// Ready once nothing more passes, or where nothing ever did.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.begun.load(Ordering::Relaxed) {
            // A task that was aborted or has panicked passes nothing on, either.
            let _ = ready!(Pin::new(&mut self.task).poll(cx));
            self.begun.store(false, Ordering::Relaxed);
        }
        Poll::Ready(())
    }

    /// See [`Self::poll_end`].
    pub(super) async fn ended(&mut self) {
        poll_fn(|cx| self.poll_end(cx)).await;
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    far: Waiter,
    (mux, id): (Mux, SidechannelId),
    begun: Arc<AtomicBool>,
) -> Result<(), PumpError> {
    let offered = far.offered().await?;
    begun.store(true, Ordering::Relaxed);
    let (mut near, early) = sidechannel::open_stream(&mux, id, OPENING_MAX).await?;
    let mut far = offered.confirm().await?;
    let unread = far.take_partial();
    let down = down(&far, unread, &near);
    let up = up(&near, early, &far);
    {
        let (mut down, mut up) = (pin!(down), pin!(up));
        tokio::select! {
            biased;
            // What the client has to say behind the upstream's end, nobody reads.
            ended = &mut down => ended?,
            ended = &mut up => {
                ended?;
                down.await?;
            }
        }
    }
    timeout(STALL_MAX, near.finish()).await.map_err(|_| PumpError::Stalled)??;
    Ok(far.finish().await?)
}

/// From the upstream to the client.
async fn down(far: &MuxStream, unread: Bytes, near: &MuxStream) -> Result<(), PumpError> {
    let mut data = unread;
    loop {
        let sending = poll_fn(|cx| near.poll_send(cx, &mut data));
        timeout(STALL_MAX, sending).await.map_err(|_| PumpError::Stalled)??;
        match poll_fn(|cx| far.poll_receive(cx)).await? {
            Some(received) => data = received,
            None => return Ok(()),
        }
    }
}

/// From the client to the upstream, which may be busy as long as it is.
async fn up(near: &MuxStream, early: Bytes, far: &MuxStream) -> Result<(), PumpError> {
    let mut data = early;
    loop {
        poll_fn(|cx| far.poll_send(cx, &mut data)).await?;
        match poll_fn(|cx| near.poll_receive(cx)).await? {
            Some(received) => data = received,
            None => break,
        }
    }
    Ok(poll_fn(|cx| far.poll_finish(cx)).await?)
}
