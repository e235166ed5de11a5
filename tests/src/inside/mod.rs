//! The world process: it makes the namespaces, and serves the internet and the host that the code under test meets.
//!
//! It is process 1 of a pid namespace of its own, so its end is the end of all that runs in the world.

mod census;
mod dns;
mod flows;
mod links;
mod origin;
mod program;
mod serve;
mod tls;

pub use links::{HOST_V4, HOST_V6, RESOLVER};
pub use serve::main;
