//! The command-line client of an engine: found in the user's own `PATH`, called with the user's own environment, so that
//! contexts, `DOCKER_HOST`, Colima and podman machine are what they are for the person. Nothing here pulls an image.
//!
//! Not here: what the calls say (`arguments.rs`), and clients that stay attached (`part.rs`).
//! Clauses: U1.
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::engine::EngineError;
use crate::engine::spawn::{Call, Input, Messages, SpawnError};
use crate::exit::{Exit, Failure};
use crate::world::World;

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
    /// The client in the user's `PATH`, but none that lies in the project: an agent could have put it there.
    ///
    /// # Errors
    /// It is not installed (exit 69).
    pub(crate) fn find(kind: Kind, project: &Path, world: &World) -> Result<Self, Failure> {
        let path = world.variable("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|directory| directory.join(kind.name()))
            .filter(|program| program.is_absolute() && is_executable(program))
            .find(|program| {
                let real = program.canonicalize();
                !program.starts_with(project) && real.is_ok_and(|real| !real.starts_with(project))
            });
        match program {
            Some(program) => Ok(Self { kind, program }),
            None => {
                let message = format!("{} is not installed: PATH has no such program", kind.name());
                Err(Failure::new(Exit::Missing, message).next(kind.install()))
            }
        }
    }

    /// Asks the engine about itself.
    ///
    /// # Errors
    /// It does not answer (exit 69).
    pub(crate) fn facts(&self) -> Result<Facts, Failure> {
        let name = self.kind.name();
        let failed = |why: String| {
            Failure::new(Exit::Missing, format!("{name} does not answer: {why}"))
                .next(self.kind.wake())
        };
        let said = self
            .call(["info", "--format", "{{json .}}"])
            .map_err(|refused| failed(refused.said))?;
        let facts = match self.kind {
            Kind::Docker => serde_json::from_slice(&said).map(|info: DockerInfo| info.facts()),
            Kind::Podman => serde_json::from_slice(&said).map(|info: PodmanInfo| info.facts()),
        };
        let facts =
            facts.map_err(|error| failed(format!("its info is not what it was: {error}")))?;
        facts.ok_or_else(|| failed("its client is there, and no server is".to_owned()))
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

fn is_executable(program: &Path) -> bool {
    program
        .metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
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
mod tests {
    use super::*;

    #[test]
    fn an_engine_says_what_it_is() {
        let docker = |text: &str| serde_json::from_str::<DockerInfo>(text).unwrap().facts();
        let rootful = Facts {
            rootless: false,
            limits: true,
            cpus: 2,
        };
        let info = r#"{"SecurityOptions":["name=seccomp,profile=default"],"CgroupDriver":"cgroupfs","NCPU":2,"More":1}"#;
        assert_eq!(docker(info), Some(rootful));
        let info = r#"{"SecurityOptions":["name=seccomp","name=rootless"],"CgroupDriver":"none","NCPU":4}"#;
        let rootless = Facts {
            rootless: true,
            limits: false,
            cpus: 4,
        };
        assert_eq!(docker(info), Some(rootless));
        // What the client prints where the daemon does not answer.
        assert_eq!(
            docker(r#"{"ServerErrors":["Cannot connect"],"NCPU":0}"#),
            None
        );
        let podman = |rootless: bool, cgroup: &str| {
            let info = format!(
                r#"{{"host":{{"cpus":2,"cgroupVersion":"{cgroup}","security":{{"rootless":{rootless}}}}}}}"#
            );
            serde_json::from_str::<PodmanInfo>(&info).unwrap().facts()
        };
        assert_eq!(podman(false, "v1"), Some(rootful));
        let limited = |limits| {
            Some(Facts {
                rootless: true,
                limits,
                cpus: 2,
            })
        };
        assert_eq!(podman(true, "v1"), limited(false));
        assert_eq!(podman(true, "v2"), limited(true));
    }

    #[test]
    fn of_what_a_client_says_the_last_line_is_told() {
        let said = b"WARNING: no swap limit\nError: no such image\n\nSee 'docker run --help'.\n";
        assert_eq!(last_words(said), "Error: no such image");
        assert_eq!(last_words(b""), "it failed, and did not say why");
    }

    #[test]
    fn a_client_that_is_not_in_the_path_is_missing() {
        let world = World::of(Path::new("/"), Path::new("/"), vec![("PATH", "/nowhere")]);
        let failure = Client::find(Kind::Podman, Path::new("/nowhere/app"), &world).unwrap_err();
        assert_eq!(
            (failure.exit(), failure.to_string()),
            (
                Exit::Missing,
                "podman is not installed: PATH has no such program".to_owned()
            )
        );
    }
}
