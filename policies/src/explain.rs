//! Why a verdict is what it is, for people: the rules tried, the nearest miss, the line that would allow it.
//!
//! It runs the very judge of the wire with a trace; it decides nothing itself.
//! Clauses: P1, P2.

use std::fmt;

use serde_json::{Value, json};

use crate::names::Found;
use crate::{Carries, Host, Mode, Policy, Request, Rule, Suggestion, Verdict};

/// A verdict with its reasons. Shown as several lines of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What was asked.
    pub request: Request,
    /// The mode in force.
    pub mode: Mode,
    /// What `decide` says.
    pub verdict: Verdict,
    /// What was tried, in order.
    pub steps: Vec<Step>,
    /// The entry that came closest, if it was refused and one came close.
    pub nearest: Option<Rule>,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The section of the file, or `loopback` for names of the machine itself.
    pub key: &'static str,
    /// The entry, where one covers the host.
    pub rule: Option<Rule>,
    /// What it came to.
    pub finding: Finding,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It allows.
    Allows,
    /// It refuses.
    Denies,
    /// It covers the host, and its list does not count in this mode.
    OtherMode,
    /// It covers the host, and not the port or the way.
    OtherPort,
}

impl Finding {
    /// The word for machines.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Allows => "allows",
            Self::Denies => "denies",
            Self::OtherMode => "other-mode",
            Self::OtherPort => "other-port",
        }
    }
}

/// Who listens while the judge works.
pub(crate) trait Trace {
    /// One entry, or the mode, was looked at.
    fn step(&mut self, key: &'static str, rule: Option<&Rule>, finding: Finding);
}

/// Nobody: the wire.
#[derive(Debug)]
pub(crate) struct Silent;

impl Trace for Silent {
    fn step(&mut self, _key: &'static str, _rule: Option<&Rule>, _finding: Finding) {}
}

impl Trace for Vec<Step> {
    fn step(&mut self, key: &'static str, rule: Option<&Rule>, finding: Finding) {
        let rule = rule.cloned();
        self.push(Step { key, rule, finding });
    }
}

impl Policy {
    /// Judges a request, and says how it came to that.
    #[must_use]
    pub fn explain(&self, request: &Request) -> Explanation {
        let mut steps = Vec::new();
        let verdict = self.judge(request, &mut steps);
        let nearest = match &verdict {
            Verdict::Allow(_) => None,
            Verdict::Deny(deny) => deny.rule.clone().or_else(|| self.nearest(request)),
        };
        Explanation {
            request: request.clone(),
            mode: self.mode,
            verdict,
            steps,
            nearest,
        }
    }

    /// The entry of the lists that is most like a name: one for the name above, else one that differs by a slip.
    fn nearest(&self, request: &Request) -> Option<Rule> {
        let Host::Name(name) = &request.destination.host else {
            return None;
        };
        let above = self
            .allow
            .walk(name.as_str())
            .filter(|(found, _)| *found == Found::Above)
            .last();
        if let Some((_, grant)) = above {
            return self.rules.get(grant.rule).cloned();
        }
        /// Two letters turned, missing, added or changed.
        const SLIP: usize = 2;
        let near = self.allow.iter().filter_map(|(listed, grant)| {
            let distance = distance(listed, name.as_str());
            (distance <= SLIP).then_some((distance, listed, grant.rule))
        });
        let (_, _, rule) = near.min_by_key(|(distance, listed, _)| (*distance, *listed))?;
        self.rules.get(rule).cloned()
    }
}

/// Edit distance; names of very different length are simply far apart.
fn distance(a: &str, b: &str) -> usize {
    let difference = a.len().abs_diff(b.len());
    if difference > 2 {
        difference
    } else {
        strsim::osa_distance(a, b)
    }
}

impl Explanation {
    /// The line that would allow it.
    #[must_use]
    pub const fn suggestion(&self) -> Option<&Suggestion> {
        match &self.verdict {
            Verdict::Allow(_) => None,
            Verdict::Deny(deny) => deny.suggestion.as_ref(),
        }
    }

    /// The same for machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| json!({"key": step.key, "rule": step.rule, "finding": step.finding.code()}))
            .collect();
        let (decision, reason, rule, carries) = match &self.verdict {
            Verdict::Allow(permit) => ("allow", None, permit.rule(), Some(permit.carries().code())),
            Verdict::Deny(deny) => ("deny", Some(deny.reason), deny.rule.as_ref(), None),
        };
        json!({
            "decision": decision,
            "reason": reason,
            "rule": rule,
            "via": self.request.via,
            "host": self.request.destination.host.to_string(),
            "port": self.request.destination.port.get(),
            "mode": self.mode,
            "carries": carries,
            "steps": steps,
            "nearest": self.nearest,
            "suggestion": self.suggestion().map(ToString::to_string),
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (destination, via) = (&self.request.destination, self.request.via.code());
        match &self.verdict {
            Verdict::Allow(permit) => {
                let carries = permit.carries();
                write!(
                    f,
                    "allow {destination} ({via}), mode {}, carries {}",
                    self.mode,
                    carries.code()
                )?;
            }
            Verdict::Deny(deny) => {
                let reason = deny.reason.code();
                write!(
                    f,
                    "deny {destination} ({via}), mode {}: {reason}",
                    self.mode
                )?;
            }
        }
        for step in &self.steps {
            write!(f, "\n  {step}")?;
        }
        if self.steps.is_empty() {
            write!(f, "\n  no entry of the file covers it")?;
        }
        if let Some(rule) = &self.nearest {
            write!(f, "\n  nearest: {rule}")?;
        }
        if let Some(suggestion) = self.suggestion() {
            write!(f, "\n  to allow it, write: {suggestion}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if let Some(rule) = &self.rule {
            write!(f, ", {rule}")?;
        }
        f.write_str(match self.finding {
            Finding::Allows => ": allows",
            Finding::Denies => ": denies",
            Finding::OtherMode => ": covers the host, does not count in this mode",
            Finding::OtherPort => ": covers the host, not this port or way",
        })
    }
}

impl Carries {
    /// The word for machines.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Raw => "raw",
            Self::Tls => "tls",
            Self::TlsOrHttp => "tls-or-http",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} `{}`", self.file, self.line, self.text)
    }
}
