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
pub mod disk;
mod metrics;
mod productions;
mod sample;
pub(crate) mod settings;

pub use self::building::{BuildError, Building};
pub use self::settings::PackCacheConfig;
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
        Self::around(index, limits, metrics, false)
    }

    /// For a process that serves one client: every pack lives in memory and is gone with it.
    pub fn in_memory(registry: &Registry) -> Self {
        let config = PackCacheConfig::in_memory();
        let metrics = Metrics::register(registry, &config);
        let index = Index::in_memory(config.limits(), Arc::new(metrics.clone()));
        Self::around(Arc::new(index), PackLimits::none(), metrics, true)
    }

    fn around(
        index: Arc<Index<CacheDisk>>,
        limits: PackLimits,
        metrics: Metrics,
        is_kept: bool,
    ) -> Self {
        let kept = Arc::new(AtomicBool::new(is_kept));
        Self { index, buildings: Buildings::default(), limits, metrics, kept }
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
    /// The pack named `key`. If nobody makes it, `produce` does, as a task of this reactor, once it
    /// is its turn.
    ///
    /// # Errors
    /// Where too many are being made, or wait for it.
    pub async fn fetch<P: Future<Output = ()> + 'static>(
        &self,
        named: Named,
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
                let (building, site) = self.buildings.begin(named.key);
                let member = building.crowd.join(requester);
                self.begin(lead, (&building, site), work, produce)?;
                (reader, building, Role::Lead, Some(member))
            }
        };
        let (named, metrics) = (Some(named), self.metrics.clone());
        Ok(Stream { reader, building, role, named, member, metrics })
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
        self.begin(lead, (&building, ()), work, produce)?;
        let (role, named, metrics) = (Role::Lead, None, self.metrics.clone());
        Ok(Stream { reader, building, role, named, member, metrics })
    }

    /// For how long this one may wait until its pack is begun; `None`: as long as it likes.
    pub fn patience(&self, requester: &Requester) -> Option<Duration> {
        self.limits.patience(requester)
    }

    /// This one has waited for too long.
    pub fn too_late(&self, requester: &Requester) -> Refusal {
        self.limits.too_late(requester)
    }

    /// Begins the task that makes a pack; `site` is held until it ends.
    fn begin<P: Future<Output = ()> + 'static>(
        &self,
        lead: Lead<CacheDisk>,
        (building, site): (&Arc<Building>, impl Sized + 'static),
        work: Work,
        produce: impl FnOnce(Producer, PackTurn) -> P,
    ) -> Result<(), Refusal> {
        let turn = self.limits.queue(&building.crowd, work);
        let producer = Producer { lead, building: Arc::clone(building) };
        let turn = match turn {
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
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.metrics.served(self.named.as_ref(), self.reader.position(), self.role);
    }
}

// === impl Producer ===

impl Producer {
    /// Appends to the pack; waits while nobody has read enough of it.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub async fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        self.lead.write(data).await
    }

    /// Returns once nobody reads any more.
    pub async fn abandoned(&self) {
        self.lead.abandoned().await;
    }

    /// The pack is whole.
    pub async fn finish(self) {
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
