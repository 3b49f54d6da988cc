//! Words of limits: who asks, for what, and how it is refused.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The name of a key or of a client, shared by all who wait under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// One who wants to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is limited: a repository, an address.
    pub key: Name,
    /// Who takes turns with others under the same key.
    pub client: Name,
}

/// Why somebody was not let in, in the values of Gitaly's label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `max_size`: too many wait already.
    Size,
    /// `max_time`: waited for too long.
    Time,
    /// `rate`: asked too often.
    Rate,
}

/// A refusal. Displayed in Gitaly's words, which its clients look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// When another attempt is likely to be let in at once.
    pub retry_after: Duration,
    /// It is the client itself that takes, or asks for, more than its share; others are let in.
    pub is_own_share: bool,
}

// === impl Name ===

impl Name {
    /// A name of this text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

// === impl Reason ===

impl Reason {
    /// Each of them, in the order of their numbers.
    pub(super) const ALL: [Self; 3] = [Self::Size, Self::Time, Self::Rate];

    /// The value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Size => "max_size",
            Self::Time => "max_time",
            Self::Rate => "rate",
        }
    }
}

// === impl Refusal ===

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.reason {
            Reason::Size => "maximum queue size reached",
            Reason::Time => "maximum time in concurrency queue reached",
            Reason::Rate => "rate limit reached",
        })
    }
}

impl std::error::Error for Refusal {}
