//! A request's body as a fetch reads it.

use super::Limits;
use super::gzip::Gzip;
use crate::rpc::wire::Input;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io;
use std::time::Duration;

/// The body of one request.
#[derive(Debug)]
pub(super) struct HttpInput {
    body: Incoming,
    gzip: Option<Gzip>,
    received_bytes: u64,
    received_bytes_max: u64,
    wait_max: Duration,
}

// === impl HttpInput ===

impl HttpInput {
    pub(super) fn new(body: Incoming, gzip: bool, limits: &Limits) -> Self {
        Self {
            body,
            gzip: gzip.then(|| Gzip::new(limits.inflated_bytes_max)),
            received_bytes: 0,
            received_bytes_max: limits.body_bytes_max,
            wait_max: limits.body_wait_max,
        }
    }

    /// The next piece as it came.
    async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let frame = match tokio::time::timeout(self.wait_max, self.body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error));
                }
                Err(_) => {
                    let text = format!("no more of the body came for {:?}", self.wait_max);
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
            };
            // Trailers say nothing to git.
            let Ok(bytes) = frame.into_data() else { continue };
            self.received_bytes += bytes.len() as u64;
            if self.received_bytes > self.received_bytes_max {
                let text = format!("the body exceeds {} bytes", self.received_bytes_max);
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
            }
            return Ok(Some(bytes));
        }
    }
}

impl Input for HttpInput {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(gzip) = &mut self.gzip
                && let Some(slice) = gzip.next()?
            {
                return Ok(Some(slice));
            }
            let received = self.receive().await?;
            match (&mut self.gzip, received) {
                (None, received) => return Ok(received),
                (Some(gzip), Some(bytes)) => gzip.put(bytes),
                (Some(gzip), None) => return gzip.end().map(|()| None),
            }
        }
    }
}
