//! The catalogue, and what becomes of reports that are not as they must be.
use super::catalogue::{NOT_TRIED, PROBES, expected, place};
use super::finding::{Outcome, received};
use crate::exit::Exit;

#[test]
fn there_are_more_than_forty_attempts_and_each_is_told_apart() {
    let mut expected = expected();
    let count = expected.len();
    assert!(count >= 40, "{count}");
    expected.sort();
    expected.dedup();
    assert_eq!(expected.len(), count);
}

#[test]
fn every_clause_is_tried_or_said_not_to_be() {
    let text = include_str!("../../../docs/security.md");
    let tried = expected();
    let elsewhere = ["R1", "R3", "R4", "R6", "U1", "U3", "N10"]; // `settled`, and the bring-up itself
    for clause in text.lines().filter_map(|line| line.strip_prefix("| ")) {
        let clause = clause.split(' ').next().unwrap();
        if place(clause).0 == 6 || !clause[1..].bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let named = NOT_TRIED
            .iter()
            .any(|(clauses, _)| clauses.split(", ").any(|it| it == clause));
        let is_tried = tried.iter().any(|(it, _)| *it == clause) || elsewhere.contains(&clause);
        assert!(
            is_tried != named,
            "{clause}: tried {is_tried}, said not to be {named}"
        );
    }
}

#[test]
fn no_attempt_goes_to_an_address_of_anybody() {
    for probe in PROBES {
        let text = format!("{:?}", probe.attempt);
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || ".:".contains(c))) {
            let word = word.trim_matches(':');
            let address: Result<std::net::IpAddr, _> = word.parse();
            if let Ok(address) = address {
                let known = [
                    "192.0.2.",
                    "2001:db8:",
                    "127.0.0.",
                    "::1",
                    "::ffff:192.0.2.",
                    "64:ff9b::c000:2",
                ];
                assert!(
                    known
                        .iter()
                        .any(|start| address.to_string().starts_with(start)),
                    "{address}"
                );
            }
        }
    }
}

#[test]
fn an_attempt_that_was_not_reported_or_twice_is_a_hole() {
    let nothing = received("", Exit::Agent(137));
    assert_eq!(nothing.len(), expected().len());
    assert!(nothing.iter().all(super::finding::Finding::is_hole));
    let (clause, what) = expected().remove(0);
    let line = format!(r#"{{"clause":"{clause}","what":"{what}","outcome":"held","detail":"x"}}"#);
    let once = received(&line, Exit::Ok);
    assert_eq!(once[0].outcome, Outcome::Held("x".to_owned()));
    assert!(received(&format!("{line}\n{line}"), Exit::Ok)[0].is_hole());
}
