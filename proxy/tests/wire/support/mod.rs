//! The world of one test: a policy, a proxy, a DNS server and origins, all of its own.

pub mod admin;
pub mod client;
pub mod dns;
pub mod hello;
pub mod origin;
pub mod proxy;

use std::time::Duration;

/// A test that waits longer than this for anything has failed; no test is expected to come near it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that depend on their place, with no period of a power of two.
pub fn pattern(size: usize) -> Vec<u8> {
    let block: Vec<u8> = (0..251).collect();
    let mut bytes = block.repeat(size / block.len() + 1);
    bytes.truncate(size);
    bytes
}
