//! The doors of the node: what it listens on, and who serves the connections of each.

use crate::config::Config;
use crate::reactor::Serve;
use crate::rpc::Services;
use crate::rpc::gateway::{Gateway, GatewayConfig, GatewayMetrics};
use crate::rpc::gitaly::{Gitaly, GitalyConfig, GitalyMetrics};
use crate::storage::Repositories;
use gitring_daemon::drain::Drain;
use gitring_daemon::listener::{self, ListenError, Listener, Peer, Stream};
use prometheus::Registry;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

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

/// What both doors of every reactor are made from.
#[derive(Debug, Clone)]
pub(super) struct Blueprint {
    gateway: Option<GatewayConfig>,
    gitaly: GitalyConfig,
    repositories: Repositories,
    services: Services,
    gateway_metrics: GatewayMetrics,
    gitaly_metrics: GitalyMetrics,
}

/// Both doors of one reactor.
#[derive(Debug)]
pub(super) struct Doors {
    gateway: Option<Rc<Gateway>>,
    gitaly: Rc<Gitaly>,
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
        services: Services,
        registry: &Registry,
    ) -> Self {
        let gateway_metrics = GatewayMetrics::register(registry, &services.metrics);
        Self {
            gateway: config.gateway.clone(),
            gitaly: config.gitaly.clone(),
            repositories,
            services,
            gateway_metrics,
            gitaly_metrics: GitalyMetrics::register(registry),
        }
    }

    /// The doors of the reactor that calls.
    pub(super) fn build(&self) -> Doors {
        let services = Rc::new(self.services.clone());
        let gateway = self.gateway.clone().map(|config| {
            let (repositories, services) = (self.repositories.clone(), Rc::clone(&services));
            Rc::new(Gateway::new(config, repositories, services, self.gateway_metrics.clone()))
        });
        let (repositories, metrics) = (self.repositories.clone(), self.gitaly_metrics.clone());
        let gitaly = Gitaly::new(&self.gitaly, repositories, services, metrics);
        Doors { gateway, gitaly }
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
}
