//! A Gitaly behind a node, which does what the metadata of each call asks for.
//!
//! ```text
//!   act: echo      every frame of the request comes back
//!   act: count     reads to the end, answers with the number of bytes
//!   act: send      `bytes`: so many bytes in messages of 64 KiB
//!   act: deaf      answers at once, reads nothing, and ends when the client does
//!   act: hang      neither reads nor answers
//!   act: refuse    messages, then a refusal in trailers, with details
//!   act: refuse-at-once    the refusal stands in the head
//!   act: break     one message, then the connection ends
//!   act: sidechannel       what came over the sidechannel goes back over it
//!   act: sidechannel-send  `bytes` over the sidechannel
//! ```
//!
//! Always true: what it saw is recorded before it is answered.
//!
//! Never here: Git.

mod acts;

use std::cell::{Cell, RefCell};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gitring_daemon::mux::{self, Mux, Role};
use gitring_proto::listenmux::BACKCHANNEL;
use gitring_proto::token::{Credentials, Secret};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, spawn_local};
use tonic::body::Body;
use tonic::{Code, Status};

use acts::{count, echo, filled, message, number, refusal, send, text};

/// What calls have to show.
pub const TOKEN: &str = "of the upstream";
/// Details of a refusal, as bytes.
pub const DETAILS: &[u8] = b"\x0a\x05thing";
/// A trailer that needs more than one frame.
pub const LONG_TRAILER_BYTES: usize = 200_000;

/// A Gitaly on a unix socket. Clones share it.
#[derive(Debug, Clone)]
pub struct Upstream {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: TempDir,
    seen: RefCell<Vec<Seen>>,
    connections: RefCell<Vec<AbortHandle>>,
    accepting: RefCell<Option<AbortHandle>>,
    sent_bytes: Cell<u64>,
    dropped: Cell<usize>,
}

/// A call as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `:path`
    pub path: String,
    /// Metadata.
    pub headers: HeaderMap,
}

/// Counts a call that ended before its answer.
struct Dropped(Rc<Inner>);

/// hyper's executor: tasks run beside the test, on its thread.
#[derive(Debug, Clone, Copy)]
pub struct Beside;

// === impl Upstream ===

impl Upstream {
    /// An address that nobody listens at yet.
    ///
    /// # Panics
    /// If there is no temporary folder.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            inner: Rc::new(Inner {
                folder,
                seen: RefCell::default(),
                connections: RefCell::default(),
                accepting: RefCell::default(),
                sent_bytes: Cell::default(),
                dropped: Cell::default(),
            }),
        }
    }

    /// A node's configuration that names it.
    pub fn configuration(&self) -> String {
        self.configuration_with(TOKEN)
    }

    /// The same with another token.
    pub fn configuration_with(&self, token: &str) -> String {
        format!("[upstream]\naddress = 'unix:{}'\ntoken = '{token}'\n", self.path().display())
    }

    /// Begins to listen, on the thread of the test.
    ///
    /// # Panics
    /// If it cannot.
    pub fn start(&self) {
        let listener = StdUnixListener::bind(self.path()).expect("the address is free");
        listener.set_nonblocking(true).expect("a socket can be told not to block");
        let listener = UnixListener::from_std(listener).expect("a runtime runs");
        let this = self.clone();
        let accepting = spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = spawn_local(serve(Rc::clone(&this.inner), stream));
                this.inner.connections.borrow_mut().push(serving.abort_handle());
            }
        });
        *self.inner.accepting.borrow_mut() = Some(accepting.abort_handle());
    }

    /// Ends every connection at once and listens no more.
    pub fn die(&self) {
        if let Some(accepting) = self.inner.accepting.borrow_mut().take() {
            accepting.abort();
        }
        self.inner.hang_up();
        drop(std::fs::remove_file(self.path()));
    }

    /// Calls since the last question.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.take()
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.inner.connections.borrow().len()
    }

    /// Bytes of messages that went on their way so far.
    pub fn sent_bytes(&self) -> u64 {
        self.inner.sent_bytes.get()
    }

    /// Waits until so many calls have ended before their answer.
    ///
    /// # Panics
    /// If they do not within ten seconds.
    pub async fn dropped(&self, calls: usize) {
        for _ in 0..1000 {
            if self.inner.dropped.get() >= calls {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.inner.dropped.get(), calls, "calls that were dropped");
    }

    fn path(&self) -> PathBuf {
        self.inner.folder.path().join("gitaly.sock")
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Inner ===

impl Inner {
    fn hang_up(&self) {
        for connection in self.connections.borrow().iter() {
            connection.abort();
        }
    }
}

async fn serve(inner: Rc<Inner>, mut socket: UnixStream) {
    let mut magic = [0; BACKCHANNEL.len()];
    socket.read_exact(&mut magic).await.expect("a relay says what follows");
    assert_eq!(&magic, BACKCHANNEL);
    let (mux, mut incoming, driver) = mux::start(socket, Role::Server, mux::NODE);
    let serving = async {
        let Some(stream) = incoming.accept().await else { return };
        let service = service_fn(move |request| {
            let (inner, mux) = (Rc::clone(&inner), mux.clone());
            async move { Ok::<_, Status>(answer(inner, mux, request).await) }
        });
        let served = http2::Builder::new(Beside)
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        drop(served.await);
    };
    let (driven, ()) = tokio::join!(driver, serving);
    drop(driven);
}

async fn answer(inner: Rc<Inner>, mux: Mux, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let headers = head.headers;
    let seen = Seen { path: head.uri.path().to_owned(), headers: headers.clone() };
    inner.seen.borrow_mut().push(seen);
    if let Err(status) = judge(&headers) {
        return status.into_http();
    }
    match text(&headers, "act") {
        "" => filled(|_| async { Status::new(Code::Ok, "") }),
        "echo" => filled(|frames| echo(body, frames)),
        "count" => {
            let bytes = count(body).await;
            filled(async move |frames| {
                drop(frames.send(message(&bytes.to_be_bytes())).await);
                Status::new(Code::Ok, "")
            })
        }
        "send" => {
            let bytes = number(&headers, "bytes");
            filled(move |frames| send(inner, frames, bytes))
        }
        "deaf" => filled(async move |frames| {
            let _dropped = Dropped(inner);
            drop(frames.send(message(b"here")).await);
            frames.closed().await;
            drop(body);
            Status::new(Code::Ok, "")
        }),
        "hang" => {
            let _dropped = Dropped(inner);
            std::future::pending().await
        }
        "refuse" => filled(async |frames| {
            drop(frames.send(message(b"before")).await);
            refusal()
        }),
        "refuse-at-once" => refusal().into_http(),
        "break" => filled(async move |frames| {
            drop(frames.send(message(b"before")).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
            inner.hang_up();
            std::future::pending().await
        }),
        "sidechannel" => acts::echo_sidechannel(&mux, &headers).await,
        "sidechannel-send" => acts::fill_sidechannel(&mux, &headers).await,
        other => Status::invalid_argument(format!("no such act: {other}")).into_http(),
    }
}

fn judge(headers: &HeaderMap) -> Result<(), Status> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs();
    let secret = Secret::new(TOKEN.as_bytes()).expect("it is not empty");
    let header = headers.get("authorization").map_or(&b""[..], |value| value.as_bytes());
    let credentials = Credentials::parse(header)
        .map_err(|_| Status::unauthenticated("authentication required"))?;
    let now = i64::try_from(now).expect("it is not that late");
    credentials.verify(&secret, now).map_err(|_| Status::permission_denied("permission denied"))
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.dropped.set(self.0.dropped.get() + 1);
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Beside {
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}
