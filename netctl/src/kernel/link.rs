//! The links and routes of a sealed namespace: `lo` is up, every address is local by it, and there is no other way.
//!
//! No sysctl is needed. Forwarding is moot with one interface, and packets to addresses that `lo` does not have carry
//! the route that the output hook gave them, so reverse-path filters never see them.
//!
//! IPv6 may be off, in the kernel or in the namespace: then `lo` has no `::1`, no route is asked for, and no IPv6 packet
//! exists to be judged.
//!
//! `lo` gets one more address of each family. Nothing is reached by it: a connection to it is captured like any other.
//!
//! Not here: rules.
//!
//! Clauses: N1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mnl::Bus;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, ParseableParametrized,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::KernelError;
use super::channel::Channel;
use super::verify::Difference;
use crate::matcher::Family;

/// `lo` is the first interface of every network namespace (net/core/dev.h `LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;
/// rtnetlink.h `RT_TABLE_LOCAL`, which is looked up before every other table.
const TABLE_LOCAL: u8 = 255;
/// A resolver that asks only for families of which the machine has an address (getaddrinfo(3), `AI_ADDRCONFIG`) counts
/// neither 127.0.0.1 nor `::1` (glibc 2.36, `check_pf.c`): these count. Both are of the ranges for benchmarks, which are
/// never routed: RFC 2544 appendix C.2.2, RFC 5180 section 8. The proxy's stub never issues the first 256 of 198.18.0.0/15.
const COUNTED4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// See [`COUNTED4`].
const COUNTED6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);

/// Whether the namespace speaks IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6 {
    /// `lo` has `::1`.
    On,
    /// The kernel has no IPv6, or the namespace has it switched off.
    Off,
}

/// Nothing but `lo` is there to be sealed; anything else would be cut off from the world, and that is not what is asked.
///
/// # Errors
/// [`KernelError::Occupied`] with the other interfaces.
pub(super) fn refuse_others() -> Result<(), KernelError> {
    let others: Vec<String> = others(&links(&mut open()?)?).map(str::to_owned).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(KernelError::Occupied { interfaces: others })
}

/// Brings `lo` up, makes every address local by it, and gives it one that counts as an address.
pub(super) fn seal() -> Result<(), KernelError> {
    let mut channel = open()?;
    let mut up = LinkMessage::default();
    up.header.index = LOOPBACK;
    up.header.flags = LinkFlags::Up;
    up.header.change_mask = LinkFlags::Up;
    change(
        &mut channel,
        RouteNetlinkMessage::SetLink(up),
        0,
        "bring lo up",
    )?;
    for family in families(&mut channel)? {
        let about = format!("make every {family} address local");
        let route = RouteNetlinkMessage::NewRoute(local_default(family));
        change(&mut channel, route, NLM_F_CREATE | NLM_F_REPLACE, &about)?;
        let address = RouteNetlinkMessage::NewAddress(counted_message(family));
        let about = format!("give lo {}", counted(family));
        change(&mut channel, address, NLM_F_CREATE | NLM_F_REPLACE, &about)?;
    }
    Ok(())
}

/// Whether the namespace speaks IPv6; asks once `lo` is up.
///
/// # Errors
/// [`KernelError`].
pub fn ipv6() -> Result<Ipv6, KernelError> {
    let families = families(&mut open()?)?;
    Ok(if families.contains(&Family::V6) {
        Ipv6::On
    } else {
        Ipv6::Off
    })
}

/// How the links and routes differ from those of a sealed namespace.
pub(super) fn verify() -> Result<Vec<Difference>, KernelError> {
    let mut channel = open()?;
    let links = links(&mut channel)?;
    let mut differences: Vec<Difference> = others(&links)
        .map(|name| Difference::InterfaceOther {
            name: name.to_owned(),
        })
        .collect();
    if !links
        .iter()
        .any(|link| link.header.index == LOOPBACK && is_up(link))
    {
        differences.push(Difference::LoopbackDown);
    }
    for family in families(&mut channel)? {
        if !routes(&mut channel, family)?
            .iter()
            .any(|route| is_local_default(route, family))
        {
            differences.push(Difference::RouteMissing { family });
        }
        let address = counted(family);
        if !has(&addresses(&mut channel)?, address) {
            differences.push(Difference::AddressMissing { address });
        }
    }
    Ok(differences)
}

fn open() -> Result<Channel, KernelError> {
    Channel::open(Bus::Route)
}

/// Interfaces that are not `lo`. The kernel makes some in every namespace where the tunnel's module is loaded, and lets
/// nobody remove them; as long as one of these is down it leads nowhere, and the agent cannot bring it up.
fn others(links: &[LinkMessage]) -> impl Iterator<Item = &str> {
    links
        .iter()
        .filter(|link| link.header.index != LOOPBACK)
        .map(|link| (link, name(link)))
        .filter(|(link, name)| is_up(link) || !FALLBACKS.contains(name))
        .map(|(_, name)| name)
}

/// The kernel's own, by `net.core.fb_tunnels_only_for_init_net` (Documentation/admin-guide/sysctl/net.rst).
const FALLBACKS: [&str; 9] = [
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
];

fn name(link: &LinkMessage) -> &str {
    let named = link.attributes.iter().find_map(|attribute| {
        if let LinkAttribute::IfName(name) = attribute {
            Some(name.as_str())
        } else {
            None
        }
    });
    named.unwrap_or("without a name")
}

fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up)
}

/// IPv4, and IPv6 where it is on.
fn families(channel: &mut Channel) -> Result<Vec<Family>, KernelError> {
    Ok(if has(&addresses(channel)?, Ipv6Addr::LOCALHOST.into()) {
        Family::ALL.into()
    } else {
        vec![Family::V4]
    })
}

fn addresses(channel: &mut Channel) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
    let ask = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    dump(channel, ask, "the addresses")
}

fn has(addresses: &[RouteNetlinkMessage], wanted: IpAddr) -> bool {
    let wanted = AddressAttribute::Address(wanted);
    addresses.iter().any(|message| {
        matches!(message, RouteNetlinkMessage::NewAddress(address)
            if address.header.index == LOOPBACK && address.attributes.contains(&wanted))
    })
}

fn counted(family: Family) -> IpAddr {
    match family {
        Family::V4 => COUNTED4.into(),
        Family::V6 => COUNTED6.into(),
    }
}

fn counted_message(family: Family) -> AddressMessage {
    let address = counted(family);
    let mut message = AddressMessage::default();
    message.header.family = address_family(family);
    message.header.index = LOOPBACK;
    message.header.prefix_len = if address.is_ipv4() { 32 } else { 128 };
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    message
}

fn local_default(family: Family) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = address_family(family);
    route.header.table = TABLE_LOCAL;
    route.header.protocol = RouteProtocol::Boot;
    route.header.scope = RouteScope::Host;
    route.header.kind = RouteType::Local;
    route.attributes = vec![RouteAttribute::Oif(LOOPBACK)];
    route
}

fn is_local_default(route: &RouteMessage, family: Family) -> bool {
    route.header.address_family == address_family(family)
        && route.header.destination_prefix_length == 0
        && route.header.source_prefix_length == 0
        && route.header.table == TABLE_LOCAL
        && route.header.kind == RouteType::Local
        && route.attributes.contains(&RouteAttribute::Oif(LOOPBACK))
}

fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn links(channel: &mut Channel) -> Result<Vec<LinkMessage>, KernelError> {
    let messages = dump(
        channel,
        RouteNetlinkMessage::GetLink(LinkMessage::default()),
        "the links",
    )?;
    let links = messages.into_iter().filter_map(|message| {
        if let RouteNetlinkMessage::NewLink(link) = message {
            Some(link)
        } else {
            None
        }
    });
    Ok(links.collect())
}

fn routes(channel: &mut Channel, family: Family) -> Result<Vec<RouteMessage>, KernelError> {
    let mut ask = RouteMessage::default();
    ask.header.address_family = address_family(family);
    let messages = dump(channel, RouteNetlinkMessage::GetRoute(ask), "the routes")?;
    let routes = messages.into_iter().filter_map(|message| {
        if let RouteNetlinkMessage::NewRoute(route) = message {
            Some(route)
        } else {
            None
        }
    });
    Ok(routes.collect())
}

fn change(
    channel: &mut Channel,
    message: RouteNetlinkMessage,
    flags: u16,
    about: &str,
) -> Result<(), KernelError> {
    channel.request(
        &encode(message, NLM_F_REQUEST | NLM_F_ACK | flags),
        &[about],
    )
}

fn dump(
    channel: &mut Channel,
    ask: RouteNetlinkMessage,
    about: &str,
) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
    let unreadable = || KernelError::Unreadable {
        what: about.to_owned(),
    };
    channel
        .dump(&encode(ask, NLM_F_REQUEST | NLM_F_DUMP), about)?
        .iter()
        .map(|answer| {
            RouteNetlinkMessage::parse_with_param(&answer.payload, answer.kind)
                .map_err(|_| unreadable())
        })
        .collect()
}

fn encode(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = 1;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    bytes
}
