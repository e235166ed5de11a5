//! Standard input of a holder that waits at a path: the spec first, and then, where it was asked to, the starter's life.
//!
//! Not here: what the spec says (`spec`).
//!
//! Clauses: N10.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Life;
use super::connection::MESSAGE_MAX;

/// An input that nobody writes to any longer, and that ends when the starter is gone.
#[derive(Debug)]
pub(super) struct Leash(File);

impl Leash {
    /// Whether the starter is gone, once there is something to read.
    pub(super) fn let_go(&self) -> bool {
        let mut ignored = [0; 256];
        !matches!((&self.0).read(&mut ignored), Ok(1..))
    }
}

impl AsFd for Leash {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The spec's text: all of the input, or its first line, and then the rest of it is the leash.
pub(super) fn spec(stdin: OwnedFd, life: Life) -> io::Result<(Vec<u8>, Option<Leash>)> {
    let input = File::from(stdin);
    let mut json = Vec::new();
    match life {
        Life::Connection => {
            input.take(MESSAGE_MAX as u64).read_to_end(&mut json)?;
            Ok((json, None))
        }
        Life::Stdin => {
            // What is read beyond the line is nothing that anybody wants.
            let mut line = BufReader::new(&input).take(MESSAGE_MAX as u64);
            line.read_until(b'\n', &mut json)?;
            if json.pop() == Some(b'\n') {
                return Ok((json, Some(Leash(input))));
            }
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}
