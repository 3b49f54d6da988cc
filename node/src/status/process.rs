//! Reactors and the process itself.

use super::gathered::Gathered;
use super::{Limits, headline};
use gitring_daemon::status::{Content, Figure, Value};

pub(super) fn reactors(metrics: &Gathered, limits: Limits) -> Content {
    let connections = metrics.count("gitring_reactor_connections");
    let max = limits.connections as u64;
    let fill = Value::Fill { used: connections, max, is_bytes: false };
    let of_kind = |kind| metrics.sum_of("gitaly_connections_total", "type", kind) as u64;
    Content::Figures(vec![
        Figure::new("connections", "connections", fill),
        Figure::new("tcp_connections", "over TCP since the start", Value::Count(of_kind("tcp"))),
        Figure::new("unix_connections", "over the socket", Value::Count(of_kind("unix"))),
        Figure::new("reactors", "reactors", Value::Count(limits.reactors as u64)),
        Figure::new("file_access", "file access", headline::io_uring(metrics)),
        Figure::new(
            "file_operations",
            "file operations",
            Value::Count(metrics.count("gitring_file_operations_total")),
        ),
        Figure::new(
            "fallbacks",
            "fetches and pushes given to git",
            Value::Count(
                metrics.count("gitring_upload_pack_fallbacks_total")
                    + metrics.count("gitring_receive_pack_fallbacks_total"),
            ),
        ),
    ])
}

pub(super) fn content(metrics: &Gathered, git_version: &str) -> Content {
    let bytes = |name| Value::Bytes(metrics.count(name));
    let descriptors = Value::Fill {
        used: metrics.count("process_open_fds"),
        max: metrics.count("process_max_fds"),
        is_bytes: false,
    };
    let cpu = |name| Value::Seconds(metrics.sum(name));
    Content::Figures(vec![
        Figure::new("pid", "process id", Value::text(std::process::id().to_string())),
        Figure::new("git_version", "git", Value::text(git_version)),
        Figure::new("cpu_seconds", "CPU of the node", cpu("process_cpu_seconds_total")),
        Figure::new("children_cpu_seconds", "CPU of git", cpu("gitaly_command_cpu_seconds_total")),
        Figure::new("resident_bytes", "memory", bytes("process_resident_memory_bytes")),
        Figure::new("threads", "threads", Value::Count(metrics.count("process_threads"))),
        Figure::new("descriptors", "file descriptors", descriptors),
    ])
}
