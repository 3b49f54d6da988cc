//! Whether trees, and all that they lead to, are there.
//!
//! ```text
//!   new:       a  b  dir'/        an entry that stands under the same name in a complete tree is
//!   complete:  a  b' dir/         complete; directories that differ are compared in turn
//! ```
//!
//! Always true: what was found complete is not looked at again; a tree counts as complete only
//! after all that it leads to was looked at. Nesting costs memory, not stack.
//! Never here: commits of submodules, which lie elsewhere; whether entries are in order (fsck).

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::ConnectivityError;
use crate::ObjectId;
use crate::history::Cancel;
use crate::objects::{Kind, Store};

/// Objects that one push may make us look at: 20 million take about 1 GB.
const OBJECTS_MAX: usize = 20_000_000;
/// Complete trees that one new tree is compared with.
const COMPARED_MAX: usize = 4;
const TYPE_BITS: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const SUBMODULE: u32 = 0o160_000;

/// Trees and blobs of one push.
#[derive(Debug)]
pub(super) struct Trees {
    store: Arc<Store>,
    cancel: Cancel,
    complete: HashSet<ObjectId>,
    /// What is there, or may be taken for that, under the name of a file. Apart from trees: the same
    /// id may be used as both.
    blobs: HashSet<ObjectId>,
    /// Trees of which all entries are complete.
    marked: HashSet<ObjectId>,
    /// Looked at for a tip, and not in the quarantine.
    outside: Vec<ObjectId>,
}

enum Task {
    /// Look at a tree, beside complete ones of the same path.
    Look(ObjectId, Vec<ObjectId>),
    /// All that this tree leads to was looked at.
    Done(ObjectId),
}

/// One entry of a tree.
#[derive(Clone, Copy)]
struct Entry<'a> {
    mode: u32,
    name: &'a [u8],
    id: ObjectId,
}

/// The entries of a tree, in its order.
struct Entries<'a> {
    rest: &'a [u8],
}

/// The entries of a complete tree, followed beside those of another.
struct Beside {
    data: Vec<u8>,
    at: usize,
}

/// What a tree leads to, as far as it is well formed; commits of submodules lie elsewhere.
pub(crate) fn links(tree: &[u8]) -> impl Iterator<Item = ObjectId> + '_ {
    let entries = Entries::of(tree).map_while(|entry| entry);
    entries.filter(|entry| entry.mode & TYPE_BITS != SUBMODULE).map(|entry| entry.id)
}

// === impl Trees ===

impl Trees {
    pub(super) fn new(store: Arc<Store>, cancel: Cancel) -> Self {
        let (complete, blobs, marked) = (HashSet::new(), HashSet::new(), HashSet::new());
        Self { store, cancel, complete, blobs, marked, outside: Vec::new() }
    }

    /// What was looked at and does not lie in the quarantine.
    pub(super) fn take_outside(&mut self) -> Vec<ObjectId> {
        std::mem::take(&mut self.outside)
    }

    /// Something that refs lead to.
    pub(super) fn take_for_complete(&mut self, id: &ObjectId) {
        self.complete.insert(*id);
        self.blobs.insert(*id);
    }

    /// Takes a tree for complete with all that it leads to, as far as it is there.
    pub(super) fn mark(&mut self, tree: &ObjectId) -> Result<(), ConnectivityError> {
        let mut stack = vec![*tree];
        while let Some(id) = stack.pop() {
            // A complete tree need not have its entries among the complete ones.
            self.complete.insert(id);
            if !self.marked.insert(id) {
                continue;
            }
            self.look()?;
            let Some(data) = self.read_tolerantly(&id)? else { continue };
            for entry in Entries::of(&data) {
                let Some(entry) = entry else { break };
                match entry.mode & TYPE_BITS {
                    DIRECTORY => stack.push(entry.id),
                    SUBMODULE => {}
                    _ => drop(self.blobs.insert(entry.id)),
                }
            }
        }
        Ok(())
    }

    /// Looks at a tree; `beside` are root trees that are complete.
    pub(super) fn check(
        &mut self,
        tree: &ObjectId,
        beside: &[ObjectId],
    ) -> Result<(), ConnectivityError> {
        if beside.contains(tree) {
            return Ok(());
        }
        let beside = beside.iter().take(COMPARED_MAX).copied().collect();
        let mut stack = vec![Task::Look(*tree, beside)];
        while let Some(task) = stack.pop() {
            match task {
                Task::Done(id) => drop(self.complete.insert(id)),
                Task::Look(id, _) if self.complete.contains(&id) => {}
                Task::Look(id, beside) => {
                    self.look()?;
                    stack.push(Task::Done(id));
                    self.compare(&id, &beside, &mut stack)?;
                }
            }
        }
        Ok(())
    }

    /// Looks at the entries of one tree; puts its directories on the stack.
    fn compare(
        &mut self,
        id: &ObjectId,
        beside: &[ObjectId],
        stack: &mut Vec<Task>,
    ) -> Result<(), ConnectivityError> {
        let data = self.read(id)?;
        self.note(id)?;
        let mut others = Vec::with_capacity(beside.len());
        for other in beside {
            others.extend(self.read_tolerantly(other)?.map(|data| Beside { data, at: 0 }));
        }
        for entry in Entries::of(&data) {
            let bad = ConnectivityError::Unreadable { id: *id, what: "tree" };
            let entry = entry.ok_or(bad)?;
            let kind = entry.mode & TYPE_BITS;
            if kind == SUBMODULE {
                continue;
            }
            let mut same_name = Vec::new();
            let mut is_same = false;
            for other in &mut others {
                if let Some(found) = other.find(&entry) {
                    is_same |= found == entry.id;
                    same_name.push(found);
                }
            }
            if is_same {
                continue;
            }
            if kind != DIRECTORY {
                self.check_blob(&entry.id)?;
            } else if !self.complete.contains(&entry.id) {
                stack.push(Task::Look(entry.id, same_name));
            }
        }
        Ok(())
    }

    /// What is there under the name of a file says nothing of a directory of the same id.
    fn check_blob(&mut self, id: &ObjectId) -> Result<(), ConnectivityError> {
        if self.blobs.contains(id) {
            return Ok(());
        }
        let found = self.store.contains(id);
        if !found.map_err(|error| ConnectivityError::reading(error, id, "blob"))? {
            return Err(ConnectivityError::Missing { id: *id, what: "blob" });
        }
        self.blobs.insert(*id);
        self.note(id)
    }

    fn note(&mut self, id: &ObjectId) -> Result<(), ConnectivityError> {
        if !self.store.lies_in(0, id)? {
            self.outside.push(*id);
        }
        Ok(())
    }

    fn read(&self, id: &ObjectId) -> Result<Vec<u8>, ConnectivityError> {
        let object = self.store.read(id);
        match object.map_err(|error| ConnectivityError::reading(error, id, "tree"))? {
            Some(object) if object.kind == Kind::Tree => Ok(object.data),
            Some(_) => Err(ConnectivityError::Unreadable { id: *id, what: "tree" }),
            None => Err(ConnectivityError::Missing { id: *id, what: "tree" }),
        }
    }

    /// Reads a tree that counts as complete, though it may be missing or damaged.
    fn read_tolerantly(&self, id: &ObjectId) -> Result<Option<Vec<u8>>, ConnectivityError> {
        match self.read(id) {
            Ok(data) => Ok(Some(data)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn look(&self) -> Result<(), ConnectivityError> {
        if self.complete.len() + self.blobs.len() > OBJECTS_MAX {
            return Err(ConnectivityError::TooMany { limit: OBJECTS_MAX, what: "objects" });
        }
        if self.cancel.is_cancelled() { Err(ConnectivityError::Cancelled) } else { Ok(()) }
    }
}

// === impl Entries ===

impl<'a> Entries<'a> {
    fn of(data: &'a [u8]) -> Self {
        Self { rest: data }
    }
}

impl<'a> Iterator for Entries<'a> {
    /// `None` where the tree is malformed.
    type Item = Option<Entry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = Entry::parse(self.rest);
        self.rest = entry.map_or(&[], |(_, rest)| rest);
        Some(entry.map(|(entry, _)| entry))
    }
}

// === impl Entry ===

impl<'a> Entry<'a> {
    /// `<mode in octal> <name>\0<20 bytes>`, and what follows.
    fn parse(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mode_end = data.iter().take(8).position(|byte| *byte == b' ')?;
        let digit = |mode: Option<u32>, byte: &u8| {
            let digit = char::from(*byte).to_digit(8)?;
            Some(mode? << 3 | digit)
        };
        let mode = data[..mode_end].iter().fold(Some(0), digit)?;
        let rest = &data[mode_end + 1..];
        let name_end = rest.iter().position(|byte| *byte == 0)?;
        let (name, rest) = rest.split_at(name_end);
        let (id, rest) = rest[1..].split_at_checked(20)?;
        Some((Self { mode, name, id: ObjectId::try_from(id).ok()? }, rest))
    }

    /// The order of trees: directories as if a slash ended their names.
    fn cmp(&self, other: &Self) -> Ordering {
        let end = |entry: &Self| (entry.mode & TYPE_BITS == DIRECTORY).then_some(b'/');
        let [one, two] = [self, other].map(|entry| entry.name.iter().copied().chain(end(entry)));
        one.cmp(two)
    }
}

// === impl Beside ===

impl Beside {
    /// The entry with the name and kind of `wanted`, which comes behind all that were asked for
    /// before. In a tree that is out of order some are not found.
    fn find(&mut self, wanted: &Entry<'_>) -> Option<ObjectId> {
        while let Some((entry, rest)) = Entry::parse(&self.data[self.at..]) {
            let end = self.data.len() - rest.len();
            match entry.cmp(wanted) {
                Ordering::Less => self.at = end,
                Ordering::Equal => {
                    let id = entry.id;
                    self.at = end;
                    return Some(id);
                }
                Ordering::Greater => return None,
            }
        }
        None
    }
}
