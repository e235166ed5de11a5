//! What every connection shares.

use crate::limits::Limits;
use crate::live::Live;
use crate::process::Processes;
use crate::resolve::Resolver;
use crate::sink::Sink;

/// The proxy's parts, as one value that every task holds.
#[derive(Debug)]
pub struct App {
    /// The policy in force, and the phase of life.
    pub live: Live,
    /// The record.
    pub sink: Sink,
    /// Names to addresses.
    pub resolver: Resolver,
    /// Bounds.
    pub limits: Limits,
    /// Who is behind a connection.
    pub processes: Processes,
}
