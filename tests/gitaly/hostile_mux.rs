//! First bytes that are nobody's, and muxes that break their protocol.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use gitring_tests::http2;
use gitring_tests::random::Random;
use gitring_tests::yamux::{self, Connection, FIN, GRPC, RST, SYN, data, header};

use super::health::Health;

/// How long a connection may say nothing before the node closes it, with some room.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// A `RepositoryExists` of `varied.git` on an HTTP/2 stream.
pub(super) fn exists(stream: u32) -> Vec<u8> {
    let message = b"\x0a\x15\x12\x07default\x1a\x0avaried.git";
    http2::call(stream, "/gitaly.RepositoryService/RepositoryExists", &[], message)
}

/// `RepositoryExistsResponse { exists: true }` in a DATA frame.
pub(super) fn says_yes(frame: &http2::Frame) -> bool {
    frame.kind == http2::DATA && frame.payload == http2::prefixed(&[8, 1])
}

fn connect(health: &Health) -> TcpStream {
    let socket = TcpStream::connect(health.node.gitaly_address()).expect("the node accepts");
    socket.set_read_timeout(Some(SILENCE_MAX)).expect("a time above zero");
    socket.set_write_timeout(Some(SILENCE_MAX)).expect("a time above zero");
    socket
}

/// Sends first bytes and nothing more, and expects the end of the connection.
fn check_ended(health: &Health, first: &[u8], then_eof: bool) {
    let mut socket = connect(health);
    drop(socket.write_all(first));
    if then_eof {
        drop(socket.shutdown(Shutdown::Write));
    }
    let what = first[..first.len().min(40)].escape_ascii().to_string();
    match socket.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn first_bytes_that_are_nobodys() {
    let health = Health::new();
    for length in 0..=11 {
        check_ended(&health, &b"backchannel"[..length], true);
        check_ended(&health, &b"sidechannel"[..length], true);
    }
    let seed = 5;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    for _ in 0..100 {
        let length = 24 + random.below(500);
        check_ended(&health, &random.bytes(length), false);
        check_ended(&health, &[&b"backchannel"[..], &random.bytes(length)].concat(), true);
    }
    for first in [
        &b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"sidechannel\0\0\0\0\0\0\0\x01and more of that",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"backchannelbackchannel--",
    ] {
        check_ended(&health, first, false);
    }
    health.assert_unchanged();
}

/// Who begins and says nothing more is closed after half a minute, and holds nobody up.
#[test]
fn silence() {
    let health = Health::new();
    let begun = Instant::now();
    let syn = [&b"backchannel"[..], &header(0, yamux::WINDOW_UPDATE, SYN, GRPC, 0)].concat();
    let half = [&syn[..], &data(0, GRPC, b"PRI * HT")].concat();
    let firsts =
        [&b""[..], b"backch", b"side", b"PRI", b"backchannel", b"backchannel\0\x01", &syn, &half];
    let waiting: Vec<_> = (0..8)
        .flat_map(|_| &firsts)
        .map(|first| {
            let mut socket = connect(&health);
            socket.write_all(first).expect("the node reads");
            socket
        })
        .collect();
    health.assert_serving();
    for mut socket in waiting {
        let ended = socket.read_to_end(&mut Vec::new());
        let is_silent = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
        assert!(!ended.is_err_and(|error| is_silent(&error)), "open after {:?}", begun.elapsed());
    }
    assert!(begun.elapsed() > Duration::from_secs(20), "{:?}", begun.elapsed());
    health.assert_unchanged();
}

#[test]
fn frames_that_break_the_protocol() {
    let health = Health::new();
    for frame in [
        // Versions and types that do not exist.
        header(1, yamux::WINDOW_UPDATE, SYN, 3, 0),
        header(255, 255, 0, 0, 0),
        header(0, 4, 0, 0, 0),
        header(0, 9, SYN, 3, 0),
        // Streams that only the node may open, and one that is opened twice.
        header(0, yamux::WINDOW_UPDATE, SYN, 2, 0),
        header(0, yamux::WINDOW_UPDATE, SYN, GRPC, 0),
        // A window overrun with one header: nobody lets a client send so much at once.
        header(0, yamux::DATA, 0, GRPC, u32::MAX),
        header(0, yamux::DATA, 0, GRPC, (16 << 20) + 1),
        // A window that overflows.
        [
            header(0, yamux::WINDOW_UPDATE, 0, GRPC, u32::MAX),
            header(0, yamux::WINDOW_UPDATE, 0, GRPC, u32::MAX),
        ]
        .concat(),
    ] {
        let mut connection = Connection::with_grpc(health.node.gitaly_address());
        connection.send(&frame);
        assert!(connection.is_ended(), "{frame:?}");
    }
    health.assert_unchanged();
}

/// What a stream that nobody accepts may hold is not more than its first window.
#[test]
fn windows_overrun() {
    let health = Health::new();
    let mut connection = Connection::with_grpc(health.node.gitaly_address());
    connection.send(&header(0, yamux::WINDOW_UPDATE, SYN, 3, 0));
    for _ in 0..64 {
        connection.send(&data(0, 3, &[7; 64 << 10]));
    }
    // Either the stream was reset in time and its bytes drained, or the connection is gone.
    connection.send_grpc(&exists(1));
    drop(connection.find_grpc(says_yes));
    health.assert_unchanged();
}

/// The node has no use for a second stream: each is reset, and the first one goes on.
#[test]
fn a_thousand_streams() {
    let health = Health::new();
    let mut connection = Connection::with_grpc(health.node.gitaly_address());
    for at in 0..1_000 {
        connection.send(&header(0, yamux::WINDOW_UPDATE, SYN, 3 + 2 * at, 0));
        if at % 100 == 0 {
            connection.send(&data(0, 3 + 2 * at, b"nobody reads this"));
        }
    }
    let mut reset = 0;
    while reset < 1_000 {
        let frame = connection.receive().expect("the connection goes on");
        reset += u32::from(frame.flags & RST != 0);
    }
    connection.send_grpc(&exists(1));
    assert!(connection.find_grpc(says_yes).is_some(), "the first stream goes on");
    health.assert_serving();
    drop(connection);
    health.assert_unchanged();
}

/// Frames for streams that nobody opened, or that are closed, are dropped.
#[test]
fn streams_for_nobody() {
    let health = Health::new();
    let mut connection = Connection::with_grpc(health.node.gitaly_address());
    connection.send(&data(0, 77, b"nobody"));
    connection.send(&data(FIN, 79, b"nobody"));
    connection.send(&header(0, yamux::WINDOW_UPDATE, 0, 81, 1 << 20));
    connection.send(&header(0, yamux::WINDOW_UPDATE, RST, 83, 0));
    // Opened, closed, and used on.
    connection.send(&header(0, yamux::WINDOW_UPDATE, SYN, 3, 0));
    connection.send(&header(0, yamux::WINDOW_UPDATE, FIN, 3, 0));
    connection.send(&data(0, 3, b"after the end"));
    connection.send_grpc(&exists(1));
    drop(connection.find_grpc(says_yes));
    health.assert_unchanged();
}

/// A client that opens no further streams may still use those it has.
#[test]
fn go_away_and_more() {
    let health = Health::new();
    let mut connection = Connection::with_grpc(health.node.gitaly_address());
    connection.send(&header(0, yamux::GO_AWAY, 0, 0, 0));
    connection.send_grpc(&exists(1));
    assert!(connection.find_grpc(says_yes).is_some(), "the first stream goes on");
    connection.send(&header(0, yamux::GO_AWAY, 0, 0, 1));
    connection.send(&header(0, yamux::WINDOW_UPDATE, SYN, 3, 0));
    connection.send_grpc(&exists(3));
    drop(connection.find_grpc(says_yes));
    drop(connection);
    health.assert_unchanged();
}

/// Floods of cheap frames end the connection, or are served at little cost.
#[test]
fn floods() {
    let health = Health::new();
    let frames = [
        header(0, yamux::PING, SYN, 0, 7),
        header(0, yamux::PING, 2, 0, 7),
        header(0, yamux::WINDOW_UPDATE, 0, GRPC, 0),
        header(0, yamux::WINDOW_UPDATE, RST, 99, 0),
        header(0, yamux::DATA, 0, GRPC, 0),
    ];
    let floods: Vec<_> = frames
        .iter()
        .map(|frame| {
            let mut connection = Connection::with_grpc(health.node.gitaly_address());
            let timeout = Some(Duration::from_secs(2));
            connection.socket.set_write_timeout(timeout).expect("a time above zero");
            let many = frame.repeat(10_000);
            for _ in 0..20 {
                if connection.socket.write_all(&many).is_err() {
                    break;
                }
            }
            connection
        })
        .collect();
    health.assert_serving();
    drop(floods);
    health.assert_unchanged();
}
