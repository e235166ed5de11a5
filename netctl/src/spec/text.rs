//! A spec as typed: the JSON's very fields, for those who write one (`orchestrator`) and for `compile`, which reads it.
//!
//! Not here: what the fields mean.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A spec as typed. Numbers are wider than what they stand for, so that a wrong one is named beside the other mistakes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "topology", rename_all = "lowercase", deny_unknown_fields)]
pub enum SpecText {
    /// A namespace without egress.
    Sealed {
        /// [`VERSION`](super::VERSION).
        v: u32,
        /// Port of the explicit listener.
        explicit: u32,
        /// Port of the capture listener.
        capture: u32,
        /// Port of the DNS stub.
        dns: u32,
        /// NFLOG group of rejected packets.
        nflog_group: u32,
        /// Ports that connections are carried to from outside.
        #[serde(default)]
        published: Vec<u32>,
    },
    /// A namespace with egress.
    Shared {
        /// [`VERSION`](super::VERSION).
        v: u32,
        /// Who may open connections to the outside.
        proxy_uid: u32,
        /// Who may not.
        agent_uid: u32,
        /// Port of the explicit listener.
        explicit: u32,
        /// Port of the DNS stub, where there is one.
        #[serde(default)]
        dns: Option<u32>,
        /// Ports on 127.0.0.1 and `::1` that the agent's own services use.
        #[serde(default)]
        own_ports: Vec<PortsText>,
        /// Endpoints that the agent may reach directly.
        #[serde(default)]
        host_ports: Vec<EndpointText>,
        /// The proxy's resolvers.
        #[serde(default)]
        resolvers: Vec<EndpointText>,
        /// NFLOG group of rejected packets.
        nflog_group: u32,
        /// Ports that may be reached from outside.
        #[serde(default)]
        published: Vec<u32>,
        /// Tables of others that may stand in the namespace.
        #[serde(default)]
        other_tables: Vec<TableText>,
    },
}

/// One port, or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortsText {
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
}

/// An address with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointText {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u32,
}

/// An nftables table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableText {
    /// `inet`, `ip`, `ip6`, `arp`, `bridge` or `netdev`.
    pub family: String,
    /// The name.
    pub name: String,
}
