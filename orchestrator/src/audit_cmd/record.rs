//! The events of records, one by one, whoever asks. Skips and counts the lines that are none.
use std::path::PathBuf;

use policies::audit::Record;

use crate::console::{Console, Style};
use crate::exit::Failure;
use crate::world::World;

pub(crate) use super::filter::Filter;
use super::lines;

/// Calls `take` with every event of `files`, or without any of the project's own record, in order; gives the lines that are
/// no event.
///
/// # Errors
/// There is no record, one cannot be read or is none, or `take` failed.
pub(crate) fn each(
    files: &[PathBuf],
    world: &World,
    mut take: impl FnMut(Record) -> Result<(), Failure>,
) -> Result<Unread, Failure> {
    each_line(files, world, |record, _| take(record))
}

/// The same, with the very bytes of each line.
///
/// # Errors
/// As for [`each`].
pub(super) fn each_line(
    files: &[PathBuf],
    world: &World,
    mut take: impl FnMut(Record, &[u8]) -> Result<(), Failure>,
) -> Result<Unread, Failure> {
    let mut unread = Unread { lines: 0 };
    for place in lines::places(files, world)? {
        let mut lines = place.lines()?;
        let (mut read, before) = (false, unread.lines);
        while let Some(line) = lines.next()? {
            if let Ok(record) = Record::parse(line) {
                read = true;
                take(record, line)?;
            } else {
                unread.lines += 1;
            }
        }
        if !read && unread.lines > before {
            let message = format!("{} is no record: no line of it is an event", place.name());
            return Err(Failure::usage(message));
        }
    }
    Ok(unread)
}

/// Lines that are none of a record.
#[must_use]
#[derive(Debug)]
pub(crate) struct Unread {
    /// How many.
    pub(crate) lines: u64,
}

impl Unread {
    /// Tells people.
    pub(crate) fn tell(&self, console: &mut Console<'_>) {
        let label = console.styled_note(Style::Warn, "warning:");
        match self.lines {
            0 => {}
            1 => console.note(format_args!(
                "{label} one line could not be read; ocs audit verify names it"
            )),
            lines => console.note(format_args!(
                "{label} {lines} lines could not be read; ocs audit verify names the first"
            )),
        }
    }
}
