//! The upstream's answer on its way to the client.

use super::RelayError;
use super::pool::{Lease, Link, Target};
use super::pump::Pump;
use super::request::{Cut, is_empty};
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::Status;

/// What an upstream answers, as it comes.
///
/// Where the upstream breaks off, trailers say UNAVAILABLE. Trailers wait for the sidechannel,
/// which clients read to its end before they look at the answer.
#[derive(Debug)]
pub struct Answer {
    body: Incoming,
    target: Arc<Target>,
    pump: Option<Pump>,
    /// Until the sidechannel has ended.
    trailers: Option<HeaderMap>,
    ended: bool,
    lease: Lease,
    cut: Cut,
}

// === impl Answer ===

impl Answer {
    pub(super) fn new(body: Incoming, link: Link, pump: Option<Pump>, cut: Cut) -> Self {
        let Link { target, lease, .. } = link;
        Self { body, target, pump, trailers: None, ended: false, lease, cut }
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Option<HeaderMap>> {
        if let Some(pump) = &mut self.pump {
            ready!(pump.poll_end(cx));
            self.pump = None;
        }
        self.ended = true;
        Poll::Ready(self.trailers.take())
    }

    fn broken(&self, source: hyper::Error) -> Result<HeaderMap, Status> {
        let status = RelayError::Broken { target: Arc::clone(&self.target), source }.status();
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(trailers)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.lease.leave(self.cut.remains());
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        while self.trailers.is_none() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(self.broken(error).map(Frame::trailers)));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
            };
            match frame.into_trailers() {
                Ok(trailers) => self.trailers = Some(trailers),
                Err(data) if is_empty(&data) => {}
                Err(data) => return Poll::Ready(Some(Ok(data))),
            }
        }
        let trailers = ready!(self.poll_trailers(cx));
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.trailers.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
