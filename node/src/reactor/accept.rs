//! The accept threads: take connections and hand each to the least loaded reactor.
//!
//! One thread for all reactors, since SO_REUSEPORT leaves some of them idle: with 8 connections
//! on 8 threads it left 2.6 without any. Another one for connections within TLS: it takes their
//! handshakes, too: 0.5 ms of its CPU for a key of P-256 or RSA 2048, 2.2 ms for RSA 4096 (busy
//! 2-core machine), for which no reactor and no connection outside of TLS then waits.
//!
//! Always true: at most `connections_max` connections are served, whatever listener they came by,
//! those in a handshake included; of further ones each listener holds one, the others wait in the
//! kernel's backlog.

use super::Reactors;
use gitring_daemon::drain::Drain;
use gitring_daemon::listener::{Acceptor, Listener, Peer, Socket};
use gitring_daemon::tls::Server;
use prometheus::{IntCounterVec, Opts, Registry};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Where connections go.
struct Entrance<D> {
    reactors: Reactors<D>,
    permits: Arc<Semaphore>,
    failures: IntCounterVec,
}

/// Accepts on every listener until the service leaves or drains; then the listeners close, and
/// once it drains the reactors' inboxes with them.
pub fn start<D: Copy + Send + Sync + 'static>(
    listeners: Vec<(D, Listener)>,
    connections_max: usize,
    reactors: Reactors<D>,
    drain: &Drain,
    registry: &Registry,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(connections_max));
    let entrance = Arc::new(Entrance { reactors, permits, failures: failures(registry) });
    let (encrypted, plain): (Vec<_>, Vec<_>) =
        listeners.into_iter().partition(|(_, listener)| listener.is_tls());
    for (name, listeners) in [("accept", plain), ("accept-tls", encrypted)] {
        if !listeners.is_empty() {
            run(name, listeners, &entrance, drain.clone())?;
        }
    }
    Ok(())
}

fn run<D: Copy + Send + Sync + 'static>(
    name: &str,
    listeners: Vec<(D, Listener)>,
    entrance: &Arc<Entrance<D>>,
    mut drain: Drain,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut acceptors = Vec::new();
    {
        let _context = runtime.enter();
        for (door, listener) in listeners {
            acceptors.push((door, listener.register()?));
        }
    }
    let entrance = Arc::clone(entrance);
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(async {
            // Dropped, and so ended, with the thread.
            let mut doors = JoinSet::new();
            for (door, acceptor) in acceptors {
                doors.spawn(accept(door, acceptor, Arc::clone(&entrance), drain.clone()));
            }
            drain.draining().await;
            doors.shutdown().await;
        });
    })?;
    Ok(())
}

/// Accepts until the service leaves. What was accepted by then is handed on all the same.
async fn accept<D: Copy + Send + Sync + 'static>(
    door: D,
    acceptor: Acceptor,
    entrance: Arc<Entrance<D>>,
    mut drain: Drain,
) {
    let mut handshakes = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = acceptor.accept() => accepted,
            () = drain.leaving() => break,
        };
        while handshakes.try_join_next().is_some() {}
        // A runtime's registration cannot move to another thread; the bare socket can.
        match accepted {
            Ok((socket, peer)) => {
                // Taken afterwards: a listener that waits must not hold a place of the others.
                let permit = Arc::clone(&entrance.permits).acquire_owned().await;
                let Ok(permit) = permit else { return };
                match acceptor.tls() {
                    None => entrance.reactors.hand(door, (socket, peer), permit).await,
                    Some(tls) => {
                        let (entrance, tls) = (Arc::clone(&entrance), Arc::clone(tls));
                        handshakes.spawn(async move {
                            entrance.shake_hands(door, (socket, peer), &tls, permit).await;
                        });
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept");
                // Out of file descriptors: trying again at once would only burn the CPU.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(acceptor);
    while handshakes.join_next().await.is_some() {}
}

// === impl Entrance ===

impl<D: Copy + Send + 'static> Entrance<D> {
    async fn shake_hands(
        &self,
        door: D,
        (socket, peer): (Socket, Peer),
        tls: &Server,
        permit: OwnedSemaphorePermit,
    ) {
        let Socket::Tcp(socket) = socket else { return };
        match tls.handshake(socket).await {
            Ok(socket) => {
                self.reactors.hand(door, (Socket::Tls(socket), peer), permit).await;
            }
            Err(error) => {
                self.failures.with_label_values(&[error.reason()]).inc();
                let error = gitring_daemon::log::chain(&error);
                tracing::debug!(%peer, error, "no connection within TLS");
            }
        }
    }
}

fn failures(registry: &Registry) -> IntCounterVec {
    let name = "gitring_tls_handshake_failures_total";
    let opts = Opts::new(name, "Connections that did not come about, by reason.");
    let failures = IntCounterVec::new(opts, &["reason"]).expect("name and label are valid");
    registry.register(Box::new(failures.clone())).expect("registered once a registry");
    failures
}
