//! A dial rule: which calls it takes, how it rewrites both ends, and who delivers the call then.

use crate::dial_rule_application::DialRuleApplication;
use crate::rule_id;
use crate::wire;
use crate::words::words;
use serde::{Deserialize, Serialize};

/// What identifies a dial rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialRuleKey {
    /// The tenant, or `*`.
    pub domain: String,
    /// The plan's name.
    pub plan: String,
    /// The seven matching fields.
    pub matching: RuleMatching,
}

/// The record. Field for field the contract's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DialRule {
    /// The tenant, or `*`.
    pub domain: String,
    /// The plan this rule stands in.
    pub dial_rule_dial_plan: String,
    /// The rule's id, made of the seven matching fields (see [`DialRule::id`]). The store writes it;
    /// what a client sends here is not kept.
    pub dialrule: String,
    /// Whether the rule takes part at all.
    #[serde(with = "wire::yes_no")]
    pub enabled: bool,
    /// The seven fields that decide whether the rule takes a call; they cannot change.
    #[serde(flatten)]
    pub matching: RuleMatching,
    /// Who delivers the call.
    pub dial_rule_application: DialRuleApplication,
    /// A further word for the application, such as a header line or a status code.
    #[serde(with = "wire::text")]
    pub dial_rule_parameter: String,
    /// New scheme of the destination.
    pub dial_rule_translation_destination_scheme: SchemeTranslation,
    /// New user of the destination.
    #[serde(with = "wire::text")]
    pub dial_rule_translation_destination_user: String,
    /// New host of the destination.
    pub dial_rule_translation_destination_host: String,
    /// New display name of the source.
    pub dial_rule_translation_source_name: String,
    /// New scheme of the source.
    pub dial_rule_translation_source_scheme: SchemeTranslation,
    /// New user of the source.
    #[serde(with = "wire::text")]
    pub dial_rule_translation_source_user: String,
    /// New host of the source.
    pub dial_rule_translation_source_host: String,
    /// Text for people.
    pub dial_rule_description: String,
}

/// The seven matching fields. `*` in a date, day or time field means "any".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleMatching {
    /// Pattern of the destination URI.
    #[serde(rename = "dial-rule-matching-to-uri")]
    pub to_uri: String,
    /// Pattern of the source URI.
    #[serde(rename = "dial-rule-matching-from-uri")]
    pub from_uri: String,
    /// A digit 0 (Sunday) to 6, or a set such as `[1-5]`.
    #[serde(rename = "dial-rule-matching-day-of-week", with = "wire::text")]
    pub day_of_week: String,
    /// First day, `YYYY-MM-DD`.
    #[serde(rename = "dial-rule-matching-start-date")]
    pub start_date: String,
    /// Last day, `YYYY-MM-DD`.
    #[serde(rename = "dial-rule-matching-end-date")]
    pub end_date: String,
    /// First minute of the day, `HH:MM`.
    #[serde(rename = "dial-rule-matching-start-time")]
    pub start_time: String,
    /// Last minute of the day, `HH:MM`, inclusive.
    #[serde(rename = "dial-rule-matching-end-time")]
    pub end_time: String,
}

impl Default for RuleMatching {
    fn default() -> Self {
        let any = || "*".to_owned();
        Self {
            to_uri: String::new(),
            from_uri: any(),
            day_of_week: any(),
            start_date: any(),
            end_date: any(),
            start_time: any(),
            end_time: any(),
        }
    }
}

impl RuleMatching {
    /// Every call to destinations of this pattern, at any time.
    pub fn to(pattern: impl Into<String>) -> Self {
        Self {
            to_uri: pattern.into(),
            ..Self::default()
        }
    }

    /// The id of a rule with these fields.
    pub fn id(&self) -> String {
        rule_id::encode(self)
    }

    /// The fields behind an id; `None` when it is no id.
    pub fn from_id(id: &str) -> Option<Self> {
        rule_id::decode(id)
    }
}

impl Default for DialRule {
    fn default() -> Self {
        let keep = || "[*]".to_owned();
        Self {
            domain: String::new(),
            dial_rule_dial_plan: String::new(),
            dialrule: String::new(),
            enabled: true,
            matching: RuleMatching::default(),
            dial_rule_application: DialRuleApplication::default(),
            dial_rule_parameter: String::new(),
            dial_rule_translation_destination_scheme: SchemeTranslation::Keep,
            dial_rule_translation_destination_user: keep(),
            dial_rule_translation_destination_host: keep(),
            dial_rule_translation_source_name: keep(),
            dial_rule_translation_source_scheme: SchemeTranslation::Keep,
            dial_rule_translation_source_user: keep(),
            dial_rule_translation_source_host: keep(),
            dial_rule_description: String::new(),
        }
    }
}

impl DialRule {
    /// A rule that takes every call to destinations of this pattern and changes nothing.
    pub fn new(
        domain: impl Into<String>,
        plan: impl Into<String>,
        to_uri: impl Into<String>,
        application: DialRuleApplication,
    ) -> Self {
        let matching = RuleMatching::to(to_uri);
        Self {
            domain: domain.into(),
            dial_rule_dial_plan: plan.into(),
            dialrule: matching.id(),
            matching,
            dial_rule_application: application,
            ..Self::default()
        }
    }

    /// The rule's id: its seven matching fields, so that it cannot be wrong.
    pub fn id(&self) -> String {
        self.matching.id()
    }

    /// The key of this record.
    pub fn key(&self) -> DialRuleKey {
        DialRuleKey {
            domain: self.domain.clone(),
            plan: self.dial_rule_dial_plan.clone(),
            matching: self.matching.clone(),
        }
    }
}

words! {
    /// What happens to the scheme of a URI.
    pub enum SchemeTranslation {
        /// It stays. (Empty text changes nothing either.)
        Keep = "[*]" | "",
        /// It becomes `sip:`.
        Sip = "sip:" | "sip",
        /// It goes: what is left is a bare word.
        Null = "<Null>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sample_like_body_is_read() {
        let rule: DialRule = serde_json::from_value(json!({
            "dial-rule-matching-to-uri": "sip:611@*",
            "dial-rule-matching-day-of-week": 3,
            "enabled": "yes",
            "dial-rule-translation-source-name": "611 - [*]",
            "dial-rule-application": "to-callqueue",
            "dial-rule-translation-destination-user": 2000,
            "dial-rule-translation-destination-scheme": "<NULL>",
        }))
        .unwrap();
        assert_eq!(rule.matching.to_uri, "sip:611@*");
        assert_eq!(rule.matching.from_uri, "*");
        assert_eq!(rule.matching.day_of_week, "3");
        assert_eq!(rule.dial_rule_translation_destination_user, "2000");
        assert_eq!(
            rule.dial_rule_translation_destination_scheme,
            SchemeTranslation::Null
        );
        assert_eq!(rule.dial_rule_application, DialRuleApplication::ToCallqueue);
        let json = serde_json::to_value(&rule).unwrap();
        assert_eq!(json["dial-rule-matching-to-uri"], "sip:611@*");
        assert_eq!(json["dial-rule-application"], "to-callqueue");
        assert_eq!(serde_json::from_value::<DialRule>(json).unwrap(), rule);
    }
}
