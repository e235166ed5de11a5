//! The lines of a record one by one in bounded memory, whatever their file is packed in. Judges no line.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use crate::exit::{Exit, Failure};

use super::unpack;

/// No line of a record is longer (`policies::audit` bounds every text in it); a longer one is skipped, not kept.
const LINE_MAX_BYTES: usize = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// One file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A file.
    File(PathBuf),
    /// Our own stdin.
    Stdin,
}

impl Place {
    /// What people call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "stdin".to_owned(),
        }
    }

    /// Opens it, unpacked.
    ///
    /// # Errors
    /// It is not there, or may not be read (exit 64).
    pub(super) fn open(&self) -> Result<Box<dyn Read>, Failure> {
        match self {
            Self::Stdin => Ok(unpack::reader(io::stdin())),
            Self::File(path) => {
                let failed =
                    |error| Failure::usage(format!("read {}", path.display())).because(error);
                let file = File::open(path).map_err(failed)?;
                if file.metadata().map_err(failed)?.is_dir() {
                    return Err(failed(io::ErrorKind::IsADirectory.into()));
                }
                Ok(unpack::reader(file))
            }
        }
    }

    /// Its lines.
    ///
    /// # Errors
    /// As for [`Place::open`].
    pub(super) fn lines(&self) -> Result<Lines, Failure> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, self.open()?);
        Ok(Lines {
            reader,
            line: Vec::new(),
            name: self.name(),
        })
    }
}

/// Lines one after the other, each in the same buffer.
pub(super) struct Lines {
    reader: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    name: String,
}

impl Lines {
    /// The next line without its newline; empty for one that is too long to be of a record. None at the end.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.line.clear();
        let mut begun = false;
        loop {
            let failed =
                |error| Failure::new(Exit::No, format!("read {}", self.name)).because(error);
            let bytes = self.reader.fill_buf().map_err(failed)?;
            if bytes.is_empty() {
                return Ok(begun.then_some(self.line.as_slice()));
            }
            begun = true;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            let is_kept = self.line.len() + part.len() <= LINE_MAX_BYTES;
            if is_kept {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if !is_kept {
                self.skip_rest(end.is_some())?;
                self.line.clear();
                return Ok(Some(&[]));
            }
            if end.is_some() {
                return Ok(Some(&self.line));
            }
        }
    }

    fn skip_rest(&mut self, mut is_over: bool) -> Result<(), Failure> {
        while !is_over {
            let failed =
                |error| Failure::new(Exit::No, format!("read {}", self.name)).because(error);
            let bytes = self.reader.fill_buf().map_err(failed)?;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            is_over = bytes.is_empty() || end.is_some();
            let used = end.map_or(bytes.len(), |end| end + 1);
            self.reader.consume(used);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(content: &[u8]) -> Vec<Vec<u8>> {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("x.jsonl");
        std::fs::write(&path, content).unwrap();
        let mut lines = Place::File(path).lines().unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(line.to_vec());
        }
        all
    }

    #[test]
    fn lines_come_without_their_newline_and_the_last_may_have_none() {
        assert_eq!(
            lines_of(b"a\n\nb"),
            [b"a".to_vec(), b"".to_vec(), b"b".to_vec()]
        );
        assert_eq!(lines_of(b"a\n"), [b"a".to_vec()]);
        assert_eq!(lines_of(b""), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_line_that_is_too_long_is_an_empty_one_and_the_next_is_whole() {
        let fits = vec![b'x'; LINE_MAX_BYTES];
        let long = vec![b'x'; LINE_MAX_BYTES + 1];
        for newline in [&b"\n"[..], b""] {
            assert_eq!(
                lines_of(&[b"a\n", &long[..], newline].concat()),
                [b"a".to_vec(), b"".to_vec()]
            );
        }
        let content = [&long[..], b"\n", &fits, b"\nb\n"].concat();
        assert_eq!(lines_of(&content), [b"".to_vec(), fits, b"b".to_vec()]);
    }

    #[test]
    fn a_pipe_is_read_as_it_fills() {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (ready, go) = std::sync::mpsc::channel();
        let writer = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut pipe = File::options().write(true).open(path).unwrap();
                // Nothing is written before the reader has the pipe open and waits.
                go.recv().unwrap();
                io::Write::write_all(&mut pipe, b"a\nb\n").unwrap();
            }
        });
        let mut lines = Place::File(path).lines().unwrap();
        ready.send(()).unwrap();
        assert_eq!(lines.next().unwrap(), Some(&b"a"[..]));
        assert_eq!(lines.next().unwrap(), Some(&b"b"[..]));
        assert_eq!(lines.next().unwrap(), None);
        writer.join().unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let keep = tempfile::tempdir().unwrap();
        let gone = keep.path().join("gone.jsonl");
        for path in [keep.path(), &gone] {
            let failure = Place::File(path.to_owned()).open().err().unwrap();
            assert!(
                failure
                    .to_string()
                    .starts_with(&format!("read {}: ", path.display())),
                "{failure}"
            );
            assert_eq!(failure.exit(), Exit::Usage);
        }
    }
}
