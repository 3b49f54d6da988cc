//! The object store of a pack: one directory of objects, known by what it is.
//!
//! Always true: a directory that was removed and made again under the same path has another
//! identity, where the file system tells births apart; a path is never part of one.
//! Never here: which store a request is given (`upload_pack::packing`).

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::objects::listed;

/// Which `objects` directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreId {
    /// Its device.
    pub device: u64,
    /// Its inode; used again for another directory once this one is gone.
    pub inode: u64,
    /// When it was made, in nanoseconds since the epoch; 0 where the file system does not say.
    pub born_nanos: u64,
}

/// A store, and how git is led to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectStore {
    /// What the key says of it.
    pub id: StoreId,
    /// The `objects` directory, absolute.
    pub objects: PathBuf,
    /// The `objects` directory of the repository that was asked, where `objects` is its pool's.
    pub behind: Option<PathBuf>,
}

// === impl StoreId ===

impl StoreId {
    /// Stats an `objects` directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(objects: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(objects)?;
        let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        // Enough until the year 2554.
        let born_nanos = born.map_or(0, |age| age.as_nanos() as u64);
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), born_nanos })
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{}:{:x}", self.device, self.inode, self.born_nanos)
    }
}

// === impl ObjectStore ===

impl ObjectStore {
    /// Variables for a git child that runs in the repository that was asked, none where the store
    /// is its own. They put the pool first, and with it its bitmaps and commit-graph; the
    /// repository's own objects stand behind, so that the pack is complete whenever the repository
    /// is, even if the pool lost something. Configuration, grafts and shallow file stay those of
    /// the repository.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let Some(behind) = &self.behind else { return Vec::new() };
        vec![
            ("GIT_OBJECT_DIRECTORY".into(), self.objects.clone().into()),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES".into(), listed(behind.as_os_str())),
        ]
    }
}
