//! Between a push that lands and the conversation with its client.
//!
//! ```text
//!   landing ──Line──► at most 2 ──► Shore ──► Output
//!           ◄─────────── the report was sent ◄┘
//! ```
//!
//! Always true: a client that is slow makes the landing wait; one that has left does not: from then
//! on what is said to it is dropped.
//! Never here: what is said.

use super::PushError;
use crate::rpc::wire::{Gone, Output};
use bytes::Bytes;
use gitring_git::receive_pack::Outcome;
use std::future::Future;
use tokio::sync::{mpsc, oneshot};

/// What may wait for the client.
const SAID_MAX: usize = 2;

/// Something on its way to the conversation.
#[derive(Debug)]
pub(super) enum Said {
    /// For the client, in packets.
    Packets(Bytes),
    /// For wherever complaints go.
    Complaint(Bytes),
    /// What the report tells.
    Landed(Result<Outcome, PushError>),
}

/// The landing's end.
#[derive(Debug)]
pub(super) struct Line {
    said: mpsc::Sender<Said>,
}

/// The conversation's end.
#[derive(Debug)]
pub(super) struct Shore {
    said: mpsc::Receiver<Said>,
    /// Until the report was sent.
    told: Option<oneshot::Sender<()>>,
}

/// Both ends, and what the landing waits for before it goes on behind the report: an error where
/// the client has left.
pub(super) fn line() -> (Line, Shore, oneshot::Receiver<()>) {
    let (sender, said) = mpsc::channel(SAID_MAX);
    let (told, telling) = oneshot::channel();
    (Line { said: sender }, Shore { said, told: Some(told) }, telling)
}

// === impl Line ===

impl Line {
    /// Says what has become of the push.
    pub(super) async fn land(&mut self, landed: Result<Outcome, PushError>) {
        self.say(Said::Landed(landed)).await;
    }

    /// Returns once the client has left.
    pub(super) fn left(&self) -> impl Future<Output = ()> + use<> {
        let said = self.said.clone();
        async move { said.closed().await }
    }

    async fn say(&mut self, said: Said) {
        // Whoever has left need not hear it.
        let _ = self.said.send(said).await;
    }
}

impl Output for Line {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.say(Said::Packets(bytes)).await;
        Ok(())
    }

    /// What finds no room is for the log: the client is there and does not read.
    fn complain(&mut self, text: &[u8]) {
        let said = Said::Complaint(Bytes::copy_from_slice(text));
        if let Err(mpsc::error::TrySendError::Full(_)) = self.said.try_send(said) {
            tracing::warn!("{}", String::from_utf8_lossy(text).trim_end());
        }
    }

    async fn complain_in_turn(&mut self, text: &[u8]) -> Result<(), Gone> {
        self.say(Said::Complaint(Bytes::copy_from_slice(text))).await;
        Ok(())
    }
}

// === impl Shore ===

impl Shore {
    /// Passes on what is said until the push has landed; `None` where it never will: its task
    /// died.
    pub(super) async fn landed(
        &mut self,
        output: &mut impl Output,
    ) -> Result<Option<Outcome>, PushError> {
        while let Some(said) = self.said.recv().await {
            match said {
                Said::Packets(bytes) => output.write(bytes).await?,
                Said::Complaint(text) => output.complain_in_turn(&text).await?,
                Said::Landed(landed) => return landed.map(Some),
            }
        }
        Ok(None)
    }

    /// Tells the landing that its report was sent, and passes on the rest.
    pub(super) async fn end(&mut self, output: &mut impl Output) -> Result<(), PushError> {
        if let Some(told) = self.told.take() {
            let _ = told.send(());
        }
        self.landed(output).await.map(drop)
    }
}
