//! A record in which everything that carries text from outside carries hostile text: `tests/schemas/hostile.jsonl`, which
//! the suites of the exported forms read too.

use std::path::Path;

use serde_json::Value;

use super::*;

/// What a name, a method, a path of a program or a user can hold, as bytes of the wire.
const TEXTS: [&[u8]; 8] = [
    b"\",\"decision\":\"allow\"}\\\"'`{}",
    b"a\nb\r\nc\0\t\x0b\x08\x7f",
    b"\x1b[2J\x1b]0;title\x07\xc2\x9b31m\xc2\x85",
    "\u{202e}txt.\u{2066}exe\u{200b}\u{2028}\u{2029}\u{feff}\u{fffd}\u{10ffff}".as_bytes(),
    b"\xff\xfe\xc0\xaf\xed\xa0\x80 cut \xe2\x82",
    b"=cmd|'/C calc'!A1,;\"=\"",
    b"x dhost=ok.test act=allow|CEF:0|a|b|c|d\\|e\\=f\\",
    b"@\\xff\\u0000\\n%00%0a${jndi:x}<script>",
];

/// Every field that takes any text: nothing else may be in this list, and nothing be missing.
const FIELDS: [&str; 16] = [
    "dns/name",
    "dns/type",
    "packet/protocol",
    "policy/source",
    "question/by/user",
    "question/host",
    "question/process/exe",
    "request/host",
    "request/method",
    "request/process/exe",
    "request/rule/file",
    "request/rule/text",
    "request/sni",
    "start/engine",
    "start/version",
    "stop/cause",
];

/// A digest of ours that the schema holds to its form: nothing from outside stands in it.
const DIGEST: &str = "policy/hash";

/// Where the strings of a value are.
fn strings(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(path.to_owned()),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| strings(value, &format!("{path}/{key}"), found)),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .for_each(|(index, value)| strings(value, &format!("{path}/{index}"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The event with `text` wherever its type takes any text, and the names of those fields.
fn planted(event: &Event, text: &Text) -> (Event, Vec<String>) {
    let mut whole = serde_json::to_value(event).unwrap();
    let kind = whole["event"].as_str().unwrap().to_owned();
    let (mut paths, mut fields) = (Vec::new(), Vec::new());
    strings(&whole, "", &mut paths);
    for path in paths {
        let field = format!("{kind}{path}");
        let mut changed = whole.clone();
        *changed.pointer_mut(&path).unwrap() = text.as_str().into();
        if field != DIGEST && serde_json::from_value::<Event>(changed.clone()).is_ok() {
            whole = changed;
            fields.push(field);
        }
    }
    (serde_json::from_value(whole).unwrap(), fields)
}

#[test]
fn hostile_text_in_every_field_of_every_event_is_one_line_that_reads_back_as_it_was() {
    let (mut fields, mut all) = (Vec::new(), String::new());
    for text in TEXTS.map(Text::from_bytes) {
        let (sandbox, run) = (text.to_string(), text.to_string());
        let mut chain = Chain::new(&Header {
            sandbox: sandbox.clone(),
            run: run.clone(),
        });
        for (seq, event) in (1..).zip(sample::events()) {
            let (event, found) = planted(&event, &text);
            fields.extend(found);
            let time = Timestamp::from_unix_millis(1_795_223_640_123);
            let line = std::str::from_utf8(chain.line(time, &event)).unwrap();
            let bare = line.strip_suffix('\n').unwrap();
            assert!(
                bare.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{bare}"
            );
            let written = Record {
                seq,
                time,
                sandbox: sandbox.clone(),
                run: run.clone(),
                event,
            };
            assert_eq!(Record::parse(bare.as_bytes()), Ok(written), "{bare}");
            all.push_str(line);
        }
    }
    fields.sort();
    fields.dedup();
    assert_eq!(fields, FIELDS);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/schemas/hostile.jsonl");
    if std::env::var_os("OCS_BLESS").is_some() {
        std::fs::write(&path, &all).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).is_ok_and(|found| found == all),
        "{} is not what is written; run the test with OCS_BLESS=1 and review it",
        path.display()
    );
}
