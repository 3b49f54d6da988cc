//! Archives of custom hooks: tar files whose entries lie in `custom_hooks`.
//!
//! Always true:
//! - what is unpacked lies in the directory it is unpacked to, and is a file or a directory;
//!   entries beside `custom_hooks` are passed over, as GNU tar is told to in Gitaly;
//! - what was unpacked is on stable storage, but for the name of its directory;
//! - work is done in slices, each of one entry at least.
//!
//! Never here: repositories, locks.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::Instant;
use tar::{Archive, Entry, EntryType};

/// The directory in a repository and in archives.
pub(super) const DIRECTORY: &str = "custom_hooks";
/// tar's unit.
const BLOCK_BYTES: u64 = 512;

/// How much custom hooks may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// The archive.
    pub bytes_max: u64,
    /// Files and directories in it.
    pub entries_max: usize,
}

/// Why an archive was not unpacked or made.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is too long.
    #[error("the archive is longer than {0} bytes")]
    TooLong(u64),
    /// It holds too much.
    #[error("the archive holds more than {0} entries")]
    TooMany(usize),
    /// It is no archive.
    #[error("read the archive")]
    Malformed(#[source] io::Error),
    /// An entry leads elsewhere.
    #[error("the path of entry {0:?} leads elsewhere")]
    Path(String),
    /// An entry is no file and no directory.
    #[error("entry {path:?} is neither file nor directory")]
    Kind {
        /// Which.
        path: String,
    },
    /// The file system failed.
    #[error("{step}")]
    Io {
        /// What was done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// An archive that is being unpacked.
pub(super) struct Unpacking {
    archive: File,
    /// Where `custom_hooks` is created, which is there already.
    into: PathBuf,
    limits: ArchiveLimits,
    /// Permissions that are taken from every entry, and from directories that are none.
    umask: (u32, u32),
    entries: usize,
    /// What directories get in the end: until then they must be writable.
    directories: Vec<(PathBuf, u32)>,
}

/// An archive that is being made.
pub(super) struct Packing {
    builder: tar::Builder<File>,
    /// What is to come, the next one last; relative to `from`.
    rest: Vec<PathBuf>,
    from: PathBuf,
    limits: ArchiveLimits,
}

// === impl ArchiveLimits ===

impl Default for ArchiveLimits {
    /// Hooks may be programs, but not many.
    fn default() -> Self {
        Self { bytes_max: 128 << 20, entries_max: 10_000 }
    }
}

// === impl Unpacking ===

impl Unpacking {
    /// Begins to unpack `archive` into the directory `into`, which is empty.
    pub(super) fn begin(
        mut archive: File,
        into: &Path,
        limits: ArchiveLimits,
    ) -> Result<Self, ArchiveError> {
        let first = into.join(DIRECTORY);
        let failed = ArchiveError::at("making temp hooks directory");
        create_dir(&first, 0o777).map_err(&failed)?;
        let umask = umask(&first).map_err(&failed)?;
        archive.seek(SeekFrom::Start(0)).map_err(&failed)?;
        // The mode that Gitaly gives a directory which the archive does not have.
        let directories = vec![(first, 0o755 & !umask)];
        // GNU tar keeps the modes of entries as they are where root unpacks.
        let umask = (if rustix::process::geteuid().is_root() { 0 } else { umask }, umask);
        Ok(Self { archive, into: into.to_owned(), limits, umask, entries: 0, directories })
    }

    /// Goes on until `until`; whether all is done.
    pub(super) fn slice(&mut self, until: Instant) -> Result<bool, ArchiveError> {
        let file = self.archive.try_clone().map_err(ArchiveError::Malformed)?;
        let mut archive = Archive::new(&file);
        for entry in archive.entries().map_err(ArchiveError::Malformed)? {
            let mut entry = entry.map_err(ArchiveError::Malformed)?;
            self.entries += 1;
            if self.entries > self.limits.entries_max {
                return Err(ArchiveError::TooMany(self.limits.entries_max));
            }
            self.entry(&mut entry)?;
            io::copy(&mut entry, &mut io::sink()).map_err(ArchiveError::Malformed)?;
            if Instant::now() >= until {
                let at = self.next_entry().map_err(ArchiveError::Malformed)?;
                self.archive.seek(SeekFrom::Start(at)).map_err(ArchiveError::Malformed)?;
                return Ok(false);
            }
        }
        self.finish().map_err(ArchiveError::at("syncing extracted custom hooks"))?;
        Ok(true)
    }

    /// Where the entry after the one that was just read begins; the file's position is shared.
    fn next_entry(&mut self) -> io::Result<u64> {
        let at = self.archive.stream_position()?.next_multiple_of(BLOCK_BYTES);
        // A last block that is not whole is an archive that broke off, however it is sliced.
        if at > self.archive.metadata()?.len() {
            Err(ErrorKind::UnexpectedEof.into())
        } else {
            Ok(at)
        }
    }

    fn entry(&mut self, entry: &mut Entry<'_, &File>) -> Result<(), ArchiveError> {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = entry.path().map_err(ArchiveError::Malformed)?.into_owned();
        let mut parts = path.components();
        if parts.next() != Some(Component::Normal(DIRECTORY.as_ref())) {
            return Ok(());
        }
        if !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(ArchiveError::Path(name));
        }
        let mode = entry.header().mode().map_err(ArchiveError::Malformed)? & 0o777 & !self.umask.0;
        let target = self.into.join(&path);
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory {
            self.parents(&target)?;
            self.directories.retain(|(known, _)| *known != target);
            self.directories.push((target.clone(), mode));
            return create_dir(&target, 0o700).map_err(ArchiveError::at("create a directory"));
        }
        if kind != EntryType::Regular && kind != EntryType::Continuous {
            return Err(ArchiveError::Kind { path: name });
        }
        self.parents(&target)?;
        let size = entry.size();
        write(&target, mode, entry, size)
    }

    /// Creates directories above `target` that the archive does not name before it.
    fn parents(&mut self, target: &Path) -> Result<(), ArchiveError> {
        let above = target.ancestors().skip(1).take_while(|above| *above != self.into);
        let above: Vec<PathBuf> = above.map(Path::to_owned).collect();
        for directory in above.into_iter().rev() {
            if self.directories.iter().any(|(known, _)| *known == directory) {
                continue;
            }
            create_dir(&directory, 0o700).map_err(ArchiveError::at("create a directory"))?;
            self.directories.push((directory, 0o777 & !self.umask.1));
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "runs on a worker")]
    fn finish(&mut self) -> io::Result<()> {
        // Inner ones first: once an outer one has its mode, they may be out of reach.
        self.directories.sort_by(|(a, _), (b, _)| b.cmp(a));
        for (directory, mode) in &self.directories {
            let opened = File::open(directory)?;
            opened.set_permissions(Permissions::from_mode(*mode))?;
            opened.sync_all()?;
        }
        Ok(())
    }
}

/// What a new directory lacks of the permissions it was created with.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn umask(directory: &Path) -> io::Result<u32> {
    Ok(!fs::symlink_metadata(directory)?.mode() & 0o777)
}

/// Creates a directory unless it is there.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        // Nothing but directories and files are created here: no link can stand in its place.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        outcome => outcome,
    }
}

/// The last of several entries of one path counts, as for GNU tar.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn write(
    path: &Path,
    mode: u32,
    entry: &mut Entry<'_, &File>,
    size: u64,
) -> Result<(), ArchiveError> {
    let failed = ArchiveError::at("write a file");
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(&failed)?;
    if io::copy(entry, &mut file).map_err(&failed)? != size {
        return Err(ArchiveError::Malformed(ErrorKind::UnexpectedEof.into()));
    }
    file.set_permissions(Permissions::from_mode(mode)).map_err(&failed)?;
    file.sync_all().map_err(&failed)
}

// === impl Packing ===

impl Packing {
    /// Begins to pack `custom_hooks` of the repository `from` into `archive`; `None` if it has
    /// none.
    #[expect(clippy::disallowed_methods, reason = "runs on a worker")]
    pub(super) fn begin(
        archive: File,
        from: &Path,
        limits: ArchiveLimits,
    ) -> Result<Option<Self>, ArchiveError> {
        let failed = ArchiveError::at("archiving hooks");
        match fs::symlink_metadata(from.join(DIRECTORY)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => found.map_err(&failed)?,
        };
        let mut rest = Vec::new();
        list(from, PathBuf::from(DIRECTORY), limits, &mut rest)?;
        rest.reverse();
        let mut builder = tar::Builder::new(archive);
        builder.follow_symlinks(false);
        builder.sparse(false);
        Ok(Some(Self { builder, rest, from: from.to_owned(), limits }))
    }

    /// Goes on until `until`; whether all is done.
    pub(super) fn slice(&mut self, until: Instant) -> Result<bool, ArchiveError> {
        let failed = ArchiveError::at("archiving hooks");
        while let Some(path) = self.rest.pop() {
            self.builder.append_path_with_name(self.from.join(&path), &path).map_err(&failed)?;
            if self.builder.get_mut().stream_position().map_err(&failed)? > self.limits.bytes_max {
                return Err(ArchiveError::TooLong(self.limits.bytes_max));
            }
            if Instant::now() >= until {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The archive, at its beginning.
    pub(super) fn finish(self) -> Result<File, ArchiveError> {
        let failed = ArchiveError::at("archiving hooks");
        let mut file = self.builder.into_inner().map_err(&failed)?;
        file.seek(SeekFrom::Start(0)).map_err(&failed)?;
        Ok(file)
    }
}

/// Everything below `from/path`, itself first, by name.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn list(
    from: &Path,
    path: PathBuf,
    limits: ArchiveLimits,
    found: &mut Vec<PathBuf>,
) -> Result<(), ArchiveError> {
    let failed = ArchiveError::at("archiving hooks");
    let full = from.join(&path);
    let is_dir = fs::symlink_metadata(&full).map_err(&failed)?.is_dir();
    found.push(path.clone());
    if found.len() > limits.entries_max {
        return Err(ArchiveError::TooMany(limits.entries_max));
    }
    if is_dir {
        let entries = fs::read_dir(&full).map_err(&failed)?;
        let names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
        let mut names = names.map_err(&failed)?;
        names.sort();
        for name in names {
            list(from, path.join(name), limits, found)?;
        }
    }
    Ok(())
}

// === impl ArchiveError ===

impl ArchiveError {
    fn at(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}

#[cfg(test)]
mod mutated;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Goal: whether an archive is whole does not depend on where slices end.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test works on files")]
    fn slices_change_nothing() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        for name in ["custom_hooks/a", "custom_hooks/b"] {
            header.set_size(2);
            header.set_mode(0o755);
            builder.append_data(&mut header, name, &b"x\n"[..]).unwrap();
        }
        let whole = builder.into_inner().unwrap();
        // Two entries of two blocks, then two blocks of zeros, which need not be there.
        for (length, works) in
            [(whole.len(), true), (2048, true), (2047, false), (1538, false), (1537, false)]
        {
            for slice in [0, 3600] {
                let into = tempfile::tempdir().unwrap();
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&whole[..length]).unwrap();
                let limits = ArchiveLimits::default();
                let mut unpacking = Unpacking::begin(file, into.path(), limits).unwrap();
                let outcome = loop {
                    let until = Instant::now() + std::time::Duration::from_secs(slice);
                    match unpacking.slice(until) {
                        Ok(false) => {}
                        outcome => break outcome,
                    }
                };
                assert_eq!(
                    outcome.is_ok(),
                    works,
                    "{length} bytes, slices of {slice} s: {outcome:?}"
                );
                let hooks = fs::read_dir(into.path().join(DIRECTORY)).unwrap().count();
                assert!(!works || hooks == 2, "{length} bytes: {hooks}");
            }
        }
    }
}
