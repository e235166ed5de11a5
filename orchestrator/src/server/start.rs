//! `ocs start`: settles approval and who runs already, then stays with the server itself, or leaves that to a process that
//! survives this terminal, and waits for its word.
//! Clauses: U1, P9.
use std::ffi::OsString;

use clap::ValueEnum;
use policies::{Config, Interface, Mode};
use serde::{Deserialize, Serialize};

use super::lease::{Facts, Phase, Standing, look};
use super::supervise::{self, Stay};
use crate::approval::{self, Snapshot};
use crate::cli::{StartArgs, TuiArgs};
use crate::console::{Console, Style};
use crate::engine::staying::Staying;
use crate::exit::{Exit, Failure};
use crate::launch;
use crate::project::Project;
use crate::tools::{Face, Profile};
use crate::tui;
use crate::world::World;

/// What a supervisor says to `ocs start --detach`, one JSON line each.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Word {
    /// It left the terminal; the server is not yet there.
    Detached,
    /// The server answers.
    Ready {
        /// What is known of it.
        facts: Box<Facts>,
    },
    /// There is none, and nothing is left of it.
    Failed {
        /// The code to end with.
        code: u8,
        /// Why.
        message: String,
        /// What to type next.
        next: Option<String>,
    },
}

/// Runs `ocs start`.
///
/// # Errors
/// It does not run, with the code and the message of what was in the way.
pub(crate) fn start(
    args: &StartArgs,
    face: Face,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    if args.supervised {
        return supervise::supervised(args, face, world, console);
    }
    let project = super::project(world, console)?;
    if let Standing::Held(facts) = look(&project.state().run()) {
        return already((args, face), facts.as_deref(), console);
    }
    let config = launch::config(&project, console)?;
    if args.detach && !args.allow_observe && mode(args, &config) == Mode::Observe {
        let message = "network-mode `observe` lets every public destination pass, and nobody watches a server";
        return Err(Failure::usage(message).next("ocs start --allow-observe, or --mode filtered"));
    }
    if let Some(hash) = &args.hash {
        pinned(hash, &project, world, console)?;
    }
    if face == Face::Web && config.agent().interface == Interface::Tui {
        return in_terminal(args, (&project, &config), world, console);
    }
    if args.detach || face == Face::Api {
        // Asked here, where the terminal is; the supervisor then finds it approved.
        approval::settle(&project, world.terminal, world, console)?;
    }
    if args.asking.ask.is_some() && !world.terminal.stdin {
        return Err(launch::nobody_answers());
    }
    if args.detach {
        return detached(args, face, world, console);
    }
    supervise::serve(
        (args, face),
        Stay::Here,
        (&project, &config),
        world,
        console,
    )
}

/// `agent.interface: tui`: the tool itself, as sandboxed-opencode had it.
fn in_terminal(
    args: &StartArgs,
    (project, config): (&Project, &Config),
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    if args.detach || args.port.is_some() {
        let message = "agent.interface is `tui`: there is no server to detach or to give a port";
        return Err(Failure::usage(message).next("ocs start, or ocs conductor for programs"));
    }
    let profile = Profile::found(&config.agent().tool, world);
    let tui = TuiArgs {
        tool: None,
        fence: args.fence,
        asking: args.asking,
        arguments: Vec::new(),
    };
    tui::serve(&profile, &tui, (project, config), world, console)
}

/// How much of the network is asked for.
pub(super) fn mode(args: &StartArgs, config: &Config) -> Mode {
    args.fence.mode.map_or(config.mode(), Mode::from)
}

/// One that runs is what was asked for, unless something else was asked for.
fn already(
    (args, face): (&StartArgs, Face),
    facts: Option<&Facts>,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let Some(facts) = facts.filter(|facts| facts.phase == Phase::Running) else {
        return Err(
            Failure::new(Exit::No, "the agent's server is starting already")
                .next("ocs status, or ocs stop"),
        );
    };
    let other_mode = args
        .fence
        .mode
        .map(Mode::from)
        .filter(|mode| mode.code() != facts.mode);
    let other_port = args.port.filter(|port| port.get() != facts.port);
    let other_face = (facts.face != face).then(|| format!("as `ocs {}`", command(face)));
    let wanted = other_mode
        .map(|mode| format!("in mode {}", mode.code()))
        .or(other_face)
        .or_else(|| other_port.map(|port| format!("on port {port}")));
    if let Some(wanted) = wanted {
        let (url, mode) = (&facts.url, &facts.mode);
        return Err(Failure::usage(format!(
            "it runs already, at {url} in mode {mode}, and not {wanted}"
        ))
        .next("ocs stop, then ocs start again"));
    }
    let label = console.styled_note(Style::Good, "ocs:");
    console.note(format_args!("{label} it runs already: {}", facts.url));
    if args.json {
        console.document(facts)?;
    }
    Ok(Exit::Ok)
}

/// `--yes --hash`: a yes to what somebody has seen, and to nothing else.
fn pinned(
    hash: &str,
    project: &Project,
    world: &World,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let snapshot = Snapshot::take(project)?;
    let fingerprint = snapshot.fingerprint();
    if !fingerprint.eq_ignore_ascii_case(hash) {
        return Err(Failure::usage(format!(
            "the control files are not those of --hash: their fingerprint is {fingerprint}"
        ))
        .next("ocs policy diff"));
    }
    snapshot.approve(project, world.now.into())?;
    console.note("the control files are approved by their fingerprint");
    Ok(())
}

fn detached(
    args: &StartArgs,
    face: Face,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let unheard =
        |error: std::io::Error| Failure::new(Exit::Fence, "start the supervisor").because(error);
    let mut supervisor = Staying::start(&world.exe, &words(args, face)).map_err(unheard)?;
    while let Some(line) = supervisor.line().map_err(unheard)? {
        match serde_json::from_str(&line) {
            Ok(Word::Detached) => console.note("waiting for the server to answer"),
            Ok(Word::Ready { facts }) => {
                let label = console.styled_note(Style::Good, "ocs:");
                console.note(format_args!("{label} the server answers: {}", facts.url));
                console.note(
                    "     ocs web-auth opens it, ocs terminal attaches to it, ocs stop ends it",
                );
                if args.json {
                    console.document(&facts)?;
                }
                return Ok(Exit::Ok);
            }
            Ok(Word::Failed {
                code,
                message,
                next,
            }) => {
                let failure = Failure::new(Exit::Agent(code), message);
                return Err(match next {
                    Some(next) => failure.next(next),
                    None => failure,
                });
            }
            Err(_) => break,
        }
    }
    let status = supervisor.wait().map_err(unheard)?;
    Err(Failure::new(
        Exit::Fence,
        format!("the supervisor ended without a word ({status}); everything of it ended with it"),
    )
    .next("ocs logs"))
}

/// The command that starts such a server.
const fn command(face: Face) -> &'static str {
    match face {
        Face::Api => "conductor",
        Face::Web => "start",
    }
}

/// What a supervisor is called with: what we were, where it matters after approval.
fn words(args: &StartArgs, face: Face) -> Vec<OsString> {
    let mut words: Vec<OsString> = [command(face), "--supervised", "--detach"]
        .map(OsString::from)
        .into();
    let mut add = |flag: &str, value: String| words.extend([flag.into(), value.into()]);
    if let Some(engine) = args.fence.engine.to_possible_value() {
        add("--engine", engine.get_name().to_owned());
    }
    if let Some(mode) = args.fence.mode {
        add("--mode", Mode::from(mode).code().to_owned());
    }
    if let Some(port) = args.port {
        add("--port", port.to_string());
    }
    if args.allow_observe {
        words.push("--allow-observe".into());
    }
    if let Some(seconds) = args.asking.ask {
        words.push(format!("--ask={seconds}").into());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    #[test]
    fn a_supervisor_is_called_with_what_was_asked_for() {
        for line in [
            "ocs start --detach",
            "ocs start --detach --ask",
            "ocs start --detach --mode none --port 4100 --allow-observe --engine native",
        ] {
            let Ok(Command::Start(asked)) = parse(line.split(' ').map(OsString::from)) else {
                panic!("{line}");
            };
            let called = std::iter::once(OsString::from("ocs")).chain(words(&asked, Face::Web));
            let Ok(Command::Start(heard)) = parse(called) else {
                panic!("{line}");
            };
            let facts = |args: &StartArgs| {
                let StartArgs {
                    fence,
                    port,
                    allow_observe,
                    asking,
                    ..
                } = args.clone();
                (fence, port, allow_observe, asking)
            };
            assert_eq!(facts(&heard), facts(&asked));
            assert!(heard.supervised && heard.detach);
        }
    }
}
