//! The stream cache: one producer, many readers, bytes on disk.
//!
//! ```text
//!   fetch(key) ──► Hit   a finished stream          Reader ◄── file
//!              ──► Join  one that is being made      Reader ◄── file ◄── Lead
//!              ──► Lead  nobody makes it: you do     Reader + Lead
//! ```
//!
//! Always true:
//! - all readers of a stream see the same bytes, from the first to the last, or an error: a stream
//!   that broke off never looks whole;
//! - a slow reader slows nobody; the producer is at most `window_bytes` ahead of the fastest one;
//! - what lies on disk, is being written, or is open without a name, counts against `bytes_max`;
//! - the disk is never the reason why a stream fails that its producer could finish, as long as
//!   its readers make progress.
//!
//! Modules in reading order:
//! - `cache`: looking for a stream; `index`, `table`: what there is to find;
//! - `stream`: what one producer and its readers share; `lead`, `store`: making it; `fresh`: what was
//!   just made; `memory`,
//!   `stall`: where the disk refuses; `reader`: reading it;
//! - `budget`, `room`, `free_space`, `sieve`, `occurrences`: what is kept and what goes;
//! - `header`, `instances`, `claim`, `verify`, `removals`, `house`: files, of this run and of
//!   earlier ones;
//! - `listing`: the same files for tools.
//!
//! Never here: what the bytes are, who asks for them, system calls (they stand behind [`Disk`];
//! the one exception is `listing`, which reads directories with `std::fs` for tools).

mod budget;
mod cache;
mod claim;
mod disk;
mod event;
mod free_space;
mod fresh;
mod header;
mod house;
mod index;
mod instances;
mod key;
mod lead;
mod limits;
mod listing;
mod locked;
mod memory;
mod occurrences;
mod reader;
mod removals;
mod room;
mod sieve;
mod stall;
mod store;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod verify;

pub use cache::{Cache, Fetch, FetchError};
pub use disk::{Clock, Disk, Listed};
pub use event::{Event, EvictionCause, Lookup, Observer, Unstored};
pub use index::Index;
pub use key::{Key, Note, NoteTooLong};
pub use lead::{Lead, WriteError};
pub use limits::Limits;
pub use listing::{Listing, Stored, list};
pub use reader::{ReadError, Reader};
