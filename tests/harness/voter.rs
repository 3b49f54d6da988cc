//! Whoever counts votes, as a node sees it: `RefTransaction` on the client's own connection.
//!
//! Always true: every vote is recorded before it is answered.
//!
//! Never here: counting. What is answered was decided before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gitring_daemon::client::Client;
use gitring_daemon::mux::CLIENT;
use gitring_proto::gitaly::ref_transaction_server::{RefTransaction, RefTransactionServer};
use gitring_proto::gitaly::vote_transaction_request::Phase;
use gitring_proto::gitaly::vote_transaction_response::TransactionState;
use gitring_proto::gitaly::{
    StopTransactionRequest, StopTransactionResponse, VoteTransactionRequest,
    VoteTransactionResponse,
};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use crate::gitaly::Door;
use crate::node::Node;

/// The number of every transaction.
const TRANSACTION: u64 = 7;
/// As whom the node votes.
const VOTER: &str = "gitaly-1";

/// What a vote is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Carried.
    Commit,
    /// No majority.
    Abort,
    /// Called off.
    Stop,
    /// A failure.
    Fail(Code),
    /// Carried, but not at once.
    Late(Duration),
    /// Nothing.
    Never,
}

/// What was voted, in hexadecimal, and how far the change had come.
pub type Vote = (String, Phase);

/// Remembers what a node votes. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Voter {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    answers: VecDeque<Answer>,
    votes: Vec<Vote>,
    stops: usize,
}

// === impl Voter ===

impl Voter {
    /// A connection over which the node can vote.
    ///
    /// # Panics
    /// If the node does not accept.
    pub async fn connect(&self, node: &Node, door: Door) -> Client {
        let routes = Routes::new(RefTransactionServer::new(self.clone()));
        let connected = Client::connect_mux(&door.address(node), b"", CLIENT, Some(routes)).await;
        connected.expect("the node accepts")
    }

    /// Answers the next votes like this, and further ones with [`Answer::Commit`].
    pub fn answer(&self, answers: &[Answer]) {
        self.state().answers = answers.iter().copied().collect();
    }

    /// What was voted since the last call.
    pub fn votes(&self) -> Vec<Vote> {
        std::mem::take(&mut self.state().votes)
    }

    /// How often the transaction was called off since the last call.
    pub fn stops(&self) -> usize {
        std::mem::take(&mut self.state().stops)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that belongs to a transaction.
pub fn in_transaction<M>(message: M, is_primary: bool) -> Request<M> {
    let json = format!(r#"{{"id":{TRANSACTION},"node":"{VOTER}","primary":{is_primary}}}"#);
    let value = BASE64_STANDARD.encode(json).parse().expect("base64 is ASCII");
    let mut request = Request::new(message);
    request.metadata_mut().insert("gitaly-reference-transaction", value);
    request
}

#[tonic::async_trait]
impl RefTransaction for Voter {
    async fn vote_transaction(
        &self,
        request: Request<VoteTransactionRequest>,
    ) -> Result<Response<VoteTransactionResponse>, Status> {
        let request = request.into_inner();
        if request.transaction_id != TRANSACTION || request.node != VOTER {
            return Err(Status::not_found(format!("no such voter: {request:?}")));
        }
        let answer = {
            let mut state = self.state();
            let hash = &request.reference_updates_hash;
            let hex = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            state.votes.push((hex, request.phase()));
            state.answers.pop_front().unwrap_or(Answer::Commit)
        };
        let state = match answer {
            Answer::Commit => TransactionState::Commit,
            Answer::Abort => TransactionState::Abort,
            Answer::Stop => TransactionState::Stop,
            Answer::Fail(code) => return Err(Status::new(code, "the vote failed")),
            Answer::Late(delay) => {
                tokio::time::sleep(delay).await;
                TransactionState::Commit
            }
            Answer::Never => return std::future::pending().await,
        };
        Ok(Response::new(VoteTransactionResponse { state: state.into() }))
    }

    async fn stop_transaction(
        &self,
        _: Request<StopTransactionRequest>,
    ) -> Result<Response<StopTransactionResponse>, Status> {
        self.state().stops += 1;
        Ok(Response::new(StopTransactionResponse {}))
    }
}
