//! What a person grants while an agent waits: one name on one port, by the ways that `name:port` of the whitelist opens.
//!
//! A grant never reaches further than the refusal that it answers: what the denylist, the mode or the address refuses stays
//! refused, and so does every name that no list may hold. Not responsible for asking (`proxy/src/questions.rs`).
//! Clauses: P10.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::audit::hex;
use crate::grant::{Fit, Kind};
use crate::pattern::{Extent, Pattern};
use crate::policy::Policy;
use crate::verdict::{Given, Reach, RuleId, Rules};
use crate::{
    Carries, Deny, Destination, DnsName, Host, Mode, Permit, Reason, Request, Rule, Target, Verdict,
};

/// What the `file` of a rule says that a person gave.
pub const GRANTED_BY: &str = "ocs approve";

/// A destination that a person may grant, or granted. Made by [`Policy::question`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    destination: Destination,
    rule: Rule,
}

impl Granted {
    /// Exactly what was asked for.
    #[must_use]
    pub const fn destination(&self) -> &Destination {
        &self.destination
    }
}

/// What was granted for the whole run, each with its rule.
#[derive(Debug, Clone)]
pub(crate) struct Grants(Arc<BTreeMap<Destination, Granted>>);

impl Grants {
    pub(crate) fn none() -> Self {
        Self(Arc::new(BTreeMap::new()))
    }
}

impl Policy {
    /// What a person may be asked about a refusal; none where no answer could allow the request.
    #[must_use]
    pub fn question(&self, request: &Request, deny: &Deny, number: u32) -> Option<Granted> {
        let destination = &request.destination;
        let Host::Name(name) = &destination.host else {
            return None;
        };
        let pattern = Pattern {
            name: name.clone(),
            extent: Extent::Exact,
            port: Some(destination.port),
        };
        if pattern.too_broad().is_some() || is_nobodys(name) || !is_open(self.mode, deny) {
            return None;
        }
        fits(request)?;
        Some(Granted {
            destination: destination.clone(),
            rule: Rule {
                file: Arc::from(GRANTED_BY),
                line: number,
                text: Arc::from(pattern.to_string()),
            },
        })
    }

    /// Judges a request that a person granted, this once: by everything that judges any other first.
    pub fn decide_granted(&self, request: &Request, granted: &Granted) -> Verdict {
        match self.decide(request) {
            Verdict::Deny(deny) if granted.destination == request.destination => {
                self.lifted(request, deny, &granted.rule, Given::Once)
            }
            verdict @ (Verdict::Allow(_) | Verdict::Deny(_)) => verdict,
        }
    }

    /// Judges the request of an open connection as it was judged at its start.
    pub fn rejudge(&self, before: &Permit) -> Verdict {
        match (before.given, before.rule()) {
            (Given::Once, Some(rule)) => self.decide_granted(
                &before.request,
                &Granted {
                    destination: before.request.destination.clone(),
                    rule: rule.clone(),
                },
            ),
            (Given::Once | Given::Standing, _) => self.decide(&before.request),
        }
    }

    /// The same policy, with what a person granted for this run.
    #[must_use]
    pub fn granting(mut self, granted: impl IntoIterator<Item = Granted>) -> Self {
        let mut all = (*self.grants.0).clone();
        let of_file = self.hash_of_file.clone();
        let granted: Vec<Granted> = granted.into_iter().collect();
        self.ports
            .extend(granted.iter().map(|it| it.destination.port));
        all.extend(
            granted
                .into_iter()
                .map(|granted| (granted.destination.clone(), granted)),
        );
        if !all.is_empty() {
            let mut hash = Sha256::new();
            hash.update(of_file);
            for destination in all.keys() {
                hash.update(format!("\ngranted {destination}"));
            }
            self.hash = hex(&hash.finalize().into())
                .into_iter()
                .map(char::from)
                .collect();
        }
        self.grants = Grants(Arc::new(all));
        self
    }

    /// A refusal, or what a person granted for this run in its place.
    pub(crate) fn lift(&self, request: &Request, deny: Deny) -> Verdict {
        match self.grants.0.get(&request.destination) {
            Some(granted) => self.lifted(request, deny, &granted.rule, Given::Standing),
            None => Verdict::Deny(deny),
        }
    }

    /// A port of the name that was granted for this run, and that nothing refuses.
    pub(crate) fn granted_port(&self, name: &DnsName) -> Option<&Rule> {
        let grants = self.grants.0.iter();
        grants
            .filter(|(destination, _)| destination.host == Host::Name(name.clone()))
            .find(|(destination, _)| {
                let request = Request {
                    destination: (*destination).clone(),
                    via: crate::Via::CapturedTls,
                };
                matches!(self.decide(&request), Verdict::Allow(_))
            })
            .map(|(_, granted)| &granted.rule)
    }

    fn lifted(&self, request: &Request, deny: Deny, rule: &Rule, given: Given) -> Verdict {
        let (Host::Name(name), true, Some(carries)) = (
            &request.destination.host,
            is_open(self.mode, &deny),
            fits(request),
        ) else {
            return Verdict::Deny(deny);
        };
        Verdict::Allow(Permit {
            request: request.clone(),
            rules: Rules::new(vec![rule.clone()]),
            rule: Some(RuleId(0)),
            carries,
            target: Target::Resolve(name.clone()),
            reach: Reach::Public,
            generation: self.generation,
            given,
        })
    }
}

/// Whether a refusal is for want of an entry, and not by one.
fn is_open(mode: Mode, deny: &Deny) -> bool {
    mode == Mode::Filtered && matches!(deny.reason, Reason::NotWhitelisted | Reason::Port)
}

/// Whether a name is of those that nobody has: RFC 6761 section 6.4. A fence is proven with one.
fn is_nobodys(name: &DnsName) -> bool {
    name.labels().next_back() == Some("invalid")
}

/// What the connection must carry, if `name:port` opens this way at all.
fn fits(request: &Request) -> Option<Carries> {
    let port = request.destination.port;
    match Kind::List(Extent::Exact, Some(port)).fit(port, request.via) {
        Fit::Lets(carries) => Some(carries),
        Fit::Misses(_) => None,
    }
}

#[cfg(test)]
mod tests;
