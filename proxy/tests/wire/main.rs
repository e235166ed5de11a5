//! The proxy as clients and origins see it: the program itself on loopback, its own DNS server, its own origins.
//!
//! A refusal is judged at the origin (connections, bytes) and at the DNS server (queries), and by the record:
//! what the client saw is the least of it. The cases bear the ids of the escape catalogue.
#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "tests: what is not named is not expected; they connect, start programs, and hold long tables"
)]

#[cfg(test)]
mod support;

#[cfg(test)]
mod asking;
#[cfg(test)]
mod captured;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod curl;
#[cfg(test)]
mod destinations;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod forward;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod program;
#[cfg(test)]
mod record;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod watchers;
