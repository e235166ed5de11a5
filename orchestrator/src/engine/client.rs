//! The command-line client of a container engine, for what concerns images: which one, whether its engine answers, what is
//! there, and building. Through the client, so that contexts, Colima and podman machine work as they do for its user.
//! Not responsible for containers.
//! Clauses: U3.
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::exit::{Exit, Failure};

/// Whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Docker, Colima and Docker Desktop included.
    Docker,
    /// Podman, its machine included.
    Podman,
}

impl Kind {
    /// The name of the program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// A client that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) kind: Kind,
    program: PathBuf,
}

/// One image to build.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The context; its `Dockerfile` is built.
    pub(crate) context: &'a Path,
    /// `--build-arg`, as `NAME=VALUE`.
    pub(crate) arguments: Vec<String>,
    /// Labels, as `NAME=VALUE`.
    pub(crate) labels: Vec<String>,
    /// The network that build steps use, where it is not the engine's own choice.
    pub(crate) network: Option<&'a str>,
    /// Whether layers of earlier builds count.
    pub(crate) cache: Cache,
}

/// Whether layers of earlier builds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// Every step runs.
    Ignored,
    /// Steps whose inputs did not change are skipped.
    Used,
}

impl Client {
    /// The client asked for, or docker, or podman (COMPATIBILITY 4.1): the first in `path`, a `PATH`.
    ///
    /// # Errors
    /// It is not installed (exit 69).
    pub(crate) fn find(wanted: Option<Kind>, path: Option<&OsStr>) -> Result<Self, Failure> {
        let kinds = match wanted {
            Some(kind) => vec![kind],
            None => vec![Kind::Docker, Kind::Podman],
        };
        let found = kinds.iter().find_map(|kind| {
            let program = installed(kind.name(), path)?;
            Some(Self {
                kind: *kind,
                program,
            })
        });
        found.ok_or_else(|| {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            let message = match names.as_slice() {
                [one] => format!("{one} is not in PATH"),
                _ => format!("none of {} is in PATH", names.join(", ")),
            };
            Failure::new(Exit::Missing, message)
                .next("install one of them; ocs run --engine native needs none")
        })
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
        let (status, said, complained) = self.ask(&["version", "--format", format])?;
        if status.success() {
            return Ok(said);
        }
        let name = self.kind.name();
        let why = complained.lines().next().unwrap_or("it says nothing");
        let next = match self.kind {
            Kind::Docker => {
                "start the engine (systemctl start docker, or colima start), then: docker version"
            }
            Kind::Podman => "podman version; on macOS: podman machine start",
        };
        Err(Failure::new(
            Exit::Missing,
            format!("the engine of {name} does not answer: {why}"),
        )
        .next(next))
    }

    /// The value of a label of an image; none where there is no such image or label.
    ///
    /// # Errors
    /// The client cannot be started (exit 69).
    pub(crate) fn label(&self, image: &str, label: &str) -> Result<Option<String>, Failure> {
        let format = format!("{{{{index .Config.Labels {label:?}}}}}");
        let (status, said, _) = self.ask(&["image", "inspect", "--format", &format, image])?;
        Ok((status.success() && !said.is_empty() && said != "<no value>").then_some(said))
    }

    /// Builds an image; each line that the client prints goes to `line`.
    ///
    /// # Errors
    /// The client cannot be started or read from.
    pub(crate) fn build(
        &self,
        build: &Build<'_>,
        line: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> io::Result<ExitStatus> {
        let mut arguments: Vec<OsString> = vec!["build".into(), "--tag".into(), build.name.into()];
        let mut add =
            |flag: &str, value: &str| arguments.extend([OsString::from(flag), value.into()]);
        for argument in &build.arguments {
            add("--build-arg", argument);
        }
        for label in &build.labels {
            add("--label", label);
        }
        if let Some(network) = build.network {
            add("--network", network);
        }
        if self.kind == Kind::Podman {
            // Docker's own image format: it keeps what OCI's has no word for, a health check for one.
            add("--format", "docker");
        }
        if build.cache == Cache::Ignored {
            arguments.push("--no-cache".into());
        }
        arguments.push(build.context.into());
        let (reader, writer) = io::pipe()?;
        let mut command = self.command();
        command.args(&arguments).stdin(Stdio::null());
        command.stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        // The command holds the pipe's other ends: with them open the last line would never come.
        drop(command);
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes)? > 0 {
            line(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']))?;
            bytes.clear();
        }
        child.wait()
    }

    /// Runs the client; gives its status, what it printed and what it complained of, trimmed.
    fn ask(&self, arguments: &[&str]) -> Result<(ExitStatus, String, String), Failure> {
        let asked = self.command().args(arguments).stdin(Stdio::null()).output();
        let ended = asked.map_err(|error| {
            Failure::new(Exit::Missing, format!("start {}", self.program.display())).because(error)
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Ok((ended.status, text(&ended.stdout), text(&ended.stderr)))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door through which the engines' clients are started for images"
    )]
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir("/");
        command
    }
}

fn installed(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let directories = std::env::split_paths(path?).filter(|directory| directory.is_absolute());
    let programs = directories.map(|directory| directory.join(name));
    let executable = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    programs.into_iter().find(executable)
}

/// Writes to a log and tells how far it is: every line, and of those that begin a step their text.
#[derive(Debug)]
pub(crate) struct Log<W> {
    to: W,
}

impl<W: Write> Log<W> {
    /// A log.
    pub(crate) fn new(to: W) -> Self {
        Self { to }
    }

    /// Writes a line; gives the step that it begins, if it does.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(crate) fn line<'l>(&mut self, line: &'l str) -> io::Result<Option<&'l str>> {
        writeln!(self.to, "{line}")?;
        Ok(step(line))
    }
}

/// `Step 3/9 : RUN ..` (Docker's classic builder), `STEP 3/9: RUN ..` (buildah), `#7 [tools 3/9] RUN ..` (`BuildKit`).
fn step(line: &str) -> Option<&str> {
    if line.starts_with("Step ")
        || line.starts_with("STEP ")
        || line.starts_with("[1/2] STEP ")
        || line.starts_with("[2/2] STEP ")
    {
        return Some(line);
    }
    let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
    (number.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with('[')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client made of a shell script.
    fn scripted(script: &str) -> (tempfile::TempDir, Client) {
        let keep = tempfile::tempdir().unwrap();
        let program = keep.path().join("docker");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let client = Client::find(None, Some(keep.path().as_os_str())).unwrap();
        (keep, client)
    }

    #[test]
    fn docker_comes_before_podman_and_neither_is_69() {
        let keep = tempfile::tempdir().unwrap();
        let path = Some(keep.path().as_os_str());
        let error = Client::find(None, path).unwrap_err();
        assert_eq!(
            (error.exit(), error.to_string().as_str()),
            (Exit::Missing, "none of docker, podman is in PATH")
        );
        for (name, kind) in [("podman", Kind::Podman), ("docker", Kind::Docker)] {
            let program = keep.path().join(name);
            std::fs::write(&program, "").unwrap();
            assert_eq!(
                Client::find(Some(kind), path).unwrap_err().to_string(),
                format!("{name} is not in PATH")
            );
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
            assert_eq!(Client::find(None, path).unwrap().kind, kind);
        }
        assert_eq!(
            Client::find(Some(Kind::Podman), path).unwrap().kind,
            Kind::Podman
        );
    }

    #[test]
    fn an_engine_that_does_not_answer_is_told_in_its_client_s_words() {
        let (_keep, client) = scripted("echo 'Cannot connect to the daemon' >&2; exit 1");
        let error = client.version().unwrap_err();
        let expected = "the engine of docker does not answer: Cannot connect to the daemon";
        assert_eq!(
            (error.exit(), error.to_string().as_str()),
            (Exit::Missing, expected)
        );
    }

    #[test]
    fn a_label_is_none_where_the_image_or_the_label_is_missing() {
        let (_keep, client) = scripted("echo abc");
        assert_eq!(
            client.label("x", "ocs.inputs").unwrap(),
            Some("abc".to_owned())
        );
        let (_keep, client) = scripted("echo '<no value>'");
        assert_eq!(client.label("x", "ocs.inputs").unwrap(), None);
        let (_keep, client) = scripted("echo 'Error: No such image' >&2; exit 1");
        assert_eq!(client.label("x", "ocs.inputs").unwrap(), None);
    }

    #[test]
    fn a_build_gives_every_line_of_both_streams_and_its_status() {
        let (keep, client) =
            scripted("for word in \"$@\"; do echo \"<$word>\"; done; echo complaint >&2; exit 4");
        let build = Build {
            name: "image",
            context: keep.path(),
            arguments: vec!["A=b c".to_owned()],
            labels: vec!["l=1".to_owned()],
            network: Some("host"),
            cache: Cache::Ignored,
        };
        let mut lines = Vec::new();
        let status = client.build(&build, &mut |line| {
            lines.push(line.to_owned());
            Ok(())
        });
        let context = format!("<{}>", keep.path().display());
        let expected = [
            "<build>",
            "<--tag>",
            "<image>",
            "<--build-arg>",
            "<A=b c>",
            "<--label>",
            "<l=1>",
            "<--network>",
            "<host>",
            "<--no-cache>",
            &context,
            "complaint",
        ];
        assert_eq!(lines, expected);
        assert_eq!(status.unwrap().code(), Some(4));
    }

    #[test]
    fn the_steps_of_all_three_builders_are_seen() {
        for line in [
            "Step 3/9 : RUN x",
            "STEP 3/9: RUN x",
            "[1/2] STEP 3/9: RUN x",
        ] {
            assert_eq!(step(line), Some(line));
        }
        assert_eq!(step("#7 [tools 3/9] RUN x"), Some("[tools 3/9] RUN x"));
        for line in ["#7 sha256:abc", "Stepping", " ---> abc", "#x [y", ""] {
            assert_eq!(step(line), None, "{line}");
        }
    }
}
