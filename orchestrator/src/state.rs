//! What a run leaves on the disk while it lives, and how the next one finds what a dead one left.
//!
//! ```text
//! <state>/run/lock                 held while runs begin and end: one at a time
//! <state>/run/<run>/mark.json      locked as long as its ocs lives; written before anything that it names is made
//! <state>/run/<run>/policy/        the policy that the proxy reads, a copy that only ocs writes
//! <state>/run/<run>/admin/         the proxy's socket
//! <state>/run/<run>/corner/        what `mounts` binds from
//! <state>/run/<run>/*.log          what the parts of the fence say
//! <state>/audit/<run>.jsonl        the record; this stays
//! ```
//! A mark that nobody holds a lock on is a dead run's: its placeholders are removed from the project, and its directory.
//! Clauses: U3, R5, B2.
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg};
use policies::audit::Timestamp;
use serde::{Deserialize, Serialize};

use crate::control::Kind;
use crate::project::{StateDir, private_dir};

/// The identity of a run: when it began, and six random digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunId(String);

impl RunId {
    /// A new one.
    fn new(now: SystemTime) -> io::Result<Self> {
        let mut random = [0; 3];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let [a, b, c] = random;
        let time: String = Timestamp::from(now).to_string();
        // `2026-11-21T01:14:00.123Z` without its punctuation and its milliseconds.
        let time: String = time
            .chars()
            .take(19)
            .filter(char::is_ascii_alphanumeric)
            .collect();
        Ok(Self(format!("{time}Z-{a:02x}{b:02x}{c:02x}")))
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What could not be done on the disk.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}", path.display())]
pub(crate) struct StateError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn at<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StateError + 'a {
    move |source| StateError {
        what,
        path: path.to_owned(),
        source,
    }
}

/// A place in the project where nothing is, and where nothing of the agent's may come to be.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
struct Placeholder {
    path: PathBuf,
    directory: bool,
    /// The inode that we made; none before it is made.
    inode: Option<(u64, u64)>,
}

#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    v: u32,
    project: PathBuf,
    placeholders: Vec<Placeholder>,
    /// Files that were not there, must not be, and cannot have a placeholder.
    forbidden: Vec<PathBuf>,
}

const MARK_VERSION: u32 = 1;

/// One run's place on the disk, marked as alive as long as this lives.
#[derive(Debug)]
pub(crate) struct Run {
    id: RunId,
    directory: PathBuf,
    record: PathBuf,
    runs: PathBuf,
    lock: Flock<File>,
    mark: Mark,
}

/// What sweeping found.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Runs that died without cleaning up.
    pub(crate) dead: usize,
    /// Files that an agent made where nothing may be; they are gone now.
    pub(crate) removed: Vec<PathBuf>,
    /// What could not be removed.
    pub(crate) failed: Vec<StateError>,
}

/// Nobody else begins or ends a run of this sandbox as long as this lives.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: Flock<File>,
}

/// Removes what dead runs of this sandbox left.
///
/// # Errors
/// The state directory cannot be used. What could not be swept is in `Swept`.
pub(crate) fn sweep(state: &StateDir) -> Result<Swept, StateError> {
    let runs = state.run();
    state
        .create()
        .and_then(|()| private_dir(&state.audit()))
        .and_then(|()| private_dir(&runs))
        .map_err(|error| at("use", &runs)(io::Error::other(error.to_string())))?;
    let _turn = take_turn(&runs)?;
    let mut swept = Swept::default();
    for directory in directories(&runs)? {
        match claim(&directory) {
            Claim::Alive(_) => {}
            Claim::Dead(mark) => {
                swept.dead += 1;
                if let Some(mark) = mark {
                    let (removed, failed) = clear(&mark, &runs);
                    swept.removed.extend(removed);
                    swept.failed.extend(failed);
                }
                swept.failed.extend(remove(&directory).err());
            }
        }
    }
    Ok(swept)
}

/// Whether this very run of the sandbox goes on.
pub(crate) fn goes_on(state: &StateDir, run: &str) -> bool {
    let plain = !run.is_empty()
        && run
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    plain && matches!(claim(&state.run().join(run)), Claim::Alive(_))
}

/// The places in the project where runs that live have placeholders.
///
/// # Errors
/// The state directory cannot be read.
pub(crate) fn placeholders(state: &StateDir, _turn: &Turn) -> Result<Vec<PathBuf>, StateError> {
    let alive = alive(&state.run())?;
    Ok(alive
        .into_iter()
        .flat_map(|mark| mark.placeholders)
        .map(|ours| ours.path)
        .collect())
}

/// Whether any run of this sandbox lives.
///
/// # Errors
/// The state directory cannot be read.
pub(crate) fn is_alive(state: &StateDir) -> Result<bool, StateError> {
    alive(&state.run()).map(|alive| !alive.is_empty())
}

impl Run {
    /// Marks a run, and makes the placeholders that the mark names.
    ///
    /// # Errors
    /// The disk refused; what was made is removed.
    pub(crate) fn begin(
        state: &StateDir,
        project: &Path,
        now: SystemTime,
        absent: impl IntoIterator<Item = (PathBuf, Kind)>,
        forbidden: Vec<PathBuf>,
        turn: Turn,
    ) -> Result<Self, StateError> {
        let runs = state.run();
        let id = RunId::new(now).map_err(at("make a run of", &runs))?;
        let directory = runs.join(id.as_str());
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(at("make", &directory))?;
        let path = directory.join(MARK);
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .clone();
        let file = options.open(&path).map_err(at("make", &path))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| at("lock", &path)(error.into()))?;
        let absent = absent.into_iter();
        let placeholders = absent.map(|(path, kind)| Placeholder {
            path,
            directory: kind == Kind::Directory,
            inode: None,
        });
        let mark = Mark {
            v: MARK_VERSION,
            project: project.to_owned(),
            placeholders: placeholders.collect(),
            forbidden,
        };
        let record = state.audit().join(format!("{}.jsonl", id.as_str()));
        let mut run = Self {
            id,
            directory,
            record,
            runs,
            lock,
            mark,
        };
        match run
            .write()
            .and_then(|()| run.place())
            .and_then(|()| run.write())
        {
            Ok(()) => {
                drop(turn);
                Ok(run)
            }
            Err(error) => {
                drop(turn);
                // The first error is the one to tell; the next start sweeps what this could not.
                drop(run.end());
                Err(error)
            }
        }
    }

    /// Its identity.
    pub(crate) fn id(&self) -> &RunId {
        &self.id
    }

    /// A directory of its own, 0700.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where its proxy says how it stands.
    pub(crate) fn admin(&self) -> PathBuf {
        self.directory.join(ADMIN).join(SOCKET)
    }

    /// Where its record goes.
    pub(crate) fn record(&self) -> &Path {
        &self.record
    }

    /// Makes again a placeholder that somebody removed while the run goes on.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn replace(&mut self, path: &Path) -> Result<(), StateError> {
        let found = self
            .mark
            .placeholders
            .iter_mut()
            .find(|ours| ours.path == path);
        match found {
            Some(ours) => ours.inode = None,
            None => {
                let path = path.to_owned();
                self.mark.placeholders.push(Placeholder {
                    path,
                    directory: false,
                    inode: None,
                });
            }
        }
        self.write()
            .and_then(|()| self.place())
            .and_then(|()| self.write())
    }

    /// Removes everything of it but the record; gives what could not be, and what an agent had made where nothing may be.
    pub(crate) fn end(self) -> (Vec<PathBuf>, Vec<StateError>) {
        let turn = take_turn(&self.runs);
        // From here on this run counts as dead to the others, and to `clear`.
        drop(self.lock);
        let (removed, mut failed) = clear(&self.mark, &self.runs);
        failed.extend(remove(&self.directory).err());
        failed.extend(turn.err());
        (removed, failed)
    }

    fn place(&mut self) -> Result<(), StateError> {
        for ours in self
            .mark
            .placeholders
            .iter_mut()
            .filter(|ours| ours.inode.is_none())
        {
            let path = self.mark.project.join(&ours.path);
            let made = if ours.directory {
                DirBuilder::new().mode(0o755).create(&path)
            } else {
                let mut options = OpenOptions::new();
                options
                    .write(true)
                    .create_new(true)
                    .mode(0o644)
                    .open(&path)
                    .map(drop)
            };
            match made {
                Ok(()) => {}
                // Another run's, which we share: whoever ends last removes it.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at("make a placeholder at", &path)(error)),
            }
            let found = path.symlink_metadata().map_err(at("look at", &path))?;
            if found.is_dir() != ours.directory || !is_empty(&path, &found) {
                return Err(at("make a placeholder at", &path)(
                    ErrorKind::AlreadyExists.into(),
                ));
            }
            ours.inode = Some((found.dev(), found.ino()));
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), StateError> {
        let path = self.directory.join(MARK);
        let text =
            serde_json::to_vec(&self.mark).map_err(|error| at("write", &path)(error.into()))?;
        let file: &mut File = &mut self.lock;
        file.rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| file.write_all(&text))
            .map_err(at("write", &path))
    }
}

const MARK: &str = "mark.json";
/// In a run's directory: where its proxy makes its [`SOCKET`], and nothing else lies.
pub(crate) const ADMIN: &str = "admin";
/// `GET /status` and its neighbours (docs/audit-log.md).
pub(crate) const SOCKET: &str = "admin.sock";

/// Waits until nobody else begins or ends a run of this sandbox.
///
/// # Errors
/// The state directory cannot be used.
pub(crate) fn turn(state: &StateDir) -> Result<Turn, StateError> {
    take_turn(&state.run())
}

fn take_turn(runs: &Path) -> Result<Turn, StateError> {
    let path = runs.join("lock");
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let file = file.map_err(at("open", &path))?;
    let lock = Flock::lock(file, FlockArg::LockExclusive);
    lock.map(|lock| Turn { _lock: lock })
        .map_err(|(_, error)| at("lock", &path)(error.into()))
}

/// Whose a run's directory is.
enum Claim {
    /// Its ocs lives; what it marked.
    Alive(Option<Mark>),
    /// Nobody's; what was marked, if it can be read.
    Dead(Option<Mark>),
}

fn claim(directory: &Path) -> Claim {
    let file = OpenOptions::new().read(true).open(directory.join(MARK));
    let Ok(mut file) = file else {
        // It died between making the directory and the mark: our turn says that nobody is doing that now.
        return Claim::Dead(None);
    };
    let mut text = Vec::new();
    let mark = file
        .read_to_end(&mut text)
        .ok()
        .and_then(|_| serde_json::from_slice(&text).ok());
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Claim::Dead(mark),
        Err(_) => Claim::Alive(mark),
    }
}

fn alive(runs: &Path) -> Result<Vec<Mark>, StateError> {
    let marks = directories(runs)?
        .into_iter()
        .filter_map(|directory| match claim(&directory) {
            Claim::Alive(mark) => mark,
            Claim::Dead(_) => None,
        });
    Ok(marks.collect())
}

/// The directories of the runs that go on.
///
/// # Errors
/// The state directory cannot be read.
pub(crate) fn living(state: &StateDir) -> Result<Vec<PathBuf>, StateError> {
    let runs = state.run();
    if !runs.is_dir() {
        return Ok(Vec::new());
    }
    let mut living = directories(&runs)?;
    living.retain(|directory| matches!(claim(directory), Claim::Alive(_)));
    living.sort();
    Ok(living)
}

fn directories(runs: &Path) -> Result<Vec<PathBuf>, StateError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(runs).map_err(at("read", runs))? {
        let path = entry.map_err(at("read", runs))?.path();
        if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Removes a dead run's placeholders from its project, unless a living run shares them, and what was forbidden to appear.
fn clear(mark: &Mark, runs: &Path) -> (Vec<PathBuf>, Vec<StateError>) {
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    let others = match alive(runs) {
        Ok(others) => others,
        Err(error) => return (removed, vec![error]),
    };
    let shared = |path: &Path| {
        let of_project = others.iter().filter(|other| other.project == mark.project);
        of_project
            .flat_map(|other| &other.placeholders)
            .any(|ours| ours.path == path)
    };
    for ours in mark.placeholders.iter().filter(|ours| !shared(&ours.path)) {
        let path = mark.project.join(&ours.path);
        let Ok(found) = path.symlink_metadata() else {
            continue;
        };
        let same = ours
            .inode
            .is_none_or(|inode| inode == (found.dev(), found.ino()));
        // What somebody has put something into since is no placeholder any longer.
        if !same || found.is_dir() != ours.directory || !is_empty(&path, &found) {
            continue;
        }
        let gone = if ours.directory {
            fs::remove_dir(&path)
        } else {
            fs::remove_file(&path)
        };
        failed.extend(gone.map_err(at("remove the placeholder", &path)).err());
    }
    for path in mark.forbidden.iter().map(|path| mark.project.join(path)) {
        match fs::remove_file(&path) {
            Ok(()) => removed.push(path),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => failed.push(at("remove", &path)(error)),
        }
    }
    (removed, failed)
}

fn remove(directory: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at("remove", directory)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether there is nothing in a file or directory.
pub(crate) fn is_empty(path: &Path, found: &Metadata) -> bool {
    if found.is_dir() {
        fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
    } else {
        found.is_file() && found.len() == 0
    }
}

#[cfg(test)]
mod tests;
