//! Votes on a change: whether the other nodes that make it, too, make the same one.
//!
//! ```text
//!   locks held, new values synced ──► prepared(hash) ──► Carried ──► renames ──► committed(hash)
//! ```
//!
//! What is hashed is Gitaly's, byte for byte, so that nodes of either kind agree.
//!
//! Always true:
//! - a [`Carried`] exists only where a PREPARED vote was carried, or where there is nobody to ask;
//! - a vote that is not answered within [`VOTE_WAIT_MAX`] is an error.
//!
//! Never here: how a vote travels ([`Voter`]), and what is voted on.

use gix_hash::Kind;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// How long the others may take: Gitaly's. A secondary waits that long for the hooks of the
/// primary.
pub const VOTE_WAIT_MAX: Duration = Duration::from_secs(300);

/// SHA-1 of what is voted on.
pub type Vote = [u8; 20];

/// What ends an RPC that receives a push.
const LAST: Vote = [0; 20];

/// How far a change has come (`VoteTransactionRequest.Phase`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// All is locked and nothing is visible.
    Prepared,
    /// All is visible and durable.
    Committed,
    /// A hook has run where it runs.
    Synchronized,
}

/// Hooks that run on the primary alone, while the others wait (githooks(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookName {
    /// Once a push.
    PreReceive,
    /// Once a ref.
    Update,
    /// Once a push.
    PostReceive,
}

/// What whoever counts the votes answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Go on.
    Commit,
    /// There is no majority for this.
    Abort,
    /// Somebody has called the transaction off.
    Stop,
}

/// Why a vote was not carried. The texts are Gitaly's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoteError {
    /// There is no majority for it.
    #[error("transaction was aborted")]
    Aborted,
    /// Somebody has called the transaction off, a hook for example.
    #[error("transaction was stopped")]
    Stopped,
    /// Nobody has answered.
    #[error("transaction timeout {}s exceeded", VOTE_WAIT_MAX.as_secs())]
    Timeout,
    /// It did not arrive, or was refused.
    #[error("{text}")]
    Failed {
        /// What went wrong.
        text: String,
        /// As a status code of gRPC.
        code: i32,
    },
}

/// Proof that a PREPARED vote was carried, or that there is nobody to ask. What was quarantined
/// migrates against it alone.
#[derive(Debug)]
pub struct Carried(());

/// How one member of a transaction votes.
pub trait Voter: fmt::Debug {
    /// Answered when the votes of the phase are decided.
    fn vote(&self, vote: Vote, phase: Phase) -> Voting<'_, Reply>;

    /// Calls the transaction off for everybody.
    fn stop(&self) -> Voting<'_, ()>;

    /// Whether hooks run here.
    fn is_primary(&self) -> bool;
}

/// A vote on its way.
pub type Voting<'v, T> = Pin<Box<dyn Future<Output = Result<T, VoteError>> + 'v>>;

/// The votes of one call. Clones are the same voter.
#[derive(Debug, Clone)]
pub struct Ballot {
    /// `None`: alone.
    voter: Option<Rc<dyn Voter>>,
}

/// SHA-1 of `bytes`.
///
/// # Errors
/// Where the bytes were made to collide with others.
pub fn hash(bytes: &[u8]) -> Result<Vote, VoteError> {
    let mut hasher = gix_hash::hasher(Kind::Sha1);
    hasher.update(bytes);
    let collides = |error| VoteError::Failed { text: format!("{error}"), code: INTERNAL };
    let id = hasher.try_finalize().map_err(collides)?;
    let vote = id.as_bytes().try_into();
    vote.map_err(|_| VoteError::Failed { text: "no SHA-1".to_owned(), code: INTERNAL })
}

/// `INTERNAL` of gRPC.
const INTERNAL: i32 = 13;

/// The vote on a reference transaction, whose `lines` are what its hook would read:
/// `<old> SP <new> SP <ref> LF`, with 40 zeros for an old value that is not checked. `None` where
/// every line deletes without a check: nobody votes on those, since git makes such transactions
/// for refs that happen to be packed.
fn updates(lines: &[u8]) -> Result<Option<Vote>, VoteError> {
    let deletes = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let is_zero = |field: Option<&[u8]>| {
            field.is_some_and(|field| !field.is_empty() && field.iter().all(|byte| *byte == b'0'))
        };
        is_zero(fields.next()) && is_zero(fields.next())
    };
    let mut all = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    if all.all(deletes) { Ok(None) } else { hash(lines).map(Some) }
}

// === impl Ballot ===

impl Ballot {
    /// Of a call that belongs to no transaction: everything is carried at once.
    pub fn alone() -> Self {
        Self { voter: None }
    }

    /// Of a member of a transaction.
    pub fn member(voter: Rc<dyn Voter>) -> Self {
        Self { voter: Some(voter) }
    }

    /// Whether nobody has to be asked.
    pub fn is_alone(&self) -> bool {
        self.voter.is_none()
    }

    /// Whether hooks run here: on the primary, or alone.
    pub fn is_primary(&self) -> bool {
        self.voter.as_ref().is_none_or(|voter| voter.is_primary())
    }

    /// The proof where nobody has to be asked.
    pub fn alone_is_enough(&self) -> Option<Carried> {
        self.is_alone().then_some(Carried(()))
    }

    /// Votes on what is locked and about to become visible.
    ///
    /// # Errors
    /// Then nothing may become visible.
    pub async fn prepared(&self, vote: Vote) -> Result<Carried, VoteError> {
        self.cast(vote, Phase::Prepared).await.map(Carried)
    }

    /// Votes on what is visible and durable.
    ///
    /// # Errors
    /// Then it stays, and the call fails.
    pub async fn committed(&self, vote: Vote) -> Result<(), VoteError> {
        self.cast(vote, Phase::Committed).await
    }

    /// As [`Self::prepared`] on a reference transaction, whose `lines` are what its hook would
    /// read: `<old> SP <new> SP <ref> LF` for each ref, 40 zeros for an old value that is not
    /// checked, and behind the line of a ref that HEAD points to another one for HEAD. Nobody
    /// votes where all lines delete without a check.
    ///
    /// # Errors
    /// As there.
    pub async fn prepared_updates(&self, lines: &[u8]) -> Result<Carried, VoteError> {
        match self.on_updates(lines)? {
            Some(vote) => self.prepared(vote).await,
            None => Ok(Carried(())),
        }
    }

    /// As [`Self::committed`] on a reference transaction, with the same lines.
    ///
    /// # Errors
    /// As there.
    pub async fn committed_updates(&self, lines: &[u8]) -> Result<(), VoteError> {
        match self.on_updates(lines)? {
            Some(vote) => self.committed(vote).await,
            None => Ok(()),
        }
    }

    /// Waits until `hook` has run on the primary, whose vote says so.
    ///
    /// # Errors
    /// [`VoteError::Stopped`] where the hook failed there.
    pub async fn synchronize(&self, hook: HookName) -> Result<(), VoteError> {
        if self.is_alone() {
            return Ok(());
        }
        let vote = hash(format!("synchronize {hook} hook").as_bytes())?;
        self.cast(vote, Phase::Synchronized).await
    }

    /// The last vote of an RPC that receives a push, which there always is: so one that changed
    /// nothing differs from one that broke off. A transaction that was stopped is no error here;
    /// the client knows from its report.
    ///
    /// # Errors
    /// Any other.
    pub async fn finish(&self) -> Result<(), VoteError> {
        match self.cast(LAST, Phase::Committed).await {
            Err(VoteError::Stopped) => Ok(()),
            result => result,
        }
    }

    /// Calls the transaction off: by a primary whose hook failed. That it cannot be told is
    /// logged, nothing more: the others will miss our votes.
    pub async fn stop(&self) {
        let Some(voter) = &self.voter else { return };
        let stopped = tokio::time::timeout(VOTE_WAIT_MAX, voter.stop()).await;
        if let Err(error) = stopped.unwrap_or(Err(VoteError::Timeout)) {
            tracing::error!(%error, "stopping transaction failed");
        }
    }

    fn on_updates(&self, lines: &[u8]) -> Result<Option<Vote>, VoteError> {
        // Hashing is work that nobody wants where there is nobody to ask.
        if self.is_alone() { Ok(None) } else { updates(lines) }
    }

    async fn cast(&self, vote: Vote, phase: Phase) -> Result<(), VoteError> {
        let Some(voter) = &self.voter else { return Ok(()) };
        let reply = tokio::time::timeout(VOTE_WAIT_MAX, voter.vote(vote, phase)).await;
        match reply.unwrap_or(Err(VoteError::Timeout))? {
            Reply::Commit => Ok(()),
            Reply::Abort => Err(VoteError::Aborted),
            Reply::Stop => Err(VoteError::Stopped),
        }
    }
}

// === impl HookName ===

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreReceive => "pre-receive",
            Self::Update => "update",
            Self::PostReceive => "post-receive",
        })
    }
}

#[cfg(test)]
mod tests;
