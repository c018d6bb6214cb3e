//! A dial plan: a named list of dial rules in one domain, or in `*` for everybody.

use serde::{Deserialize, Serialize};

/// The plan of phone numbers: each is a rule for exactly that number, digits with country code.
pub const NUMBER_PLAN: &str = "DID Table";

/// What identifies a dial plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialPlanKey {
    /// The tenant, or `*`.
    pub domain: String,
    /// The plan's name.
    pub plan: String,
}

impl DialPlanKey {
    /// A key of its two parts.
    pub fn new(domain: impl Into<String>, plan: impl Into<String>) -> Self {
        Self {
            domain: domain.into(),
            plan: plan.into(),
        }
    }
}

/// The record; its rules are records of their own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DialPlan {
    /// A number for clients that want one. Set by the store, never taken from a client.
    #[serde(rename = "dialplan_id")]
    pub dialplan_id: i64,
    /// The tenant, or `*`.
    pub domain: String,
    /// The plan's name, unique in its domain.
    pub dial_rule_dial_plan: String,
    /// Text for people.
    pub dial_rule_description: String,
}

impl DialPlan {
    /// A plan of that name.
    pub fn new(
        domain: impl Into<String>,
        plan: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        Self {
            dialplan_id: 0,
            domain: domain.into(),
            dial_rule_dial_plan: plan.into(),
            dial_rule_description: description.into(),
        }
    }

    /// The key of this record.
    pub fn key(&self) -> DialPlanKey {
        DialPlanKey::new(&*self.domain, &*self.dial_rule_dial_plan)
    }
}
