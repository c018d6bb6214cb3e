//! A dial policy with its permissions compiled.

use super::part::BuildProblem;
use super::prefix_index::PrefixIndex;
use model::PermissionMode;
use model::pattern::{Pattern, Rank, Subject};
use std::sync::Arc;

/// The permissions of one policy.
#[derive(Debug)]
pub struct DialPolicy {
    /// Owner of the policy: a domain or `*`.
    pub domain: String,
    /// The policy's name, unique in its owner.
    pub name: String,
    permissions: PrefixIndex<Permission>,
}

/// A permission with its pattern compiled.
#[derive(Debug)]
pub struct Permission {
    /// The permission as it was posted.
    pub record: model::Permission,
    /// `permission-match`
    pub pattern: Pattern,
}

impl Permission {
    /// The order of permissions; the greater wins. Among equals a denial does.
    pub(crate) fn rank(&self) -> (Rank, bool) {
        (self.pattern.rank_user_first(), !self.permits())
    }

    /// Whether it permits what it covers.
    pub fn permits(&self) -> bool {
        self.record.permission_mode == PermissionMode::Permit
    }

    /// The permission as people read it.
    pub fn label(&self) -> String {
        format!(
            "permission {}/{} {}",
            self.record.domain, self.record.dialpolicy, self.pattern
        )
    }
}

impl DialPolicy {
    pub(super) fn build(
        domain: &str,
        name: &str,
        records: Vec<model::Permission>,
        problems: &mut Vec<BuildProblem>,
    ) -> Self {
        let mut permissions = PrefixIndex::default();
        for record in records {
            match Pattern::parse(&record.permission_match) {
                Ok(pattern) => permissions.insert(&pattern.clone(), Permission { record, pattern }),
                Err(error) => problems.push(BuildProblem {
                    record: format!("permission {domain}/{name} {}", record.permission_match),
                    why: format!("permission-match: {error}"),
                }),
            }
        }
        Self {
            domain: domain.to_owned(),
            name: name.to_owned(),
            permissions,
        }
    }

    /// All permissions that cover a destination, in no order.
    pub(crate) fn covering<'a>(
        &'a self,
        destination: &'a Subject,
    ) -> impl Iterator<Item = &'a Arc<Permission>> {
        self.permissions
            .candidates(destination)
            .filter(|permission| permission.pattern.matches(destination))
    }
}
