//! How much a repository takes.
//!
//! Always true: bytes of all files below the directory, links not followed, as Gitaly counts.
//! Never here: blocks on disk, alternates.

use super::{OpenError, RelativePath, Repositories, StorageName, resolve};
use std::fs::{self, ReadDir};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const SLICE: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Walk {
    bytes: u64,
    current: Option<ReadDir>,
    pending: Vec<PathBuf>,
}

// === impl Repositories ===

impl Repositories {
    /// KiB of all files, rounded down.
    pub async fn size_kib(
        &self,
        storage: &StorageName,
        path: &RelativePath,
    ) -> Result<u64, OpenError> {
        let start = self.visit(storage, path, |shared, key| {
            let found = resolve::resolve(shared.root(&key.storage)?, &key.path)?;
            match found.missing()? {
                None => Ok(found.into_directory()),
                missing => Err(OpenError::NotARepository { missing }),
            }
        });
        let mut walk = Walk { bytes: 0, current: None, pending: vec![start.await??] };
        loop {
            let slice = move || {
                let is_done = walk.slice(Instant::now() + SLICE);
                is_done.map(|is_done| (is_done, walk))
            };
            match self.shared.workers.run(slice).await?? {
                (true, walk) => return Ok(walk.bytes / 1024),
                (false, later) => walk = later,
            }
        }
    }
}

// === impl Walk ===

impl Walk {
    /// Whether all is counted.
    #[expect(clippy::disallowed_methods, reason = "runs on a worker")]
    fn slice(&mut self, until: Instant) -> io::Result<bool> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(next) = self.pending.pop() else { return Ok(true) };
                self.current = or_absent(fs::read_dir(next))?;
                continue;
            };
            let Some(entry) = current.next() else {
                self.current = None;
                continue;
            };
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.pending.push(entry.path());
            } else if let Some(metadata) = or_absent(entry.metadata())? {
                self.bytes += metadata.len();
            }
            if Instant::now() >= until {
                return Ok(false);
            }
        }
    }
}

/// Files and directories come and go while they are counted.
fn or_absent<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
