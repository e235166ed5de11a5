//! `ocs run`: any command behind the fence. Not built yet.
use crate::cli::RunArgs;
use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::world::World;

/// Runs `args.command` behind the fence.
///
/// # Errors
/// The fence could not be put up, or something was missing or wrong before that.
pub(crate) fn run(
    _args: &RunArgs,
    _world: &World,
    _console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    Err(Failure::usage("`ocs run` is not built yet"))
}
