//! The proxy: classifies, decides, resolves, pins, dials, relays and records.
//!
//! A map, no logic. `docs/architecture.md` draws a request's way; the functions bear its names.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "the walk is not whole yet")]

pub mod capture;
mod chunked;
pub mod dial_in;
pub mod dns_stub;
mod framing;
mod head;
pub mod limits;
pub mod packets;
pub mod process;
pub mod resolve;
pub mod sockets;
pub mod synthetic;
