//! Repeated measurements of one thing.
//!
//! Always true: a series is never empty where a figure is taken from it.
//!
//! Never here: what is measured.

/// Values of one unit in the order in which they were taken.
#[derive(Debug, Default, Clone)]
pub struct Series(Vec<f64>);

// === impl Series ===

impl Series {
    /// A series of no values.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle value; NaN for an empty series.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Smallest and largest value: what noise does on this machine.
    pub fn spread(&self) -> (f64, f64) {
        let smallest = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        (smallest, self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    /// Each value divided by its partner in `other`.
    pub fn ratios(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(ours, stock)| ours / stock).collect())
    }
}
