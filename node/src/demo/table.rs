//! The table that the demo prints: one line per request, ours beside stock.
//!
//! Always true: columns stand under their heads for up to 999 GB and 999 s.
//!
//! Never here: judging. A row prints what it is told.

use std::time::Duration;

use super::Cost;
use super::client::Request;

/// One request with what it cost on both sides.
pub(crate) struct Row {
    pub(crate) request: Request,
    pub(crate) ours_cost: Cost,
    pub(crate) ours_wall: Duration,
    pub(crate) stock_cost: Cost,
    pub(crate) stock_wall: Duration,
    pub(crate) matches: bool,
}

/// Prints the two head lines.
pub(crate) fn print_head() {
    println!("{:25} | {:^37} | {:^37} |", "", "gitring-node, HTTP", "stock git, pipe");
    let head = format!("{:>9} {:>8} {:>8} {:>9}", "bytes", "wall", "CPU", "processes");
    println!("{:25} | {head} | {head} | same", "what");
}

// === impl Row ===

impl Row {
    /// Prints the row.
    pub(crate) fn print(&self) {
        let ours = cell(self.ours_cost, self.ours_wall);
        let stock = cell(self.stock_cost, self.stock_wall);
        let same = if self.matches { "yes" } else { "NO" };
        println!("{:25} | {ours} | {stock} | {same}", self.request.name());
    }
}

fn cell(cost: Cost, wall: Duration) -> String {
    let cpu = format!("{:.2} s", cost.cpu_ms as f64 / 1000.0);
    let wall = format!("{:.2} s", wall.as_secs_f64());
    format!("{:>9} {wall:>8} {cpu:>8} {:>9}", bytes(cost.bytes), cost.processes)
}

/// A number of bytes in the largest unit that leaves a digit before the point.
fn bytes(count: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", count as f64 / *size as f64),
        None => format!("{count} B"),
    }
}
