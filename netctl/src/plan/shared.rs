//! The rules of a namespace that has egress and is shared by the proxy and the agent: default deny by uid.
//!
//! A weaker footing than `sealed` (`docs/known-limits.md`): whoever becomes the proxy's uid has its way out, and a port
//! is published to whichever socket listens on it. What the kernel sends without a socket (resets, the last segments of
//! a closed connection) has no uid, and passes by its flow's state; `kernel::replace` forgets all flows when it changes
//! the rules, so that a state never outlives the rule that admitted it.
//!
//! Clauses: N2, N6, N7, N8, N9, N12.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sealed::refuse;
use super::{Chain, Hook, Rule};
use crate::clause::Clause;
use crate::matcher::{Action, Discovery, Log, Match, PerSecond, Transport};
use crate::spec::{PortRange, Shared};

pub(super) fn chains(spec: &Shared) -> Vec<Chain> {
    vec![
        Chain {
            hook: Hook::Output,
            rules: output(spec),
        },
        Chain {
            hook: Hook::Input,
            rules: input(spec),
        },
        Chain {
            hook: Hook::Forward,
            rules: Vec::new(),
        },
    ]
}

fn output(spec: &Shared) -> Vec<Rule> {
    let mut rules = vec![Rule::accept(Clause::N2, [Match::Established])];
    rules.extend(discovery(&[
        Discovery::RouterSolicitation,
        Discovery::NeighbourSolicitation,
        Discovery::NeighbourAdvertisement,
    ]));
    rules.extend(proxy(spec));
    rules.extend(agent(spec));
    rules.extend(refuse(Log {
        group: spec.nflog_group,
        prefix: Clause::N6,
    }));
    rules
}

/// Sent by the kernel itself, without a socket of anyone's. Multicast listener reports are left out on purpose: any
/// process makes the kernel send one, for a group address that it chose, and so would speak to the link.
fn discovery(messages: &[Discovery]) -> impl Iterator<Item = Rule> {
    messages
        .iter()
        .map(|message| Rule::accept(Clause::N12, [Match::Neighbour(*message)]))
}

fn proxy(spec: &Shared) -> Vec<Rule> {
    let proxy = Match::Uid(spec.proxy);
    let mut rules = vec![
        // An engine's resolver (127.0.0.11) is on loopback, at a port that the engine's own rules chose.
        Rule::accept(Clause::N7, [proxy, Match::ToLoopbackInterface]),
        Rule::accept(Clause::N7, [proxy, Match::Protocol(Transport::Tcp)]),
    ];
    rules.extend(spec.resolvers.iter().map(|resolver| {
        Rule::accept(
            Clause::N7,
            [
                proxy,
                Match::Destination(resolver.address),
                Match::DestinationPort(Transport::Udp, resolver.port.into()),
            ],
        )
    }));
    rules
}

fn agent(spec: &Shared) -> Vec<Rule> {
    let mut rules = Vec::from(local(spec, Transport::Tcp, spec.explicit.into()));
    let both = spec.dns.map(PortRange::from);
    for ports in both.iter().chain(&spec.own_ports) {
        for transport in Transport::ALL {
            rules.extend(local(spec, transport, *ports));
        }
    }
    rules.extend(
        spec.host_ports
            .iter()
            .map(|host| admit(spec, host.address, Transport::Tcp, host.port.into())),
    );
    rules
}

/// The agent may reach these ports of 127.0.0.1 and `::1`; the rest of 127.0.0.0/8 is not its own (an engine's resolver
/// lives there).
fn local(spec: &Shared, transport: Transport, ports: PortRange) -> [Rule; 2] {
    [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ]
    .map(|address| admit(spec, address, transport, ports))
}

fn admit(spec: &Shared, address: IpAddr, transport: Transport, ports: PortRange) -> Rule {
    Rule::accept(
        Clause::N8,
        [
            Match::Uid(spec.agent),
            Match::Destination(address),
            Match::DestinationPort(transport, ports),
        ],
    )
}

/// Answers to strangers: more than this a second are refused in silence, lest we answer for whomever they pretend to be.
const ANSWERS: PerSecond = PerSecond(1000);

fn input(spec: &Shared) -> Vec<Rule> {
    let mut rules = vec![
        Rule::accept(Clause::N2, [Match::Established]),
        // Judged when it went out.
        Rule::accept(Clause::N8, [Match::FromLoopbackInterface]),
    ];
    rules.extend(discovery(&[
        Discovery::RouterAdvertisement,
        Discovery::NeighbourSolicitation,
        Discovery::NeighbourAdvertisement,
    ]));
    rules.extend(spec.published.iter().map(|port| {
        Rule::accept(
            Clause::N9,
            [Match::DestinationPort(Transport::Tcp, (*port).into())],
        )
    }));
    let log = Log {
        group: spec.nflog_group,
        prefix: Clause::N9,
    };
    rules.extend([
        Rule::new(Clause::N9, [], [Action::Count, Action::Log(log)]),
        Rule::new(
            Clause::N9,
            [Match::Protocol(Transport::Tcp)],
            [Action::Limit(ANSWERS), Action::RejectReset],
        ),
        Rule::new(
            Clause::N9,
            [Match::NotProtocol(Transport::Tcp)],
            [Action::Limit(ANSWERS), Action::RejectProhibited],
        ),
    ]);
    rules
}
