//! How plain values look in JSON: yes/no, numbers that may come as text, text that may come as numbers.
//!
//! Used with `#[serde(with = "…")]`. Writing is strict (one form), reading is generous, because live
//! clients send `"0"` for 0 and `true` for `"yes"`.

use serde::de::{Deserializer, Error as _, IgnoredAny, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// `bool` as `"yes"`/`"no"`; also reads `true`, `false`, `1`, `0`, and the same as text.
pub mod yes_no {
    use super::*;

    /// The truth behind a word, compared without case.
    pub fn parse(word: &str) -> Option<bool> {
        match word.to_ascii_lowercase().as_str() {
            "yes" | "true" | "1" => Some(true),
            "no" | "false" | "0" => Some(false),
            _ => None,
        }
    }

    /// `yes` or `no`.
    pub fn as_str(value: bool) -> &'static str {
        if value { "yes" } else { "no" }
    }

    /// Writes `"yes"` or `"no"`.
    pub fn serialize<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(as_str(*value))
    }

    /// Reads any of the accepted forms.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        let word = text::deserialize(deserializer)?;
        parse(&word).ok_or_else(|| D::Error::custom(format!("`{word}` is not one of yes, no")))
    }
}

/// Text that may arrive as a number or boolean; `null` reads as empty.
pub mod text {
    use super::*;

    /// Writes the text.
    pub fn serialize<S: Serializer>(value: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value)
    }

    /// Reads text, a number, a boolean or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }

    struct TextVisitor;

    impl Visitor<'_> for TextVisitor {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text")
        }
        fn visit_str<E>(self, value: &str) -> Result<String, E> {
            Ok(value.to_owned())
        }
        fn visit_string<E>(self, value: String) -> Result<String, E> {
            Ok(value)
        }
        fn visit_bool<E>(self, value: bool) -> Result<String, E> {
            Ok(value.to_string())
        }
        fn visit_u64<E>(self, value: u64) -> Result<String, E> {
            Ok(value.to_string())
        }
        fn visit_i64<E>(self, value: i64) -> Result<String, E> {
            Ok(value.to_string())
        }
        fn visit_f64<E>(self, value: f64) -> Result<String, E> {
            Ok(value.to_string())
        }
        fn visit_unit<E>(self) -> Result<String, E> {
            Ok(String::new())
        }
    }
}

/// A count that may arrive as text; empty text and `null` read as 0.
pub mod count {
    use super::*;

    /// Writes the number.
    pub fn serialize<S: Serializer>(value: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(*value)
    }

    /// Reads a number of 0 or more.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let word = text::deserialize(deserializer)?;
        match word.trim() {
            "" => Ok(0),
            digits => digits.parse().map_err(|_| {
                D::Error::custom(format!(
                    "`{word}` is not a whole number from 0 to {}",
                    u32::MAX
                ))
            }),
        }
    }
}

/// An optional small number that may arrive as text; empty text and `null` read as absent.
pub mod optional_number {
    use super::*;

    /// Writes the number, or null.
    pub fn serialize<S: Serializer>(value: &Option<u16>, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    /// Reads a number of 0 or more, or nothing.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u16>, D::Error> {
        let word = text::deserialize(deserializer)?;
        match word.trim() {
            "" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| {
                D::Error::custom(format!(
                    "`{word}` is not a whole number from 0 to {}",
                    u16::MAX
                ))
            }),
        }
    }
}

/// Optional text that may arrive as a number; `null` reads as absent.
pub mod optional_text {
    use super::*;

    /// Writes the text, or null.
    pub fn serialize<S: Serializer>(
        value: &Option<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    /// Reads text, a number or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            other => Some(other.to_string()),
        })
    }
}

/// A field of the contract that has no meaning here: anything is accepted, `null` is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unsupported;

impl Serialize for Unsupported {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Sample {
        #[serde(with = "yes_no")]
        flag: bool,
        #[serde(with = "count")]
        limit: u32,
        #[serde(with = "optional_number")]
        area: Option<u16>,
        #[serde(with = "optional_text")]
        port: Option<String>,
        #[serde(with = "text")]
        number: String,
        ignored: Unsupported,
    }

    fn read(field: &str, value: Value) -> Option<Value> {
        let sample: Sample = serde_json::from_value(json!({ field: value })).ok()?;
        Some(serde_json::to_value(sample).ok()?[field].clone())
    }

    #[test]
    fn many_forms_in_one_form_out() {
        for (value, shown) in [
            (json!("yes"), json!("yes")),
            (json!("TRUE"), json!("yes")),
            (json!(1), json!("yes")),
            (json!(false), json!("no")),
            (json!("0"), json!("no")),
        ] {
            assert_eq!(read("flag", value), Some(shown));
        }
        assert_eq!(read("limit", json!(" 12 ")), Some(json!(12)));
        assert_eq!(read("limit", json!("")), Some(json!(0)));
        assert_eq!(read("limit", Value::Null), Some(json!(0)));
        assert_eq!(read("area", json!("858")), Some(json!(858)));
        assert_eq!(read("area", Value::Null), Some(Value::Null));
        assert_eq!(read("port", json!(25)), Some(json!("25")));
        assert_eq!(read("port", Value::Null), Some(Value::Null));
        assert_eq!(
            read("number", json!(13_105_550_100_u64)),
            Some(json!("13105550100"))
        );
        assert_eq!(read("ignored", json!([1, {"a": 2}])), Some(Value::Null));
    }

    #[test]
    fn nonsense_is_refused() {
        for (field, value) in [
            ("flag", json!("maybe")),
            ("flag", json!(2)),
            ("flag", json!({})),
            ("limit", json!(-1)),
            ("limit", json!(1.5)),
            ("limit", json!(4_294_967_296_u64)),
            ("limit", json!("a")),
            ("area", json!(70_000)),
            ("number", json!(["x"])),
        ] {
            assert_eq!(read(field, value.clone()), None, "{field} {value}");
        }
    }
}
