//! Reads what the agent writes to stdout while it runs: kept as a file, up to a limit, and understood as it comes.
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use crate::tools::{Events, Told};

/// No more of the stream is kept on disk; it is read and understood to its end all the same.
const KEPT_MAX_BYTES: u64 = 256 << 20;

/// A stream that is being read.
pub(super) struct Reading(JoinHandle<io::Result<Told>>);

/// Begins.
pub(super) fn read(stdout: OwnedFd, events: Events, file: File) -> Reading {
    let kept = Kept {
        stream: File::from(stdout),
        file,
        room: KEPT_MAX_BYTES,
    };
    Reading(std::thread::spawn(move || {
        events.read(&mut BufReader::with_capacity(64 << 10, kept))
    }))
}

impl Reading {
    /// Waits for the stream's end, which comes when nothing of the box lives any longer.
    pub(super) fn end(self) -> Told {
        let told = self.0.join().unwrap_or_else(|_| Ok(Told::default()));
        told.unwrap_or_else(|error| Told {
            error: Some(format!("the agent's events cannot be read: {error}")),
            ..Told::default()
        })
    }
}

/// A stream that leaves a copy.
struct Kept {
    stream: File,
    file: File,
    room: u64,
}

impl Read for Kept {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(into)?;
        let length = u64::try_from(count).unwrap_or(u64::MAX);
        if let (true, Some(read)) = (length <= self.room, into.get(..count)) {
            self.room -= length;
            // A full disk costs the copy, not the task.
            if self.file.write_all(read).is_err() {
                self.room = 0;
            }
        } else {
            self.room = 0;
        }
        Ok(count)
    }
}
