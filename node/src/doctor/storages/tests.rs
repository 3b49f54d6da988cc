//! Every finding about storages, provoked.

use super::super::finding::Severity;
use super::*;
use std::os::unix::fs::PermissionsExt;

const MOUNTS: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
22 21 0:5 / /memory rw - tmpfs tmpfs rw,size=1g
23 21 0:6 / /net\\040share rw - nfs4 host:/x rw,vers=4.2
24 21 8:2 / /fast rw - ext4 /dev/sdb1 rw,nobarrier
25 21 0:9 / /fuse rw - fuse.sshfs host: rw";

#[test]
fn the_deepest_mount_counts() {
    let mounts = Mounts::parse(MOUNTS);
    let check = |path: &str, kind: &str, ground| {
        let mount = mounts.of(Path::new(path)).unwrap();
        assert_eq!((mount.kind.as_str(), mount.ground()), (kind, ground), "{path}");
    };
    check("/", "ext4", Ground::Disk);
    check("/memory/a", "tmpfs", Ground::Memory);
    check("/memoryless", "ext4", Ground::Disk);
    check("/net share/a", "nfs4", Ground::Network);
    check("/fuse", "fuse.sshfs", Ground::Network);
}

#[test]
fn fsync_is_judged_by_where_and_how_long() {
    let mounts = Mounts::parse(MOUNTS);
    let check = |path: &str, is_durable, micros: u64, severity, says: &str| {
        let took = Duration::from_micros(micros);
        let found = fsync("a", mounts.of(Path::new(path)), is_durable, (took, took));
        assert_eq!(found.severity, severity, "{found:?}");
        assert!(found.what.contains(says), "{found:?}");
        assert_eq!(found.remedy.is_empty(), severity == Severity::Ok, "{found:?}");
    };
    check("/", true, 800, Severity::Ok, "800µs");
    check("/", true, 60_000, Severity::Warning, "pushes wait");
    check("/", true, 2, Severity::Warning, "no disk is so fast");
    check("/", false, 800, Severity::Error, "runtime.fsync = false");
    check("/fast/a", true, 800, Severity::Error, "nobarrier");
    check("/memory", true, 800, Severity::Error, "tmpfs lives in memory");
    check("/net share", true, 800, Severity::Warning, "nfs4 is a network file system");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test prepares directories")]
fn permissions_are_judged() {
    let dir = tempfile::tempdir().unwrap();
    let owner = std::fs::metadata(dir.path()).unwrap().uid();
    let check = |mode, euid, expected: &[Severity]| {
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).unwrap();
        let found = permissions("a", dir.path(), euid);
        let severities: Vec<_> = found.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, expected, "{mode:o} {found:?}");
    };
    check(0o700, owner, &[Severity::Ok]);
    check(0o755, owner, &[Severity::Note]);
    check(0o777, owner, &[Severity::Error]);
    check(0o700, owner + 1, &[Severity::Warning, Severity::Ok]);
    let none = permissions("a", &dir.path().join("none"), owner);
    assert_eq!(none[0].severity, Severity::Error);
}

#[test]
fn space_is_judged_by_what_is_left_of_blocks_and_inodes() {
    let dir = tempfile::tempdir().unwrap();
    let real = statvfs(dir.path()).unwrap();
    let check = |blocks: u64, inodes: u64, severity| {
        let found =
            StatVfs { f_bavail: blocks, f_blocks: 1000, f_favail: inodes, f_files: 1000, ..real };
        assert_eq!(space("storage.space", "a", &found).severity, severity, "{blocks} {inodes}");
    };
    check(500, 500, Severity::Ok);
    check(90, 500, Severity::Warning);
    check(500, 19, Severity::Error);
    check(10, 500, Severity::Error);
    let no_inodes = StatVfs { f_bavail: 500, f_blocks: 1000, f_favail: 0, f_files: 0, ..real };
    assert_eq!(space("storage.space", "a", &no_inodes).severity, Severity::Ok);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test looks at directories")]
fn a_look_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let found = examine("a", dir.path(), &Mounts::parse(MOUNTS), true);
    let checks: Vec<_> = found.iter().map(|finding| finding.check).collect();
    let expected = ["permissions", "write", "fsync", "time_stamps", "space"];
    assert_eq!(checks, expected.map(|check| format!("storage.{check}")));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    // No directory takes files where there is a file.
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let found = examine("a", &file, &Mounts::default(), true);
    let last = found.last().unwrap();
    assert_eq!((last.check, last.severity), ("storage.write", Severity::Error));
}
