//! Gitaly's wire: calls as Workhorse, gitlab-shell and Praefect make them, and as nobody should.
//!
//! Goal: a client of Gitaly finds Gitaly's answers, codes and numbers on every kind of connection;
//! one that lies, stops or vanishes costs nothing once it is gone.
//! Method: honest calls go through the client library of ours, stock git behind it; everything else
//! is written frame by frame.
//!
//! Never here: whether packs hold the right objects in every case; `fetch` compares those.

mod auth;
mod fetch;
mod health;
mod hostile_http2;
mod hostile_mux;
mod hostile_sidechannel;
mod methods;
mod observed;
mod observed_fetch;
mod replay;
mod ssh;
mod unary;
mod vanish;

use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};

/// A node whose storage holds `varied.git`.
fn node_with_varied(more: &str) -> (Node, Repository) {
    let node = Node::start_with(more);
    let repository = Repository::create(&node.storage(), "varied", Kind::Varied);
    repository.allow_everything();
    (node, repository)
}
