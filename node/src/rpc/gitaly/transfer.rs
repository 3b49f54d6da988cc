//! Fetches and pushes as Gitaly's clients ask for them: whose call becomes a `wire::Call` or a
//! `push::Call`, and over what its bytes travel.
//!
//! Always true: a call is answered after the last byte of its sidechannel.
//! Never here: git's protocol.

mod fetching;
mod hashed;
mod message_input;
mod negotiation;
mod pushing;
mod sidechannels;
pub(super) mod smarthttp;
pub(super) mod ssh;
