//! Zlib streams of known size. One decompressor per thread, because making one costs more than
//! inflating a commit.
//!
//! Always true: no more memory is taken than the announced size, and no announced size that the
//! input could not possibly make.
//! Never here: files and formats around the stream.

use flate2::{Decompress, FlushDecompress, Status};
use std::cell::RefCell;

/// The most bytes that deflate makes of one (zlib's technical notes: 1032 to 1).
const RATIO_MAX: u64 = 1032;

/// Why a stream is not what was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InflateError {
    #[error("invalid zlib data")]
    Invalid,
    #[error("zlib data ends too early")]
    CutShort,
    #[error("inflated size differs from the announced one")]
    OtherSize,
}

thread_local! {
    static STREAM: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// Inflates the stream at the start of `input`, which must make exactly `size_bytes`. Also tells
/// how many bytes of `input` it took.
pub(super) fn exact(input: &[u8], size_bytes: u64) -> Result<(Vec<u8>, usize), InflateError> {
    if size_bytes > (input.len() as u64).saturating_mul(RATIO_MAX) {
        return Err(InflateError::CutShort);
    }
    let len = usize::try_from(size_bytes).map_err(|_| InflateError::OtherSize)?;
    let mut output = vec![0; len];
    STREAM.with_borrow_mut(|stream| {
        stream.reset(true);
        let mut status = step(stream, input, &mut output)?;
        if status != Status::StreamEnd && stream.total_out() == size_bytes {
            // Full, but the end not yet seen: a spare byte tells an end from an excess.
            let taken = taken(stream);
            status = step(stream, &input[taken..], &mut [0])?;
        }
        match status {
            Status::StreamEnd if stream.total_out() == size_bytes => Ok((output, taken(stream))),
            _ if stream.total_out() > size_bytes => Err(InflateError::OtherSize),
            Status::StreamEnd => Err(InflateError::OtherSize),
            Status::Ok | Status::BufError => Err(InflateError::CutShort),
        }
    })
}

/// Inflates the first bytes of a stream, as many as `output` holds or as there are.
pub(super) fn prefix(input: &[u8], output: &mut [u8]) -> Result<usize, InflateError> {
    STREAM.with_borrow_mut(|stream| {
        stream.reset(true);
        stream
            .decompress(input, output, FlushDecompress::None)
            .map_err(|_| InflateError::Invalid)?;
        // No more than `output` holds.
        Ok(usize::try_from(stream.total_out()).unwrap_or(output.len()))
    })
}

fn step(stream: &mut Decompress, input: &[u8], output: &mut [u8]) -> Result<Status, InflateError> {
    stream.decompress(input, output, FlushDecompress::Finish).map_err(|_| InflateError::Invalid)
}

fn taken(stream: &Decompress) -> usize {
    // No more than the slice that was given.
    usize::try_from(stream.total_in()).unwrap_or(usize::MAX)
}
