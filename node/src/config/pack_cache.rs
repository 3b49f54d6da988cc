//! `[pack_objects_cache]`.
//!
//! Always true: without the table packs are kept, from the first time on; with it, defaults are
//! Gitaly's, save that `enabled` is true.

use crate::pack_cache::PackCacheConfig;
use crate::pack_cache::settings::{AGE_MAX_DEFAULT, LOG_ONE_KEY_IN_DEFAULT, WINDOW_BYTES_DEFAULT};
use crate::storage::{StorageName, Storages};
use gitring_daemon::settings::{Section, SettingsError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where Gitaly keeps them, below its first storage.
const DIRECTORY_DEFAULT: &str = "+gitaly/PackObjectsCache";
/// `bytes_max` is at most this, and at most a part of the file system.
const BYTES_MAX_DEFAULT: u64 = 10 << 30;
const PART_OF_FILE_SYSTEM: u64 = 20;
/// The largest number that TOML's integers hold.
const INTEGER_MAX: usize = i64::MAX as usize;
/// The least that a client's packets need.
const WINDOW_BYTES_MIN: usize = 1 << 20;
/// What is held of a pack in memory if it cannot be written to disk.
const WINDOW_BYTES_MAX: usize = 1 << 30;

/// Reads the table; `first` is the storage that the default directory lies in.
pub(super) fn read(
    root: &Section<'_>,
    storages: &Storages,
    first: &StorageName,
) -> Result<PackCacheConfig, SettingsError> {
    let default = storages.root(first).unwrap_or(Path::new("")).join(DIRECTORY_DEFAULT);
    let mut config = PackCacheConfig {
        enabled: true,
        directory: default,
        max_age: AGE_MAX_DEFAULT,
        min_occurrences: 0,
        backpressure: true,
        bytes_max: 0,
        window_bytes: WINDOW_BYTES_DEFAULT,
        free_bytes_min: 0,
        log_one_key_in: LOG_ONE_KEY_IN_DEFAULT,
    };
    let section = root.section("pack_objects_cache")?;
    if let Some(section) = &section {
        config.enabled = section.boolean("enabled")?.unwrap_or(true);
        config.backpressure = section.boolean("backpressure")?.unwrap_or(true);
        if let Some(directory) = directory(section, storages)? {
            config.directory = directory;
        }
        // Gitaly takes 0 for its default.
        let max_age = section.duration("max_age")?.filter(|age| *age > Duration::ZERO);
        config.max_age = max_age.unwrap_or(AGE_MAX_DEFAULT);
        let occurrences = section.integer("min_occurrences", 0, 1_000_000)?.unwrap_or(1);
        config.min_occurrences = u32::try_from(occurrences).unwrap_or(u32::MAX);
        let window = section.integer("window_bytes", WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)?;
        config.window_bytes = window.map_or(WINDOW_BYTES_DEFAULT, |bytes| bytes as u64);
        let one_key_in = section.integer("log_one_key_in", 0, 1_000_000)?;
        let one_key_in = one_key_in.and_then(|keys| u32::try_from(keys).ok());
        config.log_one_key_in = one_key_in.unwrap_or(LOG_ONE_KEY_IN_DEFAULT);
        config.free_bytes_min =
            section.integer("free_bytes_min", 0, INTEGER_MAX)?.unwrap_or(0) as u64;
    }
    let set = match &section {
        Some(section) => section.integer("bytes_max", 0, INTEGER_MAX)?,
        None => None,
    };
    config.bytes_max = set.map_or_else(|| bytes_max(&config.directory), |bytes| bytes as u64);
    Ok(config)
}

fn directory(section: &Section<'_>, storages: &Storages) -> Result<Option<PathBuf>, SettingsError> {
    let Some(text) = section.string("dir")?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let directory = PathBuf::from(text);
    if !directory.is_absolute() {
        let what = format!("'{text}' is relative, allowed: an absolute path");
        return Err(section.error("dir", what));
    }
    // What is too old there is deleted.
    if storages.iter().any(|(_, root)| root.starts_with(&directory)) {
        let what = format!("'{text}' is, or holds, a storage, allowed: any other directory");
        return Err(section.error("dir", what));
    }
    Ok(Some(directory))
}

/// The default: the directory may not be there yet.
#[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
fn bytes_max(directory: &Path) -> u64 {
    let there = directory.ancestors().find(|path| path.is_dir());
    let size = there.and_then(|path| rustix::fs::statvfs(path).ok());
    let part = size.map(|size| size.f_blocks.saturating_mul(size.f_frsize) / PART_OF_FILE_SYSTEM);
    part.map_or(BYTES_MAX_DEFAULT, |part| part.min(BYTES_MAX_DEFAULT))
}
