//! Whether what stands in the kernel is what the spec asks for, told as differences: none, or each of them.
//!
//! Rules are compared by their expressions and comments, in order; handles, positions and what counters have counted
//! are the kernel's own and say nothing. A table that is not ours and that the spec does not name is a difference too:
//! it may see our packets before we do.
//!
//! Not seen: the tables of iptables-legacy, traffic control, BPF, XFRM; none of them is there in a namespace that we
//! made, and the agent can make none (`docs/known-limits.md`).
//!
//! Clauses: N1, N10.

use std::net::IpAddr;

use super::live::{Live, LiveRule, LiveTable, shape};
use super::{KernelError, link};
use crate::expression::{Expression, lower};
use crate::matcher::Family;
use crate::plan::{Chain, Plan, Rule, TABLE};
use crate::spec::{Spec, Table};

/// One way in which the kernel's state is not the plan's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Difference {
    /// `lo` has no address that resolvers count as one.
    #[error("lo does not have {address}")]
    AddressMissing {
        /// Which it should have.
        address: IpAddr,
    },
    /// A chain stands that was not planned.
    #[error("chain {chain} stands and was not planned")]
    ChainExtra {
        /// Its name.
        chain: String,
    },
    /// A chain does not stand.
    #[error("chain {chain} does not stand")]
    ChainMissing {
        /// Its name.
        chain: String,
    },
    /// A chain stands with another type, hook, priority or policy.
    #[error("chain {chain} is `{found}`, not `{planned}`")]
    ChainShape {
        /// Its name.
        chain: String,
        /// What was planned.
        planned: String,
        /// What stands.
        found: String,
    },
    /// The namespace is sealed, and has another interface than `lo`.
    #[error("interface {name} is there")]
    InterfaceOther {
        /// Its name.
        name: String,
    },
    /// `lo` is down.
    #[error("lo is down")]
    LoopbackDown,
    /// Not every address is local.
    #[error("there is no `local default dev lo` for {family}")]
    RouteMissing {
        /// Of which family.
        family: Family,
    },
    /// A rule stands in the place of another.
    #[error("rule {number} of chain {chain} is `{found}`, not `{planned}`")]
    Rule {
        /// The chain.
        chain: String,
        /// Its place, from 1.
        number: usize,
        /// What was planned.
        planned: String,
        /// What stands.
        found: String,
    },
    /// A rule stands that was not planned.
    #[error("rule {number} of chain {chain}, `{found}`, was not planned")]
    RuleExtra {
        /// The chain.
        chain: String,
        /// Its place, from 1.
        number: usize,
        /// What stands.
        found: String,
    },
    /// A rule does not stand.
    #[error("rule {number} of chain {chain}, `{planned}`, does not stand")]
    RuleMissing {
        /// The chain.
        chain: String,
        /// Its place in the plan, from 1.
        number: usize,
        /// What was planned.
        planned: String,
    },
    /// Our table is switched off, or owned by a process.
    #[error("table inet {TABLE} has flags {flags:#x}")]
    TableFlags {
        /// The flags, as `nf_tables.h` has them.
        flags: u32,
    },
    /// Our table holds more than chains.
    #[error("table inet {TABLE} holds {found} things, not {planned} chains")]
    TableHolds {
        /// Chains planned.
        planned: usize,
        /// Things that stand.
        found: usize,
    },
    /// Our table does not stand.
    #[error("table inet {TABLE} does not stand")]
    TableMissing,
    /// A table of others stands.
    #[error("table {table} stands and is not ours")]
    TableOther {
        /// Which.
        table: Table,
    },
}

/// How the namespace that the process is in differs from what `spec` asks for.
///
/// # Errors
/// [`KernelError`] where the kernel's state could not be read; that is no proof of anything.
pub fn verify(spec: &Spec) -> Result<Vec<Difference>, KernelError> {
    let mut differences = compare(&Plan::build(spec), spec.other_tables(), &Live::read()?);
    if let Spec::Sealed(_) = spec {
        differences.extend(link::verify()?);
    }
    Ok(differences)
}

fn compare(plan: &Plan, others: &[Table], live: &Live) -> Vec<Difference> {
    let ours = Table {
        family: "inet".to_owned(),
        name: TABLE.to_owned(),
    };
    let mut differences = Vec::new();
    for LiveTable { table, .. } in &live.tables {
        if *table != ours && !others.contains(table) {
            differences.push(Difference::TableOther {
                table: table.clone(),
            });
        }
    }
    let Some(table) = live.tables.iter().find(|live| live.table == ours) else {
        differences.push(Difference::TableMissing);
        return differences;
    };
    compare_table(plan, table, &mut differences);
    for chain in plan.chains() {
        compare_chain(chain, &ours, live, &mut differences);
    }
    for chain in live.chains.iter().filter(|chain| chain.table == ours) {
        if !plan
            .chains()
            .iter()
            .any(|planned| planned.hook.name() == chain.name)
        {
            differences.push(Difference::ChainExtra {
                chain: chain.name.clone(),
            });
        }
    }
    differences
}

fn compare_table(plan: &Plan, table: &LiveTable, to: &mut Vec<Difference>) {
    if table.flags != 0 {
        to.push(Difference::TableFlags { flags: table.flags });
    }
    let (planned, found) = (
        plan.chains().len(),
        usize::try_from(table.holds).unwrap_or(usize::MAX),
    );
    if planned != found {
        to.push(Difference::TableHolds { planned, found });
    }
}

fn compare_chain(chain: &Chain, ours: &Table, live: &Live, to: &mut Vec<Difference>) {
    let name = chain.hook.name();
    let found = live
        .chains
        .iter()
        .find(|live| live.table == *ours && live.name == name);
    let Some(found) = found else {
        to.push(Difference::ChainMissing {
            chain: name.to_owned(),
        });
        return;
    };
    let hook = chain.hook;
    let planned = shape(
        hook.kind(),
        hook.hook(),
        hook.priority(),
        &hook.policy().to_string(),
    );
    if found.shape != planned {
        to.push(Difference::ChainShape {
            chain: name.to_owned(),
            planned,
            found: found.shape.clone(),
        });
    }
    let rules: Vec<&LiveRule> = live
        .rules
        .iter()
        .filter(|rule| rule.table == *ours && rule.chain == name)
        .collect();
    compare_rules(name, &chain.rules, &rules, to);
}

/// What both have at their beginnings and at their ends is equal; the rest is told pair by pair.
fn compare_rules(chain: &str, planned: &[Rule], found: &[&LiveRule], to: &mut Vec<Difference>) {
    let before = planned
        .iter()
        .zip(found)
        .take_while(|(planned, found)| equal(planned, found))
        .count();
    let after = planned
        .iter()
        .skip(before)
        .rev()
        .zip(found.iter().skip(before).rev())
        .take_while(|(planned, found)| equal(planned, found))
        .count();
    let mut planned = planned.iter().take(planned.len() - after).skip(before);
    let mut found = found.iter().take(found.len() - after).skip(before);
    for number in before + 1.. {
        let chain = chain.to_owned();
        to.push(match (planned.next(), found.next()) {
            (None, None) => return,
            (Some(planned), Some(found)) => Difference::Rule {
                chain,
                number,
                planned: planned.to_string(),
                found: told(found),
            },
            (None, Some(found)) => Difference::RuleExtra {
                chain,
                number,
                found: told(found),
            },
            (Some(planned), None) => Difference::RuleMissing {
                chain,
                number,
                planned: planned.to_string(),
            },
        });
    }
}

fn equal(planned: &Rule, found: &LiveRule) -> bool {
    found.expressions.as_ref() == Ok(&lower(planned)) && found.userdata == comment(planned)
}

/// A comment as nft stores it: type 0, length with the NUL, text (libnftnl udata.h `NFTNL_UDATA_RULE_COMMENT`).
fn comment(planned: &Rule) -> Vec<u8> {
    let id = planned.clause.id().as_bytes();
    let length = u8::try_from(id.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], id, &[0]].concat()
}

/// A rule of the kernel's, for people.
fn told(rule: &LiveRule) -> String {
    let mut text = match &rule.expressions {
        Ok(expressions) => {
            let words: Vec<String> = expressions.iter().map(Expression::to_string).collect();
            words.join("; ")
        }
        Err(name) => format!("something with `{name}` that no plan has"),
    };
    if let [0, _, comment @ .., 0] = rule.userdata.as_slice() {
        text.push_str(&format!("; comment {:?}", String::from_utf8_lossy(comment)));
    }
    text
}
