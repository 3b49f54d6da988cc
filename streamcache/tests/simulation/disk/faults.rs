//! What goes wrong, how often, and how long things take.
//!
//! Always true: with [`Faults::default`] nothing fails and nothing takes time.
//! Never here: what an operation does.

use crate::rng::Rng;
use std::io;
use std::time::Duration;

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EDQUOT: i32 = 122;

/// Chances are in one thousandth of the operations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) write_error: u32,
    /// Errors of writes are ENOSPC or EDQUOT, not EIO.
    pub(crate) write_error_is_full: bool,
    pub(crate) read_error: u32,
    pub(crate) open_error: u32,
    pub(crate) create_error: u32,
    /// Of rename and remove.
    pub(crate) name_error: u32,
    /// Operations that take time.
    pub(crate) slow: u32,
    pub(crate) slow_max: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Open,
    Read,
    Write,
    Name,
}

/// What one operation meets.
pub(crate) struct Turn {
    pub(crate) before: Option<Duration>,
    pub(crate) error: Option<io::Error>,
    pub(crate) after: Option<Duration>,
}

/// What becomes of an operation whose future was dropped before it took effect.
pub(crate) enum Dropped {
    Never,
    Now,
    Later(Duration),
}

// === impl Faults ===

impl Faults {
    pub(crate) fn roll(&self, operation: Operation, rng: &mut Rng) -> Turn {
        let chance = match operation {
            Operation::Create => self.create_error,
            Operation::Open => self.open_error,
            Operation::Read => self.read_error,
            Operation::Write => self.write_error,
            Operation::Name => self.name_error,
        };
        let full = operation == Operation::Write && self.write_error_is_full;
        let error = rng.per_mille(chance).then(|| match full {
            true => *rng.pick(&[ENOSPC, EDQUOT]),
            false => EIO,
        });
        Turn {
            before: self.pause(rng),
            error: error.map(io::Error::from_raw_os_error),
            after: self.pause(rng),
        }
    }

    pub(crate) fn roll_dropped(&self, rng: &mut Rng) -> Dropped {
        match rng.below(3) {
            0 => Dropped::Never,
            1 => Dropped::Now,
            _ => Dropped::Later(self.pause(rng).unwrap_or_default()),
        }
    }

    /// Half of what is slow is slow before the effect, half after it.
    fn pause(&self, rng: &mut Rng) -> Option<Duration> {
        rng.per_mille(self.slow / 2).then(|| {
            let micros = rng.skewed(self.slow_max.as_micros() as u64);
            Duration::from_micros(micros)
        })
    }
}
