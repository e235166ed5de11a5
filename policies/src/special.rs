//! Names that mean a machine and not an entry of the DNS: the host's aliases, and the sandbox itself.
//!
//! They are judged before any list of domains is looked at, and never resolved.
//! Clauses: P3.

use crate::DnsName;

/// The names of the host, all with one meaning: opencode-sandbox's, Docker's, Podman's.
pub const HOST_ALIASES: [&str; 3] = [
    "docker.host",
    "host.docker.internal",
    "host.containers.internal",
];

/// A name's special meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// The host that runs the sandbox.
    HostAlias,
    /// The machine itself, whichever that is: RFC 6761 section 6.3, and the name that distributions put into hosts files.
    Loopback,
}

/// The special meaning of a name, if it has one.
#[must_use]
pub fn of(name: &DnsName) -> Option<Special> {
    let text = name.as_str();
    if HOST_ALIASES.contains(&text) {
        return Some(Special::HostAlias);
    }
    let loopback = |top: &str| {
        let head = text.strip_suffix(top);
        head.is_some_and(|head| head.is_empty() || head.ends_with('.'))
    };
    if loopback("localhost") || loopback("localhost.localdomain") {
        return Some(Special::Loopback);
    }
    None
}
