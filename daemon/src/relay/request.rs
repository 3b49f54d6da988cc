//! The request on its way to the upstream.

use bytes::Bytes;
use gitring_proto::sidechannel::METADATA_KEY;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::sync::oneshot;

const TIMEOUT: &str = "grpc-timeout";
/// `grpc-timeout` has at most eight digits.
const TIMEOUT_MAX: u128 = 99_999_999;

/// A body that ends with its call, also where its client would send on.
#[derive(Debug)]
pub(super) struct Severable<B> {
    body: B,
    /// None once the call has ended.
    call: Option<oneshot::Receiver<Infallible>>,
    /// See [`Cut::remains`].
    _alive: Arc<()>,
}

/// Lasts as long as the call does. When it is dropped, the body is cut off.
#[derive(Debug)]
pub(super) struct Cut {
    _call: oneshot::Sender<Infallible>,
    body: Weak<()>,
}

/// The call ended before its client had sent everything.
#[derive(Debug, thiserror::Error)]
#[error("the call has ended")]
pub(super) struct Severed;

/// A body, and what cuts it off.
pub(super) fn severable<B>(body: B) -> (Cut, Severable<B>) {
    let (sender, call) = oneshot::channel();
    let alive = Arc::new(());
    let cut = Cut { _call: sender, body: Arc::downgrade(&alive) };
    (cut, Severable { body, call: Some(call), _alive: alive })
}

/// Takes out what holds between the client and us alone.
pub(super) fn strip(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    headers.remove(HOST);
    headers.remove(METADATA_KEY);
}

/// Says how much time is left. Without a deadline the header stays as it came.
pub(super) fn limit(headers: &mut HeaderMap, deadline: Option<Instant>) {
    let Some(deadline) = deadline else { return };
    let left = deadline.saturating_duration_since(Instant::now());
    // Micro- and milliseconds as far as they reach: 99 s, 27 hours; then seconds, three years.
    let (amount, unit) = match (left.as_micros(), left.as_millis()) {
        (amount @ ..=TIMEOUT_MAX, _) => (amount, 'u'),
        (_, amount @ ..=TIMEOUT_MAX) => (amount, 'm'),
        _ => (u128::from(left.as_secs()).min(TIMEOUT_MAX), 'S'),
    };
    let value = HeaderValue::try_from(format!("{amount}{unit}"));
    headers.insert(TIMEOUT, value.expect("digits and a letter are a header value"));
}

/// Of empty frames, of which HTTP/2 libraries take few from one connection: a client that sends many
/// would end the calls of others.
pub(super) fn is_empty(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(Bytes::is_empty)
}

// === impl Cut ===

impl Cut {
    /// What lives as long as HTTP/2 holds the body. While the upstream takes nothing of a request,
    /// hyper does not look at the rest of it, so it does not notice that the call has ended.
    pub(super) fn remains(&self) -> Weak<()> {
        Weak::clone(&self.body)
    }
}

// === impl Severable ===

impl<B> Body for Severable<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let lasts = self.call.as_mut().is_some_and(|call| Pin::new(call).poll(cx).is_pending());
        if !lasts {
            self.call = None;
            return Poll::Ready(Some(Err(Severed.into())));
        }
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) if is_empty(&frame) => {}
                other => return Poll::Ready(other.map(|frame| frame.map_err(Into::into))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_that_is_left() {
        fn check(seconds: u64, expected: &str) {
            let mut headers = HeaderMap::new();
            headers.insert(TIMEOUT, HeaderValue::from_static("5S"));
            // What passes until the header is written is far less than a second.
            limit(&mut headers, Some(Instant::now() + Duration::from_secs(seconds)));
            let value = headers[TIMEOUT].to_str().unwrap();
            let (amount, unit) = value.split_at(value.len() - 1);
            let amount: u64 = amount.parse().unwrap();
            let per_second = match unit {
                "u" => 1_000_000,
                "m" => 1_000,
                _ => 1,
            };
            let found = format!("{}{unit}", amount.div_ceil(per_second));
            assert_eq!(found, expected, "{value}");
        }
        check(0, "0u");
        check(99, "99u");
        check(101, "101m");
        check(99_000, "99000m");
        check(200_000, "199999S");
        check(9_000_000_000, "99999999S");
    }
}
