//! `ocs doctor`: what this machine can do, each with the command to type where something is missing. Changes nothing.
//! Not responsible for the fence of a run: that is proven anew at each start (`bringup`).
mod checks;
mod machine;
#[cfg(target_os = "linux")]
mod namespaces;

use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::world::World;

use self::machine::Machine;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    /// What was found.
    detail: String,
    /// What to type.
    fix: Option<String>,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// It is there.
    Ok,
    /// It is not, and something works less well for it.
    Limited,
    /// It is not, and no sandbox starts without it.
    Missing,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    v: u32,
    /// Whether `ocs run` can work here.
    ready: bool,
    checks: &'a [Check],
}

/// Runs `ocs doctor`.
///
/// # Errors
/// stdout cannot be written to. Something missing is no error of the command: exit 69.
pub(crate) fn run(
    args: &DoctorArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let checks = checks::all(&Machine::this(world));
    let missing = checks
        .iter()
        .filter(|check| check.state == State::Missing)
        .count();
    if args.json {
        console.document(&Document {
            v: 1,
            ready: missing == 0,
            checks: &checks,
        })?;
    } else {
        for check in &checks {
            show(check, console)?;
        }
        console.line(match missing {
            0 => "ocs run works here".to_owned(),
            1 => "ocs run does not work here: one thing is missing".to_owned(),
            _ => format!("ocs run does not work here: {missing} things are missing"),
        })?;
    }
    Ok(if missing == 0 {
        Exit::Ok
    } else {
        Exit::Missing
    })
}

/// The inner half of `run`: makes namespaces of its own, tries what a fence needs in them, and prints what failed.
///
/// # Errors
/// stdout cannot be written to.
#[cfg(target_os = "linux")]
pub(crate) fn probe(console: &mut Console<'_>) -> Result<Exit, Failure> {
    for (step, outcome) in namespaces::probe() {
        match outcome {
            Ok(()) => console.line(format_args!("{step}: ok"))?,
            Err(error) => console.line(format_args!("{step}: {error}"))?,
        }
    }
    Ok(Exit::Ok)
}

/// Where there are no namespaces there is nothing to try.
///
/// # Errors
/// Never; the signature is that of the other systems.
#[cfg(not(target_os = "linux"))]
pub(crate) fn probe(_console: &mut Console<'_>) -> Result<Exit, Failure> {
    Ok(Exit::Ok)
}

fn show(check: &Check, console: &mut Console<'_>) -> Result<(), Failure> {
    let (style, word) = match check.state {
        State::Ok => (Style::Good, "ok"),
        State::Limited => (Style::Warn, "limited"),
        State::Missing => (Style::Bad, "missing"),
    };
    let word = console.styled(style, format!("{word:<8}"));
    console.line(format_args!(
        "{word} {:<16} {}",
        check.name,
        escaped(&check.detail)
    ))?;
    match &check.fix {
        Some(fix) => console.line(format_args!("{:26}{fix}", "")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
