//! Standard input and output as a call's two sides.
//!
//! Always true: written bytes have reached the other process's pipe or socket when `write`
//! returns; a side that makes no progress for `silence_max` is an error.
//! Never here: what the bytes mean.

use crate::rpc::wire::{Gone, Input, Output};
use bytes::{Bytes, BytesMut};
use std::io::{self, Write};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Read at once.
const READ_BYTES: usize = 64 * 1024;

/// The client's side.
#[derive(Debug)]
pub(super) struct Stdin {
    stdin: tokio::io::Stdin,
    silence_max: Option<Duration>,
}

/// Our side.
#[derive(Debug)]
pub(super) struct Stdout {
    stdout: tokio::io::Stdout,
    silence_max: Option<Duration>,
}

// === impl Stdin ===

impl Stdin {
    /// Standard input of this process.
    pub(super) fn new(silence_max: Option<Duration>) -> Self {
        Self { stdin: tokio::io::stdin(), silence_max }
    }
}

impl Input for Stdin {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let reading = self.stdin.read_buf(&mut buffer);
        let read = match self.silence_max {
            None => reading.await?,
            Some(silence_max) => timeout(silence_max, reading)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
        };
        Ok((read > 0).then(|| buffer.freeze()))
    }
}

// === impl Stdout ===

impl Stdout {
    /// Standard output of this process.
    pub(super) fn new(silence_max: Option<Duration>) -> Self {
        Self { stdout: tokio::io::stdout(), silence_max }
    }
}

impl Output for Stdout {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let writing = async {
            self.stdout.write_all(&bytes).await?;
            self.stdout.flush().await
        };
        match self.silence_max {
            None => writing.await.map_err(|_| Gone),
            Some(silence_max) => match timeout(silence_max, writing).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Gone),
            },
        }
    }

    fn complain(&mut self, text: &[u8]) {
        // As of git's own child, to the terminal or wherever the client's ssh takes it.
        let _ = io::stderr().write_all(text);
    }
}
