//! HTTP/2 frame by frame, as tests write and read them (RFC 9113), and gRPC calls in them.
//!
//! Always true: nothing is checked on the way out; header fields are literals without Huffman
//! coding and without indexing (RFC 7541, section 6.2.2), so a block is the same wherever it stands.
//!
//! Never here: compression state. Answers are told by their frames; `grpc-status` is not decoded.

use std::io::{self, Read};

use crate::yamux::fill;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame type DATA.
pub const DATA: u8 = 0;
/// Frame type HEADERS.
pub const HEADERS: u8 = 1;
/// Frame type RST_STREAM.
pub const RST_STREAM: u8 = 3;
/// Frame type SETTINGS.
pub const SETTINGS: u8 = 4;
/// Frame type PING.
pub const PING: u8 = 6;
/// Frame type GOAWAY.
pub const GOAWAY: u8 = 7;
/// Frame type WINDOW_UPDATE.
pub const WINDOW_UPDATE: u8 = 8;
/// Frame type CONTINUATION.
pub const CONTINUATION: u8 = 9;

/// END_STREAM of DATA and HEADERS; ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
/// END_HEADERS.
pub const END_HEADERS: u8 = 4;

/// SETTINGS_INITIAL_WINDOW_SIZE
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream, 0 for the connection.
    pub stream: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The preface and SETTINGS with these values.
pub fn hello(settings: &[(u16, u32)]) -> Vec<u8> {
    let values = settings
        .iter()
        .flat_map(|(key, value)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat());
    [PREFACE, &frame(SETTINGS, 0, 0, &values.collect::<Vec<_>>())].concat()
}

/// The header block of a gRPC call, with more fields behind those that every call has.
pub fn block(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "node"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    usual.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}

/// One field, a literal that is not indexed.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &string(name), &string(value)].concat()
}

/// A whole unary call.
pub fn call(stream: u32, path: &str, more: &[(&str, &str)], message: &[u8]) -> Vec<u8> {
    let headers = frame(HEADERS, END_HEADERS, stream, &block(path, more));
    [headers, frame(DATA, END_STREAM, stream, &prefixed(message))].concat()
}

/// A message as it lies in DATA frames (gRPC over HTTP2, "Length-Prefixed-Message").
pub fn prefixed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a message is short");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// Takes a whole frame from the front of what was read, if there is one.
pub fn split(bytes: &mut Vec<u8>) -> Option<Frame> {
    let head = bytes.get(..9)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let (kind, flags) = (head[3], head[4]);
    let stream = u32::from_be_bytes(head[5..9].try_into().expect("four bytes"));
    let payload = bytes.get(9..9 + length)?.to_vec();
    bytes.drain(..9 + length);
    Some(Frame { kind, flags, stream, payload })
}

/// Reads one frame; `None` at the end of the connection.
///
/// # Errors
/// If the connection breaks, or nothing comes for as long as its time-out allows.
pub fn read(socket: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut bytes = vec![0; 9];
    if !fill(socket, &mut bytes)? {
        return Ok(None);
    }
    let length = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
    bytes.resize(9 + length, 0);
    socket.read_exact(&mut bytes[9..])?;
    Ok(split(&mut bytes))
}

/// Strings as RFC 7541, section 5.2, without Huffman coding.
fn string(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut bytes = Vec::new();
    if length < 127 {
        bytes.push(u8::try_from(length).expect("below 127"));
    } else {
        bytes.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).expect("below 128") | 128);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).expect("below 128"));
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
