//! Calls as changes of names and contents.
//!
//! Always true: a directory or file is the same node under each of its names, and another one after
//! it was removed and made again.
//! Never here: chance.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file or directory.
pub(super) type Node = usize;
/// A name in a directory.
pub(super) type Slot = (Node, OsString);

/// One change.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Names that get another meaning together: none where a name is gone.
    Names(Vec<(Slot, Option<Node>)>),
    /// A file gets longer.
    Content(Node, Vec<u8>),
    /// Everything before it that concerns this node is on disk.
    Sync(Node),
}

/// All that happened.
#[derive(Debug)]
pub(super) struct History {
    root: PathBuf,
    /// As everybody sees it now.
    names: BTreeMap<Slot, Node>,
    /// Whether each node is a directory.
    pub(super) is_dir: Vec<bool>,
    /// What was there at first.
    pub(super) base: BTreeMap<Slot, Node>,
    pub(super) base_content: BTreeMap<Node, Vec<u8>>,
    pub(super) changes: Vec<Change>,
}

/// The node of the root directory.
pub(super) const ROOT: Node = 0;

// === impl History ===

impl History {
    pub(super) fn of(root: &Path, left_out: &[&str]) -> io::Result<Self> {
        let mut history = Self {
            root: root.to_path_buf(),
            names: BTreeMap::new(),
            is_dir: vec![true],
            base: BTreeMap::new(),
            base_content: BTreeMap::new(),
            changes: Vec::new(),
        };
        let mut known = BTreeMap::new();
        history.scan(root, ROOT, left_out, &mut known)?;
        history.base = history.names.clone();
        Ok(history)
    }

    pub(super) fn moments(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn adopt(&mut self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            if self.node(path).is_none() {
                self.created_dir(path);
            }
            for entry in fs::read_dir(path)? {
                self.adopt(&entry?.path())?;
            }
        } else if self.node(path).is_none() {
            self.created(path, fs::read(path)?);
        }
        Ok(())
    }

    pub(super) fn created(&mut self, path: &Path, content: Vec<u8>) {
        let node = self.fresh(false);
        self.changes.push(Change::Content(node, content));
        self.set(vec![(path, Some(node))]);
    }

    pub(super) fn appended(&mut self, path: &Path, content: &[u8]) {
        if let Some(node) = self.node(path) {
            self.changes.push(Change::Content(node, content.to_vec()));
        }
    }

    pub(super) fn linked(&mut self, from: &Path, to: &Path) {
        let node = self.node(from);
        self.set(vec![(to, node)]);
    }

    pub(super) fn renamed(&mut self, from: &Path, to: &Path) {
        let node = self.node(from);
        if node == self.node(to) {
            // Two names of one file: rename(2) does nothing.
            return;
        }
        self.set(vec![(from, None), (to, node)]);
    }

    pub(super) fn removed(&mut self, path: &Path) {
        self.set(vec![(path, None)]);
    }

    pub(super) fn created_dir(&mut self, path: &Path) {
        let node = self.fresh(true);
        self.set(vec![(path, Some(node))]);
    }

    pub(super) fn synced(&mut self, path: &Path) {
        if let Some(node) = self.node(path) {
            self.changes.push(Change::Sync(node));
        }
    }

    fn fresh(&mut self, is_dir: bool) -> Node {
        self.is_dir.push(is_dir);
        self.is_dir.len() - 1
    }

    /// What a path leads to.
    fn node(&self, path: &Path) -> Option<Node> {
        let rest = path.strip_prefix(&self.root).ok()?;
        let mut names = rest.components();
        names.try_fold(ROOT, |at, name| self.names.get(&(at, name.as_os_str().to_owned())).copied())
    }

    fn set(&mut self, names: Vec<(&Path, Option<Node>)>) {
        let mut change = Vec::new();
        for (path, node) in names {
            let parent = path.parent().and_then(|parent| self.node(parent));
            let (Some(parent), Some(name)) = (parent, path.file_name()) else { continue };
            let slot = (parent, name.to_owned());
            match node {
                Some(node) => self.names.insert(slot.clone(), node),
                None => self.names.remove(&slot),
            };
            change.push((slot, node));
        }
        self.changes.push(Change::Names(change));
    }

    fn scan(
        &mut self,
        directory: &Path,
        node: Node,
        left_out: &[&str],
        known: &mut BTreeMap<u64, Node>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let (name, metadata) = (entry.file_name(), entry.metadata()?);
            if left_out.iter().any(|left_out| name == *left_out) {
                continue;
            }
            if metadata.is_dir() {
                let child = self.fresh(true);
                self.names.insert((node, name), child);
                self.scan(&entry.path(), child, &[], known)?;
            } else if metadata.is_file() {
                let fresh = self.is_dir.len();
                let child = *known.entry(metadata.ino()).or_insert(fresh);
                if child == fresh {
                    self.fresh(false);
                    self.base_content.insert(child, fs::read(entry.path())?);
                }
                self.names.insert((node, name), child);
            }
        }
        Ok(())
    }
}
