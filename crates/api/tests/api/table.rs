//! Every body of the table, filled with values of all kinds.

use api::resources;
use api::table::{Body, Kind};
use api::validate::{self, Handling};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn bodies() -> Vec<Body> {
    resources::operations()
        .filter_map(|operation| operation.body)
        .collect()
}

/// Something that may or may not fit; the seed decides which.
fn value(kind: Kind, seed: u64) -> Value {
    let pick = |words: &[&str]| json!(words[(seed / 16) as usize % words.len()]);
    match (seed % 16, kind) {
        (0, _) => json!(null),
        (1, _) => json!(true),
        (2, _) => json!(seed),
        (3, _) => json!(-1),
        (4, _) => json!([]),
        (5, _) => json!({"a": 1}),
        (6, _) => json!("a\r\nb"),
        (7, _) => json!(""),
        (8, _) => json!("YES"),
        (9, _) => json!("*"),
        (_, Kind::Words(words) | Kind::OpenWords(words) | Kind::WordList(words)) => pick(words),
        (_, Kind::YesNo) => pick(&["yes", "no", "true", "0"]),
        (_, Kind::Integer { .. }) => json!((seed / 16 % 1_000).to_string()),
        (_, _) => pick(&[
            "sip*@acme-pbx",
            "text",
            "192.0.2.1:5060",
            "2026-01-02 03:04:05",
            "[1-5]",
            "US/Pacific",
            "-7",
            "08:00",
        ]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_body_is_cleaned_or_every_mistake_is_named(which in any::<prop::sample::Index>(), seeds in prop::collection::vec(any::<u64>(), 80)) {
        let body = *which.get(&bodies());
        let sent: Map<String, Value> = body
            .fields()
            .zip(&seeds)
            .filter(|(_, seed)| *seed % 3 != 0)
            .map(|(field, seed)| (field.name.to_owned(), value(field.kind, seed / 3)))
            .collect();
        match validate::body(&body, Value::Object(sent.clone()).to_string().as_bytes(), Handling::Strict) {
            Ok(cleaned) => {
                let again = Value::Object(cleaned.values.clone()).to_string();
                let again = validate::body(&body, again.as_bytes(), Handling::Strict);
                prop_assert_eq!(again.map(|again| again.values), Ok(cleaned.values));
            }
            Err(message) => {
                // Each named field is wrong alone too: no complaint comes from a neighbour.
                for (name, value) in &sent {
                    let mut alone = Map::new();
                    alone.insert(name.clone(), value.clone());
                    let free = Body { required: &[], ..body };
                    let ok = validate::body(&free, Value::Object(alone).to_string().as_bytes(), Handling::Strict).is_ok();
                    let named = message.split("; ").any(|part| part.starts_with(&format!("{name}: ")));
                    prop_assert_eq!(named, !ok, "{}: {} in {}", name, value, message);
                }
            }
        }
    }
}

#[test]
fn defaults_and_examples_pass_their_own_checks() {
    for body in bodies() {
        for field in body.fields().filter(|field| !field.read_only) {
            for text in [field.default, field.example].into_iter().flatten() {
                let alone = json!({ field.name: text }).to_string();
                let free = Body {
                    required: &[],
                    ..body
                };
                let result = validate::body(&free, alone.as_bytes(), Handling::Strict);
                assert!(result.is_ok(), "{}.{}: {result:?}", body.schema, field.name);
            }
        }
    }
}

/// A record nobody filled in, as the store would keep it.
fn blank(schema: &str) -> Map<String, Value> {
    let value = match schema {
        "Connection" => serde_json::to_value(model::Connection::default()),
        "Domain" => serde_json::to_value(model::Domain::default()),
        "DialPlan" => serde_json::to_value(model::DialPlan::default()),
        "DialRule" => serde_json::to_value(model::DialRule::default()),
        "ApiKey" => serde_json::to_value(model::ApiKey::default()),
        other => panic!("no record of the name {other}"),
    };
    value.unwrap().as_object().unwrap().clone()
}

#[test]
fn table_and_model_have_the_same_fields_and_defaults() {
    let document = api::openapi::document();
    // Absent from a record that does not set them.
    let optional = ["area-code", "connection-system-a-assisted-id-format"];
    for schema in ["Connection", "Domain", "DialPlan", "DialRule", "ApiKey"] {
        let properties = document["components"]["schemas"][schema]["properties"]
            .as_object()
            .unwrap();
        let record = blank(schema);
        for name in record.keys() {
            assert!(
                properties.contains_key(name),
                "{schema}: {name} is in the model alone"
            );
        }
        for (name, property) in properties {
            assert!(
                record.contains_key(name) || optional.contains(&name.as_str()),
                "{schema}: {name} is in the table alone"
            );
            if let Some(default) = property.get("default") {
                assert_eq!(record.get(name), Some(default), "{schema}: {name}");
            }
        }
    }
}
