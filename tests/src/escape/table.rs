//! The catalogue's table: which id is held by which tests, how long they took, and how the peers did.
//!
//! Responsible for: reading `tests/escapes.tsv`, the lines that `cargo test` prints and the board's notes. A case without a
//! test, or whose tests are all ignored, is open: it never counts as held.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Context, Result};

use super::board;
use super::log::{Ran, ids, test};
use crate::binaries::repository;

/// The peers, in the order of their columns.
const PEERS: [&str; 2] = ["squid", "tinyproxy"];

/// A line of the catalogue.
#[derive(Debug)]
struct Entry {
    id: String,
    case: String,
    must: String,
    /// A test that holds it under another name; empty where there is none.
    elsewhere: String,
}

/// How a case stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A test of it failed; which.
    Failed(String),
    /// So many tests held.
    Held(usize),
    /// It is not tried; why.
    Open(String),
}

/// How a peer did.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Beside {
    Failed(String),
    Held,
    Lacks(String),
}

/// A line of the table.
#[derive(Debug)]
struct Row {
    entry: Entry,
    verdict: Verdict,
    /// Milliseconds of the slowest of its tests.
    took: Option<u64>,
    /// One for each of [`PEERS`].
    beside: Vec<Option<Beside>>,
}

/// The whole table.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Row>,
    /// Which peers were run.
    peers: Vec<&'static str>,
}

impl Table {
    /// Reads the catalogue, these logs of `cargo test`, and the notes.
    ///
    /// # Errors
    /// The catalogue or the notes cannot be read.
    pub fn read(logs: &[String]) -> Result<Self> {
        let catalogue = std::fs::read_to_string(repository().join("tests/escapes.tsv"))
            .context("read the catalogue")?;
        let tests: Vec<(String, Ran)> = logs
            .iter()
            .flat_map(|log| log.lines())
            .filter_map(test)
            .collect();
        let times = times()?;
        let peers = PEERS
            .map(|peer| Ok((peer, beside(peer)?)))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let rows = catalogue.lines().filter_map(entry).map(|entry| {
            let named = |name: &str| {
                ids(name).any(|id| id == entry.id) || name.trim_start() == entry.elsewhere
            };
            let verdict = verdict(tests.iter().filter(|(name, _)| named(name)));
            let took = times
                .iter()
                .filter(|(name, _)| named(name))
                .map(|(_, took)| *took)
                .max();
            let columns = peers
                .iter()
                .map(|(_, notes)| worst(notes.iter().filter(|(name, _)| named(name))));
            let columns = columns.collect();
            Row {
                entry,
                verdict,
                took,
                beside: columns,
            }
        });
        Ok(Self {
            rows: rows.collect(),
            peers: peers
                .iter()
                .filter(|(_, notes)| !notes.is_empty())
                .map(|(peer, _)| *peer)
                .collect(),
        })
    }

    /// How many cases of ours failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Failed(_)))
    }

    fn count(&self, wanted: impl Fn(&Verdict) -> bool) -> usize {
        self.rows.iter().filter(|row| wanted(&row.verdict)).count()
    }

    fn sum(&self) -> String {
        let held = self.count(|verdict| matches!(verdict, Verdict::Held(_)));
        let open = self.count(|verdict| matches!(verdict, Verdict::Open(_)));
        let mut sum = format!(
            "{} cases: {held} held, {} failed, {open} open",
            self.rows.len(),
            self.failed()
        );
        for (index, peer) in PEERS
            .iter()
            .enumerate()
            .filter(|(_, peer)| self.peers.contains(peer))
        {
            let of = |wanted: fn(&Beside) -> bool| {
                let column = self
                    .rows
                    .iter()
                    .filter_map(|row| row.beside.get(index)?.as_ref());
                column.filter(|beside| wanted(beside)).count()
            };
            let (held, failed) = (
                of(|it| *it == Beside::Held),
                of(|it| matches!(it, Beside::Failed(_))),
            );
            let lacks = of(|it| matches!(it, Beside::Lacks(_)));
            write!(
                sum,
                "; {peer}: {held} held, {failed} failed, {lacks} need what it does not have"
            )
            .unwrap_or_default();
        }
        sum
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Row {
            entry,
            verdict,
            took,
            beside: columns,
        } in &self.rows
        {
            let took = took.map_or_else(String::new, |took| format!("{took} ms"));
            let mut line = format!("{:<4} {:<7} {took:>8}", entry.id, verdict.word());
            for beside in columns
                .iter()
                .zip(PEERS)
                .filter(|(_, peer)| self.peers.contains(peer))
                .map(|(it, _)| it)
            {
                write!(line, " {:<7}", beside.as_ref().map_or("", Beside::word))
                    .unwrap_or_default();
            }
            writeln!(text, "{line} {}", verdict.why().unwrap_or(&entry.case)).unwrap_or_default();
        }
        writeln!(text, "{}", self.sum()).unwrap_or_default();
        text
    }

    /// For `docs/battery.md`.
    #[must_use]
    pub fn document(&self) -> String {
        let mut text = format!(
            "# The escape battery\n\nWritten by `make battery` and `make battery PEER=squid`, `PEER=tinyproxy`; not by hand. \
             Each case is tried as root and as an ordinary user with engine `native`, and judged at the origins, at the DNS \
             server, in the kernel's count of packets, and by its one line in the record. A peer is judged outside alone: it fails \
             where what must be refused or is malformed reached an origin (an allowed one too) or a DNS server, or where \
             what must pass did not. It has the rules that it can say (tests/src/escape/peer.rs). *Open* is not *held*. \
             Times are of the slowest test of a case, with debug builds, on 2 cores that others used too (kernel 6.18).\n\n{}.\n\n",
            self.sum()
        );
        text.push_str("| id | case | must | ocs | ms |");
        for peer in &self.peers {
            write!(text, " {peer} |").unwrap_or_default();
        }
        text.push_str("\n|---|---|---|---|---|");
        text.push_str(&"---|".repeat(self.peers.len()));
        text.push('\n');
        for Row {
            entry,
            verdict,
            took,
            beside: columns,
        } in &self.rows
        {
            let ours = match verdict {
                Verdict::Failed(_) => "**failed**".to_owned(),
                Verdict::Held(tests) => format!("held ({tests})"),
                Verdict::Open(why) => format!("open: {why}"),
            };
            let took = took.map_or_else(String::new, |took| took.to_string());
            let cells = [&entry.id, &entry.case, &entry.must, &ours, &took]
                .map(|cell| cell.replace('|', "\\|").replace('<', "&lt;"));
            write!(text, "| {} |", cells.join(" | ")).unwrap_or_default();
            for (beside, peer) in columns.iter().zip(PEERS) {
                if self.peers.contains(&peer) {
                    let cell = beside.as_ref().map_or_else(String::new, Beside::cell);
                    write!(text, " {} |", cell.replace('|', "\\|")).unwrap_or_default();
                }
            }
            text.push('\n');
        }
        text
    }
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Self::Failed(_) => "FAILED",
            Self::Held(_) => "held",
            Self::Open(_) => "open",
        }
    }

    fn why(&self) -> Option<&String> {
        match self {
            Self::Failed(why) | Self::Open(why) => Some(why),
            Self::Held(_) => None,
        }
    }
}

impl Beside {
    fn word(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Held => "held",
            Self::Lacks(_) => "-",
        }
    }

    fn cell(&self) -> String {
        match self {
            Self::Failed(why) => format!("failed: {why}"),
            Self::Held => "held".to_owned(),
            Self::Lacks(needs) => format!("needs {needs}"),
        }
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split('\t').map(str::to_owned);
    Some(Entry {
        id: fields.next().filter(|id| !id.starts_with('#'))?,
        case: fields.next()?,
        must: fields.next()?,
        elsewhere: fields.next().unwrap_or_default(),
    })
}

fn verdict<'t>(tests: impl Iterator<Item = &'t (String, Ran)>) -> Verdict {
    let mut held = 0;
    let mut ignored = None;
    for (name, ran) in tests {
        match ran {
            Ran::Failed => return Verdict::Failed(name.clone()),
            Ran::Ignored(why) => ignored = Some(why.clone()),
            Ran::Ok => held += 1,
        }
    }
    match (held, ignored) {
        (0, None) => Verdict::Open("no test yet".to_owned()),
        (0, Some(why)) => Verdict::Open(why),
        (held, _) => Verdict::Held(held),
    }
}

fn worst<'n>(notes: impl Iterator<Item = &'n (String, Beside)>) -> Option<Beside> {
    let mut found: Option<Beside> = None;
    for (_, beside) in notes {
        let rank = |it: &Beside| match it {
            Beside::Failed(_) => 2,
            Beside::Held => 1,
            Beside::Lacks(_) => 0,
        };
        if found
            .as_ref()
            .is_none_or(|found| rank(beside) > rank(found))
        {
            found = Some(beside.clone());
        }
    }
    found
}

fn notes(subject: &str) -> Result<Vec<Vec<String>>> {
    let path = board::directory().join(format!("notes-{subject}.tsv"));
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(text
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect())
}

fn times() -> Result<Vec<(String, u64)>> {
    let notes = notes("native")?.into_iter();
    Ok(notes
        .filter_map(|fields| match fields.as_slice() {
            [_, _, name, _, took, ..] => Some((name.clone(), took.parse().ok()?)),
            _ => None,
        })
        .collect())
}

fn beside(peer: &str) -> Result<Vec<(String, Beside)>> {
    let mut latest: BTreeMap<String, Beside> = BTreeMap::new();
    for fields in notes(peer)? {
        let [_, _, name, verdict, _, why] = fields.as_slice() else {
            continue;
        };
        let beside = match verdict.as_str() {
            "held" => Beside::Held,
            "lacks" => Beside::Lacks(why.clone()),
            _ => Beside::Failed(
                why.split("; ")
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect::<Vec<_>>()
                    .join("; "),
            ),
        };
        latest.insert(name.clone(), beside);
    }
    Ok(latest.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_s_name_says_its_ids() {
        assert_eq!(ids("n01_n05_spellings").collect::<Vec<_>>(), ["N01", "N05"]);
        assert_eq!(ids("w6_a_kept_connection").count(), 0);
        let line = "test n02_a::as_root ... ok";
        assert_eq!(test(line), Some(("n02_a".to_owned(), Ran::Ok)));
        let line = "test t02_b ... ignored, TLS is not opened";
        assert_eq!(
            test(line),
            Some((
                "t02_b".to_owned(),
                Ran::Ignored("TLS is not opened".to_owned())
            ))
        );
    }

    #[test]
    fn what_was_not_tried_is_open_and_one_failure_is_enough() {
        let of = |tests: &[(&str, Ran)]| {
            let tests: Vec<_> = tests
                .iter()
                .map(|(name, ran)| ((*name).to_owned(), ran.clone()))
                .collect();
            verdict(tests.iter())
        };
        assert_eq!(of(&[]), Verdict::Open("no test yet".to_owned()));
        assert_eq!(
            of(&[("a", Ran::Ignored("x".to_owned()))]),
            Verdict::Open("x".to_owned())
        );
        assert_eq!(
            of(&[("a", Ran::Ok), ("b", Ran::Failed)]),
            Verdict::Failed("b".to_owned())
        );
        assert_eq!(
            of(&[("a", Ran::Ok), ("b", Ran::Ignored("x".to_owned()))]),
            Verdict::Held(1)
        );
    }

    #[test]
    fn the_catalogue_has_182_cases_each_once() -> Result<()> {
        let text = std::fs::read_to_string(repository().join("tests/escapes.tsv"))?;
        let ids: BTreeSet<_> = text
            .lines()
            .filter_map(entry)
            .map(|entry| entry.id)
            .collect();
        assert_eq!(
            (ids.len(), text.lines().filter_map(entry).count()),
            (182, 182)
        );
        Ok(())
    }
}
