//! Trees: what lies in them, and what lies at a path.
//!
//! Always true: trees that are held in memory are bounded.

mod entries;
mod entry;
mod finder;
mod page;
mod single;

pub(super) use self::entries::get_tree_entries;
pub(super) use self::entry::EntryKind;
pub(super) use self::finder::{Finder, trimmed};
pub(super) use self::single::tree_entry;
