//! JSON Schemas (2020-12): of the project's file, for editors, and of the record's lines, for whoever reads them.
//!
//! Published in `policies/schema/`; a test keeps the files and these functions equal. A schema says less than the parser:
//! whatever the parser accepts fits the schema, not the other way round.

use serde_json::{Map, Value, json};

use crate::audit::{Decision, Lost, Outcome, Reply};
use crate::{Mode, Reason, Via, presets};

/// The dialect of both.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// JSON Schema of `opencode-sandbox-config.yaml`.
#[must_use]
pub fn config_schema() -> Value {
    let presets: Vec<&str> = presets::names().collect();
    json!({
        "$schema": DIALECT,
        "title": "opencode-sandbox-config.yaml",
        "description": "What a coding agent in its sandbox may reach, and what it is given. An empty section is an empty list.",
        "type": "object",
        "additionalProperties": false,
        "required": ["sandbox-name"],
        "properties": {
            "sandbox-name": {
                "description": "The sandbox's name; its id and its directory of state derive from it.",
                "type": "string",
                "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
            },
            "http-domain-whitelist": domains("Names that may be reached: `.d` is d and all below it, `d` is exactly d; plain HTTP on 80, TLS on 443, or on the port that the entry names."),
            "http-domain-denylist": domains("Names that are refused, whatever allows them. Same forms."),
            "presets": list("Bundled lists of hosts; `ocs policy presets` shows them.", &json!({"enum": presets})),
            "host-ports": list("TCP ports of the host, reached as docker.host:PORT.", &json!({
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": 65535},
                    {"type": "string", "pattern": "^[1-9][0-9]{0,4}$"}
                ]
            })),
            "llm-endpoints": list("Model servers: exactly this scheme, host and port. They count in every mode but none, and may be in the local network.", &json!({
                "type": "string",
                "pattern": "^https?://[^/?#@\\s]+(/[^?#\\s]*)?$"
            })),
            "tcp-endpoints": list("Raw TCP, like ssh and databases: a name or address with its port.", &json!({
                "type": "string",
                "pattern": "^[^/@\\s]+:[1-9][0-9]{0,4}$"
            })),
            "private-addresses": list("Addresses or ranges that an allowed name may lead to though they are not public.", &json!({
                "type": "string"
            })),
            "network-mode": {
                "description": "none: no network. restricted: llm-endpoints and host-ports only. filtered: what the lists allow. observe: every public name passes and is recorded.",
                "enum": Mode::ALL.map(Mode::code),
                "default": Mode::Filtered.code()
            },
            "env-passthrough": variables("Variables in the box, each with the variable of the host that gives its value.", &json!({
                "type": "string",
                "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"
            })),
            "env": variables("Variables in the box with their values, as written. They win over env-passthrough.", &json!({
                "type": ["string", "number", "boolean", "null"]
            })),
            "agent": agent(),
            "read-only-paths": list("Paths of the host that are shown read-only, absolute or with `~/` in front. Credential directories are refused.", &json!({
                "type": "string",
                "pattern": "^(/|~/)."
            })),
            "limits": limits()
        }
    })
}

/// A list, or a section left empty.
fn list(description: &str, items: &Value) -> Value {
    json!({"description": description, "type": ["array", "null"], "items": items})
}

fn domains(description: &str) -> Value {
    list(
        description,
        &json!({"type": "string", "pattern": "^(\\*\\.|\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*\\.?(:[1-9][0-9]{0,4})?$"}),
    )
}

fn variables(description: &str, value: &Value) -> Value {
    json!({
        "description": description,
        "type": ["object", "null"],
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": value
    })
}

fn agent() -> Value {
    json!({
        "description": "The agent's program.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {
            "interface": {
                "description": "What `ocs start` gives: a server for a browser, or the tool in the terminal.",
                "enum": ["web", "tui"],
                "default": "web"
            },
            "mcp-config": {
                "description": "A JSON file that names MCP servers for the agent: in the project, or in one of read-only-paths.",
                "type": "string",
                "minLength": 1
            },
            "packages": {
                "description": "Debian packages for the agent's image; the engine native shows what the host has.",
                "type": ["array", "null"],
                "items": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9+._-]*[a-z0-9+._])?$", "maxLength": 128}
            },
            "tool": {
                "description": "opencode, omp, or a command; no shell reads it.",
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1}
                ],
                "default": "opencode"
            }
        }
    })
}

fn limits() -> Value {
    let time = |description: &str, default: &str| {
        json!({
            "description": description,
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h)$",
            "default": default
        })
    };
    json!({
        "description": "Limits of the sandbox, with their units.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {
            "connections": {
                "description": "Open connections of the box.",
                "type": "integer",
                "minimum": 1,
                "maximum": 1_048_576,
                "default": 10_000
            },
            "head-timeout": time("How long a client may take for a request's head or its ClientHello.", "10s"),
            "connect-timeout": time("How long an origin may take to accept.", "10s"),
            "idle-timeout": time("How long an open connection may be silent in both directions.", "1h"),
            "memory": {
                "description": "Memory of the box, what it keeps in files of its own included.",
                "type": "string",
                "pattern": "^[0-9]+(KiB|MiB|GiB|TiB)$"
            },
            "cpus": {
                "description": "Processors of the box.",
                "type": "number",
                "minimum": 0.01,
                "maximum": 8192
            },
            "pids": {
                "description": "Processes and threads in the box.",
                "type": "integer",
                "minimum": 1,
                "maximum": 4_194_304
            }
        }
    })
}

/// JSON Schema of one line of the record.
#[must_use]
pub fn audit_event_schema() -> Value {
    let events = [
        ("close", close()),
        ("dns", dns()),
        ("gap", gap()),
        ("packet", packet()),
        ("policy", policy()),
        ("question", question()),
        ("request", request()),
        ("start", start()),
        ("stop", stop()),
    ];
    json!({
        "$schema": DIALECT,
        "title": "One line of the record of ocs",
        "description": "docs/audit-log.md says the same in words. A reader ignores fields that it does not know.",
        "type": "object",
        "oneOf": events.map(|(name, fields)| event(name, fields))
    })
}

/// A line: the common fields, the event's own in their order, the digest.
fn event(name: &str, fields: Vec<(&str, Value)>) -> Value {
    let hash = json!({"type": "string", "pattern": "^[0-9a-f]{64}$"});
    let mut all = vec![
        ("v", json!({"const": 1})),
        ("seq", json!({"type": "integer", "minimum": 1})),
        ("prev", hash.clone()),
        (
            "time",
            json!({"type": "string", "format": "date-time", "pattern": "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$"}),
        ),
        ("sandbox", json!({"type": "string"})),
        ("run", json!({"type": "string"})),
        ("event", json!({"const": name})),
    ];
    all.extend(fields);
    all.push(("digest", hash));
    let required: Vec<&str> = all
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !name.ends_with('?'))
        .collect();
    let properties: Map<String, Value> = all
        .iter()
        .map(|(name, value)| (name.trim_end_matches('?').to_owned(), value.clone()))
        .collect();
    json!({"title": name, "required": required, "properties": properties})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn or_null(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn address() -> Value {
    json!({"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]})
}

fn port() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": 65535})
}

fn decision() -> Value {
    json!({"enum": [Decision::Allow, Decision::Deny]})
}

fn reason() -> Value {
    json!({"enum": Reason::ALL.map(Reason::code)})
}

fn request() -> Vec<(&'static str, Value)> {
    let rule = json!({
        "type": "object",
        "required": ["file", "line", "text"],
        "properties": {"file": text(), "line": {"type": "integer", "minimum": 1}, "text": text()}
    });
    vec![
        ("id", count()),
        ("decision", decision()),
        ("reason", or_null(&reason())),
        ("rule", or_null(&rule)),
        ("via", json!({"enum": Via::ALL.map(Via::code)})),
        ("method", or_null(&text())),
        ("host", or_null(&text())),
        ("port", or_null(&port())),
        ("sni", or_null(&text())),
        ("address", or_null(&address())),
        ("generation", count()),
        ("process", process()),
        ("dropped", json!({"type": "array", "items": address()})),
        (OPTIONAL_COUNT, json!({"type": "integer", "minimum": 2})),
    ]
}

/// The one field that a line may leave out: a refusal that stands for itself alone.
const OPTIONAL_COUNT: &str = "count?";

fn process() -> Value {
    json!({
        "type": "object",
        "required": ["pid", "exe"],
        "properties": {"pid": or_null(&count()), "exe": or_null(&text())}
    })
}

fn question() -> Vec<(&'static str, Value)> {
    let by = json!({
        "type": "object",
        "required": ["uid", "user"],
        "properties": {"uid": count(), "user": or_null(&text())}
    });
    vec![
        ("question", json!({"type": "integer", "minimum": 1})),
        ("host", text()),
        ("port", port()),
        ("answer", or_null(&json!({"enum": Reply::ALL}))),
        ("by", or_null(&by)),
        ("waiting", count()),
        ("duration_ms", count()),
        ("process", process()),
    ]
}

fn close() -> Vec<(&'static str, Value)> {
    vec![
        ("id", count()),
        ("outcome", json!({"enum": Outcome::ALL})),
        ("bytes_up", count()),
        ("bytes_down", count()),
        ("duration_ms", count()),
    ]
}

fn packet() -> Vec<(&'static str, Value)> {
    vec![
        ("protocol", text()),
        ("address", or_null(&address())),
        ("port", or_null(&port())),
        ("count", count()),
        ("reason", json!({"const": Reason::Direct})),
    ]
}

fn dns() -> Vec<(&'static str, Value)> {
    vec![
        ("name", text()),
        ("type", text()),
        ("decision", decision()),
        ("reason", or_null(&reason())),
        ("count", count()),
    ]
}

fn gap() -> Vec<(&'static str, Value)> {
    vec![
        ("lost", json!({"enum": Lost::ALL})),
        ("count", or_null(&count())),
    ]
}

fn policy() -> Vec<(&'static str, Value)> {
    vec![
        (
            "hash",
            json!({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
        ),
        ("generation", count()),
        ("source", text()),
        ("mode", json!({"enum": Mode::ALL})),
    ]
}

fn start() -> Vec<(&'static str, Value)> {
    vec![
        ("version", text()),
        ("mode", json!({"enum": Mode::ALL})),
        ("engine", text()),
    ]
}

fn stop() -> Vec<(&'static str, Value)> {
    vec![
        ("cause", text()),
        ("allowed", count()),
        ("denied", count()),
        ("packets", count()),
    ]
}

#[cfg(test)]
mod tests;
