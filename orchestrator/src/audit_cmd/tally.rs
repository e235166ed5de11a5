//! What a record comes to, per destination, in bounded memory: a hostile agent can ask for as many names as it likes, and
//! cannot push out what it reached. Counts; shows nothing.
use std::collections::{BTreeMap, BTreeSet};

use policies::Reason;
use policies::audit::{Decision, Event, Process, Record, Text, Timestamp};
use serde::Serialize;

use super::own;
use super::row::Row;

/// Destinations that are told apart, of those with something allowed and of those with nothing; the rest is one number.
const DESTINATIONS_MAX: usize = 50_000;
/// Requests whose end is awaited; DESIGN's default for connections is 10,000.
const OPEN_MAX: usize = 100_000;
/// Different rules or processes that are told per destination.
const NAMED_MAX: usize = 8;
/// Runs that are told by name.
const RUNS_MAX: usize = 1_000;
/// Columns of a graph.
pub(super) const CELLS: usize = 24;
const HOUR_MS: u64 = 3_600_000;

/// What one destination is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// `tcp` for requests, `dns` for queries, the packet's protocol for packets.
    pub(super) protocol: String,
}

/// What one destination came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) allowed: u64,
    pub(super) refused: u64,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) reasons: BTreeMap<Reason, u64>,
    pub(super) rules: BTreeSet<String>,
    pub(super) processes: BTreeSet<String>,
    /// Events per cell of the scale.
    pub(super) cells: [u32; CELLS],
}

/// What is past the bounds, as numbers alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Others {
    pub(super) allowed: u64,
    pub(super) refused: u64,
}

/// Everything counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) entries: BTreeMap<Key, Entry>,
    pub(super) others: Others,
    pub(super) runs: BTreeSet<String>,
    pub(super) sandboxes: BTreeSet<String>,
    pub(super) allowed: u64,
    pub(super) refused: u64,
    /// Refused queries and packets; they are in `refused` too.
    pub(super) refused_queries: u64,
    pub(super) refused_packets: u64,
    /// Events that a writer said it lost; where it could not know how many, it counts as one.
    pub(super) lost: u64,
    pub(super) span: Option<(Timestamp, Timestamp)>,
    scale: Scale,
    open: BTreeMap<(String, u64), Key>,
    /// How many entries have something allowed.
    reached: usize,
}

impl Tally {
    /// Counts one event.
    pub(super) fn add(&mut self, record: &Record) {
        let (first, last) = self.span.unwrap_or((record.time, record.time));
        self.span = Some((first.min(record.time), last.max(record.time)));
        note(&mut self.runs, &record.run, RUNS_MAX);
        note(&mut self.sandboxes, &record.sandbox, RUNS_MAX);
        if own::is_attempt(&record.event) {
            return;
        }
        match &record.event {
            Event::Request(event) => {
                let row = Row::of(record);
                self.decided(&row);
                if event.decision == Decision::Allow {
                    if self.open.len() >= OPEN_MAX {
                        self.open.pop_first();
                    }
                    self.open.insert((record.run.clone(), event.id), key(&row));
                }
            }
            Event::Close(event) => {
                let key = self.open.remove(&(record.run.clone(), event.id));
                if let Some(entry) = key.and_then(|key| self.entries.get_mut(&key)) {
                    entry.bytes_up += event.bytes_up;
                    entry.bytes_down += event.bytes_down;
                    entry.last = entry.last.max(record.time);
                }
            }
            // An answered query is no traffic: the request that follows it is counted.
            Event::Dns(event) if event.decision == Decision::Deny => {
                self.refused_queries += event.count;
                self.decided(&Row::of(record));
            }
            Event::Packet(event) => {
                self.refused_packets += event.count;
                self.decided(&Row::of(record));
            }
            Event::Gap(event) => self.lost += event.count.unwrap_or(1),
            Event::Dns(_)
            | Event::Policy(_)
            | Event::Question(_)
            | Event::Start(_)
            | Event::Stop(_) => {}
        }
    }

    fn decided(&mut self, row: &Row<'_>) {
        let is_allowed = row.decision == Some(Decision::Allow);
        let (allowed, refused) = if is_allowed {
            (row.count, 0)
        } else {
            (0, row.count)
        };
        self.allowed += allowed;
        self.refused += refused;
        let key = key(row);
        if !self.has_room(&key, is_allowed) {
            self.others.allowed += allowed;
            self.others.refused += refused;
            return;
        }
        let time = row.record.time;
        let cell = self.cell(time);
        let entry = self.entries.entry(key).or_insert_with(|| Entry::new(time));
        self.reached += usize::from(is_allowed && entry.allowed == 0);
        entry.allowed += allowed;
        entry.refused += refused;
        entry.first = entry.first.min(time);
        entry.last = entry.last.max(time);
        if let Some(reason) = row.reason {
            *entry.reasons.entry(reason).or_default() += row.count;
        }
        if let Some(rule) = row.rule {
            note(
                &mut entry.rules,
                &format!("{}:{} {}", rule.file, rule.line, rule.text),
                NAMED_MAX,
            );
        }
        if let Some(Process { exe: Some(exe), .. }) = row.process {
            note(&mut entry.processes, Text::as_str(exe), NAMED_MAX);
        }
        if let Some(cell) = entry.cells.get_mut(cell) {
            *cell = cell.saturating_add(u32::try_from(row.count).unwrap_or(u32::MAX));
        }
    }

    /// What was reached always has room of its own: refused names, which cost an agent nothing, cannot use it up.
    fn has_room(&self, key: &Key, is_allowed: bool) -> bool {
        let refused_only = self.entries.len() - self.reached;
        match self.entries.get(key) {
            Some(entry) if is_allowed && entry.allowed == 0 => self.reached < DESTINATIONS_MAX,
            Some(_) => true,
            None if is_allowed => self.reached < DESTINATIONS_MAX,
            None => refused_only < DESTINATIONS_MAX,
        }
    }

    /// The cell of a moment; the scale gets coarser for a moment past its end.
    fn cell(&mut self, time: Timestamp) -> usize {
        let hour = time.unix_millis() / HOUR_MS;
        let start = *self.scale.start_hour.get_or_insert(hour);
        // Records are read oldest first; what is older than the first event still counts, in the first cell.
        let since = hour.saturating_sub(start);
        while since / self.scale.hours >= CELLS as u64 {
            self.scale.hours *= 2;
            for entry in self.entries.values_mut() {
                entry.coarsen();
            }
        }
        usize::try_from(since / self.scale.hours).unwrap_or(CELLS - 1)
    }

    /// Hours per cell.
    pub(super) fn hours_per_cell(&self) -> u64 {
        self.scale.hours
    }
}

#[derive(Debug)]
struct Scale {
    start_hour: Option<u64>,
    hours: u64,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            start_hour: None,
            hours: 1,
        }
    }
}

impl Entry {
    fn new(time: Timestamp) -> Self {
        Self {
            allowed: 0,
            refused: 0,
            bytes_up: 0,
            bytes_down: 0,
            first: time,
            last: time,
            reasons: BTreeMap::new(),
            rules: BTreeSet::new(),
            processes: BTreeSet::new(),
            cells: [0; CELLS],
        }
    }

    /// Two cells become one.
    fn coarsen(&mut self) {
        let mut coarse = [0; CELLS];
        for (cell, pair) in coarse.iter_mut().zip(self.cells.chunks(2)) {
            *cell = pair.iter().copied().fold(0, u32::saturating_add);
        }
        self.cells = coarse;
    }
}

fn key(row: &Row<'_>) -> Key {
    let protocol = match row.kind {
        "packet" => row.protocol.unwrap_or("?"),
        "dns" => "dns",
        _ => "tcp",
    };
    Key {
        host: row.host.clone().unwrap_or_else(|| "?".to_owned()),
        port: row.port,
        protocol: protocol.to_owned(),
    }
}

fn note(names: &mut BTreeSet<String>, name: &str, max: usize) {
    if names.len() < max && !names.contains(name) {
        names.insert(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use policies::audit::{PacketEvent, RequestEvent};
    use policies::{Generation, Via};

    use super::*;

    fn at(hour: u64, event: Event) -> Record {
        let time = Timestamp::from_unix_millis(hour * HOUR_MS);
        Record {
            seq: 1,
            time,
            sandbox: "s".to_owned(),
            run: "r".to_owned(),
            event,
        }
    }

    fn request(host: &str, decision: Decision) -> Event {
        Event::Request(RequestEvent {
            id: 1,
            decision,
            reason: (decision == Decision::Deny).then_some(Reason::NotWhitelisted),
            rule: None,
            via: Via::Connect,
            method: None,
            host: Some(Text::new(host)),
            port: Some(443),
            sni: None,
            address: None,
            generation: Generation(1),
            process: Process::UNKNOWN,
            dropped: Vec::new(),
            count: 1,
        })
    }

    fn key(host: &str) -> Key {
        Key {
            host: host.to_owned(),
            port: Some(443),
            protocol: "tcp".to_owned(),
        }
    }

    #[test]
    fn a_flood_of_refused_names_does_not_push_out_what_was_reached() {
        let mut tally = Tally::default();
        let names = DESTINATIONS_MAX + 10;
        for number in 0..names {
            tally.add(&at(
                0,
                request(&format!("{number}.evil.test"), Decision::Deny),
            ));
        }
        tally.add(&at(0, request("good.test", Decision::Allow)));
        assert_eq!(tally.entries.len(), DESTINATIONS_MAX + 1);
        assert_eq!(
            tally.others,
            Others {
                allowed: 0,
                refused: 10
            }
        );
        assert_eq!((tally.allowed, tally.refused), (1, names as u64));
        assert_eq!(
            tally
                .entries
                .get(&key("good.test"))
                .map(|entry| entry.allowed),
            Some(1)
        );
    }

    #[test]
    fn the_scale_gets_coarser_and_loses_no_event() {
        let mut tally = Tally::default();
        for hour in 0..100 {
            tally.add(&at(1_000 + hour, request("a.test", Decision::Deny)));
        }
        tally.add(&at(0, request("a.test", Decision::Deny)));
        let cells = tally.entries[&key("a.test")].cells;
        let expected: Vec<u32> = (0..CELLS)
            .map(|cell| {
                [9, 8, 4, 0][if cell == 0 {
                    0
                } else if cell < 12 {
                    1
                } else if cell == 12 {
                    2
                } else {
                    3
                }]
            })
            .collect();
        assert_eq!((tally.hours_per_cell(), cells.to_vec()), (8, expected));
    }

    #[test]
    fn counted_packets_count_as_many() {
        let mut tally = Tally::default();
        let packet = PacketEvent {
            protocol: Text::new("udp"),
            address: Some("192.0.2.1".parse().unwrap()),
            port: Some(53),
            count: u64::from(u32::MAX) + 7,
            reason: Reason::Direct,
        };
        tally.add(&at(0, Event::Packet(packet)));
        let (found, entry) = tally.entries.first_key_value().unwrap();
        let expected = Key {
            host: "192.0.2.1".to_owned(),
            port: Some(53),
            protocol: "udp".to_owned(),
        };
        assert_eq!(
            (found, entry.refused, entry.cells[0]),
            (&expected, u64::from(u32::MAX) + 7, u32::MAX)
        );
        assert_eq!(
            (tally.refused, tally.refused_packets),
            (entry.refused, entry.refused)
        );
    }
}
