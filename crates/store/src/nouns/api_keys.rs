//! API keys. The hash of a key stands in its own column and never leaves the store.

use crate::error::Result;
use crate::filter::{Conditions, Filter};
use crate::session::{Reader, Writer};
use crate::table::Record;
use model::{Actor, ApiKey, Change, datetime};
use rusqlite::OptionalExtension;
use rusqlite::types::Value;

/// `lastused-datetime` is kept to the hour, so that a busy key costs one write an hour.
pub const LAST_USED_GRAIN_MS: i64 = 3_600_000;

/// What API keys are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct ApiKeyFilter {
    /// Only those limited to this domain.
    pub domain: Option<String>,
    /// Only those limited to this reseller.
    pub reseller: Option<String>,
    /// Only those of this user.
    pub user: Option<String>,
}

impl Filter for ApiKeyFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("domain", self.domain.as_deref())
            .equal("reseller", self.reseller.as_deref())
            .equal("owner", self.user.as_deref());
    }
}

impl Record for ApiKey {
    type Key = String;
    type Filter = ApiKeyFilter;

    const NOUN: &'static str = "API key";
    const TABLE: &'static str = "api_keys";
    const KEY_COLUMNS: &'static [&'static str] = &["key_id"];
    const FILTER_COLUMNS: &'static [&'static str] = &["domain", "reseller", "owner"];
    const SECRET_FIELDS: &'static [&'static str] = &[];

    fn key(&self) -> String {
        self.key_id.clone()
    }

    fn key_values(key: &String) -> Vec<String> {
        vec![key.clone()]
    }

    fn filter_values(&self) -> Vec<Value> {
        vec![
            self.domain.clone().into(),
            self.reseller.clone().into(),
            self.user.clone().into(),
        ]
    }

    fn change(key: &String) -> Change {
        Change::ApiKey(key.clone())
    }

    fn stamp(&mut self, actor: &Actor) {
        if self.created_datetime.is_empty() {
            self.created_datetime = datetime::format_rfc3339(actor.unix_ms);
        }
    }
}

impl Writer<'_> {
    /// Makes an API key whose text hashes to `key_hash` (SHA-256 in lower-case hex).
    pub fn insert_api_key(&mut self, actor: &Actor, key: ApiKey, key_hash: &str) -> Result<ApiKey> {
        self.insert_with(actor, key, &[("key_hash", key_hash.to_owned().into())])
    }

    /// Remembers that a key was used; true when the hour is a new one and the record changed.
    ///
    /// The only write without an audit line: nobody changed anything.
    pub fn touch_api_key(&mut self, key_id: &str, unix_ms: i64) -> Result<bool> {
        let hour_ms = unix_ms - unix_ms.rem_euclid(LAST_USED_GRAIN_MS);
        let Some(mut key) = self.read::<ApiKey>(&key_id.to_owned())? else {
            return Ok(false);
        };
        key.lastused_datetime = Some(datetime::format_rfc3339(hour_ms));
        let json = serde_json::to_string(&key).map_err(|error| crate::StoreError::Database {
            why: format!("API key: {error}"),
        })?;
        let rows = self
            .sql()
            .prepare_cached(
                "UPDATE api_keys SET lastused_ms = ?1, record = ?2 \
                 WHERE key_id = ?3 AND coalesce(lastused_ms, -1) < ?1",
            )?
            .execute((hour_ms, json, key_id))?;
        Ok(rows > 0)
    }
}

impl Reader<'_> {
    /// The key whose text has this SHA-256.
    pub fn api_key_by_hash(&self, key_hash: &str) -> Result<Option<ApiKey>> {
        let key_id: Option<String> = self
            .sql()
            .prepare_cached("SELECT key_id FROM api_keys WHERE key_hash = ?")?
            .query_row([key_hash], |row| row.get(0))
            .optional()?;
        match key_id {
            Some(key_id) => self.read(&key_id),
            None => Ok(None),
        }
    }

    /// How many keys there are; 0 means nobody can log in yet.
    pub fn count_api_keys(&self) -> Result<u64> {
        self.count::<ApiKey>(&ApiKeyFilter::default())
    }
}
