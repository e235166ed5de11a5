//! `ocs audit follow`: events as they are written, of several sandboxes at once, until interrupted. Looks again and again:
//! a record is an ordinary file, perhaps on a file system that tells nobody what changes.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use policies::audit::{Packing, Part, Record};

use crate::cli::FollowArgs;
use crate::console::{Console, escaped};
use crate::exit::{Exit, Failure};
use crate::project::{Project, STATE_ROOT};
use crate::world::World;

use super::collector::Collector;
use super::filter::Filter;
use super::{query, records};

/// How often records are looked at: soon enough for people, and nothing to a machine.
const PAUSE: Duration = Duration::from_millis(250);
/// As much of one record as is read in one go; the rest waits for the next.
const STEP_BYTES: u64 = 4 << 20;

/// Runs `ocs audit follow`.
///
/// # Errors
/// There is no such sandbox, a filter is none, or stdout cannot be written to.
pub(super) fn run(
    args: &FollowArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let filter = Filter::new(&args.filter, world)?;
    let mut follower = Follower::new(directories(args, world)?, Begin::AtTheEnd);
    let mut collector = args.otlp.as_deref().map(Collector::new);
    loop {
        for line in follower.step() {
            if let Ok(record) = Record::parse(&line) {
                if let Some(collector) = collector.as_mut().filter(|_| filter.takes(&record)) {
                    collector.add(&record, console);
                    continue;
                }
                show(&record, &line, &filter, args, console)?;
            }
        }
        if let Some(collector) = &mut collector {
            collector.send(console);
        }
        console.flush()?;
        std::thread::sleep(PAUSE);
    }
}

fn show(
    record: &Record,
    line: &[u8],
    filter: &Filter,
    args: &FollowArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if !filter.takes(record) {
        return Ok(());
    }
    if args.json {
        console.bytes(line)?;
        return console.bytes(b"\n");
    }
    if !query::is_shown(record, filter) {
        return Ok(());
    }
    if args.all || args.sandboxes.len() > 1 {
        console.bytes(format!("{} ", escaped(&record.sandbox)).as_bytes())?;
    }
    query::show(record, console)
}

/// Where the records of the sandboxes asked for lie. With `--all` it is every sandbox there is now, or comes later.
fn directories(args: &FollowArgs, world: &World) -> Result<Sandboxes, Failure> {
    if !args.all && args.sandboxes.is_empty() {
        return Ok(Sandboxes::These(vec![
            Project::find(None, world)?.state().audit(),
        ]));
    }
    let home = world
        .home
        .as_deref()
        .ok_or_else(|| Failure::usage("this user has no home directory"))?;
    let root = home.join(STATE_ROOT);
    if args.all {
        return Ok(Sandboxes::AllIn(root));
    }
    let find = |id: &String| {
        // An id is one part of a path: what leads elsewhere is none.
        let is_id = Path::new(id).components().count() == 1 && !id.starts_with('.');
        let state = root.join(id);
        if is_id && state.is_dir() {
            Ok(state.join("audit"))
        } else {
            Err(
                Failure::usage(format!("there is no sandbox `{}`", escaped(id)))
                    .next(format!("ls {}", root.display())),
            )
        }
    };
    args.sandboxes
        .iter()
        .map(find)
        .collect::<Result<_, _>>()
        .map(Sandboxes::These)
}

enum Sandboxes {
    AllIn(PathBuf),
    These(Vec<PathBuf>),
}

impl Sandboxes {
    fn files(&self) -> Vec<PathBuf> {
        let mut directories = match self {
            Self::These(directories) => directories.clone(),
            Self::AllIn(root) => {
                let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
                entries.map(|entry| entry.path().join("audit")).collect()
            }
        };
        directories.sort();
        // What is not there yet may come.
        let files = directories
            .iter()
            .flat_map(|directory| records::files_in(directory).unwrap_or_default());
        // Lines that somebody packed were told when they were written.
        files.filter(|path| !is_packed(path)).collect()
    }
}

fn is_packed(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Part::parse(&name).packing != Packing::Plain
}

/// Where reading begins in a record that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    AtTheEnd,
    #[cfg(test)]
    AtTheStart,
}

/// How far each file was read. A file is known by its inode: rotation gives it another name, and another file its own.
struct Follower {
    sandboxes: Sandboxes,
    tails: BTreeMap<Inode, Tail>,
}

/// Device and number.
type Inode = (u64, u64);

#[derive(Debug, Default)]
struct Tail {
    read: u64,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl Follower {
    fn new(sandboxes: Sandboxes, begin: Begin) -> Self {
        let tail = |path: PathBuf| {
            let found = path.metadata().ok()?;
            let read = if begin == Begin::AtTheEnd {
                found.len()
            } else {
                0
            };
            let partial = Vec::new();
            Some(((found.dev(), found.ino()), Tail { read, partial }))
        };
        let tails = sandboxes.files().into_iter().filter_map(tail).collect();
        Self { sandboxes, tails }
    }

    /// The lines that were written since the last step, record by record. A record that came new is read from its start.
    fn step(&mut self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for path in self.sandboxes.files() {
            // A record that cannot be read now may be readable in the next step.
            self.read(&path, &mut lines).ok();
        }
        lines
    }

    fn read(&mut self, path: &Path, lines: &mut Vec<Vec<u8>>) -> io::Result<()> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        let tail = self.tails.entry((found.dev(), found.ino())).or_default();
        tail.step(file, found.len(), lines)
    }
}

impl Tail {
    fn step(&mut self, mut file: File, length: u64, lines: &mut Vec<Vec<u8>>) -> io::Result<()> {
        if length < self.read {
            // Somebody emptied it.
            *self = Self::default();
        }
        if length == self.read {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        let count = file.take(STEP_BYTES).read_to_end(&mut bytes)?;
        self.read += count as u64;
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            self.partial.extend_from_slice(part);
            if parts.peek().is_some() {
                lines.push(std::mem::take(&mut self.partial));
            }
        }
        if u64::try_from(self.partial.len()).unwrap_or(u64::MAX) > STEP_BYTES {
            self.partial = Vec::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{OpenOptions, create_dir_all, write};
    use std::io::Write;

    use super::*;

    fn append(path: &Path, text: &str) {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    fn step(follower: &mut Follower) -> Vec<String> {
        follower
            .step()
            .into_iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect()
    }

    #[test]
    fn whole_lines_come_once_as_they_are_written() {
        let keep = tempfile::tempdir().unwrap();
        let record = keep.path().join("1.jsonl");
        write(&record, "old\n").unwrap();
        let mut follower = Follower::new(
            Sandboxes::These(vec![keep.path().to_owned()]),
            Begin::AtTheEnd,
        );
        assert_eq!(step(&mut follower), Vec::<String>::new());
        append(&record, "a\nb");
        assert_eq!(step(&mut follower), ["a"]);
        append(&record, "c\n");
        append(&keep.path().join("2.jsonl"), "new\n");
        append(&keep.path().join("other.txt"), "no\n");
        assert_eq!(step(&mut follower), ["bc", "new"]);
        assert_eq!(step(&mut follower), Vec::<String>::new());
    }

    #[test]
    fn a_record_that_is_rotated_is_told_once_and_to_its_last_line() {
        let keep = tempfile::tempdir().unwrap();
        let record = keep.path().join("1.jsonl");
        write(&record, "one\n").unwrap();
        let mut follower = Follower::new(
            Sandboxes::These(vec![keep.path().to_owned()]),
            Begin::AtTheStart,
        );
        assert_eq!(step(&mut follower), ["one"]);
        append(&record, "two\n");
        std::fs::rename(&record, keep.path().join("1.00001.jsonl")).unwrap();
        append(&record, "three\n");
        append(&keep.path().join("0.00001.jsonl.gz"), "packed\n");
        assert_eq!(step(&mut follower), ["two", "three"]);
        assert_eq!(step(&mut follower), Vec::<String>::new());
    }

    #[test]
    fn a_record_that_was_emptied_is_read_from_its_new_start() {
        let keep = tempfile::tempdir().unwrap();
        let record = keep.path().join("1.jsonl");
        write(&record, "one\ntwo\n").unwrap();
        let mut follower = Follower::new(
            Sandboxes::These(vec![keep.path().to_owned()]),
            Begin::AtTheStart,
        );
        assert_eq!(step(&mut follower), ["one", "two"]);
        write(&record, "x\n").unwrap();
        assert_eq!(step(&mut follower), ["x"]);
    }

    #[test]
    fn every_sandbox_is_followed_even_one_that_comes_later() {
        let keep = tempfile::tempdir().unwrap();
        let mut follower = Follower::new(Sandboxes::AllIn(keep.path().to_owned()), Begin::AtTheEnd);
        for sandbox in ["a-1", "b-2"] {
            create_dir_all(keep.path().join(sandbox).join("audit")).unwrap();
            append(
                &keep.path().join(sandbox).join("audit/1.jsonl"),
                &format!("{sandbox}\n"),
            );
        }
        assert_eq!(step(&mut follower), ["a-1", "b-2"]);
    }

    #[test]
    fn sandboxes_are_named_by_id_and_nothing_else() {
        let keep = tempfile::tempdir().unwrap();
        let state = keep.path().join(STATE_ROOT);
        create_dir_all(state.join("a-1")).unwrap();
        let world = World::of(keep.path(), keep.path(), vec![]);
        let args = |sandbox: &str| FollowArgs {
            sandboxes: vec![sandbox.to_owned()],
            all: false,
            filter: crate::cli::FilterArgs::default(),
            json: false,
            otlp: None,
        };
        assert!(directories(&args("a-1"), &world).is_ok());
        for wrong in ["b-2", "../x", ".", "a-1/../a-1", "/etc"] {
            let failure = directories(&args(wrong), &world).err().unwrap();
            let expected = Failure::usage(format!("there is no sandbox `{wrong}`"));
            assert_eq!(failure, expected.next(format!("ls {}", state.display())));
        }
    }
}
