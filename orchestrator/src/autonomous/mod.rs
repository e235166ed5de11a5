//! `ocs autonomous`: a specification worked on with nobody there, round after round in one conversation, until the agent's
//! final report is there. Each round is an `ocs task` of its own, so a round that dies takes nothing with it.
//!
//! ```text
//! <state>/autonomous/<spec>/lock    held as long as somebody works on it
//! <state>/autonomous/<spec>/begun   how far it is: what a new start goes on from; gone when it is done
//! <state>/autonomous/<spec>/log     what came of each round; copied to logs/autonomous.log of the project
//! ```
//! That the work is done is the agent's word, as the report is. What was refused and changed is ours.
//! Not responsible for how a task is done (`task`).
//! Clauses: O6, U3.
mod progress;
mod round;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::AutonomousArgs;
use crate::console::{Console, Style};
use crate::exit::{Exit, Failure};
use crate::launch::{self, warn};
use crate::mcp::{Files, read_named};
use crate::project::Project;
use crate::world::World;
use progress::Progress;
use round::{Came, Round};

/// Where the agent says that it is done, as sandboxed-opencode had it.
const REPORT: &str = "docs/final_report.md";
/// Where the project finds our log, as sandboxed-opencode had it.
const LOG: (&str, &str) = ("logs", "autonomous.log");
/// A specification is text for people.
const SPEC_MAX_BYTES: u64 = 1 << 20;
/// A round that fails is tried again, this often one after the other.
const FAILURES_MAX: u32 = 3;
/// Before that: what failed may be busy.
const PAUSE: Duration = Duration::from_secs(5);

/// What stdout gets.
#[derive(Debug, Serialize)]
struct Document {
    v: u32,
    /// The agent's report is there, and its last round went well.
    done: bool,
    exit_code: u8,
    /// Rounds of all starts.
    rounds: u32,
    report: Option<PathBuf>,
    log: PathBuf,
    /// Why it is not done, for people.
    error: Option<String>,
}

/// Runs it.
///
/// # Errors
/// There is no specification, somebody works on it already, or the disk refused.
pub(crate) fn run(
    args: &AutonomousArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let project = Project::find(args.sandbox.config.as_deref(), world)?;
    let spec = spec(args, &project, world)?;
    launch::config(&project, console)?; // a mistake is told now, not after three rounds
    let files = Files::of(project.root()).map_err(|error| {
        Failure::new(Exit::No, format!("open {}", project.root().display())).because(error)
    })?;
    let report = || {
        files
            .read(REPORT)
            .ok()
            .filter(|text| !text.trim().is_empty())
    };
    let mut progress = Progress::take(project.state(), &spec, report().as_deref(), world)?;
    let ended = work(
        args,
        begun,
        &spec,
        (&project, &mut progress),
        world,
        console,
        &|old| report().is_some_and(|text| !old(&text)),
    );
    copy_log(&files, &progress, console);
    let (exit, error) = match ended {
        Ok(ended) => ended,
        Err(failure) => (failure.exit(), Some(failure.to_string())),
    };
    let done = exit == Exit::Ok;
    let document = Document {
        v: 1,
        done,
        exit_code: exit.code(),
        rounds: progress.rounds(),
        report: done.then(|| project.root().join(REPORT)),
        log: progress.log().to_owned(),
        error,
    };
    if done {
        progress.finish(project.state())?;
    }
    console.document(&document)?;
    Ok(exit)
}

type IsOld<'a> = &'a dyn Fn(&str) -> bool;

/// Round after round; gives the code to end with, and why it is not done.
fn work(
    args: &AutonomousArgs,
    begun: Instant,
    spec: &str,
    (project, progress): (&Project, &mut Progress),
    world: &World,
    console: &mut Console<'_>,
    reported: &dyn Fn(IsOld<'_>) -> bool,
) -> Result<(Exit, Option<String>), Failure> {
    let limit = Duration::from_secs(args.timeout);
    let mut failures = 0;
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        if left.as_secs() == 0 {
            return Ok((Exit::Timeout, Some("the time was over".to_owned())));
        }
        if progress.rounds() >= args.rounds {
            let error = format!("it is not done after {} rounds", args.rounds);
            return Ok((Exit::No, Some(error)));
        }
        let number = progress.begin_round()?;
        let label = console.styled_note(Style::Dim, "ocs:");
        console.note(format_args!("{label} round {number} begins"));
        let round = Round {
            args,
            seconds: args.round_timeout.min(left.as_secs()),
            session: progress.session(),
        };
        let came = round.play(number, spec, project.root(), world)?;
        progress.note(number, &came, world)?;
        match came.exit_code() {
            0 if reported(&|text| progress.is_old(text)) => return Ok((Exit::Ok, None)),
            // A round whose time was over is gone on with, as one that ended without a report.
            0 | 124 => failures = 0,
            64 | 69 | 70 => return Ok((code(&came), came.error())),
            _ => {
                failures += 1;
                if failures == FAILURES_MAX {
                    return Ok((code(&came), came.error()));
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

fn code(came: &Came) -> Exit {
    Exit::Agent(came.exit_code())
}

fn spec(args: &AutonomousArgs, project: &Project, world: &World) -> Result<String, Failure> {
    let variable = || world.variable("TASK_FILE").filter(|file| !file.is_empty());
    let Some(file) = args.file.clone().or_else(|| variable().map(PathBuf::from)) else {
        return Err(
            Failure::usage("there is no specification").next("ocs autonomous --file SPEC.md")
        );
    };
    let path = world.cwd.join(file);
    let unread = |why: &str| Failure::usage(format!("read the specification: {why}"));
    let bytes = read_named(&path, project.root(), SPEC_MAX_BYTES).map_err(|why| unread(&why))?;
    let text = String::from_utf8(bytes).map_err(|_| unread("it is no text"))?;
    if text.trim().is_empty() {
        return Err(unread("it is empty"));
    }
    Ok(text)
}

/// The project's directory is the agent's: what is in the way of the copy there costs the copy alone.
fn copy_log(files: &Files, progress: &Progress, console: &mut Console<'_>) {
    let copied = fs::read(progress.log())
        .map_err(|error| error.to_string())
        .and_then(|log| files.write(Path::new(LOG.0), LOG.1, &log));
    if let Err(why) = copied {
        warn(
            &format!("no copy of the log in the project: {why}"),
            console,
        );
    }
}
