//! Clients that take their time: connections and calls that say half of something, and wait.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use gitring_tests::http2::{
    DATA, END_HEADERS, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, hello, read,
};

use super::health::Health;
use super::hostile_mux::{exists, says_yes};

const EXISTS: &str = "/gitaly.RepositoryService/RepositoryExists";

/// What is sent again and again, by how often it was.
type Piece = Box<dyn Fn(u32) -> Vec<u8>>;

/// As HTTP/2 reaches either port: Gitaly's, and the gateway's, which speaks it without TLS.
fn begin(address: std::net::SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the node accepts");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time above zero");
    socket.set_write_timeout(Some(Duration::from_secs(3))).expect("a time above zero");
    socket.write_all(&hello(&[])).expect("the node reads");
    socket
}

/// Calls of which the message never comes, or only a part: they cost 13 KiB each, hold up nobody on
/// the same connection, and go with it.
#[test]
fn calls_that_never_say_what_they_want() {
    let health = Health::new();
    let mut sockets: Vec<_> = (0..2).map(|_| begin(health.node.gitaly_address())).collect();
    for socket in &mut sockets {
        for stream in (1..1_000).step_by(2) {
            let headers = frame(HEADERS, END_HEADERS, stream, &block(EXISTS, &[]));
            // Of some comes half of the length in front of the message.
            let half = frame(DATA, 0, stream, &[0, 0, 0]);
            let open = if stream % 4 == 1 { headers } else { [headers, half].concat() };
            socket.write_all(&open).expect("the node reads");
        }
    }
    health.assert_serving();
    for socket in &mut sockets {
        socket.write_all(&exists(1_001)).expect("the node reads");
        while !says_yes(&read(socket).expect("an answer").expect("no end before it")) {}
    }
    drop(sockets);
    health.assert_unchanged();
}

/// The gateway's HTTP/2 under the same floods as Gitaly's.
#[test]
fn floods_of_the_gateway() {
    let health = Health::new();
    let reset = |stream: u32| {
        let path = "/varied.git/info/refs?service=git-upload-pack";
        let headers = frame(HEADERS, END_HEADERS, stream, &block(path, &[]));
        [headers, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    let floods: [(&str, Piece); 4] = [
        ("resets", Box::new(move |at| reset(2 * at + 1))),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(20))),
        ("pings", Box::new(|_| frame(6, 0, 0, &[7; 8]).repeat(20))),
        // A window that overflows ends the connection.
        ("windows", Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &0x00ff_ffff_u32.to_be_bytes()))),
    ];
    let flooded: Vec<_> = floods
        .iter()
        .map(|(name, piece)| {
            let mut socket = begin(health.node.gateway());
            let sent = (0..10_000).take_while(|at| socket.write_all(&piece(*at)).is_ok()).count();
            eprintln!("{name}: {sent} were taken");
            socket
        })
        .collect();
    health.assert_serving();
    drop(flooded);
    health.assert_unchanged();
}

/// Idle connections of every kind, many more than anybody needs: nobody else waits for them.
#[test]
fn hundreds_of_idle_connections() {
    let health = Health::new();
    let firsts: [&[u8]; 4] = [b"", b"GET /varied.git/info", b"PRI * HTTP/2.0\r\n", b"backch"];
    let addresses = [health.node.gitaly_address(), health.node.gateway()];
    let idle: Vec<_> = (0..400)
        .map(|at| {
            let mut socket = TcpStream::connect(addresses[at % 2]).expect("the node accepts");
            socket.write_all(firsts[at / 2 % 4]).expect("the node reads");
            socket
        })
        .collect();
    health.assert_serving();
    drop(idle);
    health.assert_unchanged();
}
