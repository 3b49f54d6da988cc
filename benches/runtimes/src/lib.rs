//! The node's ring, and runtimes with rings of their own, behind one trait.
//!
//! Always true: the ring is compiled from the node's own files, `src/reactor` being a link to them.
//! Never here: figures; the program takes them.

pub mod candidate;
pub mod monoio_ring;
pub mod node_ring;
pub mod reactor;
pub mod tokio_uring_ring;
