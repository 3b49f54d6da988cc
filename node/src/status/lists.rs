//! The tables: builds, queues, repositories, errors.

use super::Limits;
use super::gathered::Gathered;
use crate::limits::Queue as Line;
use crate::pack_cache::Making;
use crate::spending::{Account, Span, Spending};
use crate::storage::Storages;
use gitring_daemon::log;
use gitring_daemon::status::{Content, Table, Tone, Value};
use std::cmp::Reverse;
use std::path::Path;

/// Rows of one table: what a screen has room for.
const ROWS_MAX: usize = 20;
/// Of a key; enough to find it in the log.
const KEY_DIGITS: usize = 12;

pub(super) fn builds(making: &[Making], storages: &Storages) -> Content {
    const COLUMNS: &[(&str, &str)] = &[
        ("repository", "repository"),
        ("clients", "for clients"),
        ("builder", "builder"),
        ("bytes", "so far"),
        ("age_seconds", "since"),
        ("key", "key"),
    ];
    let row = |build: &Making| {
        let builder = match build.builder {
            Some(builder) => Value::State(builder.to_owned(), Tone::Good),
            None => Value::State("waits".to_owned(), Tone::Warning),
        };
        let key = build.key.to_string();
        vec![
            Value::text(name(&build.repository, storages)),
            Value::Count(build.readers as u64),
            builder,
            Value::Bytes(build.bytes),
            build.age.into(),
            Value::text(key.get(..KEY_DIGITS).unwrap_or(&key)),
        ]
    };
    let rows = making.iter().take(ROWS_MAX).map(row).collect();
    Content::Table(Table { columns: COLUMNS, rows, empty: "No pack is being built." })
}

/// The storage and the path in it of what lies in a directory.
fn name(directory: &Path, storages: &Storages) -> String {
    let inside = |(name, root): (_, &Path)| {
        let path = directory.strip_prefix(root).ok()?;
        Some(format!("{name}: {}", path.display()))
    };
    let found = storages.iter().find_map(inside);
    found.unwrap_or_else(|| directory.display().to_string())
}

pub(super) fn queues(metrics: &Gathered, limits: Limits) -> Content {
    const COLUMNS: &[(&str, &str)] =
        &[("of", "of"), ("busy", "busy"), ("waiting", "waiting"), ("state", "state")];
    let row = |of: &str, busy: Value, waiting: &str| {
        let waiting = metrics.count(waiting);
        let state = match waiting {
            0 => Value::State("free".to_owned(), Tone::Good),
            1.. => Value::State("queue".to_owned(), Tone::Warning),
        };
        vec![Value::text(of), busy, Value::Count(waiting), state]
    };
    let busy = |name: &str, max: usize| {
        let used = metrics.count(name);
        Value::Fill { used, max: max as u64, is_bytes: false }
    };
    let files = Value::Count(metrics.count("gitring_file_threads_busy"));
    let rows = vec![
        row(
            "git processes",
            busy("gitaly_commands_running", limits.children),
            "gitaly_spawn_token_waiting_length",
        ),
        row("workers", busy("gitring_workers_busy", limits.workers), "gitring_workers_queued"),
        row("writers", busy("gitring_writers_busy", limits.writers), "gitring_writers_queued"),
        row("file threads", files, "gitring_file_threads_queued"),
    ];
    Content::Table(Table { columns: COLUMNS, rows, empty: "" })
}

/// Those that are in use; who waits most first. Users are counted, and not named.
pub(super) fn lines(mut lines: Vec<Line>) -> Content {
    const COLUMNS: &[(&str, &str)] = &[
        ("limit", "limit"),
        ("each", "at once, each"),
        ("running", "running"),
        ("waiting", "waiting"),
        ("waiting_max", "may wait, each"),
        ("of_one_client", "of them of one client"),
    ];
    lines.retain(|line| line.load.running + line.load.queued > 0);
    lines.sort_by_key(|line| Reverse((line.load.queued, line.load.running)));
    let row = |Line { name, queue_max, load }: &Line| {
        let of_one = load.top_clients.first().map_or(0, |client| client.queued);
        let each = match load.limit {
            0 => Value::text("any number"),
            limit => Value::Count(limit as u64),
        };
        vec![
            Value::text(name),
            each,
            Value::Count(load.running as u64),
            Value::Count(load.queued as u64),
            Value::Count(*queue_max as u64),
            Value::Count(of_one as u64),
        ]
    };
    let rows = lines.iter().take(ROWS_MAX).map(row).collect();
    Content::Table(Table { columns: COLUMNS, rows, empty: "Nothing runs under a limit now." })
}

pub(super) fn top(spending: &Spending, span: Span) -> Content {
    const COLUMNS: &[(&str, &str)] = &[
        ("repository", "repository"),
        ("cost_cpu_seconds", "CPU, estimated"),
        ("children_cpu_seconds", "of it git"),
        ("calls", "calls"),
        ("bytes", "sent"),
        ("share", "share"),
    ];
    let accounts = spending.heaviest(span, usize::MAX);
    let all_us: u64 = accounts.iter().map(|account| account.spent.cost_us).sum();
    let row = |Account { storage, path, spent }: &Account| {
        let seconds = |us: u64| Value::Seconds(us as f64 / 1e6);
        vec![
            Value::text(format!("{storage}: {path}")),
            seconds(spent.cost_us),
            seconds(spent.children_us),
            Value::Count(spent.calls),
            Value::Bytes(spent.bytes),
            Value::ratio(spent.cost_us as f64, all_us as f64),
        ]
    };
    let rows = accounts.iter().take(ROWS_MAX).map(row).collect();
    Content::Table(Table { columns: COLUMNS, rows, empty: "Nobody has asked for anything." })
}

pub(super) fn errors() -> Content {
    const COLUMNS: &[(&str, &str)] = &[
        ("ago_seconds", "ago"),
        ("level", "level"),
        ("message", "message"),
        ("details", "details"),
        ("times", "times"),
        ("correlation_id", "correlation id"),
    ];
    let row = |noted: &log::Noted| {
        let level = match noted.is_error {
            true => Value::State("error".to_owned(), Tone::Bad),
            false => Value::State("warning".to_owned(), Tone::Warning),
        };
        vec![
            noted.at.elapsed().unwrap_or_default().into(),
            level,
            Value::text(&noted.message),
            Value::text(&noted.details),
            Value::Count(noted.times),
            Value::text(&noted.correlation_id),
        ]
    };
    let rows = log::recent().iter().take(ROWS_MAX).map(row).collect();
    Content::Table(Table { columns: COLUMNS, rows, empty: "None since the start." })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::StorageConfig;

    #[test]
    fn repositories_are_named_by_their_storage() {
        let root = tempfile::tempdir().unwrap();
        let config = StorageConfig { name: "default".to_owned(), path: root.path().to_owned() };
        let storages = Storages::new(&[config]).unwrap();
        let (_, real) = storages.iter().next().unwrap();
        assert_eq!(name(&real.join("a/b.git"), &storages), "default: a/b.git");
        assert_eq!(name(Path::new("/elsewhere/b.git"), &storages), "/elsewhere/b.git");
    }
}
