//! Events as a table for spreadsheets: RFC 4180, and nothing in it that a spreadsheet would run.
//! Clauses: R4.
use policies::Reason;
use policies::audit::{Event, Text};

use crate::console::escaped;

use super::row::{Row, code, reply, word};

/// The first line.
pub(super) const HEADER: &str = "time,sandbox,run,seq,event,decision,reason,via,method,host,port,protocol,address,sni,\
    rule_file,rule_line,rule_text,pid,exe,count,id,outcome,bytes_up,bytes_down,duration_ms,uid,user\r\n";

/// The line of one event, with its line end.
pub(super) fn line(row: &Row<'_>) -> String {
    let record = row.record;
    let process = |exe: &policies::audit::Process| {
        exe.exe
            .as_ref()
            .map(Text::as_str)
            .map(text)
            .unwrap_or_default()
    };
    let is_counted = row.decision.is_some();
    let mut cells = vec![
        record.time.to_string(),
        text(&record.sandbox),
        text(&record.run),
        record.seq.to_string(),
        row.kind.to_owned(),
        row.decision.map(word).unwrap_or_default().to_owned(),
        row.reason.map(Reason::code).unwrap_or_default().to_owned(),
        row.via.unwrap_or_default().to_owned(),
        text(row.method.unwrap_or_default()),
        text(row.host.as_deref().unwrap_or_default()),
        number(row.port.map(u64::from)),
        text(row.protocol.unwrap_or_default()),
        row.address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        text(row.sni.unwrap_or_default()),
        row.rule.map(|rule| text(&rule.file)).unwrap_or_default(),
        number(row.rule.map(|rule| rule.line.into())),
        row.rule.map(|rule| text(&rule.text)).unwrap_or_default(),
        number(row.process.and_then(|process| process.pid).map(u64::from)),
        row.process.map(process).unwrap_or_default(),
        number(is_counted.then_some(row.count)),
    ];
    cells.extend(own(&record.event));
    cells.join(",") + "\r\n"
}

/// What one kind of event alone has: `id` and what follows it.
fn own(event: &Event) -> [String; 7] {
    let empty = String::new;
    match event {
        Event::Request(event) => [
            event.id.to_string(),
            empty(),
            empty(),
            empty(),
            empty(),
            empty(),
            empty(),
        ],
        Event::Close(event) => [
            event.id.to_string(),
            code(&event.outcome),
            event.bytes_up.to_string(),
            event.bytes_down.to_string(),
            event.duration_ms.to_string(),
            empty(),
            empty(),
        ],
        Event::Question(event) => {
            let by = event.by.as_ref();
            let user = by.and_then(|by| by.user.as_ref()).map(Text::as_str);
            [
                event.question.to_string(),
                reply(event).to_owned(),
                empty(),
                empty(),
                event.duration_ms.to_string(),
                number(by.map(|by| by.uid.into())),
                text(user.unwrap_or_default()),
            ]
        }
        Event::Dns(_)
        | Event::Gap(_)
        | Event::Packet(_)
        | Event::Policy(_)
        | Event::Start(_)
        | Event::Stop(_) => Default::default(),
    }
}

fn text(text: &str) -> String {
    cell(&escaped(text))
}

fn number(number: Option<u64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// A text as a cell. What begins like a formula gets an apostrophe in front, which spreadsheets take for "this is text".
fn cell(text: &str) -> String {
    let apostrophe = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        "'"
    } else {
        ""
    };
    if text.contains([',', '"', '\r', '\n']) {
        return format!("\"{apostrophe}{}\"", text.replace('"', "\"\""));
    }
    format!("{apostrophe}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be_and_never_run() {
        let cases = [
            ("a.test", "a.test"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("=1+1", "'=1+1"),
            ("-a,b", "\"'-a,b\""),
            ("@x", "'@x"),
            ("+x", "'+x"),
            ("\tx", "'\tx"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }
}
