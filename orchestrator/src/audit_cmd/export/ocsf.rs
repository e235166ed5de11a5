//! Events as OCSF 1.3.0 has them (<https://schema.ocsf.io/1.3.0/>), with the profiles `host` and `security_control`.
use policies::Via;
use policies::audit::{
    CloseEvent, Decision, DnsEvent, Event, GapEvent, Outcome, PacketEvent, PolicyEvent, Process,
    QuestionEvent, Record, Reply, RequestEvent, Text,
};
use serde_json::{Value, json};

use super::super::row::{code, reply, word};
use super::{PRODUCT, VERSION, known};

/// The version of the schema that these events fit.
const SCHEMA: &str = "1.3.0";
/// `severity_id`: 1 informational, 2 low, 3 medium.
const INFORMATIONAL: u8 = 1;
const LOW: u8 = 2;
const MEDIUM: u8 = 3;
/// `activity_id` of whatever has none of its own.
const OTHER: u32 = 99;

/// A class and what happened in it.
struct Class {
    category: u32,
    class: u32,
    activity: u32,
    severity: u8,
}

impl Class {
    const fn network(activity: u32, severity: u8) -> Self {
        Self {
            category: 4,
            class: 4001,
            activity,
            severity,
        }
    }

    const fn http(activity: u32, severity: u8) -> Self {
        Self {
            category: 4,
            class: 4002,
            activity,
            severity,
        }
    }

    const fn dns(severity: u8) -> Self {
        // 1 Query.
        Self {
            category: 4,
            class: 4003,
            activity: 1,
            severity,
        }
    }

    const fn lifecycle(activity: u32) -> Self {
        Self {
            category: 6,
            class: 6002,
            activity,
            severity: INFORMATIONAL,
        }
    }

    const fn base(severity: u8) -> Self {
        Self {
            category: 0,
            class: 0,
            activity: OTHER,
            severity,
        }
    }
}

/// One event.
pub(super) fn event(record: &Record) -> Value {
    match &record.event {
        Event::Request(event) => request(record, event),
        Event::Close(event) => close(record, event),
        Event::Dns(event) => dns(record, event),
        Event::Packet(event) => packet(record, event),
        Event::Policy(event) => policy(record, event),
        Event::Question(event) => question(record, event),
        Event::Gap(event) => gap(record, event),
        // Application Lifecycle: 3 Start, 4 Stop.
        Event::Start(event) => lifecycle(record, 3, &format!("started, mode {}", event.mode)),
        Event::Stop(event) => lifecycle(record, 4, &format!("stopped: {}", event.cause)),
    }
}

fn request(record: &Record, event: &RequestEvent) -> Value {
    let is_denied = event.decision == Decision::Deny;
    let severity = if is_denied { MEDIUM } else { INFORMATIONAL };
    let method = event.method.as_ref().map(Text::as_str);
    let class = match (event.via, method.and_then(http_activity)) {
        (Via::Http | Via::CapturedHttp, Some(activity)) => Class::http(activity, severity),
        // 1 Open, 5 Refuse.
        (Via::CapturedHttp | Via::CapturedTcp | Via::CapturedTls | Via::Connect | Via::Http, _) => {
            Class::network(if is_denied { 5 } else { 1 }, severity)
        }
    };
    let host = event.host.as_ref().map(Text::as_str);
    let mut fields = common(record, &class);
    judged(&mut fields, event.decision, event.rule.as_ref());
    set(
        &mut fields,
        "dst_endpoint",
        known([
            ("hostname", json!(host)),
            ("ip", json!(event.address)),
            ("port", json!(event.port)),
        ]),
    );
    set(
        &mut fields,
        "connection_info",
        connection(&format!("{}:{}", record.run, event.id), Some("tcp")),
    );
    set(&mut fields, "actor", actor(&event.process));
    set(
        &mut fields,
        "status_detail",
        json!(event.reason.map(policies::Reason::code)),
    );
    set(
        &mut fields,
        "count",
        json!((event.count > 1).then_some(event.count)),
    );
    if class.class == 4002 {
        let url = host.map(|host| json!({"scheme": "http", "hostname": host, "port": event.port}));
        let request = known([("http_method", json!(method)), ("url", json!(url))]);
        set(&mut fields, "http_request", request);
    }
    unmapped(
        &mut fields,
        known([
            ("via", json!(event.via.code())),
            ("method", json!(method)),
            // The schema's `tls` wants a certificate, which is nobody's but the client's and the origin's.
            ("sni", json!(event.sni)),
            ("generation", json!(event.generation)),
            ("dropped", json!(event.dropped)),
        ]),
    );
    fields
}

fn close(record: &Record, event: &CloseEvent) -> Value {
    // 2 Close, 3 Reset, 4 Fail.
    let activity = match event.outcome {
        Outcome::Done | Outcome::Idle => 2,
        Outcome::DialFailed | Outcome::DnsFailed => 4,
        Outcome::Abandoned
        | Outcome::ClientError
        | Outcome::Limit
        | Outcome::Refused
        | Outcome::Revoked
        | Outcome::Shutdown
        | Outcome::UpstreamError => 3,
    };
    let mut fields = common(record, &Class::network(activity, INFORMATIONAL));
    set(
        &mut fields,
        "connection_info",
        connection(&format!("{}:{}", record.run, event.id), Some("tcp")),
    );
    set(&mut fields, "duration", json!(event.duration_ms));
    set(&mut fields, "status_detail", json!(event.outcome.code()));
    set(
        &mut fields,
        "traffic",
        json!({
            "bytes_out": event.bytes_up,
            "bytes_in": event.bytes_down,
            "bytes": event.bytes_up.saturating_add(event.bytes_down),
        }),
    );
    fields
}

fn dns(record: &Record, event: &DnsEvent) -> Value {
    let is_denied = event.decision == Decision::Deny;
    let mut fields = common(
        record,
        &Class::dns(if is_denied { MEDIUM } else { INFORMATIONAL }),
    );
    judged(&mut fields, event.decision, None);
    set(
        &mut fields,
        "query",
        json!({"hostname": event.name, "type": event.kind}),
    );
    // 0 NoError, 5 Refused: RFC 6895.
    set(
        &mut fields,
        "rcode_id",
        json!(if is_denied { 5 } else { 0 }),
    );
    set(&mut fields, "count", json!(event.count));
    set(
        &mut fields,
        "status_detail",
        json!(event.reason.map(policies::Reason::code)),
    );
    fields
}

fn packet(record: &Record, event: &PacketEvent) -> Value {
    // 5 Refuse.
    let mut fields = common(record, &Class::network(5, MEDIUM));
    judged(&mut fields, Decision::Deny, None);
    set(
        &mut fields,
        "dst_endpoint",
        known([("ip", json!(event.address)), ("port", json!(event.port))]),
    );
    set(
        &mut fields,
        "connection_info",
        connection("", Some(event.protocol.as_str())),
    );
    set(&mut fields, "count", json!(event.count));
    set(&mut fields, "status_detail", json!(event.reason.code()));
    fields
}

fn policy(record: &Record, event: &PolicyEvent) -> Value {
    let mut fields = common(record, &Class::base(LOW));
    set(
        &mut fields,
        "message",
        json!(format!("policy {} is in force", event.generation)),
    );
    unmapped(
        &mut fields,
        json!({
            "event": "policy", "hash": event.hash, "generation": event.generation, "source": event.source,
            "mode": event.mode.code(),
        }),
    );
    fields
}

fn question(record: &Record, event: &QuestionEvent) -> Value {
    let mut fields = common(record, &Class::base(LOW));
    let message = format!(
        "asked about {}:{}: {}",
        event.host,
        event.port,
        reply(event)
    );
    set(&mut fields, "message", json!(message));
    set(&mut fields, "duration", json!(event.duration_ms));
    unmapped(
        &mut fields,
        json!({
            "event": "question", "question": event.question, "host": event.host, "port": event.port,
            "answer": event.answer.map(Reply::code), "by": event.by, "waiting": event.waiting,
        }),
    );
    fields
}

fn gap(record: &Record, event: &GapEvent) -> Value {
    let mut fields = common(record, &Class::base(MEDIUM));
    set(&mut fields, "message", json!("events are missing here"));
    set(&mut fields, "count", json!(event.count));
    unmapped(
        &mut fields,
        json!({"event": "gap", "lost": code(&event.lost)}),
    );
    fields
}

fn lifecycle(record: &Record, activity: u32, message: &str) -> Value {
    let mut fields = common(record, &Class::lifecycle(activity));
    set(&mut fields, "message", json!(message));
    set(&mut fields, "app", product());
    fields
}

/// What every event has.
fn common(record: &Record, class: &Class) -> Value {
    let mut fields = json!({
        "metadata": {
            "version": SCHEMA,
            "product": product(),
            "profiles": ["host", "security_control"],
            "sequence": record.seq,
            "uid": format!("{}:{}", record.run, record.seq),
            "log_name": "audit",
        },
        "time": record.time.unix_millis(),
        "category_uid": class.category,
        "class_uid": class.class,
        "activity_id": class.activity,
        "type_uid": class.class * 100 + class.activity,
        "severity_id": class.severity,
        "unmapped": {"sandbox": record.sandbox, "run": record.run},
    });
    if class.activity == OTHER {
        set(&mut fields, "activity_name", json!("Other"));
    }
    if class.category == 4 {
        set(&mut fields, "src_endpoint", json!({"name": record.sandbox}));
    }
    fields
}

fn product() -> Value {
    json!({"name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION})
}

/// The profile `security_control`: `action_id` 1 Allowed, 2 Denied; `disposition_id` 1 Allowed, 2 Blocked.
fn judged(fields: &mut Value, decision: Decision, rule: Option<&policies::Rule>) {
    let id = match decision {
        Decision::Allow => 1,
        Decision::Deny => 2,
    };
    set(fields, "action_id", json!(id));
    set(fields, "disposition_id", json!(id));
    // 1 Success, 2 Failure.
    set(fields, "status_id", json!(id));
    set(fields, "message", json!(word(decision)));
    if let Some(rule) = rule {
        let uid = format!("{}:{}", rule.file, rule.line);
        set(
            fields,
            "firewall_rule",
            json!({"name": rule.text, "uid": uid}),
        );
    }
}

fn connection(uid: &str, protocol: Option<&str>) -> Value {
    known([
        // 2 Outbound.
        ("direction_id", json!(2)),
        ("protocol_name", json!(protocol)),
        (
            "uid",
            if uid.is_empty() {
                Value::Null
            } else {
                json!(uid)
            },
        ),
    ])
}

/// The profile `host`: who asked.
fn actor(process: &Process) -> Value {
    let path = process.exe.as_ref().map(Text::as_str);
    let name = path.map(|path| path.rsplit('/').next().unwrap_or(path));
    let file = match (path, name) {
        // 1 Regular File.
        (Some(path), Some(name)) => json!({"name": name, "path": path, "type_id": 1}),
        (Some(_) | None, _) => Value::Null,
    };
    let process = known([
        ("pid", json!(process.pid)),
        ("name", json!(name)),
        ("file", file),
    ]);
    // An object with neither pid nor name is no process.
    known([("process", process)])
}

/// HTTP Activity's `activity_id`.
fn http_activity(method: &str) -> Option<u32> {
    let methods = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE",
    ];
    let place = methods.iter().position(|known| *known == method)?;
    u32::try_from(place + 1).ok()
}

fn set(fields: &mut Value, name: &str, value: Value) {
    let is_empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    if let (Some(fields), false) = (fields.as_object_mut(), is_empty) {
        fields.insert(name.to_owned(), value);
    }
}

fn unmapped(fields: &mut Value, more: Value) {
    if let (Some(Value::Object(all)), Value::Object(more)) = (fields.get_mut("unmapped"), more) {
        all.extend(more);
    }
}
