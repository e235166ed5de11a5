//! A program that runs, or ran, in a world.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// A program that was started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    begun: Instant,
    /// Files, not pipes: a process that a run left behind must not keep the test waiting.
    outputs: [Output; 2],
}

/// A program that ended.
#[derive(Debug)]
pub struct Finished {
    /// What was run.
    pub shown: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
    /// How long it took; reported, never asserted.
    pub took: Duration,
}

impl Running {
    pub(crate) fn new(child: Child, shown: String, begun: Instant, outputs: [Output; 2]) -> Self {
        Self {
            child,
            shown,
            begun,
            outputs,
        }
    }

    /// Waits until what was written to stdout satisfies `wanted`, and gives it.
    ///
    /// # Errors
    /// It ended, or half a minute passed, before that.
    pub fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let [stdout, _] = &self.outputs;
        loop {
            let written = stdout.text()?;
            if wanted(&written) {
                return Ok(written);
            }
            let ended = self.child.try_wait().context("look after a program")?;
            if ended.is_some() || self.begun.elapsed() > Duration::from_secs(30) {
                bail!("{} wrote only {written:?} ({ended:?})", self.shown);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// The system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        let ended = self.child.try_wait().context("look after a program")?;
        Ok(ended.is_none())
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The output could not be read.
    pub fn wait(mut self) -> Result<Finished> {
        let status = self
            .child
            .wait()
            .with_context(|| format!("wait for {}", self.shown))?;
        let took = self.begun.elapsed();
        let [stdout, stderr] = self.outputs.map(|output| output.text());
        Ok(Finished {
            shown: self.shown,
            status,
            stdout: stdout?,
            stderr: stderr?,
            took,
        })
    }
}

/// A file that a program writes to its end, and that is read meanwhile.
#[derive(Debug)]
pub(crate) struct Output(NamedTempFile);

impl Output {
    pub(crate) fn new() -> Result<Self> {
        NamedTempFile::new()
            .map(Self)
            .context("make a file for a program's output")
    }

    /// For the program: every write goes to the end, wherever a reader is.
    pub(crate) fn writer(&self) -> Result<File> {
        File::options()
            .append(true)
            .open(self.0.path())
            .context("open a program's output")
    }

    fn text(&self) -> Result<String> {
        let bytes = std::fs::read(self.0.path()).context("read a program's output")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Finished {
    /// As a shell would say it: 128 and the signal's number where a signal ended it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .or_else(|| self.status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1)
    }

    /// Itself, if it ended with 0.
    ///
    /// # Errors
    /// It did not; the error shows all that it said.
    pub fn succeeded(self) -> Result<Self> {
        if !self.status.success() {
            bail!("{self}");
        }
        Ok(self)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            shown,
            stdout,
            stderr,
            took,
            ..
        } = self;
        let code = self.code();
        write!(
            f,
            "`{shown}` ended with {code} after {} ms\nstdout: {stdout}\nstderr: {stderr}",
            took.as_millis()
        )
    }
}
