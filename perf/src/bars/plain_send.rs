//! The cheapest ways to send a cached file to a reader who drops it: what a delivery is held to.
//!
//! Plan: sender and reader are threads of this process, joined by a socket of the kind that the
//! clients have, with the buffers that the kernel gives it. The reader asks for as many bytes at
//! once as the clients' mux does. Only the CPU time of sending threads is counted.
//! - *sendfile*: the whole file in as few calls as the kernel allows;
//! - *mapped*: the file is mapped and its pages are touched once, then written in one call;
//! - *windowed*: the same, but never more than the window of a stock client ahead of the reader, who
//!   grants the half that it has read, as yamux does. No bar is held to this one: it tells what the
//!   client's window costs whoever sends, and so how much of a distance is the node's own.
//!
//! Always true: the file lies in the page cache, since a run that does not count precedes.
//!
//! Never here: framing, more than one stream on a socket.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use gitring_daemon::listener::UNIX_SEND_BUFFER_BYTES;
use gitring_daemon::mux::CLIENT;
use gitring_git::objects::GuardedMap;
use gitring_proto::yamux::READ_BUFFER_BYTES_MAX;
use rustix::fs::sendfile;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::time::{ClockId, clock_gettime};

/// The kind of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// A unix socket.
    Unix,
    /// TCP over the loopback device.
    Tcp,
}

/// A way to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// sendfile(2)
    Sendfile,
    /// write(2) from a map.
    Mapped,
    /// The same within the window of a stock client.
    Windowed,
}

/// What the reader grants at once, and how many bytes say so.
const GRANT_BYTES: usize = CLIENT.accepted_window_bytes as usize / 2;
const UPDATE_BYTES: usize = 12;

/// A file that is sent again and again.
#[derive(Debug)]
pub struct Source {
    file: File,
    map: GuardedMap,
    bytes: u64,
}

/// An end of a connection.
#[derive(Debug)]
pub(super) enum End {
    Unix(UnixStream),
    Tcp(TcpStream),
}

// === impl Source ===

impl Source {
    /// Maps the file, and reads it once.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        let map = GuardedMap::part(&file, 0, length)?;
        let map = map.ok_or_else(|| io::Error::other("too many maps"))?;
        let source = Self { file, map, bytes };
        source.cpu_s_per_gib(Socket::Unix, Method::Mapped, 1)?;
        Ok(source)
    }

    /// CPU seconds per GiB of sending it to `at_once` readers.
    pub fn cpu_s_per_gib(&self, socket: Socket, method: Method, at_once: usize) -> io::Result<f64> {
        let pairs: Vec<[End; 2]> =
            (0..at_once).map(|_| socket.pair()).collect::<io::Result<_>>()?;
        let used: io::Result<Vec<Duration>> = std::thread::scope(|scope| {
            let start = |[sender, reader]: [End; 2]| {
                scope.spawn(move || drain(reader, method == Method::Windowed));
                scope.spawn(move || self.send(sender, method))
            };
            let senders: Vec<_> = pairs.into_iter().map(start).collect();
            let panicked = |_| io::Error::other("a sender panicked");
            senders.into_iter().map(|sender| sender.join().map_err(panicked)?).collect()
        });
        let seconds: f64 = used?.iter().map(Duration::as_secs_f64).sum();
        Ok(seconds / (self.bytes as f64 * at_once as f64 / (1u64 << 30) as f64))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn mapped(&self) -> &[u8] {
        self.map.bytes()
    }

    fn send(&self, mut socket: End, method: Method) -> io::Result<Duration> {
        let before = thread_time()?;
        match method {
            Method::Mapped => socket.write_all(self.map.bytes())?,
            Method::Windowed => windowed(&mut socket, self.map.bytes())?,
            Method::Sendfile => {
                let mut offset = 0;
                while offset < self.bytes {
                    let rest = usize::try_from(self.bytes - offset).map_err(io::Error::other)?;
                    if sendfile(&socket, &self.file, Some(&mut offset), rest)? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
        Ok(thread_time()?.saturating_sub(before))
    }
}

// === impl Socket ===

impl Socket {
    /// The same; the first, which sends, has the buffer of the node's sockets.
    pub(super) fn pair_as_the_node(self) -> io::Result<(End, End)> {
        let [sender, reader] = self.pair()?;
        if self == Self::Unix {
            set_socket_send_buffer_size(&sender, UNIX_SEND_BUFFER_BYTES)?;
        }
        Ok((sender, reader))
    }

    fn pair(self) -> io::Result<[End; 2]> {
        Ok(match self {
            Self::Unix => {
                let (one, other) = UnixStream::pair()?;
                [End::Unix(one), End::Unix(other)]
            }
            Self::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let reader = TcpStream::connect(listener.local_addr()?)?;
                let (sender, _) = listener.accept()?;
                // As the node and its clients have it.
                reader.set_nodelay(true)?;
                sender.set_nodelay(true)?;
                [End::Tcp(sender), End::Tcp(reader)]
            }
        })
    }
}

// === impl End ===

impl End {
    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.set_nonblocking(true),
            Self::Tcp(socket) => socket.set_nonblocking(true),
        }
    }
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.read(buffer),
            Self::Tcp(socket) => socket.read(buffer),
        }
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.write(bytes),
            Self::Tcp(socket) => socket.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => socket.write_vectored(slices),
            Self::Tcp(socket) => socket.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(socket) => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
    }
}

/// A window, and then as much as was granted.
fn windowed(socket: &mut End, mut left: &[u8]) -> io::Result<()> {
    let (mut room, mut updates) = (2 * GRANT_BYTES, [0; 64 * UPDATE_BYTES]);
    let mut partial = 0;
    while !left.is_empty() {
        if room == 0 {
            let read = partial + socket.read(&mut updates)?;
            room = read / UPDATE_BYTES * GRANT_BYTES;
            partial = read % UPDATE_BYTES;
            continue;
        }
        let (now, later) = left.split_at(room.min(left.len()));
        socket.write_all(now)?;
        (left, room) = (later, room - now.len());
    }
    Ok(())
}

fn drain(mut socket: End, grants: bool) {
    let (mut buffer, mut read) = (vec![0; READ_BUFFER_BYTES_MAX], 0);
    // A reader that fails makes its sender fail.
    while let Ok(count @ 1..) = socket.read(&mut buffer) {
        read += count;
        while grants && read >= GRANT_BYTES {
            read -= GRANT_BYTES;
            // The sender may have all that it needs.
            drop(socket.write_all(&[0; UPDATE_BYTES]));
        }
    }
}

/// User and system time of the thread that calls.
pub(super) fn thread_time() -> io::Result<Duration> {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    let nanoseconds = u32::try_from(time.tv_nsec).map_err(io::Error::other)?;
    Ok(Duration::new(seconds, nanoseconds))
}
