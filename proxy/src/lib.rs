//! The proxy: classifies, decides, resolves, pins, dials, relays and records.
//!
//! A map, no logic. `docs/architecture.md` draws a request's way; the functions bear its names.
#![forbid(unsafe_code)]

pub mod admin;
#[cfg(test)]
mod agreement;
mod answer;
pub mod app;
mod ask;
pub mod capture;
mod chunked;
mod classify;
mod client_hello;
pub mod config;
mod connect;
mod container;
mod dial;
pub mod dial_in;
mod dns_askers;
pub mod dns_serve;
pub mod dns_stub;
mod entry;
#[cfg(test)]
mod fake_dns;
pub mod flood;
mod flow;
mod forward;
mod framing;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod head;
mod headers;
mod idle;
mod inside;
mod judge;
pub mod limits;
pub mod listener;
pub mod live;
mod message;
mod metrics;
mod netlink;
pub mod packets;
mod pipes;
pub mod policy_store;
pub mod process;
pub mod publish;
pub mod questions;
pub mod record_file;
pub mod record_writer;
mod recorder;
mod relay;
mod report;
pub mod resolve;
mod respond;
mod scratch;
mod server_name;
pub mod session;
pub mod sink;
pub mod slots;
mod sock_diag;
pub mod sockets;
pub mod start;
mod status;
pub mod synthetic;
mod tally;
mod transparent;
mod tunnel;
mod upstream;
mod wire;

pub use entry::main;
