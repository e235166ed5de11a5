//! What is shown: clause by clause, or as one document. The code is 70 as soon as one attempt was not as it must be.
use serde::Serialize;

use super::catalogue::{GROUPS, NOT_TRIED};
use super::finding::{Finding, Outcome};
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::launch::Facts;

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    v: u32,
    /// Whether every attempt was as it must be.
    held: bool,
    engine: &'a str,
    run: &'a str,
    record: String,
    /// The first that was not.
    first_hole: Option<&'a Finding>,
    findings: &'a [Finding],
    not_tried: Vec<NotTried>,
}

#[derive(Serialize)]
struct NotTried {
    clauses: &'static str,
    why: &'static str,
}

/// Shows the findings, and gives the code.
pub(super) fn show(
    json: bool,
    facts: &Facts,
    findings: &[Finding],
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let hole = findings.iter().find(|finding| finding.is_hole());
    if json {
        let not_tried = NOT_TRIED
            .iter()
            .map(|(clauses, why)| NotTried { clauses, why });
        console.document(&Document {
            v: 1,
            held: hole.is_none(),
            engine: facts.engine,
            run: &facts.run,
            record: facts.record.display().to_string(),
            first_hole: hole,
            findings,
            not_tried: not_tried.collect(),
        })?;
    } else {
        table(findings, console)?;
    }
    match hole {
        None => Ok(Exit::Ok),
        Some(hole) => {
            let detail = match &hole.outcome {
                Outcome::Held(detail) | Outcome::Hole(detail) | Outcome::Absent(detail) => detail,
            };
            let (clause, what, detail) = (hole.clause, &hole.what, escaped(detail));
            let message = format!("the fence has a hole: {clause}, {what}: {detail}");
            Err(Failure::new(Exit::Fence, message).next("ocs doctor"))
        }
    }
}

fn table(findings: &[Finding], console: &mut Console<'_>) -> Result<(), Failure> {
    for (letter, about) in GROUPS {
        let of_it = findings
            .iter()
            .filter(|finding| finding.clause.starts_with(letter));
        let heading = console.styled(Style::Dim, format!("{letter}  {about}"));
        console.line(heading)?;
        for finding in of_it {
            row(finding, console)?;
        }
    }
    let is_held = |finding: &&Finding| matches!(finding.outcome, Outcome::Held(_));
    let held = findings.iter().filter(is_held).count();
    console.line(format_args!("{held} of {} held", findings.len()))?;
    for (clauses, why) in NOT_TRIED {
        console.line(format_args!("not tried from here: {clauses}: they {why}"))?;
    }
    Ok(())
}

fn row(finding: &Finding, console: &mut Console<'_>) -> Result<(), Failure> {
    let (style, word, detail) = match &finding.outcome {
        Outcome::Absent(detail) => (Style::Dim, "absent", detail),
        Outcome::Held(detail) => (Style::Good, "held", detail),
        Outcome::Hole(detail) => (Style::Bad, "HOLE", detail),
    };
    let word = console.styled(style, format!("{word:<6}"));
    let (clause, what, detail) = (finding.clause, &finding.what, escaped(detail));
    console.line(format_args!("   {clause:<4} {word} {what:<58} {detail}"))
}
