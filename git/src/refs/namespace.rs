//! Namespaces: several sets of refs over one set of objects (gitnamespaces(7)).
//!
//! Always true: a prefix is empty or ends with a slash.
//! Never here: which refs exist.

use bstr::{BStr, BString, ByteSlice};

use super::name;

/// A namespace as the prefix of full ref names; empty for the repository itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Namespace(BString);

/// A `GIT_NAMESPACE` that cannot be part of ref names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad git namespace path \"{0}\"")]
pub struct BadNamespace(pub BString);

// === impl Namespace ===

impl Namespace {
    /// Reads a `GIT_NAMESPACE`: `a/b` stands for `refs/namespaces/a/refs/namespaces/b/`.
    ///
    /// # Errors
    /// A component that no ref name can have.
    pub fn parse(text: &[u8]) -> Result<Self, BadNamespace> {
        let mut prefix = Vec::new();
        for part in text.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            prefix.extend_from_slice(b"refs/namespaces/");
            prefix.extend_from_slice(part);
            prefix.push(b'/');
        }
        let name = prefix.strip_suffix(b"/").unwrap_or_default();
        if !text.is_empty() && !name::is_valid(name) {
            return Err(BadNamespace(text.into()));
        }
        Ok(Self(prefix.into()))
    }

    /// `refs/namespaces/<name>/`, or nothing.
    pub fn prefix(&self) -> &BStr {
        self.0.as_bstr()
    }

    /// The name of a ref as a client of this namespace sees it; none for refs outside.
    pub fn strip<'a>(&self, full_name: &'a BStr) -> Option<&'a BStr> {
        full_name.strip_prefix(self.0.as_slice()).map(ByteSlice::as_bstr)
    }

    /// The full name of what a client of this namespace calls `name`.
    pub fn full_name(&self, name: &BStr) -> BString {
        let mut full = self.0.clone();
        full.extend_from_slice(name);
        full
    }
}
