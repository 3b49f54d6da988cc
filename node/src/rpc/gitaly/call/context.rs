//! What a handler knows of its call besides the message.

use super::record::Record;
use crate::limits::{Admission, Known, Requester};
use crate::reactor::children::Account;
use crate::rpc::gitaly::Resources;
use crate::rpc::gitaly::connection::Connection;
use crate::rpc::gitaly::voting::{self, Backchannel};
use crate::rpc::votes::Ballot;
use gitring_daemon::mux::Mux;
use gitring_proto::sidechannel::METADATA_KEY;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use send_wrapper::SendWrapper;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep_until;
use tonic::{Extensions, Status};

/// One call, shared by its handler, its bodies and its line in the log.
#[derive(Debug)]
pub(in crate::rpc::gitaly) struct Context {
    /// What the line in the log will say.
    pub(in crate::rpc::gitaly) record: RefCell<Record>,
    /// The connection, where it can carry sidechannels.
    pub(in crate::rpc::gitaly) mux: Option<Mux>,
    /// Which of the client's sidechannels waits for this call.
    pub(in crate::rpc::gitaly) sidechannel_id: Option<HeaderValue>,
    /// Where votes of the connection go, if it can carry them.
    backchannel: Option<Backchannel>,
    /// Which transaction the call belongs to.
    transaction: Option<HeaderValue>,
    /// What lets it go on, until its work takes it over.
    admission: RefCell<Option<Admission>>,
}

/// How long the work of a stream may go on, and what lets it.
#[derive(Debug, Default)]
pub(in crate::rpc::gitaly) struct Lease {
    /// The call's.
    pub(in crate::rpc::gitaly) deadline: Option<Instant>,
    /// Given back when the work has ended, whatever becomes of its answer.
    pub(in crate::rpc::gitaly) admission: Option<Admission>,
}

/// Takes the admission of a call from it at its deadline, unless dropped before.
#[derive(Debug)]
pub(super) struct Expiry(JoinHandle<()>);

/// A context on its way through tonic, which asks for `Send` of what it carries.
#[derive(Debug, Clone)]
pub(in crate::rpc::gitaly) struct Carried(pub(in crate::rpc::gitaly) SendWrapper<Rc<Context>>);

// === impl Context ===

impl Context {
    pub(in crate::rpc::gitaly) fn new(
        record: Record,
        headers: &HeaderMap,
        connection: &Connection,
    ) -> Self {
        let last = |key| headers.get_all(key).iter().next_back().cloned();
        Self {
            record: RefCell::new(record),
            mux: connection.mux.clone(),
            sidechannel_id: last(METADATA_KEY),
            backchannel: connection.backchannel.clone(),
            transaction: headers.get(voting::METADATA_KEY).cloned(),
            admission: RefCell::default(),
        }
    }

    /// The context that the request came with.
    pub(in crate::rpc::gitaly) fn of(extensions: &Extensions) -> Result<Rc<Self>, Status> {
        let carried = extensions.get::<Carried>();
        let lost = || Status::internal("the call came without its context");
        carried.map(|carried| Rc::clone(&carried.0)).ok_or_else(lost)
    }

    /// Who takes turns with others.
    pub(in crate::rpc::gitaly) fn requester(&self) -> Requester {
        let record = self.record.borrow();
        Requester::of(Known {
            user_id: record.client.user_id.as_deref(),
            remote_ip: record.client.remote_ip.as_deref(),
            username: record.client.username.as_deref(),
            peer: record.peer.ip(),
        })
    }

    /// Holds what lets the call go on, for its [`Self::lease`].
    pub(super) fn hold(&self, admission: Option<Admission>) {
        *self.admission.borrow_mut() = admission;
    }

    /// What the work of a stream needs: from now on the call ends with that work.
    pub(in crate::rpc::gitaly) fn lease(&self) -> Lease {
        Lease { deadline: self.deadline(), admission: self.admission.take() }
    }

    /// The call has ended: others may go on, though a body still knows the context.
    pub(super) fn release(&self) {
        drop(self.admission.take());
    }

    /// Ends at its deadline what is admitted without work of its own here: nobody looks at an answer
    /// whose client has no window open.
    pub(super) fn expiry(self: &Rc<Self>) -> Option<Expiry> {
        let deadline = self.deadline().filter(|_| self.admission.borrow().is_some())?;
        let context = Rc::downgrade(self);
        Some(Expiry(spawn_local(async move {
            sleep_until(deadline.into()).await;
            if let Some(context) = context.upgrade() {
                context.release();
            }
        })))
    }

    /// Who pays for children.
    pub(in crate::rpc::gitaly) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.record.borrow().account)
    }

    /// When the call must have ended, if its client has said so.
    pub(in crate::rpc::gitaly) fn deadline(&self) -> Option<Instant> {
        let record = self.record.borrow();
        record.time_limit.map(|limit| record.began + limit)
    }

    /// How the call votes on what it changes.
    pub(in crate::rpc::gitaly) fn ballot(&self, resources: &Resources) -> Result<Ballot, Status> {
        let (transaction, backchannel) = (self.transaction.as_ref(), self.backchannel.as_ref());
        voting::ballot(transaction, backchannel, &resources.voting_delay)
    }
}

// === impl Expiry ===

impl Drop for Expiry {
    fn drop(&mut self) {
        self.0.abort();
    }
}
