//! The sockets of a sealed namespace, made inside it for the proxy outside.
//!
//! A socket belongs to the network namespace that it was made in, whoever holds its descriptor: connections accepted
//! from these listeners, and their original destinations, are the namespace's.
//!
//! Not here: how descriptors travel (`hold`), what is served on them (the proxy).
//!
//! Clauses: N3, N4, N6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::abi::{NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG};
use super::{Ipv6, KernelError, request};
use crate::matcher::Log;
use crate::protocol::SocketName;
use crate::spec::{NflogGroup, Port, Sealed};

/// The namespace's sockets by name, in the order of the contract.
///
/// # Errors
/// [`KernelError`] of the first that the kernel would not give.
pub fn open(spec: &Sealed, ipv6: Ipv6) -> Result<Vec<(SocketName, OwnedFd)>, KernelError> {
    let wanted = [
        (SocketName::Explicit4, V4, spec.explicit(), Protocol::TCP),
        (SocketName::Explicit6, V6, spec.explicit(), Protocol::TCP),
        (SocketName::Capture4, V4, spec.capture(), Protocol::TCP),
        (SocketName::Capture6, V6, spec.capture(), Protocol::TCP),
        (SocketName::DnsUdp4, V4, spec.dns(), Protocol::UDP),
        (SocketName::DnsUdp6, V6, spec.dns(), Protocol::UDP),
        (SocketName::DnsTcp4, V4, spec.dns(), Protocol::TCP),
        (SocketName::DnsTcp6, V6, spec.dns(), Protocol::TCP),
    ];
    let mut sockets = Vec::new();
    for (name, address, port, protocol) in wanted {
        if address.is_ipv4() || ipv6 == Ipv6::On {
            sockets.push((name, inet(address, port, protocol)?));
        }
    }
    sockets.push((SocketName::Nflog, nflog(spec.nflog_group)?));
    sockets.push((SocketName::SockDiag, sock_diag()?));
    Ok(sockets)
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// As many as the kernel allows by default since Linux 5.4 (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Of questions that the stub has not read: what it does not read in time, all askers lose.
const DATAGRAM_QUEUE: usize = 8 << 20;

/// Has the kernel keep so many bytes that nobody has read yet: forced where that is allowed (`CAP_NET_ADMIN` in the
/// first user namespace), else as many as `net.core.rmem_max` allows.
///
/// # Errors
/// Those of setsockopt(2).
pub(super) fn queue(socket: impl AsFd, bytes: usize) -> rustix::io::Result<()> {
    sockopt::set_socket_recv_buffer_size_force(&socket, bytes)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, bytes))
}

fn inet(address: IpAddr, port: Port, protocol: Protocol) -> Result<OwnedFd, KernelError> {
    let at = SocketAddr::new(address, port.get());
    let open = || -> std::io::Result<OwnedFd> {
        let kind = if protocol == Protocol::TCP {
            Type::STREAM
        } else {
            Type::DGRAM
        };
        let socket = Socket::new(
            Domain::for_address(at),
            kind.nonblocking().cloexec(),
            Some(protocol),
        )?;
        if at.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if protocol == Protocol::TCP {
            // Not for UDP: there it would let the agent bind the same port, and take the stub's queries.
            socket.set_reuse_address(true)?;
        }
        socket.bind(&at.into())?;
        if protocol == Protocol::TCP {
            socket.listen(BACKLOG)?;
        } else {
            queue(&socket, DATAGRAM_QUEUE)?;
        }
        Ok(socket.into())
    };
    open().map_err(|source| KernelError::Refused {
        what: format!("listen on {at} inside the namespace"),
        source,
    })
}

/// What the kernel logs of one group. Every message has a number (`NFULNL_CFG_F_SEQ`), so that a reader who is too slow,
/// and whose queue overflows, still knows how many it missed.
fn nflog(group: NflogGroup) -> Result<OwnedFd, KernelError> {
    let about = format!("bind NFLOG group {}", group.get());
    let open = || -> rustix::io::Result<OwnedFd> {
        let socket = netlink_socket(netlink::NETFILTER)?;
        queue(&socket, NFLOG_QUEUE)?; // where it is less, as much is counted
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        let message = request(
            NFNL_SUBSYS_ULOG | NFULNL_MSG_CONFIG,
            flags,
            UNSPECIFIED,
            group.get(),
            &nflog_config(),
        );
        rustix::net::send(&socket, &message, SendFlags::empty())?;
        let mut answer = [0; 256];
        rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
        // Behind netlink's header of 16 bytes: the error number, negative, or 0.
        let number = answer
            .get(16..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .map(i32::from_ne_bytes);
        match number {
            Some(0) => Ok(socket),
            Some(number) => Err(rustix::io::Errno::from_raw_os_error(
                number.saturating_neg(),
            )),
            None => Err(rustix::io::Errno::BADMSG),
        }
    };
    open().map_err(|errno| KernelError::of(about, errno.into()))
}

const UNSPECIFIED: u8 = 0; // socket.h AF_UNSPEC
/// Bounds what a flood can occupy: 4 MiB of messages, some tens of thousands.
const NFLOG_QUEUE: usize = 4 << 20;

fn nflog_config() -> Vec<u8> {
    // nfnetlink_log.h, enum nfulnl_attr_config, in its order.
    const COMMAND: u16 = 1;
    const MODE: u16 = 2;
    const BUFFER: u16 = 3;
    const TIMEOUT: u16 = 4;
    const THRESHOLD: u16 = 5;
    const FLAGS: u16 = 6;
    const BIND: u8 = 1; // NFULNL_CFG_CMD_BIND
    const COPY_PACKET: u8 = 2; // NFULNL_COPY_PACKET
    const SEQUENCE: u16 = 1; // NFULNL_CFG_F_SEQ
    let [a, b, c, d] = Log::SNAPLEN.to_be_bytes();
    [
        attribute(COMMAND, &[BIND]),
        attribute(MODE, &[a, b, c, d, COPY_PACKET, 0]),
        attribute(BUFFER, &NFLOG_BATCH.to_be_bytes()),
        attribute(TIMEOUT, &NFLOG_PATIENCE.to_be_bytes()),
        attribute(THRESHOLD, &NFLOG_THRESHOLD.to_be_bytes()),
        attribute(FLAGS, &SEQUENCE.to_be_bytes()),
    ]
    .concat()
}

/// Room for a message of some 250 bytes; the queue is charged for the room, not for the message.
const NFLOG_BATCH: u32 = 1024;
/// In hundredths of a second; of no account, since every message is delivered at once.
const NFLOG_PATIENCE: u32 = 5;
/// Each packet is told when it is refused. What the kernel still gathered when a run ends would never be recorded (R6).
/// The least of this and the rule's own `queue-threshold` counts (`nfulnl_log_packet` in `nfnetlink_log.c`).
const NFLOG_THRESHOLD: u32 = 1;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Answers which socket of this namespace belongs to whom; needs no capability to be asked.
fn sock_diag() -> Result<OwnedFd, KernelError> {
    netlink_socket(netlink::SOCK_DIAG)
        .map_err(|errno| KernelError::of("a sock_diag socket", errno.into()))
}

fn netlink_socket(protocol: rustix::net::Protocol) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        Some(protocol),
    )?;
    rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, 0))?; // the kernel picks a free port
    Ok(socket)
}
