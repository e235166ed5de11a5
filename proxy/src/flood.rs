//! Tells a flood of refused requests in counts: so many a second line by line, what comes beyond by kind, none of it lost.
//!
//! A kind is everything that the line says but who asked by number; past `tally::KINDS` kinds within a second it is the
//! reason and the way alone. What is counted is on record within a second. Not here: packets and DNS queries, which are
//! always counted (`packets`, `dns_stub`).
//! Clauses: R1, R6, W8

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use policies::audit::{Process, RequestEvent};
use tokio::time::Instant;

use crate::app::App;
use crate::live::Phase;
use crate::tally::Tally;

/// Refused requests of one proxy.
#[derive(Debug)]
pub struct Flood {
    /// Lines in one second.
    most: u64,
    second: Mutex<Second>,
    tally: Tally<RequestEvent>,
}

#[derive(Debug)]
struct Second {
    since: Instant,
    lines: u64,
}

impl Flood {
    /// A flood begins past so many refusals within a second.
    #[must_use]
    pub fn past(most: u64) -> Self {
        Self {
            most,
            second: Mutex::new(Second {
                since: Instant::now(),
                lines: 0,
            }),
            tally: Tally::new(),
        }
    }

    /// Counts a refusal where it is one of a flood; gives it back where it has a line of its own.
    pub(crate) fn pass(&self, event: RequestEvent, phase: Phase) -> Option<RequestEvent> {
        // After the last count nothing would tell it.
        if phase >= Phase::Ending || self.has_line() {
            return Some(event);
        }
        self.tally.count(kind(event), 1, coarse);
        None
    }

    fn has_line(&self) -> bool {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.since.elapsed() >= Duration::from_secs(1) {
            *second = Second {
                since: Instant::now(),
                lines: 0,
            };
        }
        second.lines += 1;
        second.lines <= self.most
    }
}

/// Puts what is counted on record, until what is open is cut.
pub(crate) async fn told(app: &App) {
    let tell = |window: Vec<(RequestEvent, u64)>| {
        for (event, count) in window {
            // What could not be written is counted by the sink.
            drop(app.sink.decision_now(RequestEvent { count, ..event }));
        }
    };
    app.flood
        .tally
        .run(tell, app.live.reached(Phase::Ending))
        .await;
}

fn kind(event: RequestEvent) -> RequestEvent {
    let process = Process {
        pid: None,
        ..event.process
    };
    RequestEvent { process, ..event }
}

fn coarse(event: &RequestEvent) -> RequestEvent {
    RequestEvent {
        rule: None,
        method: None,
        host: None,
        port: None,
        sni: None,
        address: None,
        process: Process::UNKNOWN,
        dropped: Vec::new(),
        ..event.clone()
    }
}

#[cfg(test)]
mod tests {
    use policies::audit::{Decision, Text};
    use policies::{Generation, Reason, Via};

    use super::*;

    fn refused(host: &str, pid: u32) -> RequestEvent {
        RequestEvent {
            id: 0,
            decision: Decision::Deny,
            reason: Some(Reason::NotWhitelisted),
            rule: None,
            via: Via::Connect,
            method: Some(Text::new("CONNECT")),
            host: Some(Text::new(host)),
            port: Some(443),
            sni: None,
            address: None,
            generation: Generation(1),
            process: Process {
                pid: Some(pid),
                exe: None,
            },
            dropped: Vec::new(),
            count: 1,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_a_second_have_lines_and_the_rest_exact_counts() {
        let flood = Flood::past(2);
        let pass = |host: &str, pid| flood.pass(refused(host, pid), Phase::Running);
        assert_eq!(pass("a.test", 1), Some(refused("a.test", 1)));
        assert_eq!(pass("a.test", 2), Some(refused("a.test", 2)));
        for pid in 3..10 {
            assert_eq!(pass("a.test", pid), None);
        }
        assert_eq!(pass("b.test", 3), None);
        let counts: Vec<_> = flood.tally.take();
        let counts: Vec<_> = counts
            .iter()
            .map(|(event, count)| (event.host.as_ref().unwrap().as_str(), *count))
            .collect();
        assert_eq!(counts, [("a.test", 7), ("b.test", 1)]);
        // The end has lines, and so has the next second.
        let event = refused("c.test", 1);
        assert_eq!(flood.pass(event.clone(), Phase::Ending), Some(event));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pass("a.test", 1), Some(refused("a.test", 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_names_is_a_bounded_number_of_lines_and_none_is_uncounted() {
        let flood = Flood::past(0);
        for number in 0..10_000 {
            let event = refused(&format!("n{number}.test"), number);
            assert_eq!(flood.pass(event, Phase::Running), None);
        }
        let counts: Vec<(RequestEvent, u64)> = flood.tally.take();
        let nameless = counts.iter().filter(|(event, _)| event.host.is_none());
        assert_eq!(
            (counts.len(), nameless.count()),
            (crate::tally::KINDS + 1, 1)
        );
        let all: u64 = counts.iter().map(|(_, count)| count).sum();
        assert_eq!(all, 10_000);
    }
}
