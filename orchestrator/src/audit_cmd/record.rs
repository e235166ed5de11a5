//! The events of records, one by one, whoever asks. Skips and counts the lines that are none.
use std::path::PathBuf;

use policies::audit::Record;

use crate::console::{Console, Style, escaped};
use crate::exit::Failure;
use crate::world::World;

pub(crate) use super::filter::Filter;
use super::lines::Place;
use super::records;

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
    let mut unread = Unread::default();
    for record in records::records(files, world)? {
        for place in record.places {
            each_of(&place, &mut unread, &mut take)?;
        }
    }
    Ok(unread)
}

fn each_of(
    place: &Place,
    unread: &mut Unread,
    take: &mut impl FnMut(Record, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut lines = place.lines()?;
    let (mut number, mut read, mut bad) = (0_u64, false, None);
    while let Some(line) = lines.next()? {
        number += 1;
        match Record::parse(line) {
            Ok(record) => {
                read = true;
                take(record, line)?;
            }
            Err(fault) => {
                unread.lines += 1;
                bad.get_or_insert((number, fault));
            }
        }
    }
    let Some((line, fault)) = bad else {
        return Ok(());
    };
    if !read {
        let name = place.name();
        let message =
            format!("{name} is no record: no line of it is an event; line {line}: {fault}");
        return Err(Failure::usage(message));
    }
    let at = format!("{}:{line}: {fault}", place.name());
    unread.first.get_or_insert(at);
    Ok(())
}

/// Lines that are none of a record.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// How many.
    pub(crate) lines: u64,
    /// Where the first stands, and what is wrong with it.
    first: Option<String>,
}

impl Unread {
    /// Tells people.
    pub(crate) fn tell(&self, console: &mut Console<'_>) {
        let Some(first) = &self.first else { return };
        let label = console.styled_note(Style::Warn, "warning:");
        let (lines, first) = (self.lines, escaped(first));
        match lines {
            1 => console.note(format_args!("{label} a line could not be read: {first}")),
            _ => console.note(format_args!(
                "{label} {lines} lines could not be read; the first: {first}"
            )),
        }
    }
}
