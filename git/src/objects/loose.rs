//! Loose objects: one zlib file each, `<2 hex>/<38 hex>` (gitrepository-layout).
//!
//! Always true: files are read, never mapped, and never beyond what an object may take.
//! Never here: packs.

use super::inflate;
use super::prefix::{Candidates, Prefix};
use super::{Header, OBJECT_BYTES_MAX, Object, StoreError};
use crate::ObjectId;
use gix_object::Kind;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Enough of a file to inflate its header from: a dynamic block's own tables take under 400.
const START_BYTES: u64 = 4096;
/// Longer than any header: kind, space, 20 digits, NUL.
const HEADER_BYTES: usize = 32;
/// Deflate adds under 1/1000 and a few bytes to what it cannot compress.
const FILE_BYTES_MAX: u64 = OBJECT_BYTES_MAX + OBJECT_BYTES_MAX / 512 + 1024;

/// Where `id` would lie below `objects`.
pub(super) fn path(objects: &Path, id: &ObjectId) -> PathBuf {
    let hex = id.to_hex().to_string();
    let (fan, rest) = hex.split_at(2);
    let mut path = PathBuf::with_capacity(objects.as_os_str().len() + hex.len() + 2);
    path.push(objects);
    path.push(fan);
    path.push(rest);
    path
}

/// Whether there is a file.
pub(super) fn contains(path: &Path) -> Result<bool, StoreError> {
    absent_is_none(path, std::fs::metadata(path)).map(|found| found.is_some_and(|m| m.is_file()))
}

/// Kind and size, from the first bytes of the file. `None`: there is no file.
pub(super) fn header(path: &Path) -> Result<Option<Header>, StoreError> {
    let Some(start) = content(path, START_BYTES)? else { return Ok(None) };
    parse_header(path, &start).map(|(header, _)| Some(header))
}

/// The whole object. `None`: there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Object>, StoreError> {
    let Some(file) = content(path, FILE_BYTES_MAX + 1)? else { return Ok(None) };
    let (Header { kind, size_bytes }, header_len) = parse_header(path, &file)?;
    if size_bytes > OBJECT_BYTES_MAX || file.len() as u64 > FILE_BYTES_MAX {
        let reason = format!("{size_bytes} bytes are more than {OBJECT_BYTES_MAX}");
        return Err(StoreError::Limit { path: path.to_owned(), reason });
    }
    let (mut data, taken) = inflate::exact(&file, size_bytes + header_len as u64)
        .map_err(|error| corrupt(path, error.to_string()))?;
    if taken != file.len() {
        return Err(corrupt(path, "data behind the end of the object".to_owned()));
    }
    data.drain(..header_len);
    Ok(Some(Object { kind, data }))
}

/// Adds the ids of the files below `objects` that begin with `prefix`.
pub(super) fn with_prefix(
    objects: &Path,
    prefix: &Prefix,
    found: &mut Candidates,
) -> Result<(), StoreError> {
    let fan = prefix.first().as_slice()[0];
    let dir = objects.join(format!("{fan:02x}"));
    let Some(entries) = absent_is_none(&dir, std::fs::read_dir(&dir))? else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(|source| StoreError::Io { path: dir.clone(), source })?;
        let hex = [format!("{fan:02x}").as_bytes(), entry.file_name().as_bytes()].concat();
        let id = ObjectId::from_hex(&hex).ok().filter(|id| prefix.matches(id));
        if id.is_some_and(|id| !found.add(id)) {
            break;
        }
    }
    Ok(())
}

fn content(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(file) = absent_is_none(path, File::open(path))? else { return Ok(None) };
    let mut bytes = Vec::new();
    match file.take(bytes_max).read_to_end(&mut bytes) {
        Ok(_) => Ok(Some(bytes)),
        Err(source) => Err(StoreError::Io { path: path.to_owned(), source }),
    }
}

fn absent_is_none<T>(path: &Path, result: std::io::Result<T>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(StoreError::Io { path: path.to_owned(), source }),
    }
}

/// The header and its length with the NUL.
fn parse_header(path: &Path, file: &[u8]) -> Result<(Header, usize), StoreError> {
    let mut start = [0; HEADER_BYTES];
    let len = inflate::prefix(file, &mut start).map_err(|e| corrupt(path, e.to_string()))?;
    let parsed = || {
        let end = start[..len].iter().position(|byte| *byte == 0)?;
        let (kind, size) = std::str::from_utf8(&start[..end]).ok()?.split_once(' ')?;
        let plain = size.bytes().all(|byte| byte.is_ascii_digit());
        let kind = Kind::from_bytes(kind.as_bytes()).ok()?;
        let size_bytes = size.parse().ok().filter(|_| plain)?;
        Some((Header { kind, size_bytes }, end + 1))
    };
    parsed().ok_or_else(|| corrupt(path, "no header of a loose object".to_owned()))
}

fn corrupt(path: &Path, reason: String) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), reason }
}
