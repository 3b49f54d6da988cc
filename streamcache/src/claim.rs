//! Taking over what earlier processes left.
//!
//! ```text
//!   dir/<instance>/lock      held by whoever uses the directory
//!                 /ab/<key>.stream       indexed: found, hashed later, then served
//!                 /ab/<key>.<n>.part     removed
//!                 anything else          left alone
//! ```
//!
//! Always true:
//! - a directory is looked at only with its lock held, and locked only if a cache made it;
//! - a file with a name of ours that is not what its name says is removed; no other file is;
//! - of two files of one key the newer stays.
//!
//! Never here: hashing payloads.

use crate::budget::Class;
use crate::header::{HEADER_BYTES, Header, PAYLOAD_OFFSET};
use crate::instances::{self, Instance, LOCK};
use crate::removals::Removal;
use crate::table::Found;
use crate::{Cache, Disk, Event, EvictionCause, Key, Listed};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Instance directories that are held at once.
const ADOPTED_MAX: usize = 4_096;

// === impl Cache ===

impl<D: Disk> Cache<D> {
    /// Adopts the directories that nobody holds, and removes those that are empty.
    pub(crate) async fn claim_directories(&self) {
        self.remove_empty().await;
        self.adopt_unlisted().await;
        let Ok(listed) = self.disk.list(&self.index.instances.directory).await else { return };
        for name in listed.into_iter().filter(|listed| listed.is_directory) {
            if !instances::is_instance_name(&name.name) {
                continue;
            }
            let path = self.index.instances.directory.join(&name.name);
            let adopted = self.index.instances.adopted.lock().len();
            if adopted >= ADOPTED_MAX || self.index.instances.has(&path).await {
                continue;
            }
            // One that cannot be locked now may be in a minute.
            if let Ok(Some(instance)) = Instance::claim(&self.disk, path).await {
                let instance = Arc::new(instance);
                self.index.instances.adopted.lock().push(instance.clone());
                self.adopt(&instance).await;
            }
        }
        self.index.remove_queued(&self.disk).await;
        self.remove_empty().await;
        self.index.unverified.notify_one();
    }

    /// Looks into the directories whose listing failed before.
    async fn adopt_unlisted(&self) {
        let adopted = self.index.instances.adopted.lock().clone();
        for instance in adopted {
            let unlisted = std::mem::take(&mut *instance.unlisted.lock());
            for path in unlisted {
                if path == instance.path {
                    self.adopt(&instance).await;
                } else {
                    self.adopt_folder(&instance, &path).await;
                }
            }
        }
    }

    async fn adopt(&self, instance: &Arc<Instance<D>>) {
        for folder in self.list(instance, &instance.path).await {
            if folder.is_directory {
                self.adopt_folder(instance, &instance.path.join(&folder.name)).await;
            }
        }
    }

    async fn adopt_folder(&self, instance: &Arc<Instance<D>>, folder: &Path) {
        let files = self.list(instance, folder).await;
        let name = folder.file_name().unwrap_or_default();
        let ours = |file: &Listed| !file.is_directory && instances::is_ours(name, &file.name);
        for file in files.into_iter().filter(ours) {
            let path = folder.join(&file.name);
            let key = instances::key_of(&file.name);
            let adopted = match key {
                Some(key) => self.adopt_file(instance, key, &path).await,
                None => false,
            };
            if !adopted {
                self.discard(instance, path);
            }
        }
    }

    /// What a directory holds; one that cannot be listed now is in the next round.
    async fn list(&self, instance: &Instance<D>, directory: &Path) -> Vec<Listed> {
        match self.disk.list(directory).await {
            Ok(listed) => listed,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    instance.unlisted.lock().push(directory.to_owned());
                }
                Vec::new()
            }
        }
    }

    /// Has a file removed, as often as it takes.
    fn discard(&self, instance: &Arc<Instance<D>>, path: PathBuf) {
        self.index.queue_removal(path, Removal { instance: instance.clone(), charges: Vec::new() });
    }

    /// Whether the file stays.
    async fn adopt_file(&self, instance: &Arc<Instance<D>>, key: Key, path: &Path) -> bool {
        if !self.index.limits.store {
            return false;
        }
        let now = self.disk.now();
        let Some(header) = self.read_header(key, path).await else {
            let (cause, age) = (EvictionCause::Corrupt, Duration::ZERO);
            self.index.tell(&Event::Evicted { key, bytes: 0, cause, age });
            return false;
        };
        let (bytes, age) = (header.length_bytes, now.saturating_sub(header.created));
        let refused = match self.index.is_too_old(header.created, now) {
            true => Err(EvictionCause::Age),
            false => self.index_found(instance, header),
        };
        if let Err(cause) = refused {
            self.index.tell(&Event::Evicted { key, bytes, cause, age });
        }
        refused.is_ok()
    }

    async fn read_header(&self, key: Key, path: &Path) -> Option<Header> {
        let (file, file_bytes) = self.disk.open(path).await.ok()?;
        let bytes = self.disk.read(&file, 0, HEADER_BYTES).await.ok()?;
        let header = Header::decode(&bytes).ok()?;
        let whole = header.length_bytes.checked_add(PAYLOAD_OFFSET) == Some(file_bytes);
        (header.key == key && whole).then_some(header)
    }

    /// Puts the file into the index, or says why there is no place for it.
    fn index_found(
        &self,
        instance: &Arc<Instance<D>>,
        header: Header,
    ) -> Result<(), EvictionCause> {
        let charge = self.index.charge(Class::Kept);
        if !charge.try_grow(PAYLOAD_OFFSET + header.length_bytes) {
            return Err(EvictionCause::Bytes);
        }
        let mut gone = None;
        let mut table = self.index.table();
        let full = table.kept() >= self.index.limits.entries_max;
        let served = table.kept_stream(&header.key).is_some();
        let place = match table.get_found(&header.key) {
            Some(found) if found.header.created < header.created => {
                gone = table.evict_found(&header.key, EvictionCause::Replaced);
                Ok(())
            }
            Some(_) => Err(EvictionCause::Replaced),
            None if served => Err(EvictionCause::Replaced),
            None if full => Err(EvictionCause::Entries),
            None => Ok(()),
        };
        if place.is_ok() {
            table.find(Found { instance: instance.clone(), header, charge });
        }
        drop(table);
        self.index.tell_gone(gone, self.disk.now());
        place
    }

    /// Removes the adopted directories that nothing is left in.
    async fn remove_empty(&self) {
        let unused: Vec<PathBuf> = {
            let adopted = self.index.instances.adopted.lock();
            let unused = adopted.iter().filter(|instance| Arc::strong_count(instance) == 1);
            unused.map(|instance| instance.path.clone()).collect()
        };
        for path in unused {
            // The lock is held meanwhile, so nobody fills what we empty.
            let gone = self.remove_directory(&path).await;
            let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
            if gone.is_ok() || gone.as_ref().is_err_and(missing) {
                self.index.instances.adopted.lock().retain(|instance| instance.path != path);
            }
        }
    }

    async fn remove_directory(&self, path: &Path) -> io::Result<()> {
        for listed in self.disk.list(path).await? {
            if listed.is_directory && instances::is_folder_name(&listed.name) {
                self.disk.remove_directory(&path.join(listed.name)).await?;
            } else if listed.name != LOCK {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
        }
        self.disk.remove(&path.join(LOCK)).await?;
        self.disk.remove_directory(path).await
    }
}
