//! What every connection shares.

use crate::flood::Flood;
use crate::limits::Limits;
use crate::live::Live;
use crate::process::Processes;
use crate::questions::Questions;
use crate::resolve::Resolver;
use crate::sink::Sink;
use crate::slots::Slots;

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
    /// Refused requests that come in floods.
    pub flood: Flood,
    /// What a person is asked.
    pub questions: Questions,
    /// Connections that are served.
    pub slots: Slots,
    /// Connections that are told that there is no room.
    pub refused: Slots,
}
