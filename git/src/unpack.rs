//! The child that takes a pushed pack: `git unpack-objects` or `git index-pack`, its arguments, and
//! what its end means.
//!
//! git's own fsck and its check for colliding hashes judge what strangers send: both run in the
//! child.
//!
//! Always true: the child is told what `git receive-pack` would tell it (`unpack` of git's
//! builtin/receive-pack.c), but for two settings. It syncs nothing, since whoever keeps the pack
//! syncs all of it at once; and the `.keep` file says that it is ours.
//! Never here: starting the child; where it writes to (`quarantine`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::receive_pack::{PushRequest, Settings};

/// Bytes of a pack's header (gitformat-pack).
pub const HEADER_BYTES: usize = 12;

/// What `index-pack` writes into the `.keep` file of a pack that is pushed to us.
pub const KEEP_MESSAGE: &str = "gitring push";

/// The header of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// How many objects follow.
    pub objects: u32,
}

/// What is sent is no pack; git's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The client stopped early.
    #[error("eof before pack header was fully read")]
    Short,
    /// Another signature than `PACK`.
    #[error("protocol error (pack signature mismatch detected)")]
    Signature,
    /// Neither version 2 nor 3.
    #[error("protocol error (pack version unsupported)")]
    Version,
}

/// Which git command takes the pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Child {
    /// Few objects: each becomes a file.
    UnpackObjects,
    /// The pack is kept as one.
    IndexPack,
}

// === impl Header ===

impl Header {
    /// Reads the first [`HEADER_BYTES`] of a stream; fewer if the stream has no more.
    ///
    /// # Errors
    /// What git would say of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(HeaderError::Short);
        };
        let number = |at: usize| {
            header[at..at + 4].iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte))
        };
        if !header.starts_with(b"PACK") {
            return Err(HeaderError::Signature);
        }
        match number(4) {
            version @ (2 | 3) => Ok(Self { version, objects: number(8) }),
            _ => Err(HeaderError::Version),
        }
    }
}

// === impl Child ===

impl Child {
    /// Who takes a pack with this header.
    pub fn of(header: &Header, settings: &Settings) -> Self {
        match header.objects < settings.unpack_limit {
            true => Self::UnpackObjects,
            false => Self::IndexPack,
        }
    }

    /// What git says behind `unpack` if the child cannot be started.
    pub fn not_started(self) -> &'static str {
        match self {
            Self::UnpackObjects => "unpack-objects abnormal exit",
            Self::IndexPack => "index-pack fork failed",
        }
    }
}

/// Arguments behind `git`. The child stands in the git directory, reads what follows the header, and
/// writes to the quarantine by its environment. `shallow_file` is that of a shallow client.
pub fn arguments(
    child: Child,
    header: &Header,
    request: &PushRequest,
    settings: &Settings,
    shallow_file: Option<&Path>,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["-c", "core.fsync=none"].map(OsString::from).into();
    if let Some(path) = shallow_file {
        arguments.push("--shallow-file".into());
        arguments.push(path.into());
    }
    let header = format!("--pack_header={},{}", header.version, header.objects).into();
    let strict = settings.fsck.as_ref().map(|messages| {
        let mut argument = b"--strict".to_vec();
        argument.extend_from_slice(messages);
        OsString::from_vec(argument)
    });
    match child {
        Child::UnpackObjects => {
            arguments.extend(["unpack-objects".into(), header]);
            arguments.extend(request.quiet.then(|| "-q".into()));
            arguments.extend(strict);
        }
        Child::IndexPack => {
            let keep = format!("--keep={KEEP_MESSAGE}").into();
            arguments.extend(["index-pack".into(), "--stdin".into(), header, keep]);
            if request.sideband.is_some() {
                arguments.extend((!request.quiet).then(|| "--show-resolving-progress".into()));
                arguments.push("--report-end-of-input".into());
            }
            arguments.extend(strict);
            arguments.push("--fix-thin".into());
        }
    }
    let input_bytes_max = settings.input_bytes_max;
    arguments.extend(input_bytes_max.map(|bytes| format!("--max-input-size={bytes}").into()));
    arguments
}

/// What git says behind `unpack` once the child has ended; `stdout` is all that it wrote there.
///
/// # Errors
/// The pack was refused; why, the child told on its standard error.
pub fn finish(child: Child, success: bool, stdout: &[u8]) -> Result<(), &'static str> {
    match child {
        _ if !success => {}
        Child::UnpackObjects => return Ok(()),
        // `pack\t<hash>\n`, or `keep\t<hash>\n` where it made a file that keeps the pack.
        Child::IndexPack if stdout.starts_with(b"pack\t") || stdout.starts_with(b"keep\t") => {
            return Ok(());
        }
        Child::IndexPack => {}
    }
    Err(match child {
        Child::UnpackObjects => "unpack-objects abnormal exit",
        Child::IndexPack => "index-pack abnormal exit",
    })
}

#[cfg(test)]
mod tests;
