//! All attempts, made at once: each waits by itself, so together they take as long as the slowest.
use std::thread;

use super::catalogue::PROBES;
use super::finding::{Finding, Outcome};
use super::{boxed, wire};
use crate::cli::BoxVerifyArgs;

/// Makes every attempt.
pub(super) fn findings(args: &BoxVerifyArgs) -> Vec<Finding> {
    // While nothing of ours is open and no thread runs.
    let mut findings = boxed::first(args);
    findings.extend(thread::scope(|scope| {
        let under_way: Vec<_> = PROBES
            .iter()
            .map(|probe| (probe, scope.spawn(|| wire::outcome(&probe.attempt))))
            .collect();
        let made = under_way.into_iter().map(|(probe, attempt)| Finding {
            clause: probe.clause,
            what: probe.what.into(),
            outcome: attempt
                .join()
                .unwrap_or_else(|_| Outcome::Hole("the attempt's thread died".to_owned())),
        });
        made.collect::<Vec<_>>()
    }));
    // No thread runs any more: a user namespace is refused to a process of many for that reason alone (unshare(2)).
    findings.extend(boxed::last(args));
    findings
}
