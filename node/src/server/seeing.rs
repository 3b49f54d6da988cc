//! The port that people and collectors look at: metrics, and the status page beside them.

use super::StartError;
use crate::config::Config;
use crate::pack_cache::SharedPacks;
use crate::spending::Spending;
use crate::status::{self, Limits, Sources};
use crate::storage::WRITERS_DEFAULT;
use gitring_daemon::listener;
use gitring_daemon::metrics::{self, Endpoint};
use gitring_daemon::otlp::{Settings, Tracer};
use prometheus::Registry;
use std::io;
use std::net::SocketAddr;

/// What the status page is made from. `git_version` is that of the start.
pub(super) fn sources(
    config: &Config,
    (packs, spending): (SharedPacks, Spending),
    (git_version, registry): (String, &Registry),
) -> Sources {
    metrics::build_info(registry, env!("CARGO_PKG_VERSION"), &git_version);
    let runtime = &config.runtime;
    Sources {
        registry: registry.clone(),
        packs,
        spending,
        storages: config.storages.clone(),
        limits: Limits {
            reactors: runtime.reactors,
            workers: runtime.workers,
            writers: WRITERS_DEFAULT,
            children: runtime.children_max,
            connections: runtime.connections_max,
        },
        git_version,
    }
}

/// Spans go where the environment says. One that makes no sense is told, and nothing is traced: as
/// with Gitaly, that is no reason not to serve.
pub(super) fn tracer(registry: &Registry) -> io::Result<Tracer> {
    let variable = |name: &str| std::env::var(name).ok();
    match Settings::from_variables("gitring-node", variable) {
        Ok(None) => Ok(Tracer::off()),
        Ok(Some(settings)) => {
            tracing::info!(?settings, "calls are traced");
            Tracer::start(settings, registry)
        }
        Err(error) => {
            tracing::warn!(%error, "calls are not traced");
            Ok(Tracer::off())
        }
    }
}

/// Opens the port, where there is to be one, and says where it is.
pub(super) fn serve(
    address: Option<SocketAddr>,
    sources: Sources,
) -> Result<Option<(SocketAddr, Endpoint)>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let listener = listener::tcp(address)?;
    let address = listener.local_addr()?;
    let registry = sources.registry.clone();
    let endpoint = metrics::serve(listener, registry, status::status(sources))?;
    Ok(Some((address, endpoint)))
}
