//! Domains. A new one comes with its dial plan; a removed one takes all it owns along.

use crate::error::Result;
use crate::filter::{Conditions, Filter};
use crate::session::{Reader, Writer};
use crate::shipped;
use crate::table::Record;
use model::{Actor, Change, DialPlan, DialPlanKey, DialRule, DialRuleApplication, Domain};
use rusqlite::types::Value;

/// What domains are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct DomainFilter {
    /// Only this one.
    pub domain: Option<String>,
    /// Only those of this reseller.
    pub reseller: Option<String>,
}

impl Filter for DomainFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("domain", self.domain.as_deref())
            .equal("reseller", self.reseller.as_deref());
    }
}

/// Everything a domain may own, in the order it is removed.
const OWNED_TABLES: &[&str] = &[
    "connections",
    "registrations",
    "call_maxima",
    "dial_rules",
    "dial_plans",
    "permissions",
    "dial_policies",
    "api_keys",
];

impl Record for Domain {
    type Key = String;
    type Filter = DomainFilter;

    const NOUN: &'static str = "domain";
    const TABLE: &'static str = "domains";
    const KEY_COLUMNS: &'static [&'static str] = &["domain"];
    const FILTER_COLUMNS: &'static [&'static str] = &["reseller"];
    const SECRET_FIELDS: &'static [&'static str] = Self::SECRET_FIELDS;

    fn key(&self) -> String {
        self.domain.clone()
    }

    fn key_values(key: &String) -> Vec<String> {
        vec![key.clone()]
    }

    fn filter_values(&self) -> Vec<Value> {
        vec![self.reseller.clone().into()]
    }

    fn change(key: &String) -> Change {
        Change::Domain(key.clone())
    }

    fn stamp(&mut self, _actor: &Actor) {
        if self.dial_plan.is_empty() {
            self.dial_plan.clone_from(&self.domain);
        }
    }

    /// The plan named like the domain, which hands every call to the shipped features.
    fn after_insert(&self, writer: &mut Writer<'_>, actor: &Actor) -> Result<()> {
        let name = &self.domain;
        let key = DialPlanKey::new(name.clone(), name.clone());
        if writer.exists::<DialPlan>(&key)? {
            return Ok(());
        }
        writer.insert(
            actor,
            DialPlan::new(name, name, format!("Dial plan of {name}")),
        )?;
        let features = DialRuleApplication::chain(shipped::FEATURES);
        writer.insert(actor, DialRule::new(name, name, "*", features))?;
        Ok(())
    }

    fn after_delete(key: &String, writer: &mut Writer<'_>) -> Result<Vec<(&'static str, usize)>> {
        let mut removed = Vec::new();
        for &table in OWNED_TABLES {
            let sql = format!("DELETE FROM {table} WHERE domain = ?");
            removed.push((table, writer.sql().prepare_cached(&sql)?.execute([key])?));
        }
        Ok(removed)
    }
}

impl Reader<'_> {
    /// Names of all domains, without `*`, in order of creation.
    pub fn all_domains(&self) -> Result<Vec<String>> {
        let mut statement = self
            .sql()
            .prepare_cached("SELECT domain FROM domains ORDER BY id")?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether records may belong to this domain: it exists, or is `*`.
    pub fn owner_exists(&self, domain: &str) -> Result<bool> {
        Ok(domain == model::SYSTEM_DOMAIN || self.exists::<Domain>(&domain.to_owned())?)
    }
}
