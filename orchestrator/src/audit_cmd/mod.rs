//! `ocs audit`: the record, read. Writes nothing; what a line means is `policies::audit`'s word.
//! Clauses: R3, R4.
mod collector;
mod csv;
mod export;
mod filter;
mod follow;
mod lines;
mod many;
mod moment;
mod own;
mod query;
pub(crate) mod record;
pub(crate) mod records;
mod report;
mod row;
mod table;
mod tally;
mod unpack;
mod verify;

use crate::cli::AuditCommand;
use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::world::World;

/// Runs one of the commands of `ocs audit`.
///
/// # Errors
/// What the command could not do, with the code to end with.
pub(crate) fn run(
    command: &AuditCommand,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    match command {
        AuditCommand::Export(args) => export::run(args, world, console),
        AuditCommand::Follow(args) => follow::run(args, world, console),
        AuditCommand::Query(args) => query::run(args, world, console),
        AuditCommand::Report(args) => report::run(args, world, console),
        AuditCommand::Verify(args) => verify::run(args, world, console),
    }
}

#[cfg(test)]
pub(crate) mod tests;
