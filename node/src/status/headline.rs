//! The figures that matter most, and those of the pack cache.

use super::Limits;
use super::gathered::Gathered;
use crate::pack_cache::Snapshot;
use gitring_daemon::status::{Content, Figure, Tone, Value};

const LOOKUPS: &str = "gitring_pack_cache_lookups_total";
const SAVED: &str = "gitring_pack_cache_saved_cpu_seconds_total";

pub(super) fn content(metrics: &Gathered, packs: &Snapshot, limits: Limits) -> Content {
    let lookups = metrics.sum(LOOKUPS);
    let shared = lookups - metrics.sum_of(LOOKUPS, "role", "lead");
    let begun = metrics.sum("grpc_server_started_total");
    let calls = (begun - metrics.sum("grpc_server_handled_total")).max(0.0) as u64;
    let fill = |used: u64, max: usize| Value::Fill { used, max: max as u64, is_bytes: false };
    let connections = metrics.count("gitring_reactor_connections");
    let children = metrics.count("gitaly_commands_running");
    Content::Headline(vec![
        Figure::new("hit_ratio", "packs not built again", Value::ratio(shared, lookups)),
        Figure::new("saved_cpu_seconds", "CPU saved by that", Value::Seconds(metrics.sum(SAVED))),
        Figure::new("builds", "packs being built", Value::Count(packs.making)),
        Figure::new("readers", "clients fetching packs", Value::Count(packs.readers)),
        Figure::new("calls", "Gitaly calls in flight", Value::Count(calls)),
        Figure::new("connections", "connections", fill(connections, limits.connections)),
        Figure::new("children", "git processes", fill(children, limits.children)),
        Figure::new("cache_bytes", "pack cache", cache_fill(packs)),
    ])
}

fn cache_fill(packs: &Snapshot) -> Value {
    let used = packs.kept_bytes + packs.making_bytes + packs.unlinked_bytes;
    Value::Fill { used, max: packs.bytes_max, is_bytes: true }
}

pub(super) fn io_uring(metrics: &Gathered) -> Value {
    let reactors = |state| metrics.sum_of("gitring_io_uring", "state", state) > 0.0;
    match (reactors("ring"), reactors("pool")) {
        (true, false) => Value::State("io_uring".to_owned(), Tone::Good),
        (true, true) => Value::State("partly io_uring".to_owned(), Tone::Warning),
        (false, _) => Value::State("threads".to_owned(), Tone::Warning),
    }
}

pub(super) fn pack_cache(metrics: &Gathered, packs: &Snapshot) -> Content {
    let state = match packs.enabled {
        true => Value::State("keeps packs".to_owned(), Tone::Good),
        false => Value::State("off".to_owned(), Tone::Warning),
    };
    let role = |role| Value::Count(metrics.sum_of(LOOKUPS, "role", role) as u64);
    let saved = |role| Value::Seconds(metrics.sum_of(SAVED, "role", role));
    let built = metrics.sum("gitring_pack_build_cpu_seconds_total");
    let bytes = |name| Value::Bytes(metrics.count(name));
    let count = |name| Value::Count(metrics.count(name));
    Content::Figures(vec![
        Figure::new("state", "state", state),
        Figure::new("fill_bytes", "on disk", cache_fill(packs)),
        Figure::new("entries", "packs kept", Value::Count(packs.entries)),
        Figure::new(
            "memory_bytes",
            "in memory for want of a disk",
            Value::Bytes(packs.memory_bytes),
        ),
        Figure::new("hits", "hits", role("hit")),
        Figure::new("joins", "joined while being built", role("join")),
        Figure::new("leads", "built for the first", role("lead")),
        Figure::new("build_cpu_seconds", "CPU spent on builds", Value::Seconds(built)),
        Figure::new("saved_by_hits_cpu_seconds", "CPU saved by hits", saved("hit")),
        Figure::new("saved_by_joins_cpu_seconds", "CPU saved by joins", saved("join")),
        Figure::new(
            "generated_bytes",
            "bytes built",
            bytes("gitaly_pack_objects_generated_bytes_total"),
        ),
        Figure::new(
            "served_bytes",
            "bytes served",
            bytes("gitaly_pack_objects_served_bytes_total"),
        ),
        Figure::new("evictions", "evicted", count("gitring_pack_cache_evictions_total")),
        Figure::new("unstored", "not kept", count("gitring_pack_cache_unstored_total")),
    ])
}
