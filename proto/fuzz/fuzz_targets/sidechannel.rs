//! Packets: any bytes end or fail in the same way however they arrive; a payload survives its way.

#![no_main]

use bytes::Bytes;
use gitring_proto::sidechannel::{DecodeError, Decoder, END, Piece, SidechannelId, packets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((step, wire)) = data.split_first() else { return };
    let step = usize::from(*step) + 1;
    assert_eq!(decode(wire, step), decode(wire, wire.len().max(1)));
    check_round_trip(wire, step);
    if let Ok(id) = String::from_utf8_lossy(wire).parse::<SidechannelId>() {
        let again: SidechannelId = id.to_string().parse().expect("printed by us");
        assert_eq!(again, id);
    }
});

/// `step` copies of the payload, so that long ones occur.
fn check_round_trip(payload: &[u8], step: usize) {
    let payload = payload.repeat(step);
    let mut wire = Vec::new();
    for packet in packets(Bytes::from(payload.clone())) {
        wire.extend_from_slice(&packet.header);
        wire.extend_from_slice(&packet.payload);
    }
    let whole = wire.len();
    wire.extend_from_slice(END);
    assert_eq!(decode(&wire, 4_096), (payload.clone(), Ok(())));
    assert_eq!(decode(&wire[..whole], 4_096), (payload, Err(DecodeError::UnexpectedEof)));
}

/// The payload up to the end or the error, and which it was.
fn decode(wire: &[u8], step: usize) -> (Vec<u8>, Result<(), DecodeError>) {
    let (mut decoder, mut payload) = (Decoder::default(), Vec::new());
    for bytes in wire.chunks(step) {
        decoder.push(Bytes::copy_from_slice(bytes));
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(Piece::Payload(piece))) => {
                    assert!(!piece.is_empty() && piece.len() <= bytes.len());
                    payload.extend_from_slice(&piece);
                }
                Ok(Some(Piece::End)) => return (payload, decoder.close()),
                Err(error) => {
                    assert_eq!(decoder.close(), Err(error.clone()));
                    return (payload, Err(error));
                }
            }
        }
    }
    (payload, decoder.close())
}
