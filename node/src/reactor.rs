//! Threads: reactors that carry connections, and what they hand work to.
//!
//! ```text
//!   listener ──► accept ──► reactor 0 … N-1  ──► workers   (CPU work, file system)
//!                (least loaded first)        ├─► ring      (files that are open or about to be)
//!                                            └─► children  (git)
//! ```
//!
//! Always true:
//! - a connection lives and dies on the reactor it was handed to;
//! - a reactor thread makes no blocking call;
//! - whatever waits here is bounded: connections, inboxes, queued work, queued children.
//!
//! Never here: HTTP, gRPC, Git.

pub mod accept;
pub mod children;
pub mod ring;
pub mod workers;

use self::ring::{IoUring, Ring, Rings};
use gitring_daemon::drain::Drain;
use gitring_daemon::listener::{Peer, Socket, Stream};
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;

/// Connections on their way to one reactor. A reactor takes them as fast as it turns.
const INBOX_CONNECTIONS_MAX: usize = 64;

/// `[runtime]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Threads that carry connections.
    pub reactors: usize,
    /// Threads for CPU work and the file system.
    pub workers: usize,
    /// What child processes may take at once.
    pub children: children::Budget,
    /// Connections that are open at once.
    pub connections_max: usize,
    /// Whether file work may go through io_uring.
    pub io_uring: IoUring,
    /// Whether changes are acknowledged only once they are on stable storage. Without it a loss of
    /// power loses some: for measurements.
    pub is_durable: bool,
}

/// An accepted connection on its way to a reactor, and its place under `connections_max`.
#[derive(Debug)]
struct Connection<D> {
    door: D,
    socket: Socket,
    peer: Peer,
    seat: Seat,
}

/// Given back when the connection has ended.
#[derive(Debug)]
struct Seat {
    connections: IntGauge,
    _permit: OwnedSemaphorePermit,
}

/// Every reactor's inbox: where the accept thread hands connections to.
#[derive(Debug)]
pub struct Reactors<D> {
    inboxes: Vec<Inbox<D>>,
}

#[derive(Debug)]
struct Inbox<D> {
    connections: IntGauge,
    sender: mpsc::Sender<Connection<D>>,
}

/// What a reactor does with a connection. One is built on each reactor's own thread, so it may
/// hold what is not `Send`.
pub trait Serve: 'static {
    /// Which listener a connection came by, and so what it speaks.
    type Door: Copy + Send + 'static;

    /// Serves `stream` until it ends or `drain` says so.
    fn serve(
        self: Rc<Self>,
        door: Self::Door,
        stream: Stream,
        peer: Peer,
        drain: Drain,
    ) -> impl Future<Output = ()> + 'static;

    /// Ends what goes on without a connection, once the last one has ended.
    fn finish(self: Rc<Self>) -> impl Future<Output = ()> + 'static;
}

// === impl Reactors ===

impl<D: Copy + Send + 'static> Reactors<D> {
    /// Starts the reactor threads. `serve` is called once on each, with its ring.
    ///
    /// A reactor ends when its inbox has closed (these `Reactors` were dropped) and its last
    /// connection has ended.
    pub fn start<S: Serve<Door = D>>(
        count: usize,
        drain: &Drain,
        (rings, registry): (&Rings, &Registry),
        serve: impl Fn(Ring) -> S + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let gauges = connections(registry);
        let serve = Arc::new(serve);
        let inboxes = (0..count)
            .map(|index| {
                let (sender, inbox) = mpsc::channel(INBOX_CONNECTIONS_MAX);
                let (serve, drain, rings) = (Arc::clone(&serve), drain.clone(), rings.clone());
                // Built here, so that a lack of file descriptors is an error of the start.
                let (started, start) = std::sync::mpsc::sync_channel(1);
                std::thread::Builder::new().name(format!("reactor-{index}")).spawn(move || {
                    let built = Builder::new_current_thread()
                        .enable_all()
                        .build_local(LocalOptions::default());
                    match built {
                        Ok(runtime) => {
                            let _ = started.send(Ok(()));
                            runtime.block_on(async {
                                run(Rc::new(serve(rings.ring())), inbox, drain).await;
                            });
                        }
                        Err(error) => drop(started.send(Err(error))),
                    }
                })?;
                start.recv().unwrap_or_else(|_| Err(io::Error::other("the thread died")))?;
                let connections = gauges.with_label_values(&[&index.to_string()]);
                Ok(Inbox { connections, sender })
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { inboxes })
    }

    /// Gives a connection to the reactor that carries the fewest. Waits while the reactor has not
    /// taken those before it; further ones stay in the kernel's backlog.
    async fn hand(&self, door: D, (socket, peer): (Socket, Peer), permit: OwnedSemaphorePermit) {
        let Some(inbox) = self.inboxes.iter().min_by_key(|inbox| inbox.connections.get()) else {
            return;
        };
        inbox.connections.inc();
        let seat = Seat { connections: inbox.connections.clone(), _permit: permit };
        if inbox.sender.send(Connection { door, socket, peer, seat }).await.is_err() {
            tracing::warn!(%peer, "the reactor takes no more connections");
        }
    }
}

/// The life of one reactor.
async fn run<S: Serve>(serve: Rc<S>, mut inbox: mpsc::Receiver<Connection<S::Door>>, drain: Drain) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            connection = inbox.recv() => match connection {
                Some(connection) => {
                    let work = carry(Rc::clone(&serve), connection, drain.clone());
                    connections.spawn_local(work);
                }
                None => break,
            },
            Some(ended) = connections.join_next() => report(ended),
        }
    }
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
    serve.finish().await;
}

async fn carry<S: Serve>(serve: Rc<S>, connection: Connection<S::Door>, drain: Drain) {
    let Connection { door, socket, peer, seat } = connection;
    match socket.register() {
        Ok(stream) => serve.serve(door, stream, peer, drain).await,
        Err(error) => tracing::warn!(%error, "register a connection"),
    }
    drop(seat);
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection died of a panic");
    }
}

fn connections(registry: &Registry) -> IntGaugeVec {
    let opts = Opts::new("gitring_reactor_connections", "Connections that a reactor carries.");
    let gauges = IntGaugeVec::new(opts, &["reactor"]).expect("name and label are valid");
    registry.register(Box::new(gauges.clone())).expect("registered once a registry");
    gauges
}

// === impl Seat ===

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.dec();
    }
}
