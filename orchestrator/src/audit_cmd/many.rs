//! Entries by which suspiciously many names were reached: below a suffix the agent chooses the labels, and so may say
//! something to whoever serves that zone (docs/known-limits.md). Counts; shows nothing.
use std::collections::BTreeMap;

use serde::Serialize;

use super::tally::Tally;

/// More names than this by one entry are an alert: eight times what the longest preset lists (`policies/presets`, 12).
pub(super) const NAMES_MAX: usize = 100;

/// One such entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Many {
    /// Its file, line and text.
    pub(super) rule: String,
    /// Different names that were reached by it.
    pub(super) names: usize,
}

/// All of them.
pub(super) fn many(tally: &Tally) -> Vec<Many> {
    let reached = tally.entries.iter().filter(|(_, entry)| entry.allowed > 0);
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, entry) in reached {
        for rule in &entry.rules {
            names.entry(rule).or_default().push(&key.host);
        }
    }
    let counted = names.into_iter().map(|(rule, mut hosts)| {
        hosts.dedup(); // of one host every port; keys are in order
        Many {
            rule: rule.to_owned(),
            names: hosts.len(),
        }
    });
    counted.filter(|many| many.names > NAMES_MAX).collect()
}
