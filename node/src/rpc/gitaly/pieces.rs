//! Answers in many messages. The stream owns the task that fills it, which runs whether or not the
//! connection asks: HTTP/2 does not look at an answer whose client has no window open, and what
//! such a call holds must end all the same.
//!
//! Always true:
//! - at most [`MESSAGES_MAX`] messages wait, each of at most [`PIECE_BYTES_MAX`] bytes of payload, or
//!   of items of 1 MiB (`chunks.rs`);
//! - a stream that is dropped ends its work, and with it children and queued jobs; so does the
//!   call's deadline, and a client that takes nothing for [`STALL_MAX`];
//! - what admitted the call ends with the work: a client that does not read keeps out nobody.

use super::call::context::Lease;
use crate::rpc::wire::{Gone, Output};
use bytes::Bytes;
use send_wrapper::SendWrapper;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{timeout, timeout_at};
use tonic::Status;
use tonic::codegen::BoxStream;
use tonic::codegen::tokio_stream::Stream;

/// A client that takes nothing for so long has gone.
pub(super) const STALL_MAX: Duration = Duration::from_secs(300);
/// Messages between the work and the connection: the work fills one while another is sent.
const MESSAGES_MAX: usize = 2;
/// Gitaly's piece of a byte stream.
pub(super) const PIECE_BYTES_MAX: usize = 128 * 1024;
/// Kept of what git complains about until the next message goes out.
const COMPLAINT_BYTES_MAX: usize = 4 * 1024;

/// What fills a stream.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<(), Status>>>>;

/// The messages of an answer.
pub(super) struct Pieces<M> {
    messages: mpsc::Receiver<M>,
    /// Until its outcome was told.
    work: Option<Task>,
}

/// Ends its work when dropped.
struct Task(JoinHandle<Result<(), Status>>);

/// Where the work puts messages.
#[derive(Debug)]
pub(super) struct Sender<M> {
    messages: mpsc::Sender<M>,
}

/// A fetch's output as messages.
#[derive(Debug)]
pub(super) struct PieceOutput<M> {
    sender: Sender<M>,
    stdout: fn(Bytes) -> M,
    /// Where the message has a place for it.
    stderr: Option<fn(Bytes) -> M>,
    complaint: Vec<u8>,
}

/// A stream of messages that `work` fills for as long as the call's `lease` lets it.
pub(super) fn pieces<M>(lease: Lease, work: impl FnOnce(Sender<M>) -> Work) -> Pieces<M> {
    let (sender, messages) = mpsc::channel(MESSAGES_MAX);
    let work = work(Sender { messages: sender });
    let Lease { deadline, admission } = lease;
    let task = spawn_local(async move {
        // Outlives `work`, which ends below.
        let _admission = admission;
        match deadline {
            None => work.await,
            Some(deadline) => timeout_at(deadline.into(), work)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("context deadline exceeded"))),
        }
    });
    Pieces { messages, work: Some(Task(task)) }
}

// === impl Sender ===

impl<M> Sender<M> {
    /// Waits while the client is slow.
    pub(super) async fn send(&self, message: M) -> Result<(), Gone> {
        match timeout(STALL_MAX, self.messages.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

// === impl PieceOutput ===

impl<M> PieceOutput<M> {
    pub(super) fn new(
        sender: Sender<M>,
        stdout: fn(Bytes) -> M,
        stderr: Option<fn(Bytes) -> M>,
    ) -> Self {
        Self { sender, stdout, stderr, complaint: Vec::new() }
    }

    /// Sends what was complained about, and gives the sender back.
    pub(super) async fn finish(mut self) -> Result<Sender<M>, Gone> {
        self.send_complaint().await?;
        Ok(self.sender)
    }

    async fn send_complaint(&mut self) -> Result<(), Gone> {
        let complaint = std::mem::take(&mut self.complaint);
        match self.stderr.filter(|_| !complaint.is_empty()) {
            Some(stderr) => self.sender.send(stderr(complaint.into())).await,
            None => Ok(()),
        }
    }
}

impl<M> Output for PieceOutput<M> {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), Gone> {
        self.send_complaint().await?;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            self.sender.send((self.stdout)(piece)).await?;
        }
        Ok(())
    }

    fn complain(&mut self, text: &[u8]) {
        if self.stderr.is_none() {
            tracing::warn!("git: {}", String::from_utf8_lossy(text).trim_end());
            return;
        }
        let room = COMPLAINT_BYTES_MAX - self.complaint.len();
        self.complaint.extend_from_slice(&text[..text.len().min(room)]);
    }
}

// === impl Pieces ===

impl<M: Send + 'static> Pieces<M> {
    /// As tonic's services return it. It stays on its thread all the same.
    pub(super) fn boxed(self) -> BoxStream<M> {
        Box::pin(SendWrapper::new(self))
    }
}

impl<M> Stream for Pieces<M> {
    type Item = Result<M, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<M, Status>>> {
        // The work's end closes the channel, so every message comes before the outcome.
        if let Some(message) = ready!(self.messages.poll_recv(context)) {
            return Poll::Ready(Some(Ok(message)));
        }
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let outcome = ready!(Pin::new(&mut work.0).poll(context));
        self.work = None;
        let outcome = outcome.unwrap_or_else(|_| Err(Status::internal("the call's work panicked")));
        Poll::Ready(outcome.err().map(Err))
    }
}

// === impl Task ===

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
