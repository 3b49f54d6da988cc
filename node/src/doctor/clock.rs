//! The clock: tokens hold for 30 s on either side, so nodes and clients must agree on the time.
//!
//! What the kernel knows is asked: whether somebody keeps its clock right, and how wrong it may be.
//! Another machine's clock is not.

use super::finding::Finding;
use std::time::Duration;

/// What is left of a token's 30 s for the other side.
const ERROR_MAX: Duration = Duration::from_secs(10);

/// adjtimex(2), as far as it is looked at.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// Somebody keeps it right.
    is_synchronized: bool,
    /// As the kernel has it; it grows while nobody does.
    error_max: Duration,
}

pub(super) fn examine() -> Finding {
    let clock = read();
    judge(clock)
}

#[expect(unsafe_code, reason = "the only way to ask whether the clock is synchronised")]
fn read() -> std::io::Result<Clock> {
    // SAFETY: timex is made of integers, for which zeroes are a value; with modes = 0 adjtimex
    // only writes to the struct, which outlives the call.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if state < 0 {
        return Err(std::io::Error::last_os_error());
    }
    let is_synchronized = state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0;
    let error_max = Duration::from_micros(timex.maxerror.unsigned_abs());
    Ok(Clock { is_synchronized, error_max })
}

fn judge(clock: std::io::Result<Clock>) -> Finding {
    let check = "clock";
    let remedy = "start chrony or systemd-timesyncd here, and on every host that calls this node";
    match clock {
        Err(error) => {
            let what = format!("the kernel does not say whether its clock is right: {error}");
            Finding::warning(check, what, "compare it with another host's")
        }
        Ok(clock) if !clock.is_synchronized => {
            let what = "nobody keeps the clock right: tokens are refused 30 s off";
            Finding::warning(check, what, remedy)
        }
        Ok(clock) if clock.error_max > ERROR_MAX => {
            let what = format!(
                "the clock may be {:.0?} wrong: tokens are refused 30 s off",
                clock.error_max
            );
            Finding::warning(check, what, remedy)
        }
        Ok(clock) => {
            Finding::ok(check, format!("synchronised, at most {:.0?} wrong", clock.error_max))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn what_the_kernel_says_is_judged() {
        let check = |is_synchronized, error_ms, severity| {
            let error_max = Duration::from_millis(error_ms);
            let found = judge(Ok(Clock { is_synchronized, error_max }));
            assert_eq!(found.severity, severity, "{found:?}");
        };
        check(true, 40, Severity::Ok);
        check(false, 40, Severity::Warning);
        check(true, 16_000, Severity::Warning);
        let refused = judge(Err(std::io::ErrorKind::PermissionDenied.into()));
        assert_eq!(refused.severity, Severity::Warning);
        assert!(read().is_ok());
    }
}
