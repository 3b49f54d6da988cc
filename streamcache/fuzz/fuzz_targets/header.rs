//! Files of cached streams that somebody else wrote: each is listed as what its header says, or left
//! out.
//!
//! Input: one byte; even: the rest is the file, odd: the rest goes into a header whose key, digest
//! and length of the note may be right, so that what lies behind these checks is reached.

#![no_main]

use std::fs;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const HEADER_BYTES: usize = 4096;
const KEY: [u8; 32] = [7; 32];

static DIR: LazyLock<TempDir> = LazyLock::new(|| {
    let mut named = tempfile::Builder::new();
    named.prefix("gitring-fuzz-");
    let shared = std::path::Path::new("/dev/shm");
    let made = if shared.is_dir() { named.tempdir_in(shared) } else { named.tempdir() };
    made.expect("a temporary directory can be made")
});

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = data.split_first() else { return };
    let file = if form & 1 == 0 { data.to_vec() } else { header(data) };
    let hex = KEY.map(|byte| format!("{byte:02x}")).concat();
    let folder = DIR.path().join("0000000000000001").join(&hex[..2]);
    fs::create_dir_all(&folder).expect("a directory can be made");
    fs::write(folder.join(format!("{hex}.stream")), &file).expect("a file can be written");
    let listed = gitring_streamcache::list(DIR.path()).expect("a directory that can be read");
    for stored in listed {
        let stored = stored.expect("a file that can be read");
        assert_eq!(stored.key.as_bytes(), &KEY);
        assert_eq!(stored.length_bytes.to_le_bytes(), file[48..56]);
        let note = stored.note.as_bytes();
        assert_eq!(note, &file[512..512 + note.len()]);
    }
});

fn header(data: &[u8]) -> Vec<u8> {
    let mut header = data.to_vec();
    header.resize(HEADER_BYTES, 0);
    header[..8].copy_from_slice(b"\x89STREAM\n");
    header[8..12].copy_from_slice(&1u32.to_le_bytes());
    header[16..48].copy_from_slice(&KEY);
    header[96..128].fill(0);
    let digest = blake3::hash(&header);
    header[96..128].copy_from_slice(digest.as_bytes());
    header
}
