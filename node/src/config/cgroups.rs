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

#[cfg(test)]
mod tests {
    use super::*;
    use gitring_daemon::settings::Document;
    use std::path::Path;

    fn parse(text: &str) -> Result<(CgroupsConfig, u64), String> {
        let document = Document::parse(Path::new("c.toml"), text).unwrap();
        let config = read(&document.root()).map_err(|error| error.to_string())?;
        let memory = memory_bytes(&document.root(), &config).map_err(|error| error.to_string())?;
        Ok((config, memory))
    }

    fn resources(memory_bytes: u64, cpu_shares: u64, cpu_quota_us: u64) -> Resources {
        Resources { memory_bytes, cpu_shares, cpu_quota_us }
    }

    #[test]
    fn keys_of_today_and_of_earlier() {
        let (config, memory) = parse("").unwrap();
        assert_eq!(config.mountpoint, Path::new("/sys/fs/cgroup"));
        assert_eq!((config.hierarchy_root.as_str(), config.count), ("gitaly", 0));
        assert!(memory >= 128 << 20);
        let text = "[cgroups]\nmountpoint = '/m'\nhierarchy_root = 'a/b'\nmemory_bytes = 300000000\n\
                    cpu_shares = 100\ncpu_quota_us = -1\nmetrics_enabled = true\n\
                    [cgroups.repositories]\ncount = 7\nmax_cgroups_per_repo = 3\n\
                    memory_bytes = 20\ncpu_shares = 10\ncpu_quota_us = 5";
        let (config, memory) = parse(text).unwrap();
        assert_eq!(config.all, resources(300_000_000, 100, 0));
        assert_eq!(config.repositories, resources(20, 10, 5));
        assert_eq!((config.count, config.groups_per_repository), (7, 3));
        assert_eq!(memory, 300_000_000, "no more than the children's cgroup has");
        let old = "[cgroups]\ncount = 5\n[cgroups.memory]\nenabled = true\nlimit = 64\n\
                   [cgroups.cpu]\nenabled = false\nshares = 8";
        let (config, _) = parse(old).unwrap();
        assert_eq!((config.count, config.repositories), (5, resources(64, 0, 0)));
        let both = "[cgroups]\ncount = 5\n[cgroups.memory]\nenabled = true\nlimit = 64\n\
                    [cgroups.repositories]\ncount = 2\nmemory_bytes = 9";
        let (config, _) = parse(both).unwrap();
        assert_eq!((config.count, config.repositories), (2, resources(9, 0, 0)));
    }

    #[test]
    fn what_is_refused() {
        let check = |text: &str, key: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.contains(key), "{text}: {error}");
        };
        check(
            "[cgroups]\nmemory_bytes = 5\n[cgroups.repositories]\nmemory_bytes = 6",
            "memory_bytes",
        );
        check(
            "[cgroups]\ncpu_quota_us = 5\n[cgroups.repositories]\ncpu_quota_us = 6",
            "cpu_quota_us",
        );
        check(
            "[cgroups.repositories]\ncount = 2\nmax_cgroups_per_repo = 3",
            "max_cgroups_per_repo",
        );
        check("[cgroups]\nhierarchy_root = 'a/../..'", "hierarchy_root");
        check("[runtime]\nchildren_memory_bytes = 1", "children_memory_bytes");
    }
}
