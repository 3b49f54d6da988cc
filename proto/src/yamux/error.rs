//! What can go wrong with a session, a stream, and the opening of one.

/// Why a session ended. Nothing can be done on it afterwards but send what [`Session::transmit`](super::Session::transmit)
/// still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The first byte of a frame.
    #[error("yamux version {0} instead of 0")]
    Version(u8),
    /// The second byte of a frame.
    #[error("unknown yamux frame type {0}")]
    FrameType(u8),
    /// The peer opened a stream with an id that is not its to open.
    #[error("stream id {0} cannot be opened by the peer")]
    BadId(u32),
    /// The peer opened a stream that is open.
    #[error("stream {0} opened twice")]
    Duplicate(u32),
    /// A second FIN.
    #[error("stream {0} finished twice")]
    FinishedTwice(u32),
    /// More data than the window allows.
    #[error("receive window of stream {0} exceeded")]
    WindowExceeded(u32),
    /// Window updates that add up to more than 32 bits.
    #[error("send window of stream {0} overflowed")]
    WindowOverflow(u32),
    /// Control frames beyond what moving data explains.
    #[error("too many control frames")]
    ControlFlood,
    /// Data for streams that never had a window for it.
    #[error("too much data for closed streams")]
    DiscardFlood,
    /// The peer ended the session for an error of ours.
    #[error("the peer reported a yamux protocol error")]
    PeerSawProtocolError,
    /// The peer ended the session for an error of its own.
    #[error("the peer reported an internal yamux error")]
    PeerInternalError,
    /// A go away with a code that no version knows.
    #[error("unknown yamux go away code {0}")]
    GoAwayCode(u32),
}

/// Why a stream cannot be read from or written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The peer reset it, or we did.
    #[error("stream reset")]
    Reset,
    /// Our half is finished.
    #[error("stream is finished for writing")]
    Finished,
    /// The session ended.
    #[error("the connection of this stream ended")]
    SessionEnded,
}

/// Why no stream could be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// As many as may be are open, or unacknowledged: try again on [`Event::Openable`](super::Event::Openable).
    #[error("too many open streams")]
    Busy,
    /// The peer accepts no more streams.
    #[error("the peer is going away")]
    PeerGoesAway,
    /// All ids of this role were used.
    #[error("stream ids are exhausted")]
    Exhausted,
    /// The session ended.
    #[error("the connection ended")]
    SessionEnded,
}
