//! Pointers of Git LFS: small blobs that stand for large files (git-lfs's docs/spec.md).
//!
//! Never here: where blobs come from.

use bstr::ByteSlice;

/// Larger blobs are no pointers, by Gitaly's rule.
pub(super) const BYTES_MAX: u64 = 200;
/// How every pointer begins, whatever its version.
const VERSION: &[u8] = b"version https://git-lfs.github.com/spec";

/// What a pointer says of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pointer<'a> {
    /// SHA-256 in hexadecimal.
    pub(super) file_id: &'a [u8],
    /// Bytes.
    pub(super) file_size: i64,
}

// === impl Pointer ===

impl<'a> Pointer<'a> {
    /// Reads a blob as Gitaly does, which asks for no order of lines.
    pub(super) fn parse(blob: &'a [u8]) -> Option<Self> {
        if !blob.starts_with(VERSION) {
            return None;
        }
        let value = |key: &[u8], is_value: fn(&[u8]) -> bool| {
            let mut lines = blob.split(|byte| *byte == b'\n');
            lines.find_map(|line| line.strip_prefix(key).filter(|value| is_value(value)))
        };
        let is_digest = |value: &[u8]| {
            let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            value.len() == 64 && value.iter().all(is_hex)
        };
        let file_id = value(b"oid sha256:", is_digest)?;
        let is_number = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let file_size = value(b"size ", is_number)?.to_str().ok()?.parse().ok()?;
        Some(Self { file_id, file_size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<i64>) {
        let found = Pointer::parse(text.as_bytes()).map(|pointer| pointer.file_size);
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn pointers_and_other_blobs() {
        let version = "version https://git-lfs.github.com/spec/v1\n";
        let oid = format!("oid sha256:{}\n", "0a".repeat(32));
        check(&format!("{version}{oid}size 12\n"), Some(12));
        check(&format!("{version}size 12\n{oid}"), Some(12));
        check(&format!("{version}ext-0-foo sha256:1\n{oid}size 0"), Some(0));
        check(&format!("{version}oid sha256:1\n{oid}size 1x\nsize 7\n"), Some(7));
        check(&format!(" {version}{oid}size 12\n"), None);
        check(&format!("{oid}size 12\n{version}"), None);
        check(&format!("{version}{}size 12\n", oid.to_uppercase()), None);
        check(&format!("{version}{oid}size \n"), None);
        check(&format!("{version}{oid}size -1\n"), None);
        check(&format!("{version}{oid}size 99999999999999999999\n"), None);
        check(&format!("{version}{oid}\r\nsize 12\r\n"), None);
        check(version, None);
        check("", None);
    }
}
