//! `ocs audit report`: where the agent went and what was refused, one row per destination. The counting is `tally`'s.
use std::collections::BTreeMap;

use policies::audit::{Event, Timestamp};
use serde::Serialize;

use crate::cli::ReportArgs;
use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::world::World;

use super::filter::Filter;
use super::many::{Many, many};
use super::tally::{Entry, Key, Others, Tally};
use super::{record, table};

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
    /// Entries by which more names were reached than a project needs: an alert.
    many_names: Vec<Many>,
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
    let unread = record::each(&args.files, world, |record| {
        // The end of a request counts where its beginning did; it has no host of its own.
        if matches!(record.event, Event::Close(_)) || filter.takes(&record) {
            tally.add(&record);
        }
        Ok(())
    })?;
    if args.json {
        console.document(&document(&tally, unread.lines))?;
    } else {
        table::show(&tally, console)?;
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
        many_names: many(tally),
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
