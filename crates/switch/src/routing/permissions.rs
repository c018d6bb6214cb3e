//! May this destination be called outside? The dial policy of the caller says.
//!
//! The most specific permission that covers the destination decides; of two equally specific ones the denial does;
//! where none covers it, the answer is no. Numbers for emergencies always pass.

use crate::directory::{Directory, Permission};
use model::PERMIT_ALL;
use model::pattern::Subject;
use std::cmp::Reverse;
use std::sync::Arc;

/// Numbers that no policy and no limit keep anybody from calling.
pub const EMERGENCY_NUMBERS: [&str; 3] = ["911", "112", "933"];

/// Whether a called user is one of them, written with or without a `+`.
pub fn is_emergency(user: &str) -> bool {
    EMERGENCY_NUMBERS.contains(&user.strip_prefix('+').unwrap_or(user))
}

/// What decided.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The caller is under no policy.
    Unrestricted,
    /// The destination is an emergency number.
    Emergency,
    /// A permission, which may permit or deny.
    Permission(Arc<Permission>),
    /// No permission covers the destination.
    NotCovered,
    /// The policy does not exist any more.
    NoPolicy,
}

/// The outcome.
#[derive(Debug, Clone)]
pub struct Permitted {
    /// What decided.
    pub decision: Decision,
    /// Permissions that cover the destination too and lost, best first.
    pub others: Vec<Arc<Permission>>,
}

impl Permitted {
    /// Whether the destination may be called.
    pub fn permits(&self) -> bool {
        match &self.decision {
            Decision::Unrestricted | Decision::Emergency => true,
            Decision::Permission(permission) => permission.permits(),
            Decision::NotCovered | Decision::NoPolicy => false,
        }
    }

    /// The decision as a sentence.
    pub fn why(&self) -> String {
        match &self.decision {
            Decision::Unrestricted => "no restriction".to_owned(),
            Decision::Emergency => "emergency numbers always pass".to_owned(),
            Decision::Permission(permission) => {
                let verb = if permission.permits() {
                    "permitted"
                } else {
                    "denied"
                };
                match permission.record.permission_reason.as_str() {
                    "" => format!("{verb} by {}", permission.pattern),
                    reason => format!("{verb} by {}: {reason}", permission.pattern),
                }
            }
            Decision::NotCovered => "denied, for no permission covers it".to_owned(),
            Decision::NoPolicy => "denied, for the policy does not exist".to_owned(),
        }
    }
}

/// Asks the policy of this name: the domain's own, else the system's.
pub fn check(
    directory: &Directory,
    domain: &str,
    policy: &str,
    destination: &Subject,
) -> Permitted {
    let decided = |decision| Permitted {
        decision,
        others: Vec::new(),
    };
    if policy.is_empty() || policy == PERMIT_ALL {
        return decided(Decision::Unrestricted);
    }
    if is_emergency(destination.user()) {
        return decided(Decision::Emergency);
    }
    let Some(policy) = directory.dial_policy(domain, policy) else {
        return decided(Decision::NoPolicy);
    };
    let mut covering: Vec<_> = policy.covering(destination).cloned().collect();
    covering.sort_by_key(|permission| Reverse(permission.rank()));
    let mut covering = covering.into_iter();
    match covering.next() {
        Some(best) => Permitted {
            decision: Decision::Permission(best),
            others: covering.collect(),
        },
        None => decided(Decision::NotCovered),
    }
}
