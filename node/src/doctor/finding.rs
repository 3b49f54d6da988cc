//! What a look at the machine has found, and how it is shown.
//!
//! Always true: what needs attention says what to do about it.
//! Never here: looking.

use serde_json::{Value, json};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// Works; good to know.
    Note,
    /// Works worse than it could, or will not for long.
    Warning,
    /// Does not work, loses data, or lets the wrong people in.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was looked at: `storage.fsync`.
    pub(crate) check: &'static str,
    pub(crate) severity: Severity,
    /// What was seen.
    pub(crate) what: String,
    /// What to do about it; empty where nothing is to be done.
    pub(crate) remedy: String,
}

// === impl Severity ===

impl Severity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// The exit status of a run whose worst finding this is.
    pub(crate) fn exit_status(self) -> u8 {
        match self {
            Self::Ok | Self::Note => 0,
            Self::Warning => 1,
            Self::Error => 2,
        }
    }
}

// === impl Finding ===

impl Finding {
    /// As it should be.
    pub(crate) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, severity: Severity::Ok, what: what.into(), remedy: String::new() }
    }

    pub(crate) fn note(
        check: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Note, remedy: remedy.into(), ..Self::ok(check, what) }
    }

    pub(crate) fn warning(
        check: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::note(check, what, remedy) }
    }

    pub(crate) fn error(
        check: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Error, ..Self::note(check, what, remedy) }
    }

    /// For people: a line, and one with what to do.
    pub(crate) fn text(&self) -> String {
        let line = format!("{:8} {:20} {}", self.severity.name(), self.check, self.what);
        if self.remedy.is_empty() { line } else { format!("{line}\n{:29} -> {}", "", self.remedy) }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "check": self.check,
            "severity": self.severity.name(),
            "what": self.what,
            "remedy": self.remedy,
        })
    }
}
