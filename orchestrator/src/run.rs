//! `ocs run`: any command behind the fence, and at the end what was refused. How it comes up is `launch`'s affair.
//! Clauses: U1, U2, U3, P8.
use crate::cli::{BoxEnterArgs, BoxExecArgs, BoxMendArgs, RunArgs};
use crate::console::Console;
use crate::engine::native::enter::Descriptors;
use crate::engine::native::{enter, exec};
use crate::exit::{Exit, Failure};
use crate::launch::{self, Order, warn};
use crate::project::Project;
use crate::summary::Summary;
use crate::world::World;

/// Runs `args.command` behind the fence.
///
/// # Errors
/// The fence could not be put up, or something was missing or wrong before that.
pub(crate) fn run(
    args: &RunArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(args.sandbox.config.as_deref(), world)?;
    let config = launch::config(&project, console)?;
    let order = Order {
        engine: args.sandbox.fence.engine,
        mode: args.sandbox.fence.mode.map(Into::into),
        allow_observe: args.allow_observe,
        ask: args.asking.ask,
        ..Order::of(args.command.clone())
    };
    let prepared = launch::prepare(order, &project, &config, world, console)?;
    launch::warn_of_skipped(&prepared.skipped, console);
    let ended = prepared.bring_up(console)?.attend(None);
    ended.tell(console);
    match &ended.summary {
        Ok(summary) => show(summary, args, world, console),
        Err(error) => warn(
            &format!("read {}: {error}", ended.facts.record.display()),
            console,
        ),
    }
    Ok(ended.exit)
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
