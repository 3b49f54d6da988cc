//! What those who wait for a pack are told while it is being built.
//!
//! Always true: text is bounded, whoever reads it late has lost the oldest of it.
//! Never here: how text reaches a client.

use super::costs::Cost;
use super::snapshot::Making;
use crate::limits::{Crowd, Refusal};
use crate::reactor::children::SpawnError;
use crate::reactor::workers::WorkerError;
use gitring_streamcache::Key;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::watch;

/// Text that is kept: a screenful. git rewrites its progress line all the time.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// Why there is no pack.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The builder was not started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// Its pipes failed.
    #[error("talk to git")]
    Pipe(#[source] io::Error),
    /// It gave up.
    #[error("git pack-objects died: {0}")]
    Died(ExitStatus),
    /// No worker could find out what belongs into it.
    #[error(transparent)]
    Workers(#[from] WorkerError),
    /// It was not its turn, and will not be.
    #[error(transparent)]
    Limited(Refusal),
    /// It could not be told what to build.
    #[error("prepare the pack: {0}")]
    Prepare(String),
}

/// A pack that is being built.
#[derive(Debug)]
pub struct Building {
    /// All who wait for it to be begun.
    pub crowd: Arc<Crowd>,
    said: watch::Sender<Said>,
    error: OnceLock<Arc<BuildError>>,
    begun: OnceLock<Begun>,
    builder: OnceLock<&'static str>,
    cost: OnceLock<Cost>,
    readers: AtomicUsize,
    bytes: AtomicU64,
}

/// When the first client asked, and of which repository.
#[derive(Debug)]
struct Begun {
    at: Instant,
    repository: PathBuf,
}

/// What the builder has said.
#[derive(Debug, Default)]
struct Said {
    /// The end of it.
    tail: Vec<u8>,
    /// All of it.
    bytes: u64,
    /// Progress for those who want to see it; else complaints for everybody.
    is_progress: bool,
}

/// Follows what a builder says.
#[derive(Debug)]
pub struct Listener {
    said: watch::Receiver<Said>,
    heard_bytes: u64,
    wants_progress: bool,
}

/// The packs that are being built, by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Buildings {
    sites: Arc<Mutex<HashMap<Key, Weak<Building>>>>,
}

/// A place among [`Buildings`], given up when dropped.
#[derive(Debug)]
pub(super) struct Site {
    buildings: Buildings,
    key: Key,
    building: Arc<Building>,
}

// === impl BuildError ===

impl BuildError {
    /// Whether the same might be built later.
    pub fn is_for_lack_of_room(&self) -> bool {
        matches!(
            self,
            Self::Spawn(SpawnError::Full | SpawnError::Timeout) | Self::Workers(WorkerError::Full)
        )
    }
}

// === impl Building ===

impl Default for Building {
    fn default() -> Self {
        let (said, _) = watch::channel(Said::default());
        Self {
            crowd: Arc::default(),
            said,
            error: OnceLock::new(),
            begun: OnceLock::new(),
            builder: OnceLock::new(),
            cost: OnceLock::new(),
            readers: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Building {
    /// Says from now on progress, which not everybody wants to see.
    pub fn shows_progress(&self) {
        self.said.send_modify(|said| said.is_progress = true);
    }

    /// Tells those who wait what the builder says.
    pub fn say(&self, text: &[u8]) {
        self.said.send_modify(|said| {
            said.bytes += text.len() as u64;
            said.tail.extend_from_slice(text);
            let surplus = said.tail.len().saturating_sub(TEXT_BYTES_MAX);
            if surplus > 0 {
                let cut = line_behind(&said.tail, surplus);
                said.tail.drain(..cut);
            }
        });
    }

    /// Hears everything that is said, and what was said before as far as it is kept.
    pub fn listen(&self, wants_progress: bool) -> Listener {
        let mut said = self.said.subscribe();
        said.mark_changed();
        Listener { said, heard_bytes: 0, wants_progress }
    }

    fn has_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// Why there is no pack, if there is none.
    pub fn error(&self) -> Option<Arc<BuildError>> {
        self.error.get().cloned()
    }

    /// Who makes it, in the words of metrics.
    pub fn built_by(&self, builder: &'static str) {
        let _ = self.builder.set(builder);
    }

    /// What it cost, once it is whole.
    pub(super) fn cost(&self) -> Option<Cost> {
        self.cost.get().copied()
    }

    pub(super) fn finished(&self, cost: Cost) {
        let _ = self.cost.set(cost);
    }

    pub(super) fn failed(&self, error: Arc<BuildError>) {
        let _ = self.error.set(error);
    }

    pub(super) fn wrote(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn joined(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left(&self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }

    fn making(&self, key: Key) -> Option<Making> {
        let begun = self.begun.get()?;
        Some(Making {
            key,
            repository: begun.repository.clone(),
            builder: self.builder.get().copied(),
            readers: self.readers.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            age: begun.at.elapsed(),
        })
    }
}

/// Where the first whole line behind `surplus` begins; `surplus` where there is none.
fn line_behind(text: &[u8], surplus: usize) -> usize {
    let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let line = text[surplus - 1..].iter().position(ends).map(|at| surplus + at);
    line.filter(|line| *line < text.len()).unwrap_or(surplus)
}

// === impl Listener ===

impl Listener {
    /// What was said since the last time; waits until there is something for this listener. May be
    /// dropped and asked again.
    pub async fn next(&mut self) -> Vec<u8> {
        loop {
            if self.said.changed().await.is_err() {
                // Nobody will ever say anything.
                std::future::pending::<()>().await;
            }
            let text = self.take(|said| !said.is_progress);
            if !text.is_empty() {
                return text;
            }
        }
    }

    /// After a failure: what was said and not heard, also by those who see no progress.
    pub fn rest(&mut self) -> Vec<u8> {
        self.take(|_| true)
    }

    fn take(&mut self, is_for_all: impl FnOnce(&Said) -> bool) -> Vec<u8> {
        let said = self.said.borrow_and_update();
        if !self.wants_progress && !is_for_all(&said) {
            return Vec::new();
        }
        let new_bytes = usize::try_from(said.bytes - self.heard_bytes).unwrap_or(usize::MAX);
        self.heard_bytes = said.bytes;
        said.tail[said.tail.len() - new_bytes.min(said.tail.len())..].to_vec()
    }
}

// === impl Buildings ===

impl Buildings {
    /// A new one under `key`, for as long as the site is held; that of those who joined before it
    /// had begun, where there are some.
    pub(super) fn begin(&self, key: Key, repository: &Path) -> (Arc<Building>, Site) {
        let mut sites = self.lock();
        let early = sites.get(&key).and_then(Weak::upgrade).filter(|site| !site.has_begun());
        let building = early.unwrap_or_default();
        let begun = Begun { at: Instant::now(), repository: repository.to_owned() };
        let _ = building.begun.set(begun);
        sites.insert(key, Arc::downgrade(&building));
        drop(sites);
        let site = Site { buildings: self.clone(), key, building: Arc::clone(&building) };
        (building, site)
    }

    /// The one under `key`. Whoever joins between a lookup and the beginning that follows it waits
    /// for that; one that has ended meanwhile never says anything.
    pub(super) fn find(&self, key: &Key) -> Arc<Building> {
        let mut sites = self.lock();
        if let Some(building) = sites.get(key).and_then(Weak::upgrade) {
            return building;
        }
        // Forgotten with the next beginning, or with whoever else finds it gone.
        sites.retain(|_, site| site.strong_count() > 0);
        let building = Arc::<Building>::default();
        sites.insert(*key, Arc::downgrade(&building));
        building
    }

    /// Those that have begun, in no order.
    pub(super) fn list(&self) -> Vec<Making> {
        let making = |(key, site): (&Key, &Weak<Building>)| site.upgrade()?.making(*key);
        self.lock().iter().filter_map(making).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Building>>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let mut sites = self.buildings.lock();
        // Another production of the same key may have begun already.
        let ours = sites
            .get(&self.key)
            .is_some_and(|site| std::ptr::eq(site.as_ptr(), Arc::as_ptr(&self.building)));
        if ours {
            sites.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Duration, timeout};

    async fn heard(listener: &mut Listener) -> Option<String> {
        let text = timeout(Duration::from_millis(1), listener.next()).await.ok()?;
        Some(String::from_utf8(text).unwrap())
    }

    #[tokio::test]
    async fn progress_is_for_those_who_want_it_and_complaints_for_all() {
        let building = Building::default();
        building.say(b"warning: early\n");
        let (mut eager, mut quiet) = (building.listen(true), building.listen(false));
        for listener in [&mut eager, &mut quiet] {
            assert_eq!(heard(listener).await.as_deref(), Some("warning: early\n"));
        }
        building.shows_progress();
        building.say(b"Counting\r");
        assert_eq!(heard(&mut eager).await.as_deref(), Some("Counting\r"));
        assert_eq!(heard(&mut quiet).await, None);
        assert_eq!(quiet.rest(), b"Counting\r", "a failure is explained to all");
        building.say(&[b'x'; 10_000]);
        assert_eq!(heard(&mut eager).await.unwrap().len(), TEXT_BYTES_MAX);
        building.say(b"half a line\r");
        building.say(&b"a line of progress\r".repeat(300));
        let late = heard(&mut building.listen(true)).await.unwrap();
        assert!(late.starts_with("a line") && late.len() > TEXT_BYTES_MAX - 20, "{late}");
    }

    #[test]
    fn a_site_gives_up_its_own_place_only() {
        let (buildings, key) = (Buildings::default(), Key::new([7; 32]));
        let (_, first) = buildings.begin(key, Path::new("a.git"));
        let (second, site) = buildings.begin(key, Path::new("a.git"));
        drop(first);
        assert!(Arc::ptr_eq(&buildings.find(&key), &second));
        drop(site);
        assert!(buildings.lock().is_empty());
        let early = buildings.find(&key);
        let (late, _site) = buildings.begin(key, Path::new("a.git"));
        assert!(Arc::ptr_eq(&early, &late), "who joined too early hears it, too");
    }
}
