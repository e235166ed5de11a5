//! JSON Schemas: of the project's file, and of the record's lines.

use serde_json::Value;

/// JSON Schema (2020-12) of `opencode-sandbox-config.yaml`.
#[must_use]
pub fn config_schema() -> Value {
    Value::Bool(false)
}

/// JSON Schema (2020-12) of one line of the record.
#[must_use]
pub fn audit_event_schema() -> Value {
    Value::Bool(false)
}
