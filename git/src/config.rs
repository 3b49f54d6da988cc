//! Git's configuration: an ordered list of settings and how their values are read.
//!
//! Always true: later settings win; keys are normalised (section and name in lower case, the
//! subsection as written), so `entries` yields what `git config --list` prints.
//! Never here: what a setting means, and writing of configuration files.

mod condition;
pub mod environment;
pub(crate) mod load;
mod parse;
#[cfg(test)]
mod tests;
mod value;
pub(crate) mod wildmatch;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};

/// Settings in order of precedence, lowest first (git-config(1), FILES).
///
/// A clone, and a copy with further overrides, shares the settings that were read from files.
#[derive(Debug, Clone, Default)]
pub struct Config {
    base: Arc<Vec<Entry>>,
    /// Those of `base` that the repository's own files say.
    own: Range<usize>,
    overrides: Vec<Entry>,
}

/// One setting: the normalised key and its value; none where `=` was left out ("implicit true").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: BString,
    pub(crate) value: Option<BString>,
}

/// A value that cannot be read as the type that its key demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse '{key}': {}", describe(value))]
pub struct BadValue {
    /// The normalised key.
    pub key: String,
    /// The value as text; empty where it was left out.
    pub value: String,
}

fn describe(value: &str) -> String {
    if value.is_empty() { "missing value".to_owned() } else { format!("bad value '{value}'") }
}

/// Why configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that exists cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not follow git's syntax (git-config(1), CONFIGURATION FILE).
    #[error("bad config line {line} in file {path}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// An `include.path` or `includeIf` that git refuses.
    #[error("{path}: {reason}")]
    Include {
        /// The including file; empty for a setting that came from no file.
        path: PathBuf,
        /// In git's words.
        reason: String,
    },
    /// A file, or all included files together, beyond what is read.
    #[error("{path}: configuration too large")]
    TooLarge {
        /// The file at which the limit was met.
        path: PathBuf,
    },
    /// A setting of the environment or of a request.
    #[error(transparent)]
    Key(#[from] environment::EnvironmentError),
    /// A value of the wrong type in a setting that decides how the repository is read.
    #[error(transparent)]
    Value(#[from] BadValue),
}

// === impl Config ===

impl Config {
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        let own = 0..entries.len();
        Self::with_own(entries, own)
    }

    /// `own` of `entries` come from the repository's own files.
    pub(crate) fn with_own(entries: Vec<Entry>, own: Range<usize>) -> Self {
        Self { base: Arc::new(entries), own, overrides: Vec::new() }
    }

    /// This configuration below `settings`, whose keys need not be normalised. The settings that
    /// are already here are shared, not copied. `include.path` has no effect in `settings`.
    ///
    /// # Errors
    /// A key that git refuses (no section, no name, a forbidden character).
    pub fn with_overrides(
        &self,
        settings: &[(String, Option<String>)],
    ) -> Result<Self, environment::EnvironmentError> {
        let mut overrides = self.overrides.clone();
        for (key, value) in settings {
            let key = environment::normalise_key(key)?.into();
            overrides.push(Entry { key, value: value.clone().map(BString::from) });
        }
        Ok(Self { base: Arc::clone(&self.base), own: self.own.clone(), overrides })
    }

    /// The last value of a key as a path (git-config(1), "pathname"): `~/` leads to `home`. None if
    /// it is not set, or begins with what only git itself can expand.
    pub fn path(&self, key: &str, home: Option<&Path>) -> Option<PathBuf> {
        load::expand(self.string(key)?, home)
    }

    /// Last value of a normalised key such as `uploadpack.allowfilter`, or
    /// `uploadpackfilter.tree.maxdepth`. None if it is not set, or set without a value.
    pub fn string(&self, key: &str) -> Option<&BStr> {
        self.last(key)?.value.as_ref().map(|value| value.as_bstr())
    }

    /// [`Self::string`] without what the repository's own files say (git-config(1), "Protected
    /// configuration"): for settings by which whoever may write to a repository could run programs.
    pub fn protected_string(&self, key: &str) -> Option<&BStr> {
        let is_named = |entry: &&Entry| entry.key == key.as_bytes();
        let (before, after) = (&self.base[..self.own.start], &self.base[self.own.end..]);
        let mut found = before.iter().chain(after).chain(&self.overrides).rev();
        found.find(is_named)?.value.as_ref().map(|value| value.as_bstr())
    }

    /// Last value of a normalised key as a boolean: without a value true, empty false.
    ///
    /// # Errors
    /// Neither one of git's words nor an integer.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, BadValue> {
        let Some(entry) = self.last(key) else { return Ok(None) };
        let value = entry.value.as_ref().map(|value| value.as_bytes());
        value::boolean(value).map(Some).ok_or_else(|| entry.bad())
    }

    /// The value of one of [`Self::entries`] as a boolean.
    ///
    /// # Errors
    /// Neither one of git's words nor an integer.
    pub fn boolean_of(key: &BStr, value: Option<&BStr>) -> Result<bool, BadValue> {
        let entry = || Entry { key: key.to_owned(), value: value.map(BString::from) };
        value::boolean(value.map(|value| value.as_bytes())).ok_or_else(|| entry().bad())
    }

    /// Last value of a normalised key as an integer; `k`, `m`, `g` multiply by powers of 1,024.
    ///
    /// # Errors
    /// No value, no integer, or one beyond 64 bits.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, BadValue> {
        let Some(entry) = self.last(key) else { return Ok(None) };
        let value = entry.value.as_ref().and_then(|value| value::integer(value));
        value.map(Some).ok_or_else(|| entry.bad())
    }

    /// All settings, lowest precedence first: normalised key, and value unless it was left out.
    pub fn entries(&self) -> impl Iterator<Item = (&BStr, Option<&BStr>)> {
        self.all()
            .map(|entry| (entry.key.as_bstr(), entry.value.as_ref().map(|value| value.as_bstr())))
    }

    fn last(&self, key: &str) -> Option<&Entry> {
        let is_named = |entry: &&Entry| entry.key == key.as_bytes();
        self.overrides.iter().rfind(is_named).or_else(|| self.base.iter().rfind(is_named))
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.base.iter().chain(&self.overrides)
    }
}

// === impl Entry ===

impl Entry {
    fn bad(&self) -> BadValue {
        BadValue {
            key: self.key.to_string(),
            value: self.value.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.all().eq(other.all())
    }
}
