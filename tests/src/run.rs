//! A program that runs, or ran, in a world.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A program that was started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    begun: Instant,
    /// Files, not pipes: a process that a run left behind must not keep the test waiting.
    outputs: [File; 2],
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
    pub(crate) fn new(child: Child, shown: String, begun: Instant, outputs: [File; 2]) -> Self {
        Self {
            child,
            shown,
            begun,
            outputs,
        }
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
        let [stdout, stderr] = self.outputs.map(text);
        Ok(Finished {
            shown: self.shown,
            status,
            stdout: stdout?,
            stderr: stderr?,
            took,
        })
    }
}

fn text(mut file: File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .context("read a program's output")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
