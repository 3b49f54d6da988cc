//! Instance directories: `dir/<16 hex>/`, with a file `lock` that its process holds.
//!
//! Always true:
//! - nothing but its lock is read from or written to an instance directory whose lock we do not
//!   hold;
//! - a directory that we begin is empty, whoever had its name before;
//! - a directory of such a name is ours only if its lock says so, and in ours only files with names
//!   of ours are removed: other things may lie in `dir`.
//!
//! Never here: what the files in them mean.

use crate::locked::Locked;
use crate::{Disk, Key, Listed};
use bytes::Bytes;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Name of the file in an instance directory that its process holds locked.
pub(crate) const LOCK: &str = "lock";

/// What the lock of every instance directory says.
const LOCK_TEXT: &[u8] = b"gitring streamcache 1\n";

/// Ending of the name of a stream that is being written.
const PART_SUFFIX: &str = ".part";

/// Ending of a stored stream's name.
pub(crate) const STREAM_SUFFIX: &str = ".stream";

/// How long a disk that gave us no directory is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Names tried for one directory. Two processes that begin in the same nanosecond need two.
const NAMES_MAX: u64 = 16;

/// A directory that is ours.
pub(crate) struct Instance<D: Disk> {
    pub(crate) path: PathBuf,
    /// Whether the directory of the keys that begin with this byte was made.
    folders: Locked<[bool; 256]>,
    /// Directories of a claimed one that the disk has not listed yet.
    pub(crate) unlisted: Locked<Vec<PathBuf>>,
    _lock: Locked<D::Lock>,
}

/// The directories of this process.
pub(crate) struct Instances<D: Disk> {
    pub(crate) directory: PathBuf,
    /// Held while one is made: others need it as well, and wait.
    own: Mutex<Own<D>>,
    /// Directories of earlier processes, and those of ours that failed us.
    pub(crate) adopted: Locked<Vec<Arc<Instance<D>>>>,
}

struct Own<D: Disk> {
    instance: Option<Arc<Instance<D>>>,
    failed: Option<(Duration, io::ErrorKind)>,
    tries: u64,
}

/// Whether `name` is an instance directory's.
pub(crate) fn is_instance_name(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        name.len() == 16 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The key that a stored stream's file name stands for.
pub(crate) fn key_of(name: &OsStr) -> Option<Key> {
    Key::from_hex(name.to_str()?.strip_suffix(STREAM_SUFFIX)?)
}

/// Whether `name` is that of a directory of keys.
pub(crate) fn is_folder_name(name: &OsStr) -> bool {
    let is_hex = |name: &str| name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.to_str().is_some_and(|name| name.len() == 2 && is_hex(name))
}

/// Whether `name` is one that streams are written or stored under in the directory `folder`.
pub(crate) fn is_ours(folder: &OsStr, name: &OsStr) -> bool {
    let part = |name: &str| {
        let (key, number) = name.strip_suffix(PART_SUFFIX)?.split_once('.')?;
        number.parse::<u64>().ok().and(Key::from_hex(key))
    };
    let key = key_of(name).or_else(|| part(name.to_str()?));
    key.is_some_and(|key| folder.to_str() == Some(&folder_name(&key)))
}

fn folder_name(key: &Key) -> String {
    format!("{:02x}", key.as_bytes()[0])
}

// === impl Instance ===

impl<D: Disk> Instance<D> {
    /// The directory at `path`, if it is a cache's and nobody else holds it. In any other nothing is
    /// touched.
    pub(crate) async fn claim(disk: &D, path: PathBuf) -> io::Result<Option<Self>> {
        match is_cache(disk, &path).await {
            Ok(true) => Self::lock(disk, path).await,
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A new directory at `path`, unless something is there.
    async fn begin(disk: &D, path: &Path) -> io::Result<Option<Self>> {
        disk.create_directory(path).await?;
        if !disk.list(path).await?.is_empty() {
            return Ok(None);
        }
        let lock = path.join(LOCK);
        let written = match disk.create(&lock).await {
            Ok(file) => disk.write(&file, 0, Bytes::from_static(LOCK_TEXT)).await,
            // Somebody began it in the same moment.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            let _ = disk.remove(&lock).await;
            let _ = disk.remove_directory(path).await;
            return Err(error);
        }
        // Somebody may have found it empty and removed it: what we lock has to be what we wrote.
        let Some(instance) = Self::lock(disk, path.to_owned()).await? else { return Ok(None) };
        let ours = read_lock(disk, path).await? == LOCK_TEXT;
        let alone = disk.list(path).await?.iter().all(|listed| listed.name == LOCK);
        Ok((ours && alone).then_some(instance))
    }

    /// The directory at `path`, if nobody else holds it.
    async fn lock(disk: &D, path: PathBuf) -> io::Result<Option<Self>> {
        let Some(lock) = disk.lock(&path.join(LOCK)).await? else { return Ok(None) };
        let (folders, unlisted) = (Locked::new([false; 256]), Locked::new(Vec::new()));
        Ok(Some(Self { path, folders, unlisted, _lock: Locked::new(lock) }))
    }

    /// The directory of a key.
    pub(crate) fn folder(&self, key: &Key) -> PathBuf {
        self.path.join(folder_name(key))
    }

    /// Where the stream of a key is stored.
    pub(crate) fn stream_path(&self, key: &Key) -> PathBuf {
        self.folder(key).join(format!("{key}{STREAM_SUFFIX}"))
    }

    /// Where it is written; `number` tells it from other attempts at the same key.
    pub(crate) fn part_path(&self, key: &Key, number: u64) -> PathBuf {
        self.folder(key).join(format!("{key}.{number}{PART_SUFFIX}"))
    }

    /// Makes the directory of a key.
    pub(crate) async fn make_folder(&self, disk: &D, key: &Key) -> io::Result<()> {
        let at = usize::from(key.as_bytes()[0]);
        if self.folders.lock()[at] {
            return Ok(());
        }
        let folder = self.folder(key);
        disk.create_directory(&folder).await?;
        // Where somebody has removed the instance, that made it anew, but without the lock that we
        // hold: anybody could claim it.
        if let Err(error) = disk.open(&self.path.join(LOCK)).await {
            if error.kind() == io::ErrorKind::NotFound {
                let _ = disk.remove_directory(&folder).await;
                let _ = disk.remove_directory(&self.path).await;
            }
            return Err(error);
        }
        self.folders.lock()[at] = true;
        Ok(())
    }
}

// === impl Instances ===

impl<D: Disk> Instances<D> {
    pub(crate) fn new(directory: PathBuf) -> Self {
        let own = Mutex::new(Own { instance: None, failed: None, tries: 0 });
        Self { directory, own, adopted: Locked::new(Vec::new()) }
    }

    /// The directory that this process writes to.
    pub(crate) async fn own(&self, disk: &D) -> io::Result<Arc<Instance<D>>> {
        let mut own = self.own.lock().await;
        if let Some(instance) = &own.instance {
            return Ok(instance.clone());
        }
        let now = disk.now();
        if let Some((at, error)) = own.failed
            && at <= now
            && now - at < RETRY_AFTER
        {
            return Err(error.into());
        }
        let made = self.begin(disk, &mut own.tries, now).await;
        own.failed = made.as_ref().err().map(|error| (now, error.kind()));
        own.instance = made.as_ref().ok().cloned();
        made
    }

    /// `instance` has lost its place: the next stream begins another one.
    pub(crate) async fn retire(&self, instance: &Arc<Instance<D>>) {
        let mut own = self.own.lock().await;
        if own.instance.as_ref().is_some_and(|own| Arc::ptr_eq(own, instance)) {
            own.instance = None;
            self.adopted.lock().push(instance.clone());
        }
    }

    /// Whether a directory is ours already.
    pub(crate) async fn has(&self, path: &Path) -> bool {
        let own = self.own.lock().await.instance.as_ref().is_some_and(|own| own.path == path);
        own || self.adopted.lock().iter().any(|instance| instance.path == path)
    }

    async fn begin(
        &self,
        disk: &D,
        tries: &mut u64,
        now: Duration,
    ) -> io::Result<Arc<Instance<D>>> {
        let mut refused = io::ErrorKind::AlreadyExists;
        for _ in 0..NAMES_MAX {
            *tries += 1;
            let path = self.directory.join(name(now, *tries));
            match Instance::begin(disk, &path).await {
                Ok(Some(instance)) => return Ok(Arc::new(instance)),
                // Somebody's, or left by somebody: the house will see to it.
                Ok(None) => {}
                // Somebody found it empty and removed it between our two steps.
                Err(error) if error.kind() == io::ErrorKind::NotFound => refused = error.kind(),
                Err(error) => return Err(error),
            }
        }
        Err(refused.into())
    }
}

/// A name for a directory. It need not be unique, the lock decides; so the same clock gives the same
/// names, which keeps simulations repeatable.
fn name(now: Duration, tries: u64) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(&now.as_nanos().to_le_bytes()).update(&tries.to_le_bytes());
    hash.finalize().to_hex()[..16].to_owned()
}

/// Whether a cache made the directory at `path`. A machine that stopped may have lost what the lock
/// said: then the directories of keys beside it, and nothing else, say it.
async fn is_cache<D: Disk>(disk: &D, path: &Path) -> io::Result<bool> {
    let text = match read_lock(disk, path).await {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if text == LOCK_TEXT {
        return Ok(true);
    }
    let torn = text.iter().zip(LOCK_TEXT).all(|(found, written)| found == written || *found == 0);
    if text.len() > LOCK_TEXT.len() || !torn {
        return Ok(false);
    }
    let listed = disk.list(path).await?;
    let is_folder = |listed: &Listed| listed.is_directory && is_folder_name(&listed.name);
    let mut others = listed.iter().filter(|listed| listed.name != LOCK);
    Ok(listed.len() > 1 && others.all(is_folder))
}

/// What the lock says, at most one byte more than ours says.
async fn read_lock<D: Disk>(disk: &D, path: &Path) -> io::Result<Bytes> {
    let (file, length_bytes) = disk.open(&path.join(LOCK)).await?;
    let length = length_bytes.min(LOCK_TEXT.len() as u64 + 1);
    disk.read(&file, 0, length as usize).await
}
