//! The pack cache's disk.
//!
//! Never here: what lies in the cache.

use super::finding::Finding;
use super::mounts::{Ground, Mounts};
use super::storages::space;
use gitring_node::pack_cache::PackCacheConfig;
use gitring_node::storage::Storages;
use rustix::fs::statvfs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const CHECK: &str = "cache";

pub(super) fn examine(
    config: &PackCacheConfig,
    storages: &Storages,
    mounts: &Mounts,
) -> Vec<Finding> {
    if !config.enabled {
        let what = "pack_objects_cache.enabled = false: every pack is built for each who asks";
        return vec![Finding::note(CHECK, what, "remove the key unless it has a reason")];
    }
    let there = match nearest(&config.directory) {
        Some(there) => there,
        None => {
            let what = format!("{} has no directory above it", config.directory.display());
            return vec![Finding::error(CHECK, what, "correct pack_objects_cache.dir")];
        }
    };
    let mut findings = vec![writable(&config.directory, &there), ground(&there, mounts)];
    if shares_disk(&there, storages) && config.free_bytes_min == 0 {
        let what = "it shares its disk with a storage, and may fill it up to bytes_max";
        let remedy = "set pack_objects_cache.free_bytes_min, so that pushes always find room";
        findings.push(Finding::note("cache.shared", what, remedy));
    }
    if let Ok(found) = statvfs(&there) {
        let size = found.f_blocks.saturating_mul(found.f_frsize);
        findings.push(fits(config.bytes_max, size));
        findings.push(space("cache.space", "cache", &found));
    }
    findings
}

/// The directory, or of those above it the nearest that exists.
#[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
fn nearest(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().find_map(|path| path.canonicalize().ok()).filter(|path| path.is_dir())
}

fn writable(directory: &Path, there: &Path) -> Finding {
    match tempfile::Builder::new().prefix("+gitring-doctor-").tempdir_in(there) {
        Ok(_) => Finding::ok(CHECK, format!("{} can be written", directory.display())),
        Err(error) => {
            let what = format!("{}: {error}: packs are shared, but not kept", there.display());
            let remedy = "give it to the user that the node runs as, or set pack_objects_cache.dir";
            Finding::warning(CHECK, what, remedy)
        }
    }
}

fn ground(there: &Path, mounts: &Mounts) -> Finding {
    let check = "cache.disk";
    let Some(mount) = mounts.of(there) else {
        return Finding::note(check, "on an unknown file system", "look at /proc/mounts");
    };
    let kind = &mount.kind;
    match mount.ground() {
        Ground::Disk => Finding::ok(check, kind.clone()),
        Ground::Memory => {
            let what = format!("{kind}: it takes memory from the node and its children");
            Finding::warning(
                check,
                what,
                "put it on a disk: the page cache serves hot packs anyway",
            )
        }
        Ground::Network => {
            let what = format!("{kind} is a network file system");
            Finding::warning(check, what, "put it on a local disk")
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
fn shares_disk(there: &Path, storages: &Storages) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.dev());
    storages.iter().any(|(_, root)| device(root) == device(there))
}

fn fits(bytes_max: u64, size_bytes: u64) -> Finding {
    let what = format!("bytes_max is {} of {} MiB", bytes_max >> 20, size_bytes >> 20);
    if bytes_max > size_bytes {
        let remedy = "set pack_objects_cache.bytes_max to less than the disk has";
        return Finding::warning("cache.size", what, remedy);
    }
    Finding::ok("cache.size", what)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;
    use gitring_node::config::Config;

    /// Findings about the cache that `more` configures; `DIR` is a directory with a storage in it.
    #[expect(clippy::disallowed_methods, reason = "a test prepares directories")]
    fn found(more: &str, mounts: &str) -> Vec<Finding> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let text = format!(
            "socket_path = '/run/a'\n[[storage]]\nname = 'a'\npath = 'DIR/a'\n\
             [pack_objects_cache]\n{more}"
        );
        let text = text.replace("DIR", dir.path().to_str().unwrap());
        let config = Config::parse(Path::new("c.toml"), &text).unwrap();
        examine(&config.pack_cache, &config.storages, &Mounts::parse(mounts))
    }

    #[test]
    fn the_caches_disk_is_judged() {
        let check = |more: &str, kind: &str, expected: &[(&str, Severity)]| {
            let mounts = format!("1 1 8:1 / / rw - {kind} x rw\n");
            for (check, severity) in expected {
                let found = found(more, &mounts);
                let one = found.iter().find(|finding| finding.check == *check);
                assert_eq!(one.map(|one| one.severity), Some(*severity), "{check} {found:?}");
            }
        };
        let quiet = "bytes_max = 1\nfree_bytes_min = 1";
        check(quiet, "ext4", &[("cache", Severity::Ok), ("cache.disk", Severity::Ok)]);
        check(quiet, "tmpfs", &[("cache.disk", Severity::Warning), ("cache.size", Severity::Ok)]);
        check(quiet, "nfs4", &[("cache.disk", Severity::Warning)]);
        check("", "ext4", &[("cache.shared", Severity::Note)]);
        check("enabled = false", "ext4", &[("cache", Severity::Note)]);
        let huge = "bytes_max = 9000000000000000000";
        check(huge, "ext4", &[("cache.size", Severity::Warning)]);
        check("dir = 'DIR/file/below'", "ext4", &[("cache", Severity::Error)]);
        assert!(!found(quiet, "").iter().any(|finding| finding.check == "cache.shared"));
    }
}
