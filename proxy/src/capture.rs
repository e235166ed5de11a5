//! Names the destination of a captured connection; the address that the client chose is never dialled.
//!
//! Clauses: W5

use std::net::SocketAddr;

use policies::Host;

/// Where a captured connection was going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedDestination {
    /// The name that the synthetic address was issued for; `None` for an address that never was issued.
    pub host: Option<Host>,
    /// What the client connected to.
    pub original: SocketAddr,
}
