//! What must fail in a fence that holds, tried from inside it before the agent exists: by `ocs box-enter` in its own
//! process, by `ocs-netctl probe` in a container as weak as the agent.
//!
//! Every attempt must be *refused at once*: silence counts as a hole, because nobody can tell it from a slow way out. The
//! addresses are of documentation ranges, so an attempt that did get out would reach nobody.
//! Not responsible for entering the namespace, or for what the findings prove (`orchestrator/src/probe.rs`).
//! Clauses: U1.
mod attempts;
pub mod words;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One attempt.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// The namespace's interfaces: none but `lo`.
    Interfaces,
    /// A stream to a foreign address, with bytes that are no protocol.
    Tcp4,
    /// The same over IPv6.
    Tcp6,
    /// A datagram to a foreign address.
    Udp4,
    /// The same over IPv6.
    Udp6,
    /// A query, to a foreign resolver, that the policy refuses.
    Dns4,
    /// The same over IPv6.
    Dns6,
    /// A destination that the policy refuses, asked of the proxy.
    Proxy4,
    /// The same over IPv6.
    Proxy6,
}

impl Probe {
    /// All of them; each is required.
    pub const ALL: [Self; 9] = [
        Self::Interfaces,
        Self::Tcp4,
        Self::Tcp6,
        Self::Udp4,
        Self::Udp6,
        Self::Dns4,
        Self::Dns6,
        Self::Proxy4,
        Self::Proxy6,
    ];

    /// What was tried, in words.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Interfaces => "an interface beside lo",
            Self::Tcp4 => "a direct TCP connection (IPv4)",
            Self::Tcp6 => "a direct TCP connection (IPv6)",
            Self::Udp4 => "a direct UDP datagram (IPv4)",
            Self::Udp6 => "a direct UDP datagram (IPv6)",
            Self::Dns4 => "a DNS query for a refused name (IPv4)",
            Self::Dns6 => "a DNS query for a refused name (IPv6)",
            Self::Proxy4 => "a refused destination through the proxy (IPv4)",
            Self::Proxy6 => "a refused destination through the proxy (IPv6)",
        }
    }

    /// Whether it needs IPv6.
    #[must_use]
    pub fn over_ipv6(self) -> bool {
        matches!(self, Self::Tcp6 | Self::Udp6 | Self::Dns6 | Self::Proxy6)
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "detail")]
pub enum Outcome {
    /// Nothing happened within the limit.
    Hung,
    /// The kernel has no IPv6: there is nothing to refuse.
    NoIpv6,
    /// It got somewhere; where.
    Passed(String),
    /// As it must be; how.
    Refused(String),
    /// It could not be tried; why.
    Untried(String),
}

/// An attempt and what came of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// What was tried.
    pub probe: Probe,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Where the attempts go to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Targets {
    /// Addresses of nobody, for streams and datagrams.
    pub foreign: [SocketAddr; 2],
    /// Addresses of nobody, for queries.
    pub resolvers: [SocketAddr; 2],
    /// The proxy's explicit listeners.
    pub proxies: [SocketAddr; 2],
    /// A name and a type of query that the policy refuses.
    pub query: (String, u16),
    /// `host:port` that the policy refuses.
    pub authority: String,
}

/// RFC 1035 section 3.2.2.
pub const TYPE_A: u16 = 1;
/// RFC 1035 section 3.2.2; refused for every name.
pub const TYPE_TXT: u16 = 16;

impl Targets {
    /// Targets in the box.
    #[must_use]
    pub fn in_the_box(query: (String, u16), authority: String) -> Self {
        let pair = |v4: Ipv4Addr, v6: Ipv6Addr, port| {
            [
                SocketAddr::new(IpAddr::V4(v4), port),
                SocketAddr::new(IpAddr::V6(v6), port),
            ]
        };
        // RFC 5737 section 3, RFC 3849 section 2: documentation, routed nowhere.
        let nobody = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        Self {
            foreign: pair(Ipv4Addr::new(192, 0, 2, 1), nobody, 443),
            resolvers: pair(Ipv4Addr::new(192, 0, 2, 1), nobody, 53),
            // docs/architecture.md, "Ports inside the namespace".
            proxies: pair(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 3128),
            query,
            authority,
        }
    }
}

/// How long an attempt may take to be refused: issue 2's own bound.
pub const LIMIT: Duration = Duration::from_secs(1);

/// Makes every attempt at the same time; gives one finding for each.
#[must_use]
pub fn run(targets: &Targets) -> Vec<Finding> {
    std::thread::scope(|scope| {
        let under_way = Probe::ALL.map(|probe| {
            (
                probe,
                scope.spawn(move || attempts::outcome(probe, targets, LIMIT)),
            )
        });
        let findings = under_way.map(|(probe, attempt)| {
            let died = |_| Outcome::Untried("the attempt's thread died".to_owned());
            Finding {
                probe,
                outcome: attempt.join().unwrap_or_else(died),
            }
        });
        findings.into()
    })
}

#[cfg(test)]
mod tests;
