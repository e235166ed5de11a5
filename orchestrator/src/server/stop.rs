//! `ocs stop`: asks the supervisor to end, and waits until nothing of the server is left. One that does not end in time is
//! killed: the kernel ends all of it then, and the sweep of the next start is done at once.
//! Clauses: U3.
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use super::lease::{Facts, Standing, look};
use crate::cli::StopArgs;
use crate::console::{Console, Style};
use crate::exit::{Exit, Failure};
use crate::launch;
use crate::world::World;

/// The agent has 10 s to end, the proxy 3 to drain.
const PATIENCE: Duration = Duration::from_secs(20);
/// After the kill: the kernel's own time.
const LAST: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// What `ocs stop --json` prints.
#[derive(Serialize)]
struct Document {
    v: u32,
    sandbox: String,
    /// Whether there was a server to end.
    ran: bool,
    /// Whether it had to be killed.
    killed: bool,
}

/// Runs `ocs stop`.
///
/// # Errors
/// It could not be ended (exit 1).
pub(crate) fn stop(
    args: &StopArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = super::project(world, console)?;
    let run = project.state().run();
    let (mut ran, mut killed) = (false, false);
    if let Standing::Held(facts) = look(&run) {
        ran = true;
        killed = end(facts.as_deref(), &run, console)?;
        if killed {
            launch::sweep(&project, console)?;
        }
        let label = console.styled_note(Style::Good, "ocs:");
        console.note(format_args!(
            "{label} the server ended; nothing of it is left"
        ));
    } else {
        console.note("the agent's server does not run");
    }
    if args.json {
        console.document(&Document {
            v: 1,
            sandbox: project.id().as_str().to_owned(),
            ran,
            killed,
        })?;
    }
    Ok(Exit::Ok)
}

/// Ends it; gives whether it had to be killed.
fn end(facts: Option<&Facts>, run: &Path, console: &mut Console<'_>) -> Result<bool, Failure> {
    let unknown = || {
        Failure::new(
            Exit::No,
            "the server is just starting, and does not say who it is yet",
        )
        .next("ocs stop again")
    };
    let pid = facts
        .and_then(|facts| i32::try_from(facts.pid).ok())
        .filter(|pid| *pid > 1)
        .map(Pid::from_raw)
        .ok_or_else(unknown)?;
    // It holds the lease, so it lives, and the number is its own.
    let send = |signal: Signal| {
        kill(pid, signal).map_err(|error| {
            Failure::new(Exit::No, format!("send {signal} to the supervisor, {pid}")).because(error)
        })
    };
    let ask = send(Signal::SIGTERM);
    if free_within(PATIENCE, run) {
        return Ok(false);
    }
    ask?;
    launch::warn(
        &format!("the supervisor did not end within {PATIENCE:?}, and is killed"),
        console,
    );
    send(Signal::SIGKILL).ok();
    if free_within(LAST, run) {
        return Ok(true);
    }
    Err(Failure::new(
        Exit::No,
        format!("the supervisor, process {pid}, cannot be ended"),
    ))
}

fn free_within(limit: Duration, run: &Path) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if look(run) == Standing::Absent {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}
