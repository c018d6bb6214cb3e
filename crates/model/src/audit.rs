//! Who changed what, when, from where.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::words::words;

/// Whoever makes a change. Every writing call of the store takes one, and makes the audit line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// A key id, a user, or the name of a part of the switch.
    pub who: String,
    /// Where the request came from; absent when the switch itself acts.
    pub address: Option<IpAddr>,
    /// When, in milliseconds since the Unix epoch. It also becomes the record's date of change.
    pub unix_ms: i64,
}

impl Actor {
    /// A part of the switch, such as `setup`.
    pub fn system(who: impl Into<String>, unix_ms: i64) -> Self {
        Self {
            who: who.into(),
            address: None,
            unix_ms,
        }
    }
}

words! {
    /// What was done to a record.
    pub enum AuditVerb {
        /// It was made.
        Create = "create",
        /// It was changed.
        Update = "update",
        /// It was removed, with all that belongs to it.
        Delete = "delete",
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Audit {
    /// Grows with every line.
    pub id: i64,
    /// When, in milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// Whoever did it.
    pub who: String,
    /// From where.
    pub address: Option<IpAddr>,
    /// What was done.
    pub verb: AuditVerb,
    /// The kind of record, such as `connection`.
    pub object: String,
    /// The domain of the record, or `*`.
    pub domain: String,
    /// The rest of the record's key.
    pub key: String,
    /// Fields that changed, each as `[before, after]`; secrets show only that they changed.
    pub diff: serde_json::Map<String, serde_json::Value>,
}
