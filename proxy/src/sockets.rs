//! The sockets of the agent's namespace: receives them from `ocs-netctl` and checks each for what it is said to be.
//!
//! The contract is `docs/architecture.md`, "How listeners cross". The other side is ours, and is still not believed:
//! a descriptor that is not exactly what its name says is refused, and with it the whole hand-over.
//!
//! Not here: what is served on the sockets (`listener`, `capture`, `dns_stub`, `packets`), and what the same channel
//! carries afterwards (`dial_in`).
//!
//! Clauses: U1.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketType,
    netlink, sockopt,
};
use serde::Deserialize;
use tokio::io::unix::AsyncFd;

/// What `ocs-netctl` handed over, each checked to be what its name says.
#[derive(Debug, Default)]
pub struct Passed {
    /// Listeners for clients that honour proxy variables.
    pub explicit: Vec<TcpListener>,
    /// Listeners that redirected connections arrive at.
    pub capture: Vec<TcpListener>,
    /// Sockets of the DNS stub.
    pub dns_udp: Vec<UdpSocket>,
    /// Listeners of the DNS stub.
    pub dns_tcp: Vec<TcpListener>,
    /// The kernel's log of packets that it rejected, where the kernel has one.
    pub nflog: Option<OwnedFd>,
    /// Answers which socket has which inode, in the namespace that it was made in.
    pub sock_diag: Option<OwnedFd>,
}

impl Passed {
    fn insert(&mut self, name: Name, fd: OwnedFd) -> Result<(), SocketsError> {
        name.check(fd.as_fd())
            .map_err(|what| SocketsError::NotAsNamed { name, what })?;
        match name {
            Name::Explicit4 | Name::Explicit6 => self.explicit.push(fd.into()),
            Name::Capture4 | Name::Capture6 => self.capture.push(fd.into()),
            Name::DnsTcp4 | Name::DnsTcp6 => self.dns_tcp.push(fd.into()),
            Name::DnsUdp4 | Name::DnsUdp6 => self.dns_udp.push(fd.into()),
            Name::Nflog => self.nflog = Some(fd),
            Name::SockDiag => self.sock_diag = Some(fd),
        }
        Ok(())
    }
}

/// Why the hand-over was refused.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// The connection failed.
    #[error("read the message with the namespace's sockets")]
    Io(#[from] io::Error),
    /// The other side closed it before the sockets came.
    #[error("the connection to ocs-netctl closed before the namespace's sockets came")]
    Closed,
    /// The message was cut: longer than any that the contract knows.
    #[error("the message with the namespace's sockets was cut by the kernel")]
    Cut,
    /// The message is not the one of the contract.
    #[error("the message with the namespace's sockets is not the contract's")]
    Malformed(#[source] serde_json::Error),
    /// It speaks a version that we do not.
    #[error(
        "ocs-netctl speaks version {0} of the hand-over, not 1: install both programs from one release"
    )]
    Version(u32),
    /// As many names as descriptors are wanted.
    #[error("{names} names came with {descriptors} descriptors")]
    Count {
        /// Names in the message.
        names: usize,
        /// Descriptors beside it.
        descriptors: usize,
    },
    /// One name twice.
    #[error("socket {0} came twice")]
    Twice(Name),
    /// A socket without which nothing can be fenced.
    #[error("socket {0} did not come")]
    Missing(Name),
    /// A descriptor that is not what its name says.
    #[error("socket {name} is not what its name says: {what}")]
    NotAsNamed {
        /// The name.
        name: Name,
        /// How it differs.
        what: Difference,
    },
}

/// The names of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// `explicit4`
    Explicit4,
    /// `explicit6`
    Explicit6,
    /// `capture4`
    Capture4,
    /// `capture6`
    Capture6,
    /// `dns-udp4`
    DnsUdp4,
    /// `dns-udp6`
    DnsUdp6,
    /// `dns-tcp4`
    DnsTcp4,
    /// `dns-tcp6`
    DnsTcp6,
    /// `nflog`
    Nflog,
    /// `sock-diag`
    SockDiag,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Explicit4 => "explicit4",
            Self::Explicit6 => "explicit6",
            Self::Capture4 => "capture4",
            Self::Capture6 => "capture6",
            Self::DnsUdp4 => "dns-udp4",
            Self::DnsUdp6 => "dns-udp6",
            Self::DnsTcp4 => "dns-tcp4",
            Self::DnsTcp6 => "dns-tcp6",
            Self::Nflog => "nflog",
            Self::SockDiag => "sock-diag",
        })
    }
}

/// How a descriptor differs from its name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// No socket at all, or one that will not say what it is.
    #[error("it does not say what it is")]
    Unreadable,
    /// Another address family.
    #[error("another address family")]
    Family,
    /// Another type of socket.
    #[error("another type of socket")]
    Type,
    /// Another protocol.
    #[error("another protocol")]
    Protocol,
    /// A listener is wanted, or is not.
    #[error("listening, or not, against its name")]
    Listening,
    /// Bound to something that is not loopback, or not bound.
    #[error("not bound to a loopback address")]
    Bound,
}

/// What the kernel must say about a socket.
struct Shape {
    family: AddressFamily,
    kind: SocketType,
    listens: bool,
}

impl Name {
    /// In the sealed topology every IPv4 socket must be there; IPv6 may be off, and a kernel may lack NFLOG.
    const REQUIRED: [Self; 4] = [
        Self::Explicit4,
        Self::Capture4,
        Self::DnsUdp4,
        Self::DnsTcp4,
    ];

    fn check(self, fd: BorrowedFd<'_>) -> Result<(), Difference> {
        match self {
            Self::Explicit4 | Self::Capture4 | Self::DnsTcp4 => {
                bound(fd, &stream(AddressFamily::INET))
            }
            Self::Explicit6 | Self::Capture6 | Self::DnsTcp6 => {
                bound(fd, &stream(AddressFamily::INET6))
            }
            Self::DnsUdp4 => bound(fd, &datagram(AddressFamily::INET)),
            Self::DnsUdp6 => bound(fd, &datagram(AddressFamily::INET6)),
            Self::Nflog => netlink_of(fd, netlink::NETFILTER),
            Self::SockDiag => netlink_of(fd, netlink::SOCK_DIAG),
        }
    }
}

fn stream(family: AddressFamily) -> Shape {
    Shape {
        family,
        kind: SocketType::STREAM,
        listens: true,
    }
}

fn datagram(family: AddressFamily) -> Shape {
    Shape {
        family,
        kind: SocketType::DGRAM,
        listens: false,
    }
}

fn bound(fd: BorrowedFd<'_>, shape: &Shape) -> Result<(), Difference> {
    if sockopt::socket_domain(fd).map_err(unreadable)? != shape.family {
        return Err(Difference::Family);
    }
    if sockopt::socket_type(fd).map_err(unreadable)? != shape.kind {
        return Err(Difference::Type);
    }
    if sockopt::socket_acceptconn(fd).map_err(unreadable)? != shape.listens {
        return Err(Difference::Listening);
    }
    let address = rustix::net::getsockname(fd).map_err(unreadable)?;
    let address = std::net::SocketAddr::try_from(address).map_err(unreadable)?;
    if address.port() == 0 || !is_loopback(address.ip()) {
        return Err(Difference::Bound);
    }
    Ok(())
}

fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback()
}

fn netlink_of(fd: BorrowedFd<'_>, protocol: rustix::net::Protocol) -> Result<(), Difference> {
    if sockopt::socket_domain(fd).map_err(unreadable)? != AddressFamily::NETLINK {
        return Err(Difference::Family);
    }
    if sockopt::socket_protocol(fd).map_err(unreadable)? != Some(protocol) {
        return Err(Difference::Protocol);
    }
    Ok(())
}

fn unreadable(_: rustix::io::Errno) -> Difference {
    Difference::Unreadable
}

/// Longest message of the contract: ten names in JSON are under 200 bytes; an error text may be longer.
const MESSAGE_MAX: usize = 4096;
/// More descriptors than the contract has names: a message with more is cut, and refused as such.
const DESCRIPTORS_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SocketsMessage {
    v: u32,
    #[serde(rename = "kind")]
    _kind: SocketsKind,
    names: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SocketsKind {
    Sockets,
}

/// Receives the namespace's sockets over `channel`, waiting for them.
///
/// # Errors
/// [`SocketsError`]: whatever is not exactly the contract's message. Descriptors that came are closed again.
pub fn receive(channel: BorrowedFd<'_>) -> Result<Passed, SocketsError> {
    let (bytes, descriptors) = read_message(channel, RecvFlags::empty())?;
    let message: SocketsMessage =
        serde_json::from_slice(&bytes).map_err(SocketsError::Malformed)?;
    if message.v != 1 {
        return Err(SocketsError::Version(message.v));
    }
    if message.names.len() != descriptors.len() {
        return Err(SocketsError::Count {
            names: message.names.len(),
            descriptors: descriptors.len(),
        });
    }
    let mut passed = Passed::default();
    let mut seen = Vec::new();
    for (name, fd) in message.names.into_iter().zip(descriptors) {
        if seen.contains(&name) {
            return Err(SocketsError::Twice(name));
        }
        seen.push(name);
        passed.insert(name, fd)?;
    }
    match Name::REQUIRED.into_iter().find(|name| !seen.contains(name)) {
        Some(missing) => Err(SocketsError::Missing(missing)),
        None => Ok(passed),
    }
}

/// One message whole, or an error: nothing cut is ever read.
pub(crate) fn read_message(
    channel: BorrowedFd<'_>,
    flags: RecvFlags,
) -> Result<(Vec<u8>, Vec<OwnedFd>), SocketsError> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut space =
        [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let read = loop {
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(
            channel,
            &mut buffers,
            &mut control,
            flags | RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.map_err(io::Error::from)?,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    if read
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(SocketsError::Cut);
    }
    if read.bytes == 0 {
        return Err(SocketsError::Closed);
    }
    bytes.truncate(read.bytes);
    Ok((bytes, descriptors))
}

/// Makes a passed descriptor non-blocking and has the runtime watch it.
///
/// # Errors
/// The descriptor cannot be watched (a regular file, say).
#[expect(
    deprecated,
    reason = "tokio 1.54 wants `unsafe` for descriptors that may close while watched; an `OwnedFd` cannot"
)]
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    AsyncFd::new(fd)
}

#[cfg(test)]
mod tests;
