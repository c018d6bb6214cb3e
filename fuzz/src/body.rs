//! Request bodies: whatever arrives is answered, and what passes once passes again unchanged.

use api::resources::{CONNECTION_CREATE, CONNECTION_UPDATE, DIAL_RULE_CREATE, DOMAIN_CREATE};
use api::validate::{self, Handling};
use serde_json::Value;

pub fn run(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else {
        return;
    };
    let bodies = [
        CONNECTION_CREATE,
        CONNECTION_UPDATE,
        DIAL_RULE_CREATE,
        DOMAIN_CREATE,
    ];
    let body = &bodies[usize::from(first >> 1) % bodies.len()];
    let handling = if first & 1 == 0 {
        Handling::Lenient
    } else {
        Handling::Strict
    };
    match validate::body(body, bytes, handling) {
        Err(message) => assert!(!message.is_empty()),
        Ok(cleaned) => {
            let controls = |value: &Value| {
                value
                    .as_str()
                    .is_some_and(|text| text.chars().any(char::is_control))
            };
            assert!(!cleaned.values.values().any(controls));
            let again = Value::Object(cleaned.values.clone()).to_string();
            let again =
                validate::body(body, again.as_bytes(), Handling::Strict).expect("passed once");
            assert_eq!(again.values, cleaned.values);
        }
    }
}
