//! Packets in one piece, in many, and damaged.

use super::*;

/// Payload up to the end, or the error; input arrives in pieces of `split` bytes.
fn decode(wire: &[u8], split: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::default();
    let mut payload = Vec::new();
    for bytes in wire.chunks(split) {
        decoder.push(Bytes::copy_from_slice(bytes));
        loop {
            match decoder.next()? {
                Some(Piece::Payload(piece)) => {
                    assert!(!piece.is_empty() && piece.len() <= bytes.len());
                    payload.extend_from_slice(&piece);
                }
                Some(Piece::End) => {
                    decoder.push(Bytes::from_static(b"what nobody reads"));
                    assert_eq!(decoder.next(), Ok(Some(Piece::End)));
                    assert_eq!(decoder.close(), Ok(()));
                    return Ok(payload);
                }
                None => break,
            }
        }
    }
    decoder.close().map(|()| payload)
}

#[test]
fn conversations() {
    let check = |wire: &[u8], expected: Result<&[u8], DecodeError>| {
        for split in [1, 2, 3, 4, 5, 7, wire.len().max(8)] {
            let payload = decode(wire, split);
            assert_eq!(payload, expected.clone().map(<[u8]>::to_vec), "{wire:?} by {split}");
        }
    };
    check(b"0000", Ok(b""));
    check(b"0005a0000", Ok(b"a"));
    check(b"0009hello000aworld!0000", Ok(b"helloworld!"));
    check(b"000Aworld!0000", Ok(b"world!"));
    check(b"00040005a00040000", Ok(b"a"));
    // Packets inside of packets are payload; behind the end is nothing.
    check(b"000800000000", Ok(b"0000"));
    check(b"0005a00000005b", Ok(b"a"));
    check(b"0000junk", Ok(b""));

    check(b"", Err(DecodeError::UnexpectedEof));
    check(b"000", Err(DecodeError::UnexpectedEof));
    check(b"0005", Err(DecodeError::UnexpectedEof));
    check(b"0005a", Err(DecodeError::UnexpectedEof));
    check(b"0009hell", Err(DecodeError::UnexpectedEof));

    check(b"0001", Err(DecodeError::InsideHeader(1)));
    check(b"0005a0002", Err(DecodeError::InsideHeader(2)));
    check(b"00030000", Err(DecodeError::InsideHeader(3)));
    check(b"fff10000", Err(DecodeError::TooLong(65_521)));
    check(b"FFFF0000", Err(DecodeError::TooLong(65_535)));
    check(b"+00900000", Err(DecodeError::NotHexadecimal(*b"+009")));
    check(b"-0000000", Err(DecodeError::NotHexadecimal(*b"-000")));
    check(b"00 5a0000", Err(DecodeError::NotHexadecimal(*b"00 5")));
    check(b"000g0000", Err(DecodeError::NotHexadecimal(*b"000g")));
    check(b"PACK0000", Err(DecodeError::NotHexadecimal(*b"PACK")));
    check(b"\xff\x00\x00\x000000", Err(DecodeError::NotHexadecimal(*b"\xff\x00\x00\x00")));
}

#[test]
fn errors_are_final() {
    let mut decoder = Decoder::default();
    decoder.push(Bytes::from_static(b"0005a00010005b0000"));
    assert_eq!(decoder.next(), Ok(Some(Piece::Payload(Bytes::from_static(b"a")))));
    for _ in 0..3 {
        assert_eq!(decoder.next(), Err(DecodeError::InsideHeader(1)));
        assert_eq!(decoder.close(), Err(DecodeError::InsideHeader(1)));
        decoder.push(Bytes::from_static(b"0000"));
    }
}

#[test]
fn lengths_of_packets() {
    let check = |payload_bytes: usize, headers: &[&[u8; 4]]| {
        let payload = Bytes::from(vec![b'x'; payload_bytes]);
        let sent: Vec<Packet> = packets(payload).collect();
        assert_eq!(sent.iter().map(|packet| &packet.header).collect::<Vec<_>>(), headers);
        assert_eq!(sent.iter().map(|packet| packet.payload.len()).sum::<usize>(), payload_bytes);
    };
    check(0, &[]);
    check(1, &[b"0005"]);
    check(65_515, &[b"ffef"]);
    check(65_516, &[b"fff0"]);
    check(65_517, &[b"fff0", b"0005"]);
    check(200_000, &[b"fff0", b"fff0", b"fff0", b"0d80"]);
}

/// Pieces are views of what was pushed.
#[test]
fn payload_is_not_copied() {
    let input = Bytes::from_static(b"0009hello0000");
    let mut decoder = Decoder::default();
    decoder.push(input.clone());
    let Ok(Some(Piece::Payload(piece))) = decoder.next() else { panic!("no payload") };
    assert_eq!(piece.as_ptr(), input[4..].as_ptr());
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// However a payload is written and however it arrives, it is the same.
#[test]
fn writes_and_reads_of_random_lengths() {
    for seed in 1..=60 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let (mut payload, mut wire) = (Vec::new(), Vec::new());
        for _ in 0..random.below(6) {
            let limit = [10, 300, 70_000, 140_000][random.below(4)];
            let written: Vec<u8> =
                (0..random.below(limit)).map(|place| (place % 251) as u8).collect();
            for packet in packets(Bytes::from(written.clone())) {
                wire.extend_from_slice(&packet.header);
                wire.extend_from_slice(&packet.payload);
            }
            payload.extend_from_slice(&written);
        }
        wire.extend_from_slice(END);
        for _ in 0..4 {
            let limit = [8, 5_000, 100_000][random.below(3)];
            let split = 1 + random.below(limit);
            assert!(decode(&wire, split) == Ok(payload.clone()), "seed {seed}, split {split}");
        }
        let cut = random.below(wire.len());
        assert_eq!(decode(&wire[..cut], 4_096), Err(DecodeError::UnexpectedEof), "seed {seed}");
    }
}

/// Damaged conversations: an end or an error, the same one for every split.
#[test]
fn damaged_bytes() {
    for seed in 1..=5_000 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut wire = b"0009hello0006AB00050004fff0000cabcdefgh0000".to_vec();
        for _ in 0..=random.below(3) {
            let place = random.below(wire.len());
            wire[place] = b"0001234fF+g\n\xff"[random.below(13)];
        }
        wire.truncate(random.below(wire.len() + 20).max(1));
        let whole = decode(&wire, wire.len());
        for split in [1, 3, 4, 1 + random.below(wire.len())] {
            assert_eq!(decode(&wire, split), whole, "seed {seed}, split {split}: {wire:?}");
        }
    }
}
