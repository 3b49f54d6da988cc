//! From a socket to calls.
//!
//! ```text
//!   socket ── first bytes ──┬──────────────────────────► HTTP/2 ──► calls
//!                           └─ backchannel ─► mux ─┬──► HTTP/2 ──► calls
//!                                                  └◄── sidechannels that calls open
//! ```
//!
//! Always true: a connection that says nothing ends after a time; one that has been told of the
//! end of the service takes no further call.

use super::voting::Backchannel;
use super::{Gitaly, call};
use crate::rpc::connection_tasks::ConnectionTasks;
use bytes::{Bytes, BytesMut};
use gitring_daemon::authority::Readable;
use gitring_daemon::drain::Drain;
use gitring_daemon::listener::{Peer, Stream};
use gitring_daemon::mux::{self, Mux, Replay, Role};
use gitring_proto::listenmux::{self, MAGIC_BYTES, Opening};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;

/// Calls at once on one HTTP/2 connection. Go's default has no limit; Praefect and Workhorse share
/// few connections among many users.
const CALLS_MAX: u32 = 1_000;
/// Metadata of a call. Go's default for a client's list is 16 MiB, which no honest call needs.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of one call that its client has not taken.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Calls that a client began and gave up before we looked at them. The connection ends beyond.
const RESETS_MAX: usize = 100;
/// Bytes that a client may send ahead: of a call, and of all calls of a connection.
const RECEIVE_BYTES_MAX: u32 = 1 << 20;
const RECEIVE_CONNECTION_BYTES_MAX: u32 = 4 << 20;
/// A peer that vanished without a word is noticed: Gitaly's interval, and Go's time-out.
const KEEP_ALIVE: Duration = Duration::from_secs(300);
const KEEP_ALIVE_WAIT_MAX: Duration = Duration::from_secs(20);

/// What HTTP/2 begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// From a connection to what it speaks, and from a mux to the preface on its first stream.
const GREETING_WAIT_MAX: Duration = Duration::from_secs(30);

/// What the calls of a connection share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// Where calls open sidechannels, if the connection can carry them.
    pub(super) mux: Option<Mux>,
    /// Where calls vote, over the same mux.
    pub(super) backchannel: Option<Backchannel>,
}

// === impl Gitaly ===

impl Gitaly {
    /// Serves one connection until it ends or `drain` says so.
    pub async fn serve(self: Rc<Self>, stream: Stream, peer: Peer, mut drain: Drain) {
        self.series.connected(peer);
        let ending = drain.clone();
        let serving = async {
            let mut stream = stream;
            match timeout(GREETING_WAIT_MAX, greeting(&mut stream)).await {
                Ok(Ok(Some(Greeting::Backchannel))) => self.serve_mux(stream, peer, ending).await,
                Ok(Ok(Some(Greeting::Http2(head)))) => {
                    let connection = Rc::new(Connection { peer, mux: None, backchannel: None });
                    let stream = Replay::new(head, stream);
                    match peer {
                        Peer::Tcp(_) | Peer::Tls(_) => {
                            self.serve_http2(stream, connection, ending).await;
                        }
                        Peer::Unix => {
                            self.serve_http2(Readable::new(stream), connection, ending).await;
                        }
                    }
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::debug!(%peer, %error, "connection broke"),
                Err(_) => tracing::debug!(%peer, "the client said nothing"),
            }
        };
        tokio::select! {
            () = serving => {}
            () = drain.cancelled() => {}
        }
    }

    /// Serves calls on the first stream that the client opens. It has no use for a second one.
    async fn serve_mux(self: Rc<Self>, stream: Stream, peer: Peer, drain: Drain) {
        let (mux, mut incoming, driver) = mux::start(stream, Role::Server, mux::NODE);
        let serving = async move {
            let opening = async {
                let mut first = incoming.accept().await?;
                let head = preface(&mut first, BytesMut::new()).await.ok()??;
                Some(Replay::new(head, first))
            };
            let Ok(Some(first)) = timeout(GREETING_WAIT_MAX, opening).await else { return };
            let backchannel = Some(Backchannel::new(mux.clone()));
            let connection = Rc::new(Connection { peer, mux: Some(mux), backchannel });
            // Whatever else the client opens is reset.
            drop(incoming);
            self.serve_http2(first, connection, drain).await;
        };
        // The driver ends with its socket, or once nothing is left that uses it.
        let (driven, ()) = tokio::join!(driver, serving);
        if let Err(error) = driven {
            tracing::debug!(%peer, %error, "connection broke");
        }
    }

    /// Serves the calls of one HTTP/2 connection.
    async fn serve_http2(
        self: Rc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        connection: Rc<Connection>,
        mut drain: Drain,
    ) {
        let peer = connection.peer;
        let service = service_fn(move |request| {
            // A call's future is large; within hyper's it would be moved with it.
            Box::pin(call::answer(Rc::clone(&self), request, Rc::clone(&connection)))
        });
        let mut serving = pin!(http2().serve_connection(TokioIo::new(stream), service));
        let mut ends = false;
        loop {
            tokio::select! {
                result = serving.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, %error, "connection broke");
                    }
                    return;
                }
                () = drain.draining(), if !ends => {
                    serving.as_mut().graceful_shutdown();
                    ends = true;
                }
            }
        }
    }
}

fn http2() -> http2::Builder<ConnectionTasks> {
    let mut builder = http2::Builder::new(ConnectionTasks::default());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .initial_stream_window_size(RECEIVE_BYTES_MAX)
        .initial_connection_window_size(RECEIVE_CONNECTION_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_WAIT_MAX);
    builder
}

/// What a client says first.
enum Greeting {
    /// The connection is a mux.
    Backchannel,
    /// It is HTTP/2, and begins with these bytes.
    Http2(Bytes),
}

/// Reads as far as it takes to tell; `None` if the client leaves before that.
async fn greeting(stream: &mut Stream) -> io::Result<Option<Greeting>> {
    let mut head = [0; MAGIC_BYTES];
    let mut read_bytes = 0;
    loop {
        match stream.read(&mut head[read_bytes..]).await? {
            0 => return Ok(None),
            more => read_bytes += more,
        }
        match listenmux::tell(&head[..read_bytes]) {
            Opening::Incomplete => {}
            Opening::Backchannel => return Ok(Some(Greeting::Backchannel)),
            // Whatever else it is, HTTP/2 will say what is wrong with it.
            Opening::Sidechannel | Opening::Other => {
                let head = preface(stream, BytesMut::from(&head[..read_bytes])).await?;
                return Ok(head.map(Greeting::Http2));
            }
        }
    }
}

/// Reads until HTTP/2's preface is whole or is none; `None` if the client leaves before that.
/// HTTP/2 itself would wait for it without end.
async fn preface(
    stream: &mut (impl AsyncRead + Unpin),
    mut head: BytesMut,
) -> io::Result<Option<Bytes>> {
    while head.len() < PREFACE.len() && PREFACE.starts_with(&head) {
        let mut rest = (&mut *stream).take((PREFACE.len() - head.len()) as u64);
        if rest.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head.freeze()))
}
