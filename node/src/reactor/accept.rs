//! The accept thread: takes connections and hands each to the least loaded reactor.
//!
//! One thread for all reactors, since SO_REUSEPORT leaves some of them idle: with 8 connections
//! on 8 threads it left 2.6 without any.
//!
//! Always true: at most `connections_max` connections are open; further ones wait in the kernel's
//! backlog until one ends.

use super::Reactors;
use gitring_daemon::drain::Drain;
use prometheus::{IntCounter, Opts, Registry};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Accepts on `listener` until the service drains; then the listener closes and the reactors'
/// inboxes with it.
pub fn start(
    listener: TcpListener,
    connections_max: usize,
    reactors: Reactors,
    mut drain: Drain,
    registry: &Registry,
) -> io::Result<()> {
    let accepted = accepted(registry);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = drain.draining() => {}
                () = accept(&listener, connections_max, &reactors, &accepted) => {}
            }
        });
    })?;
    Ok(())
}

async fn accept(
    listener: &tokio::net::TcpListener,
    connections_max: usize,
    reactors: &Reactors,
    accepted: &IntCounter,
) {
    let permits = Arc::new(Semaphore::new(connections_max));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        // A runtime's registration cannot move to another thread; the bare socket can.
        match listener.accept().await.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => {
                accepted.inc();
                // Small answers must not wait for the client's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                reactors.hand(stream, peer, permit);
            }
            Err(error) => {
                tracing::warn!(%error, "accept");
                // Out of file descriptors: trying again at once would only burn the CPU.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn accepted(registry: &Registry) -> IntCounter {
    let opts = Opts::new("gitaly_connections_total", "Connections accepted, by type.")
        .const_label("type", "tcp");
    let counter = IntCounter::with_opts(opts).expect("name and label are valid");
    registry.register(Box::new(counter.clone())).expect("registered once a registry");
    counter
}
