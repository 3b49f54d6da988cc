//! One pack in the cache, as people read it.

use gitring_streamcache::Stored;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A stored pack and what its maker noted beside it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stored: Stored,
    /// The repository that it was made for.
    pub(super) repository: String,
    /// What its key was made of, in one line.
    pub(super) request: String,
}

// === impl Entry ===

impl Entry {
    pub(super) fn new(stored: Stored) -> Self {
        let note = String::from_utf8_lossy(stored.note.as_bytes()).into_owned();
        let named = |name: &str| {
            let line = note.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().to_owned()
        };
        Self { repository: named("repository"), request: named("request"), stored }
    }

    /// Whether it was made for the repository at `path`, or from objects of `store`.
    pub(super) fn is_of(&self, path: &Path, store: Option<&str>) -> bool {
        let from =
            self.request.split_ascii_whitespace().find_map(|part| part.strip_prefix("store="));
        Path::new(&self.repository) == path || from.is_some() && from == store
    }

    /// Whole seconds since it was begun.
    pub(super) fn age_s(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        now.saturating_sub(self.stored.created).as_secs()
    }

    pub(super) fn line(&self) -> String {
        let Stored { key, length_bytes, .. } = &self.stored;
        let (age_s, repository, request) = (self.age_s(), &self.repository, &self.request);
        format!("{key} {length_bytes:>12} bytes {age_s:>7} s  {repository}  {request}")
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "key": self.stored.key.to_string(),
            "bytes": self.stored.length_bytes,
            "age_s": self.age_s(),
            "repository": self.repository,
            "request": self.request,
            "path": self.stored.path.to_string_lossy(),
        })
    }
}
