//! A record with every event, for tests and for `docs/audit-log.md`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::{Generation, Mode, Reason, Rule, Via};

fn rule() -> Rule {
    Rule {
        file: Arc::from("opencode-sandbox-config.yaml"),
        line: 4,
        text: Arc::from(".example.org"),
    }
}

fn allowed() -> RequestEvent {
    RequestEvent {
        id: 1,
        decision: Decision::Allow,
        reason: None,
        rule: Some(rule()),
        via: Via::Connect,
        method: Some(Text::new("CONNECT")),
        host: Some(Text::new("api.example.org")),
        port: Some(443),
        sni: Some(Text::new("api.example.org")),
        address: Some(IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14))),
        generation: Generation(1),
        process: Process {
            pid: Some(4711),
            exe: Some(Text::new("/usr/bin/curl")),
        },
        dropped: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5))],
        count: 1,
    }
}

fn denied() -> RequestEvent {
    RequestEvent {
        id: 2,
        decision: Decision::Deny,
        reason: Some(Reason::NotWhitelisted),
        rule: None,
        via: Via::CapturedTls,
        method: None,
        host: Some(Text::new("telemetry.example.com")),
        port: Some(443),
        sni: Some(Text::new("telemetry.example.com")),
        address: None,
        generation: Generation(1),
        process: Process::UNKNOWN,
        dropped: Vec::new(),
        count: 1,
    }
}

fn answered() -> QuestionEvent {
    QuestionEvent {
        question: 1,
        host: Text::new("pypi.example.org"),
        port: 443,
        answer: Some(Reply::Run),
        by: Some(Approver {
            uid: 1000,
            user: Some(Text::new("alice")),
        }),
        waiting: 2,
        duration_ms: 6_120,
        process: Process {
            pid: Some(4712),
            exe: Some(Text::new("/usr/bin/pip")),
        },
    }
}

/// One event of each kind, in an order that a run could have.
pub(crate) fn events() -> Vec<Event> {
    vec![
        Event::Start(StartEvent {
            version: Text::new("0.1.0"),
            mode: Mode::Filtered,
            engine: Text::new("native"),
        }),
        Event::Policy(PolicyEvent {
            hash: Text::new("6cd7a0e1b1b4b7a3c1a5a7d1b6d3f6b7e4d5c6b7a8f9e0d1c2b3a4f5e6d7c8b9"),
            generation: Generation(1),
            source: Text::new("opencode-sandbox-config.yaml"),
            mode: Mode::Filtered,
        }),
        Event::Request(allowed()),
        Event::Close(CloseEvent {
            id: 1,
            outcome: Outcome::Done,
            bytes_up: 1_731,
            bytes_down: 48_211,
            duration_ms: 412,
        }),
        Event::Request(denied()),
        Event::Request(RequestEvent {
            id: 6,
            count: 40_211,
            process: Process::UNKNOWN,
            ..denied()
        }),
        Event::Question(answered()),
        Event::Packet(PacketEvent {
            protocol: Text::new("udp"),
            address: Some(IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8))),
            port: Some(443),
            count: 12,
            reason: Reason::Direct,
        }),
        Event::Dns(DnsEvent {
            name: Text::new("exfil.example.com"),
            kind: Text::new("TXT"),
            decision: Decision::Deny,
            reason: Some(Reason::Dns),
            count: 1,
        }),
        Event::Gap(GapEvent {
            lost: Lost::Packets,
            count: None,
        }),
        Event::Stop(StopEvent {
            cause: Text::new("drained"),
            allowed: 1,
            denied: 40_212,
            packets: 12,
        }),
    ]
}

/// These events as a record, one line after the other.
pub(crate) fn record() -> Vec<u8> {
    let header = Header {
        sandbox: "demo-868d69".to_owned(),
        run: "20261121T011400Z-5f3a9c".to_owned(),
    };
    let mut chain = Chain::new(&header);
    let mut out = Vec::new();
    for (index, event) in (0_u64..).zip(events()) {
        let time = Timestamp::from_unix_millis(1_795_223_640_123 + 250 * index);
        out.extend_from_slice(chain.line(time, &event));
    }
    out
}

#[test]
fn the_example_in_the_documentation_is_a_record_of_every_event() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/audit-log.md");
    let text = std::fs::read_to_string(path).unwrap();
    let record = String::from_utf8(record()).unwrap();
    assert!(
        text.contains(&record),
        "docs/audit-log.md should hold:\n{record}"
    );
}
