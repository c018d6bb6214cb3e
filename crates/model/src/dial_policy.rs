//! A dial policy: a named table of destinations that may, or may not, be called outside.

use crate::rule_id;
use crate::words::words;
use serde::{Deserialize, Serialize};

/// The policy that permits everything. No table stands behind the name.
pub const PERMIT_ALL: &str = "Permit All";

/// What identifies a dial policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialPolicyKey {
    /// The tenant, or `*`.
    pub domain: String,
    /// The policy's name.
    pub dialpolicy: String,
}

impl DialPolicyKey {
    /// A key of its two parts.
    pub fn new(domain: impl Into<String>, dialpolicy: impl Into<String>) -> Self {
        Self {
            domain: domain.into(),
            dialpolicy: dialpolicy.into(),
        }
    }
}

/// The record; its permissions are records of their own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DialPolicy {
    /// The policy's name, unique in its domain.
    pub dialpolicy: String,
    /// The tenant, or `*`.
    pub domain: String,
    /// Text for people.
    pub description: String,
}

impl DialPolicy {
    /// A policy without permissions: it denies everything.
    pub fn new(
        domain: impl Into<String>,
        dialpolicy: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        Self {
            dialpolicy: dialpolicy.into(),
            domain: domain.into(),
            description: description.into(),
        }
    }

    /// The key of this record.
    pub fn key(&self) -> DialPolicyKey {
        DialPolicyKey::new(&*self.domain, &*self.dialpolicy)
    }
}

words! {
    /// What a permission says of the destinations it covers.
    pub enum PermissionMode {
        /// They may be called.
        Permit = "permit" | "allow",
        /// They may not.
        Deny = "deny",
    }
}

/// What identifies a permission.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PermissionKey {
    /// The tenant, or `*`.
    pub domain: String,
    /// The policy it stands in.
    pub dialpolicy: String,
    /// Its pattern.
    pub permission_match: String,
}

/// One line of a policy. Its pattern names it and cannot change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Permission {
    /// The policy it stands in.
    pub dialpolicy: String,
    /// The tenant, or `*`.
    pub domain: String,
    /// Pattern of the destinations it covers.
    pub permission_match: String,
    /// Whether they may be called.
    pub permission_mode: PermissionMode,
    /// Why, for people.
    pub permission_reason: String,
    /// When it was made: UTC, set by the store.
    pub created_datetime: String,
    /// The pattern in base64, for paths; set by the store.
    pub permission_id: String,
}

impl Default for Permission {
    fn default() -> Self {
        Self {
            dialpolicy: String::new(),
            domain: String::new(),
            permission_match: String::new(),
            permission_mode: PermissionMode::Deny,
            permission_reason: String::new(),
            created_datetime: String::new(),
            permission_id: String::new(),
        }
    }
}

impl Permission {
    /// A line of a policy.
    pub fn new(
        policy: &DialPolicyKey,
        permission_match: impl Into<String>,
        mode: PermissionMode,
        reason: impl Into<String>,
    ) -> Self {
        let permission_match = permission_match.into();
        Self {
            dialpolicy: policy.dialpolicy.clone(),
            domain: policy.domain.clone(),
            permission_id: Self::id_of(&permission_match),
            permission_match,
            permission_mode: mode,
            permission_reason: reason.into(),
            created_datetime: String::new(),
        }
    }

    /// The id of a pattern: base64 of the URL alphabet without padding.
    pub fn id_of(permission_match: &str) -> String {
        rule_id::encode_bytes(permission_match.as_bytes())
    }

    /// The pattern behind an id, in either alphabet, padded or not; `None` when it is no id.
    pub fn match_of(id: &str) -> Option<String> {
        String::from_utf8(rule_id::decode_bytes(id)?)
            .ok()
            .filter(|pattern| !pattern.is_empty())
    }

    /// The key of this record.
    pub fn key(&self) -> PermissionKey {
        PermissionKey {
            domain: self.domain.clone(),
            dialpolicy: self.dialpolicy.clone(),
            permission_match: self.permission_match.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_permission_reads_and_writes_the_names_of_the_contract() {
        let permission: Permission = serde_json::from_value(json!({
            "permission-match": "sip:1900*@*", "permission-mode": "Deny", "permission-reason": "too dear"
        }))
        .unwrap();
        assert_eq!(permission.permission_mode, PermissionMode::Deny);
        let json = serde_json::to_value(&permission).unwrap();
        assert_eq!(json["permission-mode"], "deny");
        assert_eq!(json["permission-match"], "sip:1900*@*");
    }

    #[test]
    fn ids_lead_back_to_patterns() {
        let pattern = "sip:1??????????@*";
        let id = Permission::id_of(pattern);
        assert_eq!(Permission::match_of(&id).as_deref(), Some(pattern));
        assert_eq!(
            Permission::match_of(&format!("{id}==")).as_deref(),
            Some(pattern)
        );
        for bad in ["", "=", "%", "/w"] {
            assert_eq!(Permission::match_of(bad), None, "{bad}");
        }
    }
}
