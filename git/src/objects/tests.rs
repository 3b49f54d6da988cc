//! Stores on disk against real git: layouts, damage, truncation, repacks under readers.

mod damage;
mod fixture;
mod layouts;
mod movement;
mod truncation;
