//! `ocs build`: the agent's image and the fence's, each built when what goes into it changed (COMPATIBILITY 4.11, O2).
//! What the builder says goes to a log and is shown on failure. Not responsible for what goes in (`context`), nor for
//! starting (`engine`).
//! Clauses: U3, P9.
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use policies::Config;
use serde::Serialize;

use super::context::{Inputs, Wanted};
use super::{INPUTS_LABEL, SIDECAR, agent_image, libraries};
use crate::approval;
use crate::cli::{BuildArgs, ContainerEngine};
use crate::console::{Console, Style, escaped};
use crate::engine::client::{Build, Cache, Client, Kind, Log};
use crate::engine::native::view::{self, Ids};
use crate::exit::{Exit, Failure};
use crate::launch;
use crate::project::{Project, private_dir};
use crate::world::World;

/// In the state directory, as before.
const LOG_FILE: &str = "docker-build.log";
/// How much of the log is shown when a build failed.
const SHOWN_LINES: usize = 60;

#[derive(Serialize)]
struct Document<'a> {
    v: u32,
    engine: &'static str,
    images: &'a [Image],
    log: PathBuf,
}

/// What became of one image.
#[derive(Debug, Serialize)]
struct Image {
    name: String,
    inputs: String,
    built: bool,
}

/// Builds what changed.
///
/// # Errors
/// Something is wrong before the build (64), missing (69), or the build failed (70); the log is shown then.
pub(crate) fn run(
    args: &BuildArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(None, world)?;
    let config = launch::config(&project, console)?;
    let wanted = args.engine.map(|engine| match engine {
        ContainerEngine::Docker => Kind::Docker,
        ContainerEngine::Podman => Kind::Podman,
    });
    let client = Client::find(wanted, project.root(), world)?;
    let version = client.version()?;
    let agent = agent_inputs(args, &project, &config, world, console)?;
    let sidecar = Inputs::sidecar(&libraries::programs(world)?).map_err(|error| {
        Failure::new(Exit::Missing, "read ocs-proxy and ocs-netctl").because(error)
    })?;
    say_what_goes_in(&project, &config, console);
    let engine = client.kind.name();
    console.note(format_args!("engine {engine} {version}"));
    project.state().create()?;
    let mut building = Building {
        log_path: project.state().path().join(LOG_FILE),
        contexts: project.state().path().join("build"),
        client,
        args,
        log: None,
    };
    let images = [
        building.image(SIDECAR, &sidecar, console)?,
        building.image(&agent_image(project.id()), &agent, console)?,
    ];
    if args.json {
        let (v, log) = (1, building.log_path);
        let images = images.as_slice();
        console.document(&Document {
            v,
            engine,
            images,
            log,
        })?;
    }
    Ok(Exit::Ok)
}

fn agent_inputs(
    args: &BuildArgs,
    project: &Project,
    config: &Config,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Inputs, Failure> {
    let ca = args
        .ca
        .as_deref()
        .map(|path| certificates(&world.cwd.join(path)))
        .transpose()?;
    if let Some(python) = &args.python {
        let good = python
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        if !good || python.is_empty() {
            return Err(
                Failure::usage(format!("{} is no version of Python", escaped(python)))
                    .next("--python 3.11"),
            );
        }
    }
    if let Some(base) = args.base.as_deref().filter(|base| !is_reference(base)) {
        return Err(
            Failure::usage(format!("{} is no name of an image", escaped(base)))
                .next("--base debian:trixie-slim"),
        );
    }
    let workspace =
        view::place(project.root()).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let ids = Ids::of(
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    // Its tools are installed by whatever it says, with the engine's network: a change wants a yes, as at a start.
    let approved = approval::settle(project, world.terminal, world, console)?;
    let wanted = Wanted {
        base: args.base.as_deref(),
        python: args.python.as_deref(),
        packages: &config.agent().packages,
        ca: ca.as_deref(),
        mise: approved.content("mise.toml"),
        ids: (ids.uid, ids.gid),
        workspace: &workspace.to_string_lossy(),
    };
    Ok(Inputs::agent(&wanted))
}

/// What a registry's image can be called; what else a builder makes of a text we need not know.
fn is_reference(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    text.bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(good)
}

fn certificates(path: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!("--ca {}: {why}", escaped(&path.to_string_lossy())))
            .next("give a file of certificates in PEM (-----BEGIN CERTIFICATE-----)")
    };
    let text = fs::read(path).map_err(|error| wrong(&error.to_string()))?;
    let has = |mark: &[u8]| text.windows(mark.len()).any(|window| window == mark);
    if !has(b"-----BEGIN CERTIFICATE-----") {
        return Err(wrong("there is no certificate in it"));
    }
    // It goes into a layer, for everybody who has the image.
    if has(b"PRIVATE KEY-----") {
        return Err(wrong("there is a private key in it"));
    }
    Ok(text)
}

/// The counts that ocs-rebuild-container printed.
fn say_what_goes_in(project: &Project, config: &Config, console: &mut Console<'_>) {
    let counts = [
        (config.allow().len(), "domains"),
        (config.host_ports().len(), "host ports"),
        (config.env_passthrough().len(), "variables passed through"),
        (config.env().len(), "static variables"),
        (config.agent().packages.len(), "packages"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    console.note(format_args!("{}: {}", project.id(), counts.join(", ")));
}

struct Building<'a> {
    client: Client,
    args: &'a BuildArgs,
    contexts: PathBuf,
    log_path: PathBuf,
    log: Option<Log<File>>,
}

impl Building<'_> {
    fn image(
        &mut self,
        name: &str,
        inputs: &Inputs,
        console: &mut Console<'_>,
    ) -> Result<Image, Failure> {
        let hash = inputs.hash();
        let there = self.client.image(name, INPUTS_LABEL);
        let current = there.is_some_and(|(_, made_of)| made_of == hash) && !self.args.no_cache;
        if current {
            console.note(format_args!("{name}: nothing changed"));
        } else {
            self.build(name, inputs, &hash, console)?;
            console.note(format_args!("{name}: built"));
        }
        Ok(Image {
            name: name.to_owned(),
            inputs: hash,
            built: !current,
        })
    }

    fn build(
        &mut self,
        name: &str,
        inputs: &Inputs,
        hash: &str,
        console: &mut Console<'_>,
    ) -> Result<(), Failure> {
        let disk =
            |error: io::Error| Failure::new(Exit::No, "write the build's files").because(error);
        private_dir(&self.contexts)?;
        let context = self.contexts.join(name);
        inputs.write(&context).map_err(disk)?;
        let mut log = match self.log.take() {
            Some(log) => log,
            None => Log::new(private_file(&self.log_path).map_err(disk)?),
        };
        let arguments = inputs
            .arguments
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let build = Build {
            name,
            context: &context,
            arguments: arguments.collect(),
            labels: vec![format!("{INPUTS_LABEL}={hash}")],
            network: self.args.network.as_deref(),
            cache: if self.args.no_cache {
                Cache::Ignored
            } else {
                Cache::Used
            },
        };
        let progress = Progress::begin(name, console);
        let ended = self.client.build(&build, &mut |line| {
            let step = log.line(line)?;
            progress.step(step, console);
            Ok(())
        });
        progress.end(console);
        self.log = Some(log);
        let ended = ended
            .map_err(|error| Failure::new(Exit::Missing, format!("build {name}")).because(error))?;
        // The context holds nothing that is not elsewhere; where the build failed a person may want to look.
        if ended.success() {
            fs::remove_dir_all(&context).map_err(disk)?;
            return Ok(());
        }
        self.show_log(console);
        let log = self.log_path.display();
        let message = format!("{name} could not be built; all that was said is in {log}");
        Err(Failure::new(Exit::Fence, message).next("ocs build, once what it says above is mended"))
    }

    fn show_log(&self, console: &mut Console<'_>) {
        let text = fs::read(&self.log_path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES)) {
            console.note(escaped(line));
        }
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// The step that a build is at: a line that is drawn over itself on a terminal, and nothing elsewhere.
struct Progress {
    drawn: bool,
}

impl Progress {
    const WIDTH: usize = 76;

    fn begin(name: &str, console: &mut Console<'_>) -> Self {
        console.note(format_args!("{name}: building"));
        let drawn = console.terminal().stderr;
        Self { drawn }
    }

    fn step(&self, step: Option<&str>, console: &mut Console<'_>) {
        if let Some(step) = step.filter(|_| self.drawn) {
            let step: String = escaped(step).chars().take(Self::WIDTH).collect();
            let step =
                console.styled_note(Style::Dim, format!("{step:<width$}", width = Self::WIDTH));
            console.prompt(format_args!("\r{step}"));
        }
    }

    fn end(&self, console: &mut Console<'_>) {
        if self.drawn {
            console.prompt(format_args!("\r{:width$}\r", "", width = Self::WIDTH));
        }
    }
}

#[cfg(test)]
mod tests;
