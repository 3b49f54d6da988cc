//! The file calls whose results must survive a loss of power.
//!
//! ```text
//! FileCalls ─ System             the operating system
//!           └ recorder::Recorder  in tests: the same, and what a loss of power may leave of it
//! ```
//!
//! Always true: whoever writes refs, journals or published objects does it through [`FileCalls`];
//! a name is durable once the directory that holds it was synced, a content once its file was.
//! Never here: what files mean. Never: reading, which needs no seam.

#[cfg(test)]
pub(crate) mod recorder;
mod system;

pub use system::System;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

/// Changes of files and directories, and what makes them durable.
///
/// Nothing that a method did is durable before the file (its content) and the directory (its name)
/// were given to [`Self::sync`] or [`Self::sync_many`].
pub trait FileCalls: Debug + Send + Sync {
    /// Makes a file that did not exist, with all its content. `mode` as in open(2), less the umask.
    ///
    /// # Errors
    /// `AlreadyExists`, or what the system says; then no file of ours is left.
    fn create_new(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()>;

    /// Adds to the end of a file in one write; makes it if there is none.
    ///
    /// # Errors
    /// What the system says.
    fn append(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Gives the file `from` the further name `to` (link(2)).
    ///
    /// # Errors
    /// `AlreadyExists`, `TooManyLinks`, or what else the system says.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Moves a file or directory to a name that may be taken by a file, which goes.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name of a file.
    ///
    /// # Errors
    /// What the system says; `NotFound` is one.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes one directory.
    ///
    /// # Errors
    /// `AlreadyExists`, or what else the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the system says.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the content of a file, or the names in a directory, durable. What other callers did
    /// to it before this call is durable as well.
    ///
    /// # Errors
    /// What the system says. Then nobody knows what is durable.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// The same for many files and directories of one file system, in whatever way costs least.
    ///
    /// # Errors
    /// As [`Self::sync`].
    fn sync_many(&self, paths: &[PathBuf]) -> io::Result<()>;
}
