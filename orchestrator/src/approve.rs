//! `ocs approve`: shows what the project's runs were refused while they wait, and takes a person's answers to it.
//!
//! Not here: what an answer opens (the proxy's judge), and how one becomes part of the config (`lasting`).
//! Clauses: P10, B2.
mod lasting;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::termios::{FlushArg, tcflush};
use policies::audit::Reply;
use serde::{Deserialize, Serialize};

use crate::admin;
use crate::cli::AnswerArgs;
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::state::living;
use crate::world::World;

/// How often the runs are looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// What a proxy lists; fields that we do not need are passed over.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
struct Listing {
    asking: bool,
    unasked: u64,
    questions: Vec<Question>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Question {
    question: u32,
    host: String,
    port: u16,
    via: String,
    process: Process,
    waiting: u64,
    left_ms: Option<u64>,
    state: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
struct Process {
    pid: Option<u32>,
    exe: Option<String>,
}

/// What `--list --json` prints.
#[derive(Serialize)]
struct Document {
    v: u32,
    runs: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    run: String,
    #[serde(flatten)]
    listing: Listing,
}

/// Runs `ocs approve`.
///
/// # Errors
/// There is no project, no run of it asks, or nobody is there to answer.
pub(crate) fn run(
    args: &AnswerArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(args.config.as_deref(), world)?;
    if args.list {
        return list(args, &project, console);
    }
    if !world.terminal.stdin {
        return Err(
            Failure::usage("there is nobody to answer: stdin is no terminal")
                .next("ocs approve --list"),
        );
    }
    if asking(&project)?.is_empty() {
        return Err(
            Failure::new(Exit::No, "no running sandbox of this project asks")
                .next("ocs run --ask -- CMD, in another terminal"),
        );
    }
    console.note("waiting for questions; ^C ends this, not the run");
    attend(args, &project, world, console)
}

/// The runs that ask, with what they ask.
fn asking(project: &Project) -> Result<Vec<(PathBuf, Listing)>, Failure> {
    let runs = living(project.state()).map_err(|error| Failure::of(Exit::No, &error))?;
    let listed = runs.into_iter().filter_map(|run| {
        let listing = listing(&run)?;
        listing.asking.then_some((run, listing))
    });
    Ok(listed.collect())
}

/// None where the proxy is gone, not up yet, or of another version.
fn listing(run: &Path) -> Option<Listing> {
    let answer = admin::get(run, "/questions").ok()?;
    serde_json::from_str(&answer.body).ok()
}

fn list(args: &AnswerArgs, project: &Project, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let runs: Vec<Row> = asking(project)?
        .into_iter()
        .map(|(run, listing)| Row {
            run: name(&run),
            listing,
        })
        .collect();
    let exit = if runs.is_empty() { Exit::No } else { Exit::Ok };
    if args.json {
        console.document(&Document { v: 1, runs })?;
        return Ok(exit);
    }
    if runs.is_empty() {
        console.note("no running sandbox of this project asks (ocs run --ask)");
    }
    for Row { run, listing } in &runs {
        for question in &listing.questions {
            let state = &question.state;
            console.line(format_args!(
                "{}: {}, {}",
                escaped(run),
                described(question),
                escaped(state)
            ))?;
        }
        if listing.unasked > 0 {
            let unasked = listing.unasked;
            console.line(format_args!(
                "{}: {unasked} more requests were refused without a question",
                escaped(run)
            ))?;
        }
    }
    Ok(exit)
}

fn name(run: &Path) -> String {
    run.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn described(question: &Question) -> String {
    let Question {
        host,
        port,
        waiting,
        process,
        ..
    } = question;
    let who = match (&process.exe, process.pid) {
        (Some(exe), Some(pid)) => format!(" by {exe} [{pid}]"),
        (Some(exe), None) => format!(" by {exe}"),
        (None, Some(pid)) => format!(" by process {pid}"),
        (None, None) => String::new(),
    };
    let waits = match (waiting, question.left_ms) {
        (0, _) | (_, None) => "no request waits".to_owned(),
        (1, Some(left)) => format!("1 request waits, {} s left", left / 1000),
        (count, Some(left)) => format!("{count} requests wait, {} s left", left / 1000),
    };
    escaped(&format!("{host}:{port}{who}, {waits}"))
}

/// Asks for each question once, until no run asks any longer.
fn attend(
    args: &AnswerArgs,
    project: &Project,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let mut shown = BTreeSet::new();
    loop {
        let runs = asking(project)?;
        if runs.is_empty() {
            console.note("no run asks any longer");
            return Ok(Exit::Ok);
        }
        let mut questions = runs.iter().flat_map(|(run, listing)| {
            let questions = listing.questions.iter();
            questions.map(move |question| (run, question))
        });
        let is_new = |(run, question): &(&PathBuf, &Question)| {
            matches!(question.state.as_str(), "open" | "unanswered")
                && !shown.contains(&((*run).clone(), question.question))
        };
        let Some((run, question)) = questions.find(is_new) else {
            std::thread::sleep(PAUSE);
            continue;
        };
        shown.insert((run.clone(), question.question));
        let Some(reply) = asked(question, console)? else {
            return Ok(Exit::Ok);
        };
        match answer(args, run, question, reply, world) {
            Ok(said) => console.note(escaped(&said)),
            Err(failure) => {
                let label = console.styled_note(Style::Bad, "not done:");
                console.note(format_args!("{label} {}", escaped(&failure.to_string())));
                // It is asked again as long as it stands.
                shown.remove(&(run.clone(), question.question));
            }
        }
    }
}

/// What a person says; none at the end of the input.
fn asked(question: &Question, console: &mut Console<'_>) -> Result<Option<Reply>, Failure> {
    let label = console.styled_note(Style::Warn, "refused:");
    console.note(format_args!("{label} {}", described(question)));
    // What was typed before the question was there is no answer to it.
    tcflush(std::io::stdin(), FlushArg::TCIFLUSH).ok();
    loop {
        console.prompt("allow [o]nce, for this [r]un, [a]lways, or [d]eny? ");
        let Some(line) = console.answer()? else {
            return Ok(None);
        };
        match line.trim().to_ascii_lowercase().as_str() {
            "o" | "once" => return Ok(Some(Reply::Once)),
            "r" | "run" => return Ok(Some(Reply::Run)),
            "a" | "always" => return Ok(Some(Reply::Always)),
            "d" | "deny" => return Ok(Some(Reply::Deny)),
            _ => console.note("please answer o, r, a or d"),
        }
    }
}

/// Carries an answer out; what a person is told of it.
fn answer(
    args: &AnswerArgs,
    run: &Path,
    question: &Question,
    reply: Reply,
    world: &World,
) -> Result<String, Failure> {
    let Question { host, port, .. } = question;
    let lasting = match reply {
        // All that can be wrong is found before anything is said to the proxy.
        Reply::Always => Some(lasting::Change::prepare(
            args.config.as_deref(),
            host,
            *port,
            world,
        )?),
        Reply::Deny | Reply::Once | Reply::Run => None,
    };
    post(run, question, reply)?;
    Ok(match (reply, lasting) {
        (Reply::Once, _) => format!("{host}:{port} is allowed once"),
        (Reply::Run, _) => format!("{host}:{port} is allowed until this run ends"),
        (Reply::Deny, _) => format!("{host}:{port} stays refused in this run"),
        (Reply::Always, None) => String::new(),
        (Reply::Always, Some(change)) => {
            let line = change.make(world)?;
            format!("{host}:{port} is allowed from now on: `{line}` is in the config, and approved")
        }
    })
}

#[derive(Serialize)]
struct Answer<'a> {
    answer: Reply,
    user: Option<&'a str>,
}

fn post(run: &Path, question: &Question, reply: Reply) -> Result<(), Failure> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
    let user = user.ok().flatten().map(|user| user.name);
    let body = serde_json::to_string(&Answer {
        answer: reply,
        user: user.as_deref(),
    });
    let failed = |why: &dyn std::fmt::Display| Failure::new(Exit::No, format!("answer: {why}"));
    let body = body.map_err(|error| failed(&error))?;
    let page = format!("/questions/{}", question.question);
    let answer = admin::post(run, &page, &body).map_err(|error| failed(&error))?;
    match answer.status {
        200 => Ok(()),
        _ => Err(failed(&answer.body.trim())),
    }
}

#[cfg(test)]
mod tests;
