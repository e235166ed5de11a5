//! The proxy: classifies, decides, resolves, pins, dials, relays and records.
//!
//! A map, no logic. `docs/architecture.md` draws a request's way; the functions bear its names.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "the walk is not whole yet")]

pub mod app;
pub mod capture;
mod chunked;
pub mod dial_in;
pub mod dns_serve;
pub mod dns_stub;
mod flow;
mod framing;
mod head;
mod idle;
pub mod limits;
pub mod live;
pub mod packets;
mod pipes;
pub mod process;
mod record_file;
mod recorder;
mod relay;
pub mod resolve;
mod scratch;
pub mod session;
pub mod sink;
pub mod sockets;
pub mod synthetic;
mod tally;
mod wire;
