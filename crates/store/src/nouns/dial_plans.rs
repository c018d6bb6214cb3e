//! Dial plans. A removed one takes its rules along.

use crate::error::{Result, StoreError};
use crate::filter::{Conditions, Filter};
use crate::session::{Reader, Writer};
use crate::table::{Record, label};
use model::{Change, DialPlan, DialPlanKey};
use rusqlite::types::Value;

/// What dial plans are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct DialPlanFilter {
    /// Only those of this domain; `*` means the system's.
    pub domain: Option<String>,
    /// Only those of this reseller's domains.
    pub reseller: Option<String>,
}

impl Filter for DialPlanFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("domain", self.domain.as_deref())
            .reseller("domain", self.reseller.as_deref());
    }
}

impl Record for DialPlan {
    type Key = DialPlanKey;
    type Filter = DialPlanFilter;

    const NOUN: &'static str = "dial plan";
    const TABLE: &'static str = "dial_plans";
    const KEY_COLUMNS: &'static [&'static str] = &["domain", "plan"];
    const FILTER_COLUMNS: &'static [&'static str] = &[];
    const SECRET_FIELDS: &'static [&'static str] = &[];

    fn key(&self) -> DialPlanKey {
        self.key()
    }

    fn key_values(key: &DialPlanKey) -> Vec<String> {
        vec![key.domain.clone(), key.plan.clone()]
    }

    fn filter_values(&self) -> Vec<Value> {
        Vec::new()
    }

    fn change(key: &DialPlanKey) -> Change {
        Change::DialPlan {
            domain: key.domain.clone(),
            name: key.plan.clone(),
        }
    }

    fn stamp(&mut self, _actor: &model::Actor) {
        // The row's number is the truth; a number in the stored record could only contradict it.
        self.dialplan_id = 0;
    }

    fn numbered(&mut self, id: i64) {
        self.dialplan_id = id;
    }

    fn check_owner(&self, reader: &Reader<'_>) -> Result<()> {
        if reader.owner_exists(&self.domain)? {
            return Ok(());
        }
        Err(StoreError::NoOwner {
            what: label::<Self>(&self.key()),
            owner: format!("domain {}", self.domain),
        })
    }

    fn after_delete(
        key: &DialPlanKey,
        writer: &mut Writer<'_>,
    ) -> Result<Vec<(&'static str, usize)>> {
        let sql = "DELETE FROM dial_rules WHERE domain = ? AND plan = ?";
        let rows = writer
            .sql()
            .prepare_cached(sql)?
            .execute([&key.domain, &key.plan])?;
        Ok(vec![("dial_rules", rows)])
    }
}
