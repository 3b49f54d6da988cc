//! Measurements of the node beside stock git: programs in `bin/`, results in `results/`.
//!
//! - `measure`: [`bars`];
//! - `real-repos`: [`matrix`];
//! - `load`: [`load`], also on other servers that speak Gitaly's wire;
//! - `soak`: [`soak`], whether anything grows in hours.
//!
//! Always true:
//! - Figures are ratios of runs that alternate in one process; the spread of repeated stock runs
//!   stands beside them as the noise floor.
//! - A result names machine, kernel, git version and commit.
//!
//! Never here: assertions about correctness; tests/ holds those.

pub mod bars;
pub mod load;
pub mod machine;
pub mod matrix;
pub mod series;
pub mod soak;
