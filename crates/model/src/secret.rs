//! Text that must not be seen by accident.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// A password or key. `Debug` prints `…`; the value comes out only by `reveal` or by serialising it.
///
/// Serialising writes the real value, because the store keeps it: whoever shows records to people
/// takes the field out first.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps the value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Never goes into a log, an error or a list.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "-" } else { "…" })
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::wire::text::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "…");
        assert_eq!(format!("{:?}", Secret::default()), "-");
    }

    #[test]
    fn storing_keeps_the_value() {
        let json = serde_json::to_string(&Secret::new("hunter2")).unwrap();
        assert_eq!(
            serde_json::from_str::<Secret>(&json).unwrap().reveal(),
            "hunter2"
        );
        assert_eq!(
            serde_json::from_str::<Secret>("1234").unwrap().reveal(),
            "1234"
        );
    }
}
