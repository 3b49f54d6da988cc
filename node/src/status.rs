//! What the node shows of itself to people: the sections of its status page.
//!
//! ```text
//!   metrics ─────┐
//!   pack_cache ──┼──► sections ──► daemon::status ──► page, JSON, `gitring-node top`
//!   spending ────┤
//!   limits ──────┤
//!   log ─────────┘
//! ```
//!
//! Always true: reading a section takes short locks only; nothing is asked of a disk or a client.
//! Never here: HTML; tokens, keys, names of users.

mod gathered;
mod headline;
mod lists;
mod process;

use self::gathered::Gauges;
use crate::limits;
use crate::pack_cache::SharedPacks;
use crate::spending::{Span, Spending};
use crate::storage::Storages;
use gitring_daemon::status::{About, Heading, Status};
use prometheus::Registry;
use std::sync::Arc;

/// What the sections are made from.
#[derive(Debug)]
pub struct Sources {
    /// The node's metrics.
    pub registry: Registry,
    /// Its packs.
    pub packs: SharedPacks,
    /// Who cost what.
    pub spending: Spending,
    /// Who waits for a turn.
    pub lines: limits::Limits,
    /// Where repositories lie.
    pub storages: Storages,
    /// What may be in use at once.
    pub limits: Limits,
    /// The git that it runs, as it was at the start.
    pub git_version: String,
}

/// What may be in use at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `[runtime] reactors`
    pub reactors: usize,
    /// `[runtime] workers`
    pub workers: usize,
    /// Threads that write.
    pub writers: usize,
    /// `[runtime] children`
    pub children: usize,
    /// `[runtime] connections`
    pub connections: usize,
}

/// Where sections stand: their owners leave room between them.
pub mod place {
    /// The figures at the top.
    pub const HEADLINE: u8 = 0;
    /// Packs that are being built.
    pub const BUILDS: u8 = 10;
    /// What waits, and for what.
    pub const QUEUES: u8 = 20;
    /// Limits of clients and repositories.
    pub const LIMITS: u8 = 30;
    /// What costs most.
    pub const TOP: u8 = 40;
    /// The pack cache.
    pub const PACK_CACHE: u8 = 50;
    /// Threads and files.
    pub const REACTORS: u8 = 60;
    /// The process.
    pub const PROCESS: u8 = 70;
    /// Warnings and errors.
    pub const ERRORS: u8 = 80;
}

/// The node's sections; other owners add theirs.
pub fn status(sources: Sources) -> Status {
    let about = About { service: "gitring-node", version: env!("CARGO_PKG_VERSION") };
    let status = Status::new(about);
    let Sources { registry, packs, spending, lines, storages, limits, git_version } = sources;
    let gauges = Gauges::new(registry);
    let heading = |key, title| Heading { key, title };
    let (of, from) = (gauges.clone(), packs.clone());
    status.add(place::HEADLINE, heading("overview", "Overview"), move || {
        headline::content(&of.read(), &from.snapshot(), limits)
    });
    let (from, storages) = (packs.clone(), Arc::new(storages));
    status.add(place::BUILDS, heading("builds", "Packs being built"), move || {
        lists::builds(&from.making(), &storages)
    });
    let of = gauges.clone();
    status.add(place::QUEUES, heading("queues", "Threads and processes"), move || {
        lists::queues(&of.read(), limits)
    });
    status.add(place::LIMITS, heading("limits", "Limits in use"), move || {
        lists::lines(lines.snapshot())
    });
    for (span, key, title) in [
        (Span::Minute, "top_minute", "Repositories by cost, last minute"),
        (Span::Hour, "top_hour", "Repositories by cost, last hour"),
    ] {
        let of = spending.clone();
        status.add(place::TOP, heading(key, title), move || lists::top(&of, span));
    }
    let of = gauges.clone();
    status.add(place::PACK_CACHE, heading("pack_cache", "Pack cache"), move || {
        headline::pack_cache(&of.read(), &packs.snapshot())
    });
    let of = gauges.clone();
    status.add(place::REACTORS, heading("reactors", "Connections and files"), move || {
        process::reactors(&of.read(), limits)
    });
    status.add(place::PROCESS, heading("process", "Process"), move || {
        process::content(&gauges.read(), &git_version)
    });
    status.add(place::ERRORS, heading("errors", "Recent warnings and errors"), lists::errors);
    status
}
