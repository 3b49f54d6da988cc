//! What a handler knows of its call besides the message.

use super::record::Record;
use crate::reactor::children::Account;
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

/// Under which key a proxy tells that a change belongs to a transaction.
const TRANSACTION: &str = "gitaly-reference-transaction";

/// One call, shared by its handler, its bodies and its line in the log.
#[derive(Debug)]
pub(super) struct Context {
    /// What the line in the log will say.
    pub(super) record: RefCell<Record>,
    /// The connection, where it can carry sidechannels.
    pub(super) mux: Option<Mux>,
    /// Which of the client's sidechannels waits for this call.
    pub(super) sidechannel_id: Option<HeaderValue>,
    in_transaction: bool,
}

/// A context on its way through tonic, which asks for `Send` of what it carries.
#[derive(Debug, Clone)]
pub(super) struct Carried(pub(super) SendWrapper<Rc<Context>>);

// === impl Context ===

impl Context {
    pub(super) fn new(record: Record, headers: &HeaderMap, mux: Option<Mux>) -> Self {
        let last = |key| headers.get_all(key).iter().next_back().cloned();
        Self {
            record: RefCell::new(record),
            mux,
            sidechannel_id: last(METADATA_KEY),
            in_transaction: headers.contains_key(TRANSACTION),
        }
    }

    /// The context that the request came with.
    pub(super) fn of(extensions: &Extensions) -> Result<Rc<Self>, Status> {
        let carried = extensions.get::<Carried>();
        let lost = || Status::internal("the call came without its context");
        carried.map(|carried| Rc::clone(&carried.0)).ok_or_else(lost)
    }

    /// Who pays for children.
    pub(super) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.record.borrow().account)
    }

    /// When the call must have ended, if its client has said so.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let record = self.record.borrow();
        record.time_limit.map(|limit| record.began + limit)
    }

    /// Refuses a change that must be voted on, since nobody would vote here: the proxy must not
    /// take it for done.
    pub(super) fn refuse_transaction(&self) -> Result<(), Status> {
        if self.in_transaction {
            return Err(Status::unimplemented("votes on transactions are not built yet"));
        }
        Ok(())
    }
}
