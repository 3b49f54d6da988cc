//! A mux by hand: yamux frames (hashicorp/yamux, `spec.md`) and a connection that speaks them.
//!
//! Always true: nothing is checked on the way out; windows are granted and kept by the test.
//!
//! Never here: the mux under test.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::http2;

/// Frame type: data.
pub const DATA: u8 = 0;
/// Frame type: window update.
pub const WINDOW_UPDATE: u8 = 1;
/// Frame type: ping.
pub const PING: u8 = 2;
/// Frame type: go away.
pub const GO_AWAY: u8 = 3;

/// Opens a stream, or a ping.
pub const SYN: u16 = 1;
/// Acknowledges a stream, or answers a ping.
pub const ACK: u16 = 2;
/// Half close.
pub const FIN: u16 = 4;
/// Reset.
pub const RST: u16 = 8;

/// The first stream of a client, which carries gRPC.
pub const GRPC: u32 = 1;

/// Longest wait for a frame.
const READ_MAX: Duration = Duration::from_secs(20);

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u16,
    /// Its stream.
    pub id: u32,
    /// Length of the data, window, ping value or reason.
    pub length: u32,
    /// The data, of data frames.
    pub data: Vec<u8>,
}

/// A client's connection with a mux.
#[derive(Debug)]
pub struct Connection {
    /// The socket behind the magic.
    pub socket: TcpStream,
    /// HTTP/2 bytes of the first stream that make no whole frame yet.
    grpc: Vec<u8>,
}

/// A header with any values.
pub fn header(version: u8, kind: u8, flags: u16, id: u32, length: u32) -> Vec<u8> {
    let flags = flags.to_be_bytes();
    [&[version, kind], &flags[..], &id.to_be_bytes(), &length.to_be_bytes()].concat()
}

/// A data frame.
pub fn data(flags: u16, id: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a frame is short");
    [&header(0, DATA, flags, id, length), data].concat()
}

/// Reads one frame; `None` at the end of the connection.
///
/// # Errors
/// If the connection breaks, or nothing comes for as long as its time-out allows.
pub fn read(socket: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut head = [0; 12];
    if !fill(socket, &mut head)? {
        return Ok(None);
    }
    let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let (kind, flags) = (head[1], u16::from_be_bytes([head[2], head[3]]));
    let (id, length) = (number(4), number(8));
    let mut data = vec![0; if kind == DATA { length as usize } else { 0 }];
    socket.read_exact(&mut data)?;
    Ok(Some(Frame { kind, flags, id, length, data }))
}

/// Fills `head`; false if the connection ends in front of it.
///
/// # Errors
/// As [`read`], and if the connection ends within it.
pub(crate) fn fill(socket: &mut impl Read, head: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < head.len() {
        match socket.read(&mut head[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => filled += more,
            // signal(7): a socket with a time-out is interrupted by any signal, as of a child.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

// === impl Connection ===

impl Connection {
    /// Connects and says that a mux follows.
    pub fn open(address: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(address).expect("the node accepts");
        socket.set_read_timeout(Some(READ_MAX)).expect("a time above zero");
        socket.set_nodelay(true).expect("a socket option");
        socket.write_all(b"backchannel").expect("the node reads");
        Self { socket, grpc: Vec::new() }
    }

    /// The same, with gRPC begun on the first stream.
    pub fn with_grpc(address: SocketAddr) -> Self {
        let mut connection = Self::open(address);
        connection.send(&header(0, WINDOW_UPDATE, SYN, GRPC, 0));
        connection.send_grpc(&http2::hello(&[]));
        connection
    }

    /// Sends bytes. Whoever is refused may be cut off while it writes, which is no failure here.
    pub fn send(&mut self, bytes: &[u8]) {
        drop(self.socket.write_all(bytes));
    }

    /// Sends HTTP/2 bytes on the first stream.
    pub fn send_grpc(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(32 * 1024) {
            self.send(&data(0, GRPC, piece));
        }
    }

    /// The next frame; `None` once the node has closed the connection, or reset it.
    ///
    /// # Panics
    /// If nothing comes for 20 seconds.
    pub fn receive(&mut self) -> Option<Frame> {
        match read(&mut self.socket) {
            Ok(frame) => frame,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("no frame within {READ_MAX:?}")
            }
            Err(_) => None,
        }
    }

    /// Reads until a frame is found; `None` if the connection ends before.
    pub fn find(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.receive()?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// Reads until HTTP/2 has a frame that is wanted; frames of other streams are dropped.
    pub fn find_grpc(&mut self, wanted: impl Fn(&http2::Frame) -> bool) -> Option<http2::Frame> {
        loop {
            while let Some(frame) = http2::split(&mut self.grpc) {
                if wanted(&frame) {
                    return Some(frame);
                }
            }
            let frame = self.receive()?;
            if frame.kind == DATA && frame.id == GRPC {
                self.grpc.extend_from_slice(&frame.data);
            }
        }
    }

    /// Whether the node ends the connection.
    pub fn is_ended(&mut self) -> bool {
        while self.receive().is_some() {}
        true
    }
}
