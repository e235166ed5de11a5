//! `ocs-netctl`: reads a spec on stdin and plans, applies, verifies, clears or holds the fence that it asks for.
//!
//! Not here: any of those; this reads the command line, wires and exits.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use netctl::exit::Exit;
use netctl::kernel::{self, Difference};
use netctl::plan::Plan;
use netctl::spec::{Spec, SpecError};

/// Fences a network namespace. Reads the spec as JSON on stdin; docs/netctl.md describes it.
#[derive(Parser)]
#[command(name = "ocs-netctl", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the rules that the spec asks for, in nft's syntax; touches nothing.
    Plan,
    /// Make the namespace what the spec asks for, and read it back.
    Apply,
    /// Read the namespace back and print how it differs from what the spec asks for.
    Verify,
    /// Remove the rules; reads no spec.
    Clear,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match run(&arguments.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            say(&format!("ocs-netctl: {error:#}\n"));
            exit_of(&error).into()
        }
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    drop(error.print()); // nowhere to tell that it could not be told
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    }
    .into()
}

fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Plan => {
            let plan = Plan::build(&read_spec()?);
            io::stdout().write_all(plan.to_string().as_bytes())?;
            Ok(Exit::Done)
        }
        Command::Apply => {
            let spec = read_spec()?;
            kernel::replace(&spec)?;
            tell(&kernel::verify(&spec)?)
        }
        Command::Verify => tell(&kernel::verify(&read_spec()?)?),
        Command::Clear => {
            kernel::clear()?;
            Ok(Exit::Done)
        }
    }
}

fn tell(differences: &[Difference]) -> anyhow::Result<Exit> {
    for difference in differences {
        writeln!(io::stdout(), "{difference}")?;
    }
    Ok(if differences.is_empty() {
        Exit::Done
    } else {
        Exit::Refused
    })
}

/// More than a spec of full lists is: 64 KiB.
const SPEC_MAX: u64 = 65_536;

fn read_spec() -> anyhow::Result<Spec> {
    let mut json = Vec::new();
    io::stdin()
        .take(SPEC_MAX)
        .read_to_end(&mut json)
        .context("read the spec on stdin")?;
    Ok(Spec::parse(&json)?)
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if error.is::<SpecError>() {
        Exit::Usage
    } else {
        Exit::Refused
    }
}

fn say(text: &str) {
    drop(io::stderr().write_all(text.as_bytes())); // nowhere to tell that it could not be told
}
