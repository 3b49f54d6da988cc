//! Streams that the server opens: sidechannels, and HTTP/2 for its calls to us.

use super::tasks::Executor;
use crate::authority::Readable;
use crate::mux::{Incoming, MuxStream, Replay};
use crate::sidechannel::{OPENING_MAX, Registry};
use bytes::Bytes;
use gitring_proto::listenmux::{MAGIC_BYTES, Opening, tell};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use tokio::io::AsyncReadExt;
use tonic::codegen::Service;
use tonic::service::Routes;

/// Calls of a server that are answered at once, per stream.
const CALLS_MAX: u32 = 1000;

/// Accepts until the connection ends.
pub(super) async fn serve(
    mut incoming: Incoming,
    registry: Registry,
    routes: Routes,
    executor: Executor,
) {
    while let Some(stream) = incoming.accept().await {
        executor.spawn(tell_and_serve(stream, registry.clone(), routes.clone(), executor.clone()));
    }
    registry.close();
}

async fn tell_and_serve(
    mut stream: MuxStream,
    registry: Registry,
    routes: Routes,
    executor: Executor,
) {
    let Ok(Ok((opening, head))) = tokio::time::timeout(OPENING_MAX, first_bytes(&mut stream)).await
    else {
        return;
    };
    match opening {
        Opening::Sidechannel => {
            let received = tokio::time::timeout(OPENING_MAX, registry.receive(stream)).await;
            if let Ok(Err(error)) = received {
                tracing::debug!(error = %error, "sidechannel refused");
            }
        }
        Opening::Other => answer(Replay::new(head, stream), routes, executor).await,
        // A mux within a mux, or less than any protocol begins with.
        Opening::Backchannel | Opening::Incomplete => {}
    }
}

/// Reads until the bytes tell what follows, and no further than a magic.
async fn first_bytes(stream: &mut MuxStream) -> io::Result<(Opening, Bytes)> {
    let mut head = [0; MAGIC_BYTES];
    let mut filled = 0;
    loop {
        let opening = tell(&head[..filled]);
        if opening != Opening::Incomplete {
            return Ok((opening, Bytes::copy_from_slice(&head[..filled])));
        }
        let count = stream.read(&mut head[filled..]).await?;
        if count == 0 {
            return Ok((Opening::Incomplete, Bytes::new()));
        }
        filled += count;
    }
}

async fn answer(stream: Replay<MuxStream>, routes: Routes, executor: Executor) {
    let service = service_fn(move |request| {
        let mut routes = routes.clone();
        async move { routes.call(request).await }
    });
    let served = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS_MAX)
        // Gitaly calls this end `multiplexed/<address>`, which is no authority (RFC 3986 §3.2).
        .serve_connection(TokioIo::new(Readable::new(stream)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error = %error, "HTTP/2 of a Gitaly ended");
    }
}
