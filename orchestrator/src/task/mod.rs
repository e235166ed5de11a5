//! `ocs task`: one task for an agent with nobody there, in a sandbox of its own, and one JSON document about it.
//!
//! stdout gets that document and nothing else, whatever happens, mistakes in the command line included. The task reaches
//! the agent as its stdin, which is a file of ours opened for reading: it stands on no command line and in no variable.
//! Not responsible for how a sandbox comes up (`launch`) or for what tools are like (`tools`).
//! Clauses: O6, U2, U3.

mod api;
mod attached;
mod changes;
mod limit;
mod place;
mod report;
mod stream;
mod wish;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use policies::Config;

use crate::cli::TaskArgs;
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::launch::{self, Order, Stream, Streams};
use crate::outfit::{Outfit, Wanted};
use crate::project::Project;
use crate::provider::Permission;
use crate::tools::{Onto, Profile};
use crate::world::World;
pub(crate) use api::Api;
pub(crate) use changes::Tree;
use limit::Limit;
use place::Place;
use report::Report;

/// Does one task.
///
/// # Errors
/// Why there was none, or why its fence ended; stdout has the document all the same.
pub(crate) fn run(
    args: &TaskArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let begun = Instant::now();
    match perform(args, begun, world, console) {
        Ok((report, exit)) => {
            console.document(&report)?;
            Ok(exit)
        }
        Err(failure) => {
            console.document(&Report::of_failure(&failure, begun.elapsed()))?;
            Err(failure)
        }
    }
}

/// A command line that cannot be read is a mistake with a document of its own.
///
/// # Errors
/// stdout cannot be written to.
pub(crate) fn mistaken(text: &str, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let first = text.lines().next().unwrap_or_default();
    let failure = Failure::usage(first.trim_start_matches("error: "));
    console.document(&Report::of_failure(&failure, Duration::ZERO))?;
    console.prompt(text);
    Ok(Exit::Usage)
}

fn perform(
    args: &TaskArgs,
    begun: Instant,
    world: &World,
    console: &mut Console<'_>,
) -> Result<(Report, Exit), Failure> {
    let project = Project::find(args.sandbox.config.as_deref(), world)?;
    let task = wish::read(args, &project, world, console)?;
    if args.attach {
        return attached::perform(args, begun, task, (&project, world), console);
    }
    let config = launch::config(&project, console)?;
    let tool = match &args.tool {
        Some(name) => Profile::named(name)?,
        None => config.agent().tool.clone(),
    };
    let profile = Profile::found(&tool, world);
    let place = Place::new(&project, args, world, &task)?;
    let (streams, events) = place.streams()?;
    let order = order(
        args,
        &profile,
        &place,
        streams,
        (&project, &config),
        world,
        console,
    )?;
    let before = Tree::of(project.root());
    let prepared = launch::prepare(order, &project, &config, world, console)?;
    launch::warn_of_skipped(&prepared.skipped, console);
    say_start(prepared.facts(), &profile, console);
    let running = prepared.bring_up(console)?;
    // Threads only from here on: the signals that `launch` takes are blocked in all that are begun now.
    let reading = stream::read(events, profile.events, place.events_file()?);
    let limit = Limit::start(Duration::from_secs(args.timeout), begun)?;
    let ended = running.attend(Some(limit.over()));
    let timed_out = limit.end() && ended.asked;
    let told = reading.end();
    ended.tell(console);
    let after = Tree::of(project.root());
    let report = Report::of(&ended, told, timed_out, begun.elapsed())
        .with_changes(before.changed(&after))
        .with_events(place.events());
    place.end(&report)?;
    let exit = report.exit();
    Ok((report, exit))
}

fn order(
    args: &TaskArgs,
    profile: &Profile,
    place: &Place,
    streams: Streams,
    (project, config): (&Project, &Config),
    world: &World,
    console: &mut Console<'_>,
) -> Result<Order, Failure> {
    let wanted = Wanted {
        profile,
        permission: Permission::Unattended,
        state: Some(place.state()),
        directory: &place.outfit(),
    };
    let outfit = Outfit::of(wanted, (project, config), world, console)?;
    let onto = Onto {
        server: None,
        session: place.session(),
    };
    let words = profile.headless(onto, &[outfit.words, args.agent_args.clone()].concat());
    Ok(Order {
        engine: args.sandbox.fence.engine,
        mode: args.sandbox.fence.mode.map(Into::into),
        allow_observe: args.allow_observe,
        environment: outfit.environment,
        shows: outfit.shows,
        streams,
        unattended: true,
        ..Order::of(words.into_iter().map(OsString::from).collect())
    })
}

fn say_start(facts: &launch::Facts, profile: &Profile, console: &mut Console<'_>) {
    if console.terminal().stderr {
        let label = console.styled_note(Style::Dim, "ocs:");
        let (name, run) = (escaped(profile.name), &facts.run);
        console.note(format_args!("{label} {name} begins, run {run}"));
    }
}

impl Streams {
    /// A task on stdin, a pipe on stdout, and messages where ours go.
    fn of_task(task: std::fs::File, stdout: std::os::fd::OwnedFd) -> Self {
        Self {
            stdin: Stream::Given(task.into()),
            stdout: Stream::Given(stdout),
            stderr: Stream::Ours,
        }
    }
}
