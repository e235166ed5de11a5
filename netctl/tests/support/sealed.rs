//! An agent in a sealed namespace, and the proxy's part outside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc;

use rustix::io::Errno;

use super::holder::{Holder, Sockets};
use super::{SEALED, in_another_namespace, inside};

/// Runs `agent` in a sealed namespace and `proxy` outside it, and both to their ends.
pub(crate) fn sealed(
    name: &str,
    agent: impl FnOnce() + Send + 'static,
    proxy: impl FnOnce(&mut Sockets),
) {
    inside(name, || {
        let (hand_over, handed_over) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let inner = in_another_namespace(move || {
            let mut holder = Holder::start(&[], SEALED);
            assert_eq!(holder.ready()["ipv6"], true);
            hand_over.send(holder.sockets()).unwrap();
            wait.recv().unwrap();
            agent();
            assert!(holder.close().success());
        });
        let mut sockets = handed_over.recv().unwrap();
        go.send(()).unwrap();
        proxy(&mut sockets);
        inner.join().unwrap();
    });
}

/// An IPv4 address with a port.
pub(crate) fn v4(a: u8, b: u8, c: u8, d: u8, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port)
}

/// An IPv6 address with a port.
pub(crate) fn v6(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(text.parse::<Ipv6Addr>().unwrap().into(), port)
}

/// Where the client wanted to go, asked from outside the namespace, without a capability over it.
pub(crate) fn original(stream: &TcpStream) -> SocketAddr {
    let socket = socket2::SockRef::from(stream);
    let found = if stream.local_addr().unwrap().is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    found.unwrap().as_socket().unwrap()
}

/// What becomes of a datagram.
pub(crate) fn datagram(target: SocketAddr) -> Result<usize, Errno> {
    let any: IpAddr = if target.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let sent = UdpSocket::bind(SocketAddr::new(any, 0))
        .unwrap()
        .send_to(b"quic", target);
    sent.map_err(|error| Errno::from_io_error(&error).unwrap())
}

/// What becomes of a packet of another protocol.
pub(crate) fn raw(protocol: i32, bytes: &[u8], target: SocketAddr) -> Result<usize, Errno> {
    let domain = socket2::Domain::for_address(target);
    let socket = socket2::Socket::new(domain, socket2::Type::RAW, Some(protocol.into())).unwrap();
    let sent = socket.send_to(bytes, &target.into());
    sent.map_err(|error| Errno::from_io_error(&error).unwrap())
}

/// An echo request (RFC 792).
pub(crate) const PING: &[u8] = &[8, 0, 0xf7, 0xff, 0, 0, 0, 0];
/// An INIT from port 7 to port 9 (RFC 9260 section 3.3.2).
pub(crate) const SCTP_INIT: &[u8] = &[
    0, 7, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0,
    1,
];
