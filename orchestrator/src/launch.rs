//! The one way in which a sandbox comes up, whatever asked for it: `prepare` settles what must be settled before a start,
//! `bring_up` goes through the typestates, `attend` stays to the end. Each engine plugs in at [`Fence`] and [`Up`].
//!
//! Between the three a caller may do what it has to: leave its terminal, say that the agent runs, watch a port. Nothing is
//! started before the config is read whole, the control files are approved, and every program of ours is found.
//! Not responsible for what is said to people about it (`run`, `ended`).
//! Clauses: U1, U2, U3, P8, P9.
mod container;
mod ended;
mod listed;
mod marks;
mod native;
mod order;
mod settled;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use policies::{Config, Mode, Policy, Surroundings};

use crate::bringup::{BringUpError, Cause, Running as Runs, Sandbox};
use crate::checkpoint::Watcher;
use crate::cli;
use crate::console::{Console, Style, escaped};
use crate::engine::client::{Client, Kind};
use crate::engine::container::{self as containers, Container};
use crate::engine::native::{Native, Setup};
use crate::engine::{Engine, EngineError};
use crate::environment::Skipped;
use crate::exit::{Exit, Failure};
use crate::monitor::{Looks, Monitor};
use crate::probe::Targets;
use crate::project::Project;
use crate::world::World;
pub(crate) use ended::Ended;
pub(crate) use marks::Marked;
pub(crate) use order::{Access, Order, Publish, Show, Stream, Streams};
use settled::Settled;
pub(crate) use settled::sweep;

/// In a run's directory: what a person should know, one a line, while it goes on.
pub(crate) const NOTES: &str = "notes";

/// A start that is settled: nothing runs yet, but all that could be wrong by itself was looked at.
#[derive(Debug)]
pub(crate) struct Prepared {
    fence: Fence,
    /// What is to be looked at while it runs, where that can be seen.
    looks: Option<Looks>,
    facts: Facts,
    /// Variables of `env-passthrough` that have no value on the host.
    pub(crate) skipped: Vec<Skipped>,
}

/// What is known of a run before it begins, and needed until after it.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Its identity.
    pub(crate) run: String,
    /// Its record.
    pub(crate) record: PathBuf,
    /// Its own directory; gone when it is.
    pub(crate) directory: PathBuf,
    /// The engine's name.
    pub(crate) engine: &'static str,
    /// How much of the network it gets.
    pub(crate) mode: Mode,
    /// The project's place in the box.
    pub(crate) project: PathBuf,
    targets: Targets,
    /// What it may reach.
    pub(crate) policy: Policy,
}

impl Facts {
    fn of(
        engine: &'static str,
        mode: Mode,
        project: PathBuf,
        marked: &Marked,
        settled: &Settled,
    ) -> Self {
        Self {
            run: marked.run.id().as_str().to_owned(),
            record: marked.run.record().to_owned(),
            directory: marked.run.directory().to_owned(),
            engine,
            mode,
            project,
            targets: settled.targets.clone(),
            policy: settled.policy.clone(),
        }
    }
}

/// What an engine takes for the host: where its loopback services are. The proxy of a container has the engine's own address
/// for it.
fn surroundings() -> Surroundings {
    Surroundings {
        host_addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        own_addresses: Vec::new(),
    }
}

/// A start, made ready for the engine that was chosen.
#[derive(Debug)]
enum Fence {
    Container(Box<containers::Setup>),
    Native(Box<Setup>),
}

/// An agent that runs behind a fence that was proven.
#[derive(Debug)]
pub(crate) struct Running {
    up: Up,
    looks: Option<Looks>,
    facts: Facts,
}

#[derive(Debug)]
enum Up {
    Container(Box<Sandbox<Container, Runs>>),
    Native(Box<Sandbox<Native, Runs>>),
}

/// Settles everything before a start. On an error nothing is left but what the next start sweeps.
///
/// # Errors
/// Something is wrong or missing, each with its own message and code.
pub(crate) fn prepare(
    order: Order,
    project: &Project,
    config: &Config,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Prepared, Failure> {
    let mode = order.mode.unwrap_or(config.mode());
    if mode == Mode::Observe {
        watched(&order, world, console)?;
    }
    if let Some(seconds) = order.ask {
        answered(&order, seconds, mode, world, console)?;
    }
    match chosen(order.engine, project, world) {
        cli::Engine::Auto | cli::Engine::Native => {
            native::prepare(order, mode, project, config, world, console)
                .map_err(Failure::of_a_start)
        }
        cli::Engine::Docker => {
            container::prepare(Kind::Docker, order, mode, project, config, world, console)
                .map_err(Failure::of_a_start)
        }
        cli::Engine::Podman => {
            container::prepare(Kind::Podman, order, mode, project, config, world, console)
                .map_err(Failure::of_a_start)
        }
    }
}

/// The engine that `auto` means here: native, where nothing that is seen at once forbids it; else docker or podman, where one
/// is installed. Where there is none either, it is native that says what it lacks.
pub(crate) fn chosen(wanted: cli::Engine, project: &Project, world: &World) -> cli::Engine {
    match wanted {
        cli::Engine::Docker | cli::Engine::Native | cli::Engine::Podman => wanted,
        cli::Engine::Auto if native::is_possible() => cli::Engine::Native,
        cli::Engine::Auto => match Client::find(None, project.root(), world) {
            Ok(client) => match client.kind {
                Kind::Docker => cli::Engine::Docker,
                Kind::Podman => cli::Engine::Podman,
            },
            Err(_) => cli::Engine::Native,
        },
    }
}

impl Prepared {
    /// What is known of the run.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Brings it up: the agent runs when this returns.
    ///
    /// # Errors
    /// The fence could not be put up or proven, or the agent could not be started; all is undone.
    pub(crate) fn bring_up(self, console: &mut Console<'_>) -> Result<Running, Failure> {
        let Self {
            fence,
            facts,
            looks,
            ..
        } = self;
        let up = match fence {
            Fence::Container(setup) => {
                up(Container::new(*setup)).map(|sandbox| Up::Container(Box::new(sandbox)))
            }
            Fence::Native(setup) => {
                up(Native::new(*setup)).map(|sandbox| Up::Native(Box::new(sandbox)))
            }
        };
        match up {
            Ok(up) => Ok(Running { up, looks, facts }),
            Err(error) => Err(unstarted(&error, console)),
        }
    }
}

impl Running {
    /// What is known of the run.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Stays until the end, and takes everything down. When `until` becomes readable, or its other end is closed, the
    /// agent is asked to end, and killed if it takes too long: a timer, or a pipe.
    pub(crate) fn attend(self, until: Option<&OwnedFd>) -> Ended {
        let checkpoints = Watcher::begin(&self.facts.record);
        let looks = self.looks;
        let _monitor = looks.map(|looks| Monitor::begin(&self.facts.record, looks));
        match self.up {
            Up::Container(sandbox) => Ended::of(sandbox.attend(until), self.facts, checkpoints),
            Up::Native(sandbox) => Ended::of(sandbox.attend(until), self.facts, checkpoints),
        }
    }
}

fn up<E: Engine>(engine: E) -> Result<Sandbox<E, Runs>, BringUpError> {
    Sandbox::seal(engine)
        .and_then(Sandbox::guard)
        .and_then(Sandbox::run)
}

/// The config as meant; what is worth a warning is said.
///
/// # Errors
/// It is wrong anywhere: every mistake (exit 64).
pub(crate) fn config(project: &Project, console: &mut Console<'_>) -> Result<Config, Failure> {
    let (config, warnings) = project.config()?;
    for policies::Warning(warning) in &warnings {
        warn(&warning.to_string(), console);
    }
    Ok(config)
}

/// Says what is worth a warning.
pub(crate) fn warn(text: &str, console: &mut Console<'_>) {
    let label = console.styled_note(Style::Warn, "warning:");
    for line in text.lines() {
        console.note(format_args!("{label} {}", escaped(line)));
    }
}

/// Says which variables have no value on the host.
pub(crate) fn warn_of_skipped(skipped: &[Skipped], console: &mut Console<'_>) {
    for skipped in skipped {
        warn(
            &format!(
                "env-passthrough: {} is skipped, ${} is not set",
                skipped.inside, skipped.host
            ),
            console,
        );
    }
}

/// `observe` lets everything public pass: never quietly, and never with nobody there, unless that was asked for.
fn watched(order: &Order, world: &World, console: &mut Console<'_>) -> Result<(), Failure> {
    if !order.allow_observe && (order.unattended || !world.terminal.stdin) {
        let message = "network-mode `observe` lets every public destination pass, and nobody is watching: stdin is no terminal";
        return Err(Failure::usage(message).next("ocs run --allow-observe, or --mode filtered"));
    }
    for line in [
        "=====================================================================",
        "OBSERVE: THE FENCE IS OPEN. Every public destination passes, and is",
        "recorded. Only the denylist and private addresses are still refused.",
        "=====================================================================",
    ] {
        let line = console.styled_note(Style::Bad, line);
        console.note(line);
    }
    Ok(())
}

/// The refusal of `--ask` where nobody could answer.
pub(crate) fn nobody_answers() -> Failure {
    let message = "`--ask` waits for a person, and nobody is there: stdin is no terminal";
    Failure::usage(message)
        .next("leave --ask out; ocs policy suggest shows what the run would have wanted")
}

/// `--ask` waits for a person: there must be one, and something that an answer could open.
fn answered(
    order: &Order,
    seconds: u64,
    mode: Mode,
    world: &World,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if order.unattended || !world.terminal.stdin {
        return Err(nobody_answers());
    }
    if mode == Mode::Filtered {
        console.note(format_args!(
            "refused destinations wait {seconds} s for an answer: ocs approve, in another terminal"
        ));
    } else {
        warn(&format!("--ask: in mode {mode} nothing is asked"), console);
    }
    Ok(())
}

fn unstarted(error: &BringUpError, console: &mut Console<'_>) -> Failure {
    tell_left(&error.left, console);
    match &error.cause {
        Cause::Engine(cause) => {
            let failure = Failure::of(cause.exit(), cause);
            match cause.exit() {
                Exit::Fence | Exit::Missing => failure.next("ocs doctor"),
                Exit::Ok | Exit::No | Exit::Usage | Exit::Timeout | Exit::Agent(_) => failure,
            }
        }
        Cause::Unproven(cause) => Failure::of(Exit::Fence, cause).next("ocs doctor"),
    }
}

/// Says what could not be taken down.
fn tell_left(errors: &[EngineError], console: &mut Console<'_>) {
    for error in errors {
        warn(&Failure::of(Exit::No, error).to_string(), console);
    }
}

/// The place in the box of something that is shown below the agent's home.
pub(crate) fn in_home(below: &str) -> PathBuf {
    Path::new(crate::engine::native::view::HOME).join(below)
}
