//! What a loss of power leaves.
//!
//! Always true: what was synced is left; of the rest each change is there or not, as the kind of loss
//! and the seed say.
//! Never here: the disk that the calls were carried out on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::history::{Change, History, Node, ROOT, Slot};

/// How much may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing: the process was killed, the system lives.
    Nothing,
    /// Changes of names from some moment on, as file systems with a journal lose them; and any
    /// content that was not synced.
    Latest,
    /// Any changes that were not synced, each on its own.
    Any,
    /// The same, and a rename may have been half done: the old name is gone without the new one, or
    /// both are there.
    Halves,
}

/// A tree of files.
#[derive(Debug)]
pub(crate) struct Remains {
    names: BTreeMap<Slot, Node>,
    content: BTreeMap<Node, Vec<u8>>,
    is_dir: Vec<bool>,
}

/// Numbers that a seed decides (xorshift).
struct Random(u64);

// === impl Random ===

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

// === impl Remains ===

impl Remains {
    pub(super) fn of(history: &History, moment: usize, loss: Loss, seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let changes = &history.changes[..moment.min(history.changes.len())];
        let mut synced: BTreeMap<Node, usize> = BTreeMap::new();
        for (at, change) in changes.iter().enumerate() {
            if let Change::Sync(node) = change {
                synced.insert(*node, at);
            }
        }
        let is_synced = |node: Node, at: usize| synced.get(&node).is_some_and(|last| *last > at);
        // A journal keeps all before the last sync of any kind.
        let last = synced.values().max().copied().unwrap_or(0);
        let kept_to = last + random.below(changes.len() - last.min(changes.len()) + 1);
        let mut remains = Self {
            names: history.base.clone(),
            content: history.base_content.clone(),
            is_dir: history.is_dir.clone(),
        };
        for (at, change) in changes.iter().enumerate() {
            match change {
                Change::Sync(_) => {}
                Change::Content(node, content) => {
                    let length = match loss {
                        Loss::Nothing => content.len(),
                        _ if is_synced(*node, at) => content.len(),
                        Loss::Latest | Loss::Any | Loss::Halves => match random.below(3) {
                            0 => content.len(),
                            1 => random.below(content.len() + 1),
                            _ => 0,
                        },
                    };
                    remains.content.entry(*node).or_default().extend(&content[..length]);
                }
                Change::Names(names) => {
                    let together = match loss {
                        Loss::Nothing => true,
                        Loss::Latest => at < kept_to,
                        Loss::Any | Loss::Halves => {
                            names.iter().any(|((directory, _), _)| is_synced(*directory, at))
                                || random.below(2) == 0
                        }
                    };
                    for (slot, node) in names {
                        let is_kept = match loss {
                            Loss::Halves => is_synced(slot.0, at) || random.below(2) == 0,
                            Loss::Nothing | Loss::Latest | Loss::Any => together,
                        };
                        if is_kept {
                            remains.set(slot, *node);
                        }
                    }
                }
            }
        }
        remains
    }

    /// Builds the tree below `root`, which must exist and be empty.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn build(&self, root: &Path) -> io::Result<()> {
        let mut paths: BTreeMap<Node, PathBuf> = BTreeMap::new();
        let mut directories = vec![(ROOT, root.to_path_buf())];
        while let Some((directory, path)) = directories.pop() {
            let first = (directory, std::ffi::OsString::new());
            let entries = self.names.range(first..).take_while(|((of, _), _)| *of == directory);
            for ((_, name), node) in entries {
                let path = path.join(name);
                if self.is_dir[*node] {
                    fs::create_dir(&path)?;
                    directories.push((*node, path));
                } else if let Some(first) = paths.get(node) {
                    fs::hard_link(first, &path)?;
                } else {
                    let content = self.content.get(node).map(Vec::as_slice);
                    fs::write(&path, content.unwrap_or_default())?;
                    paths.insert(*node, path);
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, slot: &Slot, node: Option<Node>) {
        match node {
            Some(node) => self.names.insert(slot.clone(), node),
            None => self.names.remove(slot),
        };
    }
}
