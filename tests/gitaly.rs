//! Gitaly's wire: calls as Workhorse, gitlab-shell and Praefect make them, and as nobody should.
//!
//! Goal: a client of Gitaly finds Gitaly's answers, codes and numbers on every kind of connection;
//! one that lies, stops or vanishes costs nothing once it is gone.
//! Method: honest calls go through the client library of ours, stock git behind it; everything else
//! is written frame by frame.
//!
//! Never here: whether packs hold the right objects in every case; `fetch` compares those.

mod auth;
mod custom_hooks;
mod fetch;
mod health;
mod hostile_http2;
mod hostile_idle;
mod hostile_mux;
mod hostile_sidechannel;
mod methods;
mod observed;
mod observed_fetch;
mod push;
mod push_blobs;
mod push_by_git;
mod push_commits;
mod push_gitlab;
mod push_history;
mod push_hostile;
mod push_leaving;
mod push_load;
mod push_paths;
mod push_trees;
mod push_votes;
mod quarantined;
mod ref_reads;
mod ref_votes;
mod ref_writes;
mod replay;
mod ssh;
mod unary;
mod vanish;
mod votes;

pub(crate) use methods::BUILT;

use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};

/// A node whose storage holds `varied.git`.
fn node_with_varied(more: &str) -> (Node, Repository) {
    let node = Node::start_with(more);
    let repository = Repository::create(&node.storage(), "varied", Kind::Varied);
    repository.allow_everything();
    (node, repository)
}
