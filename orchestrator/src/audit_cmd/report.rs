//! `ocs audit report`: where the agent went and what was refused, one row per destination. The counting is `tally`'s.
use std::collections::BTreeMap;
use std::fmt::Write;

use policies::audit::{Event, Timestamp};
use serde::Serialize;

use crate::cli::ReportArgs;
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::world::{Glyphs, World};

use super::filter::Filter;
use super::lines;
use super::query::Unread;
use super::tally::{Entry, Key, Others, Tally};

/// Rows of each table that people are shown; a machine gets all.
const ROWS_MAX: usize = 50;
/// The widest destination that still aligns the columns behind it.
const DESTINATION_WIDTH: usize = 44;

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    v: u32,
    sandboxes: Vec<&'a str>,
    runs: Vec<&'a str>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    allowed: u64,
    refused: u64,
    refused_queries: u64,
    refused_packets: u64,
    /// Events that the writer of the record said it lost.
    lost: u64,
    /// Lines that could not be read.
    unread_lines: u64,
    destinations: Vec<Destination<'a>>,
    /// What came to more destinations than are told apart.
    others: Others,
}

#[derive(Serialize)]
struct Destination<'a> {
    host: &'a str,
    port: Option<u16>,
    protocol: &'a str,
    allowed: u64,
    refused: u64,
    bytes_up: u64,
    bytes_down: u64,
    first: Timestamp,
    last: Timestamp,
    reasons: BTreeMap<&'static str, u64>,
    rules: Vec<&'a str>,
    processes: Vec<&'a str>,
}

/// Runs `ocs audit report`.
///
/// # Errors
/// A filter is none, or a record cannot be read.
pub(super) fn run(
    args: &ReportArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let filter = Filter::new(&args.filter, world)?;
    let mut tally = Tally::default();
    let mut unread = Unread::default();
    for place in lines::places(&args.files, world)? {
        let mut lines = place.lines()?;
        while let Some(line) = lines.next()? {
            let Some(record) = unread.record(line) else {
                continue;
            };
            // The end of a request counts where its beginning did; it has no host of its own.
            if matches!(record.event, Event::Close(_)) || filter.takes(&record) {
                tally.add(&record);
            }
        }
    }
    if args.json {
        console.document(&document(&tally, unread.count()))?;
    } else {
        show(&tally, console)?;
        unread.tell(console);
    }
    Ok(Exit::Ok)
}

fn document(tally: &Tally, unread_lines: u64) -> Document<'_> {
    Document {
        v: 1,
        sandboxes: tally.sandboxes.iter().map(String::as_str).collect(),
        runs: tally.runs.iter().map(String::as_str).collect(),
        from: tally.span.map(|(from, _)| from),
        until: tally.span.map(|(_, until)| until),
        allowed: tally.allowed,
        refused: tally.refused,
        refused_queries: tally.refused_queries,
        refused_packets: tally.refused_packets,
        lost: tally.lost,
        unread_lines,
        destinations: tally
            .entries
            .iter()
            .map(|(key, entry)| destination(key, entry))
            .collect(),
        others: tally.others,
    }
}

fn destination<'a>(key: &'a Key, entry: &'a Entry) -> Destination<'a> {
    Destination {
        host: &key.host,
        port: key.port,
        protocol: &key.protocol,
        allowed: entry.allowed,
        refused: entry.refused,
        bytes_up: entry.bytes_up,
        bytes_down: entry.bytes_down,
        first: entry.first,
        last: entry.last,
        reasons: entry
            .reasons
            .iter()
            .map(|(reason, count)| (reason.code(), *count))
            .collect(),
        rules: entry.rules.iter().map(String::as_str).collect(),
        processes: entry.processes.iter().map(String::as_str).collect(),
    }
}

fn show(tally: &Tally, console: &mut Console<'_>) -> Result<(), Failure> {
    let Some((from, until)) = tally.span else {
        return console.line("nothing is on record");
    };
    let sandboxes: Vec<String> = tally
        .sandboxes
        .iter()
        .map(|sandbox| escaped(sandbox))
        .collect();
    console.line(format_args!(
        "sandbox {}, {}, {from} to {until}",
        sandboxes.join(", "),
        count(tally.runs.len(), "run")
    ))?;
    let requests = tally.refused - tally.refused_queries - tally.refused_packets;
    console.line(format_args!(
        "{} requests allowed; refused: {requests} requests, {} queries, {} packets",
        tally.allowed, tally.refused_queries, tally.refused_packets
    ))?;
    let mut refused: Vec<(&Key, &Entry)> = tally
        .entries
        .iter()
        .filter(|(_, entry)| entry.refused > 0)
        .collect();
    refused.sort_by(|(_, one), (_, other)| other.refused.cmp(&one.refused));
    let mut allowed: Vec<(&Key, &Entry)> = tally
        .entries
        .iter()
        .filter(|(_, entry)| entry.allowed > 0)
        .collect();
    let bytes = |entry: &Entry| entry.bytes_up.saturating_add(entry.bytes_down);
    allowed.sort_by(|(_, one), (_, other)| {
        (bytes(other), other.allowed).cmp(&(bytes(one), one.allowed))
    });
    if let [_, ..] = refused.as_slice() {
        table("refused", &refused, tally, console)?;
    }
    if let [_, ..] = allowed.as_slice() {
        table("allowed", &allowed, tally, console)?;
    }
    if tally.others != Others::default() {
        let Others { allowed, refused } = tally.others;
        console.line(format_args!(
            "\nto more destinations than are told apart: {allowed} allowed, {refused} refused"
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

fn table(
    title: &str,
    rows: &[(&Key, &Entry)],
    tally: &Tally,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let is_refused = title == "refused";
    let shown = rows.get(..ROWS_MAX.min(rows.len())).unwrap_or_default();
    let names: Vec<String> = shown.iter().map(|(key, _)| escaped(&name(key))).collect();
    let width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or_default()
        .min(DESTINATION_WIDTH);
    let bytes = if is_refused {
        String::new()
    } else {
        format!("{:>9} {:>9}  ", "up", "down")
    };
    let heading = format!(
        "{title:<width$}  {:>8}  {bytes}{:<19}  {:<19}  ",
        "times", "first", "last"
    );
    let heading = heading
        + if is_refused {
            "reasons, processes"
        } else {
            "rule, processes"
        };
    let heading = console.styled(Style::Bold, heading);
    console.line(format_args!("\n{heading}"))?;
    for ((_, entry), name) in shown.iter().zip(names) {
        let times = if is_refused {
            entry.refused
        } else {
            entry.allowed
        };
        let bytes = match is_refused {
            true => String::new(),
            false => format!(
                "{:>9} {:>9}  ",
                amount(entry.bytes_up),
                amount(entry.bytes_down)
            ),
        };
        let (first, last) = (second(entry.first), second(entry.last));
        let why = escaped(&why(entry, is_refused));
        let graph = graph(entry, console);
        console.line(format_args!(
            "{name:<width$}  {times:>8}  {bytes}{first}  {last}  {why}{graph}"
        ))?;
    }
    if rows.len() > shown.len() {
        console.line(format_args!(
            "and {}; --json has all",
            count(rows.len() - shown.len(), "more destination")
        ))?;
    }
    if console.terminal().stdout {
        let hours = tally.hours_per_cell();
        let note = console.styled(
            Style::Dim,
            format!("each step of a graph is {}", count(hours, "hour")),
        );
        console.line(note)?;
    }
    Ok(())
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

fn why(entry: &Entry, is_refused: bool) -> String {
    let reasons = entry
        .reasons
        .iter()
        .map(|(reason, count)| format!("{} {count}", reason.code()));
    let rules = entry.rules.iter().cloned();
    let processes = entry
        .processes
        .iter()
        .map(|exe| exe.rsplit('/').next().unwrap_or_default().to_owned());
    let first: Vec<String> = if is_refused {
        reasons.collect()
    } else {
        rules.collect()
    };
    first
        .into_iter()
        .chain(processes)
        .collect::<Vec<String>>()
        .join(", ")
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
