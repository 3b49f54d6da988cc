//! Clients that come at once, all with the same fetch over `PostUploadPackWithSidechannel`.
//!
//! ```text
//!   thread: its connections stand ── barrier ── its clients ask ── visits
//! ```
//!
//! Plan: what a CI pipeline does to a server. Workhorse has few connections, and so has a herd; each
//! client has a sidechannel of its own. What was read is dropped at once, so that clients cost
//! little of the cores that they share with the server.
//!
//! Always true:
//! - nobody asks before every connection of every thread stands;
//! - whoever reads fast reads to the end; slow readers are cut `slow_stay` after the others of their
//!   thread have ended; everybody is after [`RUN_MAX`].
//!
//! Never here: judgement of what came.

mod client;
pub mod visit;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Barrier;
use std::time::Duration;

use bytes::Bytes;
use gitring_daemon::client::{Address, Client};
use gitring_proto::gitaly::{PostUploadPackWithSidechannelRequest, Repository};
use gitring_tests::random::Random;
use prost::Message;
use tokio::task::JoinSet;

use super::line::Dial;
use super::{LoadError, local};
use client::serve;
use visit::Visit;

/// A server that hangs ends a run, and not the measurement.
pub const RUN_MAX: Duration = Duration::from_secs(90);

/// How a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// As fast as it can.
    Fast,
    /// At this rate.
    Slow {
        /// Bytes a second, not 0.
        bytes_per_s: u32,
    },
    /// Leaves without a word.
    Vanishing {
        /// Once so many bytes have come; 0: right after asking.
        after_bytes: u64,
    },
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Fetch {
    message: Bytes,
    body: Bytes,
}

/// Who comes.
#[derive(Debug)]
pub struct Herd<'a> {
    /// The server; it asks for no token.
    pub address: Address,
    /// What each of them asks for.
    pub fetch: &'a Fetch,
    /// Threads of clients, at least one.
    pub threads: usize,
    /// Connections that clients share, at least one for each thread.
    pub connections: usize,
    /// The clients.
    pub readers: Vec<Reader>,
    /// How often each of them asks, again as soon as it was answered.
    pub times: usize,
    /// How long slow readers stay after the others.
    pub slow_stay: Duration,
}

/// Clients of one thread.
struct Part {
    dial: Dial,
    fetch: Fetch,
    connections: usize,
    readers: Vec<Reader>,
    times: usize,
    slow_stay: Duration,
}

/// What the clients of one thread have met so far.
type Visits = Rc<RefCell<Vec<Visit>>>;

/// `count` clients in random order; these shares of them read 1 MB/s, or leave at a random byte.
pub fn mixed(count: usize, slow_percent: usize, leave_percent: usize, bytes: u64) -> Vec<Reader> {
    let mut random = Random::new(count as u64);
    let slow = count * slow_percent / 100;
    let leaving = slow + count * leave_percent / 100;
    let reader = |at, random: &mut Random| match at {
        _ if at < slow => Reader::Slow { bytes_per_s: 1_000_000 },
        _ if at < leaving => Reader::Vanishing { after_bytes: random.next_u64() % bytes.max(1) },
        _ => Reader::Fast,
    };
    let mut readers: Vec<Reader> = (0..count).map(|at| reader(at, &mut random)).collect();
    (0..count).for_each(|at| readers.swap(at, at + random.below(count - at)));
    readers
}

// === impl Fetch ===

impl Fetch {
    /// A request in pkt-lines about a repository of the storage `default`.
    pub fn new(relative_path: &str, body: Vec<u8>) -> Self {
        let repository = Repository {
            storage_name: "default".to_owned(),
            relative_path: relative_path.to_owned(),
            ..Default::default()
        };
        let message = PostUploadPackWithSidechannelRequest {
            repository: Some(repository),
            git_config_options: Vec::new(),
            git_protocol: "version=2".to_owned(),
        };
        Self { message: message.encode_to_vec().into(), body: body.into() }
    }
}

// === impl Herd ===

impl Herd<'_> {
    /// Lets them come, and returns what happened to each.
    pub fn run(&self) -> Result<Vec<Visit>, LoadError> {
        let threads = self.threads.max(1);
        let barrier = Barrier::new(threads);
        let played: Vec<Result<Vec<Visit>, LoadError>> = std::thread::scope(|scope| {
            let start = |at| {
                let (part, barrier) = (self.part(at, threads), &barrier);
                scope.spawn(move || local(part.play(barrier)))
            };
            let running: Vec<_> = (0..threads).map(start).collect();
            let joined = running.into_iter().map(std::thread::ScopedJoinHandle::join);
            joined.map(|one| one.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut visits = Vec::new();
        for one in played {
            visits.extend(one?);
        }
        Ok(visits)
    }

    /// Every `threads`-th client.
    fn part(&self, at: usize, threads: usize) -> Part {
        let share = self.connections / threads + usize::from(at < self.connections % threads);
        Part {
            dial: Dial { address: self.address.clone(), token: Vec::new(), has_mux: true },
            fetch: self.fetch.clone(),
            connections: share.max(1),
            readers: self.readers.iter().skip(at).step_by(threads).copied().collect(),
            times: self.times,
            slow_stay: self.slow_stay,
        }
    }
}

// === impl Part ===

impl Part {
    async fn play(self, barrier: &Barrier) -> Result<Vec<Visit>, LoadError> {
        let connected = self.connect().await;
        // Other threads wait for this one, whatever came of it. Nothing else runs here yet.
        barrier.wait();
        let clients = connected?;
        let (visits, mut slow, mut others) = (Visits::default(), JoinSet::new(), JoinSet::new());
        for (at, reader) in self.readers.iter().enumerate() {
            let client = clients[at % clients.len()].clone();
            let task = serve(client, self.fetch.clone(), *reader, self.times, Rc::clone(&visits));
            let is_slow = matches!(reader, Reader::Slow { .. });
            if is_slow { &mut slow } else { &mut others }.spawn_local(task);
        }
        let playing = async {
            while others.join_next().await.is_some() {}
            let staying = async { while slow.join_next().await.is_some() {} };
            // Who still reads after that is cut, which is how its visit began.
            drop(tokio::time::timeout(self.slow_stay, staying).await);
        };
        drop(tokio::time::timeout(RUN_MAX, playing).await);
        slow.shutdown().await;
        others.shutdown().await;
        Ok(visits.take())
    }

    async fn connect(&self) -> Result<Vec<Client>, LoadError> {
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            clients.push(self.dial.connect().await?);
        }
        Ok(clients)
    }
}
