//! Reading a repository, and knowing whether a reading still holds.
//!
//! Always true: a stamp is taken before what it stands for is read, and compared afterwards;
//! loose refs come before `packed-refs`, in readings and in checks, since git deletes a loose ref
//! only after it is packed.
//! Never here: sharing between callers.

mod objects;

use std::cell::RefCell;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bstr::{BStr, ByteSlice};
use rustix::fs::CWD;

use super::locate::Places;
use super::memo::Memo;
use super::{Environment, RepositoryError, Snapshot, Unsupported, format};
use crate::ObjectId;
use crate::config::load::{self, Loaded, Sources};
use crate::config::{Config, ConfigError};
use crate::refs::loose::{self, Directory, Value, Walk};
use crate::refs::packed::PackedRefs;
use crate::refs::resolve::{Listing, Stored};
use crate::refs::{Head, RefsError};
use crate::stamp::{self, Reach, Stamp};
use objects::Objects;

/// Readings in a row that a writer may spoil. The last is used once, as git uses its only one.
const ATTEMPTS_MAX: usize = 5;
/// Files and directories whose stamps are compared where nothing may wait, 1 µs each. With more, a
/// worker does it for all who ask.
pub(super) const STAMPS_AT_ONCE_MAX: usize = 40;
/// Refs that each worktree has for itself (git-worktree(1), REFS).
const WORKTREE_REFS: [&str; 3] = ["refs/bisect/", "refs/rewritten/", "refs/worktree/"];

/// A snapshot and all that it was made of.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) snapshot: Arc<Snapshot>,
    /// Whether [`Self::is_current`] can tell.
    is_trusted: bool,
    /// The same of settings and objects alone.
    are_settings_trusted: bool,
    is_small_and_local: bool,
    has_broken: bool,
    /// Single files: configuration, HEAD, `shallow`, grafts, alternates.
    files: Vec<(PathBuf, Stamp)>,
    loose: Vec<Arc<Directory>>,
    packed: Packed,
    objects: Objects,
}

#[derive(Debug, Clone)]
struct Packed {
    path: PathBuf,
    stamp: Stamp,
    is_settled: bool,
    refs: Arc<PackedRefs>,
}

/// Files read so far, each stamped before it was read.
struct Files {
    read_at: SystemTime,
    stamps: Vec<(PathBuf, Stamp)>,
    /// Something was met whose changes stamps do not show.
    is_elusive: bool,
}

// === impl Reading ===

impl Reading {
    /// Reads what has changed since `previous`, again if a writer came between.
    pub(super) fn take(
        places: &Places,
        environment: &Environment,
        previous: Option<&Self>,
    ) -> Result<Self, RepositoryError> {
        let mut reading = Self::once(places, environment, previous)?;
        for _ in 1..ATTEMPTS_MAX {
            if reading.is_unchanged(Reach::Disk) {
                return Ok(reading);
            }
            reading = Self::once(places, environment, Some(&reading))?;
        }
        reading.is_trusted &= reading.is_unchanged(Reach::Disk);
        Ok(reading)
    }

    /// Whether the snapshot is certainly what a new reading would find.
    pub(super) fn is_current(&self) -> bool {
        self.is_trusted && self.is_unchanged(Reach::Disk)
    }

    /// The same, from the kernel's memory alone: never waits. False says nothing.
    pub(super) fn is_current_at_once(&self) -> bool {
        self.is_trusted && self.is_small_and_local && self.is_unchanged(Reach::Memory)
    }

    /// Whether settings and objects are certainly what a new reading would find; refs may differ.
    pub(super) fn has_current_settings(&self) -> bool {
        let home = &self.snapshot.places.common_dir;
        let Ok(here) = Reach::Disk.directory(CWD, home) else { return false };
        self.are_settings_trusted && self.have_files_stayed(&here, Reach::Disk)
    }

    fn have_files_stayed(&self, here: impl AsFd, reach: Reach) -> bool {
        let home = &self.snapshot.places.common_dir;
        self.files.iter().all(|(path, stamp)| {
            reach.stamp(&here, stamp::below(home, path)).is_ok_and(|now| now == *stamp)
        })
    }

    fn is_unchanged(&self, reach: Reach) -> bool {
        // Relative to the directory that holds nearly all of them, a stat costs half as much.
        let home = &self.snapshot.places.common_dir;
        let Ok(here) = reach.directory(CWD, home) else { return false };
        let is_same = |path: &Path, stamp| {
            reach.stamp(&here, stamp::below(home, path)).is_ok_and(|now| now == stamp)
        };
        self.have_files_stayed(&here, reach)
            && self
                .loose
                .iter()
                .all(|tree| tree.is_unchanged(&here, stamp::below(home, tree.path()), reach))
            && is_same(&self.packed.path, self.packed.stamp)
    }

    fn once(
        places: &Places,
        environment: &Environment,
        previous: Option<&Self>,
    ) -> Result<Self, RepositoryError> {
        places.check()?;
        let mut files = Files { read_at: SystemTime::now(), stamps: Vec::new(), is_elusive: false };
        let (config, unsupported) = files.settings(places, environment)?;
        let head = files.value(&places.git_dir.join("HEAD"))?;
        let is_readable = !unsupported.is_some_and(Unsupported::is_unreadable);
        let (loose, packed) = if is_readable {
            let loose = read_loose(places, previous)?;
            (loose, Packed::read(places, previous.map(|previous| &previous.packed))?)
        } else {
            (Vec::new(), Packed::none(places))
        };
        let mut loose_refs = Vec::new();
        loose.iter().for_each(|directory| directory.collect(&mut loose_refs));
        let files = RefCell::new(files);
        let outside = |name: &BStr| outside_value(places, name, &files);
        let stored = Stored::new(loose_refs, &packed.refs, &outside);
        let has_replace_refs =
            stored.has_prefix("refs/replace/") && setting(&config, "core.usereplacerefs")?;
        let has_commit_graph =
            !has_replace_refs && unsupported.is_none() && setting(&config, "core.commitgraph")?;
        let old = previous.map(|previous| &previous.objects);
        let objects = Objects::open(places, environment, has_commit_graph, old)?;
        let is_same_store = old.is_some_and(|old| Arc::ptr_eq(&old.store, &objects.store));
        // A ref that had no peeled value because its object was missing is asked for again.
        let may_know = |old: &&Self| is_same_store && !old.has_broken;
        let known = previous.filter(may_know).map(|old| old.snapshot.refs.as_slice());
        let (head, listing) = if is_readable {
            let object = |id: &ObjectId| objects.look(id);
            (stored.head(head.as_ref()), stored.list(known.unwrap_or_default(), &object)?)
        } else {
            (Head::Missing, Listing::default())
        };
        drop(stored);
        let mut files = files.into_inner();
        files.add(objects.store.depends_on());
        let are_settings_trusted = files.is_settled() && objects.is_settled;
        let is_trusted = are_settings_trusted
            && packed.is_settled
            && loose.iter().all(|directory| directory.is_settled())
            && !listing.has_broken;
        let snapshot = Arc::new(Snapshot {
            config,
            store: Arc::clone(&objects.store),
            head,
            refs: Arc::new(listing.refs),
            unsupported,
            has_replace_refs,
            memo: Memo::default(),
            mailmap: OnceLock::new(),
            namespace_heads: listing.heads,
            places: places.clone(),
            pool: environment.pool(&objects.store),
        });
        let files = files.stamps;
        Ok(Self {
            snapshot,
            is_trusted,
            are_settings_trusted,
            is_small_and_local: is_small_and_local(&files, &packed, &loose),
            has_broken: listing.has_broken,
            files,
            loose,
            packed,
            objects,
        })
    }
}

/// Whether [`Reach::Memory`] is good for all that a reading depends on, and they are so few that a
/// reactor may be held up by them.
fn is_small_and_local(
    files: &[(PathBuf, Stamp)],
    packed: &Packed,
    loose: &[Arc<Directory>],
) -> bool {
    let mut devices: Vec<u64> = Vec::new();
    let packed = std::iter::once((packed.path.as_path(), packed.stamp));
    for (path, stamp) in files.iter().map(|(path, stamp)| (path.as_path(), *stamp)).chain(packed) {
        let Some(device) = stamp.device().filter(|device| !devices.contains(device)) else {
            continue;
        };
        if !stamp::is_local(path) {
            return false;
        }
        devices.push(device);
    }
    let Some(mut left) = STAMPS_AT_ONCE_MAX.checked_sub(files.len() + 1) else { return false };
    loose.iter().all(|directory| directory.fits(&mut left, &devices))
}

/// A boolean that is true unless it is set.
fn setting(config: &Config, key: &str) -> Result<bool, ConfigError> {
    Ok(config.boolean(key)?.unwrap_or(true))
}

/// The trees of loose refs: one, or with those of the worktree four.
fn read_loose(
    places: &Places,
    previous: Option<&Reading>,
) -> Result<Vec<Arc<Directory>>, RefsError> {
    let old = |at: usize| previous.and_then(|previous| previous.loose.get(at));
    let is_linked = places.git_dir != places.common_dir;
    let skipped: &[&str] = if is_linked { &WORKTREE_REFS } else { &[] };
    let mut walk = Walk::default();
    walk.skipped = skipped;
    let mut trees = vec![walk.read(&places.common_dir.join("refs"), "refs/", old(0))?];
    if is_linked {
        walk.skipped = &[];
        for prefix in WORKTREE_REFS {
            let path = places.git_dir.join(prefix.trim_end_matches('/'));
            trees.push(walk.read(&path, prefix, old(trees.len()))?);
        }
    }
    Ok(trees)
}

/// What a ref outside `refs/` holds; of those only HEAD and its like are ever symbolic targets.
fn outside_value(places: &Places, name: &BStr, files: &RefCell<Files>) -> Option<Value> {
    let path = places.git_dir.join(name.to_os_str().ok()?);
    files.borrow_mut().value(&path).unwrap_or(Some(Value::Broken))
}

// === impl Files ===

impl Files {
    /// Each path once, in order.
    fn add(&mut self, stamps: &[(PathBuf, Stamp)]) {
        self.stamps.extend_from_slice(stamps);
        // The configuration is read twice.
        self.stamps.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.stamps.dedup();
    }

    fn is_settled(&self) -> bool {
        !self.is_elusive && self.stamps.iter().all(|(_, stamp)| stamp.is_settled(self.read_at))
    }

    /// Stamps a file.
    fn stamp(&mut self, path: PathBuf) -> Result<&Path, RepositoryError> {
        match Stamp::of(&path) {
            Ok(stamp) => self.stamps.push((path, stamp)),
            Err(source) => return Err(RepositoryError::Io { path, source }),
        }
        Ok(self.stamps.last().map(|(path, _)| path.as_path()).unwrap_or(Path::new("")))
    }

    /// Reads a ref that is a single file.
    fn value(&mut self, path: &Path) -> Result<Option<Value>, RepositoryError> {
        // A link that git reads as a symbolic ref may lead nowhere; its stamp says nothing.
        self.is_elusive |= path.is_symlink();
        let path = self.stamp(path.to_path_buf())?;
        loose::read_value(path)
            .map_err(|source| RepositoryError::Io { path: path.to_path_buf(), source })
    }

    fn has_content(&mut self, path: PathBuf) -> Result<bool, RepositoryError> {
        let path = self.stamp(path)?;
        Ok(fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0))
    }

    /// Configuration, and what it and other files say against the native path.
    fn settings(
        &mut self,
        places: &Places,
        environment: &Environment,
    ) -> Result<(Config, Option<Unsupported>), RepositoryError> {
        let common_config = places.common_dir.join("config");
        let format = format::read(self.stamp(common_config.clone())?)?;
        let mut repository = vec![common_config];
        if format.has_worktree_config {
            repository.push(places.git_dir.join("config.worktree"));
        }
        let Loaded { config, depends_on, unevaluated_include } = load::load(&Sources {
            defaults: &environment.defaults,
            files: &environment.config_files,
            repository: &repository,
            overrides: &environment.overrides,
            git_dir: Some(&places.git_dir),
            home: environment.home.as_deref(),
        })?;
        self.stamps.extend(depends_on);
        let mut reasons: Vec<Unsupported> = format.unsupported.into_iter().collect();
        let mut add = |holds: bool, reason| reasons.extend(holds.then_some(reason));
        add(self.has_content(places.common_dir.join("shallow"))?, Unsupported::Shallow);
        add(self.has_content(places.common_dir.join("info/grafts"))?, Unsupported::Grafts);
        add(has_promisor(&config), Unsupported::Promisor);
        add(unevaluated_include, Unsupported::UnevaluatedInclude);
        Ok((config, reasons.into_iter().min()))
    }
}

/// Whether any remote is a promisor; a value that is no boolean counts, and git will tell.
fn has_promisor(config: &Config) -> bool {
    config.entries().any(|(key, _)| {
        let is_promisor = key.starts_with(b"remote.") && key.ends_with(b".promisor");
        is_promisor && key.to_str().map_or(true, |key| config.boolean(key) != Ok(Some(false)))
    })
}

// === impl Packed ===

impl Packed {
    fn none(places: &Places) -> Self {
        let path = places.common_dir.join("packed-refs");
        // The stamp is that of nothing read: any change makes it differ, none is missed.
        let stamp = Stamp::of(&path).unwrap_or(Stamp::absent());
        Self { path, stamp, is_settled: true, refs: Arc::default() }
    }

    fn read(places: &Places, previous: Option<&Self>) -> Result<Self, RefsError> {
        let path = places.common_dir.join("packed-refs");
        let read_at = SystemTime::now();
        let stamp =
            Stamp::of(&path).map_err(|source| RefsError::Io { path: path.clone(), source })?;
        let same = previous.filter(|previous| previous.stamp == stamp && previous.is_settled);
        if let Some(previous) = same {
            return Ok(previous.clone());
        }
        let refs = Arc::new(PackedRefs::read(&path)?);
        Ok(Self { path, stamp, is_settled: stamp.is_settled(read_at), refs })
    }
}
