//! Verdicts and the proofs that they give.
//!
//! A [`Permit`] is made by `Policy::decide` alone, a [`PinnedPermit`] by `Policy::pin` alone: a stage cannot be skipped.
//! Not responsible for how a refusal is worded on the wire (`proxy/src/respond.rs`).
//! Clauses: P1, P7.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Destination, DnsName, Port, Request};

/// What `decide` says. There is no default, and a `bool` never means allow.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on, with this proof.
    Allow(Permit),
    /// It is refused.
    Deny(Deny),
}

/// The number of a loaded policy; it grows with each reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Proof that a policy allowed one request by name.
#[derive(Debug, Clone)]
pub struct Permit {
    pub(crate) request: Request,
    pub(crate) rules: Rules,
    pub(crate) rule: Option<RuleId>,
    pub(crate) carries: Carries,
    pub(crate) target: Target,
    pub(crate) reach: Reach,
    pub(crate) generation: Generation,
    pub(crate) given: Given,
}

impl Permit {
    /// The request that was judged.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// The entry that allowed it; `None` where the mode did (`observe`).
    #[must_use]
    pub fn rule(&self) -> Option<&Rule> {
        self.rules.get(self.rule?)
    }

    /// What the connection must carry.
    #[must_use]
    pub const fn carries(&self) -> Carries {
        self.carries
    }

    /// What to resolve or dial.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The policy that judged.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }
}

impl PartialEq for Permit {
    /// By what it says: the tables of two policies are not compared.
    fn eq(&self, other: &Self) -> bool {
        self.request == other.request
            && self.rule() == other.rule()
            && self.carries == other.carries
            && self.target == other.target
            && self.reach == other.reach
            && self.generation == other.generation
            && self.given == other.given
    }
}

impl Eq for Permit {}

/// Whether a permit stands for every request of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// A person gave it for this request.
    Once,
    /// The policy gives it.
    Standing,
}

/// The entries of a policy, shared by all that it allowed: a permit names its rule without touching it, and whoever
/// asks for the rule pays for the memory.
#[derive(Debug, Clone)]
pub(crate) struct Rules(Arc<[Rule]>);

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self(Arc::from(rules))
    }

    pub(crate) fn get(&self, id: RuleId) -> Option<&Rule> {
        self.0.get(usize::try_from(id.0).ok()?)
    }
}

/// The number of an entry among those of its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuleId(pub(crate) u32);

/// What must be inside an allowed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carries {
    /// HTTP/1 whose Host is the destination.
    Http,
    /// Anything.
    Raw,
    /// A ClientHello whose SNI is the destination.
    Tls,
    /// Either of `Tls` and `Http`, told apart by the first bytes.
    TlsOrHttp,
}

/// What an allowed request is dialled at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This very address; nothing is resolved.
    Address(IpAddr),
    /// The addresses that this name resolves to, once pinned.
    Resolve(DnsName),
    /// The host's addresses as configured; nothing is resolved.
    SandboxHost,
}

/// Which resolved addresses a permit accepts without a listing in `private-addresses`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Public ones, the LAN's and the host's: an `llm-endpoints` entry.
    Lan,
    /// Public ones.
    Public,
}

impl Reach {
    /// The wider of two.
    pub(crate) const fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Lan, _) | (_, Self::Lan) => Self::Lan,
            (Self::Public, Self::Public) => Self::Public,
        }
    }
}

/// Proof that a policy allowed one request by name and by address. What it holds is what is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedPermit {
    pub(crate) permit: Permit,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) dropped: Vec<IpAddr>,
}

impl PinnedPermit {
    /// Where to dial, in the resolver's order; never empty.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The answers that were refused.
    #[must_use]
    pub fn dropped(&self) -> &[IpAddr] {
        &self.dropped
    }

    /// The proof by name.
    #[must_use]
    pub const fn permit(&self) -> &Permit {
        &self.permit
    }
}

/// A refusal. It is not an error: nothing went wrong.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deny {
    /// Why.
    pub reason: Reason,
    /// The entry that decided, where one did.
    pub rule: Option<Rule>,
    /// The line that would allow it, if a person wants to.
    pub suggestion: Option<Suggestion>,
    /// Resolved addresses that were refused, for the record; never for the client.
    pub dropped: Vec<IpAddr>,
}

impl Deny {
    /// A refusal with a reason alone.
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            rule: None,
            suggestion: None,
            dropped: Vec::new(),
        }
    }
}

/// Why a request was refused. Stable: users and outside checks rely on the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// An entry of the denylist.
    Denylisted,
    /// The origin did not answer.
    DialFailed,
    /// A packet that went round the proxy.
    Direct,
    /// A DNS query for a name that is not allowed.
    Dns,
    /// The name did not resolve.
    DnsFailed,
    /// An address where a name belongs.
    IpLiteral,
    /// Too many connections, or too slow.
    Limit,
    /// Not a request that two readers read alike.
    Malformed,
    /// The network mode.
    Mode,
    /// No SNI in the ClientHello.
    NoSni,
    /// Neither TLS nor what the port allows.
    NotTls,
    /// No entry of the lists.
    NotWhitelisted,
    /// The name is listed, the port is not.
    Port,
    /// The name leads to an address that is not public.
    PrivateAddress,
    /// Cut by a policy change.
    Revoked,
    /// The SNI is not the destination.
    SniMismatch,
}

impl Reason {
    /// Every reason, for schemas and tables.
    pub const ALL: [Self; 16] = [
        Self::Denylisted,
        Self::DialFailed,
        Self::Direct,
        Self::Dns,
        Self::DnsFailed,
        Self::IpLiteral,
        Self::Limit,
        Self::Malformed,
        Self::Mode,
        Self::NoSni,
        Self::NotTls,
        Self::NotWhitelisted,
        Self::Port,
        Self::PrivateAddress,
        Self::Revoked,
        Self::SniMismatch,
    ];

    /// The stable code, as in the record and in `Proxy-Status`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Denylisted => "denylisted",
            Self::DialFailed => "dial-failed",
            Self::Direct => "direct",
            Self::Dns => "dns",
            Self::DnsFailed => "dns-failed",
            Self::IpLiteral => "ip-literal",
            Self::Limit => "limit",
            Self::Malformed => "malformed",
            Self::Mode => "mode",
            Self::NoSni => "no-sni",
            Self::NotTls => "not-tls",
            Self::NotWhitelisted => "not-whitelisted",
            Self::Port => "port",
            Self::PrivateAddress => "private-address",
            Self::Revoked => "revoked",
            Self::SniMismatch => "sni-mismatch",
        }
    }
}

/// An entry of a list, where it stands. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// The file as it was named to `Config::parse`, or `preset:NAME`.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The entry as written.
    pub text: Arc<str>,
}

/// The exact line that would allow a refused destination. Shown as `http-domain-whitelist: - example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion(pub(crate) Entry);

/// What a suggestion would write, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A port of the host.
    HostPort(Port),
    /// A model server.
    Llm(Destination),
    /// A raw TCP destination.
    Tcp(Destination),
    /// A name on its usual ports.
    Whitelist(DnsName),
    /// A name on one port.
    WhitelistPort(DnsName, Port),
}

impl Suggestion {
    /// The section of the file.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match &self.0 {
            Entry::HostPort(_) => "host-ports",
            Entry::Llm(_) => "llm-endpoints",
            Entry::Tcp(_) => "tcp-endpoints",
            Entry::Whitelist(_) | Entry::WhitelistPort(..) => "http-domain-whitelist",
        }
    }

    /// The entry to put into that section, without its dash.
    #[must_use]
    pub fn entry(&self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: - {}", self.key(), self.0)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::HostPort(port) => return write!(f, "{port}"),
            Self::Llm(destination) => format!("http://{destination}/v1"),
            Self::Tcp(destination) => destination.to_string(),
            Self::Whitelist(name) => name.to_string(),
            Self::WhitelistPort(name, port) => format!("{name}:{port}"),
        };
        f.write_str(&crate::yaml::item(&text))
    }
}
