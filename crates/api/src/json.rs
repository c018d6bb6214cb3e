//! JSON as a request body may hold it: one object, nothing said twice, not nested to exhaustion.
//!
//! `serde_json` alone keeps the last of two equal keys. Two systems that read one body differently are how
//! access checks get bypassed, so a repeated key is an error here.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deepest nesting accepted. No body of the contract needs more than three levels.
pub const MAX_DEPTH: usize = 16;

/// Reads one JSON object; the error is a sentence for the caller.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Node { depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| format!("The body is not usable JSON: {error}."))?;
    match value {
        Value::Object(map) => Ok(map),
        other => Err(format!(
            "The body must be a JSON object, not {}.",
            type_name(&other)
        )),
    }
}

/// The JSON type of a value, with its article.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads a value at some depth.
#[derive(Clone, Copy)]
struct Node {
    depth: usize,
}

impl Node {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!(
                "nested deeper than {MAX_DEPTH} levels"
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key {key:?} stands there twice"
                )));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_and_nothing_else() {
        assert_eq!(
            object(br#"{"a": [1, "b", null, true, 1.5]}"#)
                .unwrap()
                .len(),
            1
        );
        for wrong in [
            "",
            "[]",
            "1",
            "null",
            "\"text\"",
            "{} {}",
            "{",
            "{\"a\"}",
            "\u{1}",
            "{\"a\":1,}",
        ] {
            assert!(object(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(object(b"{\"a\": \"\xff\"}").is_err());
        assert!(object(b"\xff\xfe{\0}\0").is_err());
    }

    #[test]
    fn repeated_keys_are_refused_at_every_depth() {
        assert!(
            object(br#"{"a": 1, "a": 1}"#)
                .unwrap_err()
                .contains("twice")
        );
        assert!(
            object(br#"{"a": [{"b": 1, "b": 2}]}"#)
                .unwrap_err()
                .contains("twice")
        );
        assert!(
            object(br#"{"a": 1, "\u0061": 2}"#)
                .unwrap_err()
                .contains("twice")
        );
    }

    #[test]
    fn depth_is_bounded() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(object(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert!(object(nested(MAX_DEPTH).as_bytes()).is_err());
        assert!(object(nested(100_000).as_bytes()).is_err());
    }
}
