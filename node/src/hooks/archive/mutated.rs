//! Archives that are none, or lead elsewhere: nothing is written beside the directory for it.

use super::*;

fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: EntryType, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content).unwrap();
    };
    add("custom_hooks", EntryType::Directory, b"");
    add("custom_hooks/pre-receive.d", EntryType::Directory, b"");
    add("custom_hooks/pre-receive.d/one", EntryType::Regular, b"#!/bin/sh\n");
    add("other/x", EntryType::Regular, b"x");
    builder.into_inner().unwrap()
}

/// What is written over the header of an entry; its sum is put right.
fn with_path(mut archive: Vec<u8>, entry: usize, path: &[u8]) -> Vec<u8> {
    let at = entry * 512;
    archive[at..at + path.len()].copy_from_slice(path);
    right_sums(&mut archive);
    archive
}

/// Sums of whatever headers there are, so that what follows is looked at.
fn right_sums(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test works on files")]
fn nothing_is_unpacked_elsewhere() {
    let plain = archive();
    let examples = [
        with_path(plain.clone(), 2, b"custom_hooks/../../elsewhere\0"),
        with_path(plain.clone(), 2, b"/custom_hooks/../elsewhere\0"),
        plain,
    ];
    let root = tempfile::tempdir().unwrap();
    let into = root.path().join("into");
    let limits = ArchiveLimits { bytes_max: 1 << 20, entries_max: 10 };
    crate::mutations::each(&examples, |input| {
        let mut input = input.to_vec();
        right_sums(&mut input);
        fs::create_dir(&into).unwrap();
        fs::write(root.path().join("archive"), &input).unwrap();
        let file = File::open(root.path().join("archive")).unwrap();
        let mut unpacking = Unpacking::begin(file, &into, limits).unwrap();
        let soon = Instant::now() + std::time::Duration::from_secs(5);
        drop(unpacking.slice(soon));
        let names = |path: &Path| {
            let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = entries.collect();
            names.sort();
            names
        };
        assert_eq!(names(root.path()), ["archive", "into"]);
        assert_eq!(names(&into), ["custom_hooks"]);
        fs::remove_dir_all(&into).unwrap();
    });
}
