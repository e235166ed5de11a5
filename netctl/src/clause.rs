//! The clauses of `docs/security.md`, section N, that rules of the plan keep. Each rule names one, and carries it into
//! the kernel as its comment.
//!
//! Not here: what each clause promises (`docs/security.md` says it), nor the rules that keep it (`plan`).
//!
//! Clauses: N2 to N9 and N12, as names.

use std::fmt;

use serde::Serialize;

/// One clause of `docs/security.md` that nftables rules keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Clause {
    /// Replies to what was admitted pass.
    N2,
    /// TCP that is not for loopback ends at the capture listener.
    N3,
    /// DNS ends at the stub.
    N4,
    /// The agent's own loopback services are its own affair.
    N5,
    /// Everything else is counted, logged and rejected.
    N6,
    /// Only the proxy's uid opens connections to the outside.
    N7,
    /// The agent's uid reaches what the spec names.
    N8,
    /// Nobody outside opens a connection into the namespace.
    N9,
    /// IPv6 neighbour discovery passes, or IPv6 is mute.
    N12,
}

impl Clause {
    /// Every clause that a rule may name, in the order of `docs/security.md`.
    pub const ALL: [Self; 9] = [
        Self::N2,
        Self::N3,
        Self::N4,
        Self::N5,
        Self::N6,
        Self::N7,
        Self::N8,
        Self::N9,
        Self::N12,
    ];

    /// The clause as `docs/security.md` and the kernel spell it.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::N2 => "N2",
            Self::N3 => "N3",
            Self::N4 => "N4",
            Self::N5 => "N5",
            Self::N6 => "N6",
            Self::N7 => "N7",
            Self::N8 => "N8",
            Self::N9 => "N9",
            Self::N12 => "N12",
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
