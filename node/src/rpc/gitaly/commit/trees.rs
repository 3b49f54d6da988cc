//! Trees: what lies in them, and what lies at a path.
//!
//! Always true: trees that are held in memory are bounded.

mod entries;
mod entry;
mod finder;
mod page;
mod single;

pub(in crate::rpc::gitaly) use self::entries::get_tree_entries;
pub(in crate::rpc::gitaly) use self::entry::EntryKind;
pub(in crate::rpc::gitaly) use self::finder::{Finder, trimmed};
pub(in crate::rpc::gitaly) use self::single::tree_entry;
