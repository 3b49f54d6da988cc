//! One request and its answer over a connection of their own.
//!
//! Always true: dropping the future closes the connection; no task is left behind.
//! Never here: what requests say.

use super::endpoint::{Endpoint, Way};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

/// Of an answer. Messages for pushers and facts about a project take far less.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Before another attempt to connect; as many attempts follow the first. A GitLab that restarts
/// takes longer: this is for a full backlog.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// How GitLab is asked.
pub(super) struct Exchange {
    pub(super) endpoint: Endpoint,
    /// Where the endpoint asks for it.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Until the answer has arrived, further attempts included.
    pub(super) time_max: Duration,
}

/// When a request that failed may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// While there was no connection that could have carried it.
    UntilConnected,
    /// Also where the connection broke before the answer: the request changes nothing.
    UnlessAnswered,
}

/// What came back.
pub(super) struct Raw {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<String>,
    /// Or why it did not arrive whole.
    pub(super) body: Result<Bytes, String>,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nobody listens, or the server is not who it should be.
    #[error("connect")]
    Connect(#[source] io::Error),
    /// The connection broke before an answer.
    #[error("talk to GitLab")]
    Broken(#[source] hyper::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
}

// === impl Exchange ===

impl Exchange {
    /// Sends the request and waits for the answer.
    pub(super) async fn run(
        &self,
        request: Request<Full<Bytes>>,
        repeat: Repeat,
    ) -> Result<Raw, ExchangeError> {
        let until = Instant::now() + self.time_max;
        let mut pauses = PAUSES.into_iter();
        loop {
            let once = timeout_at(until, self.once(request.clone(), until)).await;
            let error = match once.unwrap_or(Err(ExchangeError::Timeout(self.time_max))) {
                Ok(raw) => return Ok(raw),
                Err(error) => error,
            };
            let may_repeat = match &error {
                // A wrong certificate does not get better.
                ExchangeError::Connect(error) => error.kind() != io::ErrorKind::InvalidData,
                ExchangeError::Broken(_) => repeat == Repeat::UnlessAnswered,
                ExchangeError::Timeout(_) => false,
            };
            match pauses.next().filter(|pause| may_repeat && Instant::now() + *pause < until) {
                Some(pause) => sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    async fn once(
        &self,
        request: Request<Full<Bytes>>,
        until: Instant,
    ) -> Result<Raw, ExchangeError> {
        let tcp = async |host: &str, port: u16| {
            let stream = TcpStream::connect((host, port)).await.map_err(ExchangeError::Connect)?;
            // One small request: nothing is gained by waiting for more.
            stream.set_nodelay(true).map_err(ExchangeError::Connect)?;
            Ok(stream)
        };
        match &self.endpoint.way {
            Way::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(ExchangeError::Connect)?;
                converse(stream, request, until).await
            }
            Way::Tcp { host, port } => converse(tcp(host, *port).await?, request, until).await,
            Way::Tls { host, port, name } => {
                let absent = || io::Error::other("TLS was not configured");
                let config = self.tls.clone().ok_or_else(absent);
                let connector = TlsConnector::from(config.map_err(ExchangeError::Connect)?);
                let stream = connector.connect(name.clone(), tcp(host, *port).await?).await;
                converse(stream.map_err(ExchangeError::Connect)?, request, until).await
            }
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    until: Instant,
) -> Result<Raw, ExchangeError> {
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(ExchangeError::Broken)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(ExchangeError::Broken)?;
        let (head, body) = response.into_parts();
        let content_type = head.headers.get(CONTENT_TYPE);
        let content_type =
            content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        // From here on the request has been judged: a broken body is an answer that is wrong.
        let body = match timeout_at(until, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the body did not arrive in time".to_owned()),
        };
        Ok(Raw { status: head.status, content_type, body })
    };
    let (mut asking, mut connection) = (pin!(asking), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut asking => return answer,
        // Its end reaches `asking`, too, which knows what it means.
        _ = &mut connection => {}
    }
    asking.await
}
