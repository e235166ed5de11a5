use policies::audit::{RequestEvent, Timestamp};
use serde_json::json;

use super::*;
use crate::audit_cmd::tests::events;

fn records() -> Vec<Record> {
    let record = |(seq, event)| Record {
        seq,
        time: Timestamp::from_unix_millis(1_795_223_640_123),
        sandbox: "app-1".to_owned(),
        run: "run-1".to_owned(),
        event,
    };
    (1..).zip(events()).map(record).collect()
}

#[test]
fn a_refused_request_in_each_form() {
    let mut record = records().remove(4);
    if let policies::audit::Event::Request(RequestEvent { host, .. }) = &mut record.event {
        *host = Some("a|b=c\\d\n\u{202e}".into());
    }
    assert_eq!(
        line(ExportFormat::Cef, &record),
        format!(
            "CEF:0|ocs|ocs-proxy|{VERSION}|request.deny|request refused|6|rt=1795223640123 externalId=5 \
             deviceExternalId=app-1 act=deny reason=not-whitelisted app=connect requestMethod=CONNECT \
             dhost=a|b\\=c\\\\\\\\x5cd\\\\n\\\\u{{202e}} dpt=443 cnt=1 cn1Label=generation cn1=1 cn2Label=request cn2=2 \
             cs1Label=run cs1=run-1"
        )
    );
    let ecs = ecs::document(&record);
    assert_eq!(
        (
            &ecs["event"]["type"],
            &ecs["event"]["reason"],
            &ecs["destination"]["port"]
        ),
        (
            &json!(["connection", "denied"]),
            &json!("not-whitelisted"),
            &json!(443)
        )
    );
    let ocsf = ocsf::event(&record);
    assert_eq!(
        (
            &ocsf["class_uid"],
            &ocsf["type_uid"],
            &ocsf["action_id"],
            &ocsf["status_detail"]
        ),
        (
            &json!(4001),
            &json!(400_105),
            &json!(2),
            &json!("not-whitelisted")
        )
    );
}

#[test]
fn every_event_is_one_line_of_printable_ascii_in_each_form() {
    let hostile = include_str!("../../../../tests/schemas/hostile.jsonl");
    let hostile = hostile
        .lines()
        .map(|line| Record::parse(line.as_bytes()).unwrap());
    for record in records().into_iter().chain(hostile) {
        for format in [
            ExportFormat::Cef,
            ExportFormat::Ecs,
            ExportFormat::Ocsf,
            ExportFormat::Otlp,
        ] {
            let line = line(format, &record);
            assert!(
                line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{line:?}"
            );
        }
    }
}

#[test]
fn a_refused_request_is_a_log_record_of_opentelemetry() {
    let record = records().remove(4);
    let log = otlp::log_record(&record);
    assert_eq!(
        (
            &log["timeUnixNano"],
            &log["severityNumber"],
            &log["eventName"]
        ),
        (
            &json!("1795223640123000000"),
            &json!(13),
            &json!("ocs.request")
        )
    );
    let attributes = log["attributes"].as_array().unwrap();
    for expected in [
        json!({"key": "event.reason", "value": {"stringValue": "not-whitelisted"}}),
        json!({"key": "destination.port", "value": {"intValue": "443"}}),
        json!({"key": "event.category", "value": {"arrayValue": {"values": [{"stringValue": "network"}]}}}),
        json!({"key": "ocs.run", "value": {"stringValue": "run-1"}}),
    ] {
        assert!(attributes.contains(&expected), "{expected} in {log:#}");
    }
}

#[test]
fn every_event_says_its_class_in_ocsf() {
    let classes: Vec<_> = records()
        .iter()
        .map(|record| ocsf::event(record)["type_uid"].clone())
        .collect();
    assert_eq!(
        classes,
        [
            600_203, 99, 400_101, 400_102, 400_105, 400_301, 400_301, 400_105, 99, 600_204
        ]
    );
}
