//! What one attempt came to, in the box and on its way out of it.
use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::catalogue;
use crate::exit::Exit;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "detail")]
pub(super) enum Outcome {
    /// As it must be; how.
    Held(String),
    /// It is not as it must be; what happened.
    Hole(String),
    /// The kernel has no such thing, so there is nothing to hold; what.
    Absent(String),
}

/// An attempt, the clause that it tries, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Of `docs/security.md`.
    pub(super) clause: &'static str,
    /// What was tried, for people.
    pub(super) what: Cow<'static, str>,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// The same on its way out of the box: clause and words are known outside by the number.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    clause: String,
    what: String,
    #[serde(flatten)]
    outcome: Outcome,
}

impl Finding {
    pub(super) fn is_hole(&self) -> bool {
        matches!(self.outcome, Outcome::Hole(_))
    }

    pub(super) fn told(&self) -> Told {
        Told {
            clause: self.clause.to_owned(),
            what: self.what.to_string(),
            outcome: self.outcome.clone(),
        }
    }
}

/// What the box said, held against what it must have tried: an attempt that was not reported is a hole.
pub(super) fn received(text: &str, exit: Exit) -> Vec<Finding> {
    let told: Vec<Told> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    catalogue::expected()
        .into_iter()
        .map(|(clause, what)| {
            let mut of_it = told
                .iter()
                .filter(|told| told.clause == clause && told.what == what);
            let outcome = match (of_it.next(), of_it.next()) {
                (Some(told), None) => told.outcome.clone(),
                (None, _) => Outcome::Hole(format!(
                    "it was not reported; the attacker ended with {}",
                    exit.code()
                )),
                (Some(_), Some(_)) => Outcome::Hole("it was reported twice".to_owned()),
            };
            Finding {
                clause,
                what,
                outcome,
            }
        })
        .collect()
}
