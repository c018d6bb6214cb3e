//! Dial rules.

use crate::error::Result;
use crate::filter::{Conditions, Filter};
use crate::session::Reader;
use crate::table::Record;
use model::{Actor, Change, DialPlan, DialPlanKey, DialRule, DialRuleKey};
use rusqlite::types::Value;

/// What dial rules are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct DialRuleFilter {
    /// Only those of this domain; `*` means the system's.
    pub domain: Option<String>,
    /// Only those of plans of this name.
    pub plan: Option<String>,
    /// Only those for exactly this destination pattern.
    pub to_uri: Option<String>,
}

impl Filter for DialRuleFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("domain", self.domain.as_deref())
            .equal("plan", self.plan.as_deref())
            .equal("to_uri", self.to_uri.as_deref());
    }
}

impl Record for DialRule {
    type Key = DialRuleKey;
    type Filter = DialRuleFilter;

    const NOUN: &'static str = "dial rule";
    const TABLE: &'static str = "dial_rules";
    const KEY_COLUMNS: &'static [&'static str] = &["domain", "plan", "rule"];
    const FILTER_COLUMNS: &'static [&'static str] = &["to_uri"];
    const SECRET_FIELDS: &'static [&'static str] = &[];

    fn key(&self) -> DialRuleKey {
        self.key()
    }

    fn key_values(key: &DialRuleKey) -> Vec<String> {
        vec![key.domain.clone(), key.plan.clone(), key.matching.id()]
    }

    fn filter_values(&self) -> Vec<Value> {
        vec![self.matching.to_uri.clone().into()]
    }

    fn change(key: &DialRuleKey) -> Change {
        Change::DialRule {
            domain: key.domain.clone(),
            plan: key.plan.clone(),
        }
    }

    fn stamp(&mut self, _actor: &Actor) {
        self.dialrule = self.id();
    }

    fn check_owner(&self, reader: &Reader<'_>) -> Result<()> {
        let plan = DialPlanKey::new(&*self.domain, &*self.dial_rule_dial_plan);
        reader.require_parent::<Self, DialPlan>(self, &plan)
    }
}
