//! The port that people and collectors look at: metrics, and the status page beside them.

use super::foundation::Shared;
use crate::config::Config;
use crate::status::{self, Limits, Sources};
use crate::storage::WRITERS_DEFAULT;
use gitring_daemon::metrics::{self, Endpoint};
use gitring_daemon::otlp::{Settings, Tracer};
use prometheus::Registry;
use std::io;
use std::net::TcpListener;

/// What the status page is made from.
pub(super) fn sources(config: &Config, shared: &Shared, registry: &Registry) -> Sources {
    let git_version = shared.git_version.clone();
    metrics::build_info(registry, env!("CARGO_PKG_VERSION"), &git_version);
    let runtime = &config.runtime;
    Sources {
        registry: registry.clone(),
        packs: shared.packs.clone(),
        spending: shared.spending.clone(),
        lines: shared.limits.clone(),
        storages: config.storages.clone(),
        limits: Limits {
            reactors: runtime.reactors,
            workers: runtime.workers,
            writers: WRITERS_DEFAULT,
            children: runtime.children.children_max,
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

/// Answers on a port.
pub(super) fn serve(listener: TcpListener, sources: Sources) -> io::Result<Endpoint> {
    let registry = sources.registry.clone();
    metrics::serve(listener, registry, status::status(sources))
}
