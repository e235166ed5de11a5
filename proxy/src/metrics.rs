//! What was decided, carried and waited for, as counters. They follow the record: an event is counted when it is written.
//!
//! Labels are reasons, outcomes and decisions, all from closed lists: never a host name, so their number is fixed.
//! Not here: serving them (`admin.rs`). Clauses: W8

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use policies::Reason;
use policies::audit::{Decision, Event, Outcome};

/// Upper bounds of the histograms' buckets, in microseconds, with the same bounds in seconds as they are printed.
const BOUNDS: [(u64, &str); 12] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// Waits of one kind, sorted into buckets.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    sum_us: AtomicU64,
    count: AtomicU64,
}

/// All counters of one proxy.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    allowed: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    closed: [AtomicU64; Outcome::ALL.len()],
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    packets: AtomicU64,
    queries: [AtomicU64; 2],
    unrecorded: AtomicU64,
    generation: AtomicU64,
    /// From the start of a look-up to its answer.
    pub(crate) dns: Histogram,
    /// From the first packet to the origin until the connection stands.
    pub(crate) dial: Histogram,
}

/// What waits now: it is counted elsewhere, and shown with the rest.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Events for the record.
    pub(crate) record: usize,
    /// Questions for a person.
    pub(crate) questions: usize,
}

impl Histogram {
    /// Counts one wait.
    pub(crate) fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| us <= *bound);
        if let Some(bucket) = bucket.and_then(|at| self.buckets.get(at)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(us, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    fn render(&self, page: &mut Page, name: &str, help: &str) {
        page.head(name, "histogram", help);
        let mut below = 0;
        for (bucket, (_, bound)) in self.buckets.iter().zip(BOUNDS) {
            below += bucket.load(Relaxed);
            page.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {below}"));
        }
        let count = self.count.load(Relaxed);
        let us = self.sum_us.load(Relaxed);
        page.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {count}"));
        page.line(format_args!(
            "{name}_sum {}.{:06}",
            us / 1_000_000,
            us % 1_000_000
        ));
        page.line(format_args!("{name}_count {count}"));
    }
}

impl Metrics {
    /// Counts an event that was written.
    pub(crate) fn count(&self, event: &Event) {
        match event {
            Event::Request(request) => match request.reason {
                None => bump(Some(&self.allowed), request.count),
                Some(reason) => bump(of(&Reason::ALL, &self.refused, &reason), request.count),
            },
            Event::Close(close) => {
                bump(of(&Outcome::ALL, &self.closed, &close.outcome), 1);
                bump(Some(&self.bytes_up), close.bytes_up);
                bump(Some(&self.bytes_down), close.bytes_down);
            }
            Event::Packet(packet) => bump(Some(&self.packets), packet.count),
            Event::Dns(dns) => {
                bump(
                    of(
                        &[Decision::Allow, Decision::Deny],
                        &self.queries,
                        &dns.decision,
                    ),
                    dns.count,
                );
            }
            Event::Policy(policy) => self.generation.store(policy.generation.0, Relaxed),
            Event::Gap(_) | Event::Question(_) | Event::Start(_) | Event::Stop(_) => {}
        }
    }

    /// Counts an event that the record could not take.
    pub(crate) fn lost(&self) {
        bump(Some(&self.unrecorded), 1);
    }

    /// Requests allowed, refused, and allowed that did not end yet.
    pub(crate) fn requests_now(&self) -> (u64, u64, u64) {
        let sum = |counters: &[AtomicU64]| counters.iter().map(|n| n.load(Relaxed)).sum::<u64>();
        // Decisions first: a request may end in between, never the other way round.
        let (allowed, denied) = (self.allowed.load(Relaxed), sum(&self.refused));
        (allowed, denied, allowed.saturating_sub(sum(&self.closed)))
    }

    /// The page of `/metrics`, in the text format of Prometheus, version 0.0.4.
    pub(crate) fn render(&self, waiting: &Waiting) -> String {
        let mut page = Page(String::with_capacity(8192));
        let allowed = self.allowed.load(Relaxed);
        // Ends are read after the decisions: a request may end in between, never the other way round.
        let closed: u64 = self.closed.iter().map(|n| n.load(Relaxed)).sum();
        self.requests(&mut page, allowed);
        page.head("ocs_closed_total", "counter", "Ends of allowed requests.");
        for (outcome, count) in Outcome::ALL.iter().zip(&self.closed) {
            let (code, count) = (outcome.code(), count.load(Relaxed));
            page.line(format_args!(
                "ocs_closed_total{{outcome=\"{code}\"}} {count}"
            ));
        }
        let open = allowed.saturating_sub(closed);
        page.one("ocs_open", "gauge", "Allowed requests not ended.", open);
        page.head("ocs_dns_queries_total", "counter", "Queries to the stub.");
        for (decision, count) in ["allow", "deny"].iter().zip(&self.queries) {
            let count = count.load(Relaxed);
            page.line(format_args!(
                "ocs_dns_queries_total{{decision=\"{decision}\"}} {count}"
            ));
        }
        self.totals(&mut page);
        for (name, help, value) in [
            (
                "ocs_record_queue",
                "Events that wait for room on the disk.",
                waiting.record,
            ),
            (
                "ocs_questions_open",
                "Refused destinations that a person is asked about.",
                waiting.questions,
            ),
        ] {
            page.one(
                name,
                "gauge",
                help,
                u64::try_from(value).unwrap_or(u64::MAX),
            );
        }
        self.dns
            .render(&mut page, "ocs_dns_seconds", "Look-ups of allowed names.");
        self.dial
            .render(&mut page, "ocs_dial_seconds", "Connections to origins.");
        page.0
    }

    fn totals(&self, page: &mut Page) {
        let one = |page: &mut Page, name, kind, help, value: &AtomicU64| {
            page.one(name, kind, help, value.load(Relaxed));
        };
        let (total, now) = ("counter", "gauge");
        one(
            page,
            "ocs_sent_bytes_total",
            total,
            "To origins, by ended requests.",
            &self.bytes_up,
        );
        one(
            page,
            "ocs_received_bytes_total",
            total,
            "From origins, by ended requests.",
            &self.bytes_down,
        );
        one(
            page,
            "ocs_packets_refused_total",
            total,
            "Packets round the proxy.",
            &self.packets,
        );
        one(
            page,
            "ocs_unrecorded_total",
            total,
            "Writes that the record refused.",
            &self.unrecorded,
        );
        one(
            page,
            "ocs_policy_generation",
            now,
            "The policy in force.",
            &self.generation,
        );
    }

    fn requests(&self, page: &mut Page, allowed: u64) {
        page.head("ocs_requests_total", "counter", "Decisions.");
        page.line(format_args!(
            "ocs_requests_total{{decision=\"allow\",reason=\"\"}} {allowed}"
        ));
        for (reason, count) in Reason::ALL.iter().zip(&self.refused) {
            let (code, count) = (reason.code(), count.load(Relaxed));
            page.line(format_args!(
                "ocs_requests_total{{decision=\"deny\",reason=\"{code}\"}} {count}"
            ));
        }
    }
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        writeln!(self.0, "{line}").ok();
    }
}

/// The counter that stands where `key` stands in `keys`.
fn of<'a, K: PartialEq>(keys: &[K], counters: &'a [AtomicU64], key: &K) -> Option<&'a AtomicU64> {
    keys.iter()
        .position(|k| k == key)
        .and_then(|at| counters.get(at))
}

fn bump(counter: Option<&AtomicU64>, by: u64) {
    if let Some(counter) = counter {
        counter.fetch_add(by, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use policies::Generation;
    use policies::audit::{CloseEvent, PolicyEvent, Text};

    use super::*;

    fn close(outcome: Outcome) -> Event {
        Event::Close(CloseEvent {
            id: 1,
            outcome,
            bytes_up: 5,
            bytes_down: 7,
            duration_ms: 1,
        })
    }

    #[test]
    fn ends_are_counted_by_outcome_with_their_bytes() {
        let metrics = Metrics::default();
        metrics.count(&close(Outcome::Done));
        metrics.count(&close(Outcome::Revoked));
        let page = metrics.render(&Waiting::default());
        for line in [
            "ocs_closed_total{outcome=\"done\"} 1",
            "ocs_closed_total{outcome=\"revoked\"} 1",
            "ocs_closed_total{outcome=\"idle\"} 0",
            "ocs_sent_bytes_total 10",
            "ocs_received_bytes_total 14",
        ] {
            assert!(page.lines().any(|l| l == line), "no `{line}` in\n{page}");
        }
    }

    #[test]
    fn every_outcome_has_its_name_in_the_record_as_its_label() {
        for outcome in Outcome::ALL {
            let in_record = serde_json::to_value(outcome).unwrap();
            assert_eq!(in_record, outcome.code());
        }
    }

    #[test]
    fn the_policy_in_force_shows() {
        let metrics = Metrics::default();
        metrics.count(&Event::Policy(PolicyEvent {
            hash: Text::new("h"),
            generation: Generation(3),
            source: Text::new("f"),
            mode: policies::Mode::Filtered,
        }));
        let waiting = Waiting {
            record: 7,
            questions: 2,
        };
        let page = metrics.render(&waiting);
        for line in [
            "ocs_policy_generation 3",
            "ocs_record_queue 7",
            "ocs_questions_open 2",
        ] {
            assert!(page.lines().any(|l| l == line), "no `{line}` in\n{page}");
        }
    }

    #[test]
    fn a_histogram_counts_a_wait_in_every_bucket_from_its_own_up() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(1_000));
        histogram.observe(Duration::from_secs(60));
        let mut page = Page(String::new());
        histogram.render(&mut page, "w", "Waits.");
        assert_eq!(
            page.0,
            "# HELP w Waits.\n# TYPE w histogram\n\
             w_bucket{le=\"0.00025\"} 0\nw_bucket{le=\"0.0005\"} 0\nw_bucket{le=\"0.001\"} 1\n\
             w_bucket{le=\"0.0025\"} 1\nw_bucket{le=\"0.005\"} 1\nw_bucket{le=\"0.01\"} 1\n\
             w_bucket{le=\"0.025\"} 1\nw_bucket{le=\"0.1\"} 1\nw_bucket{le=\"0.25\"} 1\n\
             w_bucket{le=\"1\"} 1\nw_bucket{le=\"5\"} 1\nw_bucket{le=\"10\"} 1\n\
             w_bucket{le=\"+Inf\"} 2\nw_sum 60.001000\nw_count 2\n"
        );
    }
}
