//! The pack cache: identical packs are made once and read by all who want them.
//!
//! ```text
//!   fetch(key) ──► Hit, Join ─────────────► Stream ◄── the key's file
//!              └─► Lead: a production, which belongs to the reactor, not to the client
//! ```
//!
//! Always true:
//! - a production goes on as long as anybody reads what it makes, and ends when nobody does;
//! - the bytes kept are the bare pack: progress, side-bands and packets are made on the way out.
//!
//! Never here: which objects a pack holds, how it is built or framed; HTTP, gRPC.

pub mod building;
mod costs;
pub mod disk;
mod metrics;
mod productions;
mod sample;
pub(crate) mod settings;
mod snapshot;

pub use self::building::{BuildError, Building};
pub use self::costs::{Bill, Cost};
pub use self::settings::PackCacheConfig;
pub use self::snapshot::{Making, Snapshot};
pub use gitring_streamcache::{FetchError, Key, Note, ReadError};

use self::building::Buildings;
use self::disk::CacheDisk;
use self::metrics::Metrics;
use self::productions::Productions;
use crate::limits::{Member, PackLimits, PackTurn, Place, Refusal, Requester, Work};
use bytes::Bytes;
use gitring_streamcache::{Cache, Fetch, Index, Lead, Reader, WriteError};
use prometheus::Registry;
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The packs of a process: what its reactors share.
#[derive(Clone)]
pub struct SharedPacks {
    index: Arc<Index<CacheDisk>>,
    buildings: Buildings,
    limits: PackLimits,
    metrics: Metrics,
    /// Whether a reactor keeps house already.
    kept: Arc<AtomicBool>,
    /// Packs are kept, and so many bytes of them.
    enabled: bool,
    bytes_max: u64,
}

/// One reactor's way to the packs.
#[derive(Clone)]
pub struct Packs {
    cache: Cache<CacheDisk>,
    buildings: Buildings,
    limits: PackLimits,
    metrics: Metrics,
    productions: Rc<Productions>,
}

/// What a lookup came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The pack is there.
    Hit,
    /// It is being made for somebody else.
    Join,
    /// It is made for whoever asked.
    Lead,
}

/// What a pack is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// By the cache.
    pub key: Key,
    /// In the log: one line about what the key was made of.
    pub request: String,
}

/// Who asks for a pack, and what it takes to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Who takes turns with others.
    pub requester: Requester,
    /// What it is likely to cost.
    pub work: Work,
}

/// A pack on its way to one client.
pub struct Stream {
    reader: Reader<CacheDisk>,
    /// How it comes into being.
    pub building: Arc<Building>,
    /// What the lookup came to.
    pub role: Role,
    /// `None`: nobody else can read it.
    named: Option<Named>,
    /// Among those who wait for it to be begun.
    member: Option<Member>,
    /// What a hit costs others.
    known_cost: Option<Cost>,
    metrics: Metrics,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// Too many are being made.
    #[error(transparent)]
    Cache(#[from] FetchError),
    /// It would have to be made, and that is refused.
    #[error(transparent)]
    Limited(#[from] Refusal),
}

/// The side of a stream that makes it.
pub struct Producer {
    lead: Lead<CacheDisk>,
    /// What readers are told meanwhile.
    pub building: Arc<Building>,
    /// `None`: nobody else can read it.
    key: Option<Key>,
    metrics: Metrics,
}

// === impl SharedPacks ===

impl SharedPacks {
    /// The cache of a node. Nothing is touched before a reactor keeps house.
    pub fn new(config: &PackCacheConfig, limits: PackLimits, registry: &Registry) -> Self {
        let metrics = Metrics::register(registry, config);
        let observer = Arc::new(metrics.clone());
        let index = Index::new(config.directory.clone(), config.limits(), observer);
        let index = Arc::new(index);
        metrics.watch(registry, &index);
        Self::around(index, (limits, metrics), config, false)
    }

    /// For a process that serves one client: every pack lives in memory and is gone with it.
    pub fn in_memory(registry: &Registry) -> Self {
        let config = PackCacheConfig::in_memory();
        let metrics = Metrics::register(registry, &config);
        let index = Index::in_memory(config.limits(), Arc::new(metrics.clone()));
        let none = PackLimits::none();
        Self::around(Arc::new(index), (none, metrics), &config, true)
    }

    fn around(
        index: Arc<Index<CacheDisk>>,
        (limits, metrics): (PackLimits, Metrics),
        config: &PackCacheConfig,
        is_kept: bool,
    ) -> Self {
        let kept = Arc::new(AtomicBool::new(is_kept));
        let PackCacheConfig { enabled, bytes_max, .. } = *config;
        Self { index, buildings: Buildings::default(), limits, metrics, kept, enabled, bytes_max }
    }

    /// The way of the reactor that calls; the first one keeps house.
    pub fn on_reactor(&self, disk: CacheDisk) -> Packs {
        let cache = Cache::new(Arc::clone(&self.index), disk);
        let productions = Rc::new(Productions::default());
        if !self.kept.swap(true, Ordering::SeqCst) {
            let house = cache.clone();
            productions.keep(async move { house.keep_house().await });
        }
        let (buildings, metrics) = (self.buildings.clone(), self.metrics.clone());
        Packs { cache, buildings, limits: self.limits.clone(), metrics, productions }
    }
}

// === impl Packs ===

impl Packs {
    /// The pack with this name. If nobody makes it, `produce` does, as a task of this reactor, for
    /// a client of `repository`, once it is its turn.
    ///
    /// # Errors
    /// Where too many are being made, or wait for it.
    pub async fn fetch<P: Future<Output = ()> + 'static>(
        &self,
        (named, repository): (Named, &Path),
        demand: Demand,
        note: impl FnOnce() -> Note,
        produce: impl FnOnce(Producer, PackTurn) -> P,
    ) -> Result<Stream, LookupError> {
        let Demand { requester, work } = demand;
        let (reader, building, role, member) = match self.cache.fetch(named.key, note).await? {
            Fetch::Hit(reader) => (reader, Arc::default(), Role::Hit, None),
            Fetch::Join(reader) => {
                let building = self.buildings.find(&named.key);
                let member = building.crowd.join(requester);
                (reader, building, Role::Join, Some(member))
            }
            Fetch::Lead(lead, reader) => {
                let (building, site) = self.buildings.begin(named.key, repository);
                let member = building.crowd.join(requester);
                let producer = self.producer(lead, &building, Some(named.key));
                self.begin(producer, site, work, produce)?;
                (reader, building, Role::Lead, Some(member))
            }
        };
        Ok(self.stream(reader, building, (role, member), Some(named)))
    }

    /// A pack that nobody else may read.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn alone<P: Future<Output = ()> + 'static>(
        &self,
        demand: Demand,
        produce: impl FnOnce(Producer, PackTurn) -> P,
    ) -> Result<Stream, LookupError> {
        let Demand { requester, work } = demand;
        let (lead, reader) = self.cache.alone().await?;
        let building = Arc::<Building>::default();
        let member = Some(building.crowd.join(requester));
        self.begin(self.producer(lead, &building, None), (), work, produce)?;
        Ok(self.stream(reader, building, (Role::Lead, member), None))
    }

    /// For how long this one may wait until its pack is begun; `None`: as long as it likes.
    pub fn patience(&self, requester: &Requester) -> Option<Duration> {
        self.limits.patience(requester)
    }

    /// This one has waited for too long.
    pub fn too_late(&self, requester: &Requester) -> Refusal {
        self.limits.too_late(requester)
    }

    fn producer(
        &self,
        lead: Lead<CacheDisk>,
        building: &Arc<Building>,
        key: Option<Key>,
    ) -> Producer {
        Producer { lead, building: Arc::clone(building), key, metrics: self.metrics.clone() }
    }

    fn stream(
        &self,
        reader: Reader<CacheDisk>,
        building: Arc<Building>,
        (role, member): (Role, Option<Member>),
        named: Option<Named>,
    ) -> Stream {
        building.joined();
        let metrics = self.metrics.clone();
        let known_cost = match (role, &named) {
            (Role::Hit, Some(named)) => metrics.costs.get(&named.key),
            (Role::Hit | Role::Join | Role::Lead, _) => None,
        };
        Stream { reader, building, role, named, member, known_cost, metrics }
    }

    /// Begins the task that makes a pack; `site` is held until it ends.
    fn begin<P: Future<Output = ()> + 'static>(
        &self,
        producer: Producer,
        site: impl Sized + 'static,
        work: Work,
        produce: impl FnOnce(Producer, PackTurn) -> P,
    ) -> Result<(), Refusal> {
        let turn = match self.limits.queue(&producer.building.crowd, work) {
            Ok(turn) => turn,
            Err(refusal) => {
                producer.fail(BuildError::Limited(refusal));
                return Err(refusal);
            }
        };
        let producing = produce(producer, turn);
        self.productions.begin(async move {
            producing.await;
            drop(site);
        });
        Ok(())
    }

    /// Returns once nothing is made any more.
    pub async fn ended(&self) {
        self.productions.ended().await;
    }
}

// === impl Stream ===

impl Stream {
    /// The next bytes, `bytes_max` at most; `None` at the end of the whole pack. May be dropped and
    /// asked again.
    pub async fn read(&mut self, bytes_max: usize) -> Result<Option<Bytes>, ReadError> {
        self.reader.read(bytes_max).await
    }

    /// Bytes that were read so far.
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    /// Those who read the same pack now, this one included.
    pub fn readers(&self) -> usize {
        self.reader.readers()
    }

    /// Where it stands among those that wait to be begun; `None` once it was.
    pub fn place(&self) -> Option<Place> {
        self.member.as_ref().and_then(Member::place)
    }

    /// The name of what is read, if it has one.
    pub fn key(&self) -> Option<Key> {
        self.named.as_ref().map(|named| named.key)
    }

    /// What the pack cost or saved, once it was made and as far as that is known.
    pub fn bill(&self) -> Option<Bill> {
        match self.role {
            Role::Hit => self.known_cost.map(Bill::Saved),
            Role::Join => self.building.cost().map(Bill::Saved),
            Role::Lead => self.building.cost().map(Bill::Spent),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.building.left();
        let bytes = self.reader.position();
        self.metrics.served(self.named.as_ref(), bytes, self.role);
        if let Some(saved) = self.bill().and_then(|bill| bill.saved()).filter(|_| bytes > 0) {
            self.metrics.saved(self.role, saved);
        }
    }
}

// === impl Producer ===

impl Producer {
    /// Appends to the pack; waits while nobody has read enough of it.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub async fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        self.building.wrote(data.len() as u64);
        self.lead.write(data).await
    }

    /// Returns once nobody reads any more.
    pub async fn abandoned(&self) {
        self.lead.abandoned().await;
    }

    /// The pack is whole, and cost so much.
    pub async fn finish(self, cost: Cost) {
        // Before anybody can hit it.
        self.metrics.built(self.key.as_ref(), cost);
        self.building.finished(cost);
        self.lead.finish().await;
    }

    /// There will be no pack.
    pub fn fail(self, error: BuildError) {
        let error = Arc::new(error);
        let reason = error.to_string().into();
        self.building.failed(error);
        self.lead.fail(reason);
    }
}

impl fmt::Debug for SharedPacks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SharedPacks").finish_non_exhaustive()
    }
}

impl fmt::Debug for Packs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Packs").finish_non_exhaustive()
    }
}
