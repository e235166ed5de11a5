//! The program's beginning and end: arguments in, an exit code out.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::config::Arguments;
use crate::report;
use crate::start;

/// Usage, or config: DESIGN "Commands".
const USAGE: u8 = 64;
/// It could not be started.
const NOT_STARTED: u8 = 70;

/// Runs the program, and says how it ended.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let told = error.print().is_ok();
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            return ExitCode::from(if asked && told { 0 } else { USAGE });
        }
    };
    // In a container nobody is the parent: there the end of standard input says that the starter is gone.
    if arguments.sandboxed && arguments.sockets.is_none() && !tied_to_parent() {
        report::tell("the parent process is gone, or the kernel cannot tell when it goes");
        return ExitCode::from(NOT_STARTED);
    }
    // Warnings of the parts beside the wire; no variable of the environment changes which.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    // One thread: what a request costs is then all of what it costs, and nothing waits for a lock but the disk.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(start::run(arguments));
            // Tasks that did not end in time are dropped here, each with its last line; `stop` comes after them.
            drop(runtime);
            ended.and_then(start::Ended::stop)
        }
        Err(error) => Err(start::Failure::System(error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::tell(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Asks the kernel for SIGTERM when the parent dies: the record is then still ended in order.
fn tied_to_parent() -> bool {
    let before = getppid();
    let asked = set_parent_process_death_signal(Some(Signal::TERM)).is_ok();
    // A parent that died before the call is not noticed by it.
    asked && before.is_some() && getppid() == before
}
