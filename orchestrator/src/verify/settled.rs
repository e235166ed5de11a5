//! What is seen from outside when it is over: the record of the attempts, and what is left of the run.
//! Clauses: P1, R1, R3, R4, R5, R6, U3.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use policies::audit::{Decision, Event, Record, Verifier};

use super::catalogue::{Attempt, NOBODY, PROBES};
use super::finding::{Finding, Outcome};
use crate::launch::Facts;

/// Reads the run's record against the attempts.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let read = fs::read(&facts.record);
    let bytes = match &read {
        Ok(bytes) => bytes.as_slice(),
        Err(_) => &[],
    };
    let mut records = Vec::new();
    let whole = whole(bytes, &mut records);
    let finding = |clause, what, outcome| Finding {
        clause,
        what: Cow::Borrowed(what),
        outcome,
    };
    vec![
        finding("R3", "the record is whole, from start to stop", whole),
        finding(
            "R1",
            "each refused destination stands in it once",
            once(&records),
        ),
        finding(
            "R6",
            "each refused datagram stands in it",
            counted(&records),
        ),
        finding("R4", "a secret of a request in the record", secret(bytes)),
        finding("R5", "the record is its user's alone", mode(facts)),
        finding("P1", "anything that was let out", let_out(&records)),
        finding("U3", "files of the run that are left", left(facts)),
    ]
}

fn whole(bytes: &[u8], records: &mut Vec<Record>) -> Outcome {
    let mut verifier = Verifier::default();
    let fed = verifier.feed(bytes, |record| records.push(record));
    let lines = records.len();
    match fed.and_then(|()| verifier.finish()) {
        Err(bad) => Outcome::Hole(bad.to_string()),
        Ok(_)
            if !matches!(
                records.last().map(|record| &record.event),
                Some(Event::Stop(_))
            ) =>
        {
            Outcome::Hole("it has no stop at its end".to_owned())
        }
        Ok(_) => Outcome::Held(format!("{lines} lines verify")),
    }
}

/// Names that the attempts ask for through the proxy.
fn asked_for() -> impl Iterator<Item = String> {
    PROBES.iter().filter_map(|probe| match probe.attempt {
        Attempt::Refused(request) => {
            let text = request.replace("{}", NOBODY).to_ascii_lowercase();
            let name = text
                .split([' ', '/', ':'])
                .find(|word| word.contains(NOBODY))?;
            Some(name.trim_end_matches('.').to_owned())
        }
        Attempt::StreamTls(_, name) => Some(name.to_owned()),
        // The others speak HTTP, and are known by the name that they say, or are malformed.
        Attempt::Stream(to, bytes)
            if !bytes.is_ascii() || !bytes.ends_with("\r\n\r\n") || bytes.starts_with('\0') =>
        {
            let to: std::net::SocketAddr = to.parse().ok()?;
            Some(to.ip().to_string())
        }
        Attempt::Datagram(_)
        | Attempt::Echo(_)
        | Attempt::Malformed(_)
        | Attempt::Own(_)
        | Attempt::Query(..)
        | Attempt::QueryTcp(..)
        | Attempt::Stream(..) => None,
    })
}

fn once(records: &[Record]) -> Outcome {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for record in records {
        if let Event::Request(event) = &record.event
            && event.decision == Decision::Deny
            && let Some(host) = &event.host
        {
            *counts.entry(host.to_string()).or_default() += event.count;
        }
    }
    let mut names = 0;
    for name in asked_for() {
        names += 1;
        match counts.get(&name) {
            Some(1) => {}
            count => {
                let count = count.copied().unwrap_or_default();
                return Outcome::Hole(format!("{name} stands in it {count} times"));
            }
        }
    }
    Outcome::Held(format!("{names} destinations, once each"))
}

fn counted(records: &[Record]) -> Outcome {
    let mut seen = 0;
    for probe in PROBES {
        let Attempt::Datagram(to) = probe.attempt else {
            continue;
        };
        let counted: u64 = records
            .iter()
            .filter_map(|record| {
                if let Event::Packet(event) = &record.event {
                    Some(event)
                } else {
                    None
                }
            })
            .filter(|event| {
                to.parse().is_ok_and(|to: std::net::SocketAddr| {
                    event.address == Some(to.ip()) && event.port == Some(to.port())
                })
            })
            .map(|event| event.count)
            .sum();
        if counted == 0 {
            return Outcome::Hole(format!("the datagram to {to} does not"));
        }
        seen += 1;
    }
    Outcome::Held(format!("{seen} kinds, counted"))
}

fn secret(bytes: &[u8]) -> Outcome {
    if bytes.is_empty() {
        return Outcome::Hole("there is no record".to_owned());
    }
    let canary = b"ocs-verify-canary";
    if bytes.windows(canary.len()).any(|window| window == canary) {
        Outcome::Hole("the query string or a header value is in it".to_owned())
    } else {
        Outcome::Held("none".to_owned())
    }
}

fn mode(facts: &Facts) -> Outcome {
    match fs::metadata(&facts.record).map(|metadata| metadata.permissions().mode() & 0o7777) {
        Ok(0o600) => Outcome::Held("mode 0600".to_owned()),
        Ok(mode) => Outcome::Hole(format!("mode {mode:04o}")),
        Err(error) => Outcome::Hole(error.to_string()),
    }
}

fn let_out(records: &[Record]) -> Outcome {
    if records.is_empty() {
        return Outcome::Hole("there is no record".to_owned());
    }
    let allowed = records.iter().find_map(|record| {
        if let Event::Request(event) = &record.event
            && event.decision == Decision::Allow
        {
            event.host.clone()
        } else {
            None
        }
    });
    match allowed {
        None => Outcome::Held("no request was allowed".to_owned()),
        Some(host) => Outcome::Hole(format!("{host} was allowed")),
    }
}

fn left(facts: &Facts) -> Outcome {
    if facts.directory.exists() {
        Outcome::Hole(facts.directory.display().to_string())
    } else {
        Outcome::Held("none".to_owned())
    }
}
