//! The part of the node's reactor that is measured: the ring, and the threads that it falls back to.
//!
//! Never here: the rest of the reactor, which would bring all of the node along.

pub mod ring;
pub mod workers;
