//! Counts of file operations, and who does them.

use super::operation::Kind;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Who does the operations of a reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    Ring,
    Pool,
}

/// The figures of the process; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    reactors: IntGaugeVec,
    operations: IntCounterVec,
}

/// The figures of one reactor; it counts among the reactors for as long as it has them.
#[derive(Debug)]
pub(super) struct Meters {
    reactors: IntGauge,
    operations: [IntCounter; Kind::ALL.len()],
}

// === impl Means ===

impl Means {
    fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Pool => "pool",
        }
    }
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let help = "Reactors whose file operations an io_uring does (ring) or threads do (pool).";
        let reactors = IntGaugeVec::new(Opts::new("gitring_io_uring", help), &["state"])
            .expect("name and label are valid");
        let opts = Opts::new("gitring_file_operations_total", "File operations begun.");
        let operations =
            IntCounterVec::new(opts, &["operation", "state"]).expect("name and labels are valid");
        registry.register(Box::new(reactors.clone())).expect("registered once a registry");
        registry.register(Box::new(operations.clone())).expect("registered once a registry");
        for means in [Means::Ring, Means::Pool] {
            // Shown with 0 from the start.
            reactors.with_label_values(&[means.name()]);
        }
        Self { reactors, operations }
    }

    pub(super) fn meters(&self, means: Means) -> Meters {
        let reactors = self.reactors.with_label_values(&[means.name()]);
        reactors.inc();
        let counter = |kind: Kind| self.operations.with_label_values(&[kind.name(), means.name()]);
        Meters { reactors, operations: Kind::ALL.map(counter) }
    }
}

// === impl Meters ===

impl Meters {
    pub(super) fn count(&self, kind: Kind) {
        self.operations[kind as usize].inc();
    }
}

impl Drop for Meters {
    fn drop(&mut self) {
        self.reactors.dec();
    }
}
