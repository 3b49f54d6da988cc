//! The sessions of this process, one for each repository.
//!
//! Always true: transactions of one repository through the same file calls share a session.
//! Never here: what a session is.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::session::Session;
use super::{RecoverError, RefFiles, recover};

/// Sessions that are kept though nobody uses them: each holds a file open.
const IDLE_MAX: usize = 128;

static SESSIONS: Mutex<Option<Sessions>> = Mutex::new(None);

#[derive(Default)]
struct Sessions {
    of: HashMap<Key, Entry>,
    uses: u64,
}

struct Entry {
    session: Arc<Session>,
    used: u64,
}

/// A repository's common directory, and by which calls it is written.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Key {
    device: u64,
    inode: u64,
    calls: usize,
}

/// The session of a repository; a new one if need be, after what dead ones left is dealt with.
pub(super) fn session(files: &RefFiles) -> Result<Arc<Session>, RecoverError> {
    let failed = |source: io::Error| RecoverError::Io { path: files.room(), source };
    let directory = files.common_dir.metadata().map_err(failed)?;
    let key = Key {
        device: directory.dev(),
        inode: directory.ino(),
        calls: Arc::as_ptr(&files.calls).cast::<()>().addr(),
    };
    if let Some(session) = lock().get_or_insert_default().find(key) {
        return Ok(session);
    }
    recover(files)?;
    let session = Arc::new(Session::begin(files).map_err(failed)?);
    let mut sessions = lock();
    let sessions = sessions.get_or_insert_default();
    // Somebody else may have been faster.
    Ok(sessions.find(key).unwrap_or_else(|| sessions.add(key, session)))
}

/// Ends the sessions that no transaction uses: for the end of a process, which otherwise leaves a
/// small file in each repository until the next one comes.
pub fn end_sessions() {
    if let Some(sessions) = lock().as_mut() {
        sessions.of.retain(|_, entry| Arc::strong_count(&entry.session) > 1);
    }
}

/// Forgets the sessions that were given up: each ends with its last transaction.
pub(super) fn forget_given_up() {
    if let Some(sessions) = lock().as_mut() {
        sessions.of.retain(|_, entry| !entry.session.is_given_up());
    }
}

fn lock() -> MutexGuard<'static, Option<Sessions>> {
    SESSIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Sessions ===

impl Sessions {
    fn find(&mut self, key: Key) -> Option<Arc<Session>> {
        self.uses += 1;
        let entry = self.of.get_mut(&key)?;
        if entry.session.is_whole() {
            entry.used = self.uses;
            return Some(Arc::clone(&entry.session));
        }
        self.of.remove(&key);
        None
    }

    fn add(&mut self, key: Key, session: Arc<Session>) -> Arc<Session> {
        if self.of.len() >= IDLE_MAX {
            let is_idle = |entry: &Entry| Arc::strong_count(&entry.session) == 1;
            let idle = self.of.iter().filter(|(_, entry)| is_idle(entry));
            let oldest = idle.min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            oldest.map(|key| self.of.remove(&key));
        }
        self.of.insert(key, Entry { session: Arc::clone(&session), used: self.uses });
        session
    }
}
