//! Who sends: yamux and side-band-64k by hand, one connection a thread.
//!
//! Always true: never more than the window is sent; what lies in the file is framed while it is sent.
//!
//! Never here: anything but one stream at a time.

use std::io::{self, IoSlice, Read, Write};
use std::ops::Range;
use std::time::Duration;

use gitring_daemon::mux::CLIENT;
use gitring_git::sideband::{self, Band, Width};
use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice};

use crate::bars::plain_send::{End, Source, thread_time};

/// spec.md of hashicorp/yamux: version, type, flags, stream, length.
const FRAME_BYTES: usize = 12;
const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const SYN: u8 = 1;
const FIN: u8 = 4;

const PACKET_HEADER_BYTES: u64 = 5;
const WINDOW_BYTES: u64 = CLIENT.accepted_window_bytes as u64;
/// Holds a window and what cuts it into packets.
const PIPE_BYTES: usize = 1 << 20;

/// A way to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Mapped,
    Sendfile,
    Splice,
}

/// A part of what is sent.
enum Part {
    /// Frames and packets begin with it.
    Header([u8; FRAME_BYTES], Range<usize>),
    /// Bytes of the file.
    Payload(Range<u64>),
}

/// One connection.
pub(super) struct Sender<'a> {
    socket: End,
    source: &'a Source,
    method: Method,
    /// Of the next stream.
    id: u32,
    room_bytes: u64,
    updates: Vec<u8>,
    parts: Vec<Part>,
}

/// All packets of a pack of `bytes`.
pub(super) fn framed_bytes(bytes: u64) -> u64 {
    bytes + bytes.div_ceil(payload_bytes_max()) * PACKET_HEADER_BYTES
}

fn payload_bytes_max() -> u64 {
    Width::Large.payload_bytes_max() as u64
}

// === impl Method ===

impl Method {
    pub(super) const ALL: [Self; 3] = [Self::Mapped, Self::Sendfile, Self::Splice];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Sendfile => "sendfile",
            Self::Splice => "splice",
        }
    }
}

// === impl Sender ===

impl<'a> Sender<'a> {
    pub(super) fn new(socket: End, source: &'a Source, method: Method) -> Self {
        let (updates, parts) = (Vec::new(), Vec::new());
        Self { socket, source, method, id: 2, room_bytes: 0, updates, parts }
    }

    /// Sends the file so many times, in a stream each; the CPU time that it took.
    pub(super) fn send(mut self, times: usize) -> io::Result<Duration> {
        let before = thread_time()?;
        let pipe = pipe()?;
        fcntl_setpipe_size(&pipe.1, PIPE_BYTES)?;
        for _ in 0..times {
            self.room_bytes = WINDOW_BYTES;
            self.socket.write_all(&self.frame(WINDOW_UPDATE, SYN, 0))?;
            let (mut at, end) = (0, framed_bytes(self.source.bytes()));
            while at < end {
                while self.room_bytes == 0 {
                    self.read_updates()?;
                }
                let bytes = self.room_bytes.min(end - at);
                self.room_bytes -= bytes;
                self.cut(at..at + bytes);
                match self.method {
                    Method::Mapped => self.write_mapped()?,
                    Method::Sendfile => self.send_file()?,
                    Method::Splice => self.splice(&pipe)?,
                }
                at += bytes;
            }
            self.socket.write_all(&self.frame(WINDOW_UPDATE, FIN, 0))?;
            self.id += 2;
        }
        let used = thread_time()?.saturating_sub(before);
        // The client leaves when it has all.
        while self.socket.read(&mut [0; 256]).is_ok_and(|read| read > 0) {}
        Ok(used)
    }

    fn frame(&self, kind: u8, flags: u8, length: u32) -> [u8; FRAME_BYTES] {
        let mut frame = [0; FRAME_BYTES];
        (frame[1], frame[3]) = (kind, flags);
        frame[4..8].copy_from_slice(&self.id.to_be_bytes());
        frame[8..].copy_from_slice(&length.to_be_bytes());
        frame
    }

    /// Waits for the client to open the window. Those of an earlier stream do not count.
    fn read_updates(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 * FRAME_BYTES];
        let read = self.socket.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.updates.extend_from_slice(&buffer[..read]);
        let whole = self.updates.len() / FRAME_BYTES * FRAME_BYTES;
        for frame in self.updates.drain(..whole).as_slice().chunks_exact(FRAME_BYTES) {
            let field = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| frame[at + i]));
            if frame[1] == WINDOW_UPDATE && field(4) == self.id {
                self.room_bytes += u64::from(field(8));
            }
        }
        Ok(())
    }

    /// One frame with `range` of all packets.
    fn cut(&mut self, range: Range<u64>) {
        self.parts.clear();
        let length = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
        self.parts.push(Part::Header(self.frame(DATA, 0, length), 0..FRAME_BYTES));
        let packet_bytes = PACKET_HEADER_BYTES + payload_bytes_max();
        let mut at = range.start;
        while at < range.end {
            let (packet, within) = (at / packet_bytes, at % packet_bytes);
            let first = packet * payload_bytes_max();
            let last = (first + payload_bytes_max()).min(self.source.bytes());
            if within < PACKET_HEADER_BYTES {
                let payload_bytes = usize::try_from(last - first).unwrap_or(usize::MAX);
                let mut header = [0; FRAME_BYTES];
                let packet_header = sideband::header(Band::Data, payload_bytes);
                header[..packet_header.len()].copy_from_slice(&packet_header);
                let end = PACKET_HEADER_BYTES.min(within + range.end - at);
                self.parts.push(Part::Header(header, within as usize..end as usize));
                at += end - within;
            } else {
                let start = first + within - PACKET_HEADER_BYTES;
                let end = last.min(start + range.end - at);
                self.parts.push(Part::Payload(start..end));
                at += end - start;
            }
        }
    }

    fn write_mapped(&mut self) -> io::Result<()> {
        let mut slices = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            slices.push(IoSlice::new(match part {
                Part::Header(bytes, range) => &bytes[range.clone()],
                Part::Payload(range) => {
                    &self.source.mapped()[range.start as usize..range.end as usize]
                }
            }));
        }
        let mut slices = &mut slices[..];
        while !slices.is_empty() {
            let written = self.socket.write_vectored(slices)?;
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }

    fn send_file(&mut self) -> io::Result<()> {
        for part in &self.parts {
            match part {
                Part::Header(bytes, range) => {
                    let mut left = &bytes[range.clone()];
                    while !left.is_empty() {
                        left = &left[send(&self.socket, left, SendFlags::MORE)?..];
                    }
                }
                Part::Payload(range) => {
                    let mut at = range.start;
                    while at < range.end {
                        let rest = (range.end - at) as usize;
                        if sendfile(&self.socket, self.source.file(), Some(&mut at), rest)? == 0 {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn splice(&mut self, pipe: &(std::os::fd::OwnedFd, std::os::fd::OwnedFd)) -> io::Result<()> {
        let mut held = 0;
        for part in &self.parts {
            match part {
                Part::Header(bytes, range) => {
                    held += rustix::io::write(&pipe.1, &bytes[range.clone()])?;
                }
                Part::Payload(range) => {
                    let mut at = range.start;
                    while at < range.end {
                        let rest = (range.end - at) as usize;
                        let file = self.source.file();
                        let flags = SpliceFlags::MOVE;
                        match splice(file, Some(&mut at), &pipe.1, None, rest, flags)? {
                            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                            moved => held += moved,
                        }
                    }
                }
            }
        }
        while held > 0 {
            held -= splice(&pipe.0, None, &self.socket, None, held, SpliceFlags::MOVE)?;
        }
        Ok(())
    }
}
