//! Names, limits and figures by tables; the rest in a directory, and in a real cgroup2 where this
//! machine lets us.

#![expect(clippy::disallowed_methods, reason = "no reactor runs in these tests")]

use super::hierarchy::{Hierarchy, limits};
use super::stats::{Pressure, Stall, parse_cpu, parse_events, parse_memory, parse_pressure};
use super::*;
use std::fs;
use std::time::Duration;

fn config(mountpoint: &Path, count: usize, groups_per_repository: usize) -> CgroupsConfig {
    CgroupsConfig {
        mountpoint: mountpoint.to_owned(),
        hierarchy_root: "gitring-test".to_owned(),
        all: Resources { memory_bytes: 1 << 30, cpu_shares: 1_024, cpu_quota_us: 200_000 },
        repositories: Resources { memory_bytes: 1 << 20, cpu_shares: 0, cpu_quota_us: 0 },
        count,
        groups_per_repository,
        metrics_enabled: true,
    }
}

/// Expected are the groups of Gitaly's `calcGroupID`: CRC-32 (IEEE) of the name by the count.
#[test]
fn a_repository_has_its_groups() {
    let check = |repository: &str, count, spread, turn, expected| {
        let config = config(Path::new("/"), count, spread);
        let what = format!("{repository} of {count}, turn {turn} of {spread}");
        assert_eq!(group_of(repository, &config, turn), expected, "{what}");
    };
    // crc32("123456789") = 0xcbf43926
    check("123456789", 1_000, 1, 0, 0xcbf4_3926_usize % 1_000);
    check("123456789", 1_000, 1, 7, 0xcbf4_3926_usize % 1_000);
    check("123456789", 1_000, 4, 6, (0xcbf4_3926_usize + 2) % 1_000);
    check("", 10, 1, 0, 0);
    check("", 10, 10, 13, 3);
    check("", 1, 1, 5, 0);
}

#[test]
fn limits_as_the_kernel_reads_them() {
    let check = |memory_bytes, cpu_shares, cpu_quota_us, expected: &[(&str, &str)]| {
        let found = limits(&Resources { memory_bytes, cpu_shares, cpu_quota_us });
        let found: Vec<_> = found.iter().map(|(file, text)| (*file, text.as_str())).collect();
        assert_eq!(found, expected);
    };
    check(0, 0, 0, &[]);
    check(
        4096,
        1_024,
        150_000,
        &[("memory.max", "4096"), ("cpu.weight", "39"), ("cpu.max", "150000 100000")],
    );
    check(0, 1, 0, &[("cpu.weight", "1")]);
    check(0, 262_144, 0, &[("cpu.weight", "10000")]);
    check(0, 1_000_000, 0, &[("cpu.weight", "10000")]);
}

#[test]
fn figures_of_the_kernel() {
    let cpu = parse_cpu(
        "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 3\n\
         throttled_usec 2000000\n",
    );
    assert_eq!((cpu.user, cpu.system), (Duration::from_micros(20), Duration::from_micros(10)));
    assert_eq!((cpu.periods, cpu.throttled_periods, cpu.throttled.as_secs()), (4, 3, 2));
    // A controller that is not there says nothing.
    assert_eq!(parse_cpu("usage_usec 30\n").throttled, Duration::ZERO);
    let memory = parse_memory("anon 5\nanon_thp 9\ninactive_file 7\npgfault 1\npgmajfault x\n");
    assert_eq!((memory.anon_bytes, memory.inactive_file_bytes), (5, 7));
    assert_eq!((memory.faults, memory.major_faults), (1, 0));
    let events = parse_events("low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n");
    assert_eq!((events.high, events.max, events.oom, events.oom_kill), (1, 2, 3, 4));
    let some = Stall {
        avg10: 86.25,
        avg60: 37.13,
        avg300: 10.91,
        total: Duration::from_micros(22_424_962_539),
    };
    let line = "some avg10=86.25 avg60=37.13 avg300=10.91 total=22424962539\n";
    assert_eq!(parse_pressure(line), Some(Pressure { some, full: Stall::default() }));
    let both = format!("{line}full avg10=0.01 avg60=0.15 avg300=0.56 total=234556782\n");
    let full = parse_pressure(&both).unwrap().full;
    assert_eq!((full.avg60, full.total), (0.15, Duration::from_micros(234_556_782)));
    assert_eq!(parse_pressure(""), None);
    assert_eq!(parse_pressure("nothing here\n"), None);
}

/// A directory that looks like a hierarchy: what is made, and what is written into it.
#[test]
fn groups_in_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path();
    let above = mount.join("gitring-test");
    fs::create_dir_all(above.join("gitaly-4194305/repos-0")).unwrap();
    fs::create_dir_all(above.join("gitaly-x")).unwrap();
    fs::write(mount.join("cgroup.controllers"), "cpuset cpu io memory\n").unwrap();
    fs::write(mount.join("cgroup.subtree_control"), "cpu\n").unwrap();
    let config = config(mount, 3, 1);
    let hierarchy = Hierarchy::make_in(mount, "gitring-test", &config.all).unwrap();
    let directory = above.join(format!("gitaly-{}", std::process::id()));
    assert_eq!(hierarchy.directory(), directory);
    assert!(!above.join("gitaly-4194305").exists(), "no process has this number");
    assert!(above.join("gitaly-x").exists(), "that is nobody's of ours");
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    assert_eq!(read(mount.join("cgroup.subtree_control")), "+memory");
    assert_eq!(read(directory.join("memory.max")), (1_u64 << 30).to_string());
    assert_eq!(read(directory.join("cpu.max")), "200000 100000");
    hierarchy.make_group("repos-2", &config.repositories);
    assert_eq!(read(directory.join("repos-2/memory.max")), (1 << 20).to_string());
    hierarchy.add("repos-2", Pid::INIT).unwrap();
    assert_eq!(read(directory.join("repos-2/cgroup.procs")), "1");
    let shown = format!("gitring-test/gitaly-{}/repos-2", std::process::id());
    assert_eq!(hierarchy.shown("repos-2"), shown);
}

#[test]
fn without_a_hierarchy_there_are_no_groups() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    assert!(Cgroups::start(&config(folder.path(), 3, 1), &registry).is_none(), "no cgroup2");
    assert!(Cgroups::start(&config(Path::new("/nowhere"), 3, 1), &registry).is_none());
    assert!(Cgroups::start(&config(folder.path(), 0, 1), &registry).is_none(), "none wanted");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A real hierarchy, where this machine has one that may be written to.
#[test]
fn a_process_in_a_real_group() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let Some(mount) = mount.and_then(|line| line.split(' ').nth(1)).map(PathBuf::from) else {
        return eprintln!("not tried: no cgroup2 is mounted");
    };
    let root = format!("gitring-test-{}", std::process::id());
    if fs::create_dir(mount.join(&root)).is_err() {
        return eprintln!("not tried: {} may not be written to", mount.display());
    }
    let mut config = config(&mount, 4, 1);
    config.hierarchy_root.clone_from(&root);
    // Not every hierarchy has the controllers: a limit that cannot be set stops nothing.
    let registry = Registry::new();
    let cgroups = Cgroups::start(&config, &registry).expect("the directory was made");
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let path = cgroups.place(Pid::from_child(&child), Some("default/a.git")).unwrap();
    let group = fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    assert!(group.contains(&path), "{path} in {group}");
    let stats = stats::read(&mount.join(&path)).unwrap();
    assert_eq!(stats.processes, 1);
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let usage = format!("gitaly_cgroup_cpu_usage_total{{path=\"{path}\",type=\"user\"}}");
    assert!(text.contains(&usage), "{usage} in {text}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(cgroups.place(Pid::from_raw(4_194_305).unwrap(), None).is_some(), "nobody has it");
    cgroups.remove();
    assert!(!cgroups.directory().exists());
    fs::remove_dir(mount.join(&root)).unwrap();
}
