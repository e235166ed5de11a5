//! Building an image through the client, and what its builder says meanwhile. Not responsible for what goes in (`image`).
//! Clauses: U3.
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::{Client, Kind};

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

    #[expect(
        clippy::disallowed_methods,
        reason = "the door through which an image is built: its lines are read as they come"
    )]
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir("/");
        command
    }
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
    use super::super::tests::scripted;
    use super::*;

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
