//! The doors of the node: what it listens on, and who serves the connections of each.

use crate::config::Config;
use crate::pack_cache::disk::CacheDisk;
use crate::pack_cache::{Packs, SharedPacks};
use crate::reactor::Serve;
use crate::reactor::ring::Ring;
use crate::rpc::gateway::{Gateway, GatewayConfig, GatewayMetrics};
use crate::rpc::gitaly::{Gitaly, GitalyConfig, GitalyMetrics};
use crate::rpc::push::Landings;
use crate::rpc::{FetchMetrics, Services};
use crate::storage::Repositories;
use gitring_daemon::drain::Drain;
use gitring_daemon::listener::{self, ListenError, Listener, Peer, Stream};
use prometheus::Registry;
use std::io;
use std::net::SocketAddr;
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
    pub(super) gateway: Option<SocketAddr>,
    pub(super) gitaly: Option<SocketAddr>,
}

/// What calls of one reactor may use, with its way to the packs.
pub(super) type MakeServices = Arc<dyn Fn(Packs) -> Services + Send + Sync>;

/// What both doors of every reactor are made from.
#[derive(Clone)]
pub(super) struct Blueprint {
    gateway: Option<GatewayConfig>,
    gitaly: GitalyConfig,
    repositories: Repositories,
    packs: SharedPacks,
    services: MakeServices,
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

// === impl Listening ===

impl Listening {
    pub(super) fn start(config: &Config) -> Result<Self, StartListening> {
        let mut this = Self { listeners: Vec::new(), gateway: None, gitaly: None };
        if let Some(address) = config.gitaly.listen_addr {
            let listener = listener::tcp(address)?;
            this.gitaly = Some(listener.local_addr()?);
            this.listeners.push((Door::Gitaly, listener.into()));
        }
        if let Some(path) = &config.gitaly.socket_path {
            this.listeners.push((Door::Gitaly, listener::unix(path)?));
        }
        if let Some(gateway) = &config.gateway {
            let listener = listener::tcp(gateway.listen_addr)?;
            this.gateway = Some(listener.local_addr()?);
            this.listeners.push((Door::Gateway, listener.into()));
        }
        Ok(this)
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
        repositories: Repositories,
        (metrics, services): (&FetchMetrics, MakeServices),
        registry: &Registry,
    ) -> Self {
        let gateway_metrics = GatewayMetrics::register(registry, metrics);
        Self {
            gateway: config.gateway.clone(),
            gitaly: config.gitaly.clone(),
            repositories,
            packs: SharedPacks::new(&config.pack_cache, registry),
            services,
            gateway_metrics,
            gitaly_metrics: GitalyMetrics::register(registry, &config.latency_buckets),
        }
    }

    /// The packs that all reactors share.
    pub(super) fn packs(&self) -> SharedPacks {
        self.packs.clone()
    }

    /// The doors of the reactor that calls.
    pub(super) fn build(&self, ring: Ring) -> Doors {
        let packs = self.packs.on_reactor(CacheDisk::new(ring));
        let services = Rc::new((self.services)(packs.clone()));
        let landings = services.landings.clone();
        let gateway = self.gateway.clone().map(|config| {
            let (repositories, services) = (self.repositories.clone(), Rc::clone(&services));
            Rc::new(Gateway::new(config, repositories, services, self.gateway_metrics.clone()))
        });
        let (repositories, metrics) = (self.repositories.clone(), self.gitaly_metrics.clone());
        let gitaly = Gitaly::new(&self.gitaly, repositories, services, metrics);
        Doors { gateway, gitaly, packs, landings }
    }
}

// === impl Doors ===

impl Serve for Doors {
    type Door = Door;

    async fn serve(self: Rc<Self>, door: Door, stream: Stream, peer: Peer, drain: Drain) {
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
