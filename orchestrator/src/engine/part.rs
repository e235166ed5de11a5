//! One process of the sandbox: started, listened to, ended. Not responsible for which there are (`mod.rs`).
//! Clauses: U2, U3, B6 (an empty environment; what it prints goes to a file of the run).
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::signals::Signals;
use crate::engine::EngineError;
use crate::exit::Exit;
use crate::launch::Streams;

/// A process that we started.
#[derive(Debug)]
pub(in crate::engine) struct Part {
    name: &'static str,
    pid: Pid,
    /// The child, until somebody has waited for it.
    child: Option<Child>,
    says: Lines,
    log: Option<PathBuf>,
    /// Its stdin, where closing that is what ends it.
    leash: Option<ChildStdin>,
}

/// How to start one.
#[derive(Debug)]
pub(in crate::engine) struct Start<'a> {
    pub(in crate::engine) name: &'static str,
    pub(in crate::engine) program: &'a Path,
    pub(in crate::engine) arguments: Vec<OsString>,
}

impl Start<'_> {
    /// Starts a part of the fence: it gets `connection` as stdin, and says what it has to say on stdout.
    ///
    /// # Errors
    /// It is not there, or cannot be started.
    pub(in crate::engine) fn of_fence(
        &self,
        connection: OwnedFd,
        log: PathBuf,
    ) -> Result<Part, EngineError> {
        let messages = log_file(&log).map_err(|error| self.failed(error))?;
        let mut command = self.command();
        // A group of its own: a ^C is for the agent.
        command
            .stdin(connection)
            .stdout(Stdio::piped())
            .stderr(messages)
            .process_group(0);
        let mut child = command.spawn().map_err(|error| self.failed(error))?;
        let says = child
            .stdout
            .take()
            .map(|pipe| File::from(OwnedFd::from(pipe)));
        self.part(child, says, Some(log))
    }

    /// Starts the process that becomes the box: it has these streams, and these descriptors beside them.
    ///
    /// # Errors
    /// It cannot be started.
    pub(in crate::engine) fn of_box(
        &self,
        kept: &[BorrowedFd<'_>],
        report: OwnedFd,
        streams: Streams,
    ) -> Result<Part, EngineError> {
        for descriptor in kept {
            inheritable(*descriptor, FdFlag::empty()).map_err(|error| self.failed(error.into()))?;
        }
        // Its group is its own, in our session: the agent's `kill 0` must not reach us.
        let spawned = self
            .command()
            .stdin(streams.stdin)
            .stdout(streams.stdout)
            .stderr(streams.stderr)
            .process_group(0)
            .spawn();
        for descriptor in kept {
            inheritable(*descriptor, FdFlag::FD_CLOEXEC)
                .map_err(|error| self.failed(error.into()))?;
        }
        let child = spawned.map_err(|error| self.failed(error))?;
        self.part(child, Some(File::from(report)), None)
    }

    /// Starts an engine's client that stays attached to a container of the fence, and tells it a line. Its environment is
    /// ours: what it is to speak to stands there.
    ///
    /// # Errors
    /// It cannot be started.
    pub(in crate::engine) fn of_client(
        &self,
        log: PathBuf,
        line: &str,
    ) -> Result<Part, EngineError> {
        let messages = log_file(&log).map_err(|error| self.failed(error))?;
        let mut client = self.client();
        // A group of its own: a ^C is for the agent.
        client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(messages)
            .process_group(0);
        let mut child = client.spawn().map_err(|error| self.failed(error))?;
        let says = child.stdout.take();
        let says = says.map(|pipe| File::from(OwnedFd::from(pipe)));
        let mut leash = child.stdin.take();
        if let Some(stdin) = &mut leash {
            // It fails where the client is gone, which its silence tells.
            writeln!(stdin, "{line}").ok();
        }
        let mut part = self.part(child, says, Some(log))?;
        part.leash = leash;
        Ok(part)
    }

    /// Starts the engine's client that the agent's streams go through.
    ///
    /// # Errors
    /// It cannot be started.
    pub(in crate::engine) fn of_agents_client(
        &self,
        streams: Streams,
    ) -> Result<Part, EngineError> {
        let mut client = self.client();
        // A group of its own, in our session: the terminal is given to it as to the box of another engine.
        client
            .stdin(streams.stdin)
            .stdout(streams.stdout)
            .stderr(streams.stderr)
            .process_group(0);
        let child = client.spawn().map_err(|error| self.failed(error))?;
        self.part(child, None, None)
    }

    fn command(&self) -> Command {
        let mut command = self.client();
        command.env_clear();
        command
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the door through which the sandbox's processes are started"
    )]
    fn client(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.arguments).current_dir("/");
        command
    }

    fn part(
        &self,
        child: Child,
        says: Option<File>,
        log: Option<PathBuf>,
    ) -> Result<Part, EngineError> {
        let pid = i32::try_from(child.id())
            .map_err(|_| self.failed(io::ErrorKind::InvalidData.into()))?;
        let says = Lines {
            pipe: says,
            read: Vec::new(),
        };
        Ok(Part {
            name: self.name,
            pid: Pid::from_raw(pid),
            child: Some(child),
            says,
            log,
            leash: None,
        })
    }

    fn failed(&self, error: io::Error) -> EngineError {
        let message = format!("start {} ({})", self.name, self.program.display());
        if error.kind() == io::ErrorKind::NotFound {
            EngineError::missing(message).because(error)
        } else {
            EngineError::fence(message).because(error)
        }
    }
}

fn log_file(log: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create_new(true).append(true).mode(0o600).open(log)
}

fn inheritable(descriptor: BorrowedFd<'_>, flag: FdFlag) -> nix::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFD(flag)).map(drop)
}

impl Part {
    /// Its number in our pid namespace.
    pub(in crate::engine) fn pid(&self) -> Pid {
        self.pid
    }

    /// What it is called.
    pub(in crate::engine) fn name(&self) -> &'static str {
        self.name
    }

    /// It ended without saying that it was ready.
    pub(in crate::engine) fn gone(&mut self) -> EngineError {
        let how = match self.wait() {
            Some(status) => self.epitaph(status),
            None => format!("{} says nothing any longer", self.name),
        };
        EngineError::fence(format!("{how}, before it was ready"))
    }

    /// How it ended; what it wrote for people says why, where it ended by itself.
    pub(in crate::engine) fn epitaph(&self, status: WaitStatus) -> String {
        let name = self.name;
        match (status, self.last_words()) {
            (WaitStatus::Exited(_, code), words) if words.is_empty() => {
                format!("{name} ended with code {code}")
            }
            (WaitStatus::Exited(_, code), words) => {
                format!("{name} ended with code {code} ({words})")
            }
            (WaitStatus::Signaled(_, signal, _), _) => format!("{name} was killed by {signal}"),
            (_, _) => format!("{name} is gone"),
        }
    }

    /// It said why it could not.
    pub(in crate::engine) fn refused(
        &mut self,
        error: &str,
        differences: &[String],
    ) -> EngineError {
        let mut message = format!("{}: {error}", self.name);
        for difference in differences {
            message.push_str("\n  ");
            message.push_str(difference);
        }
        // Its own code says whether the machine lacks something.
        match self.wait() {
            Some(WaitStatus::Exited(_, code)) if code == i32::from(Exit::Missing.code()) => {
                EngineError::missing(message)
            }
            _ => EngineError::fence(message),
        }
    }

    /// How it ended, for one that is about to; a little patience.
    pub(in crate::engine) fn wait(&mut self) -> Option<WaitStatus> {
        for _ in 0..1000 {
            if let Some(status) = self.change(WaitPidFlag::empty()) {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// The next line that it says, without its newline; none at the end of what it says.
    ///
    /// # Errors
    /// It says nothing in time, or somebody wants us to end.
    pub(in crate::engine) fn line(
        &mut self,
        limit: Duration,
        signals: &Signals,
    ) -> Result<Option<String>, EngineError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(line) = self.says.next() {
                return Ok(Some(line));
            }
            let Some(pipe) = &self.says.pipe else {
                return Ok(None);
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(EngineError::fence(format!(
                    "{} said nothing within {limit:?}",
                    self.name
                )));
            }
            let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut waiting = [
                PollFd::new(pipe.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut waiting, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(EngineError::fence("wait").because(error)),
            }
            if let Some(signal) = signals.wish_to_end() {
                return Err(EngineError::interrupted(signal as i32));
            }
            let [said, _] = &waiting;
            if said.any() == Some(true) {
                self.says.read_more().map_err(|error| self.unheard(error))?;
            }
        }
    }

    /// What it did, if it ended or stopped since the last call; the child is waited for then.
    pub(in crate::engine) fn change(&mut self, more: WaitPidFlag) -> Option<WaitStatus> {
        self.child.as_ref()?;
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG | more)) {
            // Nobody else waits for it: it cannot be gone without us knowing.
            Ok(WaitStatus::StillAlive) | Err(_) => None,
            Ok(status) => {
                if matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
                    self.child = None;
                }
                Some(status)
            }
        }
    }

    /// Sends it a signal, if it is still there.
    pub(in crate::engine) fn signal(&self, signal: Signal) {
        if self.child.is_some() {
            // It is ours and nobody has waited for it: the number is still its own.
            kill(self.pid, signal).ok();
        }
    }

    /// Lets go of one that ends by itself then, and kills it where it does not.
    pub(in crate::engine) fn release(&mut self, limit: Duration) -> Result<(), EngineError> {
        drop(self.leash.take());
        let deadline = Instant::now() + limit;
        while self.child.is_some() && self.change(WaitPidFlag::empty()).is_none() {
            if Instant::now() >= deadline {
                let name = self.name;
                let slow = format!("{name} did not end within {limit:?} and was killed");
                return self.end(None).and(Err(EngineError::fence(slow)));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Ends it: asks if there is time to, then kills. Gives an error if it had to be killed though it was asked.
    pub(in crate::engine) fn end(&mut self, ask: Option<Duration>) -> Result<(), EngineError> {
        if self.child.is_none() {
            return Ok(());
        }
        if let Some(limit) = ask {
            self.signal(Signal::SIGTERM);
            self.signal(Signal::SIGCONT);
            let deadline = Instant::now() + limit;
            while Instant::now() < deadline {
                if self.change(WaitPidFlag::empty()).is_some() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if let Some(mut child) = self.child.take() {
            child
                .kill()
                .and_then(|()| child.wait())
                .map_err(|error| EngineError::fence(format!("end {}", self.name)).because(error))?;
        }
        match ask {
            Some(limit) => Err(EngineError::fence(format!(
                "{} did not end within {limit:?} and was killed",
                self.name
            ))),
            None => Ok(()),
        }
    }

    /// What it wrote for people, its last lines, if there is anything.
    fn last_words(&self) -> String {
        const ENOUGH: usize = 2000;
        let text = self
            .log
            .as_ref()
            .and_then(|log| std::fs::read(log).ok())
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let from = text.len().saturating_sub(ENOUGH);
        let from = (from..=text.len())
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.get(from..).unwrap_or_default().trim().to_owned()
    }

    fn unheard(&self, error: io::Error) -> EngineError {
        EngineError::fence(format!("listen to {}", self.name)).because(error)
    }
}

/// The lines that come over a pipe.
#[derive(Debug)]
struct Lines {
    pipe: Option<File>,
    read: Vec<u8>,
}

/// A line of ours is far shorter.
const LINE_MAX_BYTES: usize = 1 << 20;

impl Lines {
    fn next(&mut self) -> Option<String> {
        let end = self.read.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.read.drain(..=end).collect();
        Some(String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned())
    }

    fn read_more(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        let mut chunk = [0; 4096];
        let length = pipe.read(&mut chunk)?;
        if length == 0 {
            self.pipe = None;
        }
        self.read.extend(chunk.iter().take(length));
        if self.read.len() > LINE_MAX_BYTES {
            return Err(io::Error::other("a line without an end"));
        }
        Ok(())
    }
}

/// For `--sync-fd` and the like: the number of a descriptor as an argument.
pub(in crate::engine) fn number(descriptor: &impl AsRawFd) -> OsString {
    descriptor.as_raw_fd().to_string().into()
}
