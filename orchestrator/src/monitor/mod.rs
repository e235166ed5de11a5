//! What a box does with the machine, looked at from outside while it runs: its listening ports, its processes and the machine's
//! memory, and an hourly sum of both, as JSON lines beside the record (COMPATIBILITY 1.27 to 1.29 have the shapes). The box sees
//! neither this process nor these files. Engine native only: a container's processes are the engine's.
//!
//! ```text
//! <state>/audit/monitor/<run>.portscan.jsonl, <run>.resources.jsonl, <run>.security_summary.jsonl
//! ```
//! Decides nothing, and what it cannot read or write costs its lines alone.
//! Clauses: R1, O13.
mod lines;
mod processes;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::world::World;
use lines::Machine;
pub(crate) use processes::Inside;

/// The directory below that of the records.
const DIRECTORY: &str = "monitor";
/// The files' names, after the run's.
const PORTS: &str = "portscan.jsonl";
const RESOURCES: &str = "resources.jsonl";
const SUMMARY: &str = "security_summary.jsonl";
/// A larger file becomes `.1`, and the one before that goes.
const FILE_MAX_BYTES: u64 = 10 << 20;
/// The first look: what ends sooner is not looked at.
const FIRST: Duration = Duration::from_secs(1);
/// The longest line that is read back.
const LINE_MAX_BYTES: u64 = 64 << 10;

/// What is to be looked at, and how often each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Looks {
    /// The box's own ports that are expected to listen.
    published: Vec<u16>,
    ports: Duration,
    resources: Duration,
    summary: Duration,
}

impl Looks {
    /// As often as sandboxed-opencode did, by its variables; what is no number of seconds is the default.
    pub(crate) fn of(published: Vec<u16>, world: &World) -> Self {
        let seconds = |name: &str, usual: u64| {
            let given = world
                .variable(name)
                .and_then(|value| value.to_str()?.parse().ok());
            Duration::from_secs(given.filter(|seconds| *seconds > 0).unwrap_or(usual))
        };
        Self {
            published,
            ports: seconds("PORTSCAN_INTERVAL", 300),
            resources: seconds("RESOURCE_MONITOR_INTERVAL", 60),
            summary: seconds("AUTOLOG_INTERVAL", 3600),
        }
    }
}

/// What is looked at while it lives. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Monitor {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Begins, for the run whose record this is.
    pub(crate) fn begin(record: &Path, looks: Looks) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let mut looking = Looking::new(Files::of(record), looks);
        let thread = std::thread::spawn(move || {
            let mut pause = FIRST;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = looking.look();
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The state of the thread.
struct Looking {
    files: Files,
    looks: Looks,
    /// When each is next due: ports, resources, summary.
    due: [Instant; 3],
    before: processes::Times,
    warnings: u64,
    snapshots: u64,
}

impl Looking {
    fn new(files: Files, looks: Looks) -> Self {
        let now = Instant::now();
        Self {
            files,
            due: [now, now, now + looks.summary],
            looks,
            before: processes::Times::default(),
            warnings: 0,
            snapshots: 0,
        }
    }

    /// Writes what is due; gives how long nothing will be.
    fn look(&mut self) -> Duration {
        let found = Inside::of(std::process::id());
        let machine = Machine::now();
        let now = Instant::now();
        let [ports, resources, summary] = &mut self.due;
        if *ports <= now {
            *ports = now + self.looks.ports;
            let line = lines::ports(&found, &self.looks.published);
            self.warnings += u64::from(line.is_warning());
            self.files.add(PORTS, &line);
        }
        if *resources <= now {
            *resources = now + self.looks.resources;
            self.snapshots += 1;
            self.files.add(
                RESOURCES,
                &lines::resources(&found, machine, &mut self.before),
            );
        }
        if *summary <= now {
            *summary = now + self.looks.summary;
            let line = lines::summary(&found, machine, self.warnings, self.snapshots);
            (self.warnings, self.snapshots) = (0, 0);
            self.files.add(SUMMARY, &line);
        }
        let next = self.due.iter().min().copied().unwrap_or(now);
        next.saturating_duration_since(Instant::now())
    }
}

/// The files of one run.
#[derive(Clone, Debug)]
struct Files {
    directory: PathBuf,
    run: String,
}

impl Files {
    fn of(record: &Path) -> Self {
        let directory = record.parent().unwrap_or(Path::new("")).join(DIRECTORY);
        let run = record
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self { directory, run }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{}.{name}", self.run))
    }

    fn add(&self, name: &str, line: &impl Serialize) {
        // Nobody is told: these lines are no part of the record, and a full disk is told where it counts.
        self.try_add(name, line).ok();
    }

    fn try_add(&self, name: &str, line: &impl Serialize) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        let path = self.path(name);
        if path
            .metadata()
            .is_ok_and(|found| found.len() >= FILE_MAX_BYTES)
        {
            fs::rename(&path, self.path(&format!("{name}.1")))?;
        }
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())
    }

    fn last(&self, name: &str) -> Option<Value> {
        let mut file = File::open(self.path(name)).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LINE_MAX_BYTES)))
            .ok()?;
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        serde_json::from_str(text.lines().last()?).ok()
    }
}

/// The newest of each, for `ocs status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Newest {
    /// The last look at the ports.
    pub(crate) ports: Option<Value>,
    /// The last look at processes and memory.
    pub(crate) resources: Option<Value>,
    /// The last sum.
    pub(crate) summary: Option<Value>,
}

impl Newest {
    /// Those of the run whose record this is.
    pub(crate) fn of(record: &Path) -> Self {
        let files = Files::of(record);
        Self {
            ports: files.last(PORTS),
            resources: files.last(RESOURCES),
            summary: files.last(SUMMARY),
        }
    }

    /// The same for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(seen) = &self.resources {
            let of = |key: &str| seen.get(key).cloned().unwrap_or_default();
            let (used, count) = (of("mem_used_pct"), of("process_count"));
            lines.push(format!(
                "machine  {used} % of its memory in use; {count} processes in the box"
            ));
        }
        let ports = self
            .ports
            .as_ref()
            .and_then(|seen| seen.get("unexpected")?.as_array());
        for port in ports.into_iter().flatten() {
            let of = |key: &str| {
                port.get(key)
                    .and_then(Value::as_str)
                    .unwrap_or("nobody seen")
            };
            lines.push(format!(
                "listens  {}, held by {}",
                of("address"),
                of("process")
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_line_of_each_is_read_back_and_large_files_are_put_aside() {
        let keep = tempfile::tempdir().unwrap();
        let record = keep.path().join("r1.jsonl");
        let files = Files::of(&record);
        files.try_add(PORTS, &serde_json::json!({"n": 1})).unwrap();
        files.try_add(PORTS, &serde_json::json!({"n": 2})).unwrap();
        assert_eq!(Newest::of(&record).ports, Some(serde_json::json!({"n": 2})));
        assert_eq!(Newest::of(&record).summary, None);
        File::options()
            .write(true)
            .open(files.path(PORTS))
            .unwrap()
            .set_len(FILE_MAX_BYTES)
            .unwrap();
        files.try_add(PORTS, &serde_json::json!({"n": 3})).unwrap();
        assert_eq!(
            fs::read_to_string(files.path(PORTS)).unwrap(),
            "{\"n\":3}\n"
        );
        assert_eq!(
            files.path("portscan.jsonl.1").metadata().unwrap().len(),
            FILE_MAX_BYTES
        );
    }

    #[test]
    fn a_run_that_is_over_at_once_leaves_no_line() {
        let keep = tempfile::tempdir().unwrap();
        let record = keep.path().join("r1.jsonl");
        let world = World::of(
            Path::new("/"),
            Path::new("/h"),
            vec![("PORTSCAN_INTERVAL", "0"), ("AUTOLOG_INTERVAL", "7")],
        );
        let looks = Looks::of(Vec::new(), &world);
        assert_eq!(
            (
                looks.ports.as_secs(),
                looks.resources.as_secs(),
                looks.summary.as_secs()
            ),
            (300, 60, 7)
        );
        drop(Monitor::begin(&record, looks));
        assert!(!keep.path().join(DIRECTORY).exists());
    }
}
