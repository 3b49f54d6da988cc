//! The commands of one push, however many: names in one buffer, ids and states in arrays.
//!
//! Always true: a command takes its name and about 70 bytes, and no allocation of its own; neither
//! name nor ids change once it is there.
//! Never here: what is allowed, and how many there may be.

use bstr::{BStr, ByteSlice};

use super::Command;
use crate::ObjectId;

/// Commands in the client's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands {
    names: Vec<u8>,
    /// Where each name ends.
    ends: Vec<u32>,
    ids: Vec<(ObjectId, ObjectId)>,
    states: Vec<State>,
}

/// What has become of a command so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// Why it is not done, in git's words. Who finds a reason first decides.
    pub refused: Option<&'static str>,
    /// Done by another command: this one names a symbolic ref, that one what it points to.
    pub is_implied: bool,
    /// The old value is not compared: it is a deletion, and there is no such object.
    pub is_old_unchecked: bool,
    /// A deletion of what is not there: done, but hooks are not told of it afterwards.
    pub did_not_exist: bool,
    /// It was refused because nobody knew what the disk has of it, and was found done afterwards.
    pub has_changed: bool,
}

/// One of them, to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'c> {
    /// The name without the namespace.
    pub name: &'c BStr,
    /// What the client believes it is now; null for none.
    pub old: ObjectId,
    /// What it shall be; null for none.
    pub new: ObjectId,
    /// What has become of it.
    pub state: State,
}

/// One of them, to be judged.
#[derive(Debug)]
pub struct EntryMut<'c> {
    /// The name without the namespace.
    pub name: &'c BStr,
    /// What it shall be; null for none.
    pub new: ObjectId,
    /// What has become of it.
    pub state: &'c mut State,
}

// === impl State ===

impl State {
    /// Whether the command is still to be done.
    pub fn is_open(&self) -> bool {
        self.refused.is_none() && !self.is_implied
    }

    /// Refuses the command, unless there is a reason already.
    pub fn refuse(&mut self, reason: &'static str) {
        self.refused.get_or_insert(reason);
    }

    /// Whether hooks that run after a push are told of it.
    pub fn is_told(&self) -> bool {
        (self.refused.is_none() || self.has_changed) && !self.did_not_exist
    }
}

// === impl Commands ===

impl Commands {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.names.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.ids.capacity() * size_of::<(ObjectId, ObjectId)>()
            + self.states.capacity() * size_of::<State>()
    }

    /// Bytes of all names together.
    pub(super) fn names_bytes(&self) -> usize {
        self.names.len()
    }

    /// One more, whose name fits: all names together must be shorter than 4 GiB.
    pub(super) fn push(&mut self, name: &[u8], old: ObjectId, new: ObjectId) {
        self.names.extend_from_slice(name);
        self.ends.push(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.ids.push((old, new));
        self.states.push(State::default());
    }

    /// A copy of one of them.
    pub fn get(&self, at: usize) -> Command {
        let (old, new) = self.ids[at];
        Command { name: self.name(at).to_owned(), old, new, state: self.states[at] }
    }

    /// What has become of one of them.
    pub fn state(&self, at: usize) -> State {
        self.states[at]
    }

    /// The same, to be changed.
    pub fn state_mut(&mut self, at: usize) -> &mut State {
        &mut self.states[at]
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).map(|at| {
            let (old, new) = self.ids[at];
            Entry { name: self.name(at), old, new, state: self.states[at] }
        })
    }

    /// All of them, to be judged.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = EntryMut<'_>> {
        let Self { names, ends, ids, states } = self;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let names = starts.zip(ends.iter()).map(|(start, end)| slice(names, start, *end));
        let all = names.zip(ids).zip(states);
        all.map(|((name, (_, new)), state)| EntryMut { name, new: *new, state })
    }

    /// Refuses those that are not refused yet.
    pub fn refuse_all(&mut self, reason: &'static str) {
        self.states.iter_mut().for_each(|state| state.refuse(reason));
    }

    /// The name of one of them, without the namespace.
    pub fn name(&self, at: usize) -> &BStr {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        slice(&self.names, start, self.ends[at])
    }
}

fn slice(names: &[u8], start: u32, end: u32) -> &BStr {
    names[start as usize..end as usize].as_bstr()
}

// === impl Entry ===

impl Entry<'_> {
    /// Whether the reference shall go.
    pub fn is_deletion(&self) -> bool {
        self.new.is_null()
    }
}

// === impl EntryMut ===

impl EntryMut<'_> {
    /// Whether the reference shall go.
    pub fn is_deletion(&self) -> bool {
        self.new.is_null()
    }
}
