//! Passes calls on to another Gitaly, frame by frame.
//!
//! ```text
//!   client ── HTTP/2 ──► Upstream::call ──► pool ── HTTP/2 in a mux ──► upstream
//!          ◄── DATA, trailers as they came ──────◄──
//!          ◄── sidechannel, opened by us ── pump ◄── sidechannel, opened by the upstream
//! ```
//!
//! Always true:
//! - bodies pass as they come, undecoded; what waits of a call is bounded by windows and buffers
//!   in both directions, so a slow reader slows down its sender and nobody else;
//! - a call that its caller drops is reset upstream, and the other way round; the time that is left
//!   goes along;
//! - the client's token ends here, the upstream gets one of ours; so do ids of sidechannels, which
//!   would be another call's on our connection. All other metadata stays;
//! - everything of one [`Upstream`] stays on its thread, and ends with its last clone.
//!
//! Never here: which calls are passed on, and to whom; retries of calls that were begun.

mod answer;
mod first;
mod pool;
mod pump;
mod request;

pub use answer::Answer;
pub use first::{First, FirstError, Rebuilt, Rest, first_message};
pub use pool::Target;

use crate::client::PassError;
use crate::log;
use crate::mux::Mux;
use arc_swap::ArcSwap;
use bytes::Bytes;
use gitring_proto::sidechannel::{InvalidId, METADATA_KEY, SidechannelId};
use hyper::body::Body;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response};
use pool::Pool;
use pump::Pump;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tonic::service::Routes;
use tonic::{Code, Status};

/// Connections that may turn out to have ended before one takes a call.
const ATTEMPTS_MAX: usize = 2;

/// Where calls are passed on to. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Upstream {
    pool: Rc<Pool>,
}

/// A call as it came.
#[derive(Debug)]
pub struct Call<B> {
    /// Path and metadata.
    pub head: Parts,
    /// What the client sends, as far as it has.
    pub body: B,
    /// The connection that it came on, if that can carry sidechannels.
    pub mux: Option<Mux>,
    /// When the client will have given up. The caller sees to it, too.
    pub deadline: Option<Instant>,
}

/// Why an upstream has not answered.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// There is no connection, and this was said when one was tried last.
    #[error("upstream Gitaly {target} cannot be reached: {cause}")]
    Unreachable {
        /// Which one.
        target: Arc<Target>,
        /// The last failure.
        cause: Arc<str>,
    },
    /// The connection broke, or the upstream reset the call.
    #[error("upstream Gitaly {target} broke off the call: {}", log::chain(source))]
    Broken {
        /// Which one.
        target: Arc<Target>,
        /// What HTTP/2 said.
        source: hyper::Error,
    },
    /// Every connection has as many calls as it may have.
    #[error("too many calls are open at upstream Gitaly {0}")]
    Busy(Arc<Target>),
    /// The client names a sidechannel that cannot be.
    #[error(transparent)]
    SidechannelId(#[from] InvalidId),
    /// The call cannot be put into a request.
    #[error("{}", .0.message())]
    Request(Status),
}

// === impl Upstream ===

impl Upstream {
    /// Connects with the first call. A target that is swapped serves the next ones. `backchannel`
    /// answers what the upstream calls on our connections, votes for instance.
    ///
    /// Calls are to be made within a `LocalSet` or `LocalRuntime`, always the same.
    pub fn new(target: Arc<ArcSwap<Target>>, backchannel: Option<Routes>) -> Self {
        Self { pool: Rc::new(Pool::new(target, backchannel)) }
    }

    /// Where calls go now.
    pub fn target(&self) -> Arc<Target> {
        self.pool.target()
    }

    /// Passes a call on; returns with the head of the answer. Dropping the answer, or the future
    /// before, resets the call.
    pub async fn call<B>(&self, call: Call<B>) -> Result<Response<Answer>, RelayError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let near = sidechannel(&call.head.headers)?.zip(call.mux);
        let (cut, body) = request::severable(call.body);
        let mut request = Request::from_parts(call.head, tonic::body::Body::new(body));
        request::strip(request.headers_mut());
        let mut attempt = 0;
        loop {
            attempt += 1;
            let link = self.pool.link().await?;
            request::limit(request.headers_mut(), call.deadline);
            let mut pump = near.as_ref().and_then(|(id, mux)| {
                Pump::start(link.client.sidechannel()?, (mux.clone(), *id), request.headers_mut())
            });
            match link.client.pass(request).await {
                Ok(response) => {
                    if let Some(pump) = pump.as_mut().filter(|_| is_refusal(response.headers())) {
                        // Its last words go before the refusal, after which nobody listens.
                        pump.ended().await;
                    }
                    return Ok(response.map(|body| Answer::new(body, link, pump, cut)));
                }
                Err(PassError::Unsent(unsent)) if attempt < ATTEMPTS_MAX => request = *unsent,
                Err(PassError::Unsent(_)) => {
                    let cause = "its connections end before they take a call".into();
                    return Err(RelayError::Unreachable { target: link.target, cause });
                }
                Err(PassError::Failed(source)) => {
                    return Err(RelayError::Broken { target: link.target, source });
                }
                Err(PassError::Refused(status)) => return Err(RelayError::Request(status)),
            }
        }
    }
}

/// The sidechannel that the call's client waits on. Of several ids the last counts.
fn sidechannel(headers: &HeaderMap) -> Result<Option<SidechannelId>, InvalidId> {
    let Some(value) = headers.get_all(METADATA_KEY).iter().next_back() else { return Ok(None) };
    value.to_str().map_err(|_| InvalidId)?.parse().map(Some)
}

/// Whether the answer ends with its head.
fn is_refusal(headers: &HeaderMap) -> bool {
    headers.contains_key("grpc-status")
}

// === impl RelayError ===

impl RelayError {
    /// What the client is told.
    pub fn status(&self) -> Status {
        let code = match self {
            Self::Unreachable { .. } | Self::Broken { .. } => Code::Unavailable,
            Self::Busy(_) => Code::ResourceExhausted,
            Self::SidechannelId(_) => Code::InvalidArgument,
            Self::Request(status) => status.code(),
        };
        Status::new(code, self.to_string())
    }
}
