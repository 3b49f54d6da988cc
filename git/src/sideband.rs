//! side-band and side-band-64k: pack data, progress and errors over one stream of pkt-lines
//! (gitprotocol-pack, "Packfile Data").
//!
//! Always true: a framed payload decodes to the bytes it was made of, in order, per band.
//! Never here: I/O. Bulk data is not copied: [`header`] goes in front of a payload that lies
//! elsewhere.

use crate::pkt_line::{self, HEADER_BYTES};

/// What a packet of a multiplexed stream carries; its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Band {
    /// Pack data.
    Data = 1,
    /// Progress for the user's terminal.
    Progress = 2,
    /// A fatal error: the last that the client hears.
    Error = 3,
}

/// How much one packet may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// `side-band`: packets of at most 1,000 bytes.
    Small,
    /// `side-band-64k`, and v2 always: packets of at most 65,520 bytes.
    Large,
    /// `side-band-64k` that travels inside another one: packets of at most 65,515 bytes, so that
    /// each fills one packet of the outer one.
    Nested,
}

/// Bytes in front of a payload: the packet's length and the band.
pub const PREFIX_BYTES: usize = HEADER_BYTES + 1;

/// An empty packet of band 1, which tells a client that waits for a pack that we are alive.
pub const KEEP_ALIVE: &[u8] = b"0005\x01";

// === impl Width ===

impl Width {
    /// Longest payload of one packet: 995, 65,515 or 65,510 bytes.
    pub const fn payload_bytes_max(self) -> usize {
        match self {
            Self::Small => 1_000 - PREFIX_BYTES,
            Self::Large => pkt_line::PACKET_BYTES_MAX - PREFIX_BYTES,
            Self::Nested => pkt_line::PACKET_BYTES_MAX - 2 * PREFIX_BYTES,
        }
    }
}

/// What stands in front of a payload of `payload_bytes` on `band`.
///
/// # Panics
/// Where the payload does not fit into any packet.
pub fn header(band: Band, payload_bytes: usize) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = pkt_line::header(payload_bytes + 1);
    [a, b, c, d, band as u8]
}

/// Appends `payload` on `band`, in as many packets as it takes; an empty payload sends nothing.
pub fn push(out: &mut Vec<u8>, band: Band, width: Width, payload: &[u8]) {
    for part in payload.chunks(width.payload_bytes_max()) {
        out.extend_from_slice(&header(band, part.len()));
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pkt_line::{Decoded, Packet, decode};

    fn check(width: Width, payload_bytes: usize, expected: &[usize]) {
        let payload: Vec<u8> = (0..payload_bytes).map(|index| index as u8).collect();
        let mut framed = Vec::new();
        push(&mut framed, Band::Data, width, &payload);
        let (mut rest, mut lengths, mut joined) = (&framed[..], Vec::new(), Vec::new());
        while !rest.is_empty() {
            let Ok(Decoded::Packet { packet: Packet::Data(data), length_bytes }) = decode(rest)
            else {
                panic!("{rest:?}")
            };
            assert_eq!(data[0], Band::Data as u8);
            joined.extend_from_slice(&data[1..]);
            lengths.push(data.len() - 1);
            rest = &rest[length_bytes..];
        }
        assert_eq!((joined == payload, &lengths[..]), (true, expected));
    }

    #[test]
    fn payloads_are_cut_at_the_width() {
        check(Width::Small, 0, &[]);
        check(Width::Small, 995, &[995]);
        check(Width::Small, 996, &[995, 1]);
        check(Width::Large, 65_515, &[65_515]);
        check(Width::Large, 140_000, &[65_515, 65_515, 8_970]);
    }

    #[test]
    fn bands_in_turn_arrive_as_they_were_sent() {
        for seed in 1..=60_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut below = |bound: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state % bound) as usize
            };
            let width = [Width::Small, Width::Large][below(2)];
            let (mut framed, mut sent) = (Vec::new(), [const { Vec::new() }; 3]);
            for _ in 0..below(12) {
                let band = [Band::Data, Band::Progress, Band::Error][below(3)];
                let bytes_max = [3, 2_000, 140_000][below(3)];
                let payload: Vec<u8> = (0..below(bytes_max)).map(|at| (at * 7) as u8).collect();
                push(&mut framed, band, width, &payload);
                sent[band as usize - 1].extend_from_slice(&payload);
            }
            let (mut rest, mut received) = (&framed[..], [const { Vec::new() }; 3]);
            while let Ok(Decoded::Packet { packet: Packet::Data(data), length_bytes }) =
                decode(rest)
            {
                assert!(data.len() <= width.payload_bytes_max() + 1, "seed {seed}");
                received[usize::from(data[0]) - 1].extend_from_slice(&data[1..]);
                rest = &rest[length_bytes..];
            }
            assert!(rest.is_empty() && received == sent, "seed {seed}");
        }
    }
}
