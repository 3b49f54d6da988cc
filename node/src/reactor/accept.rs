//! The accept thread: takes connections and hands each to the least loaded reactor.
//!
//! One thread for all reactors, since SO_REUSEPORT leaves some of them idle: with 8 connections
//! on 8 threads it left 2.6 without any.
//!
//! Always true: at most `connections_max` connections are served, whatever listener they came by;
//! of further ones each listener holds one, the others wait in the kernel's backlog.

use super::Reactors;
use gitring_daemon::drain::Drain;
use gitring_daemon::listener::{Acceptor, Listener};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Accepts on every listener until the service drains; then the listeners close and the reactors'
/// inboxes with them.
pub fn start<D: Copy + Send + Sync + 'static>(
    listeners: Vec<(D, Listener)>,
    connections_max: usize,
    reactors: Reactors<D>,
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
    std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
        let (reactors, permits) = (Arc::new(reactors), Arc::new(Semaphore::new(connections_max)));
        runtime.block_on(async {
            // Dropped, and so ended, with the thread.
            let mut doors = tokio::task::JoinSet::new();
            for (door, acceptor) in acceptors {
                let (reactors, permits) = (Arc::clone(&reactors), Arc::clone(&permits));
                doors.spawn(async move { accept(door, &acceptor, &permits, &reactors).await });
            }
            drain.draining().await;
            doors.shutdown().await;
        });
    })?;
    Ok(())
}

async fn accept<D: Copy + Send + 'static>(
    door: D,
    acceptor: &Acceptor,
    permits: &Arc<Semaphore>,
    reactors: &Reactors<D>,
) {
    loop {
        // A runtime's registration cannot move to another thread; the bare socket can.
        match acceptor.accept().await {
            Ok(connection) => {
                // Taken afterwards: a listener that waits must not hold a place of the others.
                let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return };
                reactors.hand(door, connection, permit);
            }
            Err(error) => {
                tracing::warn!(%error, "accept");
                // Out of file descriptors: trying again at once would only burn the CPU.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
