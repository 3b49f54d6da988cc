//! Inflating a request's body (RFC 1952) slice by slice.
//!
//! Always true: at most [`SLICE_BYTES`] are inflated at a time and `inflated_bytes_max` in all,
//! however well the body was compressed.

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use std::io;

/// Inflated at a time: about 0.1 ms of the reactor.
const SLICE_BYTES: usize = 32 * 1024;
/// The largest window that deflate knows, 32 KiB.
const WINDOW_BITS: u8 = 15;

#[derive(Debug)]
pub(super) struct Gzip {
    inflate: Decompress,
    deflated: Bytes,
    inflated_bytes_max: u64,
    finished: bool,
}

// === impl Gzip ===

impl Gzip {
    pub(super) fn new(inflated_bytes_max: u64) -> Self {
        Self {
            inflate: Decompress::new_gzip(WINDOW_BITS),
            deflated: Bytes::new(),
            inflated_bytes_max,
            finished: false,
        }
    }

    /// Takes more of the body; what was taken before must have been inflated.
    pub(super) fn put(&mut self, deflated: Bytes) {
        debug_assert!(self.deflated.is_empty(), "the caller drains before it puts");
        self.deflated = deflated;
    }

    /// The next slice; `None` if more of the body is needed for it.
    pub(super) fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.finished {
            return if self.deflated.is_empty() { Ok(None) } else { Err(bad("has a tail")) };
        }
        let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
        let mut slice = vec![0; SLICE_BYTES];
        let status = self
            .inflate
            .decompress(&self.deflated, &mut slice, FlushDecompress::None)
            .map_err(|_| bad("is damaged"))?;
        let consumed = usize::try_from(self.inflate.total_in() - before_in);
        let produced = usize::try_from(self.inflate.total_out() - before_out);
        self.deflated.advance(consumed.expect("no more than the slice given"));
        self.finished = status == Status::StreamEnd;
        if self.inflate.total_out() > self.inflated_bytes_max {
            let text = format!("the inflated body exceeds {} bytes", self.inflated_bytes_max);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        slice.truncate(produced.expect("no more than the slice given"));
        if slice.is_empty() && self.finished && !self.deflated.is_empty() {
            return Err(bad("has a tail"));
        }
        Ok((!slice.is_empty()).then(|| Bytes::from(slice)))
    }

    /// The body has ended: it must have been a whole one.
    pub(super) fn end(&self) -> io::Result<()> {
        if self.finished { Ok(()) } else { Err(bad("is cut off")) }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the gzip body {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    /// Feeds `body` in pieces of `piece_bytes` and returns what comes out, or the error.
    fn inflate(body: &[u8], piece_bytes: usize, bytes_max: u64) -> Result<Vec<u8>, String> {
        let mut gzip = Gzip::new(bytes_max);
        let mut inflated = Vec::new();
        for piece in body.chunks(piece_bytes) {
            gzip.put(Bytes::copy_from_slice(piece));
            while let Some(slice) = gzip.next().map_err(|error| error.to_string())? {
                inflated.extend_from_slice(&slice);
            }
        }
        gzip.end().map_err(|error| error.to_string())?;
        Ok(inflated)
    }

    #[test]
    fn bodies_come_out_as_they_went_in_whatever_the_pieces() {
        let text: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(n) >> 11) as u8).collect();
        for piece_bytes in [1, 7, 1000, 1 << 20] {
            assert!(inflate(&deflate(&text), piece_bytes, 1 << 20).unwrap() == text);
            assert_eq!(inflate(&deflate(b""), piece_bytes, 0), Ok(Vec::new()));
        }
    }

    #[test]
    fn bombs_tails_cuts_and_damage_are_refused() {
        fn check(body: &[u8], expected: &str) {
            for piece_bytes in [1, 1 << 20] {
                assert_eq!(inflate(body, piece_bytes, 1 << 20), Err(expected.to_owned()));
            }
        }
        let good = deflate(b"0000");
        check(&deflate(&vec![0; 64 << 20]), "the inflated body exceeds 1048576 bytes");
        check(&[&good[..], b"x"].concat(), "the gzip body has a tail");
        check(&good[..good.len() - 1], "the gzip body is cut off");
        check(b"", "the gzip body is cut off");
        check(b"0000 no gzip", "the gzip body is damaged");
    }

    #[test]
    fn no_body_inflates_beyond_its_limit() {
        let deflate = |text: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let examples = [deflate(b"0032want"), deflate(&[0; 100_000]), deflate(b"")];
        crate::mutations::each(&examples, |input| {
            let mut gzip = Gzip::new(1000);
            let mut inflated_bytes = 0;
            for piece in input.chunks(7) {
                gzip.put(Bytes::copy_from_slice(piece));
                loop {
                    match gzip.next() {
                        Ok(Some(slice)) => inflated_bytes += slice.len(),
                        Ok(None) => break,
                        Err(error) => return assert!(!error.to_string().is_empty()),
                    }
                }
                assert!(inflated_bytes <= 1000);
            }
            drop(gzip.end());
        });
    }
}
