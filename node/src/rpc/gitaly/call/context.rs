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
    /// What lets it go on, for as long as it does.
    admission: RefCell<Option<Admission>>,
}

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

    /// Holds what lets the call go on until the end of its answer. Nothing is left to the caller.
    pub(super) fn hold(&self, admission: Option<Admission>) -> Option<Admission> {
        *self.admission.borrow_mut() = admission;
        None
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
