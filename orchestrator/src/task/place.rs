//! A task's place on the disk, outside everything that the agent may write but its own state.
//!
//! ```text
//! <state>/tasks/lock               held while places begin and end
//! <state>/tasks/<task>/task        the text; locked as long as its ocs lives
//! <state>/tasks/<task>/outfit/     what the tool is to know, shown read-only
//! <state>/tasks/<task>/state/      the agent's own state, shown read-write
//! <state>/tasks/<task>/kept        --keep: this place stays
//! <state>/tasks/<task>.events      what the agent said; the newest stay
//! <state>/sessions/<name>/state/   the state of a conversation that is gone on with; `id` is what the agent calls it
//! ```
//! A place whose text nobody holds a lock on is a dead task's, and removed by the next.
//! Clauses: O6, R5.
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::pipe2;
use policies::audit::Timestamp;
use serde_json::Value;

use super::report::Report;
use crate::cli::TaskArgs;
use crate::exit::{Exit, Failure};
use crate::launch::Streams;
use crate::project::{Project, private_dir};
use crate::world::World;

/// How many tasks' events are kept.
const EVENTS_KEPT: usize = 100;

/// One task's place.
#[derive(Debug)]
pub(super) struct Place {
    tasks: PathBuf,
    directory: PathBuf,
    events: PathBuf,
    state: PathBuf,
    keep: bool,
    session: Option<Session>,
    text: Option<Flock<File>>,
}

/// A conversation that is gone on with. Nobody else does as long as this lives.
#[derive(Debug)]
struct Session {
    directory: PathBuf,
    id: Option<String>,
    _lock: Flock<File>,
}

impl Place {
    /// Makes it, and removes those of the dead.
    pub(super) fn new(
        project: &Project,
        args: &TaskArgs,
        world: &World,
        text: &[u8],
    ) -> Result<Self, Failure> {
        project.state().create()?;
        let tasks = project.state().path().join("tasks");
        private_dir(&tasks)?;
        let mut place = Self::begin(tasks, args.keep, world)?;
        // From here on an error takes the place down again.
        if let Some(held) = &mut place.text {
            held.write_all(text)
                .map_err(disk("write to", &place.directory))?;
        }
        if let Some(name) = &args.session {
            let session = Session::open(project, name)?;
            place.state = session.directory.join("state");
            place.session = Some(session);
        }
        private_dir(&place.state)?;
        Ok(place)
    }

    /// An empty place, seen by nobody without its lock.
    fn begin(tasks: PathBuf, keep: bool, world: &World) -> Result<Self, Failure> {
        let _turn = turn(&tasks)?;
        sweep(&tasks).map_err(disk("sweep", &tasks))?;
        let name = name(world).map_err(disk("name a task in", &tasks))?;
        let directory = tasks.join(&name);
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(disk("make", &directory))?;
        let text = lock(&directory.join("task"), FlockArg::LockExclusive)
            .map_err(disk("lock", &directory))?;
        if keep {
            fs::write(directory.join("kept"), "").map_err(disk("write to", &directory))?;
        }
        Ok(Self {
            events: tasks.join(format!("{name}.events")),
            tasks,
            state: directory.join("state"),
            directory,
            keep,
            session: None,
            text: Some(text),
        })
    }

    /// The agent's own state.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// What the agent calls the conversation that is gone on with.
    pub(super) fn session(&self) -> Option<&str> {
        self.session.as_ref()?.id.as_deref()
    }

    /// The file of events.
    pub(super) fn events(&self) -> &Path {
        &self.events
    }

    /// The same, to be written.
    pub(super) fn events_file(&self) -> Result<File, Failure> {
        private_file(&self.events).map_err(disk("make", &self.events))
    }

    /// Writes the file of events, where they were not read as they came.
    pub(super) fn keep_events(&self, events: &[Value]) -> Result<(), Failure> {
        let mut file = self.events_file()?;
        events
            .iter()
            .try_for_each(|event| writeln!(file, "{event}"))
            .map_err(disk("write", &self.events))
    }

    /// Where what the tool is to know lies.
    pub(super) fn outfit(&self) -> PathBuf {
        self.directory.join("outfit")
    }

    /// The command's streams, and the end of the pipe from which its events come.
    pub(super) fn streams(&self) -> Result<(Streams, OwnedFd), Failure> {
        let path = self.directory.join("task");
        let task = File::open(&path).map_err(disk("open", &path))?;
        let (events, stdout) = pipe2(OFlag::O_CLOEXEC)
            .map_err(|error| Failure::new(Exit::No, "make a pipe").because(error))?;
        Ok((Streams::of_task(task, stdout), events))
    }

    /// Notes what is to be known later. Dropped without this, it was a task that never ran.
    pub(super) fn end(self, report: &Report) -> Result<(), Failure> {
        match &self.session {
            Some(session) => session.remember(report.session()),
            None => Ok(()),
        }
    }
}

impl Drop for Place {
    /// Takes it down, but for what is to stay. What cannot be removed now, the next task sweeps.
    fn drop(&mut self) {
        let Ok(_turn) = turn(&self.tasks) else {
            return;
        };
        if !self.keep {
            remove(&self.directory).ok();
        }
        forget_old_events(&self.tasks).ok();
    }
}

impl Session {
    fn open(project: &Project, name: &str) -> Result<Self, Failure> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(good) {
            let message = format!("`{}` is no session's name", name.escape_debug());
            return Err(Failure::usage(message).next("letters, digits, `-` and `_`, at most 64"));
        }
        let sessions = project.state().path().join("sessions");
        private_dir(&sessions)?;
        let directory = sessions.join(name);
        private_dir(&directory)?;
        let lock = match lock(&directory.join("lock"), FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let message = format!("the session `{name}` is at work");
                return Err(
                    Failure::new(Exit::No, message).next("wait for it, or take another name")
                );
            }
            Err(error) => return Err(disk("lock", &directory)(error)),
        };
        // The agent could have written nothing here: only `state` below it is shown in a box.
        let id = fs::read_to_string(directory.join("id")).ok();
        Ok(Self {
            id,
            directory,
            _lock: lock,
        })
    }

    /// What the agent calls it becomes a word of its next command line: only what cannot be an option is taken.
    fn remember(&self, id: Option<&str>) -> Result<(), Failure> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let good = |id: &&str| {
            !id.is_empty() && id.len() <= 128 && !id.starts_with('-') && id.bytes().all(plain)
        };
        match id.filter(good) {
            Some(id) => {
                let path = self.directory.join("id");
                private_file(&path)
                    .and_then(|mut file| file.write_all(id.as_bytes()))
                    .map_err(disk("write", &path))
            }
            None => Ok(()),
        }
    }
}

/// Nobody else's place begins or ends as long as this lives.
fn turn(tasks: &Path) -> Result<Flock<File>, Failure> {
    lock(&tasks.join("lock"), FlockArg::LockExclusive).map_err(disk("lock", tasks))
}

/// Removes what dead tasks left. Only in our turn: a place is never seen without its lock.
fn sweep(tasks: &Path) -> io::Result<()> {
    for entry in fs::read_dir(tasks)?.flatten() {
        let directory = entry.path();
        if !entry.file_type()?.is_dir() || directory.join("kept").exists() {
            continue;
        }
        match lock(&directory.join("task"), FlockArg::LockExclusiveNonblock) {
            Ok(_ours) => remove(&directory)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes a directory in which an agent may have closed directories to its own user, who is ours.
fn remove(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        ended => return ended,
    }
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        // No link is followed: each was found to be a directory, and nobody but us can write here any longer.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&directory)?.flatten() {
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(directory)
}

fn forget_old_events(tasks: &Path) -> io::Result<()> {
    let is_events = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "events")
    };
    let mut files: Vec<PathBuf> = fs::read_dir(tasks)?
        .flatten()
        .map(|entry| entry.path())
        .filter(is_events)
        .collect();
    // Their names begin with when they began.
    files.sort();
    let surplus = files.len().saturating_sub(EVENTS_KEPT);
    files.iter().take(surplus).try_for_each(fs::remove_file)
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn lock(path: &Path, how: FlockArg) -> io::Result<Flock<File>> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    let mut lock = Flock::lock(file, how).map_err(|(_, error)| io::Error::from(error))?;
    lock.rewind()?;
    Ok(lock)
}

fn name(world: &World) -> io::Result<String> {
    let mut random = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let time: String = Timestamp::from(world.now).to_string();
    let time: String = time
        .chars()
        .take(19)
        .filter(char::is_ascii_alphanumeric)
        .collect();
    Ok(format!("{time}Z-{:08x}", u32::from_be_bytes(random)))
}

fn disk<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Failure + 'a {
    move |error| Failure::new(Exit::No, format!("{what} {}", path.display())).because(error)
}
