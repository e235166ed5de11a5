//! The file's `limits`, as domain values.
//!
//! Not responsible for enforcing them (`proxy/src/limits.rs`, the engines).
//! Clauses: W8.

use std::time::Duration;

/// What the file's `limits` say, or their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `connections`: open client connections of one sandbox.
    pub connections: u32,
    /// `head-timeout`: the time a client may take for a request's head, or for its ClientHello.
    pub head_timeout: Duration,
    /// `connect-timeout`: the time an origin may take to accept.
    pub connect_timeout: Duration,
    /// `idle-timeout`: how long an open connection may be silent in both directions.
    pub idle_timeout: Duration,
    /// `memory` of the box; `None` is what the engine does by itself.
    pub memory: Option<Bytes>,
    /// `pids`: processes and threads in the box; `None` is what the engine does by itself.
    pub pids: Option<u32>,
    /// `cpus` of the box; `None` is what the engine does by itself.
    pub cpus: Option<Cpus>,
}

impl Limits {
    /// What holds where the file says nothing.
    pub const UNLESS_LISTED: Self = Self {
        connections: 10_000,                      // DESIGN "Config"
        head_timeout: Duration::from_secs(10),    // DESIGN "Config"
        connect_timeout: Duration::from_secs(10), // a lost SYN is sent again after 1, 3 and 7 s: RFC 6298 section 2
        idle_timeout: Duration::from_secs(3600), // a model may think, and a long poll may wait, for half an hour (W09)
        memory: None,
        pids: None,
        cpus: None,
    };
}

/// An amount of memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A share of processors, in thousandths of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus {
    /// Thousandths of one processor.
    pub milli: u32,
}
