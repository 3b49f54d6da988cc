//! The node's limits against what the machine has: cores, memory, open files.

use super::finding::Finding;
use gitring_node::reactor::RuntimeConfig;
use rustix::process::{Resource, getrlimit};

/// A child's pipes, and what is opened for it.
const FILES_A_CHILD: u64 = 6;
/// Packs, indexes and cached streams that are open, logs, rings.
const FILES_OF_ITS_OWN: u64 = 2048;

/// What there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    cores: usize,
    /// The machine's, or what its cgroup may have. `None`: not known.
    memory_bytes: Option<u64>,
    /// RLIMIT_NOFILE, the hard one: the node raises the soft one to it.
    files_max: u64,
}

// === impl Machine ===

impl Machine {
    #[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
    pub(super) fn read() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let machine = read("/proc/meminfo").as_deref().and_then(memory_total);
        let group = read("/proc/self/cgroup").as_deref().and_then(group_path);
        let groups = group.iter().flat_map(|path| std::path::Path::new(path).ancestors());
        let of_group = |path: &std::path::Path| {
            let below = path.strip_prefix("/").unwrap_or(path).display();
            read(&format!("/sys/fs/cgroup/{below}/memory.max"))?.trim().parse().ok()
        };
        let memory_bytes = groups.filter_map(of_group).chain(machine).min();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let files_max = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        Self { cores, memory_bytes, files_max }
    }

    pub(super) fn judge(self, runtime: &RuntimeConfig) -> Vec<Finding> {
        vec![self.threads(runtime), self.memory(runtime), self.files(runtime)]
    }

    fn threads(self, runtime: &RuntimeConfig) -> Finding {
        let (reactors, workers, cores) = (runtime.reactors, runtime.workers, self.cores);
        let what = format!("{reactors} reactors and {workers} workers on {cores} cores");
        if reactors > cores || workers > 2 * cores {
            let remedy = "leave runtime.reactors and runtime.workers out: they follow the cores";
            return Finding::warning("limits.threads", what, remedy);
        }
        Finding::ok("limits.threads", what)
    }

    fn memory(self, runtime: &RuntimeConfig) -> Finding {
        let check = "limits.memory";
        let Some(memory) = self.memory_bytes else {
            return Finding::note(check, "not known how much there is", "look at /proc/meminfo");
        };
        let children = runtime.children.memory_bytes_max;
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let what =
            format!("{:.1} GiB, of which git children get {:.1}", gib(memory), gib(children));
        if children > memory / 4 * 3 {
            let remedy = "leave runtime.children_memory_bytes out: it follows the machine, and \
                          leaves room for the node and the page cache";
            return Finding::warning(check, what, remedy);
        }
        Finding::ok(check, what)
    }

    fn files(self, runtime: &RuntimeConfig) -> Finding {
        let (connections, children) =
            (runtime.connections_max as u64, runtime.children.children_max as u64);
        let needed = FILES_OF_ITS_OWN + connections + children * FILES_A_CHILD;
        let have = self.files_max;
        let what = format!(
            "{have} files may be open; {connections} connections and {children} children need \
             {needed}"
        );
        if have < needed {
            let remedy =
                format!("LimitNOFILE={needed} in the unit, or ulimit -Hn, or fewer of both");
            return Finding::warning("limits.files", what, remedy);
        }
        Finding::ok("limits.files", what)
    }
}

/// `MemTotal:       16316412 kB`
fn memory_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// `0::/system.slice/gitring-node.service`: where this process is in cgroups v2.
fn group_path(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;
    use gitring_node::config::Config;
    use std::path::Path;

    #[test]
    fn limits_are_judged_against_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = |more: &str| {
            let storage = format!("[[storage]]\nname = 'a'\npath = '{}'", dir.path().display());
            let text = format!(
                "socket_path = '/run/a'\n{storage}\n[runtime]\nreactors = 4\nworkers = 4\n{more}"
            );
            Config::parse(Path::new("c.toml"), &text).unwrap().runtime
        };
        let memory_bytes = Machine::read().memory_bytes.map(|bytes| bytes.max(16 << 30));
        let fits = Machine { cores: 4, memory_bytes, files_max: 65_536 };
        let check = |machine: Machine, more: &str, worst: &[&str]| {
            let found = machine.judge(&runtime(more));
            let bad = found.iter().filter(|finding| finding.severity > Severity::Ok);
            assert_eq!(bad.map(|finding| finding.check).collect::<Vec<_>>(), worst, "{found:?}");
        };
        check(fits, "", &[]);
        check(Machine { cores: 2, ..fits }, "", &["limits.threads"]);
        check(fits, "children_memory_bytes = 0x1_0000_0000_0000", &["limits.memory"]);
        check(fits, "connections = 100000", &["limits.files"]);
        check(Machine { files_max: 4096, ..fits }, "", &["limits.files"]);
        check(Machine { memory_bytes: None, ..fits }, "", &["limits.memory"]);
        let real = Machine::read();
        assert!(real.memory_bytes.is_some() && real.files_max > 0, "{real:?}");
    }

    #[test]
    fn what_the_system_prints_is_understood() {
        assert_eq!(memory_total("X: 1\nMemTotal:       16316412 kB\n"), Some(16_316_412 << 10));
        assert_eq!(memory_total("nothing"), None);
        assert_eq!(group_path("1:x:/a\n0::/b/c\n").as_deref(), Some("/b/c"));
    }
}
