//! The repository's format: its version and extensions (gitrepository-layout(5), and git's
//! Documentation/technical/repository-version).
//!
//! Always true: decided by the repository's own `config` alone, without includes, as git does.
//! Never here: settings that are no part of the format.

use std::path::Path;

use bstr::ByteSlice;

use super::Unsupported;
use crate::config::load::read_file;
use crate::config::{Config, ConfigError};

/// What the format says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) unsupported: Option<Unsupported>,
    /// `config.worktree` is read (`extensions.worktreeConfig`).
    pub(super) has_worktree_config: bool,
}

/// Reads the format from the file `config`.
pub(super) fn read(path: &Path) -> Result<Format, ConfigError> {
    let config = Config::new(read_file(path)?.unwrap_or_default());
    // Without a version git ignores the extensions.
    let Some(version) = config.integer("core.repositoryformatversion")? else {
        return Ok(Format::default());
    };
    if version > 1 {
        let unsupported = Some(Unsupported::FormatVersion);
        return Ok(Format { unsupported, ..Format::default() });
    }
    let has_worktree_config = config.boolean("extensions.worktreeconfig")?.unwrap_or(false);
    let mut reasons: Vec<_> = config
        .entries()
        .filter_map(|(key, value)| {
            let name = key.strip_prefix(b"extensions.")?;
            extension(name, value.map(|value| value.as_bytes()), version)
        })
        .collect();
    reasons.sort();
    Ok(Format { unsupported: reasons.first().copied(), has_worktree_config })
}

fn extension(name: &[u8], value: Option<&[u8]>, version: i64) -> Option<Unsupported> {
    let reason = match (name, value) {
        (b"noop" | b"preciousobjects" | b"worktreeconfig", _) => return None,
        (b"partialclone", _) => return Some(Unsupported::Promisor),
        // These demand version 1: git refuses them in a repository of version 0.
        (b"noop-v1" | b"relativeworktrees", _) => None,
        (b"objectformat", Some(b"sha1")) | (b"refstorage", Some(b"files")) => None,
        (b"objectformat", Some(b"sha256")) => Some(Unsupported::Sha256),
        (b"refstorage", Some(b"reftable")) => Some(Unsupported::Reftable),
        (b"objectformat" | b"refstorage" | b"compatobjectformat", _) => {
            Some(Unsupported::UnknownExtension)
        }
        _ if version == 0 => return None,
        _ => Some(Unsupported::UnknownExtension),
    };
    if version == 0 { reason.or(Some(Unsupported::UnknownExtension)) } else { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &str, expected: Option<Unsupported>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, settings).unwrap();
        assert_eq!(read(&path).unwrap().unsupported, expected, "{settings}");
    }

    #[test]
    fn formats_are_known_by_version_and_extensions() {
        let extension = |version: u8, setting: &str| {
            format!("[core]\nrepositoryformatversion = {version}\n[extensions]\n{setting}\n")
        };
        check("", None);
        check("[extensions]\nobjectFormat = sha256\n", None);
        check("[core]\nrepositoryformatversion = 2\n", Some(Unsupported::FormatVersion));
        check(&extension(1, "objectFormat = sha256"), Some(Unsupported::Sha256));
        check(&extension(1, "objectFormat = sha1"), None);
        check(&extension(0, "objectFormat = sha1"), Some(Unsupported::UnknownExtension));
        check(&extension(1, "refStorage = reftable"), Some(Unsupported::Reftable));
        check(&extension(1, "refStorage = files"), None);
        check(&extension(0, "partialClone = origin"), Some(Unsupported::Promisor));
        check(&extension(1, "brandNew"), Some(Unsupported::UnknownExtension));
        check(&extension(0, "brandNew"), None);
        check(&extension(1, "preciousObjects = true"), None);
    }
}
