//! `ocs-netctl`: reads a spec on stdin and plans, applies, verifies, clears or holds the fence that it asks for.
//!
//! Not here: any of those; this reads the command line, wires and exits.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use netctl::exit::Exit;
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
    Plan {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the namespace what the spec asks for, and read it back.
    Apply {
        /// The spec itself, where nobody can write to stdin, as in a compose file.
        #[arg(long, value_name = "JSON")]
        spec: Option<String>,
    },
    /// Read the namespace back and print how it differs from what the spec asks for.
    Verify {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove the rules; reads no spec.
    Clear,
    /// Try what must fail in a fenced namespace; reads the targets as JSON on stdin, prints what came of each attempt.
    Probe,
    /// Fence a namespace and keep it until the proxy goes.
    Hold {
        /// Make a user and a network namespace, and hold that; else the one that this is started in.
        #[arg(long)]
        userns: bool,
        /// Wait for the proxy at this path; else stdin is the connection, and the spec its first message.
        #[arg(long)]
        socket: Option<PathBuf>,
        /// The spec is one line on stdin, and the end of stdin is the end: how a container's holder knows its starter.
        #[arg(long, requires = "socket")]
        attached: bool,
        /// Whom to let connect at the path, in place of the own user.
        #[arg(long, requires = "socket", value_name = "UID")]
        peer_uid: Option<u32>,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match run(arguments.command) {
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

fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Plan { json } => {
            let plan = Plan::build(&read_spec()?);
            let text = if json {
                plan.to_json()
            } else {
                plan.to_string()
            };
            io::stdout().write_all(text.as_bytes())?;
            Ok(Exit::Done)
        }
        Command::Apply { spec: Some(spec) } => live::apply(&Spec::parse(spec.as_bytes())?),
        Command::Apply { spec: None } => live::apply(&read_spec()?),
        Command::Verify { json } => live::verify(&read_spec()?, json),
        Command::Clear => live::clear(),
        Command::Probe => probe(),
        Command::Hold {
            userns,
            socket,
            attached,
            peer_uid,
        } => live::hold(&live::Held {
            userns,
            socket,
            attached,
            peer_uid,
        }),
    }
}

fn probe() -> anyhow::Result<Exit> {
    let targets =
        serde_json::from_reader(io::stdin().take(SPEC_MAX)).context("read the targets")?;
    let findings = serde_json::to_string(&netctl::probe::run(&targets))?;
    writeln!(io::stdout(), "{findings}")?;
    Ok(Exit::Done)
}

/// Longer than a spec with full lists is.
const SPEC_MAX: u64 = 65_536;

fn read_spec() -> anyhow::Result<Spec> {
    let mut json = Vec::new();
    io::stdin()
        .take(SPEC_MAX)
        .read_to_end(&mut json)
        .context("read the spec on stdin")?;
    Ok(Spec::parse(&json)?)
}

fn say(text: &str) {
    drop(io::stderr().write_all(text.as_bytes())); // nowhere to tell that it could not be told
}

#[cfg(all(feature = "kernel", target_os = "linux"))]
fn exit_of(error: &anyhow::Error) -> Exit {
    use netctl::kernel::KernelError;
    if let Some(KernelError::Missing { .. }) = error.downcast_ref() {
        Exit::Missing
    } else if error.is::<SpecError>() {
        Exit::Usage
    } else {
        Exit::Refused
    }
}

#[cfg(not(all(feature = "kernel", target_os = "linux")))]
fn exit_of(error: &anyhow::Error) -> Exit {
    if error.is::<SpecError>() {
        Exit::Usage
    } else {
        Exit::Refused
    }
}

#[cfg(all(feature = "kernel", target_os = "linux"))]
mod live {
    //! The commands that need a kernel.

    use std::io::{self, Write};
    use std::path::PathBuf;

    use netctl::exit::Exit;
    use netctl::hold::{self, Life, Namespace, Options, Peer};
    use netctl::kernel::{self, Difference};
    use netctl::spec::Spec;

    pub(super) fn apply(spec: &Spec) -> anyhow::Result<Exit> {
        kernel::replace(spec)?;
        verify(spec, false)
    }

    pub(super) fn verify(spec: &Spec, json: bool) -> anyhow::Result<Exit> {
        let differences = kernel::verify(spec)?;
        let lines: Vec<String> = differences.iter().map(Difference::to_string).collect();
        let mut stdout = io::stdout();
        if json {
            let report =
                serde_json::json!({ "v": 1, "enforced": lines.is_empty(), "differences": lines });
            writeln!(stdout, "{report}")?;
        } else {
            for line in &lines {
                writeln!(stdout, "{line}")?;
            }
        }
        Ok(if lines.is_empty() {
            Exit::Done
        } else {
            Exit::Refused
        })
    }

    pub(super) fn clear() -> anyhow::Result<Exit> {
        kernel::clear()?;
        Ok(Exit::Done)
    }

    /// How to hold, as typed.
    pub(super) struct Held {
        pub(super) userns: bool,
        pub(super) socket: Option<PathBuf>,
        pub(super) attached: bool,
        pub(super) peer_uid: Option<u32>,
    }

    pub(super) fn hold(held: &Held) -> anyhow::Result<Exit> {
        let path = |path: &PathBuf| Peer::Path {
            path: path.clone(),
            uid: held.peer_uid,
            life: if held.attached {
                Life::Stdin
            } else {
                Life::Connection
            },
        };
        let options = Options {
            namespace: if held.userns {
                Namespace::Own
            } else {
                Namespace::Inherited
            },
            peer: held.socket.as_ref().map_or(Peer::Stdin, path),
        };
        let mut stdout = io::stdout();
        match hold::run(&options, &io::stdin(), &mut stdout) {
            Ok(()) => Ok(Exit::Done),
            Err(error) => {
                hold::tell(&mut stdout, &error.status())?;
                Ok(error.exit())
            }
        }
    }
}

#[cfg(not(all(feature = "kernel", target_os = "linux")))]
mod live {
    //! What stands in for the commands that need a kernel, in a build that has none.

    use std::path::PathBuf;

    use netctl::exit::Exit;
    use netctl::spec::Spec;

    pub(super) fn apply(_: &Spec) -> anyhow::Result<Exit> {
        missing()
    }

    pub(super) fn verify(_: &Spec, _: bool) -> anyhow::Result<Exit> {
        missing()
    }

    pub(super) fn clear() -> anyhow::Result<Exit> {
        missing()
    }

    #[expect(dead_code, reason = "what a build with a kernel reads")]
    pub(super) struct Held {
        pub(super) userns: bool,
        pub(super) socket: Option<PathBuf>,
        pub(super) attached: bool,
        pub(super) peer_uid: Option<u32>,
    }

    pub(super) fn hold(_: &Held) -> anyhow::Result<Exit> {
        missing()
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "stands where a command that can fail stands in other builds"
    )]
    fn missing() -> anyhow::Result<Exit> {
        super::say(
            "ocs-netctl: this build has no kernel part: build on Linux with the feature `kernel`\n",
        );
        Ok(Exit::Missing)
    }
}
