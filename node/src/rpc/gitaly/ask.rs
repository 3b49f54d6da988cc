//! What git children are asked: where they run, what they may be told, how they answer.
//!
//! Always true: a child sees the object directories that its call named, and no others; what a
//! client wrote stands behind `--end-of-options` or on standard input.
//! Never here: messages of the protocol.

pub(super) mod all_objects;
pub(super) mod cat_file;
pub(super) mod child;
pub(super) mod revisions;
pub(super) mod site;
pub(super) mod talk;
pub(super) mod walk;
