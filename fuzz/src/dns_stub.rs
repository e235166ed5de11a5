//! Whatever is asked of the stub: an answer to that question or none, an address only for a name that is allowed, and
//! nothing of a query anywhere else.

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use policies::{Deny, DnsName, NameVerdict, Reason};
use proxy::dns_stub::Stub;
use proxy::synthetic::{self, Synthetic};
use tokio::time::Instant;

/// A message of any bytes, asked twice.
///
/// # Panics
/// Where a promise is broken.
pub fn holds(data: &[u8]) {
    let table = Synthetic::default();
    let own = DnsName::parse("my-sandbox").expect("a name");
    let stub = Stub::new(Box::new(judge), table.clone(), vec![own]);
    let now = Instant::now();
    let first = stub.answer(data, now);
    assert_eq!(stub.answer(data, now), first, "a question has one answer");
    let Some(answer) = first else {
        assert!(
            data.len() < 12 || data[2] & 0x80 != 0,
            "only what is no question gets none"
        );
        assert_eq!(table.issued(), 0);
        return;
    };
    assert!(answer.len() <= 512 + 255, "{}: no amplifier", answer.len());
    let message = Message::from_vec(&answer).expect("an answer is a message");
    assert_eq!(answer[..2], data[..2], "the id");
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert!(message.queries.len() <= 1 && message.answers.len() <= 1);
    let [record] = message.answers.as_slice() else {
        assert_eq!(table.issued(), 0, "an address without an answer");
        return;
    };
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    let query = message
        .queries
        .first()
        .expect("an answer repeats its question");
    assert_eq!(
        (&record.name, record.record_type()),
        (query.name(), query.query_type())
    );
    let text = query.name().to_ascii();
    let name = DnsName::parse(&text).expect("only a name of ours has an address");
    match record.data.ip_addr() {
        Some(IpAddr::V4(address)) if synthetic::in_range(address) => {
            assert!(matches!(judge(&name), NameVerdict::Allow(_)), "{name}");
            let held = table.hold(address, now).expect("it was issued");
            assert_eq!((held.name(), table.issued()), (&name, 1));
        }
        Some(address) => {
            assert!(address.is_loopback(), "{address}");
            assert!(
                name.as_str() == "my-sandbox" || name.labels().next_back() == Some("localhost")
            );
        }
        None => panic!("{record}"),
    }
}

fn judge(name: &DnsName) -> NameVerdict {
    match name.as_str() {
        "ok.test" | "w.test" => NameVerdict::Allow(None),
        other if other.ends_with(".w.test") => NameVerdict::Allow(None),
        _ => NameVerdict::Deny(Deny::new(Reason::NotWhitelisted)),
    }
}
