//! What the targets share: places to write files to, and the life of a repository made of them.
//!
//! Always true: every target drives the public interface of gitring-git; formats that are private
//! to it are reached through files, in memory where `/dev/shm` exists.
//! Never here: expectations; each target has its own.

pub mod scratch;
