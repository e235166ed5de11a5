//! Where what the server writes goes: a file of ours, through a pipe that we read, so that an agent can neither change what
//! it wrote nor fill the disk with it.
//! Clauses: B1 (the agent has no file of the host's that is not the project's).
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::console::escaped;
use crate::project::StateDir;

/// When a log becomes the old one; one old one is kept.
const FULL: u64 = 10 << 20;

/// What the agent's server wrote.
pub(super) fn of_server(state: &StateDir) -> PathBuf {
    state.path().join("server.log")
}

/// What a supervisor without a terminal had to say.
pub(super) fn of_supervisor(state: &StateDir) -> PathBuf {
    state.path().join("supervisor.log")
}

/// The one before.
pub(super) fn old(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// Begins a log anew, 0600.
///
/// # Errors
/// The disk refused.
pub(super) fn begin(path: &Path) -> io::Result<File> {
    match std::fs::rename(path, old(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Reads a pipe into a log.
#[derive(Debug)]
pub(super) struct Copier {
    pipe: File,
    log: File,
    path: PathBuf,
    written: u64,
    /// Whether a person watches: lines go to stderr too.
    shown: bool,
}

impl Copier {
    /// A copier, and two ends for the server's stdout and stderr.
    ///
    /// # Errors
    /// The disk or the kernel refused.
    pub(super) fn new(path: &Path, shown: bool) -> io::Result<(Self, [OwnedFd; 2])> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        let copier = Self {
            pipe: read.into(),
            log: begin(path)?,
            path: path.to_owned(),
            written: 0,
            shown,
        };
        Ok((copier, [write.try_clone()?, write]))
    }

    /// Copies until every writer is gone. A disk that refuses loses lines, never the server.
    pub(super) fn run(mut self) {
        let mut chunk = [0; 16 << 10];
        loop {
            let count = match self.pipe.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let bytes = chunk.get(..count).unwrap_or_default();
            if self.shown {
                io::stderr().write_all(readable(bytes).as_bytes()).ok();
            }
            if self.log.write_all(bytes).is_ok() {
                self.written += u64::try_from(count).unwrap_or_default();
            }
            if self.written >= FULL
                && let Ok(next) = begin(&self.path)
            {
                self.log = next;
                self.written = 0;
            }
        }
    }
}

/// What an agent wrote, made fit for a terminal: lines stay lines, colours go, and nothing else is obeyed.
pub(super) fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('\u{1b}') {
        let (before, after) = rest.split_at(at);
        plain.push_str(before);
        // ECMA-48 8.3.117: a colour is `ESC [`, digits and semicolons, `m`.
        let colour = after.strip_prefix("\u{1b}[").and_then(|code| {
            let end = code.find(|letter: char| !letter.is_ascii_digit() && letter != ';')?;
            code.get(end..)?.strip_prefix('m')
        });
        match colour {
            Some(after) => rest = after,
            None => {
                plain.push_str("\\u{1b}");
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    plain.push_str(rest);
    let safe = |line: &str| {
        let ended = line.ends_with('\n');
        let line = line.trim_end_matches(['\n', '\r']).replace('\t', "    ");
        let mut safe = line
            .split("\\u{1b}")
            .map(escaped)
            .collect::<Vec<String>>()
            .join("\\u{1b}");
        if ended {
            safe.push('\n');
        }
        safe
    };
    plain.split_inclusive('\n').map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_wrote_is_read_without_its_colours_and_without_its_orders() {
        let written = b"\x1b[1;32mready\x1b[0m\tnow\r\n\x1b[2Jgone\x1b]0;title\x07\nrest";
        assert_eq!(
            readable(written),
            "ready    now\n\\u{1b}[2Jgone\\u{1b}]0;title\\u{7}\nrest"
        );
    }

    #[test]
    fn a_full_log_becomes_the_old_one() {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("server.log");
        let (mut copier, ends) = Copier::new(&path, false).unwrap();
        copier.written = FULL - 1;
        let [mut one, other] = ends.map(File::from);
        one.write_all(b"last line\n").unwrap();
        drop((one, other));
        copier.run();
        assert_eq!(std::fs::read(old(&path)).unwrap(), b"last line\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
