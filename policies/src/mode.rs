//! The network modes, in order of strictness.
//!
//! Clauses: P8.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much of the lists counts. The order is strictness: `None` is the least, so combining two modes is `min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// No network at all.
    None,
    /// Only `llm-endpoints` and `host-ports`.
    Restricted,
    /// What the lists allow. The default.
    Filtered,
    /// Every public name passes and is recorded; the denylist still refuses.
    Observe,
}

impl Mode {
    /// Every mode, strictest first.
    pub const ALL: [Self; 4] = [Self::None, Self::Restricted, Self::Filtered, Self::Observe];

    /// The word in the file and in the record.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restricted => "restricted",
            Self::Filtered => "filtered",
            Self::Observe => "observe",
        }
    }

    /// The mode of that word; `None` if there is none.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.code() == word)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
