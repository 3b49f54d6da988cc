//! One look at `/status.json`.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// For each step: connecting, a write, a read.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Far more than a node says.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    /// Nobody listens, or it takes too long.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Something else listens there.
    #[error("no status was answered, but: {0}")]
    Status(String),
    /// It is no JSON.
    #[error("the answer is no JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What the node at `address` says of itself.
pub(super) fn status(address: SocketAddr) -> Result<Value, LookError> {
    let mut stream = TcpStream::connect_timeout(&address, WAIT_MAX)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    // 1.0: the answer comes in one piece, and its end is that of the connection.
    write!(stream, "GET /status.json HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = answer.split_at(head.unwrap_or(answer.len()));
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    match line.split(' ').nth(1) {
        Some("200") => Ok(serde_json::from_slice(body)?),
        Some(_) | None => Err(LookError::Status(
            line.chars().filter(|char| !char.is_control()).take(80).collect(),
        )),
    }
}
