//! The storages of a node: names for directories.
//!
//! Always true: names are unique and not empty; a root had no symbolic links in it when the node
//! started; no root lies in another.
//! Never here: what lies in a storage.

use super::{metadata, place};
use gitring_git::stamp;
use std::fmt;
use std::path::{Path, PathBuf};

/// The name of a storage: not empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageName(String);

/// One `[[storage]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// What clients call it.
    pub name: String,
    /// An existing directory.
    pub path: PathBuf,
}

/// What is wrong with one `[[storage]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfigError {
    /// Which of them, counted from 0.
    pub index: usize,
    /// `name` or `path`.
    pub key: &'static str,
    /// What is wrong, and what is allowed.
    pub what: String,
}

/// Every storage of this node, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct Storages {
    /// A handful: looking through them is cheaper than hashing a name.
    roots: Vec<(StorageName, PathBuf)>,
}

// === impl StorageName ===

impl StorageName {
    /// `None` for the empty name.
    pub fn parse(name: &str) -> Option<Self> {
        (!name.is_empty()).then(|| Self(name.to_owned()))
    }

    /// As clients write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StorageName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

// === impl Storages ===

impl Storages {
    /// Checks what the configuration says: names unique and not empty, paths existing directories
    /// of which none lies in another. Two names may share one path, as in Gitaly 16.7.
    pub fn new(configs: &[StorageConfig]) -> Result<Self, StorageConfigError> {
        let mut roots = Vec::<(StorageName, PathBuf)>::new();
        for (index, config) in configs.iter().enumerate() {
            let wrong = |key, what| StorageConfigError { index, key, what };
            let Some(name) = StorageName::parse(&config.name) else {
                return Err(wrong("name", "is empty, allowed: any other name".to_owned()));
            };
            #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
            let root = config.path.canonicalize().map_err(|error| {
                let path = config.path.display();
                wrong("path", format!("{path}: {error}, allowed: an existing directory"))
            })?;
            #[expect(clippy::disallowed_methods, reason = "start-up: no reactor runs yet")]
            if !root.is_dir() {
                let what = format!("{} is no directory", root.display());
                return Err(wrong("path", format!("{what}, allowed: an existing directory")));
            }
            if let Some((other, _)) = roots.iter().find(|(_, other)| nested(&root, other)) {
                let what = format!("{} and that of storage '{other}' are nested", root.display());
                return Err(wrong("path", format!("{what}, allowed: separate directories")));
            }
            if roots.iter().any(|(other, _)| *other == name) {
                let what = format!("'{}' is taken, allowed: a name used once", config.name);
                return Err(wrong("name", what));
            }
            roots.push((name, root));
        }
        Ok(Self { roots })
    }

    /// Where a storage lies, as a path without symbolic links.
    pub fn root(&self, name: &StorageName) -> Option<&Path> {
        self.iter().find(|(known, _)| *known == name).map(|(_, root)| root)
    }

    /// Every storage and where it lies.
    pub fn iter(&self) -> impl Iterator<Item = (&StorageName, &Path)> {
        self.roots.iter().map(|(name, root)| (name, root.as_path()))
    }

    /// Gives each file system that has none the id by which Rails recognises it, and finds out how
    /// fine its time stamps are. Blocks: for the start of a node. A storage that cannot be written is no reason not to serve the others.
    pub fn identify(&self) {
        for (storage, root) in self.iter() {
            if let Err(error) = metadata::create(root) {
                tracing::error!(%storage, %error, "write the metadata file of a storage");
            }
            match place::make_scratch(root).and_then(|scratch| stamp::probe(&scratch)) {
                Ok(is_fine) => tracing::info!(%storage, fine_time_stamps = is_fine, "storage"),
                Err(error) => {
                    tracing::warn!(%storage, %error, "probe the time stamps of a storage")
                }
            }
        }
    }
}

fn nested(a: &Path, b: &Path) -> bool {
    a != b && (a.starts_with(b) || b.starts_with(a))
}
