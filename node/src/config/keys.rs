//! Every key that Gitaly 16.7 or 18.9 knows, and our own, with what becomes of it here.
//!
//! Always true: no key that restricts access is [`Standing::Known`], which is to be ignored.

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Read by `config`.
    Used,
    /// Gitaly has a use for it; we have none yet.
    Known,
}

/// The standing of a dotted key; `None` if nobody knows it.
pub(super) fn standing(path: &str) -> Option<Standing> {
    let listed = |(keys, standing): &(&[&str], Standing)| keys.contains(&path).then_some(*standing);
    if let Some(standing) = TABLE.iter().find_map(listed) {
        return Some(standing);
    }
    let below = |table: &&str| path.strip_prefix(*table).is_some_and(|key| key.starts_with('.'));
    KNOWN_TABLES.iter().any(below).then_some(Standing::Known)
}

/// The names of a table's keys.
pub(super) fn of_table(table: &str) -> Vec<&'static str> {
    let split = |key: &&'static str| key.rsplit_once('.').unwrap_or(("", key));
    names().filter_map(|key| (split(&key).0 == table).then_some(split(&key).1)).collect()
}

/// The key that somebody meant who wrote `path`: at most three letters are wrong, and less than
/// half of its name.
pub(super) fn nearest(path: &str) -> Option<&'static str> {
    let far = |key: &&str| distance(path, key);
    let nearest = names().min_by_key(far)?;
    let name_letters = path.rsplit('.').next().map_or(0, str::len);
    (far(&nearest) <= 3 && far(&nearest) * 2 < name_letters).then_some(nearest)
}

fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|(keys, _)| keys.iter().copied())
}

/// How many letters have to be changed, put in or taken out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, letter) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (below, other) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[below + 1];
            row[below + 1] = changed.min(diagonal + 1).min(row[below] + 1);
        }
    }
    row[b.len()]
}

/// Tables of which every key is known: experiments of 18.9 with many keys.
const KNOWN_TABLES: &[&str] = &["raft", "offloading"];

const TABLE: &[(&[&str], Standing)] = &[
    (
        &[
            "config_command",
            "socket_path",
            "listen_addr",
            "auth.token",
            "auth.transitioning",
            "auth.insecure",
            "auth.tokens.name",
            "auth.tokens.token",
            "auth.tokens.token_file",
            "tls_listen_addr",
            "tls.min_version",
            "timeout.upload_pack_negotiation",
            "timeout.upload_archive_negotiation",
            "runtime_dir",
            "prometheus_listen_addr",
            "prometheus.grpc_latency_buckets",
            "graceful_restart_timeout",
            "storage.name",
            "storage.path",
            "git.bin_path",
            "git.config.key",
            "git.config.value",
            "logging.format",
            "logging.level",
            "gateway.listen_addr",
            "gateway.insecure",
            "gateway.storage",
            "gateway.receive_pack",
            "pushes.pack_bytes_max",
            "pushes.objects_max",
            "pushes.unpack_time_max",
            "runtime.reactors",
            "runtime.workers",
            "runtime.children",
            "runtime.children_memory_bytes",
            "adaptive_limiting.cpu_throttled_threshold",
            "adaptive_limiting.memory_threshold",
            "adaptive_limiting.cpu_pressure_threshold",
            "adaptive_limiting.memory_pressure_threshold",
            "adaptive_limiting.io_pressure_threshold",
            "adaptive_limiting.queue_time_threshold",
            "runtime.connections",
            "pack_objects_cache.enabled",
            "pack_objects_cache.dir",
            "pack_objects_cache.max_age",
            "pack_objects_cache.min_occurrences",
            "pack_objects_cache.backpressure",
            "pack_objects_cache.bytes_max",
            "pack_objects_cache.window_bytes",
            "pack_objects_cache.free_bytes_min",
            "pack_objects_cache.log_one_key_in",
            "runtime.io_uring",
            "runtime.fsync",
            "gitlab.url",
            "gitlab.relative_url_root",
            "gitlab.secret_file",
            "gitlab.secret",
            "gitlab.http-settings.read_timeout",
            "gitlab.http-settings.user",
            "gitlab.http-settings.password",
            "gitlab.http-settings.ca_file",
            "gitlab.http-settings.ca_path",
            "gitlab-shell.dir",
            "hooks.custom_hooks_dir",
            "hooks.without_gitlab",
            "tls.certificate_path",
            "tls.key_path",
            "tls.key",
            "upstream.address",
            "upstream.token",
            "upstream.token_file",
        ],
        Standing::Used,
    ),
    (&["bin_dir"], Standing::Known),
    (
        &[
            "git.use_bundled_binaries",
            "git.catfile_cache_size",
            "git.signing_key",
            "git.rotated_signing_keys",
            "git.committer_email",
            "git.committer_name",
        ],
        Standing::Known,
    ),
    (
        &[
            "logging.dir",
            "logging.sentry_dsn",
            "logging.sentry_environment",
            "prometheus.scrape_timeout",
        ],
        Standing::Known,
    ),
    (
        &[
            "concurrency.rpc",
            "concurrency.max_per_repo",
            "concurrency.max_concurrency",
            "concurrency.max_queue_size",
            "concurrency.max_queue_length",
            "concurrency.max_queue_wait",
            "concurrency.adaptive",
            "concurrency.initial_limit",
            "concurrency.max_limit",
            "concurrency.min_limit",
            "concurrency.unauthenticated.max_per_repo",
            "concurrency.unauthenticated.max_concurrency",
            "concurrency.unauthenticated.max_queue_size",
            "concurrency.unauthenticated.max_queue_length",
            "concurrency.unauthenticated.max_queue_wait",
            "concurrency.unauthenticated.adaptive",
            "concurrency.unauthenticated.initial_limit",
            "concurrency.unauthenticated.max_limit",
            "concurrency.unauthenticated.min_limit",
            "rate_limiting.rpc",
            "rate_limiting.interval",
            "rate_limiting.burst",
            "pack_objects_limiting.max_per_repo",
            "pack_objects_limiting.max_concurrency",
            "pack_objects_limiting.max_queue_size",
            "pack_objects_limiting.max_queue_length",
            "pack_objects_limiting.max_queue_wait",
            "pack_objects_limiting.adaptive",
            "pack_objects_limiting.initial_limit",
            "pack_objects_limiting.max_limit",
            "pack_objects_limiting.min_limit",
            "pack_objects_limiting.unauthenticated.max_per_repo",
            "pack_objects_limiting.unauthenticated.max_concurrency",
            "pack_objects_limiting.unauthenticated.max_queue_size",
            "pack_objects_limiting.unauthenticated.max_queue_length",
            "pack_objects_limiting.unauthenticated.max_queue_wait",
            "pack_objects_limiting.unauthenticated.adaptive",
            "pack_objects_limiting.unauthenticated.initial_limit",
            "pack_objects_limiting.unauthenticated.max_limit",
            "pack_objects_limiting.unauthenticated.min_limit",
            "pack_building.max_concurrency",
            "pack_building.max_queue_size",
            "pack_building.max_queue_wait",
        ],
        Standing::Used,
    ),
    (
        &[
            "archive_cache.enabled",
            "archive_cache.dir",
            "archive_cache.max_age",
            "archive_cache.min_occurrences",
            "archive_cache.backpressure",
        ],
        Standing::Known,
    ),
    (
        &[
            "daily_maintenance.start_hour",
            "daily_maintenance.start_minute",
            "daily_maintenance.duration",
            "daily_maintenance.storages",
            "daily_maintenance.disabled",
        ],
        Standing::Known,
    ),
    (
        &[
            "cgroups.mountpoint",
            "cgroups.hierarchy_root",
            "cgroups.memory_bytes",
            "cgroups.cpu_shares",
            "cgroups.cpu_quota_us",
            "cgroups.metrics_enabled",
            "cgroups.count",
            "cgroups.cpu.enabled",
            "cgroups.cpu.shares",
            "cgroups.memory.enabled",
            "cgroups.memory.limit",
            "cgroups.repositories.count",
            "cgroups.repositories.max_cgroups_per_repo",
            "cgroups.repositories.memory_bytes",
            "cgroups.repositories.cpu_shares",
            "cgroups.repositories.cpu_quota_us",
        ],
        Standing::Used,
    ),
    (
        &[
            "backup.go_cloud_url",
            "backup.layout",
            "backup.wal_backup_go_cloud_url",
            "backup.wal_backup_worker_count",
            "backup.buffer_size",
            "bundle_uri.go_cloud_url",
            "transactions.enabled",
            "transactions.max_inactive_partitions",
        ],
        Standing::Known,
    ),
];
