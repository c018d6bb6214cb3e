//! The OpenAPI document: stable, self-consistent, and the same as the snapshot beside this file.

use std::path::Path;

use serde_json::Value;

/// Set to write the snapshot anew after a wanted change.
const WRITE_SNAPSHOT: &str = "UPDATE_SNAPSHOT";

#[test]
fn the_document_is_the_snapshot() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/openapi.json");
    let now = serde_json::to_string_pretty(&api::openapi::document()).unwrap() + "\n";
    if std::env::var_os(WRITE_SNAPSHOT).is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = before.lines().zip(now.lines()).position(|(a, b)| a != b);
    assert!(
        before == now,
        "the API changed (line {differs:?}): look at it, then run with {WRITE_SNAPSHOT}=1"
    );
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(node: &Value, root: &Value) {
        match node {
            Value::Object(map) => {
                if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                    assert!(
                        root.pointer(target.trim_start_matches('#')).is_some(),
                        "{target}"
                    );
                }
                map.values().for_each(|value| walk(value, root));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(value, root)),
            _ => {}
        }
    }
    let document = api::openapi::document();
    walk(&document, &document);
}

#[test]
fn operation_ids_are_unique_and_defaults_fit() {
    let document = api::openapi::document();
    let mut ids = std::collections::BTreeSet::new();
    for operation in api::resources::operations() {
        assert!(ids.insert(operation.id), "{}", operation.id);
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, schema) in schema["properties"].as_object().unwrap() {
            let Some(default) = schema.get("default") else {
                continue;
            };
            assert!(
                jsonschema::is_valid(schema, default),
                "{name}.{field}: {default}"
            );
        }
    }
}
