//! The hash that nodes vote on when custom hooks are set: over every entry, its path, its mode as
//! Go has it, its content.
//!
//! Never here: voting.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Read at once of a file.
const PIECE_BYTES: usize = 64 * 1024;
/// Bits of a mode (Go, io/fs.FileMode): type and special bits lie above the permissions.
const GO_DIRECTORY: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_SETUID: u32 = 1 << 23;
const GO_SETGID: u32 = 1 << 22;
const GO_STICKY: u32 = 1 << 20;

/// What is voted on for the custom hooks in `directory`. Blocks as long as its files take to read.
pub fn vote_of(directory: &Path) -> io::Result<[u8; 20]> {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    add(&mut hash, directory, Path::new("."))?;
    let mut vote = [0; 20];
    vote.copy_from_slice(hash.finish().as_ref());
    Ok(vote)
}

/// Entries in the order of Go's walk: a directory, then what it holds, by name.
#[expect(clippy::disallowed_methods, reason = "runs on a worker")]
fn add(hash: &mut Context, path: &Path, name: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    hash.update(name.as_os_str().as_bytes());
    hash.update(&go_mode(&metadata).to_be_bytes());
    if !metadata.is_dir() {
        return add_content(hash, File::open(path)?);
    }
    let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<io::Result<Vec<OsString>>>()?;
    names.sort();
    for inner in names {
        let relative =
            if name == Path::new(".") { inner.clone().into() } else { name.join(&inner) };
        add(hash, &path.join(&inner), &relative)?;
    }
    Ok(())
}

fn add_content(hash: &mut Context, mut file: File) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            read => hash.update(&piece[..read]),
        }
    }
}

fn go_mode(metadata: &Metadata) -> u32 {
    let mode = metadata.mode();
    let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
    (mode & 0o777)
        | bit(metadata.is_dir(), GO_DIRECTORY)
        | bit(metadata.is_symlink(), GO_SYMLINK)
        | bit(mode & 0o4000 != 0, GO_SETUID)
        | bit(mode & 0o2000 != 0, GO_SETGID)
        | bit(mode & 0o1000 != 0, GO_STICKY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// The row that was recorded from Gitaly 16.7, and one that was computed by hand.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test prepares files")]
    fn votes_equal_those_of_gitaly() {
        fn check(files: &[(&str, u32, &str)], expected: &str) {
            let root = tempfile::tempdir().unwrap();
            let mode = |path: &Path, mode| {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            };
            mode(root.path(), 0o755);
            for (name, bits, content) in files {
                let path = root.path().join(name);
                if name.ends_with('/') {
                    fs::create_dir(&path).unwrap();
                } else {
                    fs::write(&path, content).unwrap();
                }
                mode(&path, *bits);
            }
            let vote = vote_of(root.path()).unwrap();
            let vote: String = vote.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(vote.starts_with(expected), "{files:?}: {vote}");
        }
        check(&[("pre-receive", 0o755, "#!/bin/sh\nexit 0\n")], "a5aeb884");
        // printf '.\x80\0\x01\xeda\x80\0\x01\xeda/b\0\0\x01\xa4ya.d\0\x10\x01\xc0z' | sha1sum
        let nested = [("a.d", 0o1700, "z"), ("a/", 0o755, ""), ("a/b", 0o644, "y")];
        check(&nested, "e70dc4676f93421b6f7fef33de1ca6cd92a99c9f");
    }
}
