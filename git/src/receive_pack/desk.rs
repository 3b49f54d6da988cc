//! The desk of a push: what the machine asks before the client has spoken.
//!
//! Always true: every answer comes from one snapshot.
//! Never here: the wire; what is judged once the pack is there (`judge`). A desk may block on
//! disk reads: it belongs on a worker.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;

use super::advertisement;
use super::settings::Settings;
use crate::history::HistoryError;
use crate::objects::StoreError;
use crate::repository::Snapshot;
use crate::upload_pack::Server;

/// What the machine wants to know.
#[derive(Debug)]
pub enum Question {
    /// The refs, with capabilities behind the first.
    Advertise {
        /// The capabilities.
        capabilities: String,
    },
}

/// What the desk says.
#[derive(Debug)]
pub enum Answer {
    /// Framed lines.
    Lines(Bytes),
}

/// A question could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// An object could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// History could not be walked.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Objects could not be checked.
    #[error(transparent)]
    Connectivity(#[from] crate::connectivity::ConnectivityError),
}

/// Answers one conversation.
#[derive(Debug)]
pub struct Desk {
    snapshot: Arc<Snapshot>,
    server: Server,
    settings: Settings,
}

// === impl Desk ===

impl Desk {
    /// A desk for one conversation.
    pub fn new(snapshot: Arc<Snapshot>, server: Server, settings: Settings) -> Self {
        Self { snapshot, server, settings }
    }

    /// The answer, if it was made from this snapshot before: costs no I/O.
    pub fn remembered(&self, question: &Question) -> Option<Answer> {
        let Question::Advertise { capabilities } = question;
        let key = advertisement::key(&self.server.namespace, &self.settings, capabilities);
        // What alternates have is not part of the snapshot.
        let has_alternates = advertisement::has_alternates(&self.snapshot, &self.settings);
        let lines = (!has_alternates).then(|| self.snapshot.memo.get(&key)).flatten();
        lines.map(Answer::Lines)
    }

    /// Answers one question.
    pub fn answer(&self, question: Question) -> Answer {
        let Question::Advertise { capabilities } = question;
        let (namespace, settings) = (&self.server.namespace, &self.settings);
        let make = || advertisement::make(&self.snapshot, namespace, settings, &capabilities);
        if advertisement::has_alternates(&self.snapshot, settings) {
            return Answer::Lines(make().into());
        }
        let key = advertisement::key(namespace, settings, &capabilities);
        let Ok(lines) = self.snapshot.memo.get_or_make(key, || Ok::<_, Infallible>(make()));
        Answer::Lines(lines)
    }
}
