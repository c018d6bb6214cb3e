//! A dial plan, ordered and indexed so that the best rule is found without looking at the others.

use super::part::BuildProblem;
use model::pattern::{Pattern, Rank, Subject};
use model::schedule::Schedule;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// The rules of one plan.
#[derive(Debug)]
pub struct DialPlan {
    /// Owner of the plan: a domain or `*`.
    pub domain: String,
    /// The plan's name, unique in its owner.
    pub name: String,
    /// Rules whose called user has no wildcard, by that user: number plans hold thousands of them.
    by_user: HashMap<String, Vec<Arc<DialRule>>>,
    /// All other rules, best first.
    by_rank: Vec<Arc<DialRule>>,
}

/// A rule with its patterns and conditions compiled.
#[derive(Debug)]
pub struct DialRule {
    /// The rule as it was posted.
    pub record: model::DialRule,
    /// `dial-rule-matching-to-uri`
    pub to: Pattern,
    /// `dial-rule-matching-from-uri`
    pub from: Pattern,
    /// Day, date and time conditions.
    pub schedule: Schedule,
    /// Position in order of creation.
    ordinal: u64,
}

/// The order of rules; the greater wins.
type RuleRank = (Rank, Rank, (bool, bool, bool), Reverse<u64>);

impl DialRule {
    fn rank(&self) -> RuleRank {
        (
            self.to.rank_user_first(),
            self.from.rank_user_first(),
            self.schedule.rank(),
            Reverse(self.ordinal),
        )
    }

    /// The rule as people read it: what it matches.
    pub fn label(&self) -> String {
        format!(
            "dial rule {}/{} {}",
            self.record.domain, self.record.dial_rule_dial_plan, self.to
        )
    }
}

impl DialPlan {
    pub(super) fn build(
        domain: &str,
        name: &str,
        rules: Vec<model::DialRule>,
        problems: &mut Vec<BuildProblem>,
    ) -> Self {
        let mut by_user: HashMap<String, Vec<Arc<DialRule>>> = HashMap::new();
        let mut by_rank = Vec::new();
        for (ordinal, record) in rules.into_iter().enumerate() {
            let label = format!("dial rule {domain}/{name} {}", record.matching.to_uri);
            match DialRule::build(record, ordinal as u64) {
                Ok(rule) => {
                    let rule = Arc::new(rule);
                    match rule.to.literal_user() {
                        Some(user) if !user.is_empty() => {
                            by_user.entry(user.to_owned()).or_default().push(rule)
                        }
                        _ => by_rank.push(rule),
                    }
                }
                Err(why) => problems.push(BuildProblem { record: label, why }),
            }
        }
        let best_first =
            |list: &mut Vec<Arc<DialRule>>| list.sort_by_key(|rule| Reverse(rule.rank()));
        by_user.values_mut().for_each(best_first);
        best_first(&mut by_rank);
        Self {
            domain: domain.to_owned(),
            name: name.to_owned(),
            by_user,
            by_rank,
        }
    }

    /// Enabled or not, all rules that could cover a called party, best first: those for exactly this user,
    /// then those with wildcards. Which of them matches is asked by [`crate::routing::dial_rules`].
    pub(crate) fn candidates<'a>(
        &'a self,
        to: &'a Subject,
    ) -> impl Iterator<Item = &'a Arc<DialRule>> {
        let exact = |user: &str| self.by_user.get(user).into_iter().flatten();
        let bare = to.user().strip_prefix('+').unwrap_or("");
        exact(to.user()).chain(exact(bare)).chain(&self.by_rank)
    }
}

impl DialRule {
    fn build(record: model::DialRule, ordinal: u64) -> Result<Self, String> {
        let pattern = |text: &str, field: &str| {
            Pattern::parse(text).map_err(|error| format!("{field} {text:?}: {error}"))
        };
        let when = &record.matching;
        let to = pattern(&when.to_uri, "dial-rule-matching-to-uri")?;
        let from = pattern(&when.from_uri, "dial-rule-matching-from-uri")?;
        let schedule = Schedule::parse(
            &when.day_of_week,
            &when.start_date,
            &when.end_date,
            &when.start_time,
            &when.end_time,
        )
        .map_err(|error| error.to_string())?;
        Ok(Self {
            record,
            to,
            from,
            schedule,
            ordinal,
        })
    }
}
