//! What a run refused, read from its record: grouped, counted, with the line to add where a person wants to. Reads the
//! record's lines from a given place on, so that what bring-up tried is not shown as the agent's.
//! Not responsible for the record's integrity (`ocs audit verify`), nor for the whole of it (`ocs audit report`).
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use policies::audit::{Decision, DnsEvent, Event, PacketEvent, Record, RequestEvent, Timestamp};
use policies::{Destination, Host, Policy, Port, Reason, Request, Verdict};
use serde::Serialize;

use crate::audit_cmd::records;
use crate::console::{Console, Style, escaped};
use crate::exit::Failure;
use crate::probe::Targets;

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    v: u32,
    run: String,
    /// The agent's code, or that of the failure.
    exit_code: u8,
    record: String,
    allowed: u64,
    refused: Vec<Refused>,
    notes: Vec<String>,
}

/// One destination that was refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Refused {
    what: String,
    #[serde(skip)]
    host: String,
    #[serde(skip)]
    port: Option<u16>,
    reason: &'static str,
    count: u64,
    /// `section: entry`, for the config.
    suggestion: Option<String>,
}

/// The same for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    /// A name or an address; empty where it could not be read.
    host: String,
    /// None where there is none, as of a query for a name.
    port: Option<u16>,
    reason: &'static str,
    count: u64,
}

/// Rows that people are shown; the rest is in the report.
const ROWS: usize = 20;

impl Summary {
    /// Reads the record from byte `from` on. `targets` are bring-up's own attempts, some of which are recorded late.
    ///
    /// # Errors
    /// The record cannot be read.
    pub(crate) fn read(
        record: &Path,
        from: u64,
        targets: &Targets,
        policy: &Policy,
    ) -> io::Result<Self> {
        let mut counts = Counts::of(Some((targets, policy)));
        // Rotated or not, the byte stands in the file that was written first.
        let mut from = Some(from);
        for part in records::files_of(record)? {
            let mut file = File::open(part)?;
            file.seek(SeekFrom::Start(from.take().unwrap_or_default()))?;
            for line in BufReader::new(file).split(b'\n') {
                // A line that is none is `ocs audit verify`'s to tell.
                if let Ok(line) = Record::parse(&line?) {
                    counts.event(&line.event);
                }
            }
        }
        Ok(Self::of(counts, record))
    }

    fn of(counts: Counts<'_>, record: &Path) -> Self {
        let mut refused: Vec<Refused> = counts.refused.into_values().collect();
        refused.sort_by(|one, other| {
            other
                .count
                .cmp(&one.count)
                .then_with(|| one.what.cmp(&other.what))
        });
        Self {
            v: 1,
            allowed: counts.allowed,
            refused,
            record: record.display().to_string(),
            ..Self::default()
        }
    }

    /// Adds what is known of the run itself.
    pub(crate) fn of_run(self, run: &str, exit_code: u8, notes: Vec<String>) -> Self {
        Self {
            run: run.to_owned(),
            exit_code,
            notes,
            ..self
        }
    }

    /// What was refused, for programs.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        let refusal = |row: &Refused| Refusal {
            host: row.host.clone(),
            port: row.port,
            reason: row.reason,
            count: row.count,
        };
        self.refused.iter().map(refusal).collect()
    }

    /// Whether there is nothing worth a word to a person who did not ask.
    pub(crate) fn is_quiet(&self) -> bool {
        self.refused.is_empty() && self.notes.is_empty()
    }

    /// Shows it to a person.
    pub(crate) fn show(&self, console: &mut Console<'_>) {
        let label = |style, console: &Console<'_>| console.styled_note(style, "ocs:").to_string();
        for note in &self.notes {
            let label = label(Style::Warn, console);
            for line in note.lines() {
                console.note(format_args!("{label} {}", escaped(line)));
            }
        }
        let (allowed, total) = (
            self.allowed,
            self.refused.iter().map(|row| row.count).sum::<u64>(),
        );
        let (good, dim) = (label(Style::Good, console), label(Style::Dim, console));
        if self.refused.is_empty() {
            console.note(format_args!(
                "{good} nothing was refused, {allowed} allowed; record: {}",
                self.record
            ));
            return;
        }
        let bad = label(Style::Bad, console);
        console.note(format_args!("{bad} {total} refused, {allowed} allowed"));
        let width = self
            .refused
            .iter()
            .take(ROWS)
            .map(|row| row.what.len())
            .max()
            .unwrap_or_default();
        for row in self.refused.iter().take(ROWS) {
            let what = escaped(&row.what);
            let count = format!("{}x", row.count);
            let add = row
                .suggestion
                .as_ref()
                .map(|entry| format!("   to allow it: {}", escaped(entry)));
            let add = add.unwrap_or_default();
            console.note(format_args!(
                "  {what:width$}  {:16} {count:>6}{add}",
                row.reason
            ));
        }
        if let Some(more) = self
            .refused
            .len()
            .checked_sub(ROWS)
            .filter(|more| *more > 0)
        {
            console.note(format_args!("  and {more} more: ocs audit report"));
        }
        console.note(format_args!("{dim} record: {}", self.record));
    }

    /// The same as one JSON document.
    ///
    /// # Errors
    /// It cannot be put into JSON.
    pub(crate) fn document(&self, console: &mut Console<'_>) -> Result<(), Failure> {
        console.document_note(self)
    }
}

/// What a record refused from a moment on: every destination, for programs.
///
/// # Errors
/// The record cannot be read.
pub(crate) fn refused_since(record: &Path, since: Timestamp) -> io::Result<Vec<Refusal>> {
    let mut counts = Counts::of(None);
    for part in records::files_of(record)? {
        for line in BufReader::new(File::open(part)?).split(b'\n') {
            if let Ok(line) = Record::parse(&line?)
                && line.time >= since
            {
                counts.event(&line.event);
            }
        }
    }
    Ok(Summary::of(counts, record).refusals())
}

struct Counts<'a> {
    /// Bring-up's own attempts, and who says what would allow the others; none: neither is wanted.
    run: Option<(&'a Targets, &'a Policy)>,
    allowed: u64,
    refused: BTreeMap<(String, &'static str), Refused>,
}

impl<'a> Counts<'a> {
    fn of(run: Option<(&'a Targets, &'a Policy)>) -> Self {
        Self {
            run,
            allowed: 0,
            refused: BTreeMap::new(),
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Request(request) => self.request(request),
            Event::Dns(dns) => self.dns(dns),
            Event::Packet(packet) => self.packet(packet),
            Event::Close(_)
            | Event::Gap(_)
            | Event::Policy(_)
            | Event::Question(_)
            | Event::Start(_)
            | Event::Stop(_) => {}
        }
    }

    fn request(&mut self, event: &RequestEvent) {
        let host = event
            .host
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let what = match event.port {
            Some(port) if host.contains(':') => format!("[{host}]:{port}"),
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        match (event.decision, event.reason) {
            (Decision::Allow, _) => self.allowed += event.count,
            (Decision::Deny, Some(reason)) => {
                let suggestion = self.suggestion(event, &host);
                let what = if what.is_empty() {
                    "(unreadable)".to_owned()
                } else {
                    what
                };
                self.add(Refused {
                    what,
                    host,
                    port: event.port,
                    reason: reason.code(),
                    count: event.count,
                    suggestion,
                });
            }
            (Decision::Deny, None) => {}
        }
    }

    /// The line that would allow it, from the matcher itself.
    fn suggestion(&self, event: &RequestEvent, host: &str) -> Option<String> {
        let destination = Destination {
            host: Host::parse(host).ok()?,
            port: Port::new(event.port?)?,
        };
        match self.run?.1.decide(&Request {
            destination,
            via: event.via,
        }) {
            Verdict::Deny(deny) => deny.suggestion.map(|entry| entry.to_string()),
            // Refused for what it turned out to be, not by name: no line helps.
            Verdict::Allow(_) => None,
        }
    }

    fn dns(&mut self, event: &DnsEvent) {
        let name = event.name.to_string();
        let asked = name.trim_end_matches('.');
        let ours = self
            .run
            .is_some_and(|(targets, _)| asked == targets.query.0);
        if event.decision == Decision::Deny && !ours {
            self.add(Refused {
                what: format!("{name} ({})", event.kind),
                host: name,
                port: None,
                reason: event.reason.unwrap_or(Reason::Dns).code(),
                count: event.count,
                suggestion: None,
            });
        }
    }

    fn packet(&mut self, event: &PacketEvent) {
        let ours = |address| {
            self.run.is_some_and(|(targets, _)| {
                let mut foreign = targets.foreign.iter();
                foreign.any(|foreign| foreign.ip() == address)
            })
        };
        if event.address.is_some_and(ours) {
            return;
        }
        let host = event.address.map(|address| address.to_string());
        let address = host.as_deref().unwrap_or("many addresses");
        let port = event
            .port
            .map(|port| format!(" port {port}"))
            .unwrap_or_default();
        self.add(Refused {
            what: format!("{} to {address}{port}", event.protocol),
            host: host.unwrap_or_default(),
            port: event.port,
            reason: event.reason.code(),
            count: event.count,
            suggestion: None,
        });
    }

    fn add(&mut self, row: Refused) {
        let count = row.count;
        let key = (row.what.clone(), row.reason);
        let row = Refused { count: 0, ..row };
        self.refused.entry(key).or_insert(row).count += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::tests::captured;
    use crate::world::Terminal;

    fn policy() -> Policy {
        let text = "sandbox-name: x\nhttp-domain-whitelist: [ok.test]\n";
        let (config, _) = policies::Config::parse(&policies::Source { name: "x", text }).unwrap();
        let surroundings = policies::Surroundings {
            host_addresses: vec![],
            own_addresses: vec![],
        };
        config.policy(None, surroundings)
    }

    fn request(id: u64, decision: &str, reason: &str, host: &str) -> String {
        format!(
            r#"{{"event":"request","id":{id},"decision":"{decision}","reason":{reason},"rule":null,"via":"connect","method":null,"host":"{host}","port":443,"sni":null,"address":null,"generation":1,"process":{{"pid":null,"exe":null}},"dropped":[]}}"#
        )
    }

    /// With the fields that every line has, in their order.
    fn whole(line: &str) -> String {
        let common = format!(
            r#"{{"v":1,"seq":1,"prev":"{}","time":"2026-11-21T00:00:00.000Z","sandbox":"x-1","run":"r","#,
            "0".repeat(64)
        );
        line.replacen('{', &common, 1)
    }

    fn summary(before: &str, lines: &[String]) -> Summary {
        let lines: Vec<String> = lines.iter().map(|line| whole(line)).collect();
        let keep = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(keep.path(), format!("{before}{}\n", lines.join("\n"))).unwrap();
        let targets = Targets::in_the_box(("ocs-probe.invalid".to_owned(), 1), String::new());
        let from = u64::try_from(before.len()).unwrap();
        let summary = Summary::read(keep.path(), from, &targets, &policy()).unwrap();
        Summary {
            record: "R".to_owned(),
            ..summary
        }
    }

    fn rows(summary: &Summary) -> Vec<(&str, &str, u64, Option<&str>)> {
        let rows = summary.refused.iter();
        rows.map(|row| {
            (
                row.what.as_str(),
                row.reason,
                row.count,
                row.suggestion.as_deref(),
            )
        })
        .collect()
    }

    #[test]
    fn what_was_refused_is_grouped_and_counted_with_the_line_to_add() {
        let lines = [
            request(1, "deny", r#""not-whitelisted""#, "evil.test"),
            request(2, "allow", "null", "ok.test"),
            request(3, "deny", r#""not-whitelisted""#, "evil.test"),
            r#"{"event":"dns","name":"evil.test","type":"A","decision":"deny","reason":"dns","count":3}"#.to_owned(),
            r#"{"event":"packet","protocol":"udp","address":"203.0.113.9","port":53,"count":2,"reason":"direct"}"#.to_owned(),
            "not json".to_owned(),
        ];
        let summary = summary("", &lines);
        assert_eq!(summary.allowed, 1);
        let expected = [
            ("evil.test (A)", "dns", 3, None),
            (
                "evil.test:443",
                "not-whitelisted",
                2,
                Some("http-domain-whitelist: - evil.test"),
            ),
            ("udp to 203.0.113.9 port 53", "direct", 2, None),
        ];
        assert_eq!(rows(&summary), expected);
    }

    #[test]
    fn what_bring_up_tried_is_not_the_agent_s() {
        let before = format!(
            "{}\n",
            request(1, "deny", r#""not-whitelisted""#, "ocs-probe.invalid")
        );
        let late = [
            r#"{"event":"dns","name":"ocs-probe.invalid","type":"A","decision":"deny","reason":"dns","count":2}"#,
            r#"{"event":"packet","protocol":"udp","address":"192.0.2.1","port":443,"count":1,"reason":"direct"}"#,
            r#"{"event":"packet","protocol":"udp","address":"2001:db8::1","port":443,"count":1,"reason":"direct"}"#,
        ];
        let summary = summary(&before, &late.map(str::to_owned));
        assert!(rows(&summary).is_empty() && summary.is_quiet());
    }

    #[test]
    fn people_are_shown_a_table_without_the_agent_s_control_characters() {
        let summary = summary("", &[request(1, "deny", r#""malformed""#, "a\\u001b[2Jb")]);
        let (_, out, err) = captured("", Terminal::default(), |console| summary.show(console));
        assert_eq!(out, "");
        assert_eq!(
            err,
            "ocs: 1 refused, 0 allowed\n  a\\u{1b}[2Jb:443  malformed            1x\nocs: record: R\n"
        );
    }
}
