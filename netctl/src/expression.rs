//! Rules in the kernel's own terms: the `nf_tables` expressions that a rule is made of.
//!
//! [`lower`] is pure, and gives what `nft` gives for the rule's text; the kernel is told exactly this (`kernel/netlink.rs`),
//! and what it tells back is read into this (`kernel/decode.rs`), so that two rule sets are equal if these are.
//! Ports are big-endian here and nowhere else; the kernel compares bytes.
//!
//! Not here: netlink.
//!
//! Clauses: N10.

use std::fmt;
use std::net::IpAddr;

use crate::matcher::{Action, Discovery, Family, Log, Match, Transport};
use crate::plan::Rule;

/// One `nf_tables` expression, of those that our rules need. All work on register 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// The packet passes the chain.
    Accept,
    /// The rule goes on if the register compares so.
    Compare(Comparison, Vec<u8>),
    /// The register becomes the flow's state, as a bit of the host's byte order.
    ConntrackState,
    /// The packet is counted.
    Counter,
    /// The rule goes on for so many packets a second, with this burst.
    Limit {
        /// Packets a second.
        rate: u64,
        /// Packets at once.
        burst: u32,
    },
    /// The register becomes this port, in network byte order.
    Load([u8; 2]),
    /// The packet's head goes to NFLOG.
    Log {
        /// The group.
        group: u16,
        /// The prefix.
        prefix: String,
        /// Bytes of the packet.
        snaplen: u32,
        /// Messages gathered before the reader is woken.
        threshold: u16,
    },
    /// The register is masked.
    Mask(Vec<u8>),
    /// The register becomes this property of the packet.
    Meta(Meta),
    /// The register becomes these bytes of the packet.
    Payload(Payload),
    /// The packet goes to the loopback's port that the register holds.
    Redirect,
    /// The packet is answered with an ICMP error.
    RejectProhibited,
    /// The packet is answered with a TCP reset.
    RejectReset,
}

/// How the register is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// The register is the greater, or equal.
    AtLeast,
    /// The register is the smaller, or equal.
    AtMost,
}

/// Properties of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    /// Index of the interface that it came by.
    InputInterface,
    /// Index of the interface that it goes by.
    OutputInterface,
    /// IPv4 or IPv6.
    Family,
    /// Transport protocol.
    Protocol,
    /// Uid of the socket's maker.
    SocketUid,
}

/// Bytes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Which header.
    pub header: Header,
    /// From this byte on.
    pub offset: u32,
    /// So many bytes.
    pub length: u32,
}

/// A packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// IP.
    Network,
    /// TCP, UDP, ICMP.
    Transport,
}

/// The expressions of a rule, in order.
#[must_use]
pub fn lower(rule: &Rule) -> Vec<Expression> {
    let mut expressions = Vec::new();
    for condition in &rule.matches {
        lower_match(*condition, &mut expressions);
    }
    for action in &rule.actions {
        lower_action(*action, &mut expressions);
    }
    expressions
}

use Comparison::{AtLeast, AtMost, Equal, NotEqual};

fn lower_match(condition: Match, to: &mut Vec<Expression>) {
    match condition {
        Match::Destination(address) => {
            family(Family::of(address), to);
            match address {
                IpAddr::V4(v4) => compare(destination(4, Family::V4), Equal, v4.octets(), to),
                IpAddr::V6(v6) => compare(destination(16, Family::V6), Equal, v6.octets(), to),
            }
        }
        Match::DestinationPort(transport, ports) => {
            protocol(Equal, transport, to);
            let (first, last) = (ports.first().get(), ports.last().get());
            to.push(Expression::Payload(DESTINATION_PORT));
            if first == last {
                to.push(Expression::Compare(Equal, first.to_be_bytes().into()));
            } else {
                to.push(Expression::Compare(AtLeast, first.to_be_bytes().into()));
                to.push(Expression::Compare(AtMost, last.to_be_bytes().into()));
            }
        }
        Match::Established => {
            let states = NF_CT_STATE_ESTABLISHED | NF_CT_STATE_RELATED;
            to.push(Expression::ConntrackState);
            to.push(Expression::Mask(states.to_ne_bytes().into()));
            to.push(Expression::Compare(NotEqual, vec![0; 4]));
        }
        Match::FromLoopbackInterface => meta(Meta::InputInterface, LOOPBACK_INDEX, to),
        Match::Loopback(of) => loopback(Equal, of, to),
        Match::Neighbour(discovery) => neighbour(discovery, to),
        Match::NotLoopback(of) => loopback(NotEqual, of, to),
        Match::NotProtocol(transport) => protocol(NotEqual, transport, to),
        Match::Protocol(transport) => protocol(Equal, transport, to),
        Match::ToLoopbackInterface => meta(Meta::OutputInterface, LOOPBACK_INDEX, to),
        Match::Uid(uid) => meta(Meta::SocketUid, uid.get(), to),
    }
}

fn meta(key: Meta, value: u32, to: &mut Vec<Expression>) {
    to.push(Expression::Meta(key));
    to.push(Expression::Compare(Equal, value.to_ne_bytes().into()));
}

fn compare(payload: Payload, how: Comparison, bytes: impl Into<Vec<u8>>, to: &mut Vec<Expression>) {
    to.push(Expression::Payload(payload));
    to.push(Expression::Compare(how, bytes.into()));
}

fn family(family: Family, to: &mut Vec<Expression>) {
    let number = match family {
        Family::V4 => 2,  // netfilter.h NFPROTO_IPV4
        Family::V6 => 10, // netfilter.h NFPROTO_IPV6
    };
    to.push(Expression::Meta(Meta::Family));
    to.push(Expression::Compare(Equal, vec![number]));
}

fn protocol(how: Comparison, transport: Transport, to: &mut Vec<Expression>) {
    let number = match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    };
    to.push(Expression::Meta(Meta::Protocol));
    to.push(Expression::Compare(how, vec![number]));
}

fn loopback(how: Comparison, of: Family, to: &mut Vec<Expression>) {
    family(of, to);
    match of {
        Family::V4 => compare(destination(1, of), how, [127], to), // a /8 is the first byte
        Family::V6 => compare(
            destination(16, of),
            how,
            std::net::Ipv6Addr::LOCALHOST.octets(),
            to,
        ),
    }
}

fn neighbour(discovery: Discovery, to: &mut Vec<Expression>) {
    let kind = match discovery {
        Discovery::RouterSolicitation => 133,
        Discovery::RouterAdvertisement => 134,
        Discovery::NeighbourSolicitation => 135,
        Discovery::NeighbourAdvertisement => 136,
    };
    family(Family::V6, to);
    compare(HOP_LIMIT, Equal, [255], to);
    to.push(Expression::Meta(Meta::Protocol));
    to.push(Expression::Compare(Equal, vec![58])); // IANA: ICMPv6
    compare(ICMP_TYPE, Equal, [kind], to);
}

fn lower_action(action: Action, to: &mut Vec<Expression>) {
    match action {
        Action::Accept => to.push(Expression::Accept),
        Action::Count => to.push(Expression::Counter),
        Action::Limit(per_second) => to.push(Expression::Limit {
            rate: per_second.0.into(),
            burst: per_second.0,
        }),
        Action::Log(log) => to.push(Expression::Log {
            group: log.group.get(),
            prefix: log.prefix.to_string(),
            snaplen: Log::SNAPLEN,
            threshold: Log::THRESHOLD,
        }),
        Action::Redirect(port) => {
            to.push(Expression::Load(port.get().to_be_bytes()));
            to.push(Expression::Redirect);
        }
        Action::RejectProhibited => to.push(Expression::RejectProhibited),
        Action::RejectReset => to.push(Expression::RejectReset),
    }
}

/// `lo` is the first interface of every network namespace (net/core/dev.h `LOOPBACK_IFINDEX`).
const LOOPBACK_INDEX: u32 = 1;
/// `nf_conntrack_common.h`, `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)`.
const NF_CT_STATE_ESTABLISHED: u32 = 2;
/// `nf_conntrack_common.h`, `NF_CT_STATE_BIT(IP_CT_RELATED)`.
const NF_CT_STATE_RELATED: u32 = 4;

/// RFC 9293 and RFC 768 agree.
const DESTINATION_PORT: Payload = Payload {
    header: Header::Transport,
    offset: 2,
    length: 2,
};
/// RFC 8200 section 3.
const HOP_LIMIT: Payload = Payload {
    header: Header::Network,
    offset: 7,
    length: 1,
};
/// RFC 4443 section 2.1.
const ICMP_TYPE: Payload = Payload {
    header: Header::Transport,
    offset: 0,
    length: 1,
};

const fn destination(length: u32, family: Family) -> Payload {
    let offset = match family {
        Family::V4 => 16, // RFC 791 section 3.1
        Family::V6 => 24, // RFC 8200 section 3
    };
    Payload {
        header: Header::Network,
        offset,
        length,
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Compare(how, bytes) => {
                let sign = match how {
                    Equal => "==",
                    NotEqual => "!=",
                    AtLeast => ">=",
                    AtMost => "<=",
                };
                write!(f, "{sign} {}", hex(bytes))
            }
            Self::ConntrackState => f.write_str("ct state"),
            Self::Counter => f.write_str("counter"),
            Self::Limit { rate, burst } => write!(f, "limit {rate}/second burst {burst}"),
            Self::Load(bytes) => write!(f, "load {}", hex(bytes)),
            Self::Log {
                group,
                prefix,
                snaplen,
                threshold,
            } => write!(
                f,
                "log {prefix:?} group {group} snaplen {snaplen} queue-threshold {threshold}"
            ),
            Self::Mask(bytes) => write!(f, "& {}", hex(bytes)),
            Self::Meta(key) => f.write_str(match key {
                Meta::InputInterface => "meta iif",
                Meta::OutputInterface => "meta oif",
                Meta::Family => "meta nfproto",
                Meta::Protocol => "meta l4proto",
                Meta::SocketUid => "meta skuid",
            }),
            Self::Payload(payload) => {
                let header = match payload.header {
                    Header::Network => "nh",
                    Header::Transport => "th",
                };
                // As nft writes raw payloads: in bits.
                write!(f, "@{header},{},{}", payload.offset * 8, payload.length * 8)
            }
            Self::Redirect => f.write_str("redirect"),
            Self::RejectProhibited => f.write_str("reject with icmpx admin-prohibited"),
            Self::RejectReset => f.write_str("reject with tcp reset"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}
