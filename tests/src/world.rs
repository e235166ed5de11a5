//! A world for one test: a host to run on, an internet that ends in a namespace, and the readings of both.
//!
//! Responsible for: ordering the world (`inside/` makes it), running programs in it as root or as an ordinary user.
//! Not for: judging. Nothing that runs in a world can reach a machine: `inside/links.rs` says why.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::order::Order;
use crate::run::{Finished, Output, Running};
use crate::spec::{Answers, Ask, Census, Process, Program, Readings, Reply};
use crate::{binaries, certificates, command};

/// The ordinary user of every world; it exists nowhere else.
pub(crate) const ORDINARY_ID: u32 = 61_000;

/// How long a world may take for an answer of its own, or for processes to go after their run.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who runs a program in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// A user with no privilege, named `alice`.
    Ordinary,
    /// Uid 0: the machine's own where the suite was started by root, else root of a user namespace.
    Root,
}

impl As {
    /// The name of its account in the world.
    #[must_use]
    pub fn account(self) -> &'static str {
        match self {
            Self::Ordinary => "alice",
            Self::Root => "root",
        }
    }

    /// Its home directory, as it is seen in the world.
    #[must_use]
    pub fn home(self) -> PathBuf {
        Path::new("/home").join(self.account())
    }
}

/// A running world. Dropping it ends every process in it and removes every file.
#[derive(Debug)]
pub struct World {
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    starter: Child,
    pid: i32,
    directory: TempDir,
    own_user_namespace: bool,
}

impl World {
    /// A world as `order` wants it.
    ///
    /// # Errors
    /// A program that it needs is missing, or the kernel refuses a namespace.
    pub fn new(order: &Order) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("ocs-world-")
            .tempdir()
            .context("make the world's directory")?;
        let authority = certificates::Authority::of_this_process()?;
        let spec = order.furnish(directory.path(), authority)?;
        let own_user_namespace = !geteuid().is_root() || order.by_ordinary;
        let mut starter = unshare(own_user_namespace, order.by_ordinary && geteuid().is_root());
        if order.by_ordinary && geteuid().is_root() {
            give(directory.path(), ORDINARY_ID)?;
        }
        let complaints = directory.path().join("world.stderr");
        starter
            .arg(binaries::ours()?.join("world"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        starter.stderr(fs::File::create(&complaints).context("make the world's log")?);
        let mut starter = starter
            .spawn()
            .context("start unshare (package util-linux)")?;
        let (Some(stdin), Some(stdout)) = (starter.stdin.take(), starter.stdout.take()) else {
            bail!("the world has no pipes");
        };
        let mut talk = (stdin, BufReader::new(stdout));
        let made = exchange(&mut talk, &serde_json::to_string(&spec)?);
        let pid = match made {
            Ok(Reply::Done) => only_child_of(starter.id())?,
            other => {
                drop(talk);
                let (status, said) = (starter.wait()?, fs::read_to_string(&complaints)?);
                bail!("the world was not made ({status}): {said} {other:?}");
            }
        };
        Ok(Self {
            talk: Mutex::new(talk),
            starter,
            pid,
            directory,
            own_user_namespace,
        })
    }

    /// Starts a program and does not wait for it.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(&self, who: As, call: Call<'_>) -> Result<Running> {
        let mut command = self.command(who, &call);
        let shown = call.words.join(" ");
        command.stdin(if call.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let (out, err) = (Output::new()?, Output::new()?);
        command.stdout(out.writer()?).stderr(err.writer()?);
        let begun = Instant::now();
        let mut child = command.spawn().with_context(|| format!("start {shown}"))?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), call.input) {
            stdin
                .write_all(input.as_bytes())
                .with_context(|| format!("feed {shown}"))?;
        }
        Ok(Running::new(child, shown, begun, [out, err]))
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// It could not be started.
    pub fn run(&self, who: As, call: Call<'_>) -> Result<Finished> {
        self.start(who, call)?.wait()
    }

    fn command(&self, who: As, call: &Call<'_>) -> Command {
        let mut command = command::new("nsenter");
        command.args([
            "--target",
            &self.pid.to_string(),
            "--mount",
            "--net",
            "--pid",
        ]);
        if self.own_user_namespace {
            command.arg("--user");
        }
        command.args(identity(who, self.own_user_namespace));
        let directory = call.directory.map_or_else(|| who.home(), Path::to_owned);
        command.arg("env").arg("-C").arg(directory);
        command.args([
            "timeout",
            "--foreground",
            "--kill-after=5",
            &call.seconds.to_string(),
        ]);
        command.args(call.words);
        command
            .env("HOME", who.home())
            .env("USER", who.account())
            .env("LOGNAME", who.account());
        command.env("PATH", format!("/home/bin:{}", command::PATH));
        command.envs(call.environment.iter().copied());
        command
    }

    /// A path of the world below `/home`, as it is reached from outside.
    #[must_use]
    pub fn outside(&self, path: &Path) -> PathBuf {
        let relative = path.strip_prefix("/").unwrap_or(path);
        self.directory.path().join(relative)
    }

    /// Writes a file below somebody's home, owned by them.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, who: As, path: &Path, content: &str) -> Result<()> {
        let outside = self.outside(path);
        let parent = outside.parent().context("a file needs a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        fs::write(&outside, content).with_context(|| format!("write {}", outside.display()))?;
        self.own(who, path)
    }

    /// Gives a path and the directories between it and the home to their user.
    fn own(&self, who: As, path: &Path) -> Result<()> {
        if who == As::Root || self.own_user_namespace {
            return Ok(());
        }
        let home = who.home();
        for step in path.ancestors().take_while(|step| step.starts_with(&home)) {
            let outside = self.outside(step);
            chown(&outside, Some(ORDINARY_ID), Some(ORDINARY_ID))
                .with_context(|| format!("own {}", outside.display()))?;
        }
        Ok(())
    }

    /// Files of every record below somebody's home, oldest first, as reached from outside.
    ///
    /// # Errors
    /// A directory that cannot be listed.
    pub fn record_files(&self, who: As) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for sandbox in list(&self.outside(&who.home().join(".opencode-sandbox")))? {
            files.extend(list(&sandbox.join("audit"))?);
        }
        files.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        });
        // By when they were written last: the names of runs of the same second are in no order.
        files.sort_by_key(|path| {
            fs::metadata(path)
                .and_then(|metadata| metadata.modified())
                .ok()
        });
        Ok(files)
    }

    /// All that reached the internet or the host's ports so far.
    ///
    /// # Errors
    /// The world does not answer.
    pub fn readings(&self) -> Result<Readings> {
        let Reply::Readings(readings) = self.ask(&Ask::Readings)? else {
            bail!("no readings came")
        };
        Ok(readings)
    }

    /// What runs and is mounted now.
    ///
    /// # Errors
    /// The world does not answer.
    pub fn census(&self) -> Result<Census> {
        let Reply::Census(census) = self.ask(&Ask::Census)? else {
            bail!("no census came")
        };
        Ok(census)
    }

    /// Starts an origin that is a program of its own, and waits until it listens on `port`.
    ///
    /// # Errors
    /// It does not.
    pub fn serve(&self, who: As, port: u16, words: &[&str]) -> Result<()> {
        let words = identity(who, self.own_user_namespace)
            .into_iter()
            .chain(words.iter().map(|word| (*word).to_owned()))
            .collect();
        self.done(&Ask::Serve(Program { words, port }))
    }

    /// Changes what the resolver says about a name.
    ///
    /// # Errors
    /// The world does not answer.
    pub fn answer(&self, name: &str, answers: Answers) -> Result<()> {
        self.done(&Ask::Answer(name.to_owned(), answers))
    }

    /// Forgets what was read so far.
    ///
    /// # Errors
    /// The world does not answer.
    pub fn forget(&self) -> Result<()> {
        self.done(&Ask::Forget)
    }

    /// Waits until `wanted` holds of the census, and gives the last one whether it does or not.
    ///
    /// # Errors
    /// The world does not answer.
    pub fn settle(&self, wanted: impl Fn(&Census) -> bool) -> Result<Census> {
        let begun = Instant::now();
        loop {
            let census = self.census()?;
            if wanted(&census) || begun.elapsed() > PATIENCE {
                return Ok(census);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the one process whose command line satisfies `wanted`.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn find(&self, wanted: impl Fn(&Process) -> bool) -> Result<Process> {
        let census = self.settle(|census| {
            census
                .processes
                .iter()
                .filter(|process| wanted(process))
                .count()
                == 1
        })?;
        let mut found: Vec<_> = census
            .processes
            .iter()
            .filter(|process| wanted(process))
            .cloned()
            .collect();
        match (found.pop(), found.is_empty()) {
            (Some(process), true) => Ok(process),
            _ => bail!("no single such process among {:#?}", census.processes),
        }
    }

    /// Sends a signal to a process of the world, as its root.
    ///
    /// # Errors
    /// There is no such process.
    pub fn signal(&self, pid: i32, signal: &str) -> Result<()> {
        let words = ["kill", "-s", signal, &pid.to_string()];
        self.run(As::Root, Call::new(&words))?.succeeded().map(drop)
    }

    fn done(&self, ask: &Ask) -> Result<()> {
        let Reply::Done = self.ask(ask)? else {
            bail!("{ask:?} was not done")
        };
        Ok(())
    }

    fn ask(&self, ask: &Ask) -> Result<Reply> {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        match exchange(&mut talk, &serde_json::to_string(ask)?)? {
            Reply::Failed(error) => bail!("the world could not: {error}"),
            reply @ (Reply::Census(_) | Reply::Done | Reply::Readings(_)) => Ok(reply),
        }
    }
}

impl Drop for World {
    /// A failing test shows what the world saw; then the world ends with all that is in it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        drop(self.starter.kill()); // --kill-child takes the world along; it may be gone already
        drop(self.starter.wait());
    }
}

impl World {
    #[expect(
        clippy::print_stderr,
        reason = "a failing test must show what the world saw"
    )]
    fn tell(&self) {
        eprintln!("readings: {:#?}", self.readings());
        for who in [As::Root, As::Ordinary] {
            let newest = self
                .record_files(who)
                .ok()
                .and_then(|mut files| files.pop());
            let text = newest
                .and_then(|path| fs::read_to_string(path).ok())
                .unwrap_or_default();
            eprintln!("newest record of {}:\n{text}", who.account());
        }
        eprintln!("census: {:#?}", self.census());
    }
}

/// A program to run in a world.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    words: &'a [&'a str],
    directory: Option<&'a Path>,
    environment: &'a [(&'a str, &'a str)],
    input: Option<&'a str>,
    seconds: u32,
}

impl<'a> Call<'a> {
    /// In the user's home, with nothing on stdin.
    #[must_use]
    pub fn new(words: &'a [&'a str]) -> Self {
        Self {
            words,
            directory: None,
            environment: &[],
            input: None,
            seconds: 60,
        }
    }

    /// In this directory of the world.
    #[must_use]
    pub fn within(self, directory: &'a Path) -> Self {
        Self {
            directory: Some(directory),
            ..self
        }
    }

    /// With these variables besides the few that every call has.
    #[must_use]
    pub fn with(self, environment: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            environment,
            ..self
        }
    }

    /// With this on stdin.
    #[must_use]
    pub fn fed(self, input: &'a str) -> Self {
        Self {
            input: Some(input),
            ..self
        }
    }

    /// Killed after so long instead of a minute.
    #[must_use]
    pub fn for_seconds(self, seconds: u32) -> Self {
        Self { seconds, ..self }
    }
}

/// The words before a command that make it somebody's.
fn identity(who: As, own_user_namespace: bool) -> Vec<String> {
    let id = ORDINARY_ID.to_string();
    let words: &[&str] = match (who, own_user_namespace) {
        (As::Root, _) => &[],
        (As::Ordinary, false) => &[
            "setpriv",
            "--reuid",
            &id,
            "--regid",
            &id,
            "--clear-groups",
            "--",
        ],
        (As::Ordinary, true) => &[
            "unshare",
            "--user",
            "--map-user",
            &id,
            "--map-group",
            &id,
            "--",
        ],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn unshare(own_user_namespace: bool, drop_root: bool) -> Command {
    let id = ORDINARY_ID.to_string();
    let mut command = if drop_root {
        let mut command = command::new("setpriv");
        command.args([
            "--reuid",
            &id,
            "--regid",
            &id,
            "--clear-groups",
            "--",
            "unshare",
        ]);
        command
    } else {
        command::new("unshare")
    };
    if own_user_namespace {
        command.args(["--user", "--map-root-user"]);
    }
    command.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=SIGKILL",
        "--mount-proc",
        "--",
    ]);
    command
}

fn exchange(talk: &mut (ChildStdin, BufReader<ChildStdout>), line: &str) -> Result<Reply> {
    let (stdin, stdout) = talk;
    writeln!(stdin, "{line}")
        .and_then(|()| stdin.flush())
        .context("speak to the world")?;
    let mut reply = String::new();
    stdout
        .read_line(&mut reply)
        .context("hear from the world")?;
    serde_json::from_str(&reply).with_context(|| format!("the world said {reply:?}"))
}

/// The world is the one child of `unshare --fork`.
fn only_child_of(parent: u32) -> Result<i32> {
    for entry in fs::read_dir("/proc").context("list /proc")? {
        let path = entry.context("list /proc")?.path();
        let Ok(stat) = fs::read_to_string(path.join("stat")) else {
            continue;
        };
        let Some((_, after)) = stat.rsplit_once(')') else {
            continue;
        };
        if after
            .split_whitespace()
            .nth(1)
            .and_then(|ppid| ppid.parse().ok())
            == Some(parent)
        {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            return name.parse().context("read a process id");
        }
    }
    bail!("unshare has no child")
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let entries =
        fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn give(path: &Path, id: u32) -> Result<()> {
    chown(path, Some(id), Some(id)).with_context(|| format!("own {}", path.display()))?;
    if path.is_dir() && !path.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("open a directory")?;
        for below in list(path)? {
            give(&below, id)?;
        }
    }
    Ok(())
}
