//! Connections.

use crate::error::Result;
use crate::filter::{Conditions, Filter};
use crate::session::{Reader, Writer};
use crate::table::Record;
use model::{Actor, Change, Connection, ConnectionKey, datetime};
use rusqlite::types::Value;

/// What connections are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct ConnectionFilter {
    /// Only those of this domain; `*` means the system-wide ones.
    pub domain: Option<String>,
    /// Only those of this reseller's domains.
    pub reseller: Option<String>,
    /// An orig pattern, or a URI that the orig pattern matches.
    pub orig_match: Option<String>,
    /// A term pattern, or a URI that the term pattern matches.
    pub term_match: Option<String>,
}

impl Filter for ConnectionFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("domain", self.domain.as_deref())
            .reseller("domain", self.reseller.as_deref())
            .pattern("orig_match_pattern", self.orig_match.as_deref())
            .pattern("term_match_pattern", self.term_match.as_deref());
    }
}

impl Record for Connection {
    type Key = ConnectionKey;
    type Filter = ConnectionFilter;

    const NOUN: &'static str = "connection";
    const TABLE: &'static str = "connections";
    const KEY_COLUMNS: &'static [&'static str] = &["domain", "orig_match_pattern"];
    const FILTER_COLUMNS: &'static [&'static str] = &["term_match_pattern"];
    const SECRET_FIELDS: &'static [&'static str] = Self::SECRET_FIELDS;

    fn key(&self) -> ConnectionKey {
        self.key()
    }

    fn key_values(key: &ConnectionKey) -> Vec<String> {
        vec![
            key.domain.clone(),
            key.connection_orig_match_pattern.clone(),
        ]
    }

    fn filter_values(&self) -> Vec<Value> {
        vec![self.effective_term_pattern().to_owned().into()]
    }

    fn change(key: &ConnectionKey) -> Change {
        Change::Connection(key.clone())
    }

    fn stamp(&mut self, actor: &Actor) {
        self.last_modified_datetime = datetime::format_utc(actor.unix_ms);
    }

    fn check_owner(&self, reader: &Reader<'_>) -> Result<()> {
        reader.require_domain(self, &self.domain)
    }

    fn after_delete(
        key: &ConnectionKey,
        writer: &mut Writer<'_>,
    ) -> Result<Vec<(&'static str, usize)>> {
        writer.forget_registrations(key)?;
        writer.forget_call_maxima(key)?;
        Ok(Vec::new())
    }
}
