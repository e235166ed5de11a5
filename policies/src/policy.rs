//! The lists, compiled for the wire, and the fingerprint of what they mean.
//!
//! Not responsible for judging (`decide.rs`, `pin.rs`).
//! Clauses: P1, P2.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::audit::hex;
use crate::decide::counts;
use crate::grant::{Grant, Kind};
use crate::granted::Grants;
use crate::names::Names;
use crate::pattern::{Extent, Pattern};
use crate::special::{self, Special};
use crate::verdict::{RuleId, Rules};
use crate::{
    Config, Destination, DnsName, Generation, Host, LlmEndpoint, Mode, Port, Rule, address,
};

/// What "the host" and "ourselves" mean, as addresses, when answers are screened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// What `docker.host` is dialled at, in this order; empty: host ports are refused.
    pub host_addresses: Vec<IpAddr>,
    /// The addresses of the machine, and of the proxy itself, that no name may lead to.
    pub own_addresses: Vec<IpAddr>,
}

impl Surroundings {
    /// Whether an address is one of these, also when it is a v4 address inside a v6 one.
    pub(crate) fn hold(&self, address: IpAddr) -> bool {
        let one_of = |address: IpAddr| {
            self.own_addresses.contains(&address) || self.host_addresses.contains(&address)
        };
        let inside = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => address::embedded(v6),
        };
        one_of(address) || inside.is_some_and(|inside| one_of(IpAddr::V4(inside)))
    }
}

/// A compiled policy. Immutable; a reload makes another one.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) mode: Mode,
    pub(crate) generation: Generation,
    pub(crate) hash: String,
    /// The part of it that the file decides.
    pub(crate) hash_of_file: String,
    pub(crate) surroundings: Surroundings,
    /// What allows a name.
    pub(crate) allow: Names<Grant>,
    /// What refuses a name.
    pub(crate) deny: Names<Refusal>,
    /// What allows a literal address, by that very address and port.
    pub(crate) addresses: HashMap<Destination, Vec<Grant>>,
    /// What allows a port of the host; ordered, so that of several the same is always named.
    pub(crate) host: BTreeMap<Port, Vec<Grant>>,
    /// The ports on which some name may be asked for.
    pub(crate) ports: BTreeSet<Port>,
    /// What a name may lead to besides public addresses.
    pub(crate) private: Vec<(IpNet, Rule)>,
    /// The entries that the numbers above name.
    pub(crate) rules: Rules,
    /// What a person granted for this run, besides.
    pub(crate) grants: Grants,
}

/// An entry of the denylist, compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) extent: Extent,
    pub(crate) port: Option<Port>,
    pub(crate) rule: RuleId,
}

impl Config {
    /// Compiles the lists into a policy of generation 1; `mode` replaces the file's.
    #[must_use]
    pub fn policy(&self, mode: Option<Mode>, surroundings: Surroundings) -> Policy {
        let mode = mode.unwrap_or(self.mode);
        let mut parts = Parts::default();
        // Of several entries under one name the last is the rule: the narrowest, and of equals the file's first.
        for endpoint in in_order(&self.tcp_endpoints, |endpoint| (&endpoint.destination, "")) {
            let kind = Kind::Tcp(endpoint.destination.port);
            parts.endpoint(&endpoint.destination, kind, &endpoint.rule);
        }
        let key = |endpoint: &'_ LlmEndpoint| endpoint.scheme.code();
        for endpoint in in_order(&self.llm_endpoints, |endpoint| {
            (&endpoint.destination, key(endpoint))
        }) {
            let kind = Kind::Llm(endpoint.scheme, endpoint.destination.port);
            parts.endpoint(&endpoint.destination, kind, &endpoint.rule);
        }
        for (port, rule) in &self.host_ports {
            parts.host(Kind::Host(*port), *port, rule);
        }
        for (pattern, rule) in broadest_first(&self.allow) {
            let grant = Grant {
                kind: Kind::List(pattern.extent, pattern.port),
                rule: parts.rule(rule),
            };
            parts.allow.push((&pattern.name, grant));
        }
        for (pattern, rule) in broadest_first(&self.deny) {
            let refusal = Refusal {
                extent: pattern.extent,
                port: pattern.port,
                rule: parts.rule(rule),
            };
            parts.deny.push((&pattern.name, refusal));
        }
        let named = parts.allow.iter().map(|(_, grant)| grant);
        let usable = named.chain(parts.host.values().flatten());
        let usable = usable.filter(|grant| counts(mode, grant.kind));
        let ports = usable.flat_map(|grant| grant.kind.ports()).collect();
        let hash = self.fingerprint(mode);
        Policy {
            mode,
            generation: Generation(1),
            hash_of_file: hash.clone(),
            hash,
            surroundings,
            allow: Names::new(&parts.allow),
            deny: Names::new(&parts.deny),
            addresses: parts.addresses,
            host: parts.host,
            ports,
            private: self.private_addresses.clone(),
            rules: Rules::new(parts.rules),
            grants: Grants::none(),
        }
    }

    /// SHA-256, hex, over one sorted line per thing that the judge looks at. Where it stands in the file is no part of it.
    fn fingerprint(&self, mode: Mode) -> String {
        let mut lines = BTreeSet::new();
        lines.insert(format!("network-mode {mode}"));
        for (pattern, _) in &self.allow {
            lines.insert(format!("allow {pattern}"));
        }
        for (pattern, _) in &self.deny {
            lines.insert(format!("deny {pattern}"));
        }
        for (port, _) in &self.host_ports {
            lines.insert(format!("host {port}"));
        }
        for endpoint in &self.llm_endpoints {
            let scheme = endpoint.scheme.code();
            lines.insert(format!("llm {scheme} {}", endpoint.destination));
        }
        for endpoint in &self.tcp_endpoints {
            lines.insert(format!("tcp {}", endpoint.destination));
        }
        for (net, _) in &self.private_addresses {
            lines.insert(format!("private {net}"));
        }
        let mut hash = Sha256::new();
        for line in &lines {
            hash.update(line);
            hash.update(b"\n");
        }
        let mut out = String::new();
        for digit in hex(&hash.finalize().into()) {
            out.push(char::from(digit));
        }
        out
    }
}

/// What a policy is made of while it is compiled.
#[derive(Debug, Default)]
struct Parts<'c> {
    allow: Vec<(&'c DnsName, Grant)>,
    deny: Vec<(&'c DnsName, Refusal)>,
    addresses: HashMap<Destination, Vec<Grant>>,
    host: BTreeMap<Port, Vec<Grant>>,
    rules: Vec<Rule>,
}

impl<'c> Parts<'c> {
    fn rule(&mut self, rule: &Rule) -> RuleId {
        // A file of 2^32 entries is not read (`yaml.rs` bounds its size); a number beyond names no rule.
        let id = RuleId(u32::try_from(self.rules.len()).unwrap_or(u32::MAX));
        self.rules.push(rule.clone());
        id
    }

    fn host(&mut self, kind: Kind, port: Port, rule: &Rule) {
        let rule = self.rule(rule);
        self.host
            .entry(port)
            .or_default()
            .push(Grant { kind, rule });
    }

    /// Files an endpoint under what its host is.
    fn endpoint(&mut self, destination: &'c Destination, kind: Kind, rule: &Rule) {
        match &destination.host {
            Host::Address(_) => {
                let rule = self.rule(rule);
                self.addresses
                    .entry(destination.clone())
                    .or_default()
                    .push(Grant { kind, rule });
            }
            Host::Name(name) => match special::of(name) {
                Some(Special::HostAlias) => self.host(kind, destination.port, rule),
                // Never compiled to anything: the file refuses it, and the judge does not ask the lists.
                Some(Special::Loopback) => {}
                None => {
                    let rule = self.rule(rule);
                    self.allow.push((name, Grant { kind, rule }));
                }
            },
        }
    }
}

/// The entries in the order in which they are compiled, so that the order of the file decides nothing.
fn broadest_first(entries: &[(Pattern, Rule)]) -> Vec<&(Pattern, Rule)> {
    let mut sorted: Vec<_> = entries.iter().rev().collect();
    // Of two ports the order matters to no verdict; it is fixed so that the same rule is named.
    sorted.sort_by_key(|(pattern, _)| {
        let narrow = (pattern.extent == Extent::Exact, pattern.port.is_some());
        (narrow, std::cmp::Reverse(pattern.port))
    });
    sorted
}

/// Endpoints in an order that the file does not decide, for the same reason.
fn in_order<'e, T>(
    endpoints: &'e [T],
    key: impl Fn(&'e T) -> (&'e Destination, &'static str),
) -> Vec<&'e T> {
    let mut sorted: Vec<_> = endpoints.iter().rev().collect();
    sorted.sort_by(|one, other| key(other).cmp(&key(one)));
    sorted
}

impl Policy {
    /// The same policy under another generation number.
    #[must_use]
    pub fn at_generation(self, generation: Generation) -> Self {
        Self { generation, ..self }
    }

    /// Whether some name may be asked for on a port, as far as the entries that allow say. If not, `decide` refuses
    /// every name on it, and there is no use in hearing which.
    #[must_use]
    pub fn opens_port(&self, port: Port) -> bool {
        self.mode == Mode::Observe || self.ports.contains(&port)
    }

    /// The mode in force.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The generation.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// SHA-256, hex, of what the policy means: equal for files that say the same in another order.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
}
