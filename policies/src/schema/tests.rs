use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::audit::sample;
use crate::compile::{AGENT_KEYS, KEYS, LIMIT_KEYS};

/// Compares with the published file; `OCS_BLESS=1` writes it.
fn published(name: &str, schema: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schema")
        .join(name);
    let text = format!("{schema:#}\n");
    if std::env::var_os("OCS_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let found: Option<Value> = fs::read(&path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    assert!(
        found.as_ref() == Some(schema),
        "{} is not what the program says; run the test with OCS_BLESS=1 and review it",
        path.display()
    );
}

#[test]
fn the_published_schema_of_the_file_is_what_the_program_prints() {
    published("opencode-sandbox-config.schema.json", &config_schema());
}

#[test]
fn the_published_schema_of_the_record_is_what_the_program_prints() {
    published("audit-event.schema.json", &audit_event_schema());
}

/// The names of an object's fields, sorted.
fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    keys
}

fn sorted(names: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_schema_has_exactly_the_keys_that_the_parser_takes() {
    let schema = config_schema();
    assert_eq!(keys(&schema["properties"]), sorted(&KEYS));
    assert_eq!(
        keys(&schema["properties"]["agent"]["properties"]),
        sorted(&AGENT_KEYS)
    );
    assert_eq!(
        keys(&schema["properties"]["limits"]["properties"]),
        sorted(&LIMIT_KEYS)
    );
}

#[test]
fn every_event_that_is_written_has_exactly_the_fields_of_the_schema_in_its_order() {
    let schema = audit_event_schema();
    let events = schema["oneOf"].as_array().unwrap();
    let (mut seen, mut fields) = (Vec::new(), BTreeSet::new());
    for line in sample::record()
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let value: Value = serde_json::from_slice(line).unwrap();
        let name = value["event"].as_str().unwrap().to_owned();
        let event = events
            .iter()
            .find(|event| event["title"] == name.as_str())
            .unwrap();
        let (found, known) = (keys(&value), keys(&event["properties"]));
        let required: Vec<String> = serde_json::from_value(event["required"].clone()).unwrap();
        assert!(found.iter().all(|key| known.contains(key)), "{name}");
        assert!(required.iter().all(|key| found.contains(key)), "{name}");
        fields.extend(found.into_iter().map(|key| (name.clone(), key)));
        let text = std::str::from_utf8(line).unwrap();
        let places: Vec<usize> = event["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| {
                text.find(&format!("\"{}\":", field.as_str().unwrap()))
                    .unwrap()
            })
            .collect();
        assert!(places.is_sorted(), "{name}: {places:?}");
        seen.push(name);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(
        seen.len(),
        events.len(),
        "an event without a sample: {seen:?}"
    );
    for event in events {
        for key in keys(&event["properties"]) {
            let name = event["title"].as_str().unwrap().to_owned();
            assert!(
                fields.contains(&(name, key.clone())),
                "{key} is in no sample"
            );
        }
    }
}
