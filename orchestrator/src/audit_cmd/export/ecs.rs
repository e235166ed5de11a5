//! Events as the Elastic Common Schema 8.11 has them. What it has no field for stands below `ocs`.
use policies::Reason;
use policies::audit::{
    CloseEvent, Decision, DnsEvent, Event, PacketEvent, Process, QuestionEvent, Record,
    RequestEvent, Text,
};
use serde_json::{Map, Value, json};

use super::super::row::{code, reply, word};
use super::{PRODUCT, VERSION, known};

const SCHEMA: &str = "8.11.0";

/// The fields of one event beside those that every one has.
struct Told {
    category: &'static str,
    kinds: &'static [&'static str],
    action: String,
    fields: Vec<(&'static str, Value)>,
    ours: Value,
}

/// One event.
pub(super) fn document(record: &Record) -> Value {
    let told = of(&record.event);
    let mut ours = told.ours;
    if let Some(ours) = ours.as_object_mut() {
        ours.insert("sandbox".to_owned(), json!(record.sandbox));
        ours.insert("run".to_owned(), json!(record.run));
    }
    let mut document = json!({
        "@timestamp": record.time.to_string(),
        "ecs": {"version": SCHEMA},
        "observer": {"vendor": PRODUCT, "product": PRODUCT, "type": "proxy", "version": VERSION},
        "ocs": ours,
        "event": {
            "kind": "event",
            "module": PRODUCT,
            "dataset": "ocs.audit",
            "sequence": record.seq,
            "id": format!("{}:{}", record.run, record.seq),
            "category": [told.category],
            "type": told.kinds,
            "action": told.action,
        },
    });
    for (path, value) in told.fields {
        put(&mut document, path, value);
    }
    document
}

fn of(event: &Event) -> Told {
    match event {
        Event::Request(event) => request(event),
        Event::Close(event) => close(event),
        Event::Dns(event) => dns(event),
        Event::Packet(event) => packet(event),
        Event::Policy(event) => plain(
            "configuration",
            &["change"],
            "policy",
            json!({
                "hash": event.hash, "generation": event.generation, "source": event.source, "mode": event.mode.code(),
            }),
        ),
        Event::Question(event) => question(event),
        Event::Gap(event) => plain(
            "network",
            &["info"],
            "gap",
            json!({
                "lost": code(&event.lost), "count": event.count,
            }),
        ),
        Event::Start(event) => plain(
            "process",
            &["start"],
            "start",
            json!({
                "mode": event.mode.code(), "engine": event.engine, "version": event.version,
            }),
        ),
        Event::Stop(event) => plain(
            "process",
            &["end"],
            "stop",
            json!({
                "cause": event.cause, "allowed": event.allowed, "denied": event.denied, "packets": event.packets,
            }),
        ),
    }
}

fn question(event: &QuestionEvent) -> Told {
    let mut fields = vec![
        ("destination.domain", json!(event.host)),
        ("destination.address", json!(event.host)),
        ("destination.port", json!(event.port)),
        ("event.reason", json!(reply(event))),
        ("event.duration", json!(event.duration_ms * 1_000_000)),
    ];
    if let Some(by) = &event.by {
        fields.push(("user.id", json!(by.uid.to_string())));
        fields.push(("user.name", json!(by.user)));
    }
    fields.extend(process(&event.process));
    let ours = json!({"question": event.question, "waiting": event.waiting});
    Told {
        fields,
        ..plain("configuration", &["info"], "question", ours)
    }
}

fn request(event: &RequestEvent) -> Told {
    let mut fields = judged(event.decision, event.reason);
    let rule = event.rule.as_ref();
    fields.extend([
        ("network.transport", json!("tcp")),
        ("network.direction", json!("egress")),
        ("destination.domain", json!(event.host)),
        ("destination.address", json!(event.host)),
        ("destination.port", json!(event.port)),
        ("destination.ip", json!(event.address)),
        ("http.request.method", json!(event.method)),
        ("tls.client.server_name", json!(event.sni)),
        ("rule.name", json!(rule.map(|rule| &rule.text))),
        ("rule.ruleset", json!(rule.map(|rule| &rule.file))),
        (
            "rule.id",
            json!(rule.map(|rule| format!("{}:{}", rule.file, rule.line))),
        ),
    ]);
    fields.extend(process(&event.process));
    let kinds: &[&str] = match event.decision {
        Decision::Allow => &["connection", "start", "allowed"],
        Decision::Deny => &["connection", "denied"],
    };
    let ours = known([
        ("id", json!(event.id)),
        ("count", json!((event.count > 1).then_some(event.count))),
        ("via", json!(event.via.code())),
        ("generation", json!(event.generation)),
        ("dropped", json!(event.dropped)),
    ]);
    told(
        "network",
        kinds,
        format!("request-{}", word(event.decision)),
        fields,
        ours,
    )
}

fn close(event: &CloseEvent) -> Told {
    let fields = vec![
        ("network.transport", json!("tcp")),
        (
            "network.bytes",
            json!(event.bytes_up.saturating_add(event.bytes_down)),
        ),
        ("source.bytes", json!(event.bytes_up)),
        ("destination.bytes", json!(event.bytes_down)),
        // Nanoseconds.
        (
            "event.duration",
            json!(event.duration_ms.saturating_mul(1_000_000)),
        ),
        ("event.reason", json!(event.outcome.code())),
    ];
    told(
        "network",
        &["connection", "end"],
        "close".to_owned(),
        fields,
        json!({"id": event.id}),
    )
}

fn dns(event: &DnsEvent) -> Told {
    let mut fields = judged(event.decision, event.reason);
    fields.extend([
        ("network.protocol", json!("dns")),
        ("dns.type", json!("query")),
        ("dns.question.name", json!(event.name)),
        ("dns.question.type", json!(event.kind)),
    ]);
    let kinds: &[&str] = match event.decision {
        Decision::Allow => &["protocol", "allowed"],
        Decision::Deny => &["protocol", "denied"],
    };
    told(
        "network",
        kinds,
        format!("dns-{}", word(event.decision)),
        fields,
        json!({"count": event.count}),
    )
}

fn packet(event: &PacketEvent) -> Told {
    let mut fields = judged(Decision::Deny, Some(event.reason));
    fields.extend([
        ("network.transport", json!(event.protocol)),
        ("network.direction", json!("egress")),
        ("network.packets", json!(event.count)),
        ("destination.ip", json!(event.address)),
        ("destination.port", json!(event.port)),
    ]);
    told(
        "network",
        &["connection", "denied"],
        "packet-deny".to_owned(),
        fields,
        json!({"count": event.count}),
    )
}

fn plain(
    category: &'static str,
    kinds: &'static [&'static str],
    action: &str,
    ours: Value,
) -> Told {
    told(category, kinds, action.to_owned(), Vec::new(), ours)
}

fn told(
    category: &'static str,
    kinds: &'static [&'static str],
    action: String,
    fields: Vec<(&'static str, Value)>,
    ours: Value,
) -> Told {
    Told {
        category,
        kinds,
        action,
        fields,
        ours,
    }
}

fn judged(decision: Decision, reason: Option<Reason>) -> Vec<(&'static str, Value)> {
    let outcome = match decision {
        Decision::Allow => "success",
        Decision::Deny => "failure",
    };
    vec![
        ("event.outcome", json!(outcome)),
        ("event.reason", json!(reason.map(Reason::code))),
    ]
}

fn process(process: &Process) -> Vec<(&'static str, Value)> {
    let path = process.exe.as_ref().map(Text::as_str);
    let name = path.map(|path| path.rsplit('/').next().unwrap_or(path));
    vec![
        ("process.pid", json!(process.pid)),
        ("process.executable", json!(path)),
        ("process.name", json!(name)),
    ]
}

/// Puts a value where a dotted name says; what is not known is left out.
fn put(document: &mut Value, path: &str, value: Value) {
    if value.is_null() {
        return;
    }
    let mut place = document;
    for part in path.split('.') {
        let Some(object) = place.as_object_mut() else {
            return;
        };
        place = object
            .entry(part)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    *place = value;
}
