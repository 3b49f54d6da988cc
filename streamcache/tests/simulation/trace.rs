//! What happened, line by line, for whoever looks into one seed: `TRACE=1 SEED=7 ...`.
//!
//! Always true: without `TRACE` no line is even made.
//! Never here: anything that a seed depends on.

use std::env;
use std::fmt::Display;
use std::sync::OnceLock;
use std::time::Duration;

pub(crate) fn trace<T: Display>(now: Duration, line: impl FnOnce() -> T) {
    static WANTED: OnceLock<bool> = OnceLock::new();
    if *WANTED.get_or_init(|| env::var_os("TRACE").is_some()) {
        eprintln!("{:>14.6} {}", now.as_secs_f64(), line());
    }
}
