//! pkt-lines: the framing of every conversation between git processes (gitprotocol-common).
//!
//! ```text
//!   0000          flush          0001   delimiter (v2)        0002   response end (v2)
//!   0009done\n    data: four hexadecimal digits count themselves and the payload
//! ```
//!
//! Always true: a decoded payload is at most [`PAYLOAD_BYTES_MAX`] long, and decoding never reads
//! past the packet that it returns.
//! Never here: I/O, and what a payload means.

use bstr::BStr;

/// Bytes of the length field that precedes every packet.
pub const HEADER_BYTES: usize = 4;

/// Longest packet, header included: `LARGE_PACKET_MAX` of git.
pub const PACKET_BYTES_MAX: usize = 65_520;

/// Longest payload of a data packet.
pub const PAYLOAD_BYTES_MAX: usize = PACKET_BYTES_MAX - HEADER_BYTES;

/// The flush packet.
pub const FLUSH: &[u8] = b"0000";

/// The delimiter packet, which parts the sections of a v2 message.
pub const DELIMITER: &[u8] = b"0001";

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A payload, as it was sent: text lines usually end in a line feed, see [`chomp`].
    Data(&'a [u8]),
    /// `0000`
    Flush,
    /// `0001`
    Delimiter,
    /// `0002`
    ResponseEnd,
}

/// What the front of a buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole packet, which takes `length_bytes` of the buffer.
    Packet {
        /// The packet itself.
        packet: Packet<'a>,
        /// Bytes from the front of the buffer to behind the packet.
        length_bytes: usize,
    },
    /// The packet is not whole yet: at least `missing_bytes` more are needed to go on.
    Incomplete {
        /// Bytes that must be appended before decoding again can give more.
        missing_bytes: usize,
    },
}

/// Why a buffer does not begin with a packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The length field holds something else than four hexadecimal digits.
    #[error("bad line length character: {}", BStr::new(.0))]
    NotHexadecimal([u8; HEADER_BYTES]),
    /// `0003`: no packet is shorter than its header, and `0003` is not assigned.
    #[error("bad line length 3")]
    InsideHeader,
    /// Longer than [`PACKET_BYTES_MAX`].
    #[error("bad line length {0}")]
    TooLong(usize),
}

/// Decodes the packet at the front of `buffer`.
pub fn decode(buffer: &[u8]) -> Result<Decoded<'_>, DecodeError> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else {
        return Ok(Decoded::Incomplete { missing_bytes: HEADER_BYTES - buffer.len() });
    };
    let length_bytes = length(header)?;
    let packet = match length_bytes {
        0 => Packet::Flush,
        1 => Packet::Delimiter,
        2 => Packet::ResponseEnd,
        3 => return Err(DecodeError::InsideHeader),
        _ if length_bytes > PACKET_BYTES_MAX => return Err(DecodeError::TooLong(length_bytes)),
        _ => match buffer.get(HEADER_BYTES..length_bytes) {
            Some(payload) => Packet::Data(payload),
            None => {
                return Ok(Decoded::Incomplete { missing_bytes: length_bytes - buffer.len() });
            }
        },
    };
    Ok(Decoded::Packet { packet, length_bytes: length_bytes.max(HEADER_BYTES) })
}

/// `u16::from_str_radix` would take a sign: `+004` is no length.
fn length(header: &[u8; HEADER_BYTES]) -> Result<usize, DecodeError> {
    header.iter().try_fold(0, |length, digit| {
        let value = char::from(*digit).to_digit(16).ok_or(DecodeError::NotHexadecimal(*header))?;
        Ok(length * 16 + value as usize)
    })
}

/// The payload without one line feed at its end, as git reads text lines.
pub fn chomp(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(b"\n").unwrap_or(payload)
}

/// Appends a data packet that holds `payload`.
///
/// # Panics
/// Where the payload is longer than [`PAYLOAD_BYTES_MAX`]: what we send is of our making.
pub fn push(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(&header(payload.len()));
    out.extend_from_slice(payload);
}

/// Appends a data packet whose payload is formatted text: `push_text(out, format_args!(..))`.
pub fn push_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let start = out.len();
    out.extend_from_slice(b"0000");
    out.write_fmt(text).expect("a Vec takes every byte");
    let header = header(out.len() - start - HEADER_BYTES);
    out[start..start + HEADER_BYTES].copy_from_slice(&header);
}

/// The header of a data packet with a payload of `payload_bytes`.
///
/// # Panics
/// Where `payload_bytes` is over [`PAYLOAD_BYTES_MAX`].
pub fn header(payload_bytes: usize) -> [u8; HEADER_BYTES] {
    assert!(
        payload_bytes <= PAYLOAD_BYTES_MAX,
        "a packet of {payload_bytes} bytes is ours to avoid"
    );
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let length = payload_bytes + HEADER_BYTES;
    [12, 8, 4, 0].map(|shift| DIGITS[length >> shift & 0xf])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(buffer: &[u8], expected: &str) {
        let actual = match decode(buffer) {
            Ok(Decoded::Packet { packet, length_bytes }) => format!("{packet:?} of {length_bytes}"),
            Ok(Decoded::Incomplete { missing_bytes }) => format!("needs {missing_bytes}"),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(actual, expected, "{}", BStr::new(buffer));
    }

    #[test]
    fn length_counts_its_own_header() {
        check(b"0004", "Data([]) of 4");
        check(b"0005a", "Data([97]) of 5");
        check(b"0005abc", "Data([97]) of 5");
        check(b"0000", "Flush of 4");
        check(b"00010002", "Delimiter of 4");
        check(b"0002", "ResponseEnd of 4");
        check(b"0003", "error: bad line length 3");
        check(b"0006a", "needs 1");
        check(b"00", "needs 2");
        check(b"", "needs 4");
        check(b"fff0", "needs 65516");
        check(b"FFF0", "needs 65516");
        check(b"fff1", "error: bad line length 65521");
        check(b"+004", "error: bad line length character: +004");
        check(b"00 4", "error: bad line length character: 00 4");
    }

    #[test]
    fn what_is_pushed_is_decoded_again() {
        let mut out = Vec::new();
        let longest = vec![b'x'; PAYLOAD_BYTES_MAX];
        push(&mut out, &longest);
        push_text(&mut out, format_args!("ACK {} ready\n", 7));
        let Ok(Decoded::Packet { packet, length_bytes }) = decode(&out) else { panic!("whole") };
        assert_eq!(packet, Packet::Data(&longest));
        check(
            &out[length_bytes..],
            "Data([65, 67, 75, 32, 55, 32, 114, 101, 97, 100, 121, 10]) of 16",
        );
    }

    /// Bytes that are length digits more often than not, so that packets come about.
    fn noise(state: &mut u64, length: usize) -> Vec<u8> {
        let mut next = || {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *state
        };
        let digits = b"0000000123456789abcdefABCDEF+g";
        let byte = |number: u64| match number % 8 {
            0 => (number >> 8) as u8,
            _ => digits[(number >> 8) as usize % digits.len()],
        };
        (0..length).map(|_| byte(next())).collect()
    }

    #[test]
    fn any_bytes_are_packets_or_an_error() {
        for seed in 1..=4_000_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let bytes = noise(&mut state, seed as usize % 300);
            let mut rest = &bytes[..];
            while let Ok(Decoded::Packet { packet, length_bytes }) = decode(rest) {
                let mut again = Vec::new();
                match packet {
                    Packet::Data(payload) => push(&mut again, payload),
                    Packet::Flush => again.extend_from_slice(FLUSH),
                    Packet::Delimiter => again.extend_from_slice(DELIMITER),
                    Packet::ResponseEnd => again.extend_from_slice(b"0002"),
                }
                // We write the digits of a length in lower case.
                let length = rest[..HEADER_BYTES].to_ascii_lowercase();
                let read = [&length, &rest[HEADER_BYTES..length_bytes]].concat();
                assert_eq!(again, read, "seed {seed}");
                rest = &rest[length_bytes..];
            }
            if let Ok(Decoded::Incomplete { missing_bytes }) = decode(rest) {
                assert!((1..PACKET_BYTES_MAX).contains(&missing_bytes), "seed {seed}");
            }
        }
    }
}
