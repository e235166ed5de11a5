//! The rules of a namespace that has no interface but `lo`.
//!
//! A packet's way here: every address is local (`kernel/link.rs`), so whatever the agent sends arrives at the output
//! hook. `capture` sees the first packet of each flow and turns TCP to the capture listener and DNS to the stub;
//! conntrack does the same for the rest of the flow. `output` then sees the packet as it was turned: addressed to
//! 127.0.0.1 or `::1`. What is still addressed elsewhere was not turned, and is refused.
//!
//! Why the agent's services work on loopback addresses only: an agent can bind 203.0.113.9, since every address is
//! local. Datagrams to it are refused like those to any other address (N6), and connections to it are captured (N3):
//! letting them through would do no harm, but would make "local" a property that the agent chooses, and the rules would
//! have to know what it bound.
//!
//! Fragments: conntrack puts them together before the rules see them. Packets that conntrack calls invalid skip
//! redirection, keep their address, and end at the reject.
//!
//! Clauses: N2, N3, N4, N5, N6, N9.

use super::{Chain, Hook, Rule};
use crate::clause::Clause;
use crate::matcher::{Action, Family, Log, Match, Transport};
use crate::spec::{Port, Sealed};

pub(super) fn chains(spec: &Sealed) -> Vec<Chain> {
    vec![
        Chain {
            hook: Hook::Redirect,
            rules: redirect(spec),
        },
        Chain {
            hook: Hook::Output,
            rules: output(spec),
        },
        Chain {
            hook: Hook::Input,
            rules: vec![Rule::accept(Clause::N5, [Match::FromLoopbackInterface])],
        },
        Chain {
            hook: Hook::Forward,
            rules: Vec::new(),
        },
    ]
}

fn redirect(spec: &Sealed) -> Vec<Rule> {
    // DNS before the rest: TCP to port 53 is the stub's, not the capture listener's.
    let dns = Transport::ALL.map(|transport| {
        Rule::new(
            Clause::N4,
            [Match::DestinationPort(transport, Port::DNS.into())],
            [Action::Redirect(spec.dns)],
        )
    });
    let capture = Family::ALL.map(|family| {
        Rule::new(
            Clause::N3,
            [Match::Protocol(Transport::Tcp), Match::NotLoopback(family)],
            [Action::Redirect(spec.capture)],
        )
    });
    dns.into_iter().chain(capture).collect()
}

fn output(spec: &Sealed) -> Vec<Rule> {
    let mut rules = vec![
        // First: the kernel's own resets and ICMP errors, ours below included, are addressed to where the agent thought
        // it was calling from, which need not be loopback; without this rule they are refused and the client hangs.
        Rule::accept(Clause::N2, [Match::Established]),
    ];
    for family in Family::ALL {
        for transport in Transport::ALL {
            rules.push(Rule::accept(
                Clause::N5,
                [Match::Protocol(transport), Match::Loopback(family)],
            ));
        }
    }
    rules.extend(refuse(Log {
        group: spec.nflog_group,
        prefix: Clause::N6,
    }));
    rules
}

/// Counts, logs and rejects whatever comes here. The log has no limit on purpose: see `docs/netctl.md`, "Counting".
pub(super) fn refuse(log: Log) -> [Rule; 3] {
    [
        Rule::new(log.prefix, [], [Action::Count, Action::Log(log)]),
        // A reset ends a connect in milliseconds; an ICMP error is heeded only at the second SYN, a second later.
        Rule::new(
            log.prefix,
            [Match::Protocol(Transport::Tcp)],
            [Action::Count, Action::RejectReset],
        ),
        Rule::new(log.prefix, [], [Action::Count, Action::RejectProhibited]),
    ]
}
