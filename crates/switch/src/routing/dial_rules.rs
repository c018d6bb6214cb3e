//! Which rule of a plan takes a call.

use crate::directory::{DialPlan, DialRule};
use jiff::civil::DateTime;
use model::pattern::Subject;
use std::fmt;
use std::sync::Arc;

/// Why a rule that could have covered the called party did not take the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleVerdict {
    /// Another rule is more specific, or older.
    LessSpecific,
    /// `enabled` is `no`.
    Disabled,
    /// The called party is another.
    ToDiffers,
    /// The caller is another.
    FromDiffers,
    /// The day, date or time is another.
    NotNow,
}

impl fmt::Display for RuleVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LessSpecific => "matches too, but less specifically",
            Self::Disabled => "matches, but enabled is no",
            Self::ToDiffers => "dial-rule-matching-to-uri does not match",
            Self::FromDiffers => "dial-rule-matching-from-uri does not match",
            Self::NotNow => "its day, date or time does not hold now",
        })
    }
}

/// The best enabled rule that matches. `now` is asked for only when a rule has a time condition.
pub fn best(
    plan: &DialPlan,
    to: &Subject,
    from: &Subject,
    now: impl Fn() -> DateTime,
) -> Option<Arc<DialRule>> {
    plan.candidates(to)
        .find(|rule| verdict(rule, to, from, &now).is_none())
        .cloned()
}

/// The rules that did not take the call and why, best first, at most `most`: what an explanation shows.
pub fn losers(
    plan: &DialPlan,
    winner: Option<&Arc<DialRule>>,
    to: &Subject,
    from: &Subject,
    now: impl Fn() -> DateTime,
    most: usize,
) -> Vec<(Arc<DialRule>, RuleVerdict)> {
    plan.candidates(to)
        .filter(|rule| winner.is_none_or(|winner| !Arc::ptr_eq(rule, winner)))
        .map(|rule| {
            (
                Arc::clone(rule),
                verdict(rule, to, from, &now).unwrap_or(RuleVerdict::LessSpecific),
            )
        })
        .take(most)
        .collect()
}

/// What keeps a rule from taking the call, or `None` when it matches.
pub fn verdict(
    rule: &DialRule,
    to: &Subject,
    from: &Subject,
    now: &impl Fn() -> DateTime,
) -> Option<RuleVerdict> {
    if !rule.to.matches(to) {
        return Some(RuleVerdict::ToDiffers);
    }
    if !rule.record.enabled {
        return Some(RuleVerdict::Disabled);
    }
    if !rule.from.matches(from) {
        return Some(RuleVerdict::FromDiffers);
    }
    if !rule.schedule.is_always() && !rule.schedule.holds(now()) {
        return Some(RuleVerdict::NotNow);
    }
    None
}
