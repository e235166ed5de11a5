//! Which server of a sandbox runs, by a file that its supervisor holds locked as long as it lives: one at a time, and what
//! the file says is of the one that holds it. A file that nobody holds is a dead one's, and says nothing.
//! Clauses: U3.
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use policies::audit::Timestamp;
use serde::{Deserialize, Serialize};

use super::status::Counters;
use crate::exit::{Exit, Failure};
use crate::project::{StateDir, private_dir};
use crate::tools::Face;

/// What is known of a server.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Facts {
    pub(crate) v: u32,
    /// Its supervisor.
    pub(crate) pid: u32,
    /// Whether it answers already.
    pub(crate) phase: Phase,
    pub(crate) sandbox: String,
    /// The project on the host.
    pub(crate) project: PathBuf,
    pub(crate) engine: String,
    pub(crate) mode: String,
    pub(crate) tool: String,
    /// Whom it is for.
    pub(crate) face: Face,
    pub(crate) port: u16,
    pub(crate) url: String,
    pub(crate) since: Timestamp,
    /// The run's id; none before it is marked.
    pub(crate) run: Option<String>,
    /// Its record; none before there is one.
    pub(crate) record: Option<PathBuf>,
    /// What its proxy had counted when the agent began: the probes.
    #[serde(default)]
    pub(super) before: Counters,
}

/// How far a server is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// It was begun.
    Starting,
    /// It answers.
    Running,
}

impl Phase {
    /// As text.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
        }
    }
}

/// The right to run the server of a sandbox.
#[derive(Debug)]
pub(crate) struct Lease {
    file: Flock<File>,
    path: PathBuf,
}

/// How a sandbox's server stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is none.
    Absent,
    /// Somebody holds the lease; what is known, unless that is being written now.
    Held(Option<Box<Facts>>),
}

const FILE: &str = "server.json";
/// Somebody who looks holds the file for an instant.
const TRIES: u8 = 50;
const PAUSE: Duration = Duration::from_millis(5);

impl Lease {
    /// Takes it; none where another has it.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn take(state: &StateDir) -> Result<Option<Self>, Failure> {
        state.create()?;
        private_dir(&state.run())?;
        let path = state.run().join(FILE);
        let failed = |error: io::Error| {
            Failure::new(Exit::No, format!("lock {}", path.display())).because(error)
        };
        for _ in 0..TRIES {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(failed)?;
            if let Ok(file) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                // Whoever held it may have removed it: then this is no longer the file of that name.
                if is_at(&file, &path) {
                    return Ok(Some(Self { file, path }));
                }
            }
            std::thread::sleep(PAUSE);
        }
        Ok(None)
    }

    /// Says what runs under it.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn write(&mut self, facts: &Facts) -> Result<(), Failure> {
        let text = serde_json::to_vec(facts).unwrap_or_default();
        let file: &mut File = &mut self.file;
        file.rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| file.write_all(&text))
            .map_err(|error| {
                Failure::new(Exit::No, format!("write {}", self.path.display())).because(error)
            })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Before the lock goes: nobody else can have made it anew.
        std::fs::remove_file(&self.path).ok();
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        (_, _) => false,
    }
}

/// Looks how the server of a sandbox stands.
pub(crate) fn look(run: &Path) -> Standing {
    let mut file = match File::open(run.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Standing::Absent,
        Err(_) => return Standing::Held(None),
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok();
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Standing::Absent,
        Err(_) => Standing::Held(serde_json::from_slice(&text).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox_id::SandboxId;

    fn state() -> (tempfile::TempDir, StateDir) {
        let home = tempfile::tempdir().unwrap();
        let name = policies::SandboxName::parse("x").unwrap();
        let state = StateDir::new(home.path(), &SandboxId::new(&name, Path::new("/p")));
        (home, state)
    }

    fn facts() -> Facts {
        Facts {
            v: 1,
            pid: 1,
            phase: Phase::Running,
            sandbox: "x-1".to_owned(),
            project: "/p".into(),
            engine: "native".to_owned(),
            mode: "filtered".to_owned(),
            tool: "opencode".to_owned(),
            face: Face::Web,
            port: 4096,
            url: "http://127.0.0.1:4096".to_owned(),
            since: std::time::SystemTime::UNIX_EPOCH.into(),
            run: None,
            record: None,
            before: Counters::default(),
        }
    }

    #[test]
    fn one_holds_the_lease_and_others_read_what_it_says() {
        let (_home, state) = state();
        let mut lease = Lease::take(&state).unwrap().unwrap();
        assert!(Lease::take(&state).unwrap().is_none());
        assert_eq!(look(&state.run()), Standing::Held(None));
        lease.write(&facts()).unwrap();
        assert_eq!(look(&state.run()), Standing::Held(Some(Box::new(facts()))));
        drop(lease);
        assert_eq!(look(&state.run()), Standing::Absent);
        assert!(!state.run().join(FILE).exists());
    }

    #[test]
    fn what_a_dead_one_left_says_nothing_and_keeps_nobody_out() {
        let (_home, state) = state();
        drop(Lease::take(&state).unwrap());
        let text = serde_json::to_string(&facts()).unwrap();
        std::fs::write(state.run().join(FILE), text).unwrap();
        assert_eq!(look(&state.run()), Standing::Absent);
        assert!(Lease::take(&state).unwrap().is_some());
    }
}
