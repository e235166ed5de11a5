//! One event as a row of a table: the same columns whatever happened. A view: decides nothing, keeps nothing.
use std::net::IpAddr;

use policies::audit::{
    Decision, DnsEvent, Event, PacketEvent, Process, QuestionEvent, Record, RequestEvent, Text,
};
use policies::{Reason, Rule};
use serde::Serialize;

/// The columns.
#[derive(Debug)]
pub(super) struct Row<'r> {
    pub(super) record: &'r Record,
    /// `start`, `request`, ..
    pub(super) kind: &'static str,
    pub(super) decision: Option<Decision>,
    pub(super) reason: Option<Reason>,
    pub(super) rule: Option<&'r Rule>,
    /// The way: that of a request, or `dns`, or `packet`.
    pub(super) via: Option<&'static str>,
    pub(super) method: Option<&'r str>,
    /// The name or address that was asked for.
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) protocol: Option<&'r str>,
    pub(super) address: Option<IpAddr>,
    pub(super) sni: Option<&'r str>,
    pub(super) process: Option<&'r Process>,
    /// How often; 1 for a request that stands for itself.
    pub(super) count: u64,
}

impl<'r> Row<'r> {
    /// The row of an event.
    pub(super) fn of(record: &'r Record) -> Self {
        let row = Self {
            record,
            kind: "",
            decision: None,
            reason: None,
            rule: None,
            via: None,
            method: None,
            host: None,
            port: None,
            protocol: None,
            address: None,
            sni: None,
            process: None,
            count: 1,
        };
        match &record.event {
            Event::Request(event) => row.request(event),
            Event::Dns(event) => row.dns(event),
            Event::Packet(event) => row.packet(event),
            Event::Close(_) => row.named("close"),
            Event::Gap(_) => row.named("gap"),
            Event::Policy(_) => row.named("policy"),
            Event::Question(event) => row.question(event),
            Event::Start(_) => row.named("start"),
            Event::Stop(_) => row.named("stop"),
        }
    }

    fn named(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    fn request(self, event: &'r RequestEvent) -> Self {
        Self {
            kind: "request",
            decision: Some(event.decision),
            reason: event.reason,
            rule: event.rule.as_ref(),
            via: Some(event.via.code()),
            method: event.method.as_ref().map(Text::as_str),
            host: event.host.as_ref().map(Text::to_string),
            port: event.port,
            address: event.address,
            sni: event.sni.as_ref().map(Text::as_str),
            process: Some(&event.process),
            count: event.count,
            ..self
        }
    }

    fn question(self, event: &'r QuestionEvent) -> Self {
        Self {
            kind: "question",
            host: Some(event.host.to_string()),
            port: Some(event.port),
            process: Some(&event.process),
            ..self
        }
    }

    fn dns(self, event: &'r DnsEvent) -> Self {
        Self {
            kind: "dns",
            decision: Some(event.decision),
            reason: event.reason,
            via: Some("dns"),
            host: Some(event.name.to_string()),
            protocol: Some(event.kind.as_str()),
            count: event.count,
            ..self
        }
    }

    fn packet(self, event: &'r PacketEvent) -> Self {
        Self {
            kind: "packet",
            decision: Some(Decision::Deny),
            reason: Some(event.reason),
            via: Some("packet"),
            host: event.address.map(|address| address.to_string()),
            port: event.port,
            protocol: Some(event.protocol.as_str()),
            address: event.address,
            count: event.count,
            ..self
        }
    }

    /// `host:port`, as far as it is known; an IPv6 address in brackets.
    pub(super) fn destination(&self) -> String {
        let host = self.host.as_deref().unwrap_or("?");
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// The last part of the process's path and its number, as far as they are known.
    pub(super) fn process_name(&self) -> Option<String> {
        let process = self.process?;
        let name = process
            .exe
            .as_ref()
            .map(|exe| exe.as_str().rsplit('/').next().unwrap_or_default());
        match (name, process.pid) {
            (Some(name), Some(pid)) => Some(format!("{name}[{pid}]")),
            (Some(name), None) => Some(name.to_owned()),
            (None, Some(pid)) => Some(format!("[{pid}]")),
            (None, None) => None,
        }
    }
}

/// What came of a question: what was said, or that nobody said anything.
pub(super) fn reply(event: &QuestionEvent) -> &'static str {
    event
        .answer
        .map_or("unanswered", policies::audit::Reply::code)
}

/// The word of a decision.
pub(super) fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Deny => "deny",
    }
}

/// The word that the record has for a value that is one.
pub(super) fn code(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(code)) => code,
        Ok(_) | Err(_) => String::new(),
    }
}
