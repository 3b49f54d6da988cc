//! A client of a Gitaly, and of the gRPC that a client serves on its own connection.
//!
//! ```text
//!   Client::connect       gRPC on the connection itself
//!   Client::connect_mux   "backchannel", yamux: gRPC on the first stream of ours;
//!                         streams of the server: sidechannels, or gRPC that it calls here
//!   over                  the server's side of that: gRPC on a stream towards the client
//! ```
//!
//! Always true:
//! - a client and everything that runs for it stay on one thread; all of it ends when the last
//!   clone is dropped, calls that are being answered included;
//! - every request has a token of its own age;
//! - a server that answers nothing for 40 seconds is given up, and its calls fail.
//!
//! Never here: reconnecting (a client of a lost connection fails every call), and the choice of a
//! server.

mod accept;
mod address;
mod call;
mod passing;
mod tasks;

#[cfg(test)]
mod tests;

use crate::mux::{self, Limits, Mux, MuxError, Role};
use crate::sidechannel::{Registry, Waiter};
use crate::tls::{TlsError, Trust};
use call::{Pings, Sender, Transport};
use gitring_proto::listenmux::BACKCHANNEL;
use gitring_proto::token::Secret;
use gitring_proto::yamux;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tasks::Tasks;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::service::Routes;

pub use address::{Address, AddressError};
pub(crate) use call::CALLS_MAX;
pub use call::Replies;
pub(crate) use passing::PassError;

/// What Go's client gives an attempt to connect.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The socket.
    #[error("dial {address}")]
    Dial {
        /// Where to.
        address: Address,
        /// Why not.
        source: io::Error,
    },
    /// Nobody answered.
    #[error("dial {address}: no answer within {} seconds", CONNECT_MAX.as_secs())]
    TimedOut {
        /// Where to.
        address: Address,
    },
    /// Nobody can be trusted.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// HTTP/2 did not begin.
    #[error("begin HTTP/2")]
    Http2(#[from] hyper::Error),
    /// The mux did not begin.
    #[error("open a stream for gRPC")]
    Stream(#[from] yamux::OpenError),
}

/// Makes calls. A tonic client takes it: `RepositoryServiceClient::new(client.clone())`.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    /// None: no authentication.
    secret: Option<Secret>,
    /// Of connections with a mux.
    registry: Option<Registry>,
    /// Whatever runs for this client.
    _tasks: Tasks,
}

/// A socket of any kind.
trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Socket for S {}

/// Calls a client back on its own connection. The stream is opened with the first call, and again
/// after it broke. Gitaly authenticates no such calls.
pub fn over(mux: Mux) -> Client {
    let tasks = Tasks::default();
    let transport = Transport::lazy(mux, tasks.executor());
    Client { inner: Rc::new(Inner { transport, secret: None, registry: None, _tasks: tasks }) }
}

// === impl Client ===

impl Client {
    /// Connects without a mux: no sidechannels, no calls back. An empty token means no
    /// authentication.
    ///
    /// To be called within a `LocalSet` or `LocalRuntime`, on which the connection then runs.
    pub async fn connect(address: &Address, token: &[u8]) -> Result<Self, ConnectError> {
        within(address, async {
            let socket = dial(address).await?;
            let tasks = Tasks::default();
            let sender = call::handshake(socket, &tasks.executor(), Pings::Sent).await?;
            Ok(Self::new(sender, Secret::new(token), None, tasks))
        })
        .await
    }

    /// Connects with a mux. `backchannel` answers what the server calls; without it every call is
    /// answered with UNIMPLEMENTED.
    pub async fn connect_mux(
        address: &Address,
        token: &[u8],
        limits: Limits,
        backchannel: Option<Routes>,
    ) -> Result<Self, ConnectError> {
        Self::connect_mux_as(address, Secret::new(token), limits, backchannel).await
    }

    /// The same with a secret that was made ready before; without one no call is authenticated.
    pub async fn connect_mux_as(
        address: &Address,
        secret: Option<Secret>,
        limits: Limits,
        backchannel: Option<Routes>,
    ) -> Result<Self, ConnectError> {
        within(address, async {
            let mut socket = dial(address).await?;
            let failed = |source| ConnectError::Dial { address: address.clone(), source };
            socket.write_all(BACKCHANNEL).await.map_err(failed)?;
            let (mux, incoming, driver) = mux::start(socket, Role::Client, limits);
            let tasks = Tasks::default();
            let registry = Registry::default();
            tasks.spawn(async { log_end(driver.await) });
            tasks.spawn(accept::serve(
                incoming,
                registry.clone(),
                backchannel.unwrap_or_default(),
                tasks.executor(),
            ));
            let sender = call::handshake(mux.open().await?, &tasks.executor(), Pings::Sent).await?;
            Ok(Self::new(sender, secret, Some(registry), tasks))
        })
        .await
    }

    /// Claims a sidechannel for the next call: announce it in the call's metadata, and accept it
    /// while the call runs. `None` on a connection without a mux.
    pub fn sidechannel(&self) -> Option<Waiter> {
        self.inner.registry.as_ref().map(Registry::register)
    }

    /// Whether calls can still be made. A connection that a peer cuts without a word is noticed
    /// within 40 seconds.
    pub fn is_open(&self) -> bool {
        self.inner.transport.is_open()
    }

    fn new(
        sender: Sender,
        secret: Option<Secret>,
        registry: Option<Registry>,
        tasks: Tasks,
    ) -> Self {
        let transport = Transport::Ready(sender);
        Self { inner: Rc::new(Inner { transport, secret, registry, _tasks: tasks }) }
    }
}

async fn within<T>(
    address: &Address,
    connecting: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    tokio::time::timeout(CONNECT_MAX, connecting)
        .await
        .unwrap_or_else(|_| Err(ConnectError::TimedOut { address: address.clone() }))
}

async fn dial(address: &Address) -> Result<Box<dyn Socket>, ConnectError> {
    let failed = |source| ConnectError::Dial { address: address.clone(), source };
    match address {
        Address::Tcp { host, port } => Ok(Box::new(dial_tcp(host, *port).await.map_err(failed)?)),
        Address::Tls { host, port, trust } => {
            let connector = connector(trust.clone()).await?;
            let name = ServerName::try_from(host.clone());
            let name = name.map_err(|error| failed(io::Error::other(error)))?;
            let socket = dial_tcp(host, *port).await.map_err(failed)?;
            let socket = connector.connect(name, socket).await.map_err(failed)?;
            Ok(Box::new(socket))
        }
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?)),
    }
}

async fn dial_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((host, port)).await?;
    // Small messages must not wait for acknowledgements of earlier ones.
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn connector(trust: Trust) -> Result<TlsConnector, TlsError> {
    // The system's certificates are some hundred files, read with the first connection.
    let read = tokio::task::spawn_blocking(move || trust.config()).await;
    match read {
        Ok(config) => Ok(TlsConnector::from(config?)),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn log_end(end: Result<(), MuxError>) {
    if let Err(error) = end {
        tracing::debug!(error = %error, "connection to a Gitaly ended");
    }
}
