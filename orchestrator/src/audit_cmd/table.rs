//! The report of `ocs audit report` for people: a table of what was refused, a table of what went out. Counts nothing.
//! Clauses: R4 (untrusted text is escaped).
use std::fmt::Write;

use policies::audit::Timestamp;

use crate::console::{Console, Style, escaped};
use crate::exit::Failure;
use crate::world::Glyphs;

use super::many::{Many, many};
use super::tally::{Entry, Key, Others, Tally};

/// Rows of each table that people are shown; a machine gets all.
const ROWS_MAX: usize = 50;
/// The widest destination that still aligns the columns behind it.
const DESTINATION_WIDTH: usize = 44;

/// Which of the two tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Allowed,
    Refused,
}

/// Shows a tally on stdout.
///
/// # Errors
/// stdout cannot be written to.
pub(super) fn show(tally: &Tally, console: &mut Console<'_>) -> Result<(), Failure> {
    let Some((from, until)) = tally.span else {
        return console.line("nothing is on record");
    };
    let sandboxes: Vec<String> = tally
        .sandboxes
        .iter()
        .map(|sandbox| escaped(sandbox))
        .collect();
    let (sandboxes, runs) = (sandboxes.join(", "), count(tally.runs.len(), "run"));
    console.line(format_args!(
        "sandbox {sandboxes}, {runs}, {from} to {until}"
    ))?;
    let requests = tally.refused - tally.refused_queries - tally.refused_packets;
    console.line(format_args!(
        "{} requests allowed; refused: {requests} requests, {} queries, {} packets",
        tally.allowed, tally.refused_queries, tally.refused_packets
    ))?;
    Table::Refused.show(tally, console)?;
    Table::Allowed.show(tally, console)?;
    if tally.others != Others::default() {
        let Others { allowed, refused } = tally.others;
        console.line(format_args!(
            "\nto more destinations than are told apart: {allowed} allowed, {refused} refused"
        ))?;
    }
    for Many { rule, names } in many(tally) {
        let label = console.styled(Style::Warn, "alert:");
        console.line(format_args!(
            "\n{label} {names} names were reached by one entry, {}: names can carry data",
            escaped(&rule)
        ))?;
    }
    if tally.lost > 0 {
        console.line(format_args!(
            "\nthe record says of itself that it lost {}",
            count(tally.lost, "event")
        ))?;
    }
    Ok(())
}

impl Table {
    fn show(self, tally: &Tally, console: &mut Console<'_>) -> Result<(), Failure> {
        let rows = self.rows(tally);
        let shown = rows.get(..ROWS_MAX.min(rows.len())).unwrap_or_default();
        if shown.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = shown.iter().map(|(key, _)| escaped(&name(key))).collect();
        let width = names
            .iter()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or_default()
            .min(DESTINATION_WIDTH);
        let heading = console.styled(Style::Bold, self.heading(width));
        console.line(format_args!("\n{heading}"))?;
        for ((_, entry), name) in shown.iter().zip(names) {
            let (row, graph) = (self.row(entry), graph(entry, console));
            console.line(format_args!("{name:<width$}  {row}{graph}"))?;
        }
        if rows.len() > shown.len() {
            console.line(format_args!(
                "and {}; --json has all",
                count(rows.len() - shown.len(), "more destination")
            ))?;
        }
        if console.terminal().stdout {
            let hours = count(tally.hours_per_cell(), "hour");
            console.line(console.styled(Style::Dim, format!("each step of a graph is {hours}")))?;
        }
        Ok(())
    }

    /// What belongs in it: most refused first, or most bytes first.
    fn rows(self, tally: &Tally) -> Vec<(&Key, &Entry)> {
        let mut rows: Vec<(&Key, &Entry)> = tally
            .entries
            .iter()
            .filter(|(_, entry)| self.times(entry) > 0)
            .collect();
        rows.sort_by_key(|(_, entry)| {
            let bytes = entry.bytes_up.saturating_add(entry.bytes_down);
            let first = if self == Self::Allowed { bytes } else { 0 };
            std::cmp::Reverse((first, self.times(entry)))
        });
        rows
    }

    fn times(self, entry: &Entry) -> u64 {
        match self {
            Self::Allowed => entry.allowed,
            Self::Refused => entry.refused,
        }
    }

    fn heading(self, width: usize) -> String {
        let (title, bytes, why) = match self {
            Self::Allowed => (
                "allowed",
                format!("{:>9} {:>9}  ", "up", "down"),
                "rules, processes",
            ),
            Self::Refused => ("refused", String::new(), "reasons, processes"),
        };
        format!(
            "{title:<width$}  {:>8}  {bytes}{:<19}  {:<19}  {why}",
            "times", "first", "last"
        )
    }

    fn row(self, entry: &Entry) -> String {
        let reasons = || {
            entry
                .reasons
                .iter()
                .map(|(reason, count)| format!("{} {count}", reason.code()))
                .collect()
        };
        let (bytes, why): (String, Vec<String>) = match self {
            Self::Allowed => {
                let bytes = format!(
                    "{:>9} {:>9}  ",
                    amount(entry.bytes_up),
                    amount(entry.bytes_down)
                );
                (bytes, entry.rules.iter().cloned().collect())
            }
            Self::Refused => (String::new(), reasons()),
        };
        let processes = entry
            .processes
            .iter()
            .map(|exe| exe.rsplit('/').next().unwrap_or_default().to_owned());
        let why = why
            .into_iter()
            .chain(processes)
            .collect::<Vec<String>>()
            .join(", ");
        let (first, last) = (second(entry.first), second(entry.last));
        format!(
            "{:>8}  {bytes}{first}  {last}  {}",
            self.times(entry),
            escaped(&why)
        )
    }
}

fn name(key: &Key) -> String {
    let host = if key.host.contains(':') {
        format!("[{}]", key.host)
    } else {
        key.host.clone()
    };
    let destination = key
        .port
        .map_or(host.clone(), |port| format!("{host}:{port}"));
    if key.protocol == "tcp" {
        destination
    } else {
        format!("{} {destination}", key.protocol)
    }
}

/// The graph of one row, with the space before it; nothing where nobody looks.
fn graph(entry: &Entry, console: &Console<'_>) -> String {
    const BLOCKS: [char; 8] = [
        '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}',
        '\u{2588}',
    ];
    const ASCII: [char; 8] = ['.', ':', '-', '=', '+', '*', '#', '@'];
    if !console.terminal().stdout {
        return String::new();
    }
    let ramp = if console.terminal().glyphs == Glyphs::Utf8 {
        BLOCKS
    } else {
        ASCII
    };
    let top = u64::from(entry.cells.iter().copied().max().unwrap_or_default().max(1));
    let mut graph = "  ".to_owned();
    for cell in entry.cells.map(u64::from) {
        // 0 is nothing, 1 the lowest block, the highest cell the highest one.
        let height = usize::try_from((cell * 8).div_ceil(top)).unwrap_or_default();
        let drawn = height
            .checked_sub(1)
            .and_then(|step| ramp.get(step))
            .unwrap_or(&' ');
        write!(graph, "{drawn}").ok();
    }
    graph.truncate(graph.trim_end().len());
    graph
}

/// Bytes in the unit that leaves at most three digits in front of the point.
fn amount(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TB", 1_000_000_000_000),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1_000),
    ];
    match UNITS.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} B"),
    }
}

/// A moment to the second, as people read it.
fn second(time: Timestamp) -> String {
    let text = time.to_string().replace('T', " ");
    text.get(..19).unwrap_or_default().to_owned()
}

fn count(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
