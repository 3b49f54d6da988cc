//! The bars that the node has to meet, each measured by a module of its own.
//!
//! Always true: a bar prints its figure and its limit, met or not; it hides nothing.
//!
//! Never here: repositories of users, but for the one that a clone's CPU may be measured with.

pub mod clone_cpu;
pub mod delivery;
pub mod herd;
pub mod hit;
pub mod hit_small;
pub mod in_flight;
pub mod keys;
pub mod list_refs;
pub mod overload;
pub mod plain_send;
pub mod push;
pub mod push_large;
pub mod push_rate;
mod pushes;
pub mod ref_updates;
pub mod sidechannel;
pub mod slow_hits;
pub mod spawns;
pub mod unary;
pub mod write_ref;

/// One figure beside its limit.
#[derive(Debug)]
pub struct Bar {
    /// What was measured.
    pub what: String,
    /// The figure with its unit.
    pub figure: String,
    /// The limit with its unit.
    pub limit: String,
    /// How much the reference itself varied.
    pub noise: String,
    /// Whether the figure is within the limit.
    pub met: bool,
}

// === impl Bar ===

impl Bar {
    /// A row of a markdown table.
    pub fn row(&self) -> String {
        let met = if self.met { "yes" } else { "**no**" };
        format!("| {} | {} | {} | {met} | {} |", self.what, self.figure, self.limit, self.noise)
    }
}
