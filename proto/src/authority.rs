//! Requests over unix sockets name the socket's path as `:authority`, percent-encoded: gRPC's
//! core library (Ruby, Python, C++) sends `var%2Fopt%2Fgitaly.socket`. RFC 3986 §3.2.2 knows no
//! slash in a host, encoded or not, and the HTTP/2 server that we use closes the connection. What
//! the field says has no meaning to us, so it is made readable before it gets there. So is what a
//! node of Gitaly calls the way back over a mux: `multiplexed%2F`, and the client's address, which
//! is `@` for a unix socket; Go's library encodes it with Huffman's code.
//!
//! Always true:
//! - only `%` and `@` in `:authority` values of HEADERS frames are changed, to `-` and `$`, whose
//!   codes are as long, so that no length and no compression state differs;
//! - at most one HEADERS frame of [`FRAME_BYTES_MAX`] is held back; whatever cannot be read is
//!   passed on as it is.
//!
//! Never here: I/O. Source: RFC 9113 §4.1, §6.2; RFC 7541 §5, §6.

/// Payload of a frame as HTTP/2 allows it unless told otherwise. We never allow more.
pub const FRAME_BYTES_MAX: usize = 16_384;

const FRAME_HEADER_BYTES: usize = 9;
/// `PRI * HTTP/2.0`, and so on.
const PREFACE_BYTES: usize = 24;
const HEADERS: u8 = 0x1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;
const AUTHORITY: &[u8] = b":authority";
/// The place of `:authority` in the static table (RFC 7541, appendix A).
const AUTHORITY_INDEX: usize = 1;

/// What a client sends, frame by frame.
#[derive(Debug)]
pub struct Filter {
    /// Bytes that pass without a look: the rest of a frame, at first the preface.
    passing_bytes: usize,
}

// === impl Filter ===

impl Default for Filter {
    fn default() -> Self {
        Self { passing_bytes: PREFACE_BYTES }
    }
}

impl Filter {
    /// Looks at the front of what has come and was not passed on yet; returns how many bytes of
    /// it may be passed on now. The others must come again, with what follows them.
    pub fn look(&mut self, bytes: &mut [u8]) -> usize {
        let mut ready = 0;
        loop {
            let passing = self.passing_bytes.min(bytes.len() - ready);
            ready += passing;
            self.passing_bytes -= passing;
            let rest = &mut bytes[ready..];
            if self.passing_bytes > 0 || rest.len() < FRAME_HEADER_BYTES {
                return ready;
            }
            let length =
                usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
            let (kind, flags) = (rest[3], rest[4]);
            let frame_bytes = FRAME_HEADER_BYTES + length;
            if kind != HEADERS || length > FRAME_BYTES_MAX {
                self.passing_bytes = frame_bytes;
                continue;
            }
            let Some(frame) = rest.get_mut(..frame_bytes) else { return ready };
            if let Some(block) = block(&mut frame[FRAME_HEADER_BYTES..], flags) {
                mend(block);
            }
            ready += frame_bytes;
        }
    }
}

/// The header block within the payload of a HEADERS frame.
fn block(payload: &mut [u8], flags: u8) -> Option<&mut [u8]> {
    let padding = if flags & PADDED != 0 { usize::from(*payload.first()?) } else { 0 };
    let start =
        usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { PRIORITY_BYTES } else { 0 };
    let end = payload.len().checked_sub(padding)?;
    payload.get_mut(start..end)
}

/// Walks the fields of a block as far as they lie in it; `None` where something makes no sense.
fn mend(block: &mut [u8]) -> Option<()> {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        let prefix_bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = integer(block, &mut at, prefix_bits)?;
        // An indexed field, or a new size of the table.
        if prefix_bits == 7 || prefix_bits == 5 {
            continue;
        }
        let is_authority = match index {
            0 => {
                let (name, is_plain) = string(block, &mut at)?;
                is_plain && block.get(name)? == AUTHORITY
            }
            index => index == AUTHORITY_INDEX,
        };
        let (value, is_plain) = string(block, &mut at)?;
        let value = block.get_mut(value)?;
        match (is_authority, is_plain) {
            (true, true) => value.iter_mut().for_each(|byte| {
                *byte = match *byte {
                    b'%' => b'-',
                    b'@' => b'$',
                    other => other,
                }
            }),
            (true, false) => mend_coded(value),
            (false, _) => {}
        }
    }
    Some(())
}

/// The same in Huffman's code (RFC 7541, appendix B), as far as it has common characters.
fn mend_coded(value: &mut [u8]) {
    let mut at = 0;
    while let Some((code, bits)) = character(value, at) {
        match (code, bits) {
            (0x15, 6) => put(value, at, 0x16, bits),
            (0x1ffa, 13) => put(value, at, 0x1ff9, bits),
            _ => {}
        }
        at += bits;
    }
}

/// The code that begins at a bit, and its length. Codes of a length are numbers in a row, and lower
/// than those of longer ones, cut off.
fn character(value: &[u8], at: usize) -> Option<(usize, usize)> {
    const LAST: [(usize, usize); 8] = [
        (5, 0x9),
        (6, 0x2d),
        (7, 0x7b),
        (8, 0xfd),
        (10, 0x3fc),
        (11, 0x7fc),
        (12, 0xffb),
        (13, 0x1ffd),
    ];
    let code = |bits| {
        (at..at + bits).try_fold(0, |code, bit| {
            let byte = value.get(bit / 8)?;
            Some(code << 1 | usize::from(byte >> (7 - bit % 8) & 1))
        })
    };
    LAST.iter().find_map(|(bits, last)| {
        let code = code(*bits)?;
        (code <= *last).then_some((code, *bits))
    })
}

fn put(value: &mut [u8], at: usize, code: usize, bits: usize) {
    for place in 0..bits {
        let (bit, mask) = (at + place, code >> (bits - 1 - place) & 1);
        let shift = 7 - bit % 8;
        value[bit / 8] = value[bit / 8] & !(1 << shift) | (mask as u8) << shift;
    }
}

/// RFC 7541 §5.1, of at most four bytes behind the prefix: lengths stay below a frame's.
fn integer(block: &[u8], at: &mut usize, prefix_bits: u32) -> Option<usize> {
    let max = (1_usize << prefix_bits) - 1;
    let mut value = usize::from(*block.get(*at)?) & max;
    *at += 1;
    if value < max {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = *block.get(*at)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// RFC 7541 §5.2: where the string lies, and whether it is plain.
fn string(block: &[u8], at: &mut usize) -> Option<(std::ops::Range<usize>, bool)> {
    let is_plain = block.get(*at)? & 0x80 == 0;
    let length = integer(block, at, 7)?;
    let start = *at;
    *at = start.checked_add(length).filter(|end| *end <= block.len())?;
    Some((start..*at, is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8; PREFACE_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        [&head[..], payload].concat()
    }

    fn literal(first: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
        let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
        [&[first, length(name)], name, &[length(value)], value].concat()
    }

    /// Passes frames through a filter in pieces of every size.
    fn check(frames: &[u8], expected: &[u8]) {
        let sent = [PREFACE, frames].concat();
        for piece_bytes in [1, 2, 7, 100, sent.len()] {
            let (mut filter, mut held, mut passed) = (Filter::default(), Vec::new(), Vec::new());
            for piece in sent.chunks(piece_bytes) {
                held.extend_from_slice(piece);
                let ready = filter.look(&mut held);
                passed.extend(held.drain(..ready));
                assert!(held.len() <= FRAME_HEADER_BYTES + FRAME_BYTES_MAX);
            }
            assert_eq!(passed, [PREFACE, expected].concat(), "by {piece_bytes}");
        }
    }

    #[test]
    fn authorities_are_mended_and_nothing_else() {
        let of = |authority: &[u8], other: &[u8]| {
            let fields = [
                literal(0x40, b":path", b"/a%2Fb"),
                literal(0x40, AUTHORITY, authority),
                vec![0x83, 0x3f, 0xe1, 0x1f],
                [&[0x41, 5], other].concat(),
                literal(0, b"user-agent", b"100%"),
            ];
            fields.concat()
        };
        let (given, mended) = (of(b"tmp%2Fa", b"b%2Fc"), of(b"tmp-2Fa", b"b-2Fc"));
        let data = frame(0, 0, b"\x40\x0a:authority\x01%");
        check(
            &[frame(HEADERS, 4, &given), data.clone()].concat(),
            &[frame(HEADERS, 4, &mended), data].concat(),
        );
        let padded = |block: &[u8]| [&[3, 0, 0, 0, 0, 1][..], block, b"%%%"].concat();
        check(
            &frame(HEADERS, PADDED | PRIORITY, &padded(&given)),
            &frame(HEADERS, PADDED | PRIORITY, &padded(&mended)),
        );
    }

    /// Huffman's code, from the digits of appendix B.
    fn coded(codes: &str) -> Vec<u8> {
        let mut bits: String = codes.split_whitespace().collect();
        bits.extend(std::iter::repeat_n('1', (8 - bits.len() % 8) % 8));
        let bytes = bits.as_bytes().chunks(8).map(|byte| std::str::from_utf8(byte).unwrap());
        bytes.map(|byte| u8::from_str_radix(byte, 2).unwrap()).collect()
    }

    fn check_coded(given: &str, expected: &str) {
        let field = |codes: &str| {
            let value = coded(codes);
            [&[0x41, 0x80 | u8::try_from(value.len()).unwrap()][..], &value].concat()
        };
        let frame = |codes: &str| frame(HEADERS, 4, &field(codes));
        check(&frame(given), &frame(expected));
    }

    #[test]
    fn authorities_in_huffmans_code_are_mended() {
        // `m%2F1@`, with a colon of seven and an ampersand of eight bits
        check_coded(
            "101001 010101 00010 1100001 00001 1111111111010 1011100 11111000",
            "101001 010110 00010 1100001 00001 1111111111001 1011100 11111000",
        );
        check_coded("010101 010101", "010110 010110");
        check_coded("1111111111010", "1111111111001");
        // Behind a backslash of nineteen bits nothing is known.
        check_coded("1111111111111110000 010101", "1111111111111110000 010101");
        check_coded("", "");
    }

    #[test]
    fn what_makes_no_sense_passes_as_it_is() {
        for block in [
            &b"\x40\x0a:authority\x7f%"[..],
            b"\x40\xff\xff\xff\xff\xff\xff",
            b"\x40",
            // Huffman coded: holds no plain percent sign.
            b"\x40\x0a:authority\x81%",
        ] {
            check(&frame(HEADERS, 4, block), &frame(HEADERS, 4, block));
        }
        check(&frame(HEADERS, PADDED, b"\x09a"), &frame(HEADERS, PADDED, b"\x09a"));
        check(&frame(HEADERS, PADDED, b""), &frame(HEADERS, PADDED, b""));
        let long = frame(HEADERS, 4, &vec![b'%'; FRAME_BYTES_MAX + 1]);
        check(&long, &long);
    }
}
