//! Answers' bodies. The body of a fetch or push owns it: the connection asks for a chunk, the body
//! runs the conversation until there is one.
//!
//! ```text
//!   connection ──poll_frame──► GitBody ──poll──► served ──write──► chunks (2 at most) ───┐
//!        ▲                                                                               │
//!        └───────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Always true:
//! - a body that is dropped drops its conversation, and with it children and queued work;
//! - a conversation that fails ends the body with an error, so that the client never takes a part for
//!   the whole.

use super::chunk::Chunk;
use super::metrics::GatewayMetrics;
use super::watch::{Active, Progress};
use crate::rpc::access_log::Record;
use crate::rpc::fetch::Buffers;
use crate::rpc::push::PushError;
use crate::rpc::wire::{FetchError, Gone, Output, Summary};
use crate::spending::Spending;
use bytes::{Buf, Bytes};
use gitring_daemon::log;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Chunks between a conversation and its connection. Two, so that it fills one while the
/// connection sends the other.
const CHUNKS_MAX: usize = 2;

/// The body of any answer, with the line that its end writes.
#[derive(Debug)]
pub(super) struct Answer {
    content: Content,
    ledger: Ledger,
}

#[derive(Debug)]
enum Content {
    Text(Option<Bytes>),
    Git(GitBody),
}

/// What a request leaves behind: a line in the log, counts in the metrics, an idle connection.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) record: Record,
    pub(super) metrics: GatewayMetrics,
    pub(super) spending: Spending,
    pub(super) _active: Active,
}

/// A conversation and what it has written.
pub(super) struct GitBody {
    chunks: mpsc::Receiver<Chunk>,
    serving: Option<Serving>,
    /// Given before anything else.
    first: Option<Chunk>,
    /// Given behind everything else.
    failed: Option<ServeError>,
    /// Whether the connection had time to send what came before the failure.
    has_paused: bool,
    progress: Rc<Progress>,
}

/// A fetch or a push on its way.
pub(super) type Serving = Pin<Box<dyn Future<Output = Result<Summary, ServeError>>>>;

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    /// A fetch.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A push.
    #[error(transparent)]
    Push(#[from] PushError),
}

/// Where it writes.
#[derive(Debug)]
pub(super) struct HttpOutput {
    chunks: mpsc::Sender<Chunk>,
}

/// The two ends between a conversation and its body.
pub(super) fn channel() -> (HttpOutput, mpsc::Receiver<Chunk>) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    (HttpOutput { chunks: sender }, receiver)
}

// === impl HttpOutput ===

impl Output for HttpOutput {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.chunks.send(bytes.into()).await.map_err(|_| Gone)
    }

    async fn write_all(&mut self, pieces: &mut Vec<Bytes>, _: &Buffers) -> Result<(), Gone> {
        let chunk: Chunk = pieces.drain(..).collect();
        match chunk.has_remaining() {
            true => self.chunks.send(chunk).await.map_err(|_| Gone),
            false => Ok(()),
        }
    }

    fn complain(&mut self, text: &[u8]) {
        tracing::warn!("git: {}", String::from_utf8_lossy(text).trim_end());
    }
}

// === impl ServeError ===

impl ServeError {
    /// Whether the server failed, rather than its client.
    fn is_ours(&self) -> bool {
        match self {
            Self::Fetch(FetchError::Client(_) | FetchError::Gone(_) | FetchError::Input(_)) => {
                false
            }
            Self::Fetch(_) => true,
            // Whoever knows why has logged it.
            Self::Push(_) => false,
        }
    }
}

// === impl GitBody ===

impl GitBody {
    /// Runs the conversation until it has written something, or has ended without. `prefix` then stands
    /// before what it wrote.
    pub(super) async fn begin(
        serving: Serving,
        chunks: mpsc::Receiver<Chunk>,
        prefix: &'static [u8],
        progress: Rc<Progress>,
        ledger: &mut Ledger,
    ) -> Result<Self, ServeError> {
        let (first, failed, has_paused) = (None, None, false);
        let mut body = Self { chunks, serving: Some(serving), first, failed, has_paused, progress };
        let first = std::future::poll_fn(|context| body.poll_chunk(context, ledger)).await;
        let mut first = first.transpose()?.unwrap_or_default();
        first.push_front(Bytes::from_static(prefix));
        body.first = Some(first);
        Ok(body)
    }

    fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
        ledger: &mut Ledger,
    ) -> Poll<Option<Result<Chunk, ServeError>>> {
        if let Some(first) = self.first.take().filter(Chunk::has_remaining) {
            return Poll::Ready(Some(Ok(first)));
        }
        loop {
            let received = self.chunks.poll_recv(context);
            let serving = match (received, &mut self.serving) {
                (Poll::Ready(Some(chunk)), _) => return Poll::Ready(Some(Ok(chunk))),
                (Poll::Ready(None), None) => return self.poll_end(context),
                (Poll::Pending, None) => return Poll::Pending,
                (Poll::Ready(None) | Poll::Pending, Some(serving)) => serving,
            };
            match serving.as_mut().poll(context) {
                // It cannot go on before something is taken, or something outside happens.
                Poll::Pending => {
                    return match self.chunks.try_recv() {
                        Ok(chunk) => Poll::Ready(Some(Ok(chunk))),
                        Err(_) => Poll::Pending,
                    };
                }
                Poll::Ready(Ok(summary)) => {
                    ledger.record.error = summary.refused;
                    ledger.record.pack = summary.pack;
                    self.serving = None;
                }
                // What it has written before says why.
                Poll::Ready(Err(error)) => {
                    self.serving = None;
                    self.failed = Some(error);
                }
            }
        }
    }

    fn poll_end<T>(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ServeError>>> {
        if self.failed.is_some() && !std::mem::replace(&mut self.has_paused, true) {
            // hyper drops what it has not sent when a body fails, and sends when one has to wait.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.failed.take().map(Err))
    }
}

impl std::fmt::Debug for GitBody {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("GitBody").field("first", &self.first).finish_non_exhaustive()
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn text(text: Bytes, ledger: Ledger) -> Self {
        let content = Content::Text(Some(text).filter(|text| !text.is_empty()));
        Self { content, ledger }
    }

    pub(super) fn git(body: GitBody, ledger: Ledger) -> Self {
        Self { content: Content::Git(body), ledger }
    }
}

impl Body for Answer {
    type Data = Chunk;
    type Error = ServeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, ServeError>>> {
        let Self { content, ledger } = &mut *self;
        let chunk = match content {
            Content::Text(text) => text.take().map(|text| Ok(Chunk::from(text))),
            Content::Git(body) => {
                body.progress.asked();
                let Poll::Ready(chunk) = body.poll_chunk(context, ledger) else {
                    return Poll::Pending;
                };
                body.progress.gave();
                chunk
            }
        };
        let record = &mut ledger.record;
        match &chunk {
            Some(Ok(chunk)) => record.response_bytes += chunk.remaining() as u64,
            Some(Err(error)) => {
                record.error = Some(log::chain(error));
                record.failed = error.is_ours();
            }
            None => record.complete = true,
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Text(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |t| t.len() as u64))
            }
            Content::Git(_) => SizeHint::default(),
        }
    }
}

// === impl Ledger ===

impl Drop for Ledger {
    fn drop(&mut self) {
        self.metrics.count(&self.record);
        self.record.end_trace();
        if let Some(charge) = self.record.charge() {
            self.spending.charge(&charge);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // A short answer goes out with its headers, so nobody asks for its end.
        if matches!(&self.content, Content::Text(None)) {
            self.ledger.record.complete = true;
        }
    }
}
