//! How storages are: what ServerInfo and DiskStatistics tell.
//!
//! Always true: one answer for each storage, in the order of the configuration.
//! Never here: judging whether that is good.

use super::{Repositories, StorageName, metadata};
use crate::reactor::workers::WorkerError;
use rustix::fs::statfs;
use std::io;
use std::path::Path;

/// The `+` keeps it apart from repositories. Gitaly's name, so that leftovers are recognised.
const PROBE: &str = "+testWrite";

/// Whether a storage can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which storage.
    pub storage: StorageName,
    /// The directory is there.
    pub is_readable: bool,
    /// A file could be written.
    pub is_writeable: bool,
    /// In Gitaly's words; `unknown` if it is none that usually holds repositories.
    pub fs_type: &'static str,
    /// Empty if it cannot be read.
    pub filesystem_id: String,
}

/// How full a storage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Which storage.
    pub storage: StorageName,
    /// What may still be written without privileges; 0 with `used_bytes` if it is not known.
    pub available_bytes: u64,
    /// What is taken, by whomever.
    pub used_bytes: u64,
}

// === impl Repositories ===

impl Repositories {
    /// The state of every storage. Writes a file to each.
    pub async fn statuses(&self) -> Result<Vec<Status>, WorkerError> {
        let storages = self.shared.storages.clone();
        let look = move || storages.iter().map(|(name, root)| status(name, root)).collect();
        self.shared.workers.run(look).await
    }

    /// The disk of every storage.
    pub async fn disks(&self) -> Result<Vec<Disk>, WorkerError> {
        let storages = self.shared.storages.clone();
        let look = move || storages.iter().map(|(name, root)| disk(name, root)).collect();
        self.shared.workers.run(look).await
    }
}

#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn status(storage: &StorageName, root: &Path) -> Status {
    let probe = root.join(PROBE);
    let is_writeable = std::fs::write(&probe, "testWrite").is_ok();
    // Another probe may have removed it.
    let _ = std::fs::remove_file(&probe);
    let filesystem_id = metadata::read(root).unwrap_or_else(|error| {
        tracing::error!(%storage, %error, "read the metadata file of a storage");
        String::new()
    });
    Status {
        storage: storage.clone(),
        is_readable: root.exists(),
        is_writeable,
        fs_type: fs_type(root),
        filesystem_id,
    }
}

fn disk(storage: &StorageName, root: &Path) -> Disk {
    let found = statfs(root).map_err(io::Error::from);
    let (available_bytes, used_bytes) = match &found {
        Ok(found) => {
            let block_bytes = u64::try_from(found.f_bsize).unwrap_or(0);
            let used_blocks = found.f_blocks.saturating_sub(found.f_bfree);
            (found.f_bavail.saturating_mul(block_bytes), used_blocks.saturating_mul(block_bytes))
        }
        Err(error) => {
            tracing::error!(%storage, %error, "retrieve the disk statistics of a storage");
            (0, 0)
        }
    };
    Disk { storage: storage.clone(), available_bytes, used_bytes }
}

/// Magic numbers of statfs(2) for what storages lie on.
fn fs_type(root: &Path) -> &'static str {
    match statfs(root).map(|found| found.f_type) {
        Ok(0xef53) => "EXT_2_3_4",
        Ok(0x5846_5342) => "XFS",
        Ok(0x9123_683e) => "BTRFS",
        Ok(0x6969) => "NFS",
        Ok(0x794c_7630) => "OVERLAYFS",
        Ok(0x0102_1994) => "TMPFS",
        Ok(0xf2f5_2010) => "F2FS",
        Ok(0x6573_5546) => "FUSE",
        Ok(0x5346_544e) => "NTFS_SB",
        Ok(0x7461_636f) => "OCFS2",
        Ok(0x5265_4973) => "REISERFS",
        Ok(0x0102_1997) => "V9FS",
        _ => "unknown",
    }
}
