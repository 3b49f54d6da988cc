//! pkt-lines: any bytes are packets, a request for more, or an error; packets survive a round trip.

#![no_main]

use gitring_git::pkt_line::{self, Decoded, HEADER_BYTES, Packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    loop {
        match pkt_line::decode(rest) {
            Ok(Decoded::Packet { packet, length_bytes }) => {
                let (own, behind) = rest.split_at(length_bytes);
                check_round_trip(packet, own);
                check_prefix(own);
                rest = behind;
            }
            Ok(Decoded::Incomplete { missing_bytes }) => {
                check_missing(rest, missing_bytes);
                break;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
    }
});

/// Upper-case digits of a length come back in lower case; nothing else changes.
fn check_round_trip(packet: Packet<'_>, own: &[u8]) {
    let mut again = Vec::new();
    match packet {
        Packet::Data(payload) => pkt_line::push(&mut again, payload),
        Packet::Flush => again.extend_from_slice(pkt_line::FLUSH),
        Packet::Delimiter => again.extend_from_slice(pkt_line::DELIMITER),
        Packet::ResponseEnd => again.extend_from_slice(b"0002"),
    }
    assert!(again[..HEADER_BYTES].eq_ignore_ascii_case(&own[..HEADER_BYTES]));
    assert_eq!(again[HEADER_BYTES..], own[HEADER_BYTES..]);
    if let Packet::Data(payload) = packet {
        assert!(payload.len() - pkt_line::chomp(payload).len() <= 1);
    }
}

/// A packet without its last byte is not whole, and exactly that byte is missing where the length
/// is known.
fn check_prefix(own: &[u8]) {
    match pkt_line::decode(&own[..own.len() - 1]) {
        Ok(Decoded::Incomplete { missing_bytes: 1 }) => {}
        other => panic!("{other:?}"),
    }
}

/// With what is missing there is a packet, if the length was known; with less there is none.
fn check_missing(rest: &[u8], missing_bytes: usize) {
    assert!(missing_bytes > 0);
    let mut more = rest.to_vec();
    more.resize(rest.len() + missing_bytes - 1, b'0');
    assert!(!matches!(pkt_line::decode(&more), Ok(Decoded::Packet { .. })));
    if rest.len() >= HEADER_BYTES {
        more.push(b'0');
        assert!(matches!(pkt_line::decode(&more), Ok(Decoded::Packet { .. })));
    }
}
