//! Clients that break HTTP/2, or use it to be a burden, on TCP and within a mux.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use gitring_tests::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, hello, prefixed, read,
};
use gitring_tests::yamux::Connection;

use super::health::Health;
use super::hostile_mux::{exists, says_yes};

const EXISTS: &str = "/gitaly.RepositoryService/RepositoryExists";
const INFO_REFS: &str = "/gitaly.SmartHTTPService/InfoRefsUploadPack";

/// A connection on which HTTP/2 has begun.
fn begin(health: &Health, settings: &[(u16, u32)]) -> TcpStream {
    let mut socket = TcpStream::connect(health.node.gitaly_address()).expect("the node accepts");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time above zero");
    socket.set_write_timeout(Some(Duration::from_secs(3))).expect("a time above zero");
    socket.write_all(&hello(settings)).expect("the node reads");
    socket
}

/// Whether the node ends the connection, with GOAWAY or without.
fn is_ended(socket: &mut TcpStream) -> bool {
    loop {
        match read(socket) {
            Ok(None) => return true,
            Ok(Some(frame)) if frame.kind == GOAWAY => return true,
            Ok(Some(_)) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Sends a piece again and again, as long as it is taken; returns whether the node cut it off.
fn flood(socket: &mut TcpStream, times: usize, mut piece: impl FnMut(usize) -> Vec<u8>) -> bool {
    (0..times).any(|at| socket.write_all(&piece(at)).is_err())
}

fn id(at: usize) -> u32 {
    u32::try_from(2 * at + 1).expect("few streams")
}

#[test]
fn rapid_reset() {
    let health = Health::new();
    let mut socket = begin(&health, &[]);
    let cut = flood(&mut socket, 20_000, |at| {
        let headers = frame(HEADERS, END_HEADERS, id(at), &block(EXISTS, &[]));
        [headers, frame(RST_STREAM, 0, id(at), &8_u32.to_be_bytes())].concat()
    });
    assert!(cut || is_ended(&mut socket), "the connection goes on");
    health.assert_unchanged();
}

#[test]
fn rapid_reset_within_a_mux() {
    let health = Health::new();
    let mut connection = Connection::with_grpc(health.node.gitaly_address());
    for at in 0..5_000 {
        let headers = frame(HEADERS, END_HEADERS, id(at), &block(EXISTS, &[]));
        let reset = frame(RST_STREAM, 0, id(at), &8_u32.to_be_bytes());
        connection.send_grpc(&[headers, reset].concat());
    }
    let ended = connection.find_grpc(|frame| frame.kind == GOAWAY);
    eprintln!("{ended:?}");
    drop(connection);
    health.assert_unchanged();
}

#[test]
fn continuations_without_end() {
    let health = Health::new();
    let mut socket = begin(&health, &[]);
    let headers = frame(HEADERS, 0, 1, &block(EXISTS, &[]));
    socket.write_all(&headers).expect("the node reads");
    let filler = [&[0, 1, b'a', 127, 0x81, 0x7d][..], &[b'x'; 16_000]].concat();
    let cut = flood(&mut socket, 2_000, |_| frame(CONTINUATION, 0, 1, &filler));
    assert!(cut || is_ended(&mut socket), "the connection goes on");
    // The same with empty ones.
    let mut socket = begin(&health, &[]);
    socket.write_all(&headers).expect("the node reads");
    let cut = flood(&mut socket, 100, |_| frame(CONTINUATION, 0, 1, &[]).repeat(1_000));
    assert!(cut || is_ended(&mut socket), "the connection goes on");
    health.assert_unchanged();
}

/// Frames that cost an answer each, from somebody who reads none; frames that carry nothing.
#[test]
fn floods() {
    let health = Health::new();
    let open = frame(HEADERS, END_HEADERS, 1, &block(EXISTS, &[]));
    let cases = [
        frame(PING, 0, 0, &[7; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]),
        frame(DATA, 0, 1, &[]),
        frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()),
        // Types that nobody knows are to be passed over.
        frame(0x42, 0, 0, &[]),
    ];
    let flooded: Vec<_> = cases
        .iter()
        .map(|case| {
            let mut socket = begin(&health, &[]);
            socket.write_all(&open).expect("the node reads");
            flood(&mut socket, 100, |_| case.repeat(1_000));
            socket
        })
        .collect();
    health.assert_serving();
    drop(flooded);
    health.assert_unchanged();
}

/// Answers that nobody lets go wait on their side of the window.
#[test]
fn windows_that_stay_closed() {
    let health = Health::new();
    let sockets: Vec<_> = (0..4)
        .map(|_| {
            let mut socket = begin(&health, &[(INITIAL_WINDOW_SIZE, 0)]);
            for at in 0..200 {
                let headers = frame(HEADERS, END_HEADERS, id(at), &block(INFO_REFS, &[]));
                let message = prefixed(b"\x0a\x15\x12\x07default\x1a\x0avaried.git");
                let call = [headers, frame(DATA, END_STREAM, id(at), &message)].concat();
                socket.write_all(&call).expect("the node reads");
            }
            socket
        })
        .collect();
    health.assert_serving();
    drop(sockets);
    health.assert_unchanged();
}

/// More metadata than is allowed: refused without a look, and the connection may go on.
#[test]
fn headers_that_are_too_large() {
    let health = Health::new();
    let mut socket = begin(&health, &[]);
    let long = "x".repeat(12_000);
    let fields: Vec<_> = (0..8).map(|_| ("big", long.as_str())).collect();
    let whole = block(EXISTS, &fields);
    let mut pieces = whole.chunks(16_000);
    let first = pieces.next().expect("not empty");
    drop(socket.write_all(&frame(HEADERS, END_STREAM, 1, first)));
    let rest: Vec<_> = pieces.collect();
    for (at, piece) in rest.iter().enumerate() {
        let flags = if at + 1 == rest.len() { END_HEADERS } else { 0 };
        drop(socket.write_all(&frame(CONTINUATION, flags, 1, piece)));
    }
    let refused = loop {
        match read(&mut socket).expect("an answer") {
            Some(frame) if frame.stream == 1 => break frame,
            Some(frame) if frame.kind == GOAWAY => break frame,
            Some(_) => {}
            None => panic!("the node says nothing"),
        }
    };
    assert!(matches!(refused.kind, HEADERS | RST_STREAM | GOAWAY), "{refused:?}");
    health.assert_unchanged();
}

/// Frames of HTTP/2 in a wrong place end its connection, and with it the mux's.
#[test]
fn frames_that_break_the_protocol() {
    let health = Health::new();
    for wrong in [
        // A stream of the server's, a stream from the past, the connection's.
        frame(HEADERS, END_HEADERS, 2, &block(EXISTS, &[])),
        frame(DATA, 0, 0, b"x"),
        frame(DATA, 0, 9, b"x"),
        frame(CONTINUATION, END_HEADERS, 1, &[]),
        frame(SETTINGS, 0, 1, &[]),
        frame(SETTINGS, 0, 0, b"12345"),
        frame(PING, 0, 0, b"1234567"),
        frame(WINDOW_UPDATE, 0, 0, &0_u32.to_be_bytes()),
        frame(RST_STREAM, 0, 0, &[0; 4]),
        // A header block that is none.
        frame(HEADERS, END_HEADERS, 1, &[0xff; 40]),
        // Longer than any frame may be.
        frame(DATA, 0, 1, &[0; 70_000]),
    ] {
        let mut socket = begin(&health, &[]);
        drop(socket.write_all(&wrong));
        assert!(is_ended(&mut socket), "{:?}", &wrong[..20.min(wrong.len())]);
        let mut connection = Connection::with_grpc(health.node.gitaly_address());
        connection.send_grpc(&wrong);
        let ended = connection.find_grpc(|frame| frame.kind == GOAWAY);
        assert!(ended.is_some() || connection.is_ended(), "{:?}", &wrong[..20.min(wrong.len())]);
    }
    health.assert_unchanged();
}

/// gRPC's C core (Ruby, Python) names the path of a unix socket, percent-encoded, as authority.
#[test]
fn the_authority_of_a_unix_socket() {
    let health = Health::new();
    let authority = b"run%2Fgl%2Fd.sock";
    // `:path` and `:authority` as literals with incremental indexing, the others from the table.
    let path = [&[0x44, EXISTS.len() as u8], EXISTS.as_bytes()].concat();
    let authority = [&[0x41, authority.len() as u8], &authority[..]].concat();
    let content = b"\x40\x0ccontent-type\x10application/grpc\x40\x02te\x08trailers";
    let block = [&[0x86, 0x83][..], &path, &authority, content].concat();
    let message = prefixed(b"\x0a\x15\x12\x07default\x1a\x0avaried.git");
    for cut in [1, 9, 1_000_000] {
        let path = health.node.socket_path();
        let mut socket = std::os::unix::net::UnixStream::connect(path).expect("the node accepts");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time above zero");
        let call = [
            hello(&[]),
            frame(HEADERS, END_HEADERS, 1, &block),
            frame(DATA, END_STREAM, 1, &message),
            // What was indexed is there for the next call.
            frame(HEADERS, END_HEADERS, 3, &[0x86, 0x83, 0xc1, 0xc0, 0xbf, 0xbe]),
            frame(DATA, END_STREAM, 3, &message),
        ];
        for piece in call.concat().chunks(cut) {
            socket.write_all(piece).expect("the node reads");
        }
        let mut served = 0;
        while served < 2 {
            let frame = read(&mut socket).expect("an answer").expect("no end before the answer");
            assert_ne!(frame.kind, GOAWAY, "cut by {cut}: {frame:?}");
            assert_ne!(frame.kind, RST_STREAM, "cut by {cut}: {frame:?}");
            served += usize::from(says_yes(&frame));
        }
    }
    let mut connection = Connection::with_grpc(health.node.gitaly_address());
    connection.send_grpc(&exists(1));
    assert!(connection.find_grpc(says_yes).is_some());
    drop(connection);
    health.assert_unchanged();
}
