//! Events as log records of OpenTelemetry: the JSON encoding of OTLP (opentelemetry-proto 1.5, `ExportLogsServiceRequest`).
//!
//! What a record of ours says is in attributes, under the names that the Elastic Common Schema has for it, which
//! OpenTelemetry took over, and below `ocs`.
use policies::audit::{Decision, Event, Record};
use serde_json::{Value, json};

use super::super::row::{Row, word};
use super::{PRODUCT, VERSION, ecs};

/// `SeverityNumber`: 9 is INFO, 13 is WARN.
const INFO: (u8, &str) = (9, "INFO");
const WARN: (u8, &str) = (13, "WARN");

/// A request to a collector with these log records, all of one sandbox.
pub(in crate::audit_cmd) fn request(sandbox: &str, records: &[Value]) -> Value {
    let resource = [
        ("service.name", json!(PRODUCT)),
        ("service.version", json!(VERSION)),
        ("service.instance.id", json!(sandbox)),
    ];
    let resource = resource
        .iter()
        .filter_map(|(key, value)| attribute(key, value));
    json!({"resourceLogs": [{
        "resource": {"attributes": resource.collect::<Vec<Value>>()},
        "scopeLogs": [{"scope": {"name": PRODUCT, "version": VERSION}, "logRecords": records}],
    }]})
}

/// One event.
pub(in crate::audit_cmd) fn log_record(record: &Record) -> Value {
    let row = Row::of(record);
    let (number, text) = match (row.decision, &record.event) {
        (Some(Decision::Deny), _) | (_, Event::Gap(_)) => WARN,
        (Some(Decision::Allow) | None, _) => INFO,
    };
    let body = match row.decision {
        Some(decision) => format!("{} {} {}", row.kind, word(decision), row.destination()),
        None => row.kind.to_owned(),
    };
    // 64-bit numbers are strings: the JSON mapping of protocol buffers.
    let nanos = (u128::from(record.time.unix_millis()) * 1_000_000).to_string();
    let mut attributes = Vec::new();
    flatten("", &ecs::document(record), &mut attributes);
    json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": number,
        "severityText": text,
        "eventName": format!("{PRODUCT}.{}", row.kind),
        "body": {"stringValue": body},
        "attributes": attributes,
    })
}

/// The leaves of a document under their dotted names.
fn flatten(path: &str, value: &Value, attributes: &mut Vec<Value>) {
    let Some(fields) = value.as_object() else {
        attributes.extend(attribute(path, value));
        return;
    };
    for (key, value) in fields {
        // The log record has a place of its own for it.
        if path.is_empty() && key == "@timestamp" {
            continue;
        }
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        flatten(&path, value, attributes);
    }
}

fn attribute(key: &str, value: &Value) -> Option<Value> {
    Some(json!({"key": key, "value": any(value)?}))
}

/// `AnyValue`; none for what has no value.
fn any(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Null | Value::Object(_) => return None,
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Array(values) => {
            let values: Vec<Value> = values.iter().filter_map(any).collect();
            json!({"arrayValue": {"values": values}})
        }
    })
}
