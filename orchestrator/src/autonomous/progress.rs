//! How far the work on a specification is, on the disk and outside every box, so that a new start goes on where the last one
//! was killed. One works on a specification at a time.
//! Clauses: O6, U3.
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg};
use policies::audit::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::round::Came;
use crate::exit::{Exit, Failure};
use crate::project::{StateDir, private_dir};
use crate::whole_file::write_whole;
use crate::world::World;

/// What is known of the work.
#[derive(Debug)]
pub(super) struct Progress {
    directory: PathBuf,
    log: PathBuf,
    begun: Begun,
    _lock: Flock<File>,
}

/// What survives.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Begun {
    v: u32,
    /// The conversation.
    session: String,
    rounds: u32,
    /// Digest of a report that was there before: not this work's.
    old_report: Option<String>,
}

impl Progress {
    /// Takes up the work on this text, or begins it. `report` is what the project has for a report now.
    ///
    /// # Errors
    /// Somebody is at it, or the disk refused.
    pub(super) fn take(
        state: &StateDir,
        spec: &str,
        report: Option<&str>,
        world: &World,
    ) -> Result<Self, Failure> {
        state.create()?;
        let key: String = digest(spec).chars().take(16).collect();
        let above = state.path().join("autonomous");
        let directory = above.join(&key);
        private_dir(&above)?;
        private_dir(&directory)?;
        let failed = |error: io::Error| {
            Failure::new(Exit::No, format!("use {}", directory.display())).because(error)
        };
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(directory.join("lock")).map_err(failed)?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
            let error = io::Error::from(error);
            if error.kind() == ErrorKind::WouldBlock {
                Failure::new(Exit::No, "somebody works on this specification already")
                    .next("wait for it")
            } else {
                failed(error)
            }
        })?;
        let survived = fs::read(directory.join("begun")).ok();
        let survived = survived.and_then(|text| serde_json::from_slice(&text).ok());
        let begun = survived.unwrap_or_else(|| Begun {
            v: 1,
            session: session(&key, world.now),
            rounds: 0,
            old_report: report.map(digest),
        });
        let progress = Self {
            log: directory.join("log"),
            directory,
            begun,
            _lock: lock,
        };
        progress.write()?;
        Ok(progress)
    }

    /// Rounds that were begun.
    pub(super) fn rounds(&self) -> u32 {
        self.begun.rounds
    }

    /// The conversation's name.
    pub(super) fn session(&self) -> &str {
        &self.begun.session
    }

    /// The log.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Whether a report was there before the work began.
    pub(super) fn is_old(&self, report: &str) -> bool {
        self.begun.old_report.as_deref() == Some(&digest(report))
    }

    /// Counts a round before it is played; gives its number.
    pub(super) fn begin_round(&mut self) -> Result<u32, Failure> {
        self.begun.rounds += 1;
        self.write()?;
        Ok(self.begun.rounds)
    }

    /// Notes what came of a round.
    pub(super) fn note(&self, number: u32, came: &Came, world: &World) -> Result<(), Failure> {
        let elapsed = world.now.elapsed().unwrap_or_default();
        let time = Timestamp::from(world.now + elapsed);
        let text = format!("== round {number}, {time}\n{}", came.lines());
        let mut options = OpenOptions::new();
        let log = options
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.log);
        log.and_then(|mut log| log.write_all(text.as_bytes()))
            .map_err(|error| {
                Failure::new(Exit::No, format!("write {}", self.log.display())).because(error)
            })
    }

    /// The work is done: the next start begins anew. The log stays.
    pub(super) fn finish(self, state: &StateDir) -> Result<(), Failure> {
        let begun = self.directory.join("begun");
        fs::remove_file(&begun).map_err(|error| {
            Failure::new(Exit::No, format!("remove {}", begun.display())).because(error)
        })?;
        // The agent's own state of the conversation: worth a word to nobody where it cannot be removed.
        fs::remove_dir_all(state.path().join("sessions").join(&self.begun.session)).ok();
        Ok(())
    }

    fn write(&self) -> Result<(), Failure> {
        let text = serde_json::to_vec(&self.begun).unwrap_or_default();
        write_whole(&self.directory.join("begun"), &text)
    }
}

fn session(key: &str, now: SystemTime) -> String {
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("autonomous-{key}-{}", since.as_millis())
}

fn digest(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox_id::SandboxId;

    #[test]
    fn a_new_start_goes_on_and_one_after_the_end_begins_anew() {
        let home = tempfile::tempdir().unwrap();
        let name = policies::SandboxName::parse("x").unwrap();
        let state = StateDir::new(home.path(), &SandboxId::new(&name, Path::new("/p")));
        let world = World::of(Path::new("/"), home.path(), vec![]);
        let take = |spec: &str| Progress::take(&state, spec, Some("old"), &world);
        let mut first = take("spec").unwrap();
        assert_eq!(
            (first.begin_round().unwrap(), first.begin_round().unwrap()),
            (1, 2)
        );
        assert!(take("spec").unwrap_err().to_string().contains("already"));
        assert_eq!(take("other").unwrap().rounds(), 0);
        let begun = first.begun.clone();
        drop(first); // as a kill would
        let second = take("spec").unwrap();
        assert_eq!(second.begun, begun);
        assert!(second.is_old("old") && !second.is_old("new"));
        second.finish(&state).unwrap();
        assert_eq!(take("spec").unwrap().rounds(), 0);
    }
}
