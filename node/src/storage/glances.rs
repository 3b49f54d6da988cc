//! Proofs that a repository is as it was, made on a reactor and shared by its calls.
//!
//! Always true: a proof serves only those who had asked before it began; it keeps nothing in memory
//! that the cache of repositories does not keep.
//! Never here: how a repository is proven; waiting for the file system.

use super::Opened;
use super::cache::Key;
use gitring_git::repository::{Repository, Snapshot};
use std::cell::RefCell;
use std::sync::{Arc, Weak};

/// The last proof of one reactor.
#[derive(Debug, Default)]
pub struct Glances(RefCell<Last>);

#[derive(Debug, Default)]
struct Last {
    /// Proofs begun so far; the number of the last one.
    begun: u64,
    key: Option<Key>,
    /// None if nothing could be proven.
    proven: Option<(Weak<Repository>, Weak<Snapshot>)>,
}

// === impl Glances ===

impl Glances {
    /// What `prove` proves, or what it proved for another call after this one had come. `None`
    /// where it cannot.
    pub(super) async fn share(
        &self,
        key: Key,
        prove: impl FnOnce(&Key) -> Option<Opened>,
    ) -> Option<Opened> {
        let begun = self.0.borrow().begun;
        // Calls that arrived together come to this point before any of them goes on.
        tokio::task::yield_now().await;
        let mut last = self.0.borrow_mut();
        if last.begun > begun && last.key.as_ref() == Some(&key) {
            let (repository, snapshot) = last.proven.as_ref()?;
            let (repository, snapshot) = (repository.upgrade()?, snapshot.upgrade()?);
            return Some(Opened { repository, snapshot });
        }
        last.begun += 1;
        let opened = prove(&key);
        let weak = |opened: &Opened| {
            (Arc::downgrade(&opened.repository), Arc::downgrade(&opened.snapshot))
        };
        last.proven = opened.as_ref().map(weak);
        last.key = Some(key);
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tests::runtime;
    use crate::storage::{RelativePath, StorageName};
    use std::cell::Cell;

    #[test]
    fn a_proof_serves_those_who_came_before_it_and_nobody_else() {
        let (glances, proofs) = (Glances::default(), Cell::new(0));
        let share = |path: &str| {
            let storage = StorageName::parse("default").unwrap();
            let key = Key::new(&storage, &RelativePath::parse(path).unwrap());
            glances.share(key, |_| {
                proofs.set(proofs.get() + 1);
                None
            })
        };
        let runtime = runtime();
        runtime.block_on(async { tokio::join!(share("a.git"), share("a.git"), share("a.git")) });
        assert_eq!(proofs.get(), 1);
        runtime.block_on(share("a.git"));
        assert_eq!(proofs.get(), 2);
        runtime.block_on(async { tokio::join!(share("a.git"), share("b.git")) });
        assert_eq!(proofs.get(), 4);
    }
}
