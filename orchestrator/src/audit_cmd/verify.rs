//! `ocs audit verify`: whether records are whole, in constant memory. The judge is `policies::audit::Verifier`.
//! Clauses: R3.
use std::io::Read;

use policies::audit::{BadLine, Record, Verified, Verifier};
use serde::Serialize;

use crate::checkpoint::{self, Checkpoint, Key};
use crate::cli::VerifyArgs;
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::world::World;

use super::lines::Place;
use super::records::{self, Begins, Whole};

const CHUNK_BYTES: usize = 256 << 10;

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    v: u32,
    ok: bool,
    files: Vec<Outcome>,
}

/// What became of one record.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Outcome {
    /// The bad file of a bad record; of a good one the last, which is written to.
    file: String,
    ok: bool,
    /// Its files, as far as they were read.
    parts: Vec<Part>,
    /// Good lines; of a bad record, those before the bad one.
    lines: u64,
    /// The number of the first line: 1, unless later parts were named alone.
    first: u64,
    /// The first bad line, counted in its file.
    bad_line: Option<u64>,
    error: Option<String>,
    /// The hash of the last line, to keep elsewhere.
    head: Option<String>,
    /// Whether the last event is `stop`.
    ended: Option<bool>,
    /// The number of the last line that is signed.
    signed: Option<u64>,
    /// The public key that signed.
    key: Option<String>,
}

/// One file of a record: the chain goes from the end of one into the next.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Part {
    file: String,
    /// The number of its last line.
    last: u64,
    /// The hash of its last line.
    head: String,
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
    let project = match args.files.is_empty() {
        true => Some(Project::find(None, world)?),
        false => None,
    };
    let own = Own {
        sandbox: project.as_ref().map(|project| project.id().to_string()),
        key: args.key.clone(),
    };
    let mut outcomes = Vec::new();
    for record in records::records(&args.files, world)? {
        let outcome = verify(&record, &own)?;
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

/// What records must be.
struct Own {
    /// Of this sandbox.
    sandbox: Option<String>,
    /// Signed with this key.
    key: Option<String>,
}

fn verify(record: &Whole, own: &Own) -> Result<Outcome, Failure> {
    let mut verifier = match record.begins {
        Begins::Earlier => Verifier::of_a_part(),
        Begins::Here => Verifier::new(),
    };
    let mut outcome = Outcome::default();
    match signed(record, own) {
        Ok(checkpoints) => {
            for checkpoint in checkpoints {
                verifier.expect(checkpoint.seq, &checkpoint.head);
                outcome.signed = outcome.signed.max(Some(checkpoint.seq));
                outcome.key = Some(checkpoint.key);
            }
        }
        Err(error) => {
            outcome.file = record.places.last().map(Place::name).unwrap_or_default();
            outcome.error = Some(error);
            return Ok(outcome);
        }
    }
    for place in &record.places {
        outcome.file = place.name();
        if let Err(bad) = feed(place, &mut verifier, own.sandbox.as_deref())? {
            return Ok(outcome.bad(&verifier, bad));
        }
        let (last, head) = verifier.head();
        let file = place.name();
        outcome.parts.push(Part { file, last, head });
    }
    let lines = verifier.lines();
    Ok(match verifier.finish() {
        Ok(Verified {
            lines,
            first,
            seq: _,
            head,
            ended,
        }) => Outcome {
            ok: true,
            lines,
            first,
            head: Some(head),
            ended: Some(ended),
            ..outcome
        },
        Err(bad) => Outcome {
            lines,
            bad_line: Some(bad.line),
            error: Some(bad.fault.to_string()),
            ..outcome
        },
    })
}

/// What was signed of a record, by the key that should have.
fn signed(record: &Whole, own: &Own) -> Result<Vec<Checkpoint>, String> {
    let Some(Place::File(file)) = record.places.first() else {
        return match &own.key {
            Some(_) => Err("what comes over stdin has no checkpoints beside it".to_owned()),
            None => Ok(Vec::new()),
        };
    };
    let checkpoints = checkpoint::read(&checkpoint::beside(file)).map_err(|it| it.to_string())?;
    if checkpoints.is_empty() && own.key.is_some() {
        return Err("it is not signed".to_owned());
    }
    let key = match (&own.key, checkpoint::key_of(file)) {
        (Some(key), _) => Some(key.clone()),
        // A record that was brought from elsewhere has no key where a sandbox keeps it.
        (None, Some(path))
            if !checkpoints.is_empty()
                && (own.sandbox.is_some() || path.try_exists().unwrap_or(true)) =>
        {
            let read = Key::read(&path).map(|key| key.public());
            let gone = |error| format!("the key of its checkpoints, {}: {error}", path.display());
            Some(read.map_err(gone)?)
        }
        (None, _) => None,
    };
    let stranger = |it: &&Checkpoint| key.as_ref().is_some_and(|key| *key != it.key);
    match checkpoints.iter().find(stranger) {
        Some(checkpoint) => Err(format!("signed with another key: {}", checkpoint.key)),
        None => Ok(checkpoints),
    }
}

/// A line that does not belong, and why.
struct Bad {
    line: u64,
    error: String,
}

/// Reads one file of a record; the first bad line, if there is one.
fn feed(
    place: &Place,
    verifier: &mut Verifier,
    sandbox: Option<&str>,
) -> Result<Result<(), Bad>, Failure> {
    let mut reader = place.open()?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut lines, mut stranger) = (0, None);
    let mut each = |record: Record| {
        lines += 1;
        if sandbox.is_some_and(|sandbox| record.sandbox != sandbox) && stranger.is_none() {
            let error = format!("from another sandbox: {}", record.sandbox);
            stranger = Some(Bad { line: lines, error });
        }
    };
    let fed = loop {
        let failed =
            |error| Failure::new(Exit::No, format!("read {}", place.name())).because(error);
        let length = reader.read(&mut chunk).map_err(failed)?;
        if length == 0 {
            break verifier.next_file();
        }
        if let Err(bad) = verifier.feed(chunk.get(..length).unwrap_or_default(), &mut each) {
            break Err(bad);
        }
    };
    // A stranger stands in front of a line that could not be read.
    let unfit = fed.err().map(|BadLine { line, fault }| Bad {
        line,
        error: fault.to_string(),
    });
    Ok(stranger.or(unfit).map_or(Ok(()), Err))
}

impl Outcome {
    fn bad(self, verifier: &Verifier, bad: Bad) -> Self {
        let before = verifier.lines_before();
        Self {
            lines: before + bad.line.saturating_sub(1),
            bad_line: Some(bad.line),
            error: Some(bad.error),
            ..self
        }
    }
}

fn show(outcome: &Outcome, console: &mut Console<'_>) -> Result<(), Failure> {
    let file = escaped(&outcome.file);
    if let (Some(line), Some(error)) = (outcome.bad_line, &outcome.error) {
        let bad = console.styled(Style::Bad, "bad");
        return console.line(format_args!("{file}:{line}: {bad}: {}", escaped(error)));
    }
    if let Some(error) = &outcome.error {
        let bad = console.styled(Style::Bad, "bad");
        return console.line(format_args!("{file}: {bad}: {}", escaped(error)));
    }
    let whole = console.styled(Style::Good, "whole");
    let end = if outcome.ended == Some(true) {
        ""
    } else {
        ", no stop at its end: it goes on, or was cut off"
    };
    let head = outcome.head.as_deref().unwrap_or_default();
    let files = match outcome.parts.len() {
        0 | 1 => String::new(),
        parts => format!(" in {parts} files"),
    };
    let begin = match outcome.first {
        0 | 1 => String::new(),
        first => format!(", from number {first} on: earlier parts were not read"),
    };
    let signed = match (&outcome.signed, &outcome.key) {
        (Some(number), Some(key)) => format!(", signed up to number {number} with key {key}"),
        (Some(_) | None, _) => ", not signed".to_owned(),
    };
    console.line(format_args!(
        "{file}: {whole}, {} lines{files}{begin}{end}{signed}, head {head}",
        outcome.lines
    ))
}
