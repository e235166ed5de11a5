//! Patterns of the domain lists: label-wise suffixes, no globs, no regular expressions.
//!
//! Clauses: P3, P5.

use std::fmt;

use crate::{DnsName, Port};

/// One entry of a domain list. Shown in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    pub(crate) name: DnsName,
    pub(crate) extent: Extent,
    pub(crate) port: Option<Port>,
}

/// How far below its name a pattern reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(dead_code, reason = "nothing is parsed yet")]
pub(crate) enum Extent {
    /// `.d`: the name and all below it.
    Below,
    /// `d`: the name alone.
    Exact,
}

/// Why an entry is no pattern, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// What is wrong.
    pub message: String,
    /// The corrected text, where there is one.
    pub write: Option<String>,
}

impl Pattern {
    /// Whether the name lies within this pattern, ports aside.
    #[must_use]
    pub fn covers(&self, name: &DnsName) -> bool {
        if *name == self.name {
            return true;
        }
        let above = name.as_str().strip_suffix(self.name.as_str());
        match self.extent {
            Extent::Below => above.is_some_and(|head| head.ends_with('.')),
            Extent::Exact => false,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.extent {
            Extent::Below => write!(f, ".{}", self.name)?,
            Extent::Exact => write!(f, "{}", self.name)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
