//! What happened to one client of a herd, and to all of them.
//!
//! Always true: whoever neither left nor failed, and did not get a whole answer, was cut.
//!
//! Never here: limits.

use std::time::{Duration, Instant};

use super::Reader;
use crate::load::histogram::Histogram;

/// How a pack begins (gitformat-pack).
const MAGIC: &[u8] = b"PACK";

/// One request.
#[derive(Debug, Clone)]
pub struct Visit {
    /// How its client reads.
    pub reader: Reader,
    /// When it asked.
    began: Instant,
    /// Until anything came.
    pub first_byte: Option<Duration>,
    /// Until the pack began.
    pub first_of_pack: Option<Duration>,
    /// Until it ended.
    pub took: Option<Duration>,
    /// What came.
    pub bytes: u64,
    /// How it ended.
    pub end: End,
}

/// How a visit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was under way when the run was over.
    Cut,
    /// The answer came to its end, and the status was good.
    Whole,
    /// The client left as it was told to.
    Left,
    /// The server did not answer in full.
    Failed(String),
}

/// Figures of many visits.
#[derive(Debug, Default)]
pub struct Summary {
    /// Whole answers.
    pub whole: usize,
    /// Clients who left.
    pub left: usize,
    /// Slow clients who were cut.
    pub cut: usize,
    /// Failures, fast clients who were cut among them, and the first of them in words.
    pub failures: (usize, String),
    /// Of all answers, parts included.
    pub bytes: u64,
    /// Of the shortest and of the longest whole answer.
    pub answer_bytes: Option<(u64, u64)>,
    /// Until the first byte, of those who got one.
    pub first_bytes: Histogram,
    /// Until the first byte of the pack.
    pub first_of_packs: Histogram,
    /// Whole answers from request to end.
    pub times: Histogram,
}

// === impl Visit ===

impl Visit {
    pub(super) fn begin(reader: Reader) -> Self {
        Self {
            reader,
            began: Instant::now(),
            first_byte: None,
            first_of_pack: None,
            took: None,
            bytes: 0,
            end: End::Cut,
        }
    }

    pub(super) fn piece(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        if self.first_of_pack.is_none() {
            let now = self.began.elapsed();
            self.first_byte.get_or_insert(now);
            // No packet that is split here is split within four bytes of its payload, as a rule.
            if piece.windows(MAGIC.len()).any(|window| window == MAGIC) {
                self.first_of_pack = Some(now);
            }
        }
    }

    pub(super) fn ended(&mut self, end: End) {
        self.took = Some(self.began.elapsed());
        self.end = end;
    }
}

// === impl Summary ===

impl Summary {
    /// Counts them.
    pub fn of(visits: &[Visit]) -> Self {
        let mut sum = Self::default();
        visits.iter().for_each(|visit| sum.add(visit));
        sum
    }

    /// Seconds per GiB of what came.
    pub fn per_gib(&self, used: Duration) -> f64 {
        used.as_secs_f64() / (self.bytes.max(1) as f64 / (1u64 << 30) as f64)
    }

    fn add(&mut self, visit: &Visit) {
        self.bytes += visit.bytes;
        visit.first_byte.into_iter().for_each(|time| self.first_bytes.add(time));
        visit.first_of_pack.into_iter().for_each(|time| self.first_of_packs.add(time));
        let is_slow = matches!(visit.reader, Reader::Slow { .. });
        match &visit.end {
            End::Whole => {
                self.whole += 1;
                visit.took.into_iter().for_each(|time| self.times.add(time));
                let (least, most) = self.answer_bytes.unwrap_or((u64::MAX, 0));
                self.answer_bytes = Some((least.min(visit.bytes), most.max(visit.bytes)));
            }
            End::Left => self.left += 1,
            End::Cut if is_slow => self.cut += 1,
            End::Cut => self.failed("not answered in time"),
            End::Failed(why) => self.failed(why),
        }
    }

    fn failed(&mut self, why: &str) {
        if self.failures.0 == 0 {
            why.clone_into(&mut self.failures.1);
        }
        self.failures.0 += 1;
    }
}
