//! Starts short-lived programs of the host and reads what they print: probes of `ocs doctor`, the project's hook. Not
//! responsible for the sandbox's own processes: those are brought up, watched and torn down elsewhere in this room.
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};

/// How often a child that keeps silent is looked at, and at most how late its end is seen.
const TICK_MS: u8 = 20;
/// More than this is not what a probe or an environment prints.
const OUTPUT_MAX_BYTES: usize = 16 << 20;

/// A program to run, and what it is given.
#[derive(Debug)]
pub(crate) struct Call {
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: PathBuf,
    input: Input,
    messages: Messages,
}

/// What the program reads on its stdin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing.
    Nothing,
    /// This, which is shorter than a pipe is long (64 KiB: pipe(7)).
    Text(Vec<u8>),
    /// Our own stdin: it may ask a person.
    Ours,
}

/// Where the program's stderr goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Messages {
    /// Kept, to be told where the program fails.
    Kept,
    /// Nowhere.
    Nowhere,
    /// To our own stderr.
    Ours,
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What it printed on stdout, up to the end mark if one was given.
    pub(crate) output: Vec<u8>,
    /// What it said on stderr, where that is kept.
    pub(crate) messages: Vec<u8>,
    /// Whether the end mark was there.
    pub(crate) mark: Mark,
    /// Its code or signal.
    pub(crate) status: ExitStatus,
}

/// Whether a program said that it had printed everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It did not, or was not asked to.
    Missing,
    /// It did.
    Seen,
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// It is not there, or may not be run.
    #[error("start {program}")]
    Start {
        /// Which program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was still running when its time was over; it was killed.
    #[error("{program} did not end within {} ms", limit.as_millis())]
    Slow {
        /// Which program.
        program: String,
        /// Its time.
        limit: Duration,
    },
    /// Reading from it failed, or it printed without end; it was killed.
    #[error("read what {program} prints")]
    Read {
        /// Which program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Call {
    /// `program`, with nothing on stdin and its messages dropped, in `/`.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            variables: Vec::new(),
            directory: PathBuf::from("/"),
            input: Input::Nothing,
            messages: Messages::Nowhere,
        }
    }

    /// Adds arguments.
    pub(crate) fn arguments<A: AsRef<OsStr>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.arguments.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        self
    }

    /// Adds variables to its environment, which is ours.
    pub(crate) fn variables(mut self, variables: &[(OsString, OsString)]) -> Self {
        self.variables = variables.to_vec();
        self
    }

    /// Sets the working directory.
    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// Gives it our own stdin or stderr.
    pub(crate) fn streams(self, input: Input, messages: Messages) -> Self {
        Self {
            input,
            messages,
            ..self
        }
    }

    /// Runs it to its end and gives what it printed. Past `limit` it is killed, with every process it started.
    ///
    /// # Errors
    /// It could not be started, took too long, or could not be read from.
    pub(crate) fn run(&self, limit: Duration) -> Result<Ended, SpawnError> {
        self.run_until(None, Some(limit))
    }

    /// Runs it to its end without a limit, and gives what it printed before `mark`. Processes that it leaves behind with
    /// its stdout open are not waited for.
    ///
    /// # Errors
    /// It could not be started or could not be read from.
    pub(crate) fn run_to_mark(&self, mark: &[u8]) -> Result<Ended, SpawnError> {
        self.run_until(Some(mark), None)
    }

    fn run_until(&self, mark: Option<&[u8]>, limit: Option<Duration>) -> Result<Ended, SpawnError> {
        let started = Instant::now();
        let mut child = self.start()?;
        let ended = self.read_to_end(&mut child, mark, &|| {
            limit.filter(|limit| started.elapsed() > *limit)
        });
        if ended.is_err() {
            // The first error is the one to tell; a child that is already gone is what we want here.
            if self.input != Input::Ours {
                killpg(group_of(&child), Signal::SIGKILL).ok();
            }
            child.kill().and_then(|()| child.wait()).ok();
        }
        ended
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door through which short-lived programs are started"
    )]
    fn start(&self) -> Result<Child, SpawnError> {
        let mut command = Command::new(installed(&self.program));
        command
            .args(&self.arguments)
            .envs(self.variables.iter().cloned())
            .current_dir(&self.directory)
            .stdout(Stdio::piped());
        command.stdin(match self.input {
            Input::Nothing => Stdio::null(),
            Input::Ours => Stdio::inherit(),
            Input::Text(_) => Stdio::piped(),
        });
        command.stderr(match self.messages {
            Messages::Kept => Stdio::piped(),
            Messages::Nowhere => Stdio::null(),
            Messages::Ours => Stdio::inherit(),
        });
        if self.input != Input::Ours {
            // A group of its own can be killed whole. With our stdin it stays in ours: it may talk to the terminal.
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|source| SpawnError::Start {
            program: self.name(),
            source,
        })?;
        if let (Input::Text(text), Some(mut stdin)) = (&self.input, child.stdin.take()) {
            // One that does not read it says itself why it failed.
            stdin.write_all(text).ok();
        }
        Ok(child)
    }

    fn read_to_end(
        &self,
        child: &mut Child,
        mark: Option<&[u8]>,
        over_limit: &dyn Fn() -> Option<Duration>,
    ) -> Result<Ended, SpawnError> {
        let failed = |source| SpawnError::Read {
            program: self.name(),
            source,
        };
        let mut stdout = child.stdout.take();
        let mut output = Vec::new();
        loop {
            if let Some(limit) = over_limit() {
                return Err(SpawnError::Slow {
                    program: self.name(),
                    limit,
                });
            }
            // The end is looked for before the pipe is read: what it printed before it ended is then in the pipe.
            let status = child.try_wait().map_err(failed)?;
            let more = match &mut stdout {
                Some(pipe) => read_some(pipe, &mut output).map_err(failed)?,
                None => {
                    // A program that closed its output is about to end.
                    std::thread::sleep(Duration::from_millis(1));
                    More::Later
                }
            };
            if let Some(at) = mark.and_then(|mark| position(&output, mark)) {
                output.truncate(at);
                let status = child.wait().map_err(failed)?;
                return Ok(Ended {
                    output,
                    messages: said(child),
                    mark: Mark::Seen,
                    status,
                });
            }
            match (more, status) {
                (More::Now, _) if output.len() > OUTPUT_MAX_BYTES => {
                    return Err(failed(io::Error::other("it prints without end")));
                }
                (More::End, None) => drop(stdout.take()),
                (More::End | More::Later, Some(status)) => {
                    return Ok(Ended {
                        output,
                        messages: said(child),
                        mark: Mark::Missing,
                        status,
                    });
                }
                (More::Now, _) | (More::Later, None) => {}
            }
        }
    }

    fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }
}

/// Where systems have their programs. `PATH` comes after these: it may lead into a project, where an agent can put a program
/// of any name.
const PLACES: [&str; 5] = [
    "/usr/bin",
    "/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/run/current-system/sw/bin",
];

/// A bare name as the system has it, and else as it is.
fn installed(program: &OsStr) -> OsString {
    if program.as_bytes().contains(&b'/') {
        return program.to_owned();
    }
    PLACES
        .map(|place| Path::new(place).join(program))
        .into_iter()
        .find(|path| path.is_file())
        .map_or_else(|| program.to_owned(), OsString::from)
}

/// What is in the pipe of an ended program's stderr; a process that it left behind may hold the other end for ever.
fn said(child: &mut Child) -> Vec<u8> {
    let mut messages = Vec::new();
    if let Some(mut pipe) = child.stderr.take() {
        while let Ok(More::Now) = read_some(&mut pipe, &mut messages) {}
    }
    messages
}

/// Whether a pipe has more to give.
enum More {
    Now,
    Later,
    End,
}

fn read_some(pipe: &mut (impl Read + AsFd), output: &mut Vec<u8>) -> io::Result<More> {
    let mut waiting = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    match poll(&mut waiting, PollTimeout::from(TICK_MS)) {
        Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(More::Later),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut chunk = [0; 16 << 10];
    let count = pipe.read(&mut chunk)?;
    output.extend(chunk.iter().take(count));
    Ok(if count == 0 { More::End } else { More::Now })
}

fn position(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}

fn group_of(child: &Child) -> nix::unistd::Pid {
    // A pid is at most 2^22 (kernel PID_MAX_LIMIT).
    nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// Starts another `ocs`, with pipes for stdin and stdout, and our stderr. It is told to end with the thread that calls this.
///
/// # Errors
/// It could not be started.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the door through which short-lived programs are started"
)]
pub(crate) fn sibling(ocs: &Path, arguments: &[OsString], directory: &Path) -> io::Result<Child> {
    Command::new(ocs)
        .args(arguments)
        .current_dir(directory)
        .env(PARENT, std::process::id().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A signal for us from the terminal is not one for it: we ask it to end ourselves.
        .process_group(0)
        .spawn()
}

/// The variable that names the `ocs` that another one ends with.
const PARENT: &str = "OCS_PARENT";

/// Ends with the `ocs` that started us, if one did: the kernel then asks us to, as a person would.
pub(crate) fn end_with_parent(world: &crate::world::World) {
    let parent = world
        .variable(PARENT)
        .and_then(|parent| parent.to_str()?.parse().ok());
    if let Some(parent) = parent.map(nix::unistd::Pid::from_raw)
        && nix::unistd::getppid() == parent
    {
        nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).ok();
        // It may have ended before that was said.
        if nix::unistd::getppid() != parent {
            nix::sys::signal::raise(Signal::SIGTERM).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Call {
        Call::new("/bin/sh").arguments(["-c", script])
    }

    #[test]
    fn a_program_gives_its_output_and_its_code() {
        let ended = shell("echo to stdout; echo to stderr >&2; pwd; exit 3")
            .run(LIMIT)
            .unwrap();
        assert_eq!(
            (ended.output, ended.status.code()),
            (b"to stdout\n/\n".to_vec(), Some(3))
        );
    }

    #[test]
    fn a_bare_name_is_the_system_s_program_and_a_path_is_itself() {
        assert_eq!(installed("sh".as_ref()), "/usr/bin/sh");
        assert_eq!(installed("./sh".as_ref()), "./sh");
        assert_eq!(installed("no-such-program".as_ref()), "no-such-program");
    }

    #[test]
    fn a_program_is_told_something_and_what_it_says_to_people_is_kept() {
        let ended = shell("cat; echo why >&2; exit 1")
            .streams(Input::Text(b"hello".to_vec()), Messages::Kept)
            .run(LIMIT)
            .unwrap();
        assert_eq!(
            (ended.output, ended.messages, ended.status.code()),
            (b"hello".to_vec(), b"why\n".to_vec(), Some(1))
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Call::new("/nowhere/x").run(LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "start /nowhere/x");
    }

    #[test]
    fn a_program_that_closes_its_output_is_still_waited_for() {
        let ended = shell("exec >&-; sleep 0.1; exit 4").run(LIMIT).unwrap();
        assert_eq!((ended.output, ended.status.code()), (b"".to_vec(), Some(4)));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_what_it_started() {
        let limit = Duration::from_millis(200);
        let keep = tempfile::tempdir().unwrap();
        let error = shell("sleep 600 & echo $! > pid; wait")
            .directory(keep.path())
            .run(limit)
            .unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh did not end within 200 ms");
        let pid = std::fs::read_to_string(keep.path().join("pid")).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        // The signal is sent; the kernel delivers it in its own time. A process that lives on makes this never end.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_process_left_behind_with_the_output_open_is_not_waited_for() {
        let script = "(sleep 5 &); printf 'a\\0b\\0.\\0trap'";
        let ended = shell(script).run_to_mark(b"\0.\0").unwrap();
        let seen = (ended.output, ended.mark, ended.status.code());
        assert_eq!(seen, (b"a\0b".to_vec(), Mark::Seen, Some(0)));
    }

    #[test]
    fn a_missing_mark_is_told() {
        let ended = shell("printf 'a\\0'; exit 2")
            .run_to_mark(b"\0.\0")
            .unwrap();
        let seen = (ended.output, ended.mark, ended.status.code());
        assert_eq!(seen, (b"a\0".to_vec(), Mark::Missing, Some(2)));
    }
}
