//! The operating system's file calls.
//!
//! Callers that sync one directory at a time do not share their syncs here: the file system's journal
//! does that already. Tried on ext4 with up to 64 threads, sharing made no difference.
//!
//! Always true: what was synced is on disk, unless the process asked for volatile calls.
//! Never here: which files matter.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustix::fs::syncfs;

use super::FileCalls;

/// Files beyond which one sync of the whole file system is cheaper than one of each: a sync of a
/// file is a journal commit and waits for the disk, and so is a syncfs, but that one also writes
/// what others have left unwritten.
const SYNCS_MAX: usize = 64;

/// The calls as they are.
#[derive(Debug)]
pub struct System {
    is_synced: bool,
}

// === impl System ===

impl System {
    /// Everything is synced that is asked to be.
    pub fn durable() -> Arc<dyn FileCalls> {
        static DURABLE: LazyLock<Arc<System>> =
            LazyLock::new(|| Arc::new(System { is_synced: true }));
        Arc::clone(&*DURABLE) as Arc<dyn FileCalls>
    }

    /// Nothing is synced: for measurements of everything else. A loss of power may cost all.
    pub fn volatile() -> Arc<dyn FileCalls> {
        static VOLATILE: LazyLock<Arc<System>> =
            LazyLock::new(|| Arc::new(System { is_synced: false }));
        Arc::clone(&*VOLATILE) as Arc<dyn FileCalls>
    }
}

impl FileCalls for System {
    fn create_new(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content).inspect_err(|_| {
            // It is of no use, and the error that is told is the first.
            let _ = fs::remove_file(path);
        })
    }

    fn append(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).create(true).open(path)?.write_all(content)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        if !self.is_synced {
            return Ok(());
        }
        File::open(path)?.sync_all()
    }

    fn sync_many(&self, paths: &[PathBuf]) -> io::Result<()> {
        match paths {
            _ if !self.is_synced => Ok(()),
            [first, ..] if paths.len() > SYNCS_MAX => Ok(syncfs(File::open(first)?)?),
            _ => paths.iter().try_for_each(|path| self.sync(path)),
        }
    }
}
