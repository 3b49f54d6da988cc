//! Load on a server that speaks Gitaly's wire.
//!
//! ```text
//!   Plan + Targets ── run ──┬── thread: connections, clients, figures ──┬── Outcome
//!                           └── …                                       ┘
//! ```
//!
//! Always true:
//! - Memory depends on the plan, and not on how long it runs.
//! - The seed decides what each client asks for, in which order, and where it leaves; only time
//!   is the machine's.
//!
//! Never here: which server; a stock Gitaly takes the same load.

mod call;
mod clients;
mod exchange;
pub mod figures;
pub mod herd;
pub mod histogram;
pub mod kind;
mod line;
pub mod mix;
pub mod report;
pub mod script;
pub mod targets;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gitring_daemon::client::{Address, ConnectError};
use gitring_proto::gitaly::Repository;
use gitring_tests::random::Random;
use tokio::runtime;
use tokio::task::LocalSet;
use tonic::Status;

use clients::{Counted, Part};
use figures::Figures;
use kind::Kind;
use line::Dial;
use mix::Mix;
use script::Script;
use targets::Targets;

pub use script::ScriptError;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub address: Address,
    /// Its token; empty for none.
    pub token: Vec<u8>,
    /// The repository that everything is about.
    pub repository: Repository,
    /// Connections that requests share, at least one for each thread.
    pub connections: usize,
    /// Requests at once, over all connections.
    pub in_flight: usize,
    /// Threads of clients, at least one.
    pub threads: usize,
    /// For how long.
    pub time: Duration,
    /// What is asked for.
    pub mix: Mix,
    /// Clients that read clones at a trickle, beside those in flight.
    pub slow: usize,
    /// Clients that drop a connection of their own at a random step of a clone.
    pub vanishing: usize,
    /// Decides about everything random.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// [`Plan::seed`]
    pub seed: u64,
    /// How long load was made.
    pub elapsed: Duration,
    /// Each kind of the mix, and `slow-clone` and `vanishing` if there were such clients.
    pub rows: Vec<(&'static str, Figures)>,
}

/// Why there was no load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No runtime.
    #[error("start a runtime: {0}")]
    Runtime(#[from] io::Error),
    /// No connection.
    #[error("{0}: {cause}", cause = cause(.0))]
    Connect(#[from] ConnectError),
    /// The server does not tell what the repository has.
    #[error("list refs and commits: {code:?}: {message}", code = .0.code(), message = .0.message())]
    List(Box<Status>),
    /// The repository lacks what the mix asks for.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// Asks the server which refs and commits the repository has.
pub fn list(plan: &Plan) -> Result<Targets, LoadError> {
    local(async {
        let client = plan.dial().connect().await?;
        let mut random = Random::new(plan.seed);
        let listed = Targets::list(&client, &plan.repository, &mut random, &plan.mix).await;
        listed.map_err(|status| LoadError::List(Box::new(status)))
    })
}

/// Makes load until the time is over.
pub fn run(plan: &Plan, targets: &Targets) -> Result<Outcome, LoadError> {
    let mut kinds: Vec<Kind> = plan.mix.kinds().collect();
    if plan.has_clones() && !kinds.contains(&Kind::Clone) {
        kinds.push(Kind::Clone);
    }
    let script = Arc::new(Script::new(&plan.repository, targets, kinds.into_iter())?);
    let counted: Vec<Result<Counted, LoadError>> = std::thread::scope(|scope| {
        let parts = plan.parts(&script);
        let play = |part: Part| scope.spawn(|| local(async { Ok(part.play().await?) }));
        let threads: Vec<_> = parts.into_iter().map(play).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|counted| counted.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut outcome = Outcome { seed: plan.seed, elapsed: Duration::ZERO, rows: Vec::new() };
    for counted in counted {
        let counted = counted?;
        outcome.elapsed = outcome.elapsed.max(counted.elapsed);
        counted.kinds.iter().for_each(|(kind, figures)| outcome.add(kind.name(), figures));
        if plan.slow > 0 {
            outcome.add("slow-clone", &counted.slow);
        }
        if plan.vanishing > 0 {
            outcome.add("vanishing", &counted.vanishing);
        }
    }
    Ok(outcome)
}

// === impl Plan ===

impl Plan {
    fn has_clones(&self) -> bool {
        self.slow > 0 || self.vanishing > 0
    }

    fn dial(&self) -> Dial {
        let has_mux = self.has_clones() || self.mix.has_sidechannels();
        Dial { address: self.address.clone(), token: self.token.clone(), has_mux }
    }

    /// Everything evenly among the threads.
    fn parts(&self, script: &Arc<Script>) -> Vec<Part> {
        let threads = self.threads.max(1);
        let mut random = Random::new(self.seed);
        let share = |all: usize, at: usize| all / threads + usize::from(at < all % threads);
        let part = |at| Part {
            dial: self.dial(),
            script: Arc::clone(script),
            mix: self.mix.clone(),
            time: self.time,
            connections: share(self.connections, at).max(1),
            in_flight: share(self.in_flight, at),
            slow: share(self.slow, at),
            vanishing: share(self.vanishing, at),
            seed: random.next_u64(),
        };
        (0..threads).map(part).collect()
    }
}

// === impl Outcome ===

impl Outcome {
    /// The figures of one kind; none if it was not asked for.
    pub fn of(&self, kind: Kind) -> Option<&Figures> {
        self.rows.iter().find(|(name, _)| *name == kind.name()).map(|(_, figures)| figures)
    }

    /// Requests that failed or were answered with nothing.
    pub fn failures(&self) -> u64 {
        self.rows.iter().map(|(_, figures)| figures.failures() + figures.empty).sum()
    }

    fn add(&mut self, name: &'static str, figures: &Figures) {
        match self.rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => sum.merge(figures),
            None => self.rows.push((name, figures.clone())),
        }
    }
}

/// Runs on a runtime of this thread; clients stay on theirs.
fn local<T>(work: impl Future<Output = Result<T, LoadError>>) -> Result<T, LoadError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, work)
}

fn cause(error: &ConnectError) -> String {
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes.join(": ")
}
