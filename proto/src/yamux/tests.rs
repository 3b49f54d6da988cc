//! One side by hand: frames in, frames out, the error if there is one.

mod hostile;
mod model;

use super::frame::{ACK, FIN, HEADER_BYTES, Header, Kind, RST, SYN};
use super::*;
use bytes::{BufMut, BytesMut};
use std::time::Duration;

pub(super) const LIMITS: Limits = Limits {
    accepted_window_bytes: 512 * 1024,
    opened_window_bytes: WINDOW_INITIAL_BYTES,
    backlog_max: 2,
    accepted_streams_max: 3,
    opened_streams_max: 4,
    unacknowledged_max: 2,
    send_queue_bytes_max: 300_000,
};
const UPDATE: Kind = Kind::WindowUpdate;

/// A frame whose payload is zeros.
fn frame(kind: Kind, flags: u16, id: u32, length: u32) -> Vec<u8> {
    let mut bytes = Header { kind, flags, id, length }.encode().to_vec();
    if kind == Kind::Data {
        bytes.resize(HEADER_BYTES + length as usize, 0);
    }
    bytes
}

fn feed(session: &mut Session, bytes: &[u8]) -> Result<(), SessionError> {
    let mut input = BytesMut::from(bytes);
    session.receive(&mut input, Duration::ZERO)
}

/// Everything the session sends now, as headers; payload is skipped.
fn sent(session: &mut Session) -> Vec<(Kind, u16, u32, u32)> {
    let mut out = Outgoing::default();
    session.transmit(&mut out, usize::MAX);
    let mut bytes = take(&mut out);
    let mut headers = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let header = Header::parse(*header).unwrap();
        let payload = if header.kind == Kind::Data { header.length as usize } else { 0 };
        bytes.drain(..HEADER_BYTES + payload);
        headers.push((header.kind, header.flags, header.id, header.length));
    }
    headers
}

/// The bytes of `out`, written in pieces.
pub(super) fn take(out: &mut Outgoing) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !out.is_empty() {
        let mut slices = [std::io::IoSlice::new(&[]); 3];
        let filled = out.slices(&mut slices);
        let before = bytes.len();
        slices[..filled].iter().for_each(|slice| bytes.put_slice(slice));
        out.advance(bytes.len() - before);
    }
    assert_eq!(out.bytes(), 0);
    bytes
}

fn open(session: &mut Session, id: u32) -> StreamId {
    feed(session, &frame(UPDATE, SYN, id, 0)).unwrap();
    let stream = session.accept().unwrap();
    sent(session);
    stream
}

/// A server that has accepted stream 1 is given `frames`.
fn check(
    frames: &[(Kind, u16, u32, u32)],
    expected: Result<(), SessionError>,
    answers: &[(Kind, u16, u32, u32)],
) {
    let mut session = Session::new(Role::Server, LIMITS);
    open(&mut session, 1);
    let bytes: Vec<u8> = frames
        .iter()
        .flat_map(|(kind, flags, id, length)| frame(*kind, *flags, *id, *length))
        .collect();
    assert_eq!(feed(&mut session, &bytes), expected, "{:?}", &frames[..frames.len().min(5)]);
    assert_eq!(sent(&mut session), answers, "{:?}", &frames[..frames.len().min(5)]);
}

const PROTOCOL_ERROR: (Kind, u16, u32, u32) = (Kind::GoAway, 0, 0, 1);

#[test]
fn frames_that_a_session_answers_or_overlooks() {
    check(
        &[(Kind::Ping, SYN, 0, 7), (Kind::Ping, SYN, 0, 8)],
        Ok(()),
        &[(Kind::Ping, ACK, 0, 7), (Kind::Ping, ACK, 0, 8)],
    );
    check(&[(Kind::Ping, ACK, 0, 7)], Ok(()), &[]);
    check(&[(Kind::GoAway, 0, 0, 0)], Ok(()), &[]);
    // For streams that never were.
    check(&[(Kind::Data, 0, 77, 5), (UPDATE, 0, 9, 3), (UPDATE, FIN, 5, 0)], Ok(()), &[]);
    check(&[(UPDATE, RST, 1, 0), (Kind::Data, 0, 1, 9), (UPDATE, FIN, 1, 9)], Ok(()), &[]);
    // Two wait to be accepted; the others are refused, and what they still send is discarded.
    check(
        &[
            (UPDATE, SYN, 7, 0),
            (Kind::Data, SYN, 5, 4),
            (UPDATE, SYN, 3, 0),
            (Kind::Data, SYN, 9, 262_144),
            (Kind::Data, 0, 3, 262_144),
        ],
        Ok(()),
        &[(UPDATE, RST, 3, 0), (UPDATE, RST, 9, 0)],
    );
    check(
        &[(Kind::Data, 0, 1, 100), (Kind::Data, FIN, 1, 100), (Kind::Data, 0, 1, 5)],
        Ok(()),
        &[],
    );
}

#[test]
fn frames_that_end_a_session() {
    let error = |frames: &[_], error| check(frames, Err(error), &[PROTOCOL_ERROR]);
    error(&[(UPDATE, SYN, 0, 0)], SessionError::BadId(0));
    error(&[(UPDATE, SYN, 2, 0)], SessionError::BadId(2));
    error(&[(UPDATE, SYN, 1, 0)], SessionError::Duplicate(1));
    error(&[(UPDATE, SYN, 3, 0), (UPDATE, SYN, 3, 0)], SessionError::Duplicate(3));
    error(&[(UPDATE, FIN, 1, 0), (UPDATE, FIN, 1, 0)], SessionError::FinishedTwice(1));
    error(&[(Kind::Data, 0, 1, 524_289)], SessionError::WindowExceeded(1));
    error(&[(Kind::Data, SYN, 3, 262_145)], SessionError::WindowExceeded(3));
    error(&[(Kind::Data, 0, 1, 524_288), (Kind::Data, 0, 1, 1)], SessionError::WindowExceeded(1));
    error(&[(UPDATE, 0, 1, u32::MAX)], SessionError::WindowOverflow(1));
    error(&[(Kind::Data, 0, 9, 262_145)], SessionError::DiscardFlood);
    error(&[(Kind::Ping, SYN, 0, 0); 65], SessionError::ControlFlood);
    error(&[(UPDATE, 0, 1, 1); 4097], SessionError::ControlFlood);
    error(&[(UPDATE, 0, 99, 1); 4097], SessionError::ControlFlood);
    error(&[(Kind::Data, 0, 1, 0); 4097], SessionError::ControlFlood);
    check(&[(Kind::GoAway, 0, 0, 1)], Err(SessionError::PeerSawProtocolError), &[]);
    check(&[(Kind::GoAway, 0, 0, 2)], Err(SessionError::PeerInternalError), &[]);
    check(&[(Kind::GoAway, 0, 0, 3)], Err(SessionError::GoAwayCode(3)), &[]);
    let mut session = Session::new(Role::Client, LIMITS);
    assert_eq!(feed(&mut session, &[1; 12]), Err(SessionError::Version(1)));
    assert_eq!(sent(&mut session), &[]);
    let mut session = Session::new(Role::Client, LIMITS);
    assert_eq!(feed(&mut session, b"\0\x04hello, you"), Err(SessionError::FrameType(4)));
    let mut session = Session::new(Role::Client, LIMITS);
    assert_eq!(feed(&mut session, &frame(UPDATE, SYN, 3, 0)), Err(SessionError::BadId(3)));
}

#[test]
fn time_and_moved_data_pay_for_control_frames() {
    let mut session = Session::new(Role::Server, LIMITS);
    let stream = open(&mut session, 1);
    let updates = frame(UPDATE, 0, 1, 0).repeat(4000);
    feed(&mut session, &updates).unwrap();
    session.receive(&mut BytesMut::from(&updates[..]), Duration::from_secs(16)).unwrap();
    for _ in 0..80 {
        feed(&mut session, &frame(Kind::Data, 0, 1, 262_144)).unwrap();
        while session.read(stream) != Ok(Read::Pending) {}
        sent(&mut session);
    }
    session.receive(&mut BytesMut::from(&updates[..]), Duration::from_secs(16)).unwrap();
    let error = session.receive(&mut BytesMut::from(&updates[..]), Duration::from_secs(16));
    assert_eq!(error, Err(SessionError::ControlFlood));
    assert_eq!(session.read(stream), Err(StreamError::SessionEnded));
}

#[test]
fn an_opened_stream_greets_then_sends_within_its_window() {
    let mut session = Session::new(Role::Client, LIMITS);
    let stream = session.open().unwrap();
    let mut data = Bytes::from(vec![7; 400_000]);
    assert_eq!(session.send(stream, &mut data), Ok(300_000));
    assert_eq!(session.send(stream, &mut data), Ok(0));
    session.finish(stream);
    assert_eq!(session.send(stream, &mut data), Err(StreamError::Finished));
    assert_eq!(sent(&mut session), &[(UPDATE, SYN, 1, 0), (Kind::Data, 0, 1, 262_144)]);
    assert_eq!(session.finished(stream), Ok(false));
    feed(&mut session, &frame(UPDATE, ACK, 1, 30_000)).unwrap();
    assert_eq!(sent(&mut session), &[(Kind::Data, 0, 1, 30_000)]);
    feed(&mut session, &frame(UPDATE, 0, 1, 30_000)).unwrap();
    assert_eq!(sent(&mut session), &[(Kind::Data, 0, 1, 7856), (UPDATE, FIN, 1, 0)]);
    assert_eq!(session.finished(stream), Ok(true));
    session.release(stream);
    assert_eq!((session.streams(), sent(&mut session)), (1, vec![]));
    feed(&mut session, &frame(Kind::Data, FIN, 1, 10)).unwrap();
    assert_eq!(session.streams(), 0);
}

#[test]
fn a_stream_whose_owner_leaves_early_is_reset() {
    let mut session = Session::new(Role::Server, LIMITS);
    let stream = open(&mut session, 1);
    session.send_copy(stream, b"half an answer").unwrap();
    session.release(stream);
    assert_eq!(sent(&mut session), &[(UPDATE, RST, 1, 0)]);
    let unheard = session.open().unwrap();
    session.release(unheard);
    assert_eq!((session.streams(), sent(&mut session)), (0, vec![]));
}

#[test]
fn a_reset_is_an_error_for_both_halves() {
    let mut session = Session::new(Role::Server, LIMITS);
    let stream = open(&mut session, 1);
    feed(&mut session, &frame(Kind::Data, 0, 1, 10)).unwrap();
    feed(&mut session, &frame(UPDATE, RST, 1, 0)).unwrap();
    assert_eq!(session.read(stream), Err(StreamError::Reset));
    assert_eq!(session.send_copy(stream, b"x"), Err(StreamError::Reset));
    session.release(stream);
    assert_eq!((session.streams(), sent(&mut session)), (0, vec![]));
}

#[test]
fn opens_wait_for_acknowledgements_and_stop_at_a_go_away() {
    let mut session = Session::new(Role::Server, LIMITS);
    let first = session.open().unwrap();
    session.open().unwrap();
    assert_eq!(session.open(), Err(OpenError::Busy));
    feed(&mut session, &frame(UPDATE, ACK, first.0, 0)).unwrap();
    session.open().unwrap();
    session.release(first);
    assert_eq!(session.open(), Err(OpenError::Busy));
    feed(&mut session, &frame(Kind::GoAway, 0, 0, 0)).unwrap();
    assert_eq!(session.open(), Err(OpenError::PeerGoesAway));
}

#[test]
fn half_of_the_window_read_is_an_update() {
    let mut session = Session::new(Role::Server, LIMITS);
    let stream = open(&mut session, 1);
    feed(&mut session, &frame(Kind::Data, 0, 1, 262_143)).unwrap();
    assert!(matches!(session.read(stream), Ok(Read::Data(data)) if data.len() == 262_143));
    assert_eq!(sent(&mut session), &[]);
    feed(&mut session, &frame(Kind::Data, 0, 1, 1)).unwrap();
    assert!(matches!(session.read(stream), Ok(Read::Data(_))));
    assert_eq!(sent(&mut session), &[(UPDATE, 0, 1, 262_144)]);
}

#[test]
fn streams_take_turns() {
    let mut session = Session::new(Role::Client, LIMITS);
    let bulk = session.open().unwrap();
    let small = session.open().unwrap();
    session.send(bulk, &mut Bytes::from(vec![0; 300_000])).unwrap();
    session.send_copy(small, b"small").unwrap();
    let mut out = Outgoing::default();
    session.transmit(&mut out, 100_000);
    let bytes = take(&mut out);
    assert!(bytes.ends_with(&vec![0; 34_000]) && bytes.len() < 101_000, "{}", bytes.len());
    assert!(bytes.windows(5).any(|window| window == b"small"));
}

#[test]
fn a_stream_that_nobody_reads_any_more_is_drained() {
    let mut session = Session::new(Role::Server, LIMITS);
    let stream = open(&mut session, 1);
    session.finish(stream);
    sent(&mut session);
    session.release(stream);
    feed(&mut session, &frame(Kind::Data, 0, 1, 300_000)).unwrap();
    assert_eq!(sent(&mut session), &[(UPDATE, 0, 1, 300_000)]);
    feed(&mut session, &frame(UPDATE, FIN, 1, 0)).unwrap();
    assert_eq!((session.streams(), sent(&mut session)), (0, vec![]));
}

#[test]
fn streams_that_nobody_will_accept_are_reset() {
    let mut session = Session::new(Role::Server, LIMITS);
    feed(&mut session, &frame(UPDATE, SYN, 1, 0)).unwrap();
    session.stop_accepting();
    feed(&mut session, &frame(UPDATE, SYN, 3, 0)).unwrap();
    assert_eq!(sent(&mut session), &[(UPDATE, RST, 1, 0), (UPDATE, RST, 3, 0)]);
}

#[test]
fn streams_left_half_closed_are_reset_when_there_are_many() {
    let limits = Limits { opened_streams_max: 1000, unacknowledged_max: 1000, ..LIMITS };
    let mut session = Session::new(Role::Client, limits);
    for _ in 0..300 {
        let stream = session.open().unwrap();
        session.finish(stream);
        sent(&mut session);
        session.release(stream);
    }
    assert_eq!(session.streams(), 256);
    assert!(sent(&mut session).iter().any(|frame| frame.1 == RST));
}
