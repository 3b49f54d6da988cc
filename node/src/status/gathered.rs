//! The metrics at one moment, as figures: what the page says and what collectors read agree.
//!
//! Never here: what they mean.

use prometheus::Registry;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Sections of one page are read from the same figures.
const AGE_MAX: Duration = Duration::from_millis(100);

/// Reads the metrics; clones share what was read last.
#[derive(Debug, Clone)]
pub(super) struct Gauges {
    registry: Registry,
    last: Arc<Mutex<Option<(Instant, Gathered)>>>,
}

/// The metrics at one moment.
#[derive(Debug, Clone)]
pub(super) struct Gathered {
    families: Arc<Vec<MetricFamily>>,
}

// === impl Gauges ===

impl Gauges {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, last: Arc::default() }
    }

    pub(super) fn read(&self) -> Gathered {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, gathered)) = &*last
            && at.elapsed() < AGE_MAX
        {
            return gathered.clone();
        }
        let gathered = Gathered { families: Arc::new(self.registry.gather()) };
        *last = Some((Instant::now(), gathered.clone()));
        gathered
    }
}

// === impl Gathered ===

impl Gathered {
    /// The sum of all series of this name.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.metrics(name).map(|(kind, metric)| value(kind, metric)).sum()
    }

    /// As [`Self::sum`], of what is counted in whole numbers.
    pub(super) fn count(&self, name: &str) -> u64 {
        self.sum(name).max(0.0) as u64
    }

    /// The sum of all series of this name with this value of a label.
    pub(super) fn sum_of(&self, name: &str, label: &str, expected: &str) -> f64 {
        let has = |metric: &Metric| {
            let mut labels = metric.get_label().iter();
            labels.any(|pair| pair.name() == label && pair.value() == expected)
        };
        let found = self.metrics(name).filter(|(_, metric)| has(metric));
        found.map(|(kind, metric)| value(kind, metric)).sum()
    }

    fn metrics<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (MetricType, &'a Metric)> {
        let families = self.families.iter().filter(move |family| family.name() == name);
        families.flat_map(|family| {
            let kind = family.get_field_type();
            family.get_metric().iter().map(move |metric| (kind, metric))
        })
    }
}

fn value(kind: MetricType, metric: &Metric) -> f64 {
    match kind {
        MetricType::COUNTER => metric.get_counter().get_value(),
        MetricType::GAUGE => metric.get_gauge().get_value(),
        MetricType::HISTOGRAM => metric.get_histogram().get_sample_count() as f64,
        MetricType::SUMMARY | MetricType::UNTYPED => 0.0,
    }
}
