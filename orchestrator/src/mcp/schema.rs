//! The tools as a client sees them: names, descriptions and arguments. The names are the contract.
use std::sync::Arc;

use rmcp::model::{JsonObject, Tool};
use serde_json::{Value, json};

/// All of them.
pub(super) fn tools() -> Vec<Tool> {
    vec![
        tool(
            "run_in_sandbox",
            "Lets a coding agent do one task in a sandbox of its own on this project, and gives one JSON document: ok, result, \
             refused (what the sandbox did not let out), changed_files and more. Nothing of it is remembered.",
            &json!({
                "task": text("What is to be done."),
                "timeout": {"type": "integer", "minimum": 1, "maximum": 604_800, "default": 300, "description": "Seconds that it may take."},
            }),
            &["task"],
        ),
        tool(
            "delegate_task",
            "Lets the project's agent do a task in its sandbox, in one conversation that goes on from task to task.",
            &json!({"instructions": text("What is to be done.")}),
            &["instructions"],
        ),
        tool(
            "abort_task",
            "Ends the delegated task that is at work.",
            &json!({}),
            &[],
        ),
        tool(
            "read_project_file",
            "Gives the text of a file of the project.",
            &json!({"path": text("From the project's root on.")}),
            &["path"],
        ),
        tool(
            "list_project_files",
            "Gives the names in a directory of the project; with a pattern those below it that fit.",
            &json!({
                "path": {"type": "string", "default": ".", "description": "From the project's root on."},
                "pattern": text("`*` is any text, `?` one character; without either, text that stands in the path."),
            }),
            &[],
        ),
        tool(
            "get_project_status",
            "Gives what git says of the project (status, last commits), and whether a delegated task is at work.",
            &json!({}),
            &[],
        ),
        tool(
            "get_refused_requests",
            "Gives what the project's sandboxes refused: each with host, port, reason and the process that asked.",
            &json!({"since": text("A moment (2026-11-21T01:14:00Z) or how long ago (90s, 15m, 2h, 7d).")}),
            &[],
        ),
    ]
}

fn tool(name: &'static str, about: &'static str, properties: &Value, required: &[&str]) -> Tool {
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    Tool::new(name, about, Arc::new(object(schema)))
}

fn text(about: &str) -> Value {
    json!({"type": "string", "description": about})
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            JsonObject::new()
        }
    }
}
