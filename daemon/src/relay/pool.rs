//! Connections to one upstream.
//!
//! Always true:
//! - there are at most [`CONNECTIONS_MAX`] that take calls, each with at most [`CALLS_MAX`]; one
//!   that ends, that belongs to an earlier target, or on which a request remains whose call has
//!   ended, takes no more and lasts as long as its calls;
//! - one connection is dialled at a time; after a failure nobody dials for a while, and calls fail
//!   at once with what was said then.

use super::RelayError;
use crate::client::{Address, CALLS_MAX, Client};
use crate::log;
use crate::mux::CLIENT;
use arc_swap::ArcSwap;
use gitring_proto::token::Secret;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};
use tonic::service::Routes;

const CONNECTIONS_MAX: usize = 4;
/// Calls of a connection from which on another one is worth its sockets: one thread reads each.
const CALLS_WANTED: usize = 64;
/// An upstream is near; who waits longer for it waits in vain.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// How long a request whose call has ended may remain on a connection without other calls.
const REMAINS_MAX: Duration = Duration::from_secs(1);
/// From a failure to the next attempt, doubled with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Where an upstream listens, and what it wants to see.
#[derive(Debug)]
pub struct Target {
    /// Where.
    pub address: Address,
    /// The token that calls are signed with; none: no authentication.
    pub secret: Option<Secret>,
}

#[derive(Debug)]
pub(super) struct Pool {
    target: Arc<ArcSwap<Target>>,
    backchannel: Option<Routes>,
    connections: RefCell<Vec<Connection>>,
    dialling: Mutex<Pause>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    target: Arc<Target>,
    /// Its clones are the calls.
    lease: Lease,
    _sweeping: Sweeping,
}

/// Ends its task when dropped.
#[derive(Debug)]
struct Sweeping(JoinHandle<()>);

/// Counts one call of a connection, and keeps the connection.
pub(super) type Lease = Arc<Left>;

/// What calls that have ended left behind on a connection.
#[derive(Debug, Default)]
pub(super) struct Left {
    requests: StdMutex<Vec<Weak<()>>>,
    told: Arc<Notify>,
}

/// A place on a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) target: Arc<Target>,
    pub(super) lease: Lease,
}

/// Since when dialling fails.
#[derive(Debug)]
struct Pause {
    failures: u32,
    until: Instant,
    cause: Arc<str>,
    /// Another target may be reached all the same.
    target: Option<Arc<Target>>,
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(target: Arc<ArcSwap<Target>>, backchannel: Option<Routes>) -> Self {
        let pause =
            Pause { failures: 0, until: Instant::now(), cause: Arc::from(""), target: None };
        Self { target, backchannel, connections: RefCell::default(), dialling: Mutex::new(pause) }
    }

    pub(super) fn target(&self) -> Arc<Target> {
        self.target.load_full()
    }

    /// A place for a call: on the connection that has the fewest, or on a new one.
    pub(super) async fn link(self: &Rc<Self>) -> Result<Link, RelayError> {
        if let Some(link) = self.place(CALLS_WANTED) {
            return Ok(link);
        }
        let mut pause = self.dialling.lock().await;
        // While one waited, another may have dialled.
        if let Some(link) = self.place(CALLS_WANTED) {
            return Ok(link);
        }
        let target = self.target();
        let room = self.usable(&target) < CONNECTIONS_MAX;
        let failed = match room.then_some(pause.cause_for(&target)) {
            None => RelayError::Busy(Arc::clone(&target)),
            Some(Some(cause)) => RelayError::Unreachable { target, cause },
            Some(None) => match self.dial(&target).await {
                Ok(client) => {
                    pause.failures = 0;
                    pause.target = None;
                    let link = Link { client, target, lease: Lease::default() };
                    let connection = link.connection(self.sweep(&link.lease));
                    self.connections.borrow_mut().push(connection);
                    return Ok(link);
                }
                Err(cause) => {
                    pause.lengthen(&target, Arc::clone(&cause));
                    RelayError::Unreachable { target, cause }
                }
            },
        };
        // Crowded is better than none.
        self.place(CALLS_MAX).ok_or(failed)
    }

    /// A place on the connection with the fewest calls, if it has fewer than `calls_max`.
    fn place(&self, calls_max: usize) -> Option<Link> {
        let target = self.target.load();
        self.drop_idle(&target);
        let connections = self.connections.borrow();
        let usable = connections.iter().filter(|one| one.takes_calls_for(&target));
        let idlest = usable.min_by_key(|one| one.calls())?;
        (idlest.calls() < calls_max).then(|| idlest.link())
    }

    /// Drops connections that take no more calls and have none.
    fn drop_idle(&self, target: &Arc<Target>) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|one| one.takes_calls_for(target) || one.calls() > 0);
    }

    /// Does so a while after a call has left something behind on a connection.
    fn sweep(self: &Rc<Self>, lease: &Lease) -> Sweeping {
        let (pool, told) = (Rc::downgrade(self), Arc::clone(&lease.told));
        Sweeping(spawn_local(async move {
            loop {
                told.notified().await;
                sleep(REMAINS_MAX).await;
                let Some(pool) = pool.upgrade() else { return };
                pool.drop_idle(&pool.target());
            }
        }))
    }

    fn usable(&self, target: &Arc<Target>) -> usize {
        self.connections.borrow().iter().filter(|one| one.takes_calls_for(target)).count()
    }

    async fn dial(&self, target: &Target) -> Result<Client, Arc<str>> {
        let (address, secret) = (&target.address, target.secret.clone());
        let dialled = Client::connect_mux_as(address, secret, CLIENT, self.backchannel.clone());
        match timeout(DIAL_MAX, dialled).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(log::chain(&error).into()),
            Err(_) => Err(format!("no answer within {} seconds", DIAL_MAX.as_secs()).into()),
        }
    }
}

// === impl Connection ===

impl Connection {
    fn takes_calls_for(&self, target: &Arc<Target>) -> bool {
        Arc::ptr_eq(&self.target, target) && self.client.is_open() && !self.lease.is_clogged()
    }

    fn calls(&self) -> usize {
        Arc::strong_count(&self.lease) - 1
    }

    fn link(&self) -> Link {
        let (client, target) = (self.client.clone(), Arc::clone(&self.target));
        Link { client, target, lease: Arc::clone(&self.lease) }
    }
}

// === impl Left ===

impl Left {
    /// A call has ended, of whose request this may remain.
    pub(super) fn leave(&self, remains: Weak<()>) {
        let mut left = self.left();
        left.retain(|one| one.strong_count() > 0);
        if remains.strong_count() > 0 {
            left.push(remains);
        }
        if !left.is_empty() {
            self.told.notify_one();
        }
    }

    fn is_clogged(&self) -> bool {
        self.left().iter().any(|one| one.strong_count() > 0)
    }

    fn left(&self) -> MutexGuard<'_, Vec<Weak<()>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Link ===

impl Link {
    fn connection(&self, sweeping: Sweeping) -> Connection {
        let (client, target) = (self.client.clone(), Arc::clone(&self.target));
        Connection { client, target, lease: Arc::clone(&self.lease), _sweeping: sweeping }
    }
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Pause ===

impl Pause {
    /// What was said last, while nobody is to dial.
    fn cause_for(&self, target: &Arc<Target>) -> Option<Arc<str>> {
        let same = self.target.as_ref().is_some_and(|failed| Arc::ptr_eq(failed, target));
        (same && Instant::now() < self.until).then(|| Arc::clone(&self.cause))
    }

    fn lengthen(&mut self, target: &Arc<Target>, cause: Arc<str>) {
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(16));
        self.until = Instant::now() + pause.min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.cause = cause;
        self.target = Some(Arc::clone(target));
    }
}

// === impl Target ===

impl fmt::Display for Target {
    /// Its address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
