//! What clients do: one row per kind of push.
//!
//! Never here: expectations; stock git gives them.

mod accepted;
mod doctored;
mod hooks;
mod refused;
mod repositories;

pub(crate) use accepted::{ACCEPTED, BASIC};
pub(crate) use doctored::DOCTORED;
pub(crate) use hooks::HOOKS;
pub(crate) use refused::REFUSED;
pub(crate) use repositories::REPOSITORIES;

use super::scene::Scene;

/// One kind of push.
pub(crate) struct Scenario {
    /// For messages.
    pub(crate) name: &'static str,
    /// Only where the client starts the server: the gateway does it in its own way.
    pub(crate) piped_only: bool,
    /// The client's commands.
    pub(crate) run: fn(&Scene<'_>),
}

const fn row(name: &'static str, run: fn(&Scene<'_>)) -> Scenario {
    Scenario { name, piped_only: false, run }
}

const fn row_piped(name: &'static str, run: fn(&Scene<'_>)) -> Scenario {
    Scenario { name, piped_only: true, run }
}

/// For rows that are one push.
fn push(scene: &Scene<'_>, words: &[&str]) {
    scene.push(words);
}
