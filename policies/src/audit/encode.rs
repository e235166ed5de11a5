//! Writes the fields of the two commonest events straight into the line; the others go through serde.
//!
//! A second way to write what `event.rs` says: `the_short_way_writes_what_serde_writes` holds them to each other.
//! Clauses: R4.

use std::net::IpAddr;

use serde::Serialize;

use super::chain::append;
use super::{CloseEvent, Decision, Event, Process, RequestEvent, Text};
use crate::Rule;

/// Appends an event's fields, without braces around them.
pub(super) fn event(out: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Close(close) => self::close(out, close),
        Event::Request(request) => self::request(out, request),
        Event::Dns(_)
        | Event::Gap(_)
        | Event::Packet(_)
        | Event::Policy(_)
        | Event::Question(_)
        | Event::Start(_)
        | Event::Stop(_) => bare(out, event),
    }
}

/// The long way: an object, whose braces go.
fn bare<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    let object = out.len();
    append(out, value);
    out.remove(object);
    out.pop();
}

fn close(out: &mut Vec<u8>, event: &CloseEvent) {
    let CloseEvent {
        id,
        outcome,
        bytes_up,
        bytes_down,
        duration_ms,
    } = event;
    out.extend_from_slice(b"\"event\":\"close\",\"id\":");
    number(out, *id);
    out.extend_from_slice(b",\"outcome\":");
    string(out, outcome.code());
    out.extend_from_slice(b",\"bytes_up\":");
    number(out, *bytes_up);
    out.extend_from_slice(b",\"bytes_down\":");
    number(out, *bytes_down);
    out.extend_from_slice(b",\"duration_ms\":");
    number(out, *duration_ms);
}

fn request(out: &mut Vec<u8>, event: &RequestEvent) {
    let RequestEvent {
        id,
        decision,
        reason,
        rule,
        via,
        method,
        host,
        port,
        sni,
        address,
        generation,
        process,
        dropped,
        count,
    } = event;
    out.extend_from_slice(b"\"event\":\"request\",\"id\":");
    number(out, *id);
    out.extend_from_slice(match decision {
        Decision::Allow => b",\"decision\":\"allow\",\"reason\":".as_slice(),
        Decision::Deny => b",\"decision\":\"deny\",\"reason\":",
    });
    optional(out, reason.as_ref(), |out, reason| {
        string(out, reason.code());
    });
    out.extend_from_slice(b",\"rule\":");
    optional(out, rule.as_ref(), self::rule);
    out.extend_from_slice(b",\"via\":");
    string(out, via.code());
    out.extend_from_slice(b",\"method\":");
    optional(out, method.as_ref(), text);
    out.extend_from_slice(b",\"host\":");
    optional(out, host.as_ref(), text);
    out.extend_from_slice(b",\"port\":");
    optional(out, port.as_ref(), |out, port| {
        number(out, u64::from(*port));
    });
    out.extend_from_slice(b",\"sni\":");
    optional(out, sni.as_ref(), text);
    out.extend_from_slice(b",\"address\":");
    optional(out, address.as_ref(), self::address);
    out.extend_from_slice(b",\"generation\":");
    number(out, generation.0);
    out.extend_from_slice(b",\"process\":");
    self::process(out, process);
    out.extend_from_slice(b",\"dropped\":");
    append(out, dropped);
    if *count != 1 {
        out.extend_from_slice(b",\"count\":");
        number(out, *count);
    }
}

fn rule(out: &mut Vec<u8>, Rule { file, line, text }: &Rule) {
    out.extend_from_slice(b"{\"file\":");
    string(out, file);
    out.extend_from_slice(b",\"line\":");
    number(out, u64::from(*line));
    out.extend_from_slice(b",\"text\":");
    string(out, text);
    out.push(b'}');
}

fn process(out: &mut Vec<u8>, Process { pid, exe }: &Process) {
    out.extend_from_slice(b"{\"pid\":");
    optional(out, pid.as_ref(), |out, pid| {
        number(out, u64::from(*pid));
    });
    out.extend_from_slice(b",\"exe\":");
    optional(out, exe.as_ref(), text);
    out.push(b'}');
}

fn address(out: &mut Vec<u8>, address: &IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            let mut mark = b'"';
            for octet in v4.octets() {
                out.push(mark);
                number(out, u64::from(octet));
                mark = b'.';
            }
            out.push(b'"');
        }
        IpAddr::V6(_) => append(out, address),
    }
}

fn optional<T>(out: &mut Vec<u8>, value: Option<&T>, write: impl FnOnce(&mut Vec<u8>, &T)) {
    match value {
        Some(value) => write(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn text(out: &mut Vec<u8>, text: &Text) {
    string(out, text.as_str());
}

/// A JSON string; what needs no escape is copied.
fn string(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.as_bytes().iter().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        append(out, text);
    }
}

/// A number in decimal.
pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; 20]; // u64::MAX has so many
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Outcome, sample};
    use crate::{Generation, Reason, Via};

    /// Texts with whatever a string may need escaped, and the borders of what it may not.
    const TEXTS: [&str; 8] = [
        "",
        "plain name",
        "a\"b",
        "a\\b",
        "tab\t",
        "del\u{7f}",
        "caf\u{e9} \u{202e}",
        "~ \u{1f}\n",
    ];

    fn check(event: &Event) {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        super::event(&mut short, event);
        bare(&mut long, event);
        assert_eq!(String::from_utf8(short), String::from_utf8(long));
    }

    #[test]
    fn the_short_way_writes_what_serde_writes() {
        sample::events().iter().for_each(check);
        for outcome in Outcome::ALL {
            for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
                check(&Event::Close(CloseEvent {
                    id: number,
                    outcome,
                    bytes_up: number / 7,
                    bytes_down: number / 3,
                    duration_ms: number,
                }));
            }
        }
        let addresses: [Option<IpAddr>; 4] = [
            None,
            "0.10.255.1".parse().ok(),
            "2001:db8::1".parse().ok(),
            "::ffff:10.0.0.1".parse().ok(),
        ];
        let ways = [
            Via::Connect,
            Via::Http,
            Via::CapturedHttp,
            Via::CapturedTcp,
            Via::CapturedTls,
        ];
        for (index, shown) in TEXTS.iter().enumerate() {
            for reason in Reason::ALL {
                for via in ways {
                    let some = (index % 2 == 0).then(|| Text::new(shown));
                    check(&Event::Request(RequestEvent {
                        id: 7,
                        decision: if index < 4 {
                            Decision::Allow
                        } else {
                            Decision::Deny
                        },
                        reason: some.as_ref().map(|_| reason),
                        rule: some.as_ref().map(|_| Rule {
                            file: (*shown).into(),
                            line: u32::MAX,
                            text: (*shown).into(),
                        }),
                        via,
                        method: some.clone(),
                        host: Some(Text::new(shown)),
                        port: Some(65_535),
                        sni: some.clone(),
                        address: addresses.get(index % 4).copied().flatten(),
                        generation: Generation(3),
                        process: Process {
                            pid: (index > 2).then_some(u32::MAX),
                            exe: some,
                        },
                        dropped: addresses.iter().flatten().copied().collect(),
                        count: 1 + index as u64 % 2,
                    }));
                }
            }
        }
    }
}
