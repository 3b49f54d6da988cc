//! What a connection speaks, told by its first bytes: both of our protocols open with 11 bytes of
//! their own in front of anything else, and everything else is gRPC without a mux.
//!
//! ```text
//!   client → node     backchannel  yamux follows, the client opens streams first
//!   node → client     sidechannel  the first bytes of a yamux stream, the id follows
//! ```
//!
//! Always true: bytes are only looked at; what is told apart as [`Opening::Other`] is still whole.
//! Never here: reading from a connection.

/// Length of a magic.
pub const MAGIC_BYTES: usize = 11;

/// Opens a connection that carries yamux.
pub const BACKCHANNEL: &[u8; MAGIC_BYTES] = b"backchannel";

/// Opens a yamux stream that carries a sidechannel.
pub const SIDECHANNEL: &[u8; MAGIC_BYTES] = b"sidechannel";

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The beginning of a magic: read on. If nothing follows, this is [`Opening::Other`].
    Incomplete,
    /// [`BACKCHANNEL`]; what is behind belongs to yamux.
    Backchannel,
    /// [`SIDECHANNEL`]; what is behind belongs to [`crate::sidechannel`].
    Sidechannel,
    /// No magic: all bytes belong to gRPC.
    Other,
}

/// Tells by the first bytes of a connection, as early as they differ from both magics.
///
/// Gitaly waits for 11 bytes whatever comes. An HTTP/2 client sends more than that at once, so
/// nobody sees the difference, but whoever sends less and waits gets an answer from us.
/// Where a magic is not expected (a node serves no sidechannels), the caller treats it as
/// [`Opening::Other`].
pub fn tell(first: &[u8]) -> Opening {
    if first.starts_with(BACKCHANNEL) {
        Opening::Backchannel
    } else if first.starts_with(SIDECHANNEL) {
        Opening::Sidechannel
    } else if BACKCHANNEL.starts_with(first) || SIDECHANNEL.starts_with(first) {
        Opening::Incomplete
    } else {
        Opening::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes() {
        let check = |first: &[u8], expected| assert_eq!(tell(first), expected, "{first:?}");
        check(b"", Opening::Incomplete);
        check(b"b", Opening::Incomplete);
        check(b"sidechanne", Opening::Incomplete);
        check(b"backchannel", Opening::Backchannel);
        check(b"backchannel\0\x01\0\x01", Opening::Backchannel);
        check(b"sidechannel", Opening::Sidechannel);
        check(b"sidechannel\0", Opening::Sidechannel);
        check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Opening::Other);
        check(b"P", Opening::Other);
        check(b"GET / HTTP/1.1\r\n", Opening::Other);
        // The first byte of TLS.
        check(b"\x16", Opening::Other);
        // One magic that goes on as the other, case, a space in front.
        check(b"backchannek", Opening::Other);
        check(b"bide", Opening::Other);
        check(b"Backchannel", Opening::Other);
        check(b" backchannel", Opening::Other);
    }

    /// Whatever has been told stays true when more bytes arrive, and no magic needs a 12th.
    #[test]
    fn an_answer_is_final() {
        for text in [&b"backchannel and more"[..], b"sidechannel and more", b"backchannXl", b"PRI"]
        {
            let mut answers = (0..=text.len()).map(|length| tell(&text[..length]));
            let count = answers.by_ref().take_while(|one| *one == Opening::Incomplete).count();
            assert!(count <= MAGIC_BYTES, "{text:?}");
            let told = tell(&text[..count]);
            assert!(answers.all(|answer| answer == told), "{text:?}");
        }
    }
}
