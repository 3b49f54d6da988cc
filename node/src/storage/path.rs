//! The path of a repository inside its storage, as clients name it.

use std::fmt;

/// PATH_MAX of Linux, in bytes.
const BYTES_MAX: usize = 4096;
/// Where a storage keeps what is no repository: Gitaly's name for it.
pub(super) const INTERNAL: &str = "+gitaly";

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
    /// Its `..` lead to the storage itself or out of it.
    #[error("relative path escapes root directory")]
    Escapes,
}

// === impl RelativePath ===

impl RelativePath {
    /// Checks a path that was decoded already; it is taken literally.
    pub fn parse(path: &str) -> Result<Self, BadRelativePath> {
        check(path)?;
        if path.starts_with('/') {
            return Err(BadRelativePath::Absolute);
        }
        if path.split('/').any(|component| matches!(component, "" | "." | "..")) {
            return Err(BadRelativePath::Component);
        }
        Ok(Self(path.to_owned()))
    }

    /// As Gitaly reads paths: slashes at either end and repeated ones do not count, `.` and `..`
    /// are resolved as text. What leads to the storage itself is refused as well: no repository is
    /// there, and nobody may remove it.
    pub fn clean(path: &str) -> Result<Self, BadRelativePath> {
        check(path)?;
        if Self::parse(path).is_ok() {
            return Ok(Self(path.to_owned()));
        }
        let mut components = Vec::new();
        for component in path.split('/') {
            match component {
                "" | "." => {}
                ".." => drop(components.pop().ok_or(BadRelativePath::Escapes)?),
                name => components.push(name),
            }
        }
        if components.is_empty() {
            return Err(BadRelativePath::Escapes);
        }
        Ok(Self(components.join("/")))
    }

    /// Whether it lies in the part of a storage that belongs to the server itself.
    pub fn is_internal(&self) -> bool {
        self.0.split('/').next() == Some(INTERNAL)
    }

    /// Without doubled slashes, `.` and `..`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(path: &str) -> Result<(), BadRelativePath> {
    if path.is_empty() {
        return Err(BadRelativePath::Empty);
    }
    if path.len() > BYTES_MAX {
        return Err(BadRelativePath::TooLong);
    }
    if path.contains(char::is_control) {
        return Err(BadRelativePath::Control);
    }
    Ok(())
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

    /// Expected values: what Gitaly 16.11 makes of them (`filepath.Join`), but for the storage
    /// itself and for leaving the storage by `..` and coming back.
    #[test]
    fn paths_are_cleaned_as_gitaly_cleans_them() {
        let check = |path: &str, expected: Result<&str, BadRelativePath>| {
            let found = RelativePath::clean(path).map(|path| path.as_str().to_owned());
            assert_eq!(found, expected.map(str::to_owned), "{path:?}");
        };
        check("@hashed/6b/86/6b86.git", Ok("@hashed/6b/86/6b86.git"));
        check("/a.git", Ok("a.git"));
        check("a//b", Ok("a/b"));
        check("./a", Ok("a"));
        check("a/", Ok("a"));
        check("a/./b/.", Ok("a/b"));
        check("a/../b", Ok("b"));
        check("a/b/../../c", Ok("c"));
        check("...", Ok("..."));
        check("", Err(BadRelativePath::Empty));
        check(".", Err(BadRelativePath::Escapes));
        check("/", Err(BadRelativePath::Escapes));
        check("a/..", Err(BadRelativePath::Escapes));
        check("..", Err(BadRelativePath::Escapes));
        check("../a", Err(BadRelativePath::Escapes));
        check("a/../../a", Err(BadRelativePath::Escapes));
        check("a\0", Err(BadRelativePath::Control));
        check(&"a/".repeat(3000), Err(BadRelativePath::TooLong));
    }

    #[test]
    fn the_servers_own_part_is_known() {
        let check = |path: &str, expected| {
            assert_eq!(RelativePath::clean(path).unwrap().is_internal(), expected, "{path}");
        };
        check("+gitaly", true);
        check("+gitaly/tmp/a.git", true);
        check("a/../+gitaly/a.git", true);
        check("+gitaly.git", false);
        check("a/+gitaly", false);
    }
}
