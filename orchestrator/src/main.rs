//! The `ocs` binary: reads what it was started in, runs the command, ends with its code. No logic.
use std::process::ExitCode;

use orchestrator::console::Console;
use orchestrator::world::World;
use orchestrator::{cli, dispatch};

fn main() -> ExitCode {
    let world = World::of_this_process();
    // Results can be a million lines; `dispatch::end` hands over what is left.
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let mut err = std::io::stderr();
    let mut input = std::io::BufReader::new(std::io::stdin());
    let mut console = Console::new(&mut out, &mut err, &mut input, world.terminal);
    let ended = match cli::parse(std::env::args_os()) {
        Ok(command) => dispatch::run(&command, &world, &mut console),
        Err(answer) => dispatch::answer(&answer, &mut console),
    };
    dispatch::end(ended, &mut console).into()
}
