//! `[cgroups]`, and what memory children may have.
//!
//! Always true: the keys of Gitaly before 15.0 count where those of today are absent, as Gitaly
//! folds them; no repository may have more than all of them together.

use crate::cgroups::own;
use crate::cgroups::{CgroupsConfig, Resources};
use gitring_daemon::settings::{Section, SettingsError};
use std::path::PathBuf;

/// Gitaly's.
const MOUNTPOINT_DEFAULT: &str = "/sys/fs/cgroup";
const HIERARCHY_ROOT_DEFAULT: &str = "gitaly";
/// Directories that one process makes.
const COUNT_MAX: usize = 10_000;
const AMOUNT_MAX: usize = i64::MAX as usize;
/// Of the machine's memory the children may be expected to take one half; the other one is for the
/// page cache, which packs are read and served from, and for the node.
const MEMORY_PART: u64 = 2;
/// The least that lets git work on a small repository.
const MEMORY_BYTES_MIN: usize = 128 << 20;
/// Where nobody says how much memory there is.
const MEMORY_BYTES_UNKNOWN: u64 = 2 << 30;

/// Reads the table.
pub(super) fn read(root: &Section<'_>) -> Result<CgroupsConfig, SettingsError> {
    let mut config = CgroupsConfig {
        mountpoint: PathBuf::from(MOUNTPOINT_DEFAULT),
        hierarchy_root: HIERARCHY_ROOT_DEFAULT.to_owned(),
        all: Resources::default(),
        repositories: Resources::default(),
        count: 0,
        groups_per_repository: 1,
        metrics_enabled: false,
    };
    let Some(section) = root.section("cgroups")? else { return Ok(config) };
    if let Some(path) = section.string("mountpoint")?.filter(|path| !path.is_empty()) {
        config.mountpoint = PathBuf::from(path);
    }
    if let Some(name) = section.string("hierarchy_root")?.filter(|name| !name.is_empty()) {
        if name.split('/').any(|part| part == "..") {
            let what = format!("'{name}' leads upwards, allowed: a path below mountpoint");
            return Err(section.error("hierarchy_root", what));
        }
        config.hierarchy_root = name.to_owned();
    }
    config.all = resources(&section)?;
    config.metrics_enabled = section.boolean("metrics_enabled")?.unwrap_or(false);
    if let Some(repositories) = section.section("repositories")? {
        config.repositories = resources(&repositories)?;
        config.count = repositories.integer("count", 0, COUNT_MAX)?.unwrap_or(0);
        let most = config.count.max(1);
        let groups = repositories.integer("max_cgroups_per_repo", 0, most)?;
        config.groups_per_repository = groups.unwrap_or(1).max(1);
    }
    if config.count == 0 {
        fold(&section, &mut config)?;
    }
    within(&section, &config)?;
    Ok(config)
}

/// `[runtime] children_memory_bytes`: what children may be expected to take together.
pub(super) fn memory_bytes(
    root: &Section<'_>,
    cgroups: &CgroupsConfig,
) -> Result<u64, SettingsError> {
    if let Some(section) = root.section("runtime")?
        && let Some(bytes) =
            section.integer("children_memory_bytes", MEMORY_BYTES_MIN, AMOUNT_MAX)?
    {
        return Ok(bytes as u64);
    }
    let half = own::memory_bytes_max().map_or(MEMORY_BYTES_UNKNOWN, |bytes| bytes / MEMORY_PART);
    let theirs = Some(cgroups.all.memory_bytes).filter(|bytes| *bytes > 0 && cgroups.count > 0);
    Ok(theirs.map_or(half, |bytes| bytes.min(half)).max(MEMORY_BYTES_MIN as u64))
}

fn resources(section: &Section<'_>) -> Result<Resources, SettingsError> {
    let amount = |key| Ok(section.amount(key, AMOUNT_MAX)?.unwrap_or(0) as u64);
    Ok(Resources {
        memory_bytes: amount("memory_bytes")?,
        cpu_shares: amount("cpu_shares")?,
        cpu_quota_us: amount("cpu_quota_us")?,
    })
}

/// Gitaly's keys before 15.0.
fn fold(section: &Section<'_>, config: &mut CgroupsConfig) -> Result<(), SettingsError> {
    config.count = section.integer("count", 0, COUNT_MAX)?.unwrap_or(0);
    let enabled = |name: &str, key: &str| -> Result<u64, SettingsError> {
        let Some(table) = section.section(name)? else { return Ok(0) };
        let amount = table.amount(key, AMOUNT_MAX)?.unwrap_or(0) as u64;
        Ok(if table.boolean("enabled")?.unwrap_or(false) { amount } else { 0 })
    };
    if config.repositories.memory_bytes == 0 {
        config.repositories.memory_bytes = enabled("memory", "limit")?;
    }
    if config.repositories.cpu_shares == 0 {
        config.repositories.cpu_shares = enabled("cpu", "shares")?;
    }
    Ok(())
}

fn within(section: &Section<'_>, config: &CgroupsConfig) -> Result<(), SettingsError> {
    let (all, each) = (&config.all, &config.repositories);
    for (key, all, each) in [
        ("memory_bytes", all.memory_bytes, each.memory_bytes),
        ("cpu_shares", all.cpu_shares, each.cpu_shares),
        ("cpu_quota_us", all.cpu_quota_us, each.cpu_quota_us),
    ] {
        if all > 0 && each > all {
            let what = format!("is {all}, less than {each} in cgroups.repositories, allowed: more");
            return Err(section.error(key, what));
        }
    }
    Ok(())
}
