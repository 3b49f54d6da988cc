//! Limits of methods: `[[concurrency]]` and `[[rate_limiting]]`, for each repository.
//!
//! Always true:
//! - a limit written for `PostUploadPack` or `SSHUploadPack` binds their successors with sidechannels
//!   as well, and both share it, unless those have their own;
//! - whoever asks too often is refused before it waits.
//!
//! A repository is a storage and a path. Gitaly counts by path alone, so that repositories which
//! have nothing in common but their path hold each other up.
//!
//! Never here: how a call learns of its repository.

use super::buckets::{Buckets, Rate};
use super::claim::{Claim, Name, Reason, Refusal};
use super::gate::{Entry, Gate, Permit, Turn};
use super::metrics::{Counted, MethodMetrics, MethodSeries};
use super::settings::LimitsConfig;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Methods, and those that took their place.
const SUCCESSORS: [(&str, &str); 2] = [
    (
        "/gitaly.SmartHTTPService/PostUploadPack",
        "/gitaly.SmartHTTPService/PostUploadPackWithSidechannel",
    ),
    ("/gitaly.SSHService/SSHUploadPack", "/gitaly.SSHService/SSHUploadPackWithSidechannel"),
];

/// The limits of one method.
#[derive(Debug)]
pub struct MethodLimit {
    buckets: Option<Arc<Mutex<Buckets>>>,
    named: Option<(Arc<Gate>, MethodSeries)>,
    anonymous: Option<(Arc<Gate>, MethodSeries)>,
    rate_series: MethodSeries,
}

/// Who calls, for what.
#[derive(Debug)]
pub struct Caller {
    /// What is limited, and who takes turns.
    pub claim: Claim,
    /// It does not say as whom it calls.
    pub is_anonymous: bool,
}

/// What a call's line in the log says of its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passage {
    /// Calls that waited when it came, itself included.
    pub queue_length: usize,
    /// For how long it waited.
    pub waited: Duration,
    /// Calls that were in, itself included.
    pub in_progress: usize,
    /// Why it was refused.
    pub dropped: Option<Reason>,
}

/// A call that is let in, until it is dropped.
#[derive(Debug)]
pub struct Admission {
    _permit: Option<(Permit, Counted)>,
    /// `None` where only its rate is limited.
    pub passage: Option<Passage>,
}

/// A call that is not.
#[derive(Debug)]
pub struct Rejection {
    /// Why.
    pub refusal: Refusal,
    /// For the log.
    pub passage: Passage,
}

/// Of calls that say as whom they call, and of the others where that makes a difference.
pub(super) type MethodGates = (Option<Arc<Gate>>, Option<Arc<Gate>>);

/// What methods' limits are made from.
pub(super) struct Parts<'a> {
    pub(super) metrics: &'a MethodMetrics,
    /// Of `concurrency`, in its order.
    pub(super) gates: &'a [MethodGates],
    /// By method: they are kept when the settings change.
    pub(super) buckets: &'a mut HashMap<String, Arc<Mutex<Buckets>>>,
}

/// The limits by path.
pub(super) type ByPath = HashMap<String, Arc<MethodLimit>>;

/// Makes the limits that `config` wants.
pub(super) fn by_path(config: &LimitsConfig, parts: Parts<'_>) -> ByPath {
    let Parts { metrics, gates, buckets } = parts;
    let rates: HashMap<&str, Rate> =
        config.rates.iter().map(|rate| (rate.rpc.as_str(), rate.rate)).collect();
    buckets.retain(|rpc, _| rates.contains_key(rpc.as_str()));
    for (rpc, rate) in &rates {
        match buckets.get(*rpc) {
            Some(buckets) => buckets.lock().unwrap_or_else(PoisonError::into_inner).set(*rate),
            None => {
                let new = Arc::new(Mutex::new(Buckets::new(*rate)));
                buckets.insert((*rpc).to_owned(), new);
            }
        }
    }
    let limited: HashMap<&str, _> =
        config.concurrency.iter().map(|table| table.rpc.as_str()).zip(gates).collect();
    let mut paths: Vec<&str> = limited.keys().chain(rates.keys()).copied().collect();
    for (old, new) in SUCCESSORS {
        if paths.contains(&old) {
            paths.push(new);
        }
    }
    let limit = |path: &&str| {
        let older = SUCCESSORS.iter().find(|(_, new)| new == path).map(|(old, _)| *old);
        let gates = limited.get(path).or_else(|| limited.get(older?));
        let (named, anonymous) = gates.map_or((None, None), |gates| (*gates).clone());
        let series = |suffix| metrics.of(path, suffix);
        let limit = MethodLimit {
            buckets: buckets.get(*path).or_else(|| buckets.get(older?)).cloned(),
            named: named.map(|gate| (gate, series(""))),
            anonymous: anonymous.map(|gate| (gate, series("-unauthenticated"))),
            rate_series: series(""),
        };
        ((*path).to_owned(), Arc::new(limit))
    };
    paths.iter().map(limit).collect()
}

// === impl MethodLimit ===

impl MethodLimit {
    /// Waits until the call may go on. Dropping the future gives its place up.
    ///
    /// # Errors
    /// Where it may not, or not in time.
    pub async fn admit(&self, caller: &Caller) -> Result<Admission, Rejection> {
        let Caller { claim, is_anonymous } = caller;
        if let Some(buckets) = &self.buckets {
            let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = buckets.take(&claim.key, Instant::now());
            drop(buckets);
            if let Err(retry_after) = taken {
                let reason = Reason::Rate;
                self.rate_series.dropped(reason);
                let refusal = Refusal { reason, retry_after, is_own_share: true };
                let passage = Passage { dropped: Some(reason), ..Passage::default() };
                return Err(Rejection { refusal, passage });
            }
        }
        let anonymous = self.anonymous.as_ref().filter(|_| *is_anonymous);
        match anonymous.or(self.named.as_ref()) {
            Some((gate, series)) => enter(gate, series, claim).await,
            None => Ok(Admission { _permit: None, passage: None }),
        }
    }
}

async fn enter(
    gate: &Arc<Gate>,
    series: &MethodSeries,
    claim: &Claim,
) -> Result<Admission, Rejection> {
    let began = Instant::now();
    let mut queue_length = 0;
    let entered = match gate.ask(std::slice::from_ref(claim)) {
        Ok(Entry::In(permit)) => Ok(permit),
        Ok(Entry::Queued(turn)) => {
            let _waiting = series.waiting();
            queue_length = gate.load_of(&claim.key).1;
            wait(gate, claim, turn).await
        }
        Err(refusal) => Err(refusal),
    };
    let (waited, (in_progress, queued)) = (began.elapsed(), gate.load_of(&claim.key));
    match entered {
        Ok(permit) => {
            series.acquired(waited.as_secs_f64());
            let passage = Passage { queue_length, waited, in_progress, dropped: None };
            let permit = (permit, series.running());
            Ok(Admission { _permit: Some(permit), passage: Some(passage) })
        }
        Err(refusal) => {
            series.dropped(refusal.reason);
            let dropped = Some(refusal.reason);
            let passage = Passage { queue_length: queued, waited, in_progress, dropped };
            Err(Rejection { refusal, passage })
        }
    }
}

async fn wait(gate: &Gate, claim: &Claim, turn: Turn) -> Result<Permit, Refusal> {
    match gate.settings().wait_max {
        None => turn.await,
        Some(wait_max) => match tokio::time::timeout(wait_max, turn).await {
            Ok(turned) => turned,
            Err(_) => Err(gate.too_late(&claim.key)),
        },
    }
}

/// The key of a repository.
pub fn repository_key(storage: &str, relative_path: &str) -> Name {
    Name::new(&format!("{storage}:{relative_path}"))
}
