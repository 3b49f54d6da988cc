//! The doors of the node: what it listens on, and who serves the connections of each.

use super::foundation::Shared;
use crate::config::Config;
use crate::pack_cache::Packs;
use crate::pack_cache::disk::CacheDisk;
use crate::reactor::Serve;
use crate::reactor::ring::Ring;
use crate::rpc::gateway::{Gateway, GatewayConfig, GatewayMetrics};
use crate::rpc::gitaly::{Adjustable, Gitaly, GitalyMetrics};
use crate::rpc::push::Landings;
use gitring_daemon::drain::Drain;
use gitring_daemon::listener::{Inherited, Kept, ListenError, Listener, Peer, Stream};
use gitring_daemon::tls::Server;
use prometheus::Registry;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Gitaly's protocol.
    Gitaly,
    /// Smart HTTP.
    Gateway,
}

/// Everything that listens, and where.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listeners: Vec<(Door, Listener)>,
    /// Of every socket, the metrics' included: what a successor gets.
    pub(super) kept: Vec<Kept>,
    pub(super) metrics: Option<TcpListener>,
    /// Who answers within TLS.
    pub(super) tls: Option<Arc<Server>>,
    pub(super) at: Addresses,
}

/// Where everything listens that has an address.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Addresses {
    pub(super) gateway: Option<SocketAddr>,
    pub(super) gitaly: Option<SocketAddr>,
    pub(super) tls: Option<SocketAddr>,
    pub(super) metrics: Option<SocketAddr>,
}

/// What both doors of every reactor are made from.
#[derive(Clone)]
pub(super) struct Blueprint {
    gateway: Option<GatewayConfig>,
    adjustable: Adjustable,
    shared: Shared,
    gateway_metrics: GatewayMetrics,
    gitaly_metrics: GitalyMetrics,
}

/// Both doors of one reactor.
#[derive(Debug)]
pub(super) struct Doors {
    gateway: Option<Rc<Gateway>>,
    gitaly: Rc<Gitaly>,
    packs: Packs,
    landings: Landings,
}

// === impl Addresses ===

impl Addresses {
    /// Says in the log that the node serves, and where.
    pub(super) fn announce(&self, socket_path: Option<&Path>) {
        let shown = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        tracing::info!(
            address = shown(self.gateway),
            gitaly_address = shown(self.gitaly),
            tls_address = shown(self.tls),
            socket_path = socket_path.map(|path| path.display().to_string()),
            metrics_address = shown(self.metrics),
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
    }
}

// === impl Listening ===

impl Listening {
    /// Opens what was not inherited.
    pub(super) fn start(
        config: &Config,
        inherited: &mut Inherited,
    ) -> Result<Self, StartListening> {
        let (mut listeners, mut at, mut tls) = (Vec::new(), Addresses::default(), None);
        if let Some(address) = config.gitaly.listen_addr {
            let listener = inherited.tcp(address)?;
            at.gitaly = Some(listener.local_addr()?);
            listeners.push((Door::Gitaly, listener.into()));
        }
        if let Some(path) = &config.gitaly.socket_path {
            listeners.push((Door::Gitaly, inherited.unix(path)?));
        }
        if let Some(within) = &config.gitaly.tls {
            let listener = inherited.tcp(within.listen_addr)?;
            at.tls = Some(listener.local_addr()?);
            let server = tls.insert(Server::new(within.loaded.clone()));
            listeners.push((Door::Gitaly, Listener::Tls(listener, Arc::clone(server))));
        }
        if let Some(gateway) = &config.gateway {
            let listener = inherited.tcp(gateway.listen_addr)?;
            at.gateway = Some(listener.local_addr()?);
            listeners.push((Door::Gateway, listener.into()));
        }
        let mut kept: Vec<_> =
            listeners.iter().map(|(_, listener)| Kept::of(listener)).collect::<io::Result<_>>()?;
        let mut metrics = None;
        if let Some(address) = config.prometheus_listen_addr {
            let listener = inherited.tcp(address)?;
            at.metrics = Some(listener.local_addr()?);
            kept.push(Kept::of_tcp(&listener)?);
            metrics = Some(listener);
        }
        Ok(Self { listeners, kept, metrics, tls, at })
    }
}

/// Why a door stays shut.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartListening {
    /// An address is taken or not ours.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system does not say where a socket listens.
    #[error(transparent)]
    Address(#[from] io::Error),
}

// === impl Blueprint ===

impl Blueprint {
    pub(super) fn new(
        config: &Config,
        shared: Shared,
        adjustable: Adjustable,
        registry: &Registry,
    ) -> Self {
        let gateway_metrics = GatewayMetrics::register(registry, &shared.metrics);
        Self {
            gateway: config.gateway.clone(),
            adjustable,
            shared,
            gateway_metrics,
            gitaly_metrics: GitalyMetrics::register(registry, &config.latency_buckets),
        }
    }

    /// The doors of the reactor that calls.
    pub(super) fn build(&self, ring: Ring) -> Doors {
        let repositories = &self.shared.repositories;
        let packs = self.shared.packs.on_reactor(CacheDisk::new(ring));
        let services = Rc::new(self.shared.services(packs.clone()));
        let landings = services.landings.clone();
        let gateway = self.gateway.clone().map(|config| {
            let (repositories, services) = (repositories.clone(), Rc::clone(&services));
            Rc::new(Gateway::new(config, repositories, services, self.gateway_metrics.clone()))
        });
        let (repositories, metrics) = (repositories.clone(), self.gitaly_metrics.clone());
        let gitaly = Gitaly::new(self.adjustable.clone(), repositories, services, metrics);
        Doors { gateway, gitaly, packs, landings }
    }
}

// === impl Doors ===

impl Serve for Doors {
    type Door = Door;

    async fn serve(self: Rc<Self>, door: Door, stream: Stream, peer: Peer, drain: Drain) {
        self.landings.heed(&drain);
        match (door, &self.gateway) {
            (Door::Gitaly, _) => Rc::clone(&self.gitaly).serve(stream, peer, drain).await,
            (Door::Gateway, Some(gateway)) => Rc::clone(gateway).serve(stream, peer, drain).await,
            // Nothing listens for a gateway that is not configured.
            (Door::Gateway, None) => {}
        }
    }

    /// Clients of other reactors may read what this one makes.
    async fn finish(self: Rc<Self>) {
        self.landings.ended().await;
        self.packs.ended().await;
    }
}
