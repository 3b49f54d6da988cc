//! Calls whose bodies pass as they are: no codec, and an answer that may be an upstream's.

use super::Client;
use super::call::complete;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tonic::Status;
use tonic::body::Body;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum PassError {
    /// The connection had ended before anything was sent: another one may take the request.
    Unsent(Box<Request<Body>>),
    /// The call failed, or nobody knows how far it came.
    Failed(hyper::Error),
    /// The request cannot be made.
    Refused(Status),
}

// === impl Client ===

impl Client {
    /// Sends a request with a token of its own, whatever token it came with.
    pub(crate) async fn pass(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, PassError> {
        complete(&mut request, self.inner.secret.as_ref()).map_err(PassError::Refused)?;
        let mut sender = self.inner.transport.sender().await.map_err(PassError::Refused)?;
        sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(request) => PassError::Unsent(Box::new(request)),
            None => PassError::Failed(error.into_error()),
        })
    }
}
