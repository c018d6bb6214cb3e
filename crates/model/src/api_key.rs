//! An API key: the credential of a machine. The key itself is never kept, only its hash.

use crate::scope::Scope;
use crate::wire;
use serde::{Deserialize, Serialize};

/// The record. The hash of the key stands beside it in the store, not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ApiKey {
    /// First twelve characters of the key, which identify it.
    pub key_id: String,
    /// What the key is for.
    pub description: String,
    /// The reseller the key is limited to, or `*`.
    pub reseller: String,
    /// The user the key acts for; empty when it acts for a domain or more.
    #[serde(with = "wire::text")]
    pub user: String,
    /// The domain the key is limited to, or `*`.
    pub domain: String,
    /// What the key may do.
    pub user_scope: Scope,
    /// Addresses and networks the key may be used from, comma separated; empty allows all.
    pub ip_address: String,
    /// Whether the key may only read.
    #[serde(with = "wire::yes_no")]
    pub readonly: bool,
    /// Whether the key may make keys of lower scope.
    #[serde(with = "wire::yes_no")]
    pub can_create_keys: bool,
    /// The objects the key may touch.
    pub allowed_models: AllowedModels,
    /// When the key was made, RFC 3339.
    pub created_datetime: String,
    /// When the key was last used, RFC 3339, to the hour; absent when never.
    pub lastused_datetime: Option<String>,
}

impl Default for ApiKey {
    fn default() -> Self {
        Self {
            key_id: String::new(),
            description: String::new(),
            reseller: "*".to_owned(),
            user: String::new(),
            domain: String::new(),
            user_scope: Scope::BasicUser,
            ip_address: String::new(),
            readonly: false,
            can_create_keys: false,
            allowed_models: AllowedModels::default(),
            created_datetime: String::new(),
            lastused_datetime: None,
        }
    }
}

/// One object name, `*` for all, or several names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AllowedModels {
    /// One name, or `*`.
    One(String),
    /// Any of these; a `*` among them means all.
    Many(Vec<String>),
}

impl Default for AllowedModels {
    fn default() -> Self {
        Self::One("*".to_owned())
    }
}

impl AllowedModels {
    /// Whether objects of this name may be touched.
    pub fn allows(&self, model: &str) -> bool {
        let fits = |name: &String| name == "*" || name == model;
        match self {
            Self::One(name) => fits(name),
            Self::Many(names) => names.iter().any(fits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn models_in_both_forms() {
        let read = |models| -> ApiKey {
            serde_json::from_value(json!({"allowed-models": models, "user-scope": "super user"}))
                .unwrap()
        };
        let one = read(json!("connection"));
        assert_eq!(one.user_scope, Scope::SuperUser);
        assert!(one.allowed_models.allows("connection"));
        assert!(!one.allowed_models.allows("domain"));
        assert!(
            read(json!(["call", "domain"]))
                .allowed_models
                .allows("domain")
        );
        assert!(ApiKey::default().allowed_models.allows("anything"));
    }
}
