//! What a record's run wanted and the lists do not allow: asked for and refused, or passed by `observe` alone. Bounded: a
//! hostile agent can ask for as many names as it likes. Suggests nothing.
use std::collections::BTreeMap;

use policies::audit::{Decision, DnsEvent, Event, Record, RequestEvent, Timestamp};
use policies::{Destination, Policy, Port, Reason, Request, Suggestion, Verdict, Via};

use crate::probe::Targets;

/// Different requests that are told apart; what is past that is one number.
const WANTS_MAX: usize = 20_000;

/// One destination, by one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) request: Request,
    pub(super) count: u64,
    pub(super) last: Timestamp,
    /// The line that would allow it.
    pub(super) suggestion: Suggestion,
}

/// What no list should be made longer for, or cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) destination: String,
    pub(super) reason: Reason,
    pub(super) count: u64,
}

/// Everything gathered from records.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    requests: BTreeMap<(String, Via), (Request, u64, Timestamp)>,
    /// Refused with a reason that no line would change.
    refused: BTreeMap<(String, Reason), u64>,
    /// Requests past the bound.
    pub(super) more: u64,
}

impl Wanted {
    /// Takes one event.
    pub(super) fn add(&mut self, record: &Record) {
        match &record.event {
            Event::Request(event) => self.request(event, record.time),
            Event::Dns(event) if event.decision == Decision::Deny => self.query(event, record.time),
            Event::Close(_)
            | Event::Dns(_)
            | Event::Gap(_)
            | Event::Packet(_)
            | Event::Policy(_)
            | Event::Question(_)
            | Event::Start(_)
            | Event::Stop(_) => {}
        }
    }

    fn request(&mut self, event: &RequestEvent, time: Timestamp) {
        let (Some(host), Some(port)) = (&event.host, event.port) else {
            return;
        };
        let host = host.as_str();
        if is_nobodys(host) {
            return;
        }
        let text = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        // Only what no list had an entry for is a question of lists; a wrong SNI or a private address is none.
        match event.reason {
            None if event.rule.is_some() => {}
            None | Some(Reason::NotWhitelisted | Reason::Port) => {
                self.want(&text, event.via, event.count, time);
            }
            Some(reason) => self.refuse(text, reason, event.count),
        }
    }

    /// A refused query is the only trace of a name that was never asked for by a request: the usual port is meant. Types that
    /// carry data rather than addresses are no wish to connect.
    fn query(&mut self, event: &DnsEvent, time: Timestamp) {
        if is_nobodys(event.name.as_str()) {
            return;
        }
        match event.kind.as_str() {
            "A" | "AAAA" => self.want(
                &format!("{}:443", event.name),
                Via::Connect,
                event.count,
                time,
            ),
            _ => self.refuse(
                format!("{} (query for {})", event.name, event.kind),
                Reason::Dns,
                event.count,
            ),
        }
    }

    fn want(&mut self, destination: &str, via: Via, count: u64, time: Timestamp) {
        let Ok(parsed) = Destination::parse_authority(destination, None::<Port>) else {
            return self.refuse(destination.to_owned(), Reason::Malformed, count);
        };
        let key = (parsed.to_string(), via);
        if self.requests.len() >= WANTS_MAX && !self.requests.contains_key(&key) {
            self.more += count;
            return;
        }
        let request = Request {
            destination: parsed,
            via,
        };
        let (_, counted, last) = self.requests.entry(key).or_insert((request, 0, time));
        *counted += count;
        *last = time.max(*last);
    }

    fn refuse(&mut self, destination: String, reason: Reason, count: u64) {
        let key = (destination, reason);
        if self.refused.len() >= WANTS_MAX && !self.refused.contains_key(&key) {
            self.more += count;
            return;
        }
        *self.refused.entry(key).or_default() += count;
    }

    /// What `policy` still refuses of it and a line would allow, and what no line should.
    pub(super) fn judged_by(&self, policy: &Policy) -> (Vec<Want>, Vec<Left>) {
        let mut wants = Vec::new();
        let left = self
            .refused
            .iter()
            .map(|((destination, reason), count)| Left {
                destination: destination.clone(),
                reason: *reason,
                count: *count,
            });
        let mut left: Vec<Left> = left.collect();
        for (request, count, last) in self.requests.values() {
            let Verdict::Deny(deny) = policy.decide(request) else {
                continue;
            };
            let is_open = matches!(deny.reason, Reason::NotWhitelisted | Reason::Port);
            match deny.suggestion.filter(|_| is_open) {
                Some(suggestion) => {
                    wants.push(Want {
                        request: request.clone(),
                        count: *count,
                        last: *last,
                        suggestion,
                    });
                }
                None => {
                    let destination = request.destination.to_string();
                    left.push(Left {
                        destination,
                        reason: deny.reason,
                        count: *count,
                    });
                }
            }
        }
        (wants, left)
    }
}

/// Whether a host is one that leads nowhere by definition: what bring-up itself tries at each start, and RFC 6761 section
/// 6.4 (`invalid`). No line could make it reachable.
fn is_nobodys(host: &str) -> bool {
    let probed = Targets::in_the_box((String::new(), 0), String::new()).foreign;
    let address = host.parse().ok();
    host.trim_end_matches('.').ends_with(".invalid")
        || probed.iter().any(|probed| Some(probed.ip()) == address)
}
