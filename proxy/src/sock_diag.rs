//! Asks the kernel for the inode of a connected TCP socket, in the namespace that the asking socket was made in.
//!
//! No capability is needed for that, and the namespace need not be ours: the socket was passed to us.
//!
//! Not here: whose the inode is (`processes`).
//!
//! Clauses: R1.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{RecvFlags, SendFlags};

use crate::netlink;

/// `linux/sock_diag.h`, `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `linux/in.h`, `IPPROTO_TCP`.
const TCP: u8 = 6;
/// `linux/tcp.h`, `TCP_ESTABLISHED`; a listener is found too where no connection is, and is not one.
const ESTABLISHED: u8 = 1;
/// `linux/socket.h`, `AF_INET` and `AF_INET6`.
const FAMILIES: [u8; 2] = [2, 10];
/// `linux/inet_diag.h`, `INET_DIAG_NOCOOKIE`: whichever socket it is.
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// `linux/inet_diag.h`, struct `inet_diag_msg`: where the inode stands.
const INODE: usize = 68;
/// One answer has some 100 bytes, an error 40 and the question.
const ANSWER: usize = 1024;

/// The socket that asks.
#[derive(Debug)]
pub(crate) struct SockDiag(OwnedFd);

impl SockDiag {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// The inode of the socket that is connected from `local` to `remote`, as its owner sees it.
    pub(crate) fn inode(&self, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
        let id = identity(local, remote)?;
        self.discard();
        let message = netlink::request(BY_FAMILY, &question(local, &id));
        rustix::net::send(&self.0, &message, SendFlags::DONTWAIT).ok()?;
        // The kernel answers before send returns.
        let mut buffer = [0; ANSWER];
        let (_, length) = rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT).ok()?;
        answered(buffer.get(..length)?, &id)
    }

    /// Whatever an earlier question left, so that no answer is taken for another's.
    fn discard(&self) {
        let mut buffer = [0; ANSWER];
        while rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT).is_ok() {}
    }
}

/// `linux/inet_diag.h`, the start of struct `inet_diag_sockid`: ports and addresses in network order.
type Identity = [u8; 36];

fn identity(local: SocketAddr, remote: SocketAddr) -> Option<Identity> {
    let (local_ip, remote_ip) = (local.ip().to_canonical(), remote.ip().to_canonical());
    if local_ip.is_ipv4() != remote_ip.is_ipv4() {
        return None;
    }
    let mut id = Vec::with_capacity(36);
    id.extend_from_slice(&local.port().to_be_bytes());
    id.extend_from_slice(&remote.port().to_be_bytes());
    id.extend_from_slice(&address(local_ip));
    id.extend_from_slice(&address(remote_ip));
    id.try_into().ok()
}

fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// `linux/inet_diag.h`, struct `inet_diag_req_v2`.
fn question(local: SocketAddr, id: &Identity) -> Vec<u8> {
    let [four, six] = FAMILIES;
    let family = if local.ip().to_canonical().is_ipv4() {
        four
    } else {
        six
    };
    let mut question = vec![family, TCP, 0, 0];
    question.extend_from_slice(&[0xff; 4]); // every state
    question.extend_from_slice(id);
    question.extend_from_slice(&[0; 4]); // any interface
    question.extend_from_slice(&NO_COOKIE);
    question
}

/// The inode of the answer, if it is about an established connection of that very identity.
fn answered(bytes: &[u8], id: &Identity) -> Option<u32> {
    let answer = netlink::messages(bytes).find(|message| message.kind == BY_FAMILY)?;
    let state = *answer.payload.get(1)?;
    let about = answer.payload.get(4..)?.first_chunk::<36>()?;
    let inode = u32::from_ne_bytes(*answer.payload.get(INODE..)?.first_chunk()?);
    // IPv6 clients of IPv4 addresses are shown with the mapped form: their ports must do.
    let same = about == id || about.first_chunk::<4>() == id.first_chunk::<4>();
    (state == ESTABLISHED && same && inode != 0).then_some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink::SOCK_DIAG, socket_with};

    fn diag() -> SockDiag {
        let flags = SocketFlags::CLOEXEC;
        SockDiag::new(
            socket_with(
                AddressFamily::NETLINK,
                SocketType::DGRAM,
                flags,
                Some(SOCK_DIAG),
            )
            .unwrap(),
        )
    }

    #[expect(clippy::disallowed_methods, reason = "the test is the client")]
    fn connect(to: SocketAddr) -> TcpStream {
        TcpStream::connect(to).unwrap()
    }

    fn inode_of(stream: &TcpStream) -> u32 {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap();
        let text = link.to_str().unwrap().strip_prefix("socket:[").unwrap();
        text.strip_suffix(']').unwrap().parse().unwrap()
    }

    #[test]
    fn a_connected_socket_has_the_inode_that_proc_shows() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let client = connect(listener.local_addr().unwrap());
            let found = diag().inode(client.local_addr().unwrap(), client.peer_addr().unwrap());
            assert_eq!(found, Some(inode_of(&client)));
        }
    }

    #[test]
    fn each_end_has_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = connect(listener.local_addr().unwrap());
        let (server, peer) = listener.accept().unwrap();
        let diag = diag();
        let local = server.local_addr().unwrap();
        assert_eq!(diag.inode(peer, local), Some(inode_of(&client)));
        assert_eq!(diag.inode(local, peer), Some(inode_of(&server)));
    }

    #[test]
    fn an_ipv6_socket_that_speaks_ipv4_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = connect(format!("[::ffff:127.0.0.1]:{port}").parse().unwrap());
        let (server, peer) = listener.accept().unwrap();
        assert_eq!(
            diag().inode(peer, server.local_addr().unwrap()),
            Some(inode_of(&client))
        );
    }

    #[test]
    fn a_listener_alone_a_closed_connection_and_mixed_families_are_not_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let diag = diag();
        assert_eq!(diag.inode(address, nobody), None);
        assert_eq!(diag.inode(nobody, address), None);
        assert_eq!(diag.inode("[::1]:1".parse().unwrap(), address), None);
        // After all that the next answer is still the right one.
        let client = connect(address);
        let found = diag.inode(client.local_addr().unwrap(), address);
        assert_eq!(found, Some(inode_of(&client)));
    }

    #[test]
    fn every_prefix_of_an_answer_and_one_about_another_connection_are_nothing() {
        let id = [7; 36];
        let mut payload = vec![2, ESTABLISHED, 0, 0];
        payload.extend_from_slice(&id);
        payload.resize(INODE, 0);
        payload.extend_from_slice(&42_u32.to_ne_bytes());
        let whole = netlink::request(BY_FAMILY, &payload);
        assert_eq!(answered(&whole, &id), Some(42));
        assert_eq!(answered(&whole, &[8; 36]), None);
        for end in 0..whole.len() {
            assert_eq!(answered(&whole[..end], &id), None, "{end}");
        }
    }
}
