//! `ocs box-exec`: the last step, inside the box. It sets right what the way here left behind (signals, descriptors, limits),
//! and becomes the agent. It runs under the agent's own system call filter, as the agent's user.
//! Clauses: B5.
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;

use crate::exit::{Exit, Failure};

/// The most descriptors that a program in the box may open: what servers ask for, and far below the machine's own.
const DESCRIPTORS: u64 = 65_536;

/// Becomes `command`; returns only where that failed.
///
/// # Errors
/// It is not there (127), or cannot be executed (126), as a shell says it.
pub(crate) fn become_agent(command: &[OsString], processes: Option<u64>) -> Result<Exit, Failure> {
    let fence = |error: io::Error| {
        Failure::new(Exit::Fence, "box-exec: prepare the command").because(error)
    };
    close_others().map_err(fence)?;
    limit(processes).map_err(|error| fence(error.into()))?;
    SigSet::empty()
        .thread_set_mask()
        .map_err(|error| fence(error.into()))?;
    let name = command.first().cloned().unwrap_or_default();
    let error = replace_by(&name, command.get(1..).unwrap_or_default());
    // POSIX.1-2017, Shell Command Language 2.8.2.
    let code = if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    Err(Failure::new(
        Exit::Agent(code),
        name.to_string_lossy().escape_debug().to_string(),
    )
    .because(error))
}

/// Goes on as that program. The library does it, because it also gives SIGPIPE back, which every Rust program ignores: an
/// agent that ignored it would have pipelines that never end (`yes | head`).
#[expect(
    clippy::disallowed_methods,
    reason = "starts nothing beside itself: it becomes the agent"
)]
fn replace_by(name: &OsStr, arguments: &[OsString]) -> io::Error {
    Command::new(name).args(arguments).exec()
}

/// Nothing but 0, 1 and 2 goes on.
fn close_others() -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in open.into_iter().filter(|number| *number > 2) {
        match nix::unistd::close(number) {
            // The listing's own is closed by now.
            Ok(()) | Err(Errno::EBADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn limit(processes: Option<u64>) -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let hard = hard.min(DESCRIPTORS);
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?;
    if let Some(processes) = processes {
        // Counted for this user in this user namespace since Linux 5.14, that is for the box alone.
        setrlimit(Resource::RLIMIT_NPROC, processes, processes)?;
    }
    Ok(())
}
