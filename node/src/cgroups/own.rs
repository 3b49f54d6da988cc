//! The group that this process runs in, and how much memory it may have at most.
//!
//! Always true: parsing is pure; what cannot be read limits nothing.

#![expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of the process's group in version 2, if it is a group and not the whole machine.
pub fn own_group() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = join(&mount_of(&mounts, "cgroup2", None)?, group_of(&groups, "")?);
    // Only the root group is without.
    group.join("cgroup.events").exists().then_some(group)
}

/// Memory of the machine, or of the container, in bytes; `None` if nobody tells.
pub fn memory_bytes_max() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = total(&read("/proc/meminfo"));
    let limit = |file: &Path| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let (mounts, groups) = (read("/proc/self/mounts"), read("/proc/self/cgroup"));
    let mut limits: Vec<u64> = machine.into_iter().collect();
    if let Some((mount, group)) = mount_of(&mounts, "cgroup2", None).zip(group_of(&groups, "")) {
        let lowest = join(&mount, group);
        let levels = lowest.ancestors().take_while(|level| level.starts_with(&mount));
        limits.extend(levels.filter_map(|level| limit(&level.join("memory.max"))));
    }
    let first = mount_of(&mounts, "cgroup", Some("memory"));
    if let Some((mount, group)) = first.zip(group_of(&groups, "memory")) {
        // In a container the group of the host's path is mounted as the root.
        let files = [join(&mount, group), mount].map(|level| level.join("memory.limit_in_bytes"));
        limits.extend(files.iter().filter_map(|file| limit(file)));
    }
    limits.into_iter().min()
}

/// Below a mount point, whatever slash the group begins with.
fn join(mount: &Path, group: &str) -> PathBuf {
    mount.join(group.trim_start_matches('/'))
}

/// `MemTotal:  24683964 kB` (proc(5), /proc/meminfo).
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}

/// Where a file system of this type is mounted, with this option if one is asked for (proc(5),
/// /proc/pid/mounts).
fn mount_of(mounts: &str, kind: &str, option: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, found, options) = (words.next()?, words.next()?, words.next()?);
        let has = |option: &str| options.split(',').any(|one| one == option);
        (found == kind && option.is_none_or(has)).then(|| PathBuf::from(place))
    })
}

/// The path of the group of this controller (cgroups(7), /proc/pid/cgroup); that of version 2 has
/// none.
fn group_of<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|one| one == controller).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_the_process() {
        let groups = "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/user.slice/x:y\n";
        assert_eq!(group_of(groups, ""), Some("/user.slice/x:y"));
        assert_eq!(group_of(groups, "memory"), Some("/a/b"));
        assert_eq!(group_of(groups, "pids"), None);
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        let at = |kind, option| mount_of(mounts, kind, option);
        assert_eq!(at("cgroup2", None), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(at("cgroup", Some("memory")), Some("/sys/fs/cgroup/memory".into()));
        assert_eq!(at("cgroup", Some("io")), None);
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       24683964 kB\n"), Some(24_683_964 << 10));
        assert!(memory_bytes_max().is_some_and(|bytes| bytes > 64 << 20));
    }
}
