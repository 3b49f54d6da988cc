//! What operators see of a node: metrics, log fields, the status page and `gitring-node top`.

mod documented;
mod fields;
mod page;
mod terminal;
mod traces;

use gitring_tests::http;
use gitring_tests::node::Node;
use std::process::{Command, Output};
use std::time::Duration;

/// Longest wait for what a node tells of what it has done.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// A body of the metrics port.
#[track_caller]
fn get(node: &Node, path: &str) -> String {
    let answer = http::send(node.metrics(), "GET", path, &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    String::from_utf8(answer.body).expect("UTF-8")
}

/// Runs `gitring-node top`.
fn top(arguments: &[&str]) -> Output {
    let mut command = Command::new(gitring_tests::node::program());
    command.arg("top").args(arguments).output().expect("the program can be run")
}
