//! Why refs were not changed, in Gitaly's words, whether git said so or we did.
//!
//! Always true: what has no words of its own is how Gitaly shows a git that died.
//! Never here: which status it becomes.

use bstr::{BString, ByteSlice};
use gitring_git::ref_transaction::PrepareError;
use gitring_git::refs;

/// Why refs were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::rpc::gitaly) enum Refusal {
    /// Somebody else changes the ref.
    #[error("reference is already locked")]
    Locked(BString),
    #[error("packed-refs locked")]
    PackedRefsLocked,
    #[error("invalid reference format")]
    BadName,
    #[error("reference already exists")]
    Exists,
    #[error("file directory conflict")]
    Conflict,
    #[error("conflicting reference updates in the same transaction")]
    ConflictWithin,
    #[error("target object missing")]
    NoObject,
    #[error("target object not a commit")]
    NotACommit,
    /// Ids in hexadecimal.
    #[error("reference does not point to expected object")]
    Stale { name: BString, expected: String, found: String },
    #[error("reference has been updated multiple times within a transaction")]
    Duplicate,
    /// Whatever else.
    #[error("exit status 128")]
    Other,
}

// === impl Refusal ===

impl Refusal {
    /// What a git that died said.
    pub(super) fn of_complaint(complaint: &[u8]) -> Self {
        let line = complaint.lines().next().unwrap_or_default();
        let says = |text: &str| line.contains_str(text);
        if complaint.contains_str("packed-refs.lock': File exists") {
            return Self::PackedRefsLocked;
        }
        if line.starts_with(b"fatal: invalid ref format: ") {
            return Self::BadName;
        }
        let after = line.splitn_str(2, "cannot lock ref '").nth(1);
        let name = after.and_then(|rest| rest.splitn_str(2, "': ").next()).unwrap_or_default();
        let name = BString::from(name);
        if says("Unable to create '") && says("': File exists.") {
            return Self::Locked(name);
        }
        if says("': reference already exists") {
            return Self::Exists;
        }
        if says("' exists; cannot create '") {
            return Self::Conflict;
        }
        if says("' at the same time") {
            return Self::ConflictWithin;
        }
        if says("' with nonexistent object ") {
            return Self::NoObject;
        }
        if says("trying to write non-commit object ") {
            return Self::NotACommit;
        }
        if let Some((found, expected)) = is_at_but_expected(line) {
            return Self::Stale { name, expected, found };
        }
        if says("multiple updates for ref '") {
            return Self::Duplicate;
        }
        Self::Other
    }
}

/// The two ids of git's sentence.
fn is_at_but_expected(line: &[u8]) -> Option<(String, String)> {
    let (_, rest) = line.split_once_str("': is at ")?;
    let (found, expected) = rest.split_once_str(" but expected ")?;
    Some((found.to_str_lossy().into_owned(), expected.to_str_lossy().into_owned()))
}

impl From<PrepareError> for Refusal {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Locked { name, .. } | PrepareError::Crowded { name, .. } => {
                if name.is_empty() { Self::PackedRefsLocked } else { Self::Locked(name) }
            }
            // git reads a name of one component only to refuse it later.
            PrepareError::BadName(name) if is_formed(&name) => Self::Other,
            PrepareError::BadName(_) => Self::BadName,
            PrepareError::Exists { .. } => Self::Exists,
            PrepareError::Conflict { .. } => Self::Conflict,
            PrepareError::ConflictWithin { .. } => Self::ConflictWithin,
            PrepareError::NoObject { .. } => Self::NoObject,
            PrepareError::NotACommit { .. } => Self::NotACommit,
            PrepareError::Stale { name, expected, found } => {
                let [expected, found] = [expected, found].map(|id| id.to_string());
                Self::Stale { name, expected, found }
            }
            PrepareError::Duplicate(_) => Self::Duplicate,
            error @ (PrepareError::DuplicateVia { .. }
            | PrepareError::TooMany(_)
            | PrepareError::Missing { .. }
            | PrepareError::Broken { .. }
            | PrepareError::Blocked { .. }
            | PrepareError::Unsupported(_)
            | PrepareError::Recover(_)
            | PrepareError::Refs(_)
            | PrepareError::Store(_)
            | PrepareError::Io { .. }) => {
                let error = gitring_daemon::log::chain(&error);
                tracing::warn!(error = error.as_str(), "refs were not changed");
                Self::Other
            }
        }
    }
}

/// Whether git-check-ref-format(1) takes it, with one component, too.
fn is_formed(name: &BString) -> bool {
    refs::is_valid_name(&[b"refs/", name.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(complaint: &str, expected: Refusal) {
        assert_eq!(Refusal::of_complaint(complaint.as_bytes()), expected, "{complaint}");
    }

    #[test]
    fn what_git_says() {
        let stale = Refusal::Stale {
            name: "refs/heads/a".into(),
            expected: "e".repeat(40),
            found: "f".repeat(40),
        };
        let (e, f) = ("e".repeat(40), "f".repeat(40));
        let lock = "fatal: prepare: cannot lock ref 'refs/heads/a'";
        check(&format!("{lock}: is at {f} but expected {e}\n"), stale);
        check(&format!("{lock}: reference already exists\n"), Refusal::Exists);
        let held = "Unable to create '/x/refs/heads/a.lock': File exists.\n\nAnother git process";
        check(&format!("{lock}: {held}\n"), Refusal::Locked("refs/heads/a".into()));
        let held = "fatal: prepare: Unable to create '/x/packed-refs.lock': File exists.\n";
        check(held, Refusal::PackedRefsLocked);
        let text = "'refs/heads/a/b' exists; cannot create 'refs/heads/a'";
        check(&format!("{lock}: {text}\n"), Refusal::Conflict);
        let text = "cannot process 'refs/heads/a' and 'refs/heads/a/b' at the same time";
        check(&format!("{lock}: {text}\n"), Refusal::ConflictWithin);
        check("fatal: invalid ref format: refs/heads/a..b\n", Refusal::BadName);
        let update = "fatal: prepare: cannot update ref 'refs/heads/a': trying to write";
        let text = format!("{update} ref 'refs/heads/a' with nonexistent object {e}\n");
        check(&text, Refusal::NoObject);
        let text = format!("{update} non-commit object {e} to branch 'refs/heads/a'\n");
        check(&text, Refusal::NotACommit);
        let text = "fatal: prepare: multiple updates for ref 'refs/heads/a' not allowed\n";
        check(text, Refusal::Duplicate);
        check("fatal: out of ideas\n", Refusal::Other);
        check("", Refusal::Other);
    }
}
