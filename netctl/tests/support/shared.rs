//! An agent and a proxy in a namespace that has egress, and what they meet there.

use std::io::ErrorKind;
use std::net::{TcpStream, UdpSocket};

use netctl::kernel;
use rustix::io::Errno;

use super::peer::{Peer, world};
use super::{Role, inside_as};

/// Runs `body` in a world whose rules are those of [`super::shared`], as each of the roles.
pub(crate) fn fenced(roles: &[Role], name: &str, body: fn(Role, Peer)) {
    for role in roles {
        inside_as(*role, name, |become_role| {
            let peer = world();
            kernel::replace(&super::shared()).unwrap();
            become_role();
            body(*role, peer);
        });
    }
}

/// The connection is refused, at once.
pub(crate) fn refused(address: &str) {
    let error = TcpStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}");
}

/// The connection is made.
pub(crate) fn reached(address: &str) {
    TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
}

/// What becomes of a datagram.
pub(crate) fn datagram(address: &str) -> Result<usize, Errno> {
    let any = if address.starts_with('[') {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let sent = UdpSocket::bind(any).unwrap().send_to(b"datagram", address);
    sent.map_err(|error| Errno::from_io_error(&error).unwrap())
}
