//! One operation on files: what it needs, owned, and the two ways to do it.
//!
//! Always true: the pointers of an entry lead into memory on the heap that the operation owns.
//! Never here: submitting; whoever does keeps the operation until the kernel has answered.

use super::buffer::Buffer;
use bytes::Bytes;
use io_uring::squeue::Entry;
use io_uring::{opcode, types};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags};
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// Longest read or write of one operation; the kernel cuts at 2 GiB as well.
const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// An operation with all it touches.
#[derive(Debug)]
pub(super) enum Operation {
    Open { path: CString, flags: OFlags, mode: Mode, opened: Option<OwnedFd> },
    Read { file: Arc<OwnedFd>, offset_bytes: u64, buffer: Buffer, range: Range<usize> },
    Write { file: Arc<OwnedFd>, offset_bytes: u64, data: Bytes },
    Sync { file: Arc<OwnedFd> },
    Rename { from: CString, to: CString },
    Unlink { path: CString },
    Stat { path: CString, memory: Box<MaybeUninit<Statx>>, stat: Option<Statx> },
}

/// What an operation is, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Read,
    Write,
    Sync,
    Rename,
    Unlink,
    Stat,
}

/// The kernel's numbers of all that a ring is asked for.
pub(super) const OPCODES: [u8; 8] = [
    opcode::OpenAt::CODE,
    opcode::Read::CODE,
    opcode::ReadFixed::CODE,
    opcode::Write::CODE,
    opcode::Fsync::CODE,
    opcode::RenameAt::CODE,
    opcode::UnlinkAt::CODE,
    opcode::Statx::CODE,
];

// === impl Operation ===

impl Operation {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Open { .. } => Kind::Open,
            Self::Read { .. } => Kind::Read,
            Self::Write { .. } => Kind::Write,
            Self::Sync { .. } => Kind::Sync,
            Self::Rename { .. } => Kind::Rename,
            Self::Unlink { .. } => Kind::Unlink,
            Self::Stat { .. } => Kind::Stat,
        }
    }

    /// The operation as the kernel's ring takes it. Until the kernel has answered, the operation is
    /// neither moved nor looked into: its memory is the kernel's.
    pub(super) fn entry(&mut self) -> Entry {
        let here = types::Fd(rustix::fs::CWD.as_raw_fd());
        match self {
            Self::Open { path, flags, mode, .. } => {
                let flags = flags.bits().cast_signed();
                opcode::OpenAt::new(here, path.as_ptr()).flags(flags).mode(mode.bits()).build()
            }
            Self::Read { file, offset_bytes, buffer, range } => {
                let (file, index) = (types::Fd(file.as_raw_fd()), buffer.index());
                let into = &mut buffer.bytes_mut()[range.clone()];
                let (start, length) = (into.as_mut_ptr(), transfer_bytes(into.len()));
                match index {
                    Some(index) => opcode::ReadFixed::new(file, start, length, index)
                        .offset(*offset_bytes)
                        .build(),
                    None => opcode::Read::new(file, start, length).offset(*offset_bytes).build(),
                }
            }
            Self::Write { file, offset_bytes, data } => {
                let file = types::Fd(file.as_raw_fd());
                opcode::Write::new(file, data.as_ptr(), transfer_bytes(data.len()))
                    .offset(*offset_bytes)
                    .build()
            }
            Self::Sync { file } => opcode::Fsync::new(types::Fd(file.as_raw_fd())).build(),
            Self::Rename { from, to } => {
                opcode::RenameAt::new(here, from.as_ptr(), here, to.as_ptr()).build()
            }
            Self::Unlink { path } => opcode::UnlinkAt::new(here, path.as_ptr()).build(),
            Self::Stat { path, memory, .. } => {
                let into = memory.as_mut_ptr().cast();
                let mask = StatxFlags::BASIC_STATS.bits();
                opcode::Statx::new(here, path.as_ptr(), into).mask(mask).build()
            }
        }
    }

    /// Does it here and now, waiting as long as it takes; for reads and writes the bytes that went.
    pub(super) fn run(&mut self) -> io::Result<u32> {
        match self {
            Self::Open { path, flags, mode, opened } => {
                *opened = Some(rustix::fs::openat(CWD, &**path, *flags, *mode)?);
            }
            Self::Read { file, offset_bytes, buffer, range } => {
                let into = &mut buffer.bytes_mut()[range.clone()];
                let read = rustix::io::pread(&*file, into, *offset_bytes)?;
                return Ok(transfer_bytes(read));
            }
            Self::Write { file, offset_bytes, data } => {
                let part = &data[..data.len().min(TRANSFER_BYTES_MAX)];
                let written = rustix::io::pwrite(&*file, part, *offset_bytes)?;
                return Ok(transfer_bytes(written));
            }
            Self::Sync { file } => rustix::fs::fsync(&*file)?,
            Self::Rename { from, to } => rustix::fs::renameat(CWD, &**from, CWD, &**to)?,
            Self::Unlink { path } => rustix::fs::unlinkat(CWD, &**path, AtFlags::empty())?,
            Self::Stat { path, stat, .. } => {
                let mask = StatxFlags::BASIC_STATS;
                *stat = Some(rustix::fs::statx(CWD, &**path, AtFlags::empty(), mask)?);
            }
        }
        Ok(0)
    }
}

/// A length that is at most [`TRANSFER_BYTES_MAX`].
fn transfer_bytes(length_bytes: usize) -> u32 {
    u32::try_from(length_bytes.min(TRANSFER_BYTES_MAX)).unwrap_or(u32::MAX)
}

// === impl Kind ===

impl Kind {
    /// Each of them, in the order of their numbers.
    pub(super) const ALL: [Self; 7] =
        [Self::Open, Self::Read, Self::Write, Self::Sync, Self::Rename, Self::Unlink, Self::Stat];

    /// As metrics name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Open => "openat",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "fsync",
            Self::Rename => "renameat",
            Self::Unlink => "unlinkat",
            Self::Stat => "statx",
        }
    }
}
