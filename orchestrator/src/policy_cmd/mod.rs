//! `ocs policy`: what may go out, checked, explained, shown and approved. Judges nothing itself: `policies` does.
mod approve;
mod check;
mod explain;
mod presets;
mod reload;
mod suggest;

pub(crate) use presets::find as find_preset;

use crate::cli::PolicyCommand;
use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::world::World;

/// Runs one of the commands of `ocs policy`.
///
/// # Errors
/// What the command could not do, with the code to end with.
pub(crate) fn run(
    command: &PolicyCommand,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Approve(args) => approve::approve(args, world, console),
        PolicyCommand::Check(args) => check::run(args, world, console),
        PolicyCommand::Diff(args) => approve::diff(args, world, console),
        PolicyCommand::Explain(args) => explain::run(args, world, console),
        PolicyCommand::Presets(args) => presets::run(args, console),
        PolicyCommand::Reload(args) => reload::run(args, world, console),
        PolicyCommand::Suggest(args) => suggest::run(args, world, console),
        PolicyCommand::Schema(args) => presets::schema(args, console),
    }
}

#[cfg(test)]
mod tests;
