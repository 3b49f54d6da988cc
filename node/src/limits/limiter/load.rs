//! How a limit is used, for those who look at it.
//!
//! Never here: decisions.

use super::Limiter;
use crate::limits::claim::Name;
use std::collections::HashMap;

/// How one client stands under a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLoad {
    /// Its name.
    pub client: String,
    /// So many of its requests are in.
    pub running: usize,
    /// So many wait.
    pub queued: usize,
}

impl Limiter {
    /// How many are in and how many wait, under all keys.
    pub(in crate::limits) fn totals(&self) -> (usize, usize) {
        (self.lanes.values().map(|lane| lane.running).sum(), self.tickets.len())
    }

    /// How many are in and how many wait, under one key.
    pub(in crate::limits) fn load(&self, key: &Name) -> (usize, usize) {
        self.lanes.get(key).map_or((0, 0), |lane| (lane.running, lane.tickets))
    }

    /// The clients that take most, at most `clients_max` of them: first those who wait most.
    pub(in crate::limits) fn top_clients(&self, clients_max: usize) -> Vec<ClientLoad> {
        let mut loads: HashMap<&Name, (usize, usize)> = HashMap::new();
        for lane in self.lanes.values() {
            for (client, queued) in lane.turns.clients() {
                loads.entry(client).or_default().0 += queued;
            }
            for (client, running) in &lane.by_client {
                loads.entry(client).or_default().1 += running;
            }
        }
        let mut loads: Vec<_> = loads.into_iter().collect();
        loads.sort_by(|(one, load), (other, than)| than.cmp(load).then(one.cmp(other)));
        let load = |(client, (queued, running)): (&Name, (usize, usize))| ClientLoad {
            client: client.to_string(),
            running,
            queued,
        };
        loads.into_iter().take(clients_max).map(load).collect()
    }
}
