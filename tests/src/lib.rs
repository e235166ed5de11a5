//! What the end-to-end suites stand on: a world per test, its clients, and the readings taken of it.
#![forbid(unsafe_code)]

pub mod binaries;
pub mod certificates;
pub mod client;
pub mod command;
pub mod desk;
pub mod engines;
pub mod escape;
pub mod inside;
pub mod measured;
pub mod model;
pub mod order;
pub mod project;
pub mod rehearsal;
pub mod run;
pub mod spec;
pub mod terminal;
pub mod users;
pub mod world;
