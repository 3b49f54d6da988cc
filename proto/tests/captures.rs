//! Recorded conversations between Gitaly and its Go client, fed to sessions of ours: each end
//! accepts what the other one said, and the streams carry what the client's reader got.

#![expect(clippy::unwrap_used, reason = "clippy takes helping functions of tests for other code")]

use bytes::{Bytes, BytesMut};
use gitring_proto::yamux::{
    Limits, Outgoing, READ_BUFFER_BYTES_MAX, Read, Role, Session, StreamId, WINDOW_INITIAL_BYTES,
};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMITS: Limits = Limits {
    accepted_window_bytes: WINDOW_INITIAL_BYTES,
    opened_window_bytes: WINDOW_INITIAL_BYTES,
    backlog_max: 256,
    accepted_streams_max: 256,
    opened_streams_max: 256,
    unacknowledged_max: 256,
    send_queue_bytes_max: 1 << 20,
};

struct Record {
    from_client: bool,
    bytes: Vec<u8>,
}

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wire/captures").join(name)
}

fn records(name: &str) -> Vec<Record> {
    let file = std::fs::read(capture(name).with_extension("cap")).unwrap();
    let mut rest = &file[..];
    let mut records = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let (bytes, behind) = behind.split_at(length as usize);
        records.push(Record { from_client: head[0] == b'>', bytes: bytes.to_vec() });
        rest = behind;
    }
    strip_magic(&mut records);
    records
}

/// yamux begins behind the magic, which may have come in one piece with the first frame.
fn strip_magic(records: &mut [Record]) {
    let first = records.iter_mut().find(|record| record.from_client).unwrap();
    assert!(first.bytes.starts_with(b"backchannel"));
    first.bytes.drain(..11);
}

/// One stream as its reader sees it.
struct Content {
    stream: StreamId,
    bytes: Vec<u8>,
    ended: bool,
}

/// A session that is told what its peer said.
struct End {
    session: Session,
    input: BytesMut,
    streams: BTreeMap<u32, Content>,
}

impl End {
    fn new(role: Role) -> Self {
        // Gitaly announces 16 MiB, its clients what every stream begins with.
        let window = if role == Role::Server { 16 << 20 } else { WINDOW_INITIAL_BYTES };
        let limits =
            Limits { accepted_window_bytes: window, opened_window_bytes: window, ..LIMITS };
        let session = Session::new(role, limits);
        Self { session, input: BytesMut::new(), streams: BTreeMap::new() }
    }

    fn add(&mut self, stream: StreamId) {
        self.streams.insert(stream.get(), Content { stream, bytes: Vec::new(), ended: false });
    }

    /// Accepts and reads everything. What the session would answer is returned.
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        for piece in bytes.chunks(READ_BUFFER_BYTES_MAX) {
            self.input.extend_from_slice(piece);
            self.session.receive(&mut self.input, Duration::ZERO).unwrap();
            while let Some(stream) = self.session.accept() {
                self.add(stream);
            }
            for content in self.streams.values_mut() {
                while let Ok(Read::Data(data)) = self.session.read(content.stream) {
                    content.bytes.extend_from_slice(&data);
                }
                content.ended |= self.session.read(content.stream) == Ok(Read::End);
            }
            answers.extend(written(&mut self.session, usize::MAX));
        }
        answers
    }
}

fn written(session: &mut Session, bytes_max: usize) -> Vec<u8> {
    let mut out = Outgoing::default();
    session.transmit(&mut out, bytes_max);
    let mut bytes = Vec::new();
    while !out.is_empty() {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = out.slices(&mut slices);
        let before = bytes.len();
        slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        out.advance(bytes.len() - before);
    }
    bytes
}

/// How many streams a direction opens.
fn opened(records: &[Record], from_client: bool) -> usize {
    let mut end = End::new(if from_client { Role::Server } else { Role::Client });
    for record in records.iter().filter(|record| record.from_client == from_client) {
        end.hear(&record.bytes);
    }
    end.streams.len()
}

/// Both ends of a recording. What ours would answer goes nowhere, so they open what the recorded
/// ends opened.
fn replay(name: &str) -> (End, End) {
    let records = records(name);
    let mut client = End::new(Role::Client);
    let mut server = End::new(Role::Server);
    for (end, from_client) in [(&mut client, true), (&mut server, false)] {
        for _ in 0..opened(&records, from_client) {
            let stream = end.session.open().unwrap();
            end.add(stream);
        }
    }
    for record in &records {
        let end = if record.from_client { &mut server } else { &mut client };
        end.hear(&record.bytes);
    }
    assert!(client.input.is_empty() && server.input.is_empty(), "{name}: a frame was cut off");
    (client, server)
}

/// Stream 1 carries the client's gRPC, stream 2 the server's own: Gitaly dials back at once. The
/// others are sidechannels.
fn check(name: &str, sidechannels: u32) -> End {
    let (client, server) = replay(name);
    let grpc = &server.streams[&1].bytes;
    assert!(grpc.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "{name}: {grpc:?}");
    assert!(client.streams[&2].bytes.starts_with(&grpc[..24]), "{name}");
    assert!(client.streams[&1].bytes.len() > 9, "{name}: nothing from the server's HTTP/2");
    for id in (0..sidechannels).map(|turn| 4 + 2 * turn) {
        let (from_server, from_client) = (&client.streams[&id], &server.streams[&id]);
        assert!(from_server.bytes.starts_with(b"sidechannel\0\0\0\0\0\0\0"), "{name}");
        assert!(from_client.bytes.starts_with(b"ok0"), "{name}: {:?}", from_client.bytes);
        assert!(from_client.bytes.ends_with(b"0000"), "{name}: {:?}", from_client.bytes);
        assert!(from_server.ended && from_client.ended, "{name}");
    }
    assert_eq!(client.streams.len(), 2 + sidechannels as usize, "{name}");
    client
}

/// What a sidechannel carried, taken out of its framing, equals what the client's reader got.
fn check_output(name: &str, unframe: fn(&[u8]) -> Vec<u8>) {
    let client = check(name, 1);
    let output = std::fs::read(capture(name).with_extension("out")).unwrap();
    assert!(unframe(&client.streams[&4].bytes[19..]) == output, "{name}");
}

/// Band 1 of side-band packets: four hexadecimal digits of length, the band, the payload.
fn standard_output(mut packets: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    while !packets.is_empty() {
        let length = std::str::from_utf8(&packets[..4]).unwrap();
        let (packet, rest) = packets.split_at(usize::from_str_radix(length, 16).unwrap());
        assert_eq!(packet[4], 1, "nothing was said on standard error");
        output.extend_from_slice(&packet[5..]);
        packets = rest;
    }
    output
}

#[test]
fn sessions_accept_what_go_said_and_streams_carry_what_go_read() {
    check("repository-exists", 0);
    check("http-ls-refs", 1);
    check("http-fetch-two-at-once", 2);
    check_output("http-fetch", <[u8]>::to_vec);
    check_output("ssh-fetch", standard_output);
    let client = check("http-fetch-large", 1);
    let large = &client.streams[&4].bytes;
    assert!(large.len() > 500_000 && large.ends_with(b"0000"), "{}", large.len());
}

#[test]
fn what_was_recorded_survives_being_sent_by_us() {
    for name in ["http-fetch", "http-fetch-large", "ssh-fetch", "http-fetch-two-at-once"] {
        let (recorded, _) = replay(name);
        let mut sender = Session::new(Role::Server, LIMITS);
        let mut receiver = End::new(Role::Client);
        for content in recorded.streams.values().skip(1) {
            let stream = sender.open().unwrap();
            sender.send(stream, &mut Bytes::copy_from_slice(&content.bytes)).unwrap();
            sender.finish(stream);
        }
        while sender.wants_transmit() {
            let frames = written(&mut sender, 100_000);
            let mut answers = BytesMut::from(&receiver.hear(&frames)[..]);
            sender.receive(&mut answers, Duration::ZERO).unwrap();
        }
        let sent = recorded.streams.values().skip(1).map(|content| &content.bytes);
        assert!(receiver.streams.values().map(|content| &content.bytes).eq(sent), "{name}");
        assert!(receiver.streams.values().all(|content| content.ended), "{name}");
    }
}
