//! A node's metrics, read as an operator's collector reads them.
//!
//! Never here: which series there should be.

use crate::http;
use crate::node::Node;

/// The whole text.
pub fn text(node: &Node) -> String {
    let answer = http::send(node.metrics(), "GET", "/metrics", &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// The sum of all series of this name that have these labels, 0 where there are none.
pub fn sum(node: &Node, name: &str, labels: &[(&str, &str)]) -> u64 {
    let wanted: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let text = text(node);
    let series = text.lines().filter_map(|line| line.rsplit_once(' '));
    let found = series.filter(|(series, _)| {
        let (found, labels) = series.split_once('{').unwrap_or((series, ""));
        found == name && wanted.iter().all(|label| labels.contains(label.as_str()))
    });
    found.map(|(_, value)| value.parse::<f64>().unwrap_or(0.0) as u64).sum()
}
