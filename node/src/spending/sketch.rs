//! The heaviest of many in bounded memory: "space saving" (Metwally, Agrawal, El Abbadi, 2005).
//!
//! Whoever is not among the kept takes the place of the lightest, and its weight with it: so a heavy
//! one is never missed, and a weight is too high by the lightest's at most.
//!
//! Always true: at most `KEPT_MAX` are kept; whoever spent more than 1 part in `KEPT_MAX` of all is
//! among them.

use super::Account;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Repositories that a slot remembers, about 200 bytes each.
const KEPT_MAX: usize = 128;
/// Of a path. Whoever gives a repository a longer one sees its beginning.
const PATH_BYTES_MAX: usize = 200;

/// What a repository cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Estimated CPU time, microseconds; what the others are ordered by.
    pub cost_us: u64,
    /// Of it, measured: of git children.
    pub children_us: u64,
    /// Calls that have ended.
    pub calls: u64,
    /// Sent to clients.
    pub bytes: u64,
}

/// A repository, with a number that no other has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) digest: u64,
    pub(super) storage: &'a str,
    pub(super) path: &'a str,
}

/// Accounts by number.
pub(super) type Sums = HashMap<u64, Account>;

/// One slot of a window.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    kept: Sums,
}

// === impl Spent ===

impl Spent {
    fn add(&mut self, other: Self) {
        self.cost_us = self.cost_us.saturating_add(other.cost_us);
        self.children_us = self.children_us.saturating_add(other.children_us);
        self.calls = self.calls.saturating_add(other.calls);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

// === impl Sketch ===

impl Sketch {
    pub(super) fn add(&mut self, named: Named<'_>, spent: Spent) {
        if let Some(account) = self.kept.get_mut(&named.digest) {
            account.spent.add(spent);
            return;
        }
        let mut inherited = 0;
        if self.kept.len() >= KEPT_MAX {
            let lightest = self.kept.iter().min_by_key(|(_, account)| account.spent.cost_us);
            if let Some((digest, account)) = lightest.map(|(digest, account)| (*digest, account)) {
                inherited = account.spent.cost_us;
                self.kept.remove(&digest);
            }
        }
        // What is measured is its own, only the weight that decides is inherited.
        let cost_us = spent.cost_us.saturating_add(inherited);
        let spent = Spent { cost_us, ..spent };
        let path = &named.path[..named.path.floor_char_boundary(PATH_BYTES_MAX)];
        let storage = &named.storage[..named.storage.floor_char_boundary(PATH_BYTES_MAX)];
        let account = Account { storage: storage.to_owned(), path: path.to_owned(), spent };
        self.kept.insert(named.digest, account);
    }

    pub(super) fn sum_into(&self, sums: &mut Sums) {
        for (digest, account) in &self.kept {
            match sums.entry(*digest) {
                Entry::Occupied(mut entry) => entry.get_mut().spent.add(account.spent),
                Entry::Vacant(entry) => {
                    entry.insert(account.clone());
                }
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }
}
