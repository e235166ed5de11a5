//! Starts the process that stays when its starter has gone: another `ocs`, with our terminal until it lets go of it, and
//! with our environment, because the project's `env-passthrough` names variables of it. What it has to say to us comes line
//! by line on its stdout. Not responsible for what it says (`server::start`).
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// Such a process.
#[derive(Debug)]
pub(crate) struct Staying {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Staying {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    #[expect(
        clippy::disallowed_methods,
        reason = "the door through which a supervisor is started"
    )]
    pub(crate) fn start(program: &Path, arguments: &[OsString]) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let says = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            child,
            says: BufReader::new(says),
        })
    }

    /// The next line that it says; none when it has ended, or said its last.
    ///
    /// # Errors
    /// It cannot be heard.
    pub(crate) fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let read = self.says.read_line(&mut line)?;
        Ok((read > 0).then_some(line))
    }

    /// How it ended.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

/// Goes on as another program of the host, with these variables besides ours; returns only where that failed. It starts in `/`:
/// what a tool reads where it stands (OpenCode's terminal: `.opencode/tui.json`, which names code to load) is the agent's to write.
#[expect(
    clippy::disallowed_methods,
    reason = "starts nothing beside itself: it becomes the program that a person asked for"
)]
pub(crate) fn become_program(
    program: &Path,
    arguments: &[String],
    variables: &[(&str, &str)],
) -> io::Error {
    use std::os::unix::process::CommandExt;
    Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .env("PWD", "/")
        .current_dir("/")
        .exec()
}
