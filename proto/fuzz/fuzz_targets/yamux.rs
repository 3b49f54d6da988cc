//! Frames: any bytes do the same however they arrive, and no order of calls breaks a session.

#![no_main]

use bytes::{Bytes, BytesMut};
use gitring_proto::yamux::{
    Limits, Outgoing, Read, Role, Session, SessionError, StreamId, WINDOW_INITIAL_BYTES,
};
use libfuzzer_sys::fuzz_target;
use std::io::IoSlice;
use std::time::Duration;

const LIMITS: Limits = Limits {
    accepted_window_bytes: 2 * WINDOW_INITIAL_BYTES,
    opened_window_bytes: WINDOW_INITIAL_BYTES,
    backlog_max: 8,
    accepted_streams_max: 16,
    opened_streams_max: 4,
    unacknowledged_max: 2,
    send_queue_bytes_max: 100_000,
};

fuzz_target!(|data: &[u8]| {
    let Some((head, wire)) = data.split_first_chunk::<2>() else { return };
    let role = if head[0] % 2 == 0 { Role::Client } else { Role::Server };
    let step = usize::from(head[1]) + 1;
    assert_eq!(hear(role, wire, step), hear(role, wire, wire.len().max(1)));
    interleave(role, wire, step);
});

/// The error, what the streams received, and what the session answers.
type Heard = (Result<(), SessionError>, Vec<Vec<u8>>, Vec<u8>);

fn hear(role: Role, wire: &[u8], step: usize) -> Heard {
    let mut session = Session::new(role, LIMITS);
    let mut input = BytesMut::new();
    let mut result = Ok(());
    for piece in wire.chunks(step) {
        input.extend_from_slice(piece);
        result = session.receive(&mut input, Duration::ZERO);
        if result.is_err() {
            break;
        }
    }
    let mut streams = Vec::new();
    while let Some(stream) = session.accept() {
        streams.push(read_all(&mut session, stream));
    }
    (result, streams, written(&mut session))
}

fn read_all(session: &mut Session, stream: StreamId) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(Read::Data(data)) = session.read(stream) {
        bytes.extend_from_slice(&data);
    }
    assert!(bytes.len() <= WINDOW_INITIAL_BYTES as usize, "not accepted, yet more than that");
    bytes
}

/// What the session sends now, taken in small vectored writes.
fn written(session: &mut Session) -> Vec<u8> {
    let mut out = Outgoing::default();
    session.transmit(&mut out, 50_000);
    let mut bytes = Vec::new();
    while !out.is_empty() {
        let mut slices = [IoSlice::new(&[]); 2];
        let filled = out.slices(&mut slices);
        let before = bytes.len();
        slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        out.advance((bytes.len() - before).div_ceil(2));
        bytes.truncate(before + (bytes.len() - before).div_ceil(2));
    }
    bytes
}

/// After each piece of input, calls that its first byte chooses.
fn interleave(role: Role, wire: &[u8], step: usize) {
    let mut session = Session::new(role, LIMITS);
    let mut input = BytesMut::new();
    let mut streams: Vec<StreamId> = Vec::new();
    for (turn, piece) in wire.chunks(step).enumerate() {
        input.extend_from_slice(piece);
        if session.receive(&mut input, Duration::from_millis(turn as u64)).is_err() {
            written(&mut session);
        }
        streams.extend(session.accept());
        act(&mut session, &mut streams, piece[0]);
        while session.next_event().is_some() {}
    }
    streams.into_iter().for_each(|stream| session.release(stream));
    written(&mut session);
}

fn act(session: &mut Session, streams: &mut Vec<StreamId>, choice: u8) {
    let chosen = streams.get(usize::from(choice >> 3) % streams.len().max(1)).copied();
    match (choice % 8, chosen) {
        (0, _) => streams.extend(session.open().ok()),
        (1, _) => drop(written(session)),
        (2, Some(stream)) => drop(session.send(stream, &mut Bytes::from(vec![choice; 70_000]))),
        (3, Some(stream)) => drop(session.send_copy(stream, &[choice; 99])),
        (4, Some(stream)) => session.finish(stream),
        (5, Some(stream)) => {
            session.release(stream);
            streams.retain(|other| *other != stream);
        }
        (7, _) if choice == 255 => session.stop_accepting(),
        (_, Some(stream)) => drop(session.read(stream)),
        (_, None) => {}
    }
}
