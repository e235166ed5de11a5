//! What holds for the plan of every spec: nothing passes that the spec does not name.
//!
//! The rules are run here over packets, by a reading of them that shares nothing with the kernel's nor with the
//! encoding; `tests/sealed.rs` and `tests/shared.rs` ask the kernel.
//!
//! Clauses: N2 to N9, N12.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netctl::clause::Clause;
use netctl::matcher::{Action, Family, Match, Transport};
use netctl::plan::{Hook, Plan, Policy, Rule};
use netctl::spec::{EndpointText, PortsText, Spec, SpecText};
use proptest::prelude::*;

/// A packet at a hook.
#[derive(Debug, Clone, Copy)]
struct Packet {
    uid: Option<u32>,
    protocol: u8,
    to: IpAddr,
    port: u16,
    by_loopback: bool,
    established: bool,
    hop_limit: u8,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Accepted(Clause),
    Redirected(u16),
    Rejected { logged: bool, counted: bool },
    Policy(Policy),
}

fn holds(condition: Match, packet: &Packet) -> bool {
    let is = |transport: Transport| {
        packet.protocol
            == match transport {
                Transport::Tcp => 6,
                Transport::Udp => 17,
            }
    };
    let of = |family: Family| Family::of(packet.to) == family;
    match condition {
        Match::Destination(address) => packet.to == address,
        Match::DestinationPort(transport, ports) => {
            is(transport) && (ports.first().get()..=ports.last().get()).contains(&packet.port)
        }
        Match::Established => packet.established,
        Match::FromLoopbackInterface | Match::ToLoopbackInterface => packet.by_loopback,
        Match::Loopback(family) => of(family) && packet.to.is_loopback(),
        Match::Neighbour(_) => {
            packet.protocol == 58
                && packet.hop_limit == 255
                && of(Family::V6)
                && packet.uid.is_none()
        }
        Match::NotLoopback(family) => of(family) && !packet.to.is_loopback(),
        Match::NotProtocol(transport) => !is(transport),
        Match::Protocol(transport) => is(transport),
        Match::Uid(uid) => packet.uid == Some(uid.get()),
    }
}

fn judge(plan: &Plan, hook: Hook, packet: &Packet) -> Fate {
    let (mut logged, mut counted) = (false, false);
    let chain = plan.chains().iter().find(|chain| chain.hook == hook);
    let matching = |rule: &&Rule| {
        rule.matches
            .iter()
            .all(|condition| holds(*condition, packet))
    };
    for rule in chain
        .into_iter()
        .flat_map(|chain| &chain.rules)
        .filter(matching)
    {
        for action in &rule.actions {
            match action {
                Action::Accept => return Fate::Accepted(rule.clause),
                Action::Count => counted = true,
                Action::Limit(_) => {} // under the limit
                Action::Log(_) => logged = true,
                Action::Redirect(port) => return Fate::Redirected(port.get()),
                Action::RejectProhibited | Action::RejectReset => {
                    return Fate::Rejected { logged, counted };
                }
            }
        }
    }
    Fate::Policy(hook.policy())
}

/// Addresses that specs and packets share, so that they meet.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        8 => prop::sample::select(vec![
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)),
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ]),
        1 => any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        1 => any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
    ]
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        4 => prop::sample::select(vec![53_u16, 80, 443, 3128, 4096, 5432]),
        1 => 1..=u16::MAX,
    ]
}

const PROXY: u32 = 4101;
const AGENT: u32 = 4102;

fn packet() -> impl Strategy<Value = Packet> {
    let uid = prop::option::of(prop::sample::select(vec![0, PROXY, AGENT, 4103]));
    let protocol = prop::sample::select(vec![6_u8, 6, 6, 17, 17, 1, 58, 132, 255]);
    (uid, protocol, address(), port(), any::<bool>(), any::<u8>()).prop_map(
        |(uid, protocol, to, port, by_loopback, hop_limit)| Packet {
            uid,
            protocol,
            to,
            port,
            by_loopback: by_loopback || to.is_loopback(),
            established: false,
            hop_limit,
        },
    )
}

fn endpoints() -> impl Strategy<Value = Vec<EndpointText>> {
    let endpoint = (address(), port()).prop_map(|(address, port)| EndpointText {
        address,
        port: port.into(),
    });
    prop::collection::vec(endpoint, 0..4)
}

/// A spec that means something, as typed and as meant.
fn shared() -> impl Strategy<Value = (SpecText, Spec)> {
    let ports = prop::collection::vec((port(), 0..2000_u16), 0..3);
    let published = prop::collection::vec(port(), 0..3);
    (
        port(),
        prop::option::of(port()),
        ports,
        endpoints(),
        endpoints(),
        published,
    )
        .prop_map(
            |(explicit, dns, own, host_ports, resolvers, published)| SpecText::Shared {
                v: 1,
                proxy_uid: PROXY,
                agent_uid: AGENT,
                explicit: explicit.into(),
                dns: dns.map(u32::from),
                own_ports: own
                    .into_iter()
                    .map(|(first, more)| PortsText {
                        first: first.into(),
                        last: first.saturating_add(more).into(),
                    })
                    .collect(),
                host_ports,
                resolvers,
                nflog_group: 1,
                published: published.into_iter().map(u32::from).collect(),
                other_tables: Vec::new(),
            },
        )
        .prop_filter_map("it means nothing", |text| {
            let spec = text.compile().ok()?;
            Some((text, spec))
        })
}

/// What a shared spec names for the agent: TCP endpoints, and ports of its loopback with their protocols.
fn names_for_the_agent(text: &SpecText, packet: &Packet) -> bool {
    let SpecText::Shared {
        explicit,
        dns,
        own_ports,
        host_ports,
        ..
    } = text
    else {
        return false;
    };
    let port = u32::from(packet.port);
    let home = packet.to == IpAddr::V4(Ipv4Addr::LOCALHOST)
        || packet.to == IpAddr::V6(Ipv6Addr::LOCALHOST);
    let own = own_ports
        .iter()
        .any(|range| (range.first..=range.last).contains(&port));
    let host = host_ports.contains(&EndpointText {
        address: packet.to,
        port,
    });
    match packet.protocol {
        6 => (home && (port == *explicit || *dns == Some(port) || own)) || host,
        17 => home && (*dns == Some(port) || own),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn n8_the_agents_packet_passes_exactly_if_the_spec_names_it((text, spec) in shared(), packet in packet()) {
        let packet = Packet { uid: Some(AGENT), ..packet };
        let expected = if names_for_the_agent(&text, &packet) {
            Fate::Accepted(Clause::N8)
        } else {
            Fate::Rejected { logged: true, counted: true }
        };
        prop_assert_eq!(judge(&Plan::build(&spec), Hook::Output, &packet), expected);
    }

    #[test]
    fn n7_a_packet_of_nobody_known_is_refused((_, spec) in shared(), packet in packet(), uid in 4103_u32..) {
        let packet = Packet { uid: Some(uid), ..packet };
        let fate = judge(&Plan::build(&spec), Hook::Output, &packet);
        prop_assert_eq!(fate, Fate::Rejected { logged: true, counted: true });
    }

    #[test]
    fn n7_the_proxy_sends_tcp_and_asks_its_resolvers_and_nothing_else((text, spec) in shared(), packet in packet()) {
        let SpecText::Shared { resolvers, .. } = &text else { return Ok(()) };
        let packet = Packet { uid: Some(PROXY), ..packet };
        let asks = packet.protocol == 17
            && resolvers.contains(&EndpointText { address: packet.to, port: packet.port.into() });
        let expected = if packet.by_loopback || packet.protocol == 6 || asks {
            Fate::Accepted(Clause::N7)
        } else {
            Fate::Rejected { logged: true, counted: true }
        };
        prop_assert_eq!(judge(&Plan::build(&spec), Hook::Output, &packet), expected);
    }

    #[test]
    fn n9_a_stranger_s_packet_passes_exactly_if_its_port_is_published((_, spec) in shared(), packet in packet()) {
        let packet = Packet { uid: Some(0), by_loopback: false, ..packet };
        let published: BTreeSet<u16> = spec.published().iter().map(|port| port.get()).collect();
        let expected = if packet.protocol == 6 && published.contains(&packet.port) {
            Fate::Accepted(Clause::N9)
        } else {
            Fate::Rejected { logged: true, counted: true }
        };
        prop_assert_eq!(judge(&Plan::build(&spec), Hook::Input, &packet), expected);
    }

    #[test]
    fn n3_n4_n5_n6_in_a_sealed_namespace_every_packet_has_one_fate(packet in packet()) {
        let plan = sealed();
        let turned = judge(&plan, Hook::Redirect, &packet);
        let expected = match (packet.protocol, packet.port, packet.to.is_loopback()) {
            (6 | 17, 53, _) => Fate::Redirected(53),
            (6, _, false) => Fate::Redirected(3129),
            _ => Fate::Policy(Policy::Accept),
        };
        prop_assert_eq!(&turned, &expected);
        // What was turned is addressed to the loopback when the output chain sees it.
        let packet = match turned {
            Fate::Redirected(port) => Packet {
                port,
                to: if packet.to.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() },
                ..packet
            },
            Fate::Accepted(_) | Fate::Rejected { .. } | Fate::Policy(_) => packet,
        };
        let expected = if matches!(packet.protocol, 6 | 17) && packet.to.is_loopback() {
            Fate::Accepted(Clause::N5)
        } else {
            Fate::Rejected { logged: true, counted: true }
        };
        prop_assert_eq!(judge(&plan, Hook::Output, &packet), expected);
    }

    #[test]
    fn nothing_is_forwarded((_, spec) in shared(), packet in packet()) {
        for plan in [sealed(), Plan::build(&spec)] {
            prop_assert_eq!(judge(&plan, Hook::Forward, &packet), Fate::Policy(Policy::Drop));
        }
    }

    #[test]
    fn n2_a_reply_passes((_, spec) in shared(), packet in packet()) {
        let packet = Packet { established: true, ..packet };
        for plan in [sealed(), Plan::build(&spec)] {
            prop_assert_eq!(judge(&plan, Hook::Output, &packet), Fate::Accepted(Clause::N2));
        }
    }
}

fn sealed() -> Plan {
    let spec = Spec::parse(include_bytes!("../snapshots/sealed.json"));
    Plan::build(
        spec.as_ref()
            .ok()
            .unwrap_or_else(|| unreachable!("the snapshot's spec is a spec")),
    )
}
