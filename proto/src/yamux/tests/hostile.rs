//! Random frames: whatever they are, they do the same in pieces of any length, and never more than
//! the limits admit.

use super::model::Random;
use super::{HEADER_BYTES, LIMITS, frame, take};
use crate::yamux::frame::Kind;
use crate::yamux::*;
use bytes::BytesMut;
use std::time::Duration;

/// The error, what the streams received, what the session answers.
type Heard = (Result<(), SessionError>, Vec<Vec<u8>>, Vec<u8>);

fn hear(role: Role, wire: &[u8], step: usize) -> Heard {
    let mut session = Session::new(role, LIMITS);
    let ours = session.open().unwrap();
    session.send_copy(ours, b"hello").unwrap();
    let mut input = BytesMut::new();
    let mut result = Ok(());
    for piece in wire.chunks(step) {
        input.extend_from_slice(piece);
        result = session.receive(&mut input, Duration::ZERO);
        assert!(input.len() < HEADER_BYTES || result.is_err());
        if result.is_err() {
            break;
        }
    }
    let mut streams = vec![read_all(&mut session, ours)];
    while let Some(stream) = session.accept() {
        streams.push(read_all(&mut session, stream));
    }
    assert!(streams.len() <= 1 + LIMITS.backlog_max);
    let mut out = Outgoing::default();
    session.transmit(&mut out, usize::MAX);
    (result, streams, take(&mut out))
}

fn read_all(session: &mut Session, stream: StreamId) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(Read::Data(data)) = session.read(stream) {
        bytes.extend_from_slice(&data);
    }
    assert!(bytes.len() <= WINDOW_INITIAL_BYTES as usize);
    bytes
}

fn frames(random: &mut Random) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..random.below(40) {
        let kind = match random.below(12) {
            0..6 => Kind::Data,
            6..11 => Kind::WindowUpdate,
            _ => Kind::Ping,
        };
        let flags = [0, 0, 0, 1, 1, 2, 4, 8, 5][random.below(9) as usize];
        let id = [1, 2, 3, 4, 5, 6, 7, 9, 11][random.below(9) as usize];
        let length = [0, 1, 5, 900, 20_000, 200_000][random.below(6) as usize];
        wire.extend(frame(kind, flags, id, length));
    }
    if random.below(4) == 0 && !wire.is_empty() {
        let at = random.below(wire.len() as u64) as usize;
        wire[at] ^= 1 << random.below(8);
    }
    wire
}

#[test]
fn any_frames_do_the_same_in_pieces_of_any_length() {
    let mut finished = 0;
    for seed in 1..=1500 {
        let mut random = Random(seed * 0x9e37_79b9);
        let wire = frames(&mut random);
        let role = if random.below(2) == 0 { Role::Client } else { Role::Server };
        let whole = hear(role, &wire, wire.len().max(1));
        let step = 1 + random.below(5000) as usize;
        assert!(whole == hear(role, &wire, step), "seed {seed}, pieces of {step}");
        finished += usize::from(whole.0.is_ok());
    }
    assert!((100..1400).contains(&finished), "{finished} of 1500 without an error");
}
