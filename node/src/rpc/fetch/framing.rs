//! The bytes of a pack as the pieces that go to a client.
//!
//! ```text
//!   side-bands   [header][payload][header][payload] …   payloads are slices, nothing is copied
//!   bare         [payload without its last byte] … [the last byte, once the pack is whole]
//! ```
//!
//! Always true: a bare pack that was not finished lacks its last byte.
//! Never here: sending.

use bytes::Bytes;
use gitring_git::sideband::{self, Band, Width};

/// How one client gets a pack.
#[derive(Debug)]
pub(super) struct Framing {
    sideband: Option<Width>,
    /// In front of a packet that is full, which most are.
    full_header: Bytes,
    /// The last byte of a bare pack so far.
    held: Bytes,
}

// === impl Framing ===

impl Framing {
    /// `nested`: the packets travel inside others.
    pub(super) fn new(sideband: Option<Width>, nested: bool) -> Self {
        let sideband = match sideband {
            Some(Width::Large) if nested => Some(Width::Nested),
            other => other,
        };
        let full_header =
            sideband.map_or_else(Bytes::new, |width| header(width.payload_bytes_max()));
        Self { sideband, full_header, held: Bytes::new() }
    }

    /// Bytes of the pack that one packet carries.
    pub(super) fn payload_bytes_max(&self) -> usize {
        self.sideband.unwrap_or(Width::Large).payload_bytes_max()
    }

    /// Appends the pieces that carry `pack`.
    pub(super) fn frame(&mut self, mut pack: Bytes, pieces: &mut Vec<Bytes>) {
        if pack.is_empty() {
            return;
        }
        let Some(width) = self.sideband else {
            let last = pack.split_off(pack.len() - 1);
            let held = std::mem::replace(&mut self.held, last);
            pieces.extend([held, pack].into_iter().filter(|piece| !piece.is_empty()));
            return;
        };
        let payload_bytes_max = width.payload_bytes_max();
        while !pack.is_empty() {
            let payload = pack.split_to(pack.len().min(payload_bytes_max));
            pieces.push(match payload.len() == payload_bytes_max {
                true => self.full_header.clone(),
                false => header(payload.len()),
            });
            pieces.push(payload);
        }
    }

    /// Appends what was held back: the pack is whole.
    pub(super) fn finish(&mut self, pieces: &mut Vec<Bytes>) {
        let held = std::mem::take(&mut self.held);
        pieces.extend(Some(held).filter(|held| !held.is_empty()));
    }
}

fn header(payload_bytes: usize) -> Bytes {
    Bytes::copy_from_slice(&sideband::header(Band::Data, payload_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sideband: Option<Width>, nested: bool, parts: &[usize], expected: &[usize]) {
        let mut framing = Framing::new(sideband, nested);
        let mut pieces = Vec::new();
        for part in parts {
            framing.frame(vec![7; *part].into(), &mut pieces);
        }
        let unfinished: usize = pieces.iter().map(Bytes::len).sum();
        framing.finish(&mut pieces);
        let lengths: Vec<usize> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(lengths, expected);
        let all: usize = lengths.iter().sum();
        let is_bare = sideband.is_none() && !parts.is_empty();
        assert_eq!(all - unfinished, usize::from(is_bare), "only a bare pack holds a byte back");
    }

    #[test]
    fn packets_are_filled_and_the_last_byte_of_a_bare_pack_is_held_back() {
        check(Some(Width::Large), false, &[65_515 + 1], &[5, 65_515, 5, 1]);
        check(Some(Width::Large), true, &[65_515], &[5, 65_510, 5, 5]);
        check(Some(Width::Small), true, &[995, 10], &[5, 995, 5, 10]);
        check(None, false, &[3, 1, 4], &[2, 1, 1, 3, 1]);
        check(None, false, &[], &[]);
    }
}
