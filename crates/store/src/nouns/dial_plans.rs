//! Dial plans. A removed one takes its rules along.

use crate::error::Result;
use crate::filter::OwnerFilter;
use crate::session::{Reader, Writer};
use crate::table::Record;
use model::{Change, DialPlan, DialPlanKey};
use rusqlite::types::Value;

impl Record for DialPlan {
    type Key = DialPlanKey;
    type Filter = OwnerFilter;

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
        reader.require_domain(self, &self.domain)
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
