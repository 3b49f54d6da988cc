//! Stores on disk against real git: layouts, damage, truncation, repacks under readers.

mod damage;
pub(crate) mod fixture;
mod layouts;
mod movement;
mod truncation;
