//! The conditions and actions that our rules are made of, and how `nft` spells them.
//!
//! Not here: which rules there are (`plan`), and how the kernel encodes them (`expression`).

use std::fmt;
use std::net::IpAddr;

use crate::spec::{NflogGroup, Port, PortRange, Uid};

/// One condition of a rule. A rule matches where all of its conditions hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// The packet is addressed to exactly this address.
    Destination(IpAddr),
    /// The packet is of this protocol, for a port in this range.
    DestinationPort(Transport, PortRange),
    /// Conntrack has seen the other direction, or ties the packet to such a flow (an ICMP error, a reset).
    Established,
    /// The packet came in by `lo`.
    FromLoopbackInterface,
    /// The packet is addressed to 127.0.0.0/8 or `::1`.
    Loopback(Family),
    /// IPv6 neighbour discovery, with the hop limit that only a neighbour can send (RFC 4861 section 7.1).
    Neighbour(Discovery),
    /// The packet is of that family, and is not addressed to its loopback.
    NotLoopback(Family),
    /// The packet is of any other protocol.
    NotProtocol(Transport),
    /// The packet is of this protocol.
    Protocol(Transport),
    /// The packet goes out by `lo`.
    ToLoopbackInterface,
    /// The socket that sent the packet was made by this user.
    Uid(Uid),
}

/// A transport protocol that rules speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// The messages of neighbour discovery that hosts need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// Type 136.
    NeighbourAdvertisement,
    /// Type 135.
    NeighbourSolicitation,
    /// Type 134.
    RouterAdvertisement,
    /// Type 133.
    RouterSolicitation,
}

/// What a rule does with a packet that it matches; the last one of a rule may end the packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The packet passes this chain.
    Accept,
    /// The packet is counted.
    Count,
    /// The rule goes on only for so many packets a second.
    Limit(PerSecond),
    /// The packet's head goes to the NFLOG group.
    Log(Log),
    /// The packet goes to this port of the loopback instead, and its replies come back as if it had not.
    Redirect(Port),
    /// An ICMP error "administratively prohibited" goes back.
    RejectProhibited,
    /// A TCP reset goes back.
    RejectReset,
}

/// So many packets a second, with a burst of as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerSecond(pub u32);

/// How a packet is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Where to.
    pub group: NflogGroup,
    /// Which clause refused it: the prefix of the message.
    pub prefix: crate::clause::Clause,
}

impl Log {
    /// Bytes of the packet that are logged: an IPv6 header (40), some extension headers, and the ports.
    pub const SNAPLEN: u32 = 128;
    /// Messages that the kernel gathers before it wakes the reader; a timer (`kernel/sockets.rs`) delivers fewer.
    pub const THRESHOLD: u16 = 32;
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destination(address) => {
                write!(f, "{} daddr {address}", Family::of(*address))
            }
            Self::DestinationPort(transport, ports) => write!(f, "{transport} dport {ports}"),
            Self::Established => f.write_str("ct state established,related"),
            Self::FromLoopbackInterface => f.write_str("iif \"lo\""),
            Self::Loopback(family) => write!(f, "{family} daddr {}", loopback(*family)),
            Self::Neighbour(discovery) => {
                write!(f, "ip6 hoplimit 255 icmpv6 type {discovery}")
            }
            Self::NotLoopback(family) => write!(f, "{family} daddr != {}", loopback(*family)),
            Self::NotProtocol(transport) => write!(f, "meta l4proto != {transport}"),
            Self::Protocol(transport) => write!(f, "meta l4proto {transport}"),
            Self::ToLoopbackInterface => f.write_str("oif \"lo\""),
            Self::Uid(uid) => write!(f, "meta skuid {uid}"),
        }
    }
}

const fn loopback(family: Family) -> &'static str {
    match family {
        Family::V4 => "127.0.0.0/8", // RFC 1122 section 3.2.1.3 (g)
        Family::V6 => "::1",         // RFC 4291 section 2.5.3
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        })
    }
}

impl fmt::Display for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeighbourAdvertisement => "nd-neighbor-advert",
            Self::NeighbourSolicitation => "nd-neighbor-solicit",
            Self::RouterAdvertisement => "nd-router-advert",
            Self::RouterSolicitation => "nd-router-solicit",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Count => f.write_str("counter"),
            Self::Limit(PerSecond(rate)) => {
                write!(f, "limit rate {rate}/second burst {rate} packets")
            }
            Self::Log(log) => write!(
                f,
                "log prefix \"{}\" group {} snaplen {} queue-threshold {}",
                log.prefix,
                log.group.get(),
                Log::SNAPLEN,
                Log::THRESHOLD
            ),
            Self::Redirect(port) => write!(f, "redirect to :{port}"),
            Self::RejectProhibited => f.write_str("reject with icmpx admin-prohibited"),
            Self::RejectReset => f.write_str("reject with tcp reset"),
        }
    }
}
