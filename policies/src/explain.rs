//! Why a verdict is what it is, for people: the rules tried, the nearest miss, the line that would allow it.
//!
//! It asks the very matcher of the wire; it decides nothing itself.

use std::fmt;

use crate::{Policy, Request, Rule, Suggestion, Verdict};

/// A verdict with its reasons. Shown as several lines of text.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// What was asked.
    pub request: Request,
    /// What `decide` says.
    pub verdict: Verdict,
    /// What was tried, in order.
    pub steps: Vec<Step>,
    /// The entry that came closest, if it was refused and one came close.
    pub nearest: Option<Rule>,
    /// The line that would allow it.
    pub suggestion: Option<Suggestion>,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The section of the file, or `network-mode`.
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
    /// Nothing there covers the host.
    Nothing,
    /// It covers the host, and not the port or the way.
    OtherPort,
}

impl Policy {
    /// Judges a request, and says how it came to that.
    #[must_use]
    pub fn explain(&self, request: &Request) -> Explanation {
        Explanation {
            request: request.clone(),
            verdict: self.decide(request),
            steps: Vec::new(),
            nearest: None,
            suggestion: None,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Allow(_) => write!(f, "allow {}", self.request.destination),
            Verdict::Deny(deny) => {
                write!(
                    f,
                    "deny {}: {}",
                    self.request.destination,
                    deny.reason.code()
                )
            }
        }
    }
}
