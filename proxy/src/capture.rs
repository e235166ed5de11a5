//! Names the destination of a captured connection; the address that the client chose is never dialled.
//!
//! The kernel tells where the client connected to before the redirect; if our own DNS answer led it there, the name in
//! that answer is the destination. The name keeps its address for as long as the connection lives.
//!
//! Not here: what a connection opens with, and what is done with an address that was never issued (`transparent`).
//!
//! Clauses: W5

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use policies::Host;
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::synthetic::{Held, Synthetic};

/// Where a captured connection was going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedDestination {
    /// The name that the synthetic address was issued for; `None` for an address that never was issued.
    pub host: Option<Host>,
    /// What the client connected to.
    pub original: SocketAddr,
}

/// A captured connection's destination, and the hold on its name, to be kept until the connection ends.
#[derive(Debug)]
pub struct Caught {
    /// Where it was going.
    pub destination: CapturedDestination,
    /// Keeps the name's address from being given to another one.
    pub held: Option<Held>,
}

/// Names destinations by the synthetic addresses of one run.
#[derive(Clone, Debug)]
pub struct Capture {
    names: Synthetic,
}

impl Capture {
    /// By that table.
    #[must_use]
    pub fn new(names: Synthetic) -> Self {
        Self { names }
    }

    /// Where a redirected connection was going.
    ///
    /// A client that connected to the listener itself was going there: to an address that was never issued.
    ///
    /// # Errors
    /// The kernel does not say: the connection ended, or is none.
    pub fn caught(&self, stream: &TcpStream) -> io::Result<Caught> {
        let local = stream.local_addr()?;
        let original = redirected_from(stream, local).unwrap_or(local);
        Ok(self.named(canonical(original)))
    }

    fn named(&self, original: SocketAddr) -> Caught {
        let held = match original.ip() {
            IpAddr::V4(address) => self.names.hold(address, Instant::now()),
            IpAddr::V6(_) => None, // no answer of ours has one
        };
        let host = held.as_ref().map(|held| Host::Name(held.name().clone()));
        Caught {
            destination: CapturedDestination { host, original },
            held,
        }
    }
}

/// What the client connected to, if the connection was redirected; connection tracking knows.
fn redirected_from(stream: &TcpStream, local: SocketAddr) -> Option<SocketAddr> {
    let socket = stream.as_fd();
    match canonical(local) {
        SocketAddr::V4(_) => sockopt::ip_original_dst(socket).ok().map(SocketAddr::V4),
        SocketAddr::V6(_) => sockopt::ipv6_original_dst(socket).ok().map(SocketAddr::V6),
    }
}

/// An IPv4 address is one, also where a socket of IPv6 shows it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
