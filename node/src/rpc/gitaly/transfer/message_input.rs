//! A client's side of a fetch that comes in messages.

use crate::rpc::wire::Input;
use bytes::Bytes;
use std::io;
use tonic::Streaming;

/// The bytes in a stream of messages.
#[derive(Debug)]
pub(super) struct MessageInput<M> {
    messages: Streaming<M>,
    stdin: fn(M) -> Bytes,
}

// === impl MessageInput ===

impl<M> MessageInput<M> {
    pub(super) fn new(messages: Streaming<M>, stdin: fn(M) -> Bytes) -> Self {
        Self { messages, stdin }
    }
}

impl<M> Input for MessageInput<M> {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.messages.message().await {
                Ok(None) => return Ok(None),
                // A message may say nothing.
                Ok(Some(message)) => match (self.stdin)(message) {
                    bytes if bytes.is_empty() => {}
                    bytes => return Ok(Some(bytes)),
                },
                Err(status) => {
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, status));
                }
            }
        }
    }
}
