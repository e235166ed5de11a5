//! `ocs run`: any command behind the fence. Settles what must be settled before a start, makes the engine's setup, brings
//! it up by the typestates, and says at the end what was refused.
//!
//! Nothing is started before the config is read whole, the control files are approved, and every program of ours is found.
//! Clauses: U1, U2, U3, P8, P9.
mod prepare;

use policies::Mode;

use crate::bringup::{BringUpError, Cause, Ended, Sandbox};
use crate::cli::{BoxEnterArgs, BoxExecArgs, BoxMendArgs, RunArgs};
use crate::console::{Console, Style, escaped};
use crate::engine::native::enter::Descriptors;
use crate::engine::native::{Native, enter, exec};
use crate::engine::{Ending, EngineError};
use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::summary::Summary;
use crate::world::World;
use prepare::{Prepared, SummingUp};

/// Runs `args.command` behind the fence.
///
/// # Errors
/// The fence could not be put up, or something was missing or wrong before that.
pub(crate) fn run(
    args: &RunArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(args.config.as_deref(), world)?;
    let (config, warnings) = project.config()?;
    for policies::Warning(warning) in &warnings {
        warn(&warning.to_string(), console);
    }
    let mode = args.mode.map_or(config.mode(), Mode::from);
    if mode == Mode::Observe {
        watched(args, world, console)?;
    }
    let Prepared { setup, summing_up } =
        prepare::all(args, mode, &project, &config, world, console)?;
    let sandbox = Sandbox::seal(Native::new(setup))
        .and_then(Sandbox::guard)
        .and_then(Sandbox::run);
    let ended = match sandbox {
        Ok(running) => running.attend(),
        Err(error) => return Err(unstarted(&error, console)),
    };
    Ok(sum_up(ended, &summing_up, args, world, console))
}

/// `observe` lets everything public pass: never quietly, and never with nobody there, unless that was asked for.
fn watched(args: &RunArgs, world: &World, console: &mut Console<'_>) -> Result<(), Failure> {
    if !args.allow_observe && !world.terminal.stdin {
        let message = "network-mode `observe` lets every public destination pass, and nobody is watching: stdin is no terminal";
        return Err(Failure::usage(message).next("ocs run --allow-observe, or --mode filtered"));
    }
    for line in [
        "=====================================================================",
        "OBSERVE: THE FENCE IS OPEN. Every public destination passes, and is",
        "recorded. Only the denylist and private addresses are still refused.",
        "=====================================================================",
    ] {
        let line = console.styled_note(Style::Bad, line);
        console.note(line);
    }
    Ok(())
}

fn unstarted(error: &BringUpError, console: &mut Console<'_>) -> Failure {
    left(&error.left, console);
    match &error.cause {
        Cause::Engine(cause) => {
            let failure = Failure::of(cause.exit(), cause);
            match cause.exit() {
                Exit::Fence | Exit::Missing => failure.next("ocs doctor"),
                Exit::Ok | Exit::No | Exit::Usage | Exit::Timeout | Exit::Agent(_) => failure,
            }
        }
        Cause::Unproven(cause) => Failure::of(Exit::Fence, cause).next("ocs doctor"),
    }
}

fn left(errors: &[EngineError], console: &mut Console<'_>) {
    for error in errors {
        warn(&Failure::of(Exit::No, error).to_string(), console);
    }
}

fn warn(text: &str, console: &mut Console<'_>) {
    let label = console.styled_note(Style::Warn, "warning:");
    for line in text.lines() {
        console.note(format_args!("{label} {}", escaped(line)));
    }
}

/// Says how it ended and what was refused; gives the code to end with.
fn sum_up(
    ended: Ended<Native>,
    summing_up: &SummingUp,
    args: &RunArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Exit {
    let Ended {
        ending,
        left: not_ended,
        engine,
    } = ended;
    let failed = |why: String| Failure::new(Exit::Fence, why);
    let (exit, failure) = match ending {
        Ok(Ending::Agent(code)) => (Exit::Agent(code), None),
        Ok(Ending::Fence { part }) => (
            Exit::Fence,
            Some(failed(format!(
                "{part}; the agent was killed, and nothing got out after that"
            ))),
        ),
        Err(error) => (Exit::Fence, Some(Failure::of(Exit::Fence, &error))),
    };
    if let Some(failure) = failure {
        let label = console.styled_note(Style::Bad, "ocs:");
        console.note(format_args!("{label} {failure}"));
    }
    left(&not_ended, console);
    let mut notes = engine.notes;
    notes.extend(
        engine
            .removed
            .iter()
            .map(|path| format!("{} was made by the agent, and is removed", path.display())),
    );
    match summing_up.read(engine.record_from) {
        Ok(summary) => show(
            &summary.of_run(&summing_up.run, exit.code(), notes),
            args,
            world,
            console,
        ),
        Err(error) => warn(
            &format!("read {}: {error}", summing_up.record.display()),
            console,
        ),
    }
    exit
}

fn show(summary: &Summary, args: &RunArgs, world: &World, console: &mut Console<'_>) {
    if args.json {
        if let Err(error) = summary.document(console) {
            warn(&error.to_string(), console);
        }
    } else if !summary.is_quiet() || world.terminal.stderr {
        summary.show(console);
    }
}

/// `ocs box-enter`.
///
/// # Errors
/// The box could not be made; `ocs run` was told why.
pub(crate) fn enter(args: BoxEnterArgs) -> Result<Exit, Failure> {
    let BoxEnterArgs {
        orders,
        report,
        alive,
    } = args;
    enter::stand(Descriptors {
        orders,
        report,
        alive,
    })
}

/// `ocs box-exec`.
///
/// # Errors
/// The command could not be executed.
pub(crate) fn become_agent(args: &BoxExecArgs) -> Result<Exit, Failure> {
    exec::become_agent(&args.command, args.processes)
}

/// `ocs box-mend`.
///
/// # Errors
/// A control file cannot be protected any longer.
pub(crate) fn mend(args: BoxMendArgs) -> Result<Exit, Failure> {
    enter::mend(args.orders)
}
