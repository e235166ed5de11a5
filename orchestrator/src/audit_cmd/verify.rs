//! `ocs audit verify`: whether records are whole, in constant memory. The judge is `policies::audit::Verifier`.
//! Clauses: R3.
use std::io::Read;

use policies::audit::{Record, Verified, Verifier};
use serde::Serialize;

use crate::cli::VerifyArgs;
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::world::World;

use super::lines::{self, Place};

const CHUNK_BYTES: usize = 256 << 10;

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    v: u32,
    ok: bool,
    files: Vec<Outcome>,
}

/// What became of one record.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Outcome {
    file: String,
    ok: bool,
    /// Good lines; of a bad record, those before the bad one.
    lines: u64,
    /// The first bad line.
    bad_line: Option<u64>,
    error: Option<String>,
    /// The hash of the last line, to keep elsewhere.
    head: Option<String>,
    /// Whether the last event is `stop`.
    ended: Option<bool>,
}

/// Runs `ocs audit verify`.
///
/// # Errors
/// A record cannot be read. A bad record is no error of the command: exit 1.
pub(super) fn run(
    args: &VerifyArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    // The project's own record must be of its own sandbox: a whole record of another one in its place is a bad one.
    let sandbox = match args.files.is_empty() {
        true => Some(Project::find(None, world)?.id().to_string()),
        false => None,
    };
    let mut outcomes = Vec::new();
    for place in lines::places(&args.files, world)? {
        let outcome = verify(&place, sandbox.as_deref())?;
        if !args.json {
            show(&outcome, console)?;
        }
        outcomes.push(outcome);
    }
    let ok = outcomes.iter().all(|outcome| outcome.ok);
    if args.json {
        console.document(&Document {
            v: 1,
            ok,
            files: outcomes,
        })?;
    }
    Ok(if ok { Exit::Ok } else { Exit::No })
}

fn verify(place: &Place, sandbox: Option<&str>) -> Result<Outcome, Failure> {
    let file = place.name();
    let mut reader = place.open()?;
    let mut verifier = Verifier::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut lines, mut stranger) = (0, None);
    let mut each = |record: Record| {
        lines += 1;
        if sandbox.is_some_and(|sandbox| record.sandbox != sandbox) && stranger.is_none() {
            stranger = Some((lines, record.sandbox));
        }
    };
    let fed = loop {
        let failed = |error| Failure::new(Exit::No, format!("read {file}")).because(error);
        let length = reader.read(&mut chunk).map_err(failed)?;
        if length == 0 {
            break verifier.finish();
        }
        if let Err(bad) = verifier.feed(chunk.get(..length).unwrap_or_default(), &mut each) {
            break Err(bad);
        }
    };
    let bad = |line: u64, error: String| Outcome {
        file: file.clone(),
        ok: false,
        lines: line.saturating_sub(1),
        bad_line: Some(line),
        error: Some(error),
        head: None,
        ended: None,
    };
    Ok(match (stranger, fed) {
        (Some((line, name)), Err(first)) if line < first.line => bad(line, of_another(&name)),
        (_, Err(first)) => bad(first.line, first.fault.to_string()),
        (Some((line, name)), Ok(_)) => bad(line, of_another(&name)),
        (
            None,
            Ok(Verified {
                lines,
                seq: _,
                head,
                ended,
            }),
        ) => Outcome {
            file,
            ok: true,
            lines,
            bad_line: None,
            error: None,
            head: Some(head),
            ended: Some(ended),
        },
    })
}

fn of_another(sandbox: &str) -> String {
    format!("from another sandbox: {sandbox}")
}

fn show(outcome: &Outcome, console: &mut Console<'_>) -> Result<(), Failure> {
    let file = escaped(&outcome.file);
    if let (Some(line), Some(error)) = (outcome.bad_line, &outcome.error) {
        let bad = console.styled(Style::Bad, "bad");
        return console.line(format_args!("{file}:{line}: {bad}: {}", escaped(error)));
    }
    let whole = console.styled(Style::Good, "whole");
    let end = if outcome.ended == Some(true) {
        ""
    } else {
        ", no stop at its end: it goes on, or was cut off"
    };
    let head = outcome.head.as_deref().unwrap_or_default();
    console.line(format_args!(
        "{file}: {whole}, {} lines{end}, head {head}",
        outcome.lines
    ))
}
