//! What a namespace's fence is to let through: the spec, parsed from JSON into types that cannot say nonsense.
//!
//! Two stages: [`SpecText`] is the JSON as typed, [`Spec`] is what it means. The second comes from the first with all
//! mistakes at once, or not at all. `docs/netctl.md` shows both forms.
//!
//! Not here: the rules that follow from a spec (`plan`).
//!
//! Clauses: N8 (the agent's uid is named, and is not the proxy's).

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

mod compile;
mod text;

pub use text::{EndpointText, PortsText, SpecText, TableText};

/// The version of the spec that this code reads.
pub const VERSION: u32 = 1;

/// A fence, as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// The namespace has no interface but `lo`.
    Sealed(Sealed),
    /// The namespace has egress, and containers share it.
    Shared(Shared),
}

impl Spec {
    /// Reads a spec from JSON.
    ///
    /// # Errors
    /// [`SpecError::Json`] where the text is not the JSON of a spec, [`SpecError::Meaning`] with every mistake in what
    /// it says. The caller's fault, both.
    pub fn parse(json: &[u8]) -> Result<Self, SpecError> {
        let text: SpecText = serde_json::from_slice(json).map_err(SpecError::Json)?;
        text.compile()
    }

    /// The ports that are carried into the namespace, in ascending order.
    #[must_use]
    pub fn published(&self) -> &BTreeSet<Port> {
        match self {
            Self::Sealed(sealed) => &sealed.published,
            Self::Shared(shared) => &shared.published,
        }
    }

    /// The NFLOG group that rejected packets are logged to.
    #[must_use]
    pub fn nflog_group(&self) -> NflogGroup {
        match self {
            Self::Sealed(sealed) => sealed.nflog_group,
            Self::Shared(shared) => shared.nflog_group,
        }
    }

    /// Tables of others that may stand in the namespace; anything not named is a difference.
    #[must_use]
    pub fn other_tables(&self) -> &[Table] {
        match self {
            Self::Sealed(_) => &[],
            Self::Shared(shared) => &shared.other_tables,
        }
    }
}

/// The fence of a namespace that has no interface but `lo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub(crate) explicit: Port,
    pub(crate) capture: Port,
    pub(crate) dns: Port,
    pub(crate) nflog_group: NflogGroup,
    pub(crate) published: BTreeSet<Port>,
}

impl Sealed {
    /// Where clients that honour proxy variables connect.
    #[must_use]
    pub const fn explicit(&self) -> Port {
        self.explicit
    }

    /// Where TCP to any other address ends.
    #[must_use]
    pub const fn capture(&self) -> Port {
        self.capture
    }

    /// Where DNS ends.
    #[must_use]
    pub const fn dns(&self) -> Port {
        self.dns
    }
}

/// The fence of a namespace that has egress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    pub(crate) proxy: Uid,
    pub(crate) agent: Uid,
    pub(crate) explicit: Port,
    pub(crate) dns: Option<Port>,
    pub(crate) own_ports: BTreeSet<PortRange>,
    pub(crate) host_ports: BTreeSet<Endpoint>,
    pub(crate) resolvers: BTreeSet<Endpoint>,
    pub(crate) nflog_group: NflogGroup,
    pub(crate) published: BTreeSet<Port>,
    pub(crate) other_tables: Vec<Table>,
}

/// A TCP or UDP port, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(NonZeroU16);

impl Port {
    /// The port of DNS (RFC 1035 section 4.2).
    pub const DNS: Self = Self(NonZeroU16::MIN.saturating_add(52));

    /// The port, unless it is 0.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ports from `first` to `last`, both included; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// The range, unless it runs backwards.
    #[must_use]
    pub fn new(first: Port, last: Port) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The lowest port.
    #[must_use]
    pub const fn first(self) -> Port {
        self.first
    }

    /// The highest port.
    #[must_use]
    pub const fn last(self) -> Port {
        self.last
    }

    /// Whether `port` lies within.
    #[must_use]
    pub fn contains(self, port: Port) -> bool {
        self.first <= port && port <= self.last
    }
}

impl From<Port> for PortRange {
    fn from(port: Port) -> Self {
        Self {
            first: port,
            last: port,
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A user id, as the user namespace that owns the network namespace counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(u32);

impl Uid {
    /// The uid, unless it is root's or the one that means "none" (`(uid_t) -1`).
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match number {
            0 | u32::MAX => None,
            number => Some(Self(number)),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: Port,
}

/// An NFLOG group, never 0: that is the one that ulogd and the like listen to by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NflogGroup(NonZeroU16);

impl NflogGroup {
    /// The group, unless it is 0.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// An nftables table by family and name, such as `ip nat`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table {
    /// The family, as `nft` spells it.
    pub family: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// Why a spec was refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not the JSON of a spec.
    #[error("the spec is not the JSON that docs/netctl.md describes")]
    Json(#[source] serde_json::Error),
    /// JSON of a spec that means nothing safe.
    #[error("the spec is refused:{}", list(.0))]
    Meaning(Vec<Mistake>),
}

/// One mistake in a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct Mistake {
    /// Where, such as `host_ports[1].port`.
    pub path: String,
    /// What is wrong, and what to write where that is known.
    pub what: String,
}

fn list(mistakes: &[Mistake]) -> String {
    mistakes
        .iter()
        .map(|mistake| format!("\n  {mistake}"))
        .collect()
}

#[cfg(test)]
mod tests;
