//! The processes of ours that do the work: `ocs task` and its siblings, each attended by a thread of its own that lives as
//! long as it does, so that the kernel ends them all with us.
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::oneshot;

use crate::cli::McpArgs;
use crate::engine::spawn;
use crate::project::Project;
use crate::world::World;

/// More is not what a command of ours prints.
const OUTPUT_MAX_BYTES: u64 = 64 << 20;

/// What runs now, and how more is started.
pub(super) struct Jobs {
    ocs: PathBuf,
    directory: PathBuf,
    config: Option<PathBuf>,
    engine: String,
    mode: Option<String>,
    /// By number; a child stands here until it was waited for, so that its process's number is its own.
    running: Arc<Mutex<HashMap<u64, Slot>>>,
    next: AtomicU64,
}

/// A command's place in the list, from before it is started.
#[derive(Debug, Default)]
struct Slot {
    child: Option<Child>,
    /// It is to end, started or not.
    over: bool,
}

/// How a command of ours ended.
#[derive(Debug)]
pub(super) struct Done {
    /// What it printed.
    pub(super) output: Vec<u8>,
    /// Its code; none where a signal ended it.
    pub(super) code: Option<i32>,
}

/// A command that runs. Dropped, it is asked to end: nobody waits for it any longer.
pub(super) struct Job {
    number: u64,
    done: oneshot::Receiver<io::Result<Done>>,
    running: Arc<Mutex<HashMap<u64, Slot>>>,
}

impl Jobs {
    pub(super) fn new(args: &McpArgs, world: &World, project: &Project) -> Self {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned())
        };
        Self {
            ocs: world.exe.clone(),
            directory: project.root().to_owned(),
            config: args
                .sandbox
                .config
                .as_ref()
                .map(|config| world.cwd.join(config)),
            engine: name(args.sandbox.fence.engine.to_possible_value()).unwrap_or_default(),
            mode: args
                .sandbox
                .fence
                .mode
                .and_then(|mode| name(mode.to_possible_value())),
            running: Arc::default(),
            next: AtomicU64::new(0),
        }
    }

    /// `ocs task - ARGUMENTS..`, with this text.
    pub(super) fn task(&self, text: String, arguments: &[String]) -> Job {
        let mut words = self.words("task", self.mode.as_deref());
        words.extend(arguments.iter().map(OsString::from));
        words.push("-".into());
        self.start(words, text.into_bytes())
    }

    /// A command in a box without any network.
    pub(super) fn offline(&self, command: &[&str]) -> Job {
        let mut words = self.words("run", Some("none"));
        words.push("--".into());
        words.extend(command.iter().map(OsString::from));
        self.start(words, Vec::new())
    }

    /// A command of ours that starts nothing.
    pub(super) fn ours(&self, arguments: &[String]) -> Job {
        self.start(arguments.iter().map(OsString::from).collect(), Vec::new())
    }

    fn words(&self, command: &str, mode: Option<&str>) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            vec![command.into(), "--engine".into(), (&self.engine).into()];
        if let Some(mode) = mode {
            words.extend(["--mode".into(), mode.into()]);
        }
        if let Some(config) = &self.config {
            words.extend(["--config".into(), config.into()]);
        }
        words
    }

    fn start(&self, words: Vec<OsString>, input: Vec<u8>) -> Job {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, done) = oneshot::channel();
        lock(&self.running).insert(number, Slot::default());
        let (ocs, directory, running) = (
            self.ocs.clone(),
            self.directory.clone(),
            Arc::clone(&self.running),
        );
        std::thread::spawn(move || {
            let ended = attend(number, (&ocs, &directory), &words, &input, &running);
            lock(&running).remove(&number);
            drop(tell.send(ended)); // nobody may wait any longer
        });
        Job {
            number,
            done,
            running: Arc::clone(&self.running),
        }
    }

    /// Asks everything to end, and waits for it.
    pub(super) fn end_all(&self) {
        let numbers: Vec<u64> = lock(&self.running).keys().copied().collect();
        for number in numbers {
            ask(&self.running, number);
        }
        while !lock(&self.running).is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Job {
    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Waits for its end.
    pub(super) async fn done(&mut self) -> io::Result<Done> {
        match (&mut self.done).await {
            Ok(ended) => ended,
            Err(_) => Err(io::Error::other("nobody attends it")),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        ask(&self.running, self.number);
    }
}

impl Jobs {
    /// Asks one to end; whether it runs.
    pub(super) fn ask(&self, number: u64) -> bool {
        ask(&self.running, number)
    }
}

/// Starts one and stays until it was waited for.
fn attend(
    number: u64,
    (ocs, directory): (&Path, &Path),
    words: &[OsString],
    input: &[u8],
    running: &Mutex<HashMap<u64, Slot>>,
) -> io::Result<Done> {
    let gone = || io::Error::other("it was ended before it began");
    let (stdin, stdout) = {
        let mut list = lock(running);
        let slot = list
            .get_mut(&number)
            .filter(|slot| !slot.over)
            .ok_or_else(gone)?;
        let child = slot.child.insert(spawn::sibling(ocs, words, directory)?);
        (child.stdin.take(), child.stdout.take())
    };
    if let Some(mut stdin) = stdin {
        // It reads all of it before it does anything; where it does not, it ends, and its end is the news.
        stdin.write_all(input).ok();
    }
    let mut output = Vec::new();
    let read = match stdout {
        Some(stdout) => stdout.take(OUTPUT_MAX_BYTES).read_to_end(&mut output),
        None => Ok(0),
    };
    // Its stdout is closed, so it is at its end. The list is not held while it is waited for: others may be asked to end.
    loop {
        let mut list = lock(running);
        let child = list.get_mut(&number).and_then(|slot| slot.child.as_mut());
        if let Some(status) = child.ok_or_else(gone)?.try_wait()? {
            let code = status.code();
            return read.map(|_| Done { output, code });
        }
        drop(list);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks one to end; whether there is one.
fn ask(running: &Mutex<HashMap<u64, Slot>>, number: u64) -> bool {
    let mut list = lock(running);
    let Some(slot) = list.get_mut(&number) else {
        return false;
    };
    slot.over = true;
    let child = slot
        .child
        .as_ref()
        .and_then(|child| i32::try_from(child.id()).ok());
    if let Some(child) = child {
        // It was not waited for yet, so the number is still its own; it may have ended, which is as good.
        kill(Pid::from_raw(child), Signal::SIGTERM).ok();
    }
    true
}

fn lock(running: &Mutex<HashMap<u64, Slot>>) -> MutexGuard<'_, HashMap<u64, Slot>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
