//! The judge: one sync, total function over values.
//!
//! Clauses: P1, P2, P4, P5, P8.

use std::net::IpAddr;

use crate::{Config, Deny, DnsName, Generation, Mode, Reason, Request, Rule, Verdict};

/// What "the host" and "ourselves" mean, as addresses, when answers are screened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// What `docker.host` is dialled at, in this order; empty: host ports are refused.
    pub host_addresses: Vec<IpAddr>,
    /// The addresses of the machine, and of the proxy itself, that no name may lead to.
    pub own_addresses: Vec<IpAddr>,
}

/// A compiled policy. Immutable; a reload makes another one.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) mode: Mode,
    pub(crate) generation: Generation,
    pub(crate) hash: String,
    #[expect(dead_code, reason = "nothing is pinned yet")]
    pub(crate) surroundings: Surroundings,
}

/// What the DNS stub needs to know of a name.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameVerdict {
    /// Some port of this name may be asked for; the entry that says so, or `None` in `observe`.
    Allow(Option<Rule>),
    /// No port of this name may be asked for.
    Deny(Deny),
}

impl Config {
    /// Compiles the lists into a policy of generation 1; `mode` replaces the file's.
    #[must_use]
    pub fn policy(&self, mode: Option<Mode>, surroundings: Surroundings) -> Policy {
        Policy {
            mode: mode.unwrap_or(self.mode),
            generation: Generation(1),
            hash: String::new(),
            surroundings,
        }
    }
}

impl Policy {
    /// The same policy under another generation number.
    #[must_use]
    pub fn at_generation(self, generation: Generation) -> Self {
        Self { generation, ..self }
    }

    /// Judges a request by name and port. No I/O, no allocation, a cost of the name's labels and not of the rules.
    pub fn decide(&self, _request: &Request) -> Verdict {
        Verdict::Deny(Deny::new(Reason::NotWhitelisted))
    }

    /// Whether some port of a name may be asked for.
    pub fn allows_name(&self, _name: &DnsName) -> NameVerdict {
        NameVerdict::Deny(Deny::new(Reason::NotWhitelisted))
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
