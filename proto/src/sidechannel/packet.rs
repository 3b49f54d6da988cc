//! The packets in which a client sends: four hexadecimal digits that count themselves and the
//! payload, and `0000` at the end.

use bytes::{Buf, Bytes};

/// Bytes of the length in front of every packet.
pub const HEADER_BYTES: usize = 4;

/// Longest packet, header included.
pub const PACKET_BYTES_MAX: usize = 65_520;

/// Longest payload of a packet.
pub const PAYLOAD_BYTES_MAX: usize = PACKET_BYTES_MAX - HEADER_BYTES;

/// Ends what a client sends.
pub const END: &[u8; HEADER_BYTES] = b"0000";

/// What a [`Decoder`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Payload, never empty; a packet may come in several of them.
    Payload(Bytes),
    /// The client has half closed. Nothing follows.
    End,
}

/// Why what a client sends is not a sequence of packets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A header is something else than four hexadecimal digits. (Gitaly's parser of numbers would
    /// let a sign pass, which no client sends.)
    #[error("sidechannel: length is not hexadecimal: {:?}", str::from_utf8(.0).unwrap_or("binary"))]
    NotHexadecimal([u8; HEADER_BYTES]),
    /// `0001`, `0002`, `0003`: packets of git without payload, which mean nothing here.
    #[error("sidechannel: invalid header {0}")]
    InsideHeader(usize),
    /// Longer than [`PACKET_BYTES_MAX`].
    #[error("sidechannel: packet of {0} bytes is too long")]
    TooLong(usize),
    /// The stream is closed, and [`END`] has not been seen.
    #[error("unexpected EOF")]
    UnexpectedEof,
}

/// Takes packets apart as they arrive.
///
/// Push what was read, then take pieces until there is none; an error is final.
#[derive(Debug, Default)]
pub struct Decoder {
    input: Bytes,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// So many bytes of the next header are here.
    Header([u8; HEADER_BYTES], usize),
    /// So many bytes of payload are to come.
    Payload(usize),
    Ended,
    Failed(DecodeError),
}

/// One packet on its way out: two parts for a vectored write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Length, as four hexadecimal digits.
    pub header: [u8; HEADER_BYTES],
    /// As given.
    pub payload: Bytes,
}

/// Cuts a payload of any length into packets; [`END`] is up to the caller. No payload, no packet.
pub fn packets(mut payload: Bytes) -> impl Iterator<Item = Packet> {
    std::iter::from_fn(move || {
        let length = payload.len().min(PAYLOAD_BYTES_MAX);
        (length > 0).then(|| Packet {
            header: header(length + HEADER_BYTES),
            payload: payload.split_to(length),
        })
    })
}

fn header(packet_bytes: usize) -> [u8; HEADER_BYTES] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [12, 8, 4, 0].map(|shift| DIGITS[packet_bytes >> shift & 0xf])
}

// === impl State ===

impl Default for State {
    fn default() -> Self {
        Self::Header([0; HEADER_BYTES], 0)
    }
}

// === impl Decoder ===

impl Decoder {
    /// Gives the decoder what was read next. After the end it is dropped: nobody reads there.
    ///
    /// # Panics
    /// Where an earlier input is not used up: the caller takes all pieces first, so that a slow
    /// consumer stops the reading and nothing piles up here.
    pub fn push(&mut self, bytes: Bytes) {
        assert!(self.input.is_empty(), "pieces of the last input are taken first");
        match self.state {
            State::Ended | State::Failed(_) => {}
            State::Header(..) | State::Payload(_) => self.input = bytes,
        }
    }

    /// The next piece; `None` where more input is needed. [`Piece::End`] and errors repeat.
    #[allow(clippy::should_implement_trait, reason = "an iterator would end where input is needed")]
    pub fn next(&mut self) -> Result<Option<Piece>, DecodeError> {
        loop {
            match &mut self.state {
                State::Ended => return Ok(Some(Piece::End)),
                State::Failed(error) => return Err(error.clone()),
                _ if self.input.is_empty() => return Ok(None),
                State::Payload(left) => {
                    let piece = self.input.split_to(self.input.len().min(*left));
                    *left -= piece.len();
                    if *left == 0 {
                        self.state = State::default();
                    }
                    return Ok(Some(Piece::Payload(piece)));
                }
                State::Header(digits, count) => {
                    let taken = self.input.len().min(HEADER_BYTES - *count);
                    self.input.copy_to_slice(&mut digits[*count..*count + taken]);
                    *count += taken;
                    if *count == HEADER_BYTES {
                        self.state = behind(*digits).unwrap_or_else(State::Failed);
                        self.drop_rest_if_over();
                    }
                }
            }
        }
    }

    /// Says that nothing more will be read: an error unless [`END`] has come.
    pub fn close(&self) -> Result<(), DecodeError> {
        match &self.state {
            State::Ended => Ok(()),
            State::Failed(error) => Err(error.clone()),
            State::Header(..) | State::Payload(_) => Err(DecodeError::UnexpectedEof),
        }
    }

    fn drop_rest_if_over(&mut self) {
        if matches!(self.state, State::Ended | State::Failed(_)) {
            self.input = Bytes::new();
        }
    }
}

/// What follows a header.
fn behind(digits: [u8; HEADER_BYTES]) -> Result<State, DecodeError> {
    let packet_bytes = digits.iter().try_fold(0, |length, digit| {
        let value = char::from(*digit).to_digit(16).ok_or(DecodeError::NotHexadecimal(digits))?;
        Ok(length * 16 + value as usize)
    })?;
    match packet_bytes {
        0 => Ok(State::Ended),
        1..HEADER_BYTES => Err(DecodeError::InsideHeader(packet_bytes)),
        // A packet without payload is of no use, and harmless.
        HEADER_BYTES => Ok(State::default()),
        5..=PACKET_BYTES_MAX => Ok(State::Payload(packet_bytes - HEADER_BYTES)),
        _ => Err(DecodeError::TooLong(packet_bytes)),
    }
}

#[cfg(test)]
mod tests;
