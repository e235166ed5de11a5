//! The engines `docker` and `podman`: three containers that share a namespace without a way out. `docs/containers.md` is the
//! picture. One implementation, through the command-line clients of both.
//!
//! Clauses: U1, U2, U3, B1, B3, N11.
pub(crate) mod arguments;
mod attend;
pub(crate) mod host;
pub(crate) mod sweep;

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use self::arguments::{Frame, Proxy};
use self::attend::InContainer;
use crate::engine::attend::until_the_end;
use crate::engine::client::{Client, Refused};
use crate::engine::members::{self, Members};
use crate::engine::part::Start;
use crate::engine::signals::Signals;
use crate::engine::spawn::Input;
use crate::engine::terminal::Terminal;
use crate::engine::{Ending, Engine, EngineError, ReadBack, Told};
use crate::launch::{Marked, Streams};
use crate::probe::{Finding, Proven, Targets};
use crate::teardown::Teardown;

/// Everything that a run of this engine needs to know.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) client: Client,
    pub(crate) frame: Frame,
    /// The spec of the namespace, one line.
    pub(crate) spec: String,
    /// What the proxy's container is made of.
    pub(crate) proxy: Proxy,
    /// The command line that makes the agent's container.
    pub(crate) agent: Vec<OsString>,
    /// The file with the agent's variables; gone once the container is made.
    pub(crate) environment: PathBuf,
    /// Variables for the client that makes it.
    pub(crate) of_client: Vec<(OsString, OsString)>,
    /// What must be refused before the agent starts.
    pub(crate) targets: Targets,
    /// The run, and what of the project it protects.
    pub(crate) marked: Marked,
    /// Whether our terminal is the agent's to have.
    pub(crate) terminal: bool,
    /// What the agent reads and writes.
    pub(crate) streams: Streams,
}

/// The engine, for one run.
#[derive(Debug)]
pub(crate) struct Container {
    setup: Option<Setup>,
    told: Told,
}

/// How long a container may take to start and to say that it is ready. Measured: 0.5 s; a machine under load needs more.
const READY: Duration = Duration::from_secs(60);
/// How long the proxy may take to write the last of the record, and the engine to notice.
const DRAINED: Duration = Duration::from_secs(8);

impl Container {
    /// The engine for one run.
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup: Some(setup),
            told: Told::default(),
        }
    }

    fn setup(&mut self) -> Result<&mut Setup, EngineError> {
        self.setup.as_mut().ok_or_else(EngineError::over)
    }
}

impl Engine for Container {
    type Parts = Members;

    fn begin(&mut self, parts: &mut Members) -> Result<(), EngineError> {
        let setup = self.setup()?;
        let Setup { client, frame, .. } = &*setup;
        let make = |what: &str, options: Vec<OsString>| {
            let mut words: Vec<OsString> = vec![what.into(), "create".into()];
            words.extend(frame.labels.options());
            words.extend(options);
            words.push(frame.names.own.clone().into());
            client.call(&words).map(drop).map_err(Refused::missing)
        };
        if frame.needs_network() {
            make("network", Vec::new())?;
        }
        make("volume", frame.of_volume())?;
        let proxy = frame.proxy(&setup.proxy, &host(setup)?);
        let logs = setup.marked.run.directory();
        let attached = |name, arguments, log: &str, first: &str| {
            let start = Start {
                name,
                program: &client.program,
                arguments,
            };
            start.of_client(logs.join(log), first)
        };
        let netctl = attached("ocs-netctl", frame.holder(), "netctl.log", &setup.spec)?;
        parts.netctl = Some(netctl);
        parts.proxy = Some(attached("ocs-proxy", proxy, "proxy.log", "")?);
        // After the starts: a process inherits what is blocked.
        let signals = Signals::take_over();
        parts.signals = Some(
            signals.map_err(|error| EngineError::fence("take the signals over").because(error))?,
        );
        Ok(())
    }

    fn seal(&mut self, parts: &mut Members) -> Result<ReadBack, EngineError> {
        let ready = members::ready(&mut parts.netctl, parts.signals.as_ref(), READY)?;
        Ok(ReadBack { ipv6: ready.ipv6 })
    }

    fn serve(&mut self, parts: &mut Members) -> Result<(), EngineError> {
        members::ready(&mut parts.proxy, parts.signals.as_ref(), READY).map(drop)
    }

    fn probe(&mut self, parts: &mut Members) -> Result<Vec<Finding>, EngineError> {
        let Setup {
            client,
            frame,
            targets,
            ..
        } = self.setup()?;
        let targets = serde_json::to_vec(targets).map_err(EngineError::fence)?;
        let said = client
            .told(frame.probe(), Input::Text(targets))
            .map_err(Refused::fence)?;
        wanted(parts)?;
        serde_json::from_slice(&said)
            .map_err(|_| EngineError::fence("the probe said something that is no finding"))
    }

    fn open(&mut self, parts: &mut Members, _proven: &Proven) -> Result<(), EngineError> {
        let setup = self.setup()?;
        create(setup)?;
        wanted(parts)?;
        let record_from = setup.marked.record_bytes();
        if setup.terminal {
            parts.terminal = Terminal::of_this_process();
        }
        // No key leads out of the terminal and leaves the container running: what the person types is the agent's.
        let words = [
            "start",
            "--attach",
            "--interactive",
            "--detach-keys",
            NO_KEYS,
        ];
        let mut arguments: Vec<OsString> = words.map(OsString::from).into();
        arguments.push(setup.frame.names.agent.clone().into());
        let start = Start {
            name: setup.client.kind.name(),
            program: &setup.client.program,
            arguments,
        };
        let streams = std::mem::take(&mut setup.streams);
        let agent = start.of_agents_client(streams)?;
        if let Some(terminal) = &mut parts.terminal {
            terminal.offer(agent.pid());
        }
        parts.agent = Some(agent);
        self.told.record_from = record_from;
        Ok(())
    }

    fn attend(
        &mut self,
        parts: &mut Members,
        until: Option<BorrowedFd<'_>>,
    ) -> Result<Ending, EngineError> {
        let setup = self.setup.as_mut().ok_or_else(EngineError::over)?;
        let mut boxed = InContainer {
            members: parts,
            client: &setup.client,
            agent: &setup.frame.names.agent,
        };
        until_the_end(&mut boxed, &mut setup.marked, &mut self.told.notes, until)
    }

    fn end(&mut self, parts: Members) -> Vec<EngineError> {
        let mut teardown = Teardown::default();
        let Members {
            signals,
            netctl,
            proxy,
            agent,
            terminal,
        } = parts;
        let kill = |setup: &Setup| kill(&setup.client, &setup.frame.names.agent);
        if let (Some(_), Some(setup)) = (&agent, &self.setup) {
            kill(setup);
        }
        if let Some(mut agent) = agent {
            teardown.step(agent.end(None));
        }
        if let Some(terminal) = terminal {
            terminal.end();
        }
        for mut part in [proxy, netctl].into_iter().flatten() {
            teardown.step(part.release(DRAINED));
        }
        if let Some(setup) = self.setup.take() {
            for refused in sweep::run(&setup.client, &setup.frame.labels) {
                teardown.step(Err(refused.fence()));
            }
            let (removed, failed) = setup.marked.run.end();
            self.told.removed.extend(removed);
            for error in failed {
                teardown.step(Err(EngineError::fence(error)));
            }
        }
        drop(signals);
        teardown.failed()
    }

    fn told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }
}

/// Where the proxy finds this host, now that its network is there.
fn host(setup: &Setup) -> Result<host::HostAddress, EngineError> {
    let Setup { client, frame, .. } = setup;
    let (kind, rootless) = (client.kind, frame.facts.rootless);
    let said = host::ask(client, rootless, &frame.names.own);
    let host = host::where_host_is(kind, rootless, &said);
    if host.is_none() && setup.proxy.wants_host {
        let name = kind.name();
        return Err(EngineError::missing(format!(
            "host-ports: {name} does not say where its containers find this host"
        )));
    }
    Ok(host)
}

/// Three keys that nobody types, and that none of the usual programs reads.
const NO_KEYS: &str = "ctrl-^,ctrl-^,ctrl-_";

/// Makes the agent's container. Its name is free unless another run of this project goes on: that one keeps it.
fn create(setup: &mut Setup) -> Result<(), EngineError> {
    let made = setup.client.with(&setup.of_client, &setup.agent);
    let made = match made {
        Err(refused) if refused.said.contains("in use") => {
            let Setup { frame, agent, .. } = setup;
            let name = format!("{}-agent", frame.names.own);
            for word in agent.iter_mut().filter(|word| **word == *frame.names.agent) {
                *word = name.clone().into();
            }
            frame.names.agent = name;
            setup.client.with(&setup.of_client, &setup.agent)
        }
        made => made,
    };
    std::fs::remove_file(&setup.environment)
        .map_err(|error| EngineError::fence("remove the agent's variables").because(error))?;
    made.map(drop).map_err(Refused::missing)
}

/// Kills the agent's container, if it is there; nobody waits for a reason.
fn kill(client: &Client, agent: &str) {
    drop(client.call(["kill", agent]));
}

/// Nobody wants us to end meanwhile.
fn wanted(parts: &Members) -> Result<(), EngineError> {
    match parts.signals.as_ref().and_then(Signals::wish_to_end) {
        Some(signal) => Err(EngineError::interrupted(signal as i32)),
        None => Ok(()),
    }
}
