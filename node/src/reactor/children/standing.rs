//! Where children stand beside the node: who runs first, and who dies first.
//!
//! Always true: nothing here needs a privilege, nor a hook between fork and exec, which would cost
//! vfork: everything is set from outside once the child runs. What a child has started by then is
//! of its group and gets the same niceness; its cgroup and its place before the OOM killer it may
//! have inherited before.
//!
//! The I/O priority is not set: a process without one of its own has that of its niceness
//! (ioprio_set(2), "IOPRIO_CLASS_NONE").

use super::{ChildCommand, Share};
use crate::cgroups::Cgroups;
use rustix::process::{Pid, getpriority_process, setpriority_pgrp};
use std::io;
use std::sync::Arc;

/// Added to the node's niceness (setpriority(2)) for children that answer a waiting caller: four
/// fifths of the weight that the node has (sched(7)).
const QUESTION_NICER: i32 = 1;
/// And for those that take minutes: a third. With 10, a tenth, whatever else runs on a busy machine
/// would make packs wait: 14 s for one of 0.5 s of CPU were seen.
const TRANSFER_NICER: i32 = 5;
const NICENESS_MAX: i32 = 19;
/// Added to the node's oom_score_adj (proc(5)), of 1,000: as if a child held half of the memory
/// more than it does.
const OOM_SCORE_MORE: i32 = 500;
const OOM_SCORE_MAX: i32 = 1_000;

/// What children get besides what they need.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    below: Option<Below>,
    cgroups: Option<Arc<Cgroups>>,
}

/// The node's own standing, which children are below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Below {
    niceness: i32,
    oom_score: i32,
}

// === impl Standing ===

impl Standing {
    /// The caller's: for a program that waits for its children and does nothing else.
    pub fn same() -> Self {
        Self::default()
    }

    /// Below this process, and in cgroups if there are any.
    pub fn below(cgroups: Option<Arc<Cgroups>>) -> Self {
        let niceness = getpriority_process(None).unwrap_or(0);
        #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
        let oom_score = std::fs::read_to_string("/proc/self/oom_score_adj");
        let oom_score = oom_score.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Self { below: Some(Below { niceness, oom_score }), cgroups }
    }

    /// Puts a child where it belongs. What does not work is no reason to do without the child, and
    /// one that has ended already is no failure.
    pub(super) fn give(&self, pid: Pid, command: &ChildCommand) {
        let account = &command.account;
        if let Some(cgroups) = &self.cgroups
            && let Some(path) = cgroups.place(pid, account.repository())
        {
            account.placed(path);
        }
        let Some(below) = &self.below else { return };
        let niceness = below.niceness_of(command.need.share);
        if let Err(error) = setpriority_pgrp(Some(pid), niceness)
            && error != rustix::io::Errno::SRCH
        {
            tracing::debug!(%error, niceness, "set the priority of a child");
        }
        if let Err(error) = write_oom_score(pid, below.oom_score_of_children())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "set oom_score_adj of a child");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "on the spawning thread; procfs does not wait")]
fn write_oom_score(pid: Pid, score: i32) -> io::Result<()> {
    std::fs::write(format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()), score.to_string())
}

// === impl Below ===

impl Below {
    fn niceness_of(self, share: Share) -> i32 {
        let more = match share {
            Share::Questions => QUESTION_NICER,
            Share::Transfers => TRANSFER_NICER,
        };
        (self.niceness + more).min(NICENESS_MAX)
    }

    fn oom_score_of_children(self) -> i32 {
        (self.oom_score + OOM_SCORE_MORE).min(OOM_SCORE_MAX)
    }
}
