//! Which TCP sockets there are in a namespace, asked over its `sock_diag` socket.

use std::os::fd::OwnedFd;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NetlinkBuffer};
use rustix::net::{RecvFlags, SendFlags};

/// One IPv4 TCP socket.
#[derive(Debug)]
pub(crate) struct TcpSocket {
    pub(crate) from: u16,
    pub(crate) to: u16,
    pub(crate) inode: u32,
}

/// All IPv4 TCP sockets of the namespace that the socket was made in.
pub(crate) fn tcp_sockets(diag: &OwnedFd) -> Vec<TcpSocket> {
    rustix::io::ioctl_fionbio(diag, false).unwrap();
    rustix::net::send(diag, &request(), SendFlags::empty()).unwrap();
    let mut sockets = Vec::new();
    loop {
        let mut bytes = vec![0; 65_536];
        let (read, _) = rustix::net::recv(diag, &mut bytes, RecvFlags::empty()).unwrap();
        let mut rest = &bytes[..read];
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).unwrap();
            if message.message_type() == NLMSG_DONE {
                return sockets;
            }
            // inet_diag.h, struct inet_diag_msg
            let body = &rest[16..];
            sockets.push(TcpSocket {
                from: u16::from_be_bytes([body[4], body[5]]),
                to: u16::from_be_bytes([body[6], body[7]]),
                inode: u32::from_ne_bytes(body[68..72].try_into().unwrap()),
            });
            let length = usize::try_from(message.length()).unwrap();
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// `inet_diag.h`, struct `inet_diag_req_v2`: IPv4, TCP, every state, any address.
fn request() -> Vec<u8> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    let mut bytes = Vec::new();
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend([0; 8]); // sequence number and port
    bytes.extend([2, 6, 0, 0]); // AF_INET, IPPROTO_TCP
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend([0; 48]);
    bytes
}
