//! Votes over the connection that a call came on: `RefTransaction`, served by the client.
//!
//! Always true: the calls of a connection share one stream back to its client, opened with the
//! first vote.
//! Never here: what is voted on, and how long a vote may take.

use crate::rpc::votes::{Ballot, Phase, Reply, Vote, VoteError, Voter, Voting};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gitring_daemon::client::{Client, over};
use gitring_daemon::mux::Mux;
use gitring_proto::gitaly::ref_transaction_client::RefTransactionClient;
use gitring_proto::gitaly::vote_transaction_request::Phase as NamedPhase;
use gitring_proto::gitaly::vote_transaction_response::TransactionState;
use gitring_proto::gitaly::{StopTransactionRequest, VoteTransactionRequest};
use hyper::header::HeaderValue;
use prometheus::Histogram;
use std::cell::OnceCell;
use std::rc::Rc;
use tonic::{Code, Status};

/// Under which key a proxy tells that a change belongs to a transaction.
pub(super) const METADATA_KEY: &str = "gitaly-reference-transaction";

/// Where the calls of one connection vote.
#[derive(Debug, Clone)]
pub(super) struct Backchannel {
    mux: Mux,
    client: Rc<OnceCell<Client>>,
}

/// Which transaction a call belongs to, and as whom (`txinfo.Transaction` of Gitaly).
#[derive(Debug, PartialEq, Eq)]
struct Membership {
    id: u64,
    node: String,
    is_primary: bool,
}

#[derive(Debug)]
struct Member {
    membership: Membership,
    client: Client,
    /// How long votes take.
    delay: Histogram,
}

/// The ballot of a call with this metadata, which came over this connection.
pub(super) fn ballot(
    metadata: Option<&HeaderValue>,
    backchannel: Option<&Backchannel>,
    delay: &Histogram,
) -> Result<Ballot, Status> {
    let Some(metadata) = metadata else { return Ok(Ballot::alone()) };
    let membership = Membership::parse(metadata.as_bytes());
    let membership =
        membership.map_err(|text| Status::internal(format!("from serialized: {text}")))?;
    // Gitaly says nothing until it votes; by then it has done the work.
    let none = "get backchannel: the call came over a connection without one";
    let backchannel = backchannel.ok_or_else(|| Status::failed_precondition(none))?;
    let client = backchannel.client().clone();
    let member = Member { membership, client, delay: delay.clone() };
    Ok(Ballot::member(Rc::new(member)))
}

/// A vote that was not carried as the failure of a call: `what` was done, and `code`, unless the
/// vote's own failure has a better one.
pub(super) fn failure(code: Code, what: &str, error: &VoteError) -> Status {
    let code = match error {
        VoteError::Aborted | VoteError::Stopped => code,
        VoteError::Timeout => Code::DeadlineExceeded,
        VoteError::Failed { code: own, .. } => {
            let own = Code::from_i32(*own);
            if own == Code::Unknown { code } else { own }
        }
    };
    Status::new(code, format!("{what}: {error}"))
}

// === impl Backchannel ===

impl Backchannel {
    pub(super) fn new(mux: Mux) -> Self {
        Self { mux, client: Rc::default() }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| over(self.mux.clone()))
    }
}

// === impl Membership ===

impl Membership {
    /// Base64 of JSON; what is missing is zero, as Go reads it.
    fn parse(metadata: &[u8]) -> Result<Self, String> {
        let json = BASE64_STANDARD.decode(metadata).map_err(|error| error.to_string())?;
        let value: serde_json::Value =
            serde_json::from_slice(&json).map_err(|error| error.to_string())?;
        let wrong = |field: &str| format!("'{field}' has another type");
        let id = value.get("id").map_or(Some(0), |id| id.as_u64()).ok_or_else(|| wrong("id"))?;
        let node = value.get("node").map_or(Some(""), |node| node.as_str());
        let is_primary = value.get("primary").map_or(Some(false), |primary| primary.as_bool());
        Ok(Self {
            id,
            node: node.ok_or_else(|| wrong("node"))?.to_owned(),
            is_primary: is_primary.ok_or_else(|| wrong("primary"))?,
        })
    }
}

// === impl Member ===

impl Voter for Member {
    fn vote(&self, vote: Vote, phase: Phase) -> Voting<'_, Reply> {
        Box::pin(async move {
            // Also of votes that fail, and of those that nobody waits for any more.
            let _timer = self.delay.start_timer();
            let phase = match phase {
                Phase::Prepared => NamedPhase::PreparedPhase,
                Phase::Committed => NamedPhase::CommittedPhase,
                Phase::Synchronized => NamedPhase::SynchronizedPhase,
            };
            let request = VoteTransactionRequest {
                // Whoever counts knows the repository by the transaction; Gitaly does not name it.
                repository: None,
                transaction_id: self.membership.id,
                node: self.membership.node.clone(),
                reference_updates_hash: vote.to_vec().into(),
                phase: phase.into(),
            };
            let mut client = RefTransactionClient::new(self.client.clone());
            let reply = client.vote_transaction(request).await;
            let state = reply.map_err(|status| refused(&status))?.into_inner().state;
            match TransactionState::try_from(state) {
                Ok(TransactionState::Commit) => Ok(Reply::Commit),
                Ok(TransactionState::Abort) => Ok(Reply::Abort),
                Ok(TransactionState::Stop) => Ok(Reply::Stop),
                Err(_) => Err(VoteError::Failed {
                    text: "invalid transaction state".to_owned(),
                    code: Code::Unknown.into(),
                }),
            }
        })
    }

    fn stop(&self) -> Voting<'_, ()> {
        Box::pin(async move {
            let request =
                StopTransactionRequest { repository: None, transaction_id: self.membership.id };
            let mut client = RefTransactionClient::new(self.client.clone());
            let stopped = client.stop_transaction(request).await;
            stopped.map(drop).map_err(|status| refused(&status))
        })
    }

    fn is_primary(&self) -> bool {
        self.membership.is_primary
    }
}

fn refused(status: &Status) -> VoteError {
    VoteError::Failed { text: status.message().to_owned(), code: status.code().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Option<(u64, &str, bool)>) {
        let found = Membership::parse(BASE64_STANDARD.encode(json).as_bytes()).ok();
        let expected = expected.map(|(id, node, is_primary)| Membership {
            id,
            node: node.to_owned(),
            is_primary,
        });
        assert_eq!(found, expected, "{json}");
    }

    #[test]
    fn memberships_are_read_as_gitaly_writes_them() {
        check(r#"{"id":7,"node":"gitaly-1","primary":true}"#, Some((7, "gitaly-1", true)));
        check(r#"{"backchannel_id":3,"id":1,"node":"b","primary":false}"#, Some((1, "b", false)));
        check(r#"{"id":18446744073709551615}"#, Some((u64::MAX, "", false)));
        check(r#"{"id":-1}"#, None);
        check(r#"{"id":1,"node":5}"#, None);
        check(r#"{"id":1,"primary":"yes"}"#, None);
        check("", None);
        assert_eq!(Membership::parse(b"%").ok(), None);
    }
}
