//! The stream cache in a simulated world: seeded scheduler, disk, clock, users and accidents,
//! beside a model of what must hold. `SEED=7 cargo test -p gitring-streamcache --test simulation`
//! runs one seed again, with `TRACE=1` line by line; `SEEDS=100000` that many of them, from
//! `FIRST_SEED` on.
//!
//! What the model does not cover: threads (all tasks of a process run on one, as if each poll were
//! atomic; locks between threads and memory order are not exercised); real system calls; how much
//! memory is held beyond what the window allows to be written; which stream is evicted, as long as
//! the limits hold; the contents of notes; ages where the wall clock was changed; that two
//! processes share anything at all; writers that go on after dropping a write; files that
//! somebody else writes to, or cuts while they are written.
//!
//! Always true: a seed gives the same run on every machine, and a failure prints its seed.
//! Never here: real time, but to stop a seed that loops within one step.

#![allow(clippy::unwrap_used, reason = "a panic is how a simulation fails")]

mod chaos;
mod checks;
mod clients;
mod directed;
mod disk;
mod executor;
mod handles;
mod model;
mod rng;
mod scenario;
mod seeds;
mod trace;
mod world;
