//! The bodies of a call, counted as they pass, and ended at the call's deadline.

use super::context::{Context, Expiry};
use super::metrics::MethodSeries;
use crate::rpc::gitaly::Gitaly;
use crate::rpc::gitaly::routes::MESSAGE_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use send_wrapper::SendWrapper;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use tokio::time::Sleep;
use tonic::{Code, Status};

/// Bytes before each message (gRPC over HTTP2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

/// Finds the messages in a body.
#[derive(Debug, Default)]
struct Messages {
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    missing_bytes: usize,
    /// Passed since they were taken, prefixes not counted.
    payload_bytes: u64,
}

/// A request's body on its way to the handler.
pub(in crate::rpc::gitaly) struct Request {
    body: Incoming,
    /// What was read of it before the handler did.
    ahead: VecDeque<Result<Frame<Bytes>, hyper::Error>>,
    watch: SendWrapper<Watch>,
}

/// What is told of a body that passes.
struct Watch {
    context: Rc<Context>,
    series: Option<Rc<MethodSeries>>,
    messages: Messages,
}

/// The body of an answer. The call has ended when it is dropped.
pub(in crate::rpc::gitaly) struct Answer {
    body: tonic::body::Body,
    watch: Watch,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Trailers were given, or stood in the headers.
    ended: bool,
    _end: End,
}

/// Counts the call when the last of it is gone.
pub(in crate::rpc::gitaly) struct End {
    pub(in crate::rpc::gitaly) gitaly: Rc<Gitaly>,
    pub(in crate::rpc::gitaly) context: Rc<Context>,
    pub(in crate::rpc::gitaly) series: Option<Rc<MethodSeries>>,
    /// Of a stream that nothing here works for.
    pub(super) expiry: Option<Expiry>,
}

// === impl Messages ===

impl Messages {
    /// How many messages begin in the next piece of the body.
    fn count(&mut self, mut piece: &[u8]) -> u64 {
        let mut begun = 0;
        while !piece.is_empty() {
            if self.missing_bytes > 0 {
                let passed = self.missing_bytes.min(piece.len());
                self.missing_bytes -= passed;
                self.payload_bytes += passed as u64;
                piece = &piece[passed..];
                continue;
            }
            let taken = (PREFIX_BYTES - self.prefix_bytes).min(piece.len());
            self.prefix[self.prefix_bytes..self.prefix_bytes + taken]
                .copy_from_slice(&piece[..taken]);
            self.prefix_bytes += taken;
            piece = &piece[taken..];
            if self.prefix_bytes == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.missing_bytes = u32::from_be_bytes(length) as usize;
                self.prefix_bytes = 0;
                begun += 1;
            }
        }
        begun
    }

    fn take_payload_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.payload_bytes)
    }
}

// === impl Request ===

impl Request {
    pub(in crate::rpc::gitaly) fn new(
        body: Incoming,
        context: Rc<Context>,
        series: Option<Rc<MethodSeries>>,
    ) -> Self {
        let watch = Watch { context, series, messages: Messages::default() };
        Self { body, ahead: VecDeque::new(), watch: SendWrapper::new(watch) }
    }

    /// The first message, which the handler gets all the same; `None` where there is none, or none
    /// that can be read.
    pub(super) async fn first_message(&mut self) -> Option<Bytes> {
        let mut head = BytesMut::new();
        loop {
            if let [compressed, length @ ..] = head.get(..PREFIX_BYTES).unwrap_or_default() {
                let length = length.try_into().map_or(0, u32::from_be_bytes) as usize;
                if *compressed != 0 || length > MESSAGE_BYTES_MAX {
                    return None;
                }
                if head.len() >= PREFIX_BYTES + length {
                    return Some(head.freeze().slice(PREFIX_BYTES..PREFIX_BYTES + length));
                }
            }
            let frame = poll_fn(|context| self.poll_body(context)).await?;
            if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
                head.extend_from_slice(data);
            }
            let is_error = frame.is_err();
            self.ahead.push_back(frame);
            if is_error {
                return None;
            }
        }
    }

    /// The next frame from the connection.
    fn poll_body(
        &mut self,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body, watch, .. } = self;
        let frame = Pin::new(body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            let begun = watch.messages.count(data);
            if let Some(series) = watch.series.as_ref().filter(|_| begun > 0) {
                series.received.inc_by(begun);
            }
            watch.context.record.borrow_mut().request_bytes += watch.messages.take_payload_bytes();
        }
        frame
    }
}

impl Body for Request {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.ahead.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.poll_body(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.ahead.is_empty() {
            true => self.body.size_hint(),
            false => SizeHint::default(),
        }
    }
}

// === impl Answer ===

impl Answer {
    /// `head_status` is the status where the answer has no body.
    pub(in crate::rpc::gitaly) fn new(
        body: tonic::body::Body,
        context: Rc<Context>,
        series: Option<Rc<MethodSeries>>,
        deadline: Option<Pin<Box<Sleep>>>,
        end: End,
    ) -> Self {
        let watch = Watch { context, series, messages: Messages::default() };
        Self { body, watch, deadline, ended: false, _end: end }
    }

    /// The status stood in the headers.
    pub(in crate::rpc::gitaly) fn ended(mut self) -> Self {
        self.ended = true;
        self
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, watch, deadline, ended, _end } = &mut *self;
        if *ended {
            return Poll::Ready(None);
        }
        let frame = Pin::new(body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    watch.sent(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    watch.trailers(trailers);
                    *ended = true;
                }
            }
            Poll::Ready(Some(Err(status))) => watch.context.record.borrow_mut().end(status),
            Poll::Ready(None) => *ended = true,
            Poll::Pending => {
                let expired = deadline.as_mut().map(|sleep| sleep.as_mut().poll(context));
                if let Some(Poll::Ready(())) = expired {
                    let status = Status::deadline_exceeded("context deadline exceeded");
                    watch.context.record.borrow_mut().end(&status);
                    *ended = true;
                    let mut trailers = HeaderMap::new();
                    status.add_header(&mut trailers)?;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

// === impl Watch ===

impl Watch {
    fn sent(&mut self, data: &[u8]) {
        let begun = self.messages.count(data);
        if let Some(series) = self.series.as_ref().filter(|_| begun > 0) {
            series.sent.inc_by(begun);
        }
        self.context.record.borrow_mut().response_bytes += self.messages.take_payload_bytes();
    }

    fn trailers(&self, trailers: &HeaderMap) {
        let status = Status::from_header_map(trailers);
        let status = status.unwrap_or_else(|| Status::new(Code::Unknown, "no status was sent"));
        self.context.record.borrow_mut().end(&status);
    }
}

// === impl End ===

impl Drop for End {
    fn drop(&mut self) {
        // An upstream's connection may keep the request's body, and with it the context.
        self.context.release();
        drop(self.expiry.take());
        let record = self.context.record.borrow();
        if let Some(series) = &self.series {
            self.gitaly.series.end(series, &record);
        }
        record.end_trace();
        if let Some(charge) = record.charge() {
            self.gitaly.spending.charge(&charge);
        }
        if let Some(upstream) = &self.gitaly.upstream {
            upstream.end(&self.context.record.borrow());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_the_body_is_cut() {
        let body = [&[0, 0, 0, 0, 3, 1, 2, 3][..], &[0; 5], &[1, 0, 0, 1, 0], &[7; 256]].concat();
        for piece_bytes in [1, 2, 5, 7, body.len()] {
            let mut messages = Messages::default();
            let counted: u64 = body.chunks(piece_bytes).map(|piece| messages.count(piece)).sum();
            assert_eq!((counted, messages.missing_bytes), (3, 0), "{piece_bytes}");
            assert_eq!(messages.take_payload_bytes(), 3 + 256);
        }
    }
}
