//! An event with any bytes in it is one line of plain ASCII that is read back as that event; what was not written so is
//! never taken for a record, and a record is read alike however it is cut.

use std::sync::Arc;

use policies::audit::{
    Chain, Decision, DnsEvent, Event, Header, Outcome, PacketEvent, Process, RequestEvent,
    StopEvent, Text, Timestamp, Verified, Verifier,
};
use policies::{Generation, Reason, Rule, Via};

/// Texts of events, separated by 0xfe; and the same bytes as a record of their own.
///
/// # Panics
/// Where a promise is broken.
pub fn holds(data: &[u8]) {
    let parts: Vec<&[u8]> = data.split(|byte| *byte == 0xfe).collect();
    written(&parts);
    let cut = data.first().map_or(0, |byte| usize::from(*byte));
    assert_eq!(
        verified(data, data.len()),
        verified(data, cut),
        "cut at {cut}"
    );
}

fn written(parts: &[&[u8]]) {
    let text = |at: usize| Text::from_bytes(parts.get(at).copied().unwrap_or_default());
    let plain = |at: usize| {
        String::from_utf8_lossy(parts.get(at).copied().unwrap_or_default()).into_owned()
    };
    let header = Header {
        sandbox: plain(0),
        run: plain(1),
    };
    let mut chain = Chain::new(&header);
    let mut verifier = Verifier::new();
    let time = Timestamp::from_unix_millis(1_795_223_640_123);
    for event in events(text, plain) {
        let line = chain.line(time, &event).to_vec();
        let (newline, body) = line.split_last().expect("a line");
        assert_eq!(*newline, b'\n');
        assert!(
            body.iter().all(|byte| (b' '..=b'~').contains(byte)),
            "{:?}",
            String::from_utf8_lossy(body)
        );
        let record = verifier.line(body).expect("what is written is read");
        assert_eq!((record.event, record.time), (event, time));
        assert_eq!(
            (record.sandbox, record.run),
            (header.sandbox.clone(), header.run.clone())
        );
        // The same line by a general reader of JSON: no field came twice, none is missing.
        let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(value["seq"].as_u64(), Some(record.seq));
        // A changed byte is noticed, wherever it is.
        let at = parts.concat().len() % body.len();
        let mut changed = body.to_vec();
        changed[at] ^= 1;
        let mut fresh = Verifier::after(record.seq - 1, value["prev"].as_str().expect("a hash"));
        assert!(fresh.line(&changed).is_err(), "byte {at}");
    }
    assert_eq!(
        verifier.finish().map(|verified| verified.head),
        Ok(chain.head())
    );
}

fn events(text: impl Fn(usize) -> Text, plain: impl Fn(usize) -> String) -> [Event; 4] {
    let rule = Rule {
        file: Arc::from(plain(2)),
        line: 7,
        text: Arc::from(plain(3)),
    };
    [
        Event::Request(RequestEvent {
            id: 1,
            decision: Decision::Deny,
            reason: Some(Reason::Malformed),
            rule: Some(rule),
            via: Via::Connect,
            method: Some(text(2)),
            host: Some(text(3)),
            port: Some(443),
            sni: Some(text(4)),
            address: None,
            generation: Generation(1),
            process: Process {
                pid: Some(7),
                exe: Some(text(5)),
            },
            dropped: Vec::new(),
            count: 1,
        }),
        Event::Dns(DnsEvent {
            name: text(2),
            kind: text(3),
            decision: Decision::Deny,
            reason: Some(Reason::Dns),
            count: 3,
        }),
        Event::Packet(PacketEvent {
            protocol: text(4),
            address: None,
            port: None,
            count: 1,
            reason: Reason::Direct,
        }),
        Event::Stop(StopEvent {
            cause: text(2),
            allowed: 1,
            denied: 2,
            packets: Outcome::ALL.len() as u64,
        }),
    ]
}

/// What a verifier makes of bytes that come in two pieces.
fn verified(data: &[u8], cut: usize) -> Result<(Verified, usize), String> {
    let mut verifier = Verifier::new();
    let mut lines = 0;
    let (first, second) = data.split_at(cut.min(data.len()));
    for piece in [first, second] {
        verifier
            .feed(piece, |_| lines += 1)
            .map_err(|bad| bad.to_string())?;
    }
    verifier
        .finish()
        .map(|whole| (whole, lines))
        .map_err(|bad| bad.to_string())
}
