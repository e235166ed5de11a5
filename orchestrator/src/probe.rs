//! What the attempts at the fence prove. They are made from inside it, before the agent exists (`netctl::probe`).
//!
//! Not responsible for entering the namespace (`engine`), or for the rules' own read-back (netctl).
//! Clauses: U1.
pub use netctl::probe::{Finding, LIMIT, Outcome, Probe, TYPE_A, TYPE_TXT, Targets, run};

use crate::engine::ReadBack;

/// The fence was read back, and every attempt was refused. Nothing else makes one, and no agent starts without it.
#[derive(Debug)]
pub struct Proven(());

impl Proven {
    /// The proof, if the findings are one.
    ///
    /// # Errors
    /// An attempt is missing, or was not refused.
    pub fn by(read_back: ReadBack, findings: &[Finding]) -> Result<Self, Unproven> {
        let mut holes = Vec::new();
        for probe in Probe::ALL {
            let mut of_it = findings.iter().filter(|finding| finding.probe == probe);
            let outcome = match (of_it.next(), of_it.next()) {
                (Some(finding), None) => finding.outcome.clone(),
                (None, _) => Outcome::Untried("no finding".to_owned()),
                (Some(_), Some(_)) => Outcome::Untried("two findings".to_owned()),
            };
            if !holds(read_back, probe, &outcome) {
                holes.push(Finding { probe, outcome });
            }
        }
        if holes.is_empty() {
            Ok(Self(()))
        } else {
            Err(Unproven { holes })
        }
    }
}

fn holds(read_back: ReadBack, probe: Probe, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Refused(_) => true,
        Outcome::NoIpv6 => probe.over_ipv6() && !read_back.ipv6,
        Outcome::Hung | Outcome::Passed(_) | Outcome::Untried(_) => false,
    }
}

/// What was not refused.
#[derive(Debug)]
pub struct Unproven {
    /// The attempts that were not refused; at least one.
    pub holes: Vec<Finding>,
}

impl std::fmt::Display for Unproven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the fence does not hold:")?;
        for (index, hole) in self.holes.iter().enumerate() {
            let separator = if index == 0 { " " } else { "; " };
            let what = hole.probe.what();
            match &hole.outcome {
                Outcome::Hung => write!(f, "{separator}{what} was not refused within {LIMIT:?}")?,
                Outcome::NoIpv6 => write!(f, "{separator}{what} could not be tried: no IPv6")?,
                Outcome::Passed(how) => write!(f, "{separator}{what} passed: {how}")?,
                Outcome::Refused(how) => write!(f, "{separator}{what} was refused: {how}")?,
                Outcome::Untried(why) => write!(f, "{separator}{what} could not be tried: {why}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Unproven {}

#[cfg(test)]
mod tests;
