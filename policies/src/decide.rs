//! The judge: one sync, total function over values. The wire and `ocs policy explain` run the same code.
//!
//! The order is load-bearing, and is the order of this file: the mode that allows nothing; names that mean a machine;
//! the denylist, before anything that allows; then every entry that covers the destination, and the widest of them.
//! Clauses: P1, P2, P4, P5, P8.

use std::net::IpAddr;

use crate::explain::{Finding, Trace};
use crate::grant::{Fit, Grant, Kind};
use crate::names::Found;
use crate::pattern::Extent;
use crate::policy::{Policy, Refusal};
use crate::special::{self, HOST_ALIASES, Special};
use crate::suggest;
use crate::verdict::{Given, Reach, RuleId};
use crate::{
    Carries, Deny, Destination, DnsName, Host, Mode, Permit, Port, Reason, Request, Rule, Target,
    Verdict, Via,
};

/// What the DNS stub needs to know of a name.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameVerdict {
    /// Some port of this name may be asked for; the entry that says so, or `None` in `observe`.
    Allow(Option<Rule>),
    /// No port of this name may be asked for.
    Deny(Deny),
}

/// What the entries seen so far come to.
#[derive(Debug, Default)]
struct Tally {
    /// The widest that lets the request through.
    lets: Option<Lets>,
    /// The nearest that covers the host, and misses by port or way.
    misses: Option<(Reason, RuleId)>,
    /// One that would let it through in a wider mode.
    waits: Option<(Nearness, RuleId)>,
}

/// How near an entry comes that does not count in this mode; the order is nearness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    OtherPort,
    Fits,
}

#[derive(Debug, Clone, Copy)]
struct Lets {
    carries: Carries,
    reach: Reach,
    rule: Option<RuleId>,
}

impl Policy {
    /// Judges a request by name and port. No I/O, no allocation, a cost of the name's labels and not of the rules.
    pub fn decide(&self, request: &Request) -> Verdict {
        match self.judge(request, &mut crate::explain::Silent) {
            Verdict::Deny(deny) => self.lift(request, deny),
            allow @ Verdict::Allow(_) => allow,
        }
    }

    pub(crate) fn judge(&self, request: &Request, trace: &mut impl Trace) -> Verdict {
        if self.mode == Mode::None {
            trace.step("network-mode", None, Finding::Denies);
            return Verdict::Deny(Deny::new(Reason::Mode));
        }
        match &request.destination.host {
            Host::Address(address) => self.judge_address(request, *address, trace),
            Host::Name(name) => match special::of(name) {
                Some(Special::HostAlias) => self.judge_host(request, trace),
                Some(Special::Loopback) => judge_loopback(trace),
                None => self.judge_name(request, name, trace),
            },
        }
    }

    /// A literal: only that very address and port, as listed; never by range, never in another spelling.
    fn judge_address(&self, request: &Request, address: IpAddr, trace: &mut impl Trace) -> Verdict {
        let mut tally = Tally::default();
        for grant in self
            .addresses
            .get(&request.destination)
            .into_iter()
            .flatten()
        {
            self.weigh(*grant, request, &mut tally, trace);
        }
        match tally.lets {
            Some(lets) => self.permit(request, lets, Target::Address(address)),
            None => self.refuse(&tally, Reason::IpLiteral, request),
        }
    }

    /// The host, under any of its names. An entry of the denylist for one of them counts for all.
    fn judge_host(&self, request: &Request, trace: &mut impl Trace) -> Verdict {
        let port = request.destination.port;
        for alias in HOST_ALIASES {
            if let Some(rule) = self.denied(alias, port) {
                return self.denylisted(rule, trace);
            }
        }
        let mut tally = Tally::default();
        for grant in self.host.get(&port).into_iter().flatten() {
            self.weigh(*grant, request, &mut tally, trace);
        }
        match tally.lets {
            Some(lets) => self.permit(request, lets, Target::SandboxHost),
            None if self.host.is_empty() => self.refuse(&tally, Reason::NotWhitelisted, request),
            None => self.refuse(&tally, Reason::Port, request),
        }
    }

    fn judge_name(&self, request: &Request, name: &DnsName, trace: &mut impl Trace) -> Verdict {
        if let Some(rule) = self.denied(name.as_str(), request.destination.port) {
            return self.denylisted(rule, trace);
        }
        let mut tally = Tally::default();
        for (found, grant) in self.allow.walk(name.as_str()) {
            if covers(found, grant.kind) {
                self.weigh(grant, request, &mut tally, trace);
            }
        }
        if self.mode == Mode::Observe {
            trace.step("network-mode", None, Finding::Allows);
            tally.add(Carries::observed(request), Reach::Public, None);
        }
        match tally.lets {
            Some(lets) => self.permit(request, lets, Target::Resolve(name.clone())),
            None if self.mode == Mode::Restricted && tally.misses.is_none() => {
                trace.step(
                    "network-mode",
                    tally.waits.and_then(|(_, rule)| self.rules.get(rule)),
                    Finding::Denies,
                );
                self.refuse(&tally, Reason::Mode, request)
            }
            None => self.refuse(&tally, Reason::NotWhitelisted, request),
        }
    }

    /// Adds what one entry, which covers the host, says of the request.
    fn weigh(&self, grant: Grant, request: &Request, tally: &mut Tally, trace: &mut impl Trace) {
        let (key, rule) = (grant.kind.key(), self.rules.get(grant.rule));
        if !counts(self.mode, grant.kind) {
            let near = match grant.kind.fit(request.destination.port, request.via) {
                Fit::Lets(_) => Nearness::Fits,
                Fit::Misses(_) => Nearness::OtherPort,
            };
            tally.wait(near, grant.rule);
            trace.step(key, rule, Finding::OtherMode);
            return;
        }
        match grant.kind.fit(request.destination.port, request.via) {
            Fit::Lets(carries) => {
                trace.step(key, rule, Finding::Allows);
                tally.add(carries, grant.kind.reach(), Some(grant.rule));
            }
            Fit::Misses(reason) => {
                trace.step(key, rule, Finding::OtherPort);
                tally.miss(reason, grant.rule);
            }
        }
    }

    /// The most specific entry of the denylist that covers a name on a port.
    fn denied(&self, name: &str, port: Port) -> Option<RuleId> {
        let hits = self.deny.walk(name).filter(|(found, refusal)| {
            refusal.covers(*found) && refusal.port.is_none_or(|listed| listed == port)
        });
        hits.last().map(|(_, refusal)| refusal.rule)
    }

    fn denylisted(&self, rule: RuleId, trace: &mut impl Trace) -> Verdict {
        let rule = self.rules.get(rule);
        trace.step("http-domain-denylist", rule, Finding::Denies);
        Verdict::Deny(Deny {
            rule: rule.cloned(),
            ..Deny::new(Reason::Denylisted)
        })
    }

    fn permit(&self, request: &Request, lets: Lets, target: Target) -> Verdict {
        Verdict::Allow(Permit {
            request: request.clone(),
            rules: self.rules.clone(),
            rule: lets.rule,
            carries: lets.carries,
            target,
            reach: lets.reach,
            generation: self.generation,
            given: Given::Standing,
        })
    }

    /// A refusal for `reason`, unless an entry came nearer than that.
    fn refuse(&self, tally: &Tally, reason: Reason, request: &Request) -> Verdict {
        let (reason, rule) = match (reason, tally.misses, tally.waits.map(|(_, rule)| rule)) {
            (_, Some((miss, rule)), _) => (miss, Some(rule)),
            (_, None, Some(rule)) => (Reason::Mode, Some(rule)),
            (reason, None, None) => (reason, None),
        };
        Verdict::Deny(Deny {
            reason,
            rule: rule.and_then(|rule| self.rules.get(rule)).cloned(),
            suggestion: suggest::entry(self.mode, reason, request),
            dropped: Vec::new(),
        })
    }

    /// Whether some port of a name may be asked for. If not, `decide` refuses every request for it.
    pub fn allows_name(&self, name: &DnsName) -> NameVerdict {
        if let Some(rule) = self.some_port(name) {
            return NameVerdict::Allow(rule.and_then(|rule| self.rules.get(rule)).cloned());
        }
        if let Some(rule) = self.granted_port(name) {
            return NameVerdict::Allow(Some(rule.clone()));
        }
        // Refused on every port: the reason is the one that the commonest request gets.
        let host = Host::Name(name.clone());
        let destination = Destination {
            host,
            port: Port::HTTPS,
        };
        let request = Request {
            destination,
            via: Via::CapturedTls,
        };
        NameVerdict::Deny(match self.decide(&request) {
            Verdict::Deny(deny) => deny,
            Verdict::Allow(_) => Deny::new(Reason::NotWhitelisted),
        })
    }

    /// An entry that opens some port of the name; `Some(None)` is the mode.
    fn some_port(&self, name: &DnsName) -> Option<Option<RuleId>> {
        let usable = |grant: &Grant| counts(self.mode, grant.kind);
        let rule = |grant: Grant| Some(grant.rule);
        match special::of(name) {
            Some(Special::Loopback) => None,
            Some(Special::HostAlias) => {
                let mut grants = self.host.values().flatten().copied().filter(usable);
                grants.find(|grant| self.host_opens(grant.kind)).map(rule)
            }
            None => {
                let grants = self
                    .allow
                    .walk(name.as_str())
                    .filter(|(found, grant)| covers(*found, grant.kind));
                let mut grants = grants.map(|(_, grant)| grant).filter(usable);
                let listed = grants
                    .find(|grant| self.opens(name.as_str(), grant.kind))
                    .map(rule);
                let observed = self.mode == Mode::Observe && !self.denied_whole(name.as_str());
                listed.or(observed.then_some(None))
            }
        }
    }

    /// Whether the denylist leaves a port that the entry opens.
    fn opens(&self, name: &str, kind: Kind) -> bool {
        let mut ports = kind.ports();
        ports.any(|port| self.denied(name, port).is_none())
    }

    /// The same for the host, under all its names.
    fn host_opens(&self, kind: Kind) -> bool {
        HOST_ALIASES
            .into_iter()
            .all(|alias| self.opens(alias, kind))
    }

    /// Whether the denylist refuses every port of a name.
    fn denied_whole(&self, name: &str) -> bool {
        let mut hits = self.deny.walk(name);
        hits.any(|(found, refusal)| refusal.covers(found) && refusal.port.is_none())
    }
}

impl Tally {
    /// One more entry that lets it through: what may be inside grows, and the entry that makes it grow is the rule; of
    /// equals the later, which is the more specific.
    fn add(&mut self, carries: Carries, reach: Reach, rule: Option<RuleId>) {
        let Some(lets) = &mut self.lets else {
            self.lets = Some(Lets {
                carries,
                reach,
                rule,
            });
            return;
        };
        let union = lets.carries.union(carries);
        if rule.is_some() && (union != lets.carries || union == carries) {
            lets.rule = rule;
        }
        lets.carries = union;
        lets.reach = lets.reach.union(reach);
    }

    /// One more entry that waits for a wider mode; of equals the later is more specific.
    fn wait(&mut self, near: Nearness, rule: RuleId) {
        if self.waits.is_none_or(|(known, _)| near >= known) {
            self.waits = Some((near, rule));
        }
    }

    /// One more entry that misses; a wrong way is nearer than a wrong port, and of equals the later is more specific.
    fn miss(&mut self, reason: Reason, rule: RuleId) {
        match self.misses {
            Some((Reason::NotTls, _)) if reason != Reason::NotTls => {}
            Some(_) | None => self.misses = Some((reason, rule)),
        }
    }
}

impl Refusal {
    fn covers(self, found: Found) -> bool {
        found == Found::Itself || self.extent == Extent::Below
    }
}

impl Carries {
    /// What `observe` lets through: anything, but for the ports whose content says where it goes.
    fn observed(request: &Request) -> Self {
        match request.via {
            Via::Connect | Via::CapturedTls if request.destination.port == Port::HTTPS => Self::Tls,
            Via::Http => Self::Http,
            Via::CapturedHttp if request.destination.port == Port::HTTP => Self::Http,
            Via::Connect | Via::CapturedHttp | Via::CapturedTcp | Via::CapturedTls => Self::Raw,
        }
    }
}

/// Whether an entry found under this name or one above covers the name looked for.
const fn covers(found: Found, kind: Kind) -> bool {
    match (found, kind) {
        (Found::Itself, _) | (Found::Above, Kind::List(Extent::Below, _)) => true,
        (
            Found::Above,
            Kind::Host(_) | Kind::List(Extent::Exact, _) | Kind::Llm(..) | Kind::Tcp(_),
        ) => false,
    }
}

/// Whether a list counts in a mode.
pub(crate) const fn counts(mode: Mode, kind: Kind) -> bool {
    match (mode, kind) {
        (Mode::None, _) | (Mode::Restricted, Kind::List(..) | Kind::Tcp(_)) => false,
        (Mode::Restricted, Kind::Host(_) | Kind::Llm(..)) | (Mode::Filtered | Mode::Observe, _) => {
            true
        }
    }
}

/// The sandbox's own loopback never comes here; the proxy's side of that name is the host's.
fn judge_loopback(trace: &mut impl Trace) -> Verdict {
    trace.step("loopback", None, Finding::Denies);
    Verdict::Deny(Deny::new(Reason::PrivateAddress))
}
