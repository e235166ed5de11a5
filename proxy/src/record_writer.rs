//! Appends whole lines to a record, and closes a file that is long or old enough as a part.
//!
//! A line is in one file or the other, never in both, and never in half: what could not be written whole is cut off
//! again. A file that cannot be closed grows on: rotation is for the reader's comfort, and loses no line for it.
//! Clauses: R2, R3

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use policies::audit::{Chain, Header};

use crate::record_file::{self, OpenError};

/// After a file could not be closed, it grows by this before that is tried again.
const TRY_AGAIN_BYTES: u64 = 1 << 20;

/// When a file of the record is closed and the next one begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Before it grows longer than this.
    pub most_bytes: u64,
    /// Before a line that comes so long after the file was opened.
    pub most_age: Duration,
}

impl Rotation {
    /// Never: for a record whose reader wants one file.
    pub const NEVER: Self = Self {
        most_bytes: u64::MAX,
        most_age: Duration::MAX,
    };
}

/// The open file of a record, and the parts that were closed and may not be on the disk yet.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: File,
    length: u64,
    rotation: Rotation,
    /// The file is closed before a line that would make it longer.
    close_at: u64,
    opened: Instant,
    parts: u32,
    closed: Vec<File>,
    dirty: bool,
    torn: bool,
}

/// A writer, the chain that its lines continue, and whether half a line was cut off.
pub(crate) struct Begun {
    pub(crate) writer: Writer,
    pub(crate) chain: Chain,
    pub(crate) torn: bool,
}

impl Writer {
    /// Opens a record, or goes on with one that is there.
    pub(crate) fn open(
        path: &Path,
        header: &Header,
        rotation: Rotation,
    ) -> Result<Begun, OpenError> {
        let opened = record_file::open(path, header)?;
        let writer = Self {
            path: path.to_owned(),
            file: opened.file,
            length: opened.length,
            rotation,
            close_at: rotation.most_bytes,
            opened: Instant::now(),
            parts: opened.parts,
            closed: Vec::new(),
            dirty: false,
            torn: false,
        };
        Ok(Begun {
            writer,
            chain: opened.chain,
            torn: opened.torn,
        })
    }

    /// Appends a line whole, or leaves the file as it was: now, or before the next line.
    pub(crate) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        let is_long = self.length.saturating_add(length) > self.close_at;
        if self.length > 0 && (is_long || self.opened.elapsed() > self.rotation.most_age) {
            self.rotate();
        }
        if self.torn {
            self.file.set_len(self.length)?;
        }
        self.torn = true;
        // A short write is a disk that just became full: the rest would fail, and half a line is no line.
        if self.file.write(line)? < line.len() {
            self.file.set_len(self.length)?;
            self.torn = false;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.torn = false;
        self.length += length;
        self.dirty = true;
        Ok(())
    }

    /// Hands out the files that hold lines which may not be on the disk yet.
    pub(crate) fn unsynced(&mut self) -> Vec<File> {
        let mut files = std::mem::take(&mut self.closed);
        if std::mem::take(&mut self.dirty) {
            files.extend(self.file.try_clone().ok());
        }
        files
    }

    /// Closes the open file as a part. If that cannot be done, it stays open.
    fn rotate(&mut self) {
        // Half a line in a closed part would be torn for ever.
        let whole = !self.torn || self.file.set_len(self.length).is_ok();
        let next = whole.then(|| record_file::rotate(&self.path, self.parts + 1));
        let Some(Ok(next)) = next else {
            self.close_at = self.length.saturating_add(TRY_AGAIN_BYTES);
            self.opened = Instant::now();
            return;
        };
        self.closed.push(std::mem::replace(&mut self.file, next));
        self.parts += 1;
        self.length = 0;
        self.torn = false;
        self.close_at = self.rotation.most_bytes;
        self.opened = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use policies::audit::{CloseEvent, Event, Outcome, Timestamp, Verifier};

    use super::*;

    fn header() -> Header {
        Header {
            sandbox: "box".to_owned(),
            run: "run".to_owned(),
        }
    }

    fn event(id: u64) -> Event {
        Event::Close(CloseEvent {
            id,
            outcome: Outcome::Done,
            bytes_up: 1,
            bytes_down: 2,
            duration_ms: 3,
        })
    }

    fn write(begun: &mut Begun, lines: u64) {
        for _ in 0..lines {
            let id = begun.chain.seq() + 1;
            let line = begun
                .chain
                .line(Timestamp::from_unix_millis(id), &event(id));
            begun.writer.append(line).unwrap();
        }
    }

    fn files(directory: &Path) -> Vec<String> {
        let name =
            |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(directory).unwrap().map(name).collect();
        names.sort();
        names
    }

    /// The lines of all files, in the order of their names, as one record.
    fn verified(directory: &Path) -> u64 {
        let mut verifier = Verifier::new();
        for name in files(directory) {
            let bytes = fs::read(directory.join(name)).unwrap();
            assert!(bytes.is_empty() || bytes.ends_with(b"\n"));
            verifier.feed(&bytes, drop).unwrap();
        }
        verifier.finish().unwrap().lines
    }

    const SMALL: Rotation = Rotation {
        most_bytes: 1_000,
        most_age: Duration::MAX,
    };

    #[test]
    fn a_file_is_closed_before_it_grows_too_long_and_the_chain_goes_on() {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("r.jsonl");
        let mut begun = Writer::open(&path, &header(), SMALL).unwrap();
        write(&mut begun, 7);
        assert_eq!(
            files(keep.path()),
            ["r.00001.jsonl", "r.00002.jsonl", "r.jsonl"]
        );
        for name in files(keep.path()) {
            assert!(fs::metadata(keep.path().join(name)).unwrap().len() <= 1_000);
        }
        assert_eq!(verified(keep.path()), 7);
        // Two closed ones and the open one.
        assert_eq!(begun.writer.unsynced().len(), 3);
        assert_eq!(begun.writer.unsynced().len(), 0);
    }

    #[test]
    fn a_file_that_is_old_is_closed_before_the_next_line() {
        let keep = tempfile::tempdir().unwrap();
        let old = Rotation {
            most_bytes: u64::MAX,
            most_age: Duration::ZERO,
        };
        let mut begun = Writer::open(&keep.path().join("r.jsonl"), &header(), old).unwrap();
        write(&mut begun, 3);
        assert_eq!(
            files(keep.path()),
            ["r.00001.jsonl", "r.00002.jsonl", "r.jsonl"]
        );
        assert_eq!(verified(keep.path()), 3);
    }

    #[test]
    fn a_writer_that_comes_back_goes_on_behind_the_last_line_whichever_file_it_is_in() {
        // Killed after a line, between closing a part and opening the next file, and between that and its first line.
        for killed in ["after a line", "without a file", "in an empty file"] {
            let keep = tempfile::tempdir().unwrap();
            let path = keep.path().join("r.jsonl");
            let mut begun = Writer::open(&path, &header(), SMALL).unwrap();
            write(&mut begun, 4);
            drop(begun);
            if killed != "after a line" {
                fs::rename(&path, keep.path().join("r.00002.jsonl")).unwrap();
            }
            if killed == "in an empty file" {
                fs::write(&path, "").unwrap();
                fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                    .unwrap();
            }
            let mut begun = Writer::open(&path, &header(), SMALL).unwrap();
            write(&mut begun, 5);
            assert_eq!(verified(keep.path()), 9, "{killed}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_closed_grows_on_and_loses_no_line() {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("r.jsonl");
        let mut begun = Writer::open(&path, &header(), SMALL).unwrap();
        fs::create_dir(keep.path().join("r.00001.jsonl")).unwrap();
        write(&mut begun, 9);
        fs::remove_dir(keep.path().join("r.00001.jsonl")).unwrap();
        assert_eq!(files(keep.path()), ["r.jsonl"]);
        assert_eq!(verified(keep.path()), 9);
    }

    #[test]
    fn a_part_that_is_torn_or_compressed_is_not_written_behind() {
        for (name, content) in [
            ("r.00001.jsonl", "{\"v\":1,"),
            ("r.00001.jsonl.gz", "x\n"),
            ("r.00001.jsonl", ""),
        ] {
            let keep = tempfile::tempdir().unwrap();
            fs::write(keep.path().join(name), content).unwrap();
            let opened = Writer::open(&keep.path().join("r.jsonl"), &header(), SMALL);
            assert!(
                matches!(opened.err(), Some(OpenError::NotARecord)),
                "{name} {content}"
            );
        }
    }
}
