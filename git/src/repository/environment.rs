//! What surrounds a repository: configuration from elsewhere, object directories, trust.
//!
//! Always true: nothing here is read from the process unless a caller hands it in.
//! Never here: files.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Ownership;
use crate::config::Config;
use crate::config::environment::{self as settings, EnvironmentError};
use crate::objects::Store;

/// Where a repository's configuration and objects come from besides itself (git(1), ENVIRONMENT
/// VARIABLES). The default reads the repository alone and trusts it.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Lowest precedence: the server's defaults (Gitaly's), as key and value.
    pub defaults: Vec<(String, String)>,
    /// Files read before the repository's own: system, then global. Absent ones are skipped.
    pub config_files: Vec<PathBuf>,
    /// Highest precedence: GIT_CONFIG_COUNT, GIT_CONFIG_PARAMETERS, or per-request options.
    pub overrides: Vec<(String, Option<String>)>,
    /// GIT_OBJECT_DIRECTORY
    pub object_directory: Option<PathBuf>,
    /// GIT_ALTERNATE_OBJECT_DIRECTORIES
    pub alternate_object_directories: Vec<PathBuf>,
    /// HOME, for paths that begin with `~/`.
    pub home: Option<PathBuf>,
    /// Whether the repository's owner matters.
    pub ownership: Ownership,
}

// === impl Environment ===

impl Environment {
    /// The objects of a repository's pool: the only directory of `store` beside its own, wherever
    /// it was named; none where the environment names directories.
    pub(super) fn pool(&self, store: &Store) -> Option<PathBuf> {
        let is_plain =
            self.object_directory.is_none() && self.alternate_object_directories.is_empty();
        let mut directories = store.directories().skip(1);
        let first = directories.next().filter(|_| is_plain && directories.next().is_none());
        first.map(Path::to_path_buf)
    }

    /// What git takes from its environment, ownership checked; `variable` yields one variable.
    ///
    /// # Errors
    /// A value that git refuses, or text that is not UTF-8 where it must be.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, EnvironmentError> {
        let text = |name: &'static str| match variable(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(EnvironmentError::Variable(name)),
        };
        let flag = |name: &'static str| match text(name)? {
            None => Ok(false),
            Some(value) => is_true(value).ok_or(EnvironmentError::Variable(name)),
        };
        let path = |name: &str| variable(name).map(PathBuf::from);
        let mut overrides = Vec::new();
        if let Some(count) = text("GIT_CONFIG_COUNT")? {
            let string = |name: &str| variable(name)?.into_string().ok();
            overrides.extend(settings::counted(&count, string)?);
        }
        if let Some(parameters) = text("GIT_CONFIG_PARAMETERS")? {
            overrides.extend(settings::parameters(&parameters)?);
        }
        let mut config_files = Vec::new();
        if !flag("GIT_CONFIG_NOSYSTEM")? {
            let system = path("GIT_CONFIG_SYSTEM");
            config_files.push(system.unwrap_or_else(|| PathBuf::from("/etc/gitconfig")));
        }
        config_files.extend(global_files(&path));
        let alternates = variable("GIT_ALTERNATE_OBJECT_DIRECTORIES").unwrap_or_default();
        Ok(Self {
            defaults: Vec::new(),
            config_files,
            overrides,
            object_directory: path("GIT_OBJECT_DIRECTORY"),
            alternate_object_directories: split_paths(alternates.as_bytes())
                .ok_or(EnvironmentError::Variable("GIT_ALTERNATE_OBJECT_DIRECTORIES"))?,
            home: path("HOME"),
            ownership: Ownership::Checked {
                sudo_uid: text("SUDO_UID")?.and_then(|uid| uid.parse().ok()),
                assume_different: flag("GIT_TEST_ASSUME_DIFFERENT_OWNER")?,
            },
        })
    }

    /// With object directories as git reads them: it stands in the git directory by then.
    pub(super) fn seen_from(mut self, git_dir: &Path) -> Self {
        self.object_directory = self.object_directory.map(|path| git_dir.join(path));
        for path in &mut self.alternate_object_directories {
            *path = git_dir.join(&*path);
        }
        self
    }
}

fn is_true(value: String) -> Option<bool> {
    let setting = [("environment.flag".to_owned(), Some(value))];
    let config = Config::default().with_overrides(&setting).ok()?;
    config.boolean("environment.flag").ok().flatten()
}

/// `GIT_CONFIG_GLOBAL`, or that of `XDG_CONFIG_HOME` and then `~/.gitconfig`.
fn global_files(path: &dyn Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(global) = path("GIT_CONFIG_GLOBAL") {
        return vec![global];
    }
    let home = path("HOME");
    let xdg = path("XDG_CONFIG_HOME").filter(|path| path != Path::new(""));
    let xdg = xdg.or_else(|| home.as_ref().map(|home| home.join(".config")));
    let xdg = xdg.map(|xdg| xdg.join("git/config"));
    xdg.into_iter().chain(home.map(|home| home.join(".gitconfig"))).collect()
}

/// Paths between colons; one in double quotes may hold colons and the escapes of C.
fn split_paths(mut text: &[u8]) -> Option<Vec<PathBuf>> {
    let mut paths = Vec::new();
    while !text.is_empty() {
        let path = if text[0] == b'"' {
            let (path, rest) = unquote(&text[1..])?;
            text = rest;
            path
        } else {
            let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
            let path = text[..end].to_vec();
            text = &text[end..];
            path
        };
        text = match text {
            [] => text,
            [b':', rest @ ..] => rest,
            _ => return None,
        };
        if !path.is_empty() {
            paths.push(PathBuf::from(OsString::from_vec(path)));
        }
    }
    Some(paths)
}

fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut path = Vec::new();
    let mut at = 0;
    loop {
        let byte = *text.get(at)?;
        at += 1;
        match byte {
            b'"' => return Some((path, &text[at..])),
            b'\\' => {
                let escaped = *text.get(at)?;
                at += 1;
                path.push(match escaped {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    b'\\' | b'"' => escaped,
                    b'0'..=b'3' => {
                        let digits = text.get(at - 1..at + 2)?;
                        at += 2;
                        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?
                    }
                    _ => return None,
                });
            }
            _ => path.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_directories_are_split_as_git_splits_them() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let expected = expected.map(|paths| paths.iter().map(PathBuf::from).collect());
            assert_eq!(split_paths(text.as_bytes()), expected, "{text:?}");
        };
        check("", Some(&[]));
        check("/a:/b", Some(&["/a", "/b"]));
        check(":/a::", Some(&["/a"]));
        check("\"/a:\\\"b\\101\":/c", Some(&["/a:\"bA", "/c"]));
        check("\"/a", None);
    }

    #[test]
    fn configuration_files_are_those_that_git_reads() {
        let check = |variables: &[(&str, &str)], expected: &[&str]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let files = Environment::from_variables(variable).unwrap().config_files;
            let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(files, expected, "{variables:?}");
        };
        check(&[], &["/etc/gitconfig"]);
        check(&[("HOME", "/h")], &["/etc/gitconfig", "/h/.config/git/config", "/h/.gitconfig"]);
        check(
            &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x"), ("GIT_CONFIG_NOSYSTEM", "yes")],
            &["/x/git/config", "/h/.gitconfig"],
        );
        check(
            &[("GIT_CONFIG_SYSTEM", "/s"), ("GIT_CONFIG_GLOBAL", "/g"), ("HOME", "/h")],
            &["/s", "/g"],
        );
    }
}
