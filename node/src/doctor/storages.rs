//! Storages: whether they can be used, what they lie on, and what an fsync there costs.
//!
//! Always true: what is written is removed again, and lies in the storage for as long only; nothing
//! of the node's own is created, which would belong to whoever runs this.
//! Never here: the cache's disk.

use super::finding::Finding;
use super::mounts::{Ground, Mount, Mounts};
use gitring_git::stamp;
use rustix::fs::{StatVfs, statvfs};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// `+` keeps it apart from repositories.
const PROBE_PREFIX: &str = "+gitring-doctor-";
/// Enough for a median.
const FSYNCS: usize = 15;
/// Slower ones make pushes slow: each waits for several.
const FSYNC_SLOW: Duration = Duration::from_millis(50);
/// Faster ones have not been to any disk, nor to its controller.
const FSYNC_IMPOSSIBLE: Duration = Duration::from_micros(10);
/// Of the file system, in percent.
const SPACE_LOW: u64 = 10;
const SPACE_GONE: u64 = 2;

/// Looks at the storage `name` in `root`; `is_durable` is `[runtime] fsync`.
pub(super) fn examine(name: &str, root: &Path, mounts: &Mounts, is_durable: bool) -> Vec<Finding> {
    let mut findings = permissions(name, root, rustix::process::geteuid().as_raw());
    let probe = tempfile::Builder::new().prefix(PROBE_PREFIX).tempdir_in(root);
    let probe = match probe {
        Ok(probe) => probe,
        Err(error) => {
            let what = format!("{name}: {} cannot be written: {error}", root.display());
            let remedy = "give it to the user that the node runs as, and mount it read-write";
            findings.push(Finding::error("storage.write", what, remedy));
            return findings;
        }
    };
    let mount = mounts.of(root);
    let kind = mount.map_or("an unknown file system", |mount| mount.kind.as_str());
    let what = format!("{name}: {} can be written, {kind}", root.display());
    findings.push(Finding::ok("storage.write", what));
    findings.push(match measure(probe.path()) {
        Ok(took) => fsync(name, mount, is_durable, took),
        Err(error) => {
            let remedy = "look for errors of the disk in the kernel's log (dmesg)";
            Finding::error("storage.fsync", format!("{name}: fsync fails: {error}"), remedy)
        }
    });
    findings.push(time_stamps(name, stamp::probe(probe.path())));
    if let Ok(found) = statvfs(root) {
        findings.push(space("storage.space", name, &found));
    }
    findings
}

/// `euid`: who the node runs as.
#[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
fn permissions(name: &str, root: &Path, euid: u32) -> Vec<Finding> {
    let check = "storage.permissions";
    let metadata = match std::fs::metadata(root) {
        Ok(metadata) => metadata,
        Err(error) => {
            let what = format!("{name}: {}: {error}", root.display());
            return vec![Finding::error(check, what, "create it, or correct storage.path")];
        }
    };
    let mut findings = Vec::new();
    if metadata.uid() != euid && euid != 0 {
        let (owner, at) = (metadata.uid(), root.display());
        let what = format!("{name}: {at} belongs to user {owner}, not to {euid}, who looks");
        let remedy = "run doctor as the user that the node runs as, or chown the storage";
        findings.push(Finding::warning(check, what, remedy));
    }
    let mode = metadata.mode() & 0o7777;
    let what = format!("{name}: {} has mode {mode:04o}", root.display());
    findings.push(if mode & 0o002 != 0 {
        let what = format!("{what}: everybody on this machine may change repositories");
        Finding::error(check, what, format!("chmod o-rwx {}", root.display()))
    } else if mode & 0o005 != 0 {
        let what = format!("{what}: everybody on this machine may look into it");
        Finding::note(check, what, format!("chmod o-rwx {}", root.display()))
    } else {
        Finding::ok(check, what)
    });
    findings
}

/// Writes and syncs a page, again and again: the median and the longest.
#[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
fn measure(directory: &Path) -> io::Result<(Duration, Duration)> {
    let mut file = File::create(directory.join("fsync"))?;
    let mut took = Vec::with_capacity(FSYNCS);
    for _ in 0..FSYNCS {
        file.write_all(&[0; 4096])?;
        let began = Instant::now();
        file.sync_all()?;
        took.push(began.elapsed());
    }
    took.sort();
    Ok((took[FSYNCS / 2], took[FSYNCS - 1]))
}

fn fsync(
    name: &str,
    mount: Option<&Mount>,
    is_durable: bool,
    (median, longest): (Duration, Duration),
) -> Finding {
    let check = "storage.fsync";
    let took = format!("fsync takes {median:.0?}, at most {longest:.0?}");
    let kind = mount.map_or("?", |mount| mount.kind.as_str());
    let ground = mount.map_or(Ground::Disk, Mount::ground);
    if !is_durable {
        let what = format!("{name}: runtime.fsync = false: acknowledged pushes may be lost");
        return Finding::error(check, what, "remove runtime.fsync from the configuration");
    }
    if let Some(option) = mount.and_then(Mount::ignores_fsync) {
        let what = format!("{name}: mounted with {option}: fsync returns before the disk is done");
        return Finding::error(check, what, format!("mount it without {option}"));
    }
    if ground == Ground::Memory {
        let what = format!("{name}: {kind} lives in memory: nothing of it survives a restart");
        return Finding::error(check, what, "put the storage on a disk");
    }
    if ground == Ground::Network {
        let what = format!("{name}: {kind} is a network file system ({took})");
        let remedy = "use a local disk: git's locks and caches, and what fsync means, depend on \
                      the server there";
        return Finding::warning(check, what, remedy);
    }
    if median < FSYNC_IMPOSSIBLE {
        let what = format!("{name}: {took}: no disk is so fast, so nobody waits for one");
        let remedy = "look for a virtual disk with cache=unsafe, or for libeatmydata";
        return Finding::warning(check, what, remedy);
    }
    if median > FSYNC_SLOW {
        let remedy = "use a disk with a protected write cache, or find out who else writes to it";
        return Finding::warning(check, format!("{name}: {took}: pushes wait for several"), remedy);
    }
    Finding::ok(check, format!("{name}: {took}"))
}

fn time_stamps(name: &str, is_fine: io::Result<bool>) -> Finding {
    let check = "storage.time_stamps";
    match is_fine {
        Ok(true) => Finding::ok(check, format!("{name}: fine enough to tell all changes apart")),
        Ok(false) => {
            let what = format!("{name}: coarse: what changed less than 20 ms ago is read twice");
            let remedy = "Linux 6.13 has fine ones on ext4, XFS, btrfs and tmpfs";
            Finding::note(check, what, remedy)
        }
        Err(error) => Finding::warning(
            check,
            format!("{name}: cannot be tried: {error}"),
            "see what storage.write says",
        ),
    }
}

/// How full a file system is; for the cache's as well.
pub(super) fn space(check: &'static str, name: &str, found: &StatVfs) -> Finding {
    let percent = |part: u64, all: u64| (part * 100).checked_div(all).unwrap_or(100);
    let free = percent(found.f_bavail, found.f_blocks);
    let inodes = percent(found.f_favail, found.f_files);
    let gib = (found.f_bavail.saturating_mul(found.f_frsize)) >> 30;
    let what = format!("{name}: {free} % of the space ({gib} GiB) and {inodes} % of inodes free");
    match free.min(inodes) {
        part if part < SPACE_GONE => Finding::error(check, what, "make room: pushes will fail"),
        part if part < SPACE_LOW => Finding::warning(check, what, "make room soon"),
        _ => Finding::ok(check, what),
    }
}

#[cfg(test)]
mod tests;
