//! The command-line client of an engine: found in the user's own `PATH`, called with the user's own environment, so that
//! contexts, `DOCKER_HOST`, Colima and podman machine are what they are for the person. Nothing here pulls an image.
//!
//! Not here: what the calls for containers say (`container/arguments.rs`), and clients that stay attached (`part.rs`).
//! Clauses: U1, U3.
mod build;

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::engine::EngineError;
use crate::engine::spawn::{Call, Input, Messages, SpawnError};
use crate::exit::{Exit, Failure};
use crate::world::World;
pub(crate) use build::{Build, Cache, Log};

/// Which engine a client speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Docker Engine, Docker Desktop, Colima.
    Docker,
    /// Podman, podman machine.
    Podman,
}

impl Kind {
    /// The client's name, which is also the engine's in the record.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    fn install(self) -> &'static str {
        match self {
            Self::Docker => "apt install docker.io, or: ocs run --engine native",
            Self::Podman => "apt install podman, or: ocs run --engine native",
        }
    }

    fn wake(self) -> &'static str {
        match self {
            Self::Docker => {
                "docker info (systemctl start docker, colima start, or docker context use)"
            }
            Self::Podman => "podman info (podman machine start, where there is one)",
        }
    }
}

/// A client that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
}

/// What an engine said of itself, as far as it decides something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Root in its containers is the user.
    pub(crate) rootless: bool,
    /// Whether it can limit memory, processes and processors.
    pub(crate) limits: bool,
    /// Processors that it has.
    pub(crate) cpus: u32,
}

/// A call that failed: which, and what the client said.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) call: String,
    pub(crate) said: String,
}

/// A daemon that is asleep may take a while to wake (socket activation, a virtual machine).
const ANSWER: Duration = Duration::from_secs(30);

impl Client {
    /// The client that is wanted, or docker, or podman (COMPATIBILITY 4.1): the first in the user's `PATH`, but none that lies in
    /// the project. An agent could have put it there.
    ///
    /// # Errors
    /// It is not installed (exit 69).
    pub(crate) fn find(
        wanted: Option<Kind>,
        project: &Path,
        world: &World,
    ) -> Result<Self, Failure> {
        let (kinds, next): (&[Kind], _) = match &wanted {
            Some(kind) => (std::slice::from_ref(kind), kind.install()),
            None => (
                &[Kind::Docker, Kind::Podman],
                "apt install podman; ocs run --engine native needs neither",
            ),
        };
        let path = world.variable("PATH").unwrap_or_default();
        let mut found = kinds.iter().filter_map(|kind| {
            let program = installed(kind.name(), project, &path)?;
            Some(Self {
                kind: *kind,
                program,
            })
        });
        found.next().ok_or_else(|| {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            let message = match names.as_slice() {
                [one] => format!("{one} is not installed: PATH has no such program"),
                _ => format!("none of {} is installed", names.join(", ")),
            };
            Failure::new(Exit::Missing, message).next(next)
        })
    }

    /// Asks the engine about itself.
    ///
    /// # Errors
    /// It does not answer (exit 69).
    pub(crate) fn facts(&self) -> Result<Facts, Failure> {
        let said = self
            .call(["info", "--format", "{{json .}}"])
            .map_err(|refused| self.asleep(&refused.said))?;
        let facts = match self.kind {
            Kind::Docker => serde_json::from_slice(&said).map(|info: DockerInfo| info.facts()),
            Kind::Podman => serde_json::from_slice(&said).map(|info: PodmanInfo| info.facts()),
        };
        let facts =
            facts.map_err(|error| self.asleep(&format!("its info is not what it was: {error}")))?;
        facts.ok_or_else(|| self.asleep("its client is there, and no server is"))
    }

    /// The engine's version; podman's is that of the client, where there is no service behind it.
    ///
    /// # Errors
    /// The engine does not answer (exit 69), with the client's own words.
    pub(crate) fn version(&self) -> Result<String, Failure> {
        let format = match self.kind {
            Kind::Docker => "{{.Server.Version}}",
            Kind::Podman => "{{.Client.Version}}",
        };
        let said = self.call(["version", "--format", format]);
        let said = said.map_err(|refused| self.asleep(&refused.said))?;
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// An image that is there: what identifies it whatever happens to its name, and the value of a label; empty where it has
    /// no such label.
    pub(crate) fn image(&self, name: &str, label: &str) -> Option<(String, String)> {
        let format =
            format!("{{{{.Id}}}} {{{{with index .Config.Labels {label:?}}}}}{{{{.}}}}{{{{end}}}}");
        let said = self.call(["image", "inspect", "--format", &format, name]);
        let said = String::from_utf8_lossy(&said.ok()?).trim().to_owned();
        let (id, label) = said.split_once(' ').unwrap_or((&said, ""));
        Some((id.to_owned(), label.to_owned()))
    }

    fn asleep(&self, why: &str) -> Failure {
        let message = format!("{} does not answer: {why}", self.kind.name());
        Failure::new(Exit::Missing, message).next(self.kind.wake())
    }

    /// Makes a call and gives what it printed.
    pub(crate) fn call<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Vec<u8>, Refused> {
        self.told(arguments, Input::Nothing)
    }

    /// The same, with variables of the client's own besides ours.
    pub(crate) fn with(
        &self,
        variables: &[(OsString, OsString)],
        arguments: &[OsString],
    ) -> Result<Vec<u8>, Refused> {
        self.made(arguments, |call| call.variables(variables))
    }

    /// The same, with something on its stdin.
    pub(crate) fn told<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: Input,
    ) -> Result<Vec<u8>, Refused> {
        let arguments: Vec<OsString> = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned())
            .collect();
        self.made(&arguments, |call| call.streams(input, Messages::Kept))
    }

    fn made(
        &self,
        arguments: &[OsString],
        with: impl FnOnce(Call) -> Call,
    ) -> Result<Vec<u8>, Refused> {
        let shown = self.shown(arguments);
        let refused = |said: String| Refused {
            call: shown.clone(),
            said,
        };
        let call = Call::new(&self.program)
            .arguments(arguments)
            .streams(Input::Nothing, Messages::Kept);
        let call = with(call);
        let ended = call
            .run(ANSWER)
            .map_err(|error: SpawnError| refused(Failure::of(Exit::Missing, &error).to_string()))?;
        if ended.status.success() {
            Ok(ended.output)
        } else {
            Err(refused(last_words(&ended.messages)))
        }
    }

    /// The call's first two words: what follows may be long, and says less.
    fn shown(&self, arguments: &[OsString]) -> String {
        let mut shown = self.kind.name().to_owned();
        for word in arguments.iter().take(2) {
            shown.push(' ');
            shown.push_str(&word.to_string_lossy());
        }
        shown
    }
}

impl Refused {
    /// As an error of the fence.
    pub(crate) fn fence(self) -> EngineError {
        EngineError::fence(format!("{}: {}", self.call, self.said))
    }

    /// As something that the machine lacks.
    pub(crate) fn missing(self) -> EngineError {
        EngineError::missing(format!("{}: {}", self.call, self.said))
    }
}

/// The last line that says something: before it stand warnings.
fn last_words(messages: &[u8]) -> String {
    let text = String::from_utf8_lossy(messages);
    let mut lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.retain(|line| !line.is_empty() && !line.starts_with("See '"));
    lines.last().map_or_else(
        || "it failed, and did not say why".to_owned(),
        |line| (*line).to_owned(),
    )
}

fn installed(name: &str, project: &Path, path: &OsStr) -> Option<PathBuf> {
    let is_executable = |program: &Path| {
        let found = program.metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let outside = |program: &Path| {
        let real = program.canonicalize();
        !program.starts_with(project) && real.is_ok_and(|real| !real.starts_with(project))
    };
    std::env::split_paths(path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_absolute() && is_executable(program) && outside(program))
}

/// docs.docker.com/reference/api/engine, `GET /info`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerInfo {
    #[serde(default)]
    security_options: Vec<String>,
    #[serde(default)]
    cgroup_driver: String,
    #[serde(default, rename = "NCPU")]
    cpus: u32,
}

impl DockerInfo {
    /// None where only the client spoke.
    fn facts(&self) -> Option<Facts> {
        let rootless = self
            .security_options
            .iter()
            .any(|option| option == "name=rootless");
        (self.cpus > 0).then_some(Facts {
            rootless,
            limits: self.cgroup_driver != "none",
            cpus: self.cpus,
        })
    }
}

/// docs.podman.io, podman-info(1).
#[derive(Deserialize)]
struct PodmanInfo {
    host: PodmanHost,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodmanHost {
    cpus: u32,
    cgroup_version: String,
    security: PodmanSecurity,
}

#[derive(Deserialize)]
struct PodmanSecurity {
    rootless: bool,
}

impl PodmanInfo {
    fn facts(&self) -> Option<Facts> {
        let rootless = self.host.security.rootless;
        Some(Facts {
            rootless,
            // podman-run(1): "not supported on cgroups V1 rootless systems".
            limits: !rootless || self.host.cgroup_version == "v2",
            cpus: self.host.cpus,
        })
    }
}

#[cfg(test)]
mod tests;
