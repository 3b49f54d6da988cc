//! What was counted of one kind of request.
//!
//! Always true: memory does not grow with the number of requests.
//!
//! Never here: how it is printed.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::Code;

use super::histogram::Histogram;

/// Counts, times and bytes.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Requests that were answered in full, empty answers included.
    pub count: u64,
    /// Answers without content: the ref, commit or repository was not there.
    pub empty: u64,
    /// From request to the end of the answer.
    pub times: Histogram,
    /// From request to the first byte of a fetch.
    pub first_bytes: Histogram,
    /// Of answers, those of unfinished requests included.
    pub bytes: u64,
    /// Requests that failed, by code, with what was said first.
    pub errors: BTreeMap<i32, Failures>,
}

/// Requests that failed in the same way.
#[derive(Debug, Clone)]
pub struct Failures {
    /// gRPC's code.
    pub code: Code,
    /// How many.
    pub count: u64,
    /// What was said first.
    pub message: String,
}

// === impl Figures ===

impl Figures {
    /// Counts one answer.
    pub fn answered(&mut self, time: Duration, is_empty: bool) {
        self.count += 1;
        self.empty += u64::from(is_empty);
        self.times.add(time);
    }

    /// Counts one failure.
    pub fn failed(&mut self, status: &tonic::Status) {
        let new =
            || Failures { code: status.code(), count: 0, message: status.message().to_owned() };
        self.errors.entry(i32::from(status.code())).or_insert_with(new).count += 1;
    }

    /// Adds what another client counted.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.empty += other.empty;
        self.times.merge(&other.times);
        self.first_bytes.merge(&other.first_bytes);
        self.bytes += other.bytes;
        for (code, theirs) in &other.errors {
            let new = || Failures { count: 0, ..theirs.clone() };
            self.errors.entry(*code).or_insert_with(new).count += theirs.count;
        }
    }

    /// Requests that failed.
    pub fn failures(&self) -> u64 {
        self.errors.values().map(|failures| failures.count).sum()
    }
}
