//! Events in the Common Event Format, version 0 ("Implementing CEF", version 23): a header of seven fields that
//! bars part, then `key=value` pairs.
use policies::Reason;
use policies::audit::{Decision, Event, Process, Record, Text};

use crate::console::escaped;

use super::super::row::{Row, code, reply, word};
use super::{PRODUCT, VERSION};

/// One event.
pub(super) fn line(record: &Record) -> String {
    let row = Row::of(record);
    let class = match row.decision {
        Some(decision) => format!("{}.{}", row.kind, word(decision)),
        None => row.kind.to_owned(),
    };
    let name = match row.decision {
        Some(Decision::Allow) => format!("{} allowed", row.kind),
        Some(Decision::Deny) => format!("{} refused", row.kind),
        None => row.kind.to_owned(),
    };
    // 0 to 10.
    let severity = match (row.decision, &record.event) {
        (Some(Decision::Deny), _) => "6",
        (_, Event::Gap(_)) => "5",
        (Some(Decision::Allow) | None, _) => "2",
    };
    let header = [PRODUCT, "ocs-proxy", VERSION, &class, &name, severity].map(head);
    let pairs = pairs(record, &row).into_iter();
    let pairs: Vec<String> = pairs
        .map(|(key, text)| format!("{key}={}", value(&text)))
        .collect();
    format!("CEF:0|{}|{}", header.join("|"), pairs.join(" "))
}

/// Keys of the dictionary with their values.
type Pairs = Vec<(&'static str, String)>;

fn pairs(record: &Record, row: &Row<'_>) -> Pairs {
    let Process { pid, exe } = row.process.unwrap_or(&Process::UNKNOWN);
    let text = |text: &str| Some(text.to_owned());
    let common = [
        ("rt", Some(record.time.unix_millis().to_string())),
        ("externalId", Some(record.seq.to_string())),
        ("deviceExternalId", text(&record.sandbox)),
        ("act", row.decision.map(word).and_then(text)),
        ("reason", row.reason.map(Reason::code).and_then(text)),
        ("app", row.via.and_then(text)),
        ("requestMethod", row.method.and_then(text)),
        ("dhost", row.host.clone()),
        ("dst", row.address.map(|address| address.to_string())),
        ("dpt", row.port.map(|port| port.to_string())),
        ("proto", row.protocol.and_then(text)),
        ("spid", pid.map(|pid| pid.to_string())),
        ("sproc", exe.as_ref().map(Text::to_string)),
        ("cnt", row.decision.map(|_| row.count.to_string())),
    ];
    let known = common.into_iter();
    let mut pairs: Pairs = known
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    pairs.extend(own(&record.event));
    pairs.extend(labelled(["cs1Label", "cs1"], "run", &record.run));
    if let Some(rule) = row.rule {
        let rule = format!("{}:{}: {}", rule.file, rule.line, rule.text);
        pairs.extend(labelled(["cs2Label", "cs2"], "rule", &rule));
    }
    if let Some(sni) = row.sni {
        pairs.extend(labelled(["cs3Label", "cs3"], "sni", sni));
    }
    pairs
}

/// What one kind of event alone has.
fn own(event: &Event) -> Pairs {
    let generation =
        |number: policies::Generation| labelled(["cn1Label", "cn1"], "generation", &number);
    let request = |id: u64| labelled(["cn2Label", "cn2"], "request", &id);
    match event {
        Event::Close(event) => {
            let mut pairs = vec![
                ("outcome", event.outcome.code().to_owned()),
                ("out", event.bytes_up.to_string()),
                ("in", event.bytes_down.to_string()),
            ];
            pairs.extend(request(event.id));
            pairs.extend(labelled(
                ["cn3Label", "cn3"],
                "milliseconds",
                &event.duration_ms,
            ));
            pairs
        }
        Event::Gap(event) => {
            let mut pairs = vec![("msg", format!("missing here: {}", code(&event.lost)))];
            pairs.extend(event.count.map(|count| ("cnt", count.to_string())));
            pairs
        }
        Event::Policy(event) => {
            let mut pairs = vec![
                ("fname", event.source.to_string()),
                ("fileHash", event.hash.to_string()),
            ];
            pairs.extend(generation(event.generation));
            pairs
        }
        Event::Question(event) => {
            let mut pairs = vec![("outcome", reply(event).to_owned())];
            if let Some(by) = &event.by {
                pairs.push(("suid", by.uid.to_string()));
                pairs.extend(by.user.as_ref().map(|user| ("suser", user.to_string())));
            }
            pairs.push(("cnt", event.waiting.to_string()));
            pairs
        }
        Event::Request(event) => [generation(event.generation), request(event.id)].concat(),
        Event::Start(event) => vec![("msg", format!("mode {}", event.mode))],
        Event::Stop(event) => vec![("msg", event.cause.to_string())],
        Event::Dns(_) | Event::Packet(_) => Vec::new(),
    }
}

/// A field of a custom kind, with the label that says what it is.
fn labelled(keys: [&'static str; 2], label: &str, value: &(impl ToString + ?Sized)) -> Pairs {
    let [label_key, key] = keys;
    vec![(label_key, label.to_owned()), (key, value.to_string())]
}

/// A field of the header.
fn head(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('|', "\\|")
}

/// A value of the extension.
fn value(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('=', "\\=")
}

/// Whatever is not printable ASCII as `\u{..}`, as people are shown it: the escapes of the format itself are then few.
fn printable(text: &str) -> String {
    let shown = escaped(text);
    shown
        .chars()
        .map(|it| {
            if it.is_ascii() {
                it.to_string()
            } else {
                it.escape_unicode().to_string()
            }
        })
        .collect()
}
