//! Questions of the catalogue's section D, and every malformed one.

use policies::Deny;
use proptest::prelude::*;

use super::*;

/// Allows `ok.test` exactly, and `w.test` with all below it.
pub(crate) fn stub() -> Arc<Stub> {
    let judge = |name: &DnsName| match name.as_str() {
        "ok.test" | "w.test" => NameVerdict::Allow(None),
        other if other.ends_with(".w.test") => NameVerdict::Allow(None),
        _ => NameVerdict::Deny(Deny::new(Reason::NotWhitelisted)),
    };
    let own_names = vec![DnsName::parse("my-sandbox").unwrap()];
    Stub::new(Box::new(judge), Synthetic::default(), own_names)
}

pub(crate) fn question(name: &str, kind: RecordType) -> Vec<u8> {
    message(name, kind).to_vec().unwrap()
}

fn message(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0xbeef, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask(stub: &Stub, question: &[u8]) -> Message {
    Message::from_vec(&stub.answer(question, Instant::now()).unwrap()).unwrap()
}

/// A question whose name is these labels, whatever bytes they hold.
fn labels(labels: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0xbe, 0xef, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label);
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

fn addresses(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

fn code(stub: &Stub, question: &[u8]) -> ResponseCode {
    ask(stub, question).metadata.response_code
}

#[test]
fn an_allowed_name_has_a_synthetic_address() {
    let asked = message("ok.test.", RecordType::A);
    let answer = ask(&stub(), &asked.to_vec().unwrap());
    let mut expected = Message::new(0xbeef, MessageType::Response, OpCode::Query);
    expected.metadata.recursion_desired = true;
    expected.metadata.recursion_available = true;
    expected.add_query(asked.queries[0].clone());
    let address = RData::A(A(Ipv4Addr::new(198, 18, 1, 0)));
    expected.add_answer(Record::from_rdata(
        Name::from_ascii("ok.test.").unwrap(),
        60,
        address,
    ));
    assert_eq!(answer, expected);
}

#[test]
fn a_name_has_one_address_however_it_is_written_and_the_question_comes_back_as_asked() {
    let stub = stub();
    let first = ask(&stub, &question("ok.test.", RecordType::A));
    let second = ask(&stub, &question("oK.TeSt.", RecordType::A));
    assert_eq!(addresses(&first), addresses(&second));
    assert_eq!(second.queries[0].name().to_ascii(), "oK.TeSt.");
}

#[test]
fn an_allowed_name_has_no_other_address_record_and_says_so_at_once() {
    for kind in [RecordType::AAAA, RecordType::HTTPS, RecordType::SVCB] {
        let answer = ask(&stub(), &question("ok.test.", kind));
        assert_eq!(
            (
                answer.metadata.response_code,
                answer.answers.len(),
                answer.authorities.len()
            ),
            (ResponseCode::NoError, 0, 1),
            "{kind}"
        );
    }
}

#[test]
fn d09_every_other_type_is_refused_even_for_an_allowed_name() {
    let mut kinds = vec![
        RecordType::ANY,
        RecordType::AXFR,
        RecordType::IXFR,
        RecordType::CNAME,
        RecordType::MX,
        RecordType::NAPTR,
        RecordType::NS,
        RecordType::NULL,
        RecordType::PTR,
        RecordType::SOA,
        RecordType::SRV,
        RecordType::TXT,
    ];
    kinds.extend([0, 99, 250, 32_769, 65_535].map(RecordType::Unknown));
    for kind in kinds {
        assert_eq!(
            code(&stub(), &question("ok.test.", kind)),
            ResponseCode::Refused,
            "{kind}"
        );
    }
}

#[test]
fn a_name_that_is_not_allowed_is_refused_for_every_type() {
    for kind in [
        RecordType::A,
        RecordType::AAAA,
        RecordType::HTTPS,
        RecordType::TXT,
    ] {
        let answer = ask(&stub(), &question("evil.test.", kind));
        assert_eq!(
            (
                answer.metadata.response_code,
                answer.answers.len(),
                answer.authorities.len()
            ),
            (ResponseCode::Refused, 0, 0)
        );
    }
}

#[test]
fn n06_a_suffix_without_its_dot_and_a_name_below_an_exact_entry_are_refused() {
    for name in [
        "evilw.test.",
        "w.test.evil.test.",
        "x.ok.test.",
        "test.",
        ".",
    ] {
        assert_eq!(
            code(&stub(), &question(name, RecordType::A)),
            ResponseCode::Refused,
            "{name}"
        );
    }
}

#[test]
fn localhost_and_the_sandboxs_own_name_are_loopback() {
    let stub = stub();
    for name in ["localhost.", "LOCALHOST.", "app.localhost.", "my-sandbox."] {
        let four = ask(&stub, &question(name, RecordType::A));
        let six = ask(&stub, &question(name, RecordType::AAAA));
        assert_eq!(
            (addresses(&four), addresses(&six)),
            (vec!["127.0.0.1".into()], vec!["::1".into()])
        );
    }
    assert_eq!(
        code(&stub, &question("localhost.", RecordType::TXT)),
        ResponseCode::Refused
    );
    assert_eq!(stub.synthetic.issued(), 0);
}

#[test]
fn another_class_is_refused() {
    let mut asked = message("ok.test.", RecordType::A);
    asked.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(
        code(&stub(), &asked.to_vec().unwrap()),
        ResponseCode::Refused
    );
}

#[test]
fn labels_that_only_look_like_an_allowed_name_are_refused() {
    let hostile: [&[&[u8]]; 10] = [
        &[b"ok.test"],
        &[b"a.w", b"test"],
        &[b"evil", b"x.w", b"test"],
        &[b"evil\0", b"w", b"test"],
        &[b"evil ", b"w", b"test"],
        &[b"\xff\xfe", b"w", b"test"],
        &["\u{ff4f}k".as_bytes(), b"w", b"test"],
        &[b"a%2e", b"w", b"test"],
        &[b"a\n", b"w", b"test"],
        &[b"*", b"w", b"test"],
    ];
    for name in hostile {
        assert_eq!(
            code(&stub(), &labels(name)),
            ResponseCode::Refused,
            "{name:?}"
        );
    }
}

#[test]
fn an_address_written_as_a_name_is_refused() {
    for name in ["127.0.0.1.", "1.w.1.", "0x7f000001."] {
        assert_eq!(
            code(&stub(), &question(name, RecordType::A)),
            ResponseCode::Refused,
            "{name}"
        );
    }
}

#[test]
fn a_full_table_is_a_failure_that_may_pass() {
    let stub = stub();
    for number in 0..crate::synthetic::CAPACITY {
        let name = DnsName::parse(&format!("n{number}.w.test")).unwrap();
        assert!(matches!(
            stub.synthetic.issue(&name, Instant::now()),
            Issued::First(_)
        ));
    }
    assert_eq!(
        code(&stub, &question("one.more.w.test.", RecordType::A)),
        ResponseCode::ServFail
    );
    assert_eq!(
        code(&stub, &question("n0.w.test.", RecordType::A)),
        ResponseCode::NoError
    );
}

#[test]
fn edns_is_answered_with_edns_and_a_refusal_says_why() {
    let mut asked = message("evil.test.", RecordType::A);
    asked.set_edns(Edns::new());
    let answer = ask(&stub(), &asked.to_vec().unwrap());
    let edns = answer.edns.unwrap();
    let why = EdnsOption::Unknown(15, b"\x00\x12ocs: dns".to_vec());
    assert_eq!(
        (edns.max_payload(), edns.version(), edns.options().as_ref()),
        (1232, 0, [(15.into(), why)].as_slice())
    );
}

#[test]
fn without_edns_none_comes_back() {
    assert_eq!(
        ask(&stub(), &question("ok.test.", RecordType::A)).edns,
        None
    );
}

#[test]
fn a_later_version_of_edns_is_told_that_it_is_too_late() {
    let mut asked = message("ok.test.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    asked.set_edns(edns);
    let stub = stub();
    let answer = ask(&stub, &asked.to_vec().unwrap());
    // 16 is BADVERS here, and BADSIG in TSIG. RFC 6895 section 2.3.
    let code = u16::from(answer.metadata.response_code);
    assert_eq!((code, answer.answers.len()), (16, 0));
    assert_eq!(
        told(&stub),
        [dns("ok.test", "A", Some(Reason::Dns), 1)],
        "it is refused on record"
    );
}

#[test]
fn a_response_or_a_fragment_of_a_header_gets_no_answer() {
    let stub = stub();
    let mut response = question("ok.test.", RecordType::A);
    response[2] |= 0x80;
    assert_eq!(stub.answer(&response, Instant::now()), None);
    for length in 0..12 {
        assert_eq!(stub.answer(&response[..length], Instant::now()), None);
    }
}

#[test]
fn every_other_opcode_is_not_implemented() {
    for op_code in 1..16_u8 {
        let mut asked = question("ok.test.", RecordType::A);
        asked[2] = (op_code << 3) | 1;
        assert_eq!(code(&stub(), &asked), ResponseCode::NotImp, "{op_code}");
    }
}

#[test]
fn a_message_that_is_not_one_question_alone_is_malformed() {
    let stub = stub();
    for (place, count) in [(5, 0), (5, 2), (4, 1), (7, 1), (9, 1), (11, 3)] {
        let mut asked = question("ok.test.", RecordType::A);
        asked[place] = count;
        assert_eq!(
            code(&stub, &asked),
            ResponseCode::FormErr,
            "{place} {count}"
        );
    }
}

#[test]
fn pointers_that_loop_or_lead_out_are_malformed() {
    let header = [0xbe, 0xef, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let names: [&[u8]; 5] = [
        &[0xc0, 12],           // at itself
        &[1, b'a', 0xc0, 12],  // at its own label
        &[0xc0, 14, 0xc0, 12], // at each other
        &[0xff, 0xff],         // past the end
        &[0x40, b'a', 0],      // a label type that does not exist
    ];
    for name in names {
        let asked = [&header, name, &[0, 1, 0, 1]].concat();
        assert_eq!(code(&stub(), &asked), ResponseCode::FormErr, "{name:?}");
    }
}

#[test]
fn every_prefix_of_a_question_is_malformed_or_unanswered() {
    let mut asked = message("a.w.test.", RecordType::A);
    asked.set_edns(Edns::new());
    let asked = asked.to_vec().unwrap();
    let stub = stub();
    for length in 12..asked.len() {
        assert_eq!(
            code(&stub, &asked[..length]),
            ResponseCode::FormErr,
            "{length}"
        );
    }
    assert_eq!(code(&stub, &asked), ResponseCode::NoError);
}

proptest! {
    #[test]
    fn whatever_comes_the_answer_is_a_response_to_it_and_never_leads_outside(
        head in prop::array::uniform12(any::<u8>()),
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut message = head.to_vec();
        message[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 1]);
        message.extend_from_slice(&rest);
        if let Some(answer) = stub().answer(&message, Instant::now()) {
            prop_assert_eq!(&answer[..2], &message[..2]);
            prop_assert!(answer[2] & 0x80 != 0 && answer.len() <= 512);
            let answer = Message::from_vec(&answer).unwrap();
            prop_assert_eq!(answer.answers.len(), 0);
        }
    }
}

/// What the record says of what was asked so far.
fn told(stub: &Stub) -> Vec<Event> {
    stub.seen
        .take()
        .into_iter()
        .map(|(seen, count)| event(seen, count))
        .collect()
}

fn dns(name: &str, kind: &str, reason: Option<Reason>, count: u64) -> Event {
    let decision = if reason.is_some() {
        Decision::Deny
    } else {
        Decision::Allow
    };
    Event::Dns(DnsEvent {
        name: name.into(),
        kind: kind.into(),
        decision,
        reason,
        count,
    })
}

#[test]
fn the_record_counts_each_refusal_by_name_and_type_and_tells_an_issued_name_once() {
    let stub = stub();
    for (name, kind) in [
        ("Evil.test.", RecordType::A),
        ("evil.test.", RecordType::A),
        ("evil.test.", RecordType::TXT),
        ("ok.test.", RecordType::A),
        ("ok.test.", RecordType::A),
        ("ok.test.", RecordType::AAAA),
        ("ok.test.", RecordType::Unknown(9999)),
        ("localhost.", RecordType::A),
    ] {
        ask(&stub, &question(name, kind));
    }
    assert_eq!(
        told(&stub),
        [
            dns("evil.test", "A", Some(Reason::Dns), 2),
            dns("evil.test", "TXT", Some(Reason::Dns), 1),
            dns("ok.test", "A", None, 1),
            dns("ok.test", "TYPE9999", Some(Reason::Dns), 1),
        ]
    );
}

#[test]
fn the_record_shows_hostile_bytes_escaped_and_malformed_messages_as_such() {
    let stub = stub();
    ask(&stub, &labels(&[b"a.b", b"\xff\n", b"test"]));
    ask(&stub, &[0xbe, 0xef, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(stub.answer(b"x", Instant::now()), None);
    let shown = String::from("a\\x2eb.\\xff\n.test");
    let told_first = told(&stub).remove(0);
    assert_eq!(
        told_first,
        Event::Dns(DnsEvent {
            name: serde_json::from_value(shown.into()).unwrap(),
            kind: "A".into(),
            decision: Decision::Deny,
            reason: Some(Reason::Dns),
            count: 1,
        })
    );
    ask(&stub, &[0xbe, 0xef, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(stub.answer(b"x", Instant::now()), None);
    assert_eq!(told(&stub), [dns("", "", Some(Reason::Malformed), 2)]);
}

#[test]
fn r07_a_hundred_thousand_refused_names_are_counted_exactly_and_few_are_named() {
    let stub = stub();
    for number in 0..100_000 {
        ask(
            &stub,
            &labels(&[format!("n{number}").as_bytes(), b"evil", b"test"]),
        );
    }
    let told = told(&stub);
    let named = told
        .iter()
        .filter(|event| matches!(event, Event::Dns(event) if event.count == 1));
    let gap = Event::Gap(GapEvent {
        lost: Lost::Dns,
        count: Some(100_000 - 256),
    });
    assert_eq!((named.count(), told.len(), &told[256]), (256, 257, &gap));
    assert_eq!(stub.synthetic.issued(), 0);
}
