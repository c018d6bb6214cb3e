//! Whose is a number? Its domain's, when the number plan delivers it there.
//!
//! A phone number is a rule for exactly that number in the plan [`NUMBER_PLAN`]: of the system, where it leads to the
//! domain or to one of its connections, or of the domain itself.

use crate::directory::{Directory, SYSTEM};
use model::pattern::Subject;
use model::{DialRuleApplication, NUMBER_PLAN};

/// Whether a number, with or without a leading `+`, is one of this domain's.
pub fn belongs_to(directory: &Directory, domain: &str, number: &str) -> bool {
    let number = number.strip_prefix('+').unwrap_or(number);
    if number.is_empty() || domain == SYSTEM {
        return false;
    }
    let called = Subject::new("sip", Some(number), domain, None);
    [domain, SYSTEM].into_iter().any(|owner| {
        let plan = directory
            .part(owner)
            .and_then(|part| part.dial_plans.get(NUMBER_PLAN));
        let rules = plan.into_iter().flat_map(|plan| plan.candidates(&called));
        rules
            .filter(|rule| rule.to.literal_user() == Some(number) && rule.record.enabled)
            .filter(|rule| {
                rule.record.dial_rule_application != DialRuleApplication::AvailableNumber
            })
            .any(|rule| {
                let host = &rule.record.dial_rule_translation_destination_host;
                owner == domain || leads_to(directory, domain, number, host)
            })
    })
}

/// Whether calls to this host are the domain's: it is the domain, or names one of its connections.
fn leads_to(directory: &Directory, domain: &str, number: &str, host: &str) -> bool {
    let destination = Subject::new("sip", Some(number), host, None);
    host.eq_ignore_ascii_case(domain)
        || directory.term_candidates(&destination).any(|connection| {
            connection.record.domain == domain
                && connection.term.literal_host().is_some()
                && connection.term.matches(&destination)
        })
}
