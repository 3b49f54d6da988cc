//! A GitLab that answers what a test wants: HTTP/1.1 over TCP, TLS or a unix socket.
//!
//! Always true:
//! - every connection carries one request, as those of the node do; each is served by a thread, so
//!   one that hangs delays no other;
//! - dropping the value ends its listener; what hangs ends with its client.
//!
//! Never here: what GitLab would decide.
//!
//! The certificates beside this file are for these tests alone and good until 2126.

use std::fmt::Debug;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// Shared with the node.
pub const SECRET: &str = "the secret of the tests";
/// PEM: signed the server's and the client's certificate.
pub const AUTHORITY: &str = include_str!("gitlab/authority.pem");
/// PEM: an authority that shows itself as a server.
pub const SELF_SIGNED: &str = include_str!("gitlab/self-signed.pem");
/// PEM: what the node may show.
pub const CLIENT: &str = include_str!("gitlab/client.pem");
/// PEM: its key.
pub const CLIENT_KEY: &str = include_str!("gitlab/client-key.pem");

const SERVER: &str = include_str!("gitlab/server.pem");
const SERVER_KEY: &str = include_str!("gitlab/server-key.pem");
const SELF_SIGNED_KEY: &str = include_str!("gitlab/self-signed-key.pem");

/// Where it listens.
#[derive(Debug, Clone)]
pub enum Listens {
    /// `http://`
    Tcp,
    /// `https://`, with a certificate for `localhost` and 127.0.0.1 of the authority.
    Tls,
    /// `https://`, with a certificate that is its own authority.
    SelfSigned,
    /// `https://`, for clients with a certificate of the authority.
    Mutual,
    /// `http+unix://`
    Unix(PathBuf),
}

/// One request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `POST`
    pub method: String,
    /// `/api/v4/internal/allowed`
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As text.
    pub body: String,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Status and body of an answer in JSON.
    Json(u16, String),
    /// Status, content type and body.
    Text(u16, &'static str, String),
    /// No answer, until the client leaves.
    Silence,
    /// The connection ends where the answer should begin.
    Hangup,
    /// An answer of 200 that ends in its middle.
    Half,
}

/// A running server.
pub struct Gitlab {
    shared: Arc<Shared>,
    url: String,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    reply: Box<dyn Fn(&Seen) -> Reply + Send + Sync>,
    ended: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

// === impl Gitlab ===

impl Gitlab {
    /// Starts a server; `reply` decides about each request.
    ///
    /// # Panics
    /// If it cannot listen.
    pub fn start(
        listens: &Listens,
        reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let tls = tls(listens);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = |wake: Box<dyn Fn() + Send + Sync>| {
            let (seen, ended) = (Mutex::default(), AtomicBool::new(false));
            Arc::new(Shared { seen, reply: Box::new(reply), ended, wake })
        };
        if let Listens::Unix(path) = listens {
            let listener = UnixListener::bind(path).expect("a socket can be made");
            let socket = path.clone();
            let shared = shared(Box::new(move || drop(UnixStream::connect(&socket))));
            let url = format!("http+unix://{}", path.display().to_string().replace('/', "%2F"));
            shared.listen(move || listener.accept().map(|(stream, _)| stream), None);
            return Self { shared, url };
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = shared(Box::new(move || drop(TcpStream::connect(address))));
        shared.listen(move || listener.accept().map(|(stream, _)| stream), tls);
        Self { shared, url: format!("{scheme}://localhost:{}", address.port()) }
    }

    /// A server that allows everything.
    pub fn friendly(listens: &Listens) -> Self {
        Self::start(listens, Seen::friendly)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The lines of a node's configuration that lead to it.
    pub fn toml(&self) -> String {
        format!("[gitlab]\nurl = '{}'\nsecret = '{SECRET}'\n", self.url)
    }

    /// Requests so far, in the order of their arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen().clone()
    }

    /// The last parts of their paths.
    pub fn endpoints(&self) -> Vec<String> {
        let seen = self.seen();
        let last = |seen: &Seen| seen.path.rsplit('/').next().unwrap_or_default().to_owned();
        seen.iter().map(last).collect()
    }
}

impl Drop for Gitlab {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        (self.shared.wake)();
    }
}

// === impl Seen ===

impl Seen {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A yes to whatever was asked.
    pub fn friendly(&self) -> Reply {
        let body = match self.path.rsplit('/').next() {
            Some("allowed") => r#"{"status":true,"message":"","gl_id":"user-1"}"#,
            Some("pre_receive") => r#"{"reference_counter_increased":true}"#,
            Some("post_receive") => r#"{"reference_counter_decreased":true,"messages":[]}"#,
            Some("check") => {
                r#"{"api_version":"v4","gitlab_version":"16.7.0","gitlab_rev":"x",
                    "gitlab_revision":"6bbe6e9","redis":true}"#
            }
            _ => return Reply::Json(404, r#"{"message":"404 Not Found"}"#.to_owned()),
        };
        Reply::Json(200, body.to_owned())
    }
}

// === impl Shared ===

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen<S: Wire + 'static>(
        self: &Arc<Self>,
        mut accept: impl FnMut() -> io::Result<S> + Send + 'static,
        tls: Option<Arc<ServerConfig>>,
    ) {
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            while let Ok(stream) = accept() {
                if this.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (this, tls) = (Arc::clone(&this), tls.clone());
                std::thread::spawn(move || match tls {
                    None => this.serve(stream),
                    Some(tls) => match ServerConnection::new(tls) {
                        Ok(connection) => this.serve(StreamOwned::new(connection, stream)),
                        Err(error) => panic!("{error}"),
                    },
                });
            }
        });
    }

    /// A client that breaks off is its own affair.
    fn serve(&self, stream: impl Wire) {
        let mut stream = BufReader::new(stream);
        let Ok(seen) = read(&mut stream) else { return };
        self.seen().push(seen.clone());
        let reply = (self.reply)(&seen);
        let answer = match reply {
            Reply::Json(status, body) => answer(status, "application/json", &body),
            Reply::Text(status, kind, body) => answer(status, kind, &body),
            Reply::Silence => {
                drop(stream.read(&mut [0]));
                return;
            }
            Reply::Hangup => return,
            Reply::Half => {
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
                    .to_owned()
            }
        };
        let stream = stream.get_mut();
        drop(stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()));
    }
}

fn answer(status: u16, kind: &str, body: &str) -> String {
    let head = format!("HTTP/1.1 {status} Because\r\ncontent-type: {kind}\r\n");
    format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn read(stream: &mut impl BufRead) -> io::Result<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut first = lines.first().map(String::as_str).unwrap_or_default().split(' ');
    let mut word = || first.next().unwrap_or_default().to_owned();
    let (method, path) = (word(), word());
    let headers = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut seen = Seen { method, path, headers, body: String::new() };
    let length = seen.header("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    seen.body = String::from_utf8_lossy(&body).into_owned();
    Ok(seen)
}

fn tls(listens: &Listens) -> Option<Arc<ServerConfig>> {
    let (chain, key) = match listens {
        Listens::Tcp | Listens::Unix(_) => return None,
        Listens::Tls | Listens::Mutual => (SERVER, SERVER_KEY),
        Listens::SelfSigned => (SELF_SIGNED, SELF_SIGNED_KEY),
    };
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has them");
    let builder = match listens {
        Listens::Mutual => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(AUTHORITY)).expect("an authority");
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("it has roots"))
        }
        Listens::Tcp | Listens::Tls | Listens::SelfSigned | Listens::Unix(_) => {
            builder.with_no_client_auth()
        }
    };
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    Some(Arc::new(builder.with_single_cert(vec![certificate(chain)], key).expect("they match")))
}

impl Debug for Gitlab {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Gitlab").field("url", &self.url).finish_non_exhaustive()
    }
}
