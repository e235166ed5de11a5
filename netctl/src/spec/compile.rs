//! From a spec as typed to a spec as meant. Goes on after a mistake, so that all are told at once; a [`Spec`] comes out
//! only where there was none.
//!
//! Not here: JSON (`text`), rules (`plan`).
//!
//! Clauses: N8.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::text::{EndpointText, PortsText, SpecText, TableText};
use super::{
    Endpoint, Mistake, NflogGroup, Port, PortRange, Sealed, Shared, Spec, SpecError, Table, Uid,
    VERSION,
};

/// More entries than this in one list are refused: the whole plan must fit one netlink message, and a spec that long is
/// not one that a person wrote.
const LIST_MAX: usize = 64;

impl SpecText {
    /// What the text means.
    ///
    /// # Errors
    /// [`SpecError::Meaning`] with every mistake.
    pub fn compile(&self) -> Result<Spec, SpecError> {
        let mut reader = Reader {
            mistakes: Vec::new(),
        };
        let spec = reader.spec(self);
        match spec {
            Some(spec) if reader.mistakes.is_empty() => Ok(spec),
            Some(_) | None => Err(SpecError::Meaning(reader.mistakes)),
        }
    }
}

struct Reader {
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn spec(&mut self, text: &SpecText) -> Option<Spec> {
        match text {
            SpecText::Sealed {
                v,
                explicit,
                capture,
                dns,
                nflog_group,
                published,
            } => {
                self.version(*v);
                let listeners = [
                    ("explicit", self.port("explicit", *explicit)),
                    ("capture", self.port("capture", *capture)),
                    ("dns", self.port("dns", *dns)),
                ];
                let published = self.published(published, &listeners);
                let nflog_group = self.group(*nflog_group);
                self.distinct(&listeners);
                let [(_, explicit), (_, capture), (_, dns)] = listeners;
                Some(Spec::Sealed(Sealed {
                    explicit: explicit?,
                    capture: capture?,
                    dns: dns?,
                    nflog_group: nflog_group?,
                    published,
                }))
            }
            SpecText::Shared { .. } => self.shared(text).map(Spec::Shared),
        }
    }

    fn shared(&mut self, text: &SpecText) -> Option<Shared> {
        let SpecText::Shared {
            v,
            proxy_uid,
            agent_uid,
            explicit,
            dns,
            own_ports,
            host_ports,
            resolvers,
            nflog_group,
            published,
            other_tables,
        } = text
        else {
            return None;
        };
        self.version(*v);
        let (proxy, agent) = self.uids(*proxy_uid, *agent_uid);
        let listeners = [
            ("explicit", self.port("explicit", *explicit)),
            ("dns", dns.and_then(|dns| self.port("dns", dns))),
        ];
        self.distinct(&listeners);
        let published = self.published(published, &listeners);
        let own_ports = self.own_ports(own_ports, &listeners);
        let host_ports = self.endpoints("host_ports", host_ports);
        self.outside(&host_ports);
        let resolvers = self.endpoints("resolvers", resolvers);
        let other_tables = self.tables(other_tables);
        let nflog_group = self.group(*nflog_group);
        let [(_, explicit), (_, dns)] = listeners;
        Some(Shared {
            proxy: proxy?,
            agent: agent?,
            explicit: explicit?,
            dns,
            own_ports,
            host_ports,
            resolvers,
            nflog_group: nflog_group?,
            published,
            other_tables,
        })
    }

    fn mistake(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.mistakes.push(Mistake {
            path: path.into(),
            what: what.into(),
        });
    }

    fn version(&mut self, v: u32) {
        if v != VERSION {
            self.mistake("v", format!("{v} is not known here; write {VERSION}"));
        }
    }

    fn uids(&mut self, proxy: u32, agent: u32) -> (Option<Uid>, Option<Uid>) {
        let both = (self.uid("proxy_uid", proxy), self.uid("agent_uid", agent));
        if proxy == agent {
            self.mistake(
                "agent_uid",
                format!("{agent} is the proxy's too; the agent would have the proxy's way out"),
            );
        }
        both
    }

    fn uid(&mut self, path: &str, number: u32) -> Option<Uid> {
        let uid = Uid::new(number);
        if uid.is_none() {
            self.mistake(
                path,
                format!("{number} cannot be fenced by uid; write one from 1 to 4294967294"),
            );
        }
        uid
    }

    fn port(&mut self, path: &str, number: u32) -> Option<Port> {
        let port = u16::try_from(number).ok().and_then(Port::new);
        if port.is_none() {
            self.mistake(
                path,
                format!("{number} is no port; write one from 1 to 65535"),
            );
        }
        port
    }

    fn group(&mut self, number: u32) -> Option<NflogGroup> {
        let group = u16::try_from(number).ok().and_then(NflogGroup::new);
        if group.is_none() {
            let what = format!("{number} is no group to log to; write one from 1 to 65535");
            self.mistake("nflog_group", what);
        }
        group
    }

    fn distinct(&mut self, listeners: &[(&'static str, Option<Port>)]) {
        for (at, (name, port)) in listeners.iter().enumerate() {
            let earlier = listeners
                .iter()
                .take(at)
                .find(|(_, other)| port.is_some() && other == port);
            if let (Some((other, _)), Some(port)) = (earlier, port) {
                self.mistake(*name, format!("{port} is taken by `{other}`"));
            }
        }
    }

    fn published(
        &mut self,
        numbers: &[u32],
        listeners: &[(&'static str, Option<Port>)],
    ) -> BTreeSet<Port> {
        let mut ports = BTreeSet::new();
        self.length("published", numbers.len());
        for (at, number) in numbers.iter().enumerate() {
            let path = format!("published[{at}]");
            let Some(port) = self.port(&path, *number) else {
                continue;
            };
            if let Some((name, _)) = listeners.iter().find(|(_, taken)| *taken == Some(port)) {
                self.mistake(path, format!("{port} is taken by `{name}`"));
            } else if !ports.insert(port) {
                self.mistake(path, format!("{port} stands here twice"));
            }
        }
        ports
    }

    fn own_ports(
        &mut self,
        texts: &[PortsText],
        listeners: &[(&'static str, Option<Port>)],
    ) -> BTreeSet<PortRange> {
        let mut ranges = BTreeSet::new();
        self.length("own_ports", texts.len());
        for (at, text) in texts.iter().enumerate() {
            let path = format!("own_ports[{at}]");
            let first = self.port(&format!("{path}.first"), text.first);
            let last = self.port(&format!("{path}.last"), text.last);
            let (Some(first), Some(last)) = (first, last) else {
                continue;
            };
            let Some(range) = PortRange::new(first, last) else {
                self.mistake(path, format!("{first} to {last} runs backwards"));
                continue;
            };
            let taken = listeners
                .iter()
                .find(|(_, port)| port.is_some_and(|port| range.contains(port)));
            let overlap = ranges.iter().find(|other| overlap(range, **other)).copied();
            if let Some((name, _)) = taken {
                self.mistake(path, format!("{range} holds the port of `{name}`"));
            } else if let Some(other) = overlap {
                self.mistake(path, format!("{range} overlaps {other}"));
            } else {
                ranges.insert(range);
            }
        }
        ranges
    }

    fn endpoints(&mut self, list: &str, texts: &[EndpointText]) -> BTreeSet<Endpoint> {
        let mut endpoints = BTreeSet::new();
        self.length(list, texts.len());
        for (at, text) in texts.iter().enumerate() {
            let path = format!("{list}[{at}]");
            let address = self.address(&format!("{path}.address"), text.address);
            let port = self.port(&format!("{path}.port"), text.port);
            let (Some(address), Some(port)) = (address, port) else {
                continue;
            };
            if !endpoints.insert(Endpoint { address, port }) {
                self.mistake(path, format!("{address} port {port} stands here twice"));
            }
        }
        endpoints
    }

    fn address(&mut self, path: &str, address: IpAddr) -> Option<IpAddr> {
        let what = if address.to_canonical() != address {
            format!(
                "{address} is not canonical; write {}",
                address.to_canonical()
            )
        } else if address.is_unspecified() {
            format!("{address} names no one")
        } else if address.is_multicast() || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
            format!("{address} names more than one")
        } else {
            return Some(address);
        };
        self.mistake(path, what);
        None
    }

    fn outside(&mut self, endpoints: &BTreeSet<Endpoint>) {
        for endpoint in endpoints.iter().filter(|at| at.address.is_loopback()) {
            let what = format!(
                "{} is loopback; write the port in `own_ports`",
                endpoint.address
            );
            self.mistake("host_ports", what);
        }
    }

    fn tables(&mut self, texts: &[TableText]) -> Vec<Table> {
        let mut tables = Vec::new();
        self.length("other_tables", texts.len());
        for (at, text) in texts.iter().enumerate() {
            let table = Table {
                family: text.family.clone(),
                name: text.name.clone(),
            };
            let path = format!("other_tables[{at}]");
            if !FAMILIES.contains(&table.family.as_str()) {
                self.mistake(
                    path,
                    format!("no such family; write one of {}", FAMILIES.join(", ")),
                );
            } else if table.family == "inet" && table.name == crate::plan::TABLE {
                self.mistake(path, format!("{table} is the fence itself"));
            } else if tables.contains(&table) {
                self.mistake(path, "stands here twice");
            } else {
                tables.push(table);
            }
        }
        tables
    }

    fn length(&mut self, list: &str, length: usize) {
        if length > LIST_MAX {
            self.mistake(
                list,
                format!("{length} entries; {LIST_MAX} is the most that is taken"),
            );
        }
    }
}

/// The families of `nft(8)`.
const FAMILIES: [&str; 6] = ["inet", "ip", "ip6", "arp", "bridge", "netdev"];

fn overlap(one: PortRange, other: PortRange) -> bool {
    one.first() <= other.last() && other.first() <= one.last()
}
