//! The path of a repository inside its storage, as clients name it.

use std::fmt;

/// PATH_MAX of Linux, in bytes.
const BYTES_MAX: usize = 4096;

/// A path that cannot lead out of the directory it is joined to, symbolic links aside.
///
/// Always true: not empty; no leading slash; no component that is empty, `.` or `..`; no control
/// characters; at most 4,096 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelativePath(String);

/// Why a text is no path of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRelativePath {
    /// It is empty.
    #[error("the repository path is empty")]
    Empty,
    /// It begins with a slash.
    #[error("the repository path is absolute")]
    Absolute,
    /// A component is empty, `.` or `..`.
    #[error("the repository path has a component that is empty, '.' or '..'")]
    Component,
    /// It contains NUL or another control character.
    #[error("the repository path has a control character")]
    Control,
    /// It is longer than any path can be.
    #[error("the repository path is longer than {BYTES_MAX} bytes")]
    TooLong,
}

// === impl RelativePath ===

impl RelativePath {
    /// Checks a path that was decoded already; it is taken literally.
    pub fn parse(path: &str) -> Result<Self, BadRelativePath> {
        if path.is_empty() {
            return Err(BadRelativePath::Empty);
        }
        if path.len() > BYTES_MAX {
            return Err(BadRelativePath::TooLong);
        }
        if path.starts_with('/') {
            return Err(BadRelativePath::Absolute);
        }
        if path.contains(char::is_control) {
            return Err(BadRelativePath::Control);
        }
        if path.split('/').any(|component| matches!(component, "" | "." | "..")) {
            return Err(BadRelativePath::Component);
        }
        Ok(Self(path.to_owned()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Result<(), BadRelativePath>) {
        assert_eq!(RelativePath::parse(path).map(drop), expected, "{path:?}");
    }

    #[test]
    fn a_path_stays_below_what_it_is_joined_to() {
        check("a.git", Ok(()));
        check("@hashed/6b/86/6b86.git", Ok(()));
        check("a b/ü.git", Ok(()));
        check("...", Ok(()));
        check("..a/a..", Ok(()));
        check(".git", Ok(()));
        check("a\\..\\b", Ok(()));
        check("-a", Ok(()));
        check(&"a".repeat(4096), Ok(()));
        check(&"a".repeat(4097), Err(BadRelativePath::TooLong));
        check("", Err(BadRelativePath::Empty));
        check("/a.git", Err(BadRelativePath::Absolute));
        check("//a.git", Err(BadRelativePath::Absolute));
        check("a//b", Err(BadRelativePath::Component));
        check("a/", Err(BadRelativePath::Component));
        check("./a", Err(BadRelativePath::Component));
        check("a/.", Err(BadRelativePath::Component));
        check("..", Err(BadRelativePath::Component));
        check("a/../../b", Err(BadRelativePath::Component));
        check("a\0.git", Err(BadRelativePath::Control));
        check("a\n.git", Err(BadRelativePath::Control));
        check("a\u{85}.git", Err(BadRelativePath::Control));
    }
}
