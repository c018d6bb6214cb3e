//! Dial policies and their permissions. A removed policy takes its permissions along.

use crate::error::Result;
use crate::filter::{Conditions, Filter, OwnerFilter};
use crate::session::{Reader, Writer};
use crate::table::Record;
use model::{Actor, Change, DialPolicy, DialPolicyKey, Permission, PermissionKey, datetime};
use rusqlite::types::Value;

impl Record for DialPolicy {
    type Key = DialPolicyKey;
    type Filter = OwnerFilter;

    const NOUN: &'static str = "dial policy";
    const TABLE: &'static str = "dial_policies";
    const KEY_COLUMNS: &'static [&'static str] = &["domain", "policy"];
    const FILTER_COLUMNS: &'static [&'static str] = &[];
    const SECRET_FIELDS: &'static [&'static str] = &[];

    fn key(&self) -> DialPolicyKey {
        self.key()
    }

    fn key_values(key: &DialPolicyKey) -> Vec<String> {
        vec![key.domain.clone(), key.dialpolicy.clone()]
    }

    fn filter_values(&self) -> Vec<Value> {
        Vec::new()
    }

    fn change(key: &DialPolicyKey) -> Change {
        Change::DialPolicy {
            domain: key.domain.clone(),
            name: key.dialpolicy.clone(),
        }
    }

    fn check_owner(&self, reader: &Reader<'_>) -> Result<()> {
        reader.require_domain(self, &self.domain)
    }

    fn after_delete(
        key: &DialPolicyKey,
        writer: &mut Writer<'_>,
    ) -> Result<Vec<(&'static str, usize)>> {
        let sql = "DELETE FROM permissions WHERE domain = ? AND policy = ?";
        let rows = writer
            .sql()
            .prepare_cached(sql)?
            .execute([&key.domain, &key.dialpolicy])?;
        Ok(vec![("permissions", rows)])
    }
}

/// What permissions are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct PermissionFilter {
    /// Only those of this domain; `*` means the system's.
    pub domain: Option<String>,
    /// Only those of policies of this name.
    pub dialpolicy: Option<String>,
}

impl Filter for PermissionFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("domain", self.domain.as_deref())
            .equal("policy", self.dialpolicy.as_deref());
    }
}

impl Record for Permission {
    type Key = PermissionKey;
    type Filter = PermissionFilter;

    const NOUN: &'static str = "permission";
    const TABLE: &'static str = "permissions";
    const KEY_COLUMNS: &'static [&'static str] = &["domain", "policy", "pattern"];
    const FILTER_COLUMNS: &'static [&'static str] = &[];
    const SECRET_FIELDS: &'static [&'static str] = &[];

    fn key(&self) -> PermissionKey {
        self.key()
    }

    fn key_values(key: &PermissionKey) -> Vec<String> {
        vec![
            key.domain.clone(),
            key.dialpolicy.clone(),
            key.permission_match.clone(),
        ]
    }

    fn filter_values(&self) -> Vec<Value> {
        Vec::new()
    }

    fn change(key: &PermissionKey) -> Change {
        Change::DialPolicy {
            domain: key.domain.clone(),
            name: key.dialpolicy.clone(),
        }
    }

    fn stamp(&mut self, actor: &Actor) {
        self.permission_id = Self::id_of(&self.permission_match);
        if self.created_datetime.is_empty() {
            self.created_datetime = datetime::format_utc(actor.unix_ms);
        }
    }

    fn check_owner(&self, reader: &Reader<'_>) -> Result<()> {
        let policy = DialPolicyKey::new(&*self.domain, &*self.dialpolicy);
        reader.require_parent::<Self, DialPolicy>(self, &policy)
    }
}
