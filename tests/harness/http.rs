//! HTTP/1.1 requests by hand, as small as tests of a server need.
//!
//! Always true: one connection per request, which the answer's end closes.
//!
//! Never here: redirects, TLS, compression of answers.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for a byte; a server that hangs is a failed test.
const READ_MAX: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: Vec<u8>,
    /// Whether the body ended as its framing promised.
    pub complete: bool,
}

// === impl Answer ===

impl Answer {
    /// The value of a header, empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

impl fmt::Debug for Answer {
    /// The body as text, as far as a person reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.body[..self.body.len().min(300)];
        write!(f, "{} {:?} {}", self.status, self.headers, start.escape_ascii())
    }
}

/// `GET /<repository>/info/refs?service=git-upload-pack` in a protocol version.
pub fn info_refs(server: SocketAddr, repository: &str, version: u8) -> Answer {
    let path = format!("/{repository}/info/refs?service=git-upload-pack");
    send(server, "GET", &path, &[("Git-Protocol", &format!("version={version}"))], b"")
}

/// `POST /<repository>/git-upload-pack` in a protocol version.
pub fn upload_pack(server: SocketAddr, repository: &str, version: u8, body: &[u8]) -> Answer {
    let headers = [
        ("Content-Type", "application/x-git-upload-pack-request"),
        ("Git-Protocol", &format!("version={version}")),
    ];
    send(server, "POST", &format!("/{repository}/git-upload-pack"), &headers, body)
}

/// As [`upload_pack`], but the answer is left to the caller.
pub fn open_upload_pack(server: SocketAddr, repository: &str, body: &[u8]) -> TcpStream {
    let headers =
        [("Content-Type", "application/x-git-upload-pack-request"), ("Git-Protocol", "version=2")];
    let path = format!("/{repository}/git-upload-pack");
    let mut stream = open(server, "POST", &path, &headers, body.len());
    stream.write_all(body).expect("the server reads a request");
    stream
}

/// Sends one request and reads its whole answer.
///
/// # Panics
/// If the server cannot be reached or does not answer in HTTP.
pub fn send(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = open(server, method, path, headers, body.len());
    // A server may answer and close before it has read a body that it refuses.
    drop(stream.write_all(body));
    read_answer(&mut stream).expect("the server answers in HTTP")
}

/// Connects and sends the head of a request; the body is the caller's.
pub fn open(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    length: usize,
) -> TcpStream {
    let mut stream = TcpStream::connect(server).expect("the server accepts");
    stream.set_read_timeout(Some(READ_MAX)).expect("a time above zero");
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
    stream.write_all(head.as_bytes()).expect("the server reads a request");
    stream
}

/// Reads and drops whatever comes, waiting `pause` between pieces; returns the number of bytes.
///
/// Ends with the connection, or when `stop` says so.
pub fn drain(stream: &mut TcpStream, pause: Duration, stop: impl Fn() -> bool) -> u64 {
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    while !stop() {
        match stream.read(&mut buffer) {
            // signal(7): a socket with a time-out is interrupted by any signal, as of a child.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(read) => total += read as u64,
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    total
}

/// Reads an answer to its end.
///
/// # Errors
/// If the connection breaks before the head is complete, or the head is not HTTP.
pub fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    // A reset behind a complete answer is how some servers refuse the rest of a body.
    let ended = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else {
        ended?;
        return Err(io::Error::other(format!("no head in {}", bytes.escape_ascii())));
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status: status.ok_or_else(|| io::Error::other("no status"))?,
        headers,
        body: bytes.split_off(end + 4),
        complete: ended.is_ok(),
    };
    if answer.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        (answer.body, answer.complete) = join_chunks(&answer.body);
    } else if let Ok(length) = answer.header("content-length").parse::<usize>() {
        answer.complete = answer.body.len() == length;
    }
    Ok(answer)
}

/// The joined chunks, and whether the last one was there (RFC 9112, section 7.1).
fn join_chunks(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let line = String::from_utf8_lossy(&bytes[..end]);
        let Ok(length) = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)
        else {
            break;
        };
        bytes = &bytes[end + 2..];
        if length == 0 {
            return (body, true);
        }
        let Some(chunk) = bytes.get(..length) else {
            body.extend_from_slice(bytes);
            break;
        };
        body.extend_from_slice(chunk);
        bytes = bytes.get(length + 2..).unwrap_or_default();
    }
    (body, false)
}
