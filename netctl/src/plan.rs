//! The rules that a spec asks for: chains of table `inet ocs`, each rule with the clause that it keeps.
//!
//! [`Plan::build`] is pure and total; the order of the rules is part of its meaning. `Display` is nft syntax, a file that
//! `nft -f` loads to the very rules that `kernel` encodes. The snapshots in `netctl/snapshots` are reviewed.
//!
//! Not here: what the kernel is told (`expression`, `kernel`).
//!
//! Clauses: N2 to N9, N12.

use std::fmt;

use crate::clause::Clause;
use crate::matcher::{Action, Match};
use crate::spec::Spec;

mod sealed;
mod shared;

/// The name of our table, of family `inet`, so that one set of rules judges IPv4 and IPv6.
pub const TABLE: &str = "ocs";

/// What is to stand in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    chains: Vec<Chain>,
}

impl Plan {
    /// The rules for `spec`.
    #[must_use]
    pub fn build(spec: &Spec) -> Self {
        let chains = match spec {
            Spec::Sealed(sealed) => sealed::chains(sealed),
            Spec::Shared(shared) => shared::chains(shared),
        };
        Self { chains }
    }

    /// The same as JSON, for programs: each rule's clause, and its text as `nft` has it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let chains: Vec<serde_json::Value> = self.chains.iter().map(Chain::to_json).collect();
        let plan =
            serde_json::json!({ "v": 1, "table": format!("inet {TABLE}"), "chains": chains });
        format!("{plan:#}\n")
    }

    /// The chains, in the order in which the kernel gets them.
    #[must_use]
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }
}

/// A chain and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Where packets meet it.
    pub hook: Hook,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

impl Chain {
    fn to_json(&self) -> serde_json::Value {
        let rules: Vec<serde_json::Value> = self
            .rules
            .iter()
            .map(|rule| serde_json::json!({ "clause": rule.clause, "rule": rule.to_string() }))
            .collect();
        serde_json::json!({
            "name": self.hook.name(),
            "type": self.hook.kind(),
            "hook": self.hook.hook(),
            "priority": self.hook.priority(),
            "policy": self.hook.policy().to_string(),
            "rules": rules,
        })
    }
}

/// Where in a packet's way a chain stands; each plan has at most one chain at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Packets that would go from one interface to another.
    Forward,
    /// Packets for a socket here.
    Input,
    /// Packets from a socket here.
    Output,
    /// The first packet of each flow from a socket here, before `Output` sees it.
    Redirect,
}

impl Hook {
    /// The chain's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Input => "input",
            Self::Output => "output",
            Self::Redirect => "capture",
        }
    }

    /// The chain's type, as `nft` spells it.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Forward | Self::Input | Self::Output => "filter",
            Self::Redirect => "nat",
        }
    }

    /// The kernel's hook, as `nft` spells it.
    #[must_use]
    pub const fn hook(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Input => "input",
            Self::Output | Self::Redirect => "output",
        }
    }

    /// Order among chains of one hook: redirection comes first, so that `output` sees where a packet really goes.
    #[must_use]
    pub const fn priority(self) -> i32 {
        match self {
            Self::Forward | Self::Input | Self::Output => 0, // NF_IP_PRI_FILTER
            Self::Redirect => -100,                          // NF_IP_PRI_NAT_DST
        }
    }

    /// What becomes of a packet that no rule ended.
    #[must_use]
    pub const fn policy(self) -> Policy {
        match self {
            Self::Forward | Self::Input | Self::Output => Policy::Drop,
            Self::Redirect => Policy::Accept, // not redirected is not yet admitted: `output` judges it next
        }
    }
}

/// A chain's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The packet goes on to the next hook.
    Accept,
    /// The packet is gone.
    Drop,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
        })
    }
}

/// A rule: where all of `matches` hold, `actions` happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The clause that it keeps; the kernel shows it as the rule's comment.
    pub clause: Clause,
    /// The conditions; none means every packet.
    pub matches: Vec<Match>,
    /// What happens.
    pub actions: Vec<Action>,
}

impl Rule {
    fn new(
        clause: Clause,
        matches: impl IntoIterator<Item = Match>,
        actions: impl IntoIterator<Item = Action>,
    ) -> Self {
        Self {
            clause,
            matches: matches.into_iter().collect(),
            actions: actions.into_iter().collect(),
        }
    }

    fn accept(clause: Clause, matches: impl IntoIterator<Item = Match>) -> Self {
        Self::new(clause, matches, [Action::Accept])
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        for action in &self.actions {
            write!(f, "{action} ")?;
        }
        write!(f, "comment \"{}\"", self.clause)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.hook.name())?;
        writeln!(
            f,
            "\t\ttype {} hook {} priority {}; policy {};",
            self.hook.kind(),
            self.hook.hook(),
            self.hook.priority(),
            self.hook.policy()
        )?;
        for rule in &self.rules {
            writeln!(f, "\t\t{rule}")?;
        }
        writeln!(f, "\t}}")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole table goes and comes in one transaction: no rule of an older plan survives (N10).
        writeln!(f, "add table inet {TABLE}")?;
        writeln!(f, "delete table inet {TABLE}")?;
        writeln!(f, "table inet {TABLE} {{")?;
        for (at, chain) in self.chains.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            chain.fmt(f)?;
        }
        writeln!(f, "}}")
    }
}

#[cfg(test)]
mod tests;
