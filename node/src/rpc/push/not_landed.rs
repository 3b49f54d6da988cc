//! Why refs of a push were not updated, in words.
//!
//! Always true: what only concerns the server is for its log; of a ref of which nobody knows what
//! the disk has of it, nothing else is said.
//! Never here: what is done about it.

use crate::rpc::votes::VoteError;
use gitring_daemon::log;
use gitring_git::object_sync::ObjectSyncError;
use gitring_git::quarantine::QuarantineError;
use gitring_git::ref_transaction::{CommitError, PrepareError};

/// What the report says of a ref that may have changed.
pub(super) const UNCERTAIN: &str = "may have changed: the disk failed";

/// Why refs are as they were, or may be.
#[derive(Debug)]
pub(super) enum NotLanded {
    Prepare(PrepareError),
    Objects(ObjectSyncError),
    Publish(QuarantineError),
    Commit(CommitError),
    Vote(VoteError),
}

// === impl NotLanded ===

impl NotLanded {
    /// What the report says, in git's words; `refused` where the refs were not updated.
    pub(super) fn reason(&self, refused: &'static str) -> &'static str {
        match self {
            Self::Publish(_) | Self::Objects(_) => "unable to migrate objects to permanent storage",
            Self::Commit(CommitError::Uncertain { .. }) => UNCERTAIN,
            Self::Prepare(_) | Self::Commit(CommitError::Nothing { .. }) | Self::Vote(_) => refused,
        }
    }

    /// What stands on band 2.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Prepare(error) => format!("error: {error}\n"),
            Self::Vote(error) => {
                tracing::warn!(error = log::chain(error), "vote on what is prepared");
                "error: ref updates aborted by hook\n".to_owned()
            }
            Self::Publish(error) => {
                tracing::error!(error = log::chain(error), "publish what was pushed");
                String::new()
            }
            Self::Objects(error) => {
                tracing::error!(error = log::chain(error), "sync what a push needs");
                String::new()
            }
            Self::Commit(error) => {
                tracing::error!(error = log::chain(error), "commit what was pushed");
                match error {
                    CommitError::Nothing { .. } => "error: the disk failed\n".to_owned(),
                    CommitError::Uncertain { .. } => "error: the disk failed while refs were \
                        written: they may have changed; fetch to see what became of them\n"
                        .to_owned(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn check(error: NotLanded, reason: &str, line: &str) {
        assert_eq!((error.reason("refused"), &error.line()[..]), (reason, line));
    }

    #[test]
    fn what_may_have_changed_is_not_called_refused() {
        let [one, two] = [(); 2].map(|()| io::Error::from(io::ErrorKind::StorageFull));
        let nothing = CommitError::Nothing { path: "refs".into(), source: one };
        check(NotLanded::Commit(nothing), "refused", "error: the disk failed\n");
        let uncertain = CommitError::Uncertain { path: "refs".into(), source: two };
        let line = "error: the disk failed while refs were written: they may have changed; \
                    fetch to see what became of them\n";
        check(NotLanded::Commit(uncertain), UNCERTAIN, line);
        check(
            NotLanded::Vote(VoteError::Aborted),
            "refused",
            "error: ref updates aborted by hook\n",
        );
    }
}
