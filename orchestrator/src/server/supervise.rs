//! The process that stays with a server: brings it up, waits until it answers, attends it to its end, and takes everything
//! down. In the terminal of the person who started it, or in a session of its own without one.
//! Clauses: U1, U2, U3, B6.
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, OFlag};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};
use policies::{Config, Port};

use super::health::{Check, Ill};
use super::lease::{Facts, Lease, Phase};
use super::log::{self, Copier};
use super::password::{self, Password};
use super::port::{self, Chosen};
use super::start::Word;
use super::status::{Counters, counters};
use super::{overview, start};
use crate::cli::StartArgs;
use crate::console::{Console, Style};
use crate::exit::{Exit, Failure};
use crate::launch::{self, Ended, Order, Prepared, Publish, Stream, Streams};
use crate::outfit::Outfit;
use crate::project::{Project, StateDir};
use crate::provider::Permission;
use crate::tools::{Face, Profile, Server};
use crate::world::{Terminal, World};

/// Where a supervisor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// In the terminal; ^C ends it.
    Here,
    /// In a session of its own, with whoever started it at the other end of its stdout.
    Detached,
}

/// How long a server may take to answer. Measured: OpenCode takes 4 s on two busy cores.
const ANSWERS: Duration = Duration::from_secs(90);

/// `ocs start --supervised`.
///
/// # Errors
/// Said to the one who started us, and to nobody else.
pub(super) fn supervised(
    args: &StartArgs,
    face: Face,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(None, world)?;
    let mut run = || {
        let config = project.config()?.0;
        serve(
            (args, face),
            Stay::Detached,
            (&project, &config),
            world,
            console,
        )
    };
    run().map_err(|failure| {
        let word = Word::Failed {
            code: failure.exit().code(),
            message: failure.to_string(),
            next: failure.next_step().map(str::to_owned),
        };
        // Where nobody hears it any longer, the log has it.
        let mut stderr = io::stderr();
        if say(&word).is_err() {
            writeln!(stderr, "ocs: {failure}").ok();
        }
        Failure::silent(failure.exit())
    })
}

fn say(word: &Word) -> io::Result<()> {
    let line = serde_json::to_string(word)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush())
}

/// Brings the server up and stays with it.
///
/// # Errors
/// It did not come up, did not answer, or its fence ended.
pub(super) fn serve(
    (args, face): (&StartArgs, Face),
    stay: Stay,
    (project, config): (&Project, &Config),
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let state = project.state();
    let Some(mut lease) = Lease::take(state)? else {
        return Err(
            Failure::new(Exit::No, "the agent's server is starting already")
                .next("ocs status, or ocs stop"),
        );
    };
    let profile = Profile::found(&config.agent().tool, world);
    let (server, command) = server_of(&profile, face)?;
    let Chosen { port, turn } = port::choose(args.port, state)?;
    let mut facts = facts((args, face), project, config, &profile, port, world);
    lease.write(&facts)?;
    let password = Password::make(state)?;
    let forgotten = Forget(state.clone());
    let (copier, streams) = Copier::new(&log::of_server(state), stay == Stay::Here)
        .map_err(|error| Failure::new(Exit::No, "begin the server's log").because(error))?;
    let permission = match face {
        Face::Api => Permission::Unattended,
        Face::Web => Permission::Attended,
    };
    let outfit = Outfit::lasting(&profile, permission, (project, config), world, console)?;
    let mut order = order(args, server, command, (port, &password), outfit, streams);
    order.unattended = face == Face::Api;
    let prepared = launch::prepare(order, project, config, world, console)?;
    prepared.facts().engine.clone_into(&mut facts.engine);
    prepared.facts().mode.code().clone_into(&mut facts.mode);
    facts.run = Some(prepared.facts().run.clone());
    facts.record = Some(prepared.facts().record.clone());
    lease.write(&facts)?;
    overview::show(&facts, prepared.facts(), config, &prepared.skipped, console);
    let begun = Begun {
        prepared,
        copier,
        turn,
        check: Check {
            port: port.get(),
            path: server.health,
            user: server.user,
        },
        password,
        facts,
        stay,
        forgotten,
        lease,
    };
    match stay {
        Stay::Here => begun.stay(console),
        Stay::Detached => {
            leave_terminal(&log::of_supervisor(state))?;
            let (mut out, mut err, mut input) = (io::sink(), io::stderr(), io::empty());
            let mut console = Console::new(&mut out, &mut err, &mut input, Terminal::default());
            begun.stay(&mut console)
        }
    }
}

/// A server that is settled, and not yet begun.
struct Begun {
    prepared: Prepared,
    copier: Copier,
    /// Held until the proxy has the port.
    turn: Flock<File>,
    check: Check,
    password: Password,
    facts: Facts,
    stay: Stay,
    forgotten: Forget,
    lease: Lease,
}

impl Begun {
    fn stay(self, console: &mut Console<'_>) -> Result<Exit, Failure> {
        let stay = self.stay;
        let running = self.prepared.bring_up(console)?;
        let mut facts = self.facts;
        facts.before = counters(&running.facts().directory).unwrap_or_default();
        drop(self.turn);
        let copier = self.copier;
        let copying = std::thread::spawn(move || copier.run());
        let gone = Arc::new(AtomicBool::new(false));
        let (until, wish) = pipe2(OFlag::O_CLOEXEC)
            .map_err(|error| Failure::new(Exit::Fence, "make a pipe").because(error))?;
        let watch = Watch {
            check: self.check,
            password: self.password,
            facts,
            stay,
            gone: Arc::clone(&gone),
            wish: Some(wish),
            forgotten: self.forgotten,
            lease: self.lease,
        };
        let watching = std::thread::spawn(move || watch.run());
        let ended = running.attend(Some(&until));
        gone.store(true, Ordering::Release);
        copying.join().ok();
        // The lease goes last: who sees it free finds nothing of the server any longer.
        let (watch, healthy) = match watching.join() {
            Ok((watch, healthy)) => (Some(watch), healthy),
            Err(_) => (None, Err(Ill::Gone)),
        };
        let exit = end(&ended, healthy, stay, console);
        drop(watch);
        exit
    }
}

/// Whoever ends, however it ends, the password ends with it.
struct Forget(StateDir);

impl Drop for Forget {
    fn drop(&mut self) {
        password::forget(&self.0);
    }
}

fn server_of(profile: &Profile, face: Face) -> Result<(Server, Vec<String>), Failure> {
    profile
        .server
        .zip(profile.serving(face, port::USUAL))
        .ok_or_else(|| {
            let name = profile.program.first().map_or("", String::as_str);
            Failure::usage(format!("agent.tool `{name}` has no server to start"))
                .next("ocs tui, or ocs run")
        })
}

fn facts(
    (args, face): (&StartArgs, Face),
    project: &Project,
    config: &Config,
    profile: &Profile,
    port: Port,
    world: &World,
) -> Facts {
    Facts {
        v: 1,
        pid: std::process::id(),
        phase: Phase::Starting,
        sandbox: project.id().as_str().to_owned(),
        project: project.root().to_owned(),
        engine: String::new(),
        mode: start::mode(args, config).code().to_owned(),
        tool: profile.name.to_owned(),
        face,
        port: port.get(),
        url: format!("http://127.0.0.1:{port}"),
        since: world.now.into(),
        run: None,
        record: None,
        before: Counters::default(),
    }
}

fn order(
    args: &StartArgs,
    server: Server,
    command: Vec<String>,
    (port, password): (Port, &Password),
    outfit: Outfit,
    [stdout, stderr]: [OwnedFd; 2],
) -> Order {
    let Outfit {
        mut environment,
        shows,
        ..
    } = outfit;
    environment.push((server.password.into(), password.as_str().into()));
    let inside = Port::new(port::USUAL).unwrap_or(port);
    Order {
        engine: args.fence.engine,
        mode: args.fence.mode.map(Into::into),
        allow_observe: args.allow_observe,
        ask: args.asking.ask,
        environment,
        shows,
        publish: vec![Publish { host: port, inside }],
        streams: Streams {
            stdin: Stream::Nothing,
            stdout: Stream::Given(stdout),
            stderr: Stream::Given(stderr),
        },
        ..Order::of(command.into_iter().map(Into::into).collect())
    }
}

/// Lets go of the terminal: a session of our own, and a log in place of stderr. stdout stays until the last word.
fn leave_terminal(log: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Fence, "leave the terminal").because(error);
    setsid().map_err(|error| failed(error.into()))?;
    std::env::set_current_dir("/").map_err(failed)?;
    let nothing = File::open("/dev/null").map_err(failed)?;
    dup2_stdin(&nothing).map_err(|error| failed(error.into()))?;
    let log = log::begin(log).map_err(failed)?;
    dup2_stderr(&log).map_err(|error| failed(error.into()))?;
    say(&Word::Detached).map_err(failed)
}

/// Waits beside the attendance until the server answers.
struct Watch {
    check: Check,
    password: Password,
    facts: Facts,
    stay: Stay,
    gone: Arc<AtomicBool>,
    /// Closed, it ends the server.
    wish: Option<OwnedFd>,
    #[expect(dead_code, reason = "held, and dropped before the lease is")]
    forgotten: Forget,
    lease: Lease,
}

impl Watch {
    /// Gives itself back, so that the lease is held to the end; the wish to end is closed if there is no well server.
    fn run(mut self) -> (Self, Result<(), Ill>) {
        let well = self.until_well();
        if well.is_err() {
            self.wish = None;
        }
        (self, well)
    }

    fn until_well(&mut self) -> Result<(), Ill> {
        self.check.until_well(&self.password, ANSWERS, &self.gone)?;
        self.facts.phase = Phase::Running;
        self.lease
            .write(&self.facts)
            .map_err(|error| Ill::Slow(error.to_string()))?;
        let said = match self.stay {
            Stay::Here => {
                let url = &self.facts.url;
                writeln!(io::stderr(), "ocs: the server answers: {url} (^C ends it)")
            }
            Stay::Detached => self.tell(),
        };
        match said {
            // Whoever started us is gone: nobody knows that it runs.
            Err(_) if self.stay == Stay::Detached => Err(Ill::Gone),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn tell(&self) -> io::Result<()> {
        say(&Word::Ready {
            facts: Box::new(self.facts.clone()),
        })?;
        let nothing = File::options().write(true).open("/dev/null")?;
        dup2_stdout(&nothing)?;
        Ok(())
    }
}

fn end(
    ended: &Ended,
    healthy: Result<(), Ill>,
    stay: Stay,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    if ended.failure.is_some() {
        ended.tell(console);
    }
    let logs = "ocs logs";
    match healthy {
        Err(Ill::Slow(last)) => Err(Failure::new(
            Exit::Timeout,
            format!("the server did not answer within {ANSWERS:?}: {last}"),
        )
        .next(logs)),
        Err(Ill::Open) => Err(Failure::new(
            Exit::Fence,
            "the server lets in who does not know its password",
        )
        .next(logs)),
        Err(Ill::Gone) => Err(match &ended.failure {
            Some(failure) => failure.clone(),
            None => early(ended.exit).next(logs),
        }),
        Ok(()) => {
            if stay == Stay::Here
                && let Ok(summary) = &ended.summary
            {
                summary.show(console);
            }
            let label = console.styled_note(Style::Dim, "ocs:");
            console.note(format_args!("{label} the server ended"));
            Ok(ended.exit)
        }
    }
}

fn early(exit: Exit) -> Failure {
    let code = exit.code();
    let exit = if code == 0 { Exit::No } else { exit };
    Failure::new(
        exit,
        format!("the server ended with code {code} before it answered"),
    )
}
