//! `gitaly_cgroup_*`, under Gitaly's names and labels, read when somebody scrapes.
//!
//! Answers: which repositories' group is throttled, or short of memory?

use super::Cgroups;
use super::stats::{self, Pressure, Stats};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts, Registry};
use std::sync::{Arc, Weak};

/// Serves the groups that exist when it is asked.
pub(super) fn register(cgroups: &Arc<Cgroups>, registry: &Registry) {
    let collector = Groups { cgroups: Arc::downgrade(cgroups), describe: Families::new().desc() };
    registry.register(Box::new(collector)).expect("registered once a registry");
}

struct Groups {
    cgroups: Weak<Cgroups>,
    describe: Vec<Desc>,
}

/// Filled anew for each scrape.
struct Families {
    usage: GaugeVec,
    processes: GaugeVec,
    memory_pressure: GaugeVec,
    io_pressure: GaugeVec,
    counters: Vec<(CounterVec, Read)>,
}

type Read = fn(&Stats) -> f64;

const COUNTERS: [(&str, &str, Read); 8] = [
    ("cpu_cfs_periods", "Periods of the CPU quota.", |of| of.cpu.periods as f64),
    ("cpu_cfs_throttled_periods", "Periods in which the CPU quota was used up.", |of| {
        of.cpu.throttled_periods as f64
    }),
    ("cpu_cfs_throttled_seconds", "Time without CPU for want of quota.", |of| {
        of.cpu.throttled.as_secs_f64()
    }),
    ("memory_events_high", "memory.high was exceeded.", |of| of.events.high as f64),
    ("memory_events_max", "memory.max was about to be exceeded.", |of| of.events.max as f64),
    ("memory_events_oom", "Allocations failed for want of memory.", |of| of.events.oom as f64),
    ("memory_pgfault", "Page faults.", |of| of.memory.faults as f64),
    ("memory_pgmajfault", "Page faults that waited for a disk.", |of| {
        of.memory.major_faults as f64
    }),
];

// === impl Groups ===

impl Collector for Groups {
    fn desc(&self) -> Vec<&Desc> {
        self.describe.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(cgroups) = self.cgroups.upgrade() else { return Vec::new() };
        let families = Families::new();
        for group in cgroups.groups() {
            let path = cgroups.directory().join(&group);
            if let Ok(stats) = stats::read(&path) {
                let pressure = |name| stats::read_pressure(&path.join(name)).ok().flatten();
                let pressures = (pressure("memory.pressure"), pressure("io.pressure"));
                let shown = cgroups.hierarchy.shown(&group);
                families.fill(&shown, &stats, pressures);
                families.count(&shown, &stats::read_controllers(&path), stats.processes);
            }
        }
        families
            .all()
            .flat_map(Collector::collect)
            .filter(|one| !one.get_metric().is_empty())
            .collect()
    }
}

// === impl Families ===

impl Families {
    fn new() -> Self {
        let opts = |name: &str, help: &str| Opts::new(format!("gitaly_cgroup_{name}"), help);
        let gauge = |name, help, labels: &[&str]| {
            GaugeVec::new(opts(name, help), labels).expect("name and labels are valid")
        };
        let counter = |(name, help, read): (&str, &str, Read)| {
            let opts = opts(&format!("{name}_total"), help);
            (CounterVec::new(opts, &["path"]).expect("name and label are valid"), read)
        };
        let of_pressure = ["path", "type", "window"];
        let stalled = "Percent of time in which tasks stalled.";
        Self {
            usage: gauge("cpu_usage_total", "CPU time in microseconds.", &["path", "type"]),
            processes: gauge("procs_total", "Processes.", &["path", "subsystem"]),
            memory_pressure: gauge("memory_pressure_percent", stalled, &of_pressure),
            io_pressure: gauge("io_pressure_percent", stalled, &of_pressure),
            counters: COUNTERS.into_iter().map(counter).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &dyn Collector> {
        let gauges = [&self.usage, &self.processes, &self.memory_pressure, &self.io_pressure];
        let gauges = gauges.into_iter().map(|gauge| gauge as &dyn Collector);
        gauges.chain(self.counters.iter().map(|(counter, _)| counter as &dyn Collector))
    }

    fn desc(&self) -> Vec<Desc> {
        self.all().flat_map(Collector::desc).cloned().collect()
    }

    /// As Gitaly has it: once for each controller, of version 2 always the same.
    fn count(&self, path: &str, controllers: &[String], processes: u64) {
        for controller in controllers {
            self.processes.with_label_values(&[path, controller]).set(processes as f64);
        }
    }

    fn fill(&self, path: &str, stats: &Stats, pressures: (Option<Pressure>, Option<Pressure>)) {
        let usage = |kind| self.usage.with_label_values(&[path, kind]);
        usage("user").set(stats.cpu.user.as_micros() as f64);
        usage("kernel").set(stats.cpu.system.as_micros() as f64);
        for (counter, read) in &self.counters {
            counter.with_label_values(&[path]).inc_by(read(stats));
        }
        for (gauge, pressure) in
            [(&self.memory_pressure, pressures.0), (&self.io_pressure, pressures.1)]
        {
            for (kind, stall) in
                pressure.iter().flat_map(|of| [("some", of.some), ("full", of.full)])
            {
                let set = |window, value| gauge.with_label_values(&[path, kind, window]).set(value);
                set("avg10", stall.avg10);
                set("avg60", stall.avg60);
                set("avg300", stall.avg300);
            }
        }
    }
}
