//! One domain's share of the directory, built from its records.

use super::{Connection, DialPlan, DialPolicy, Routes};
use model::counters::{ConnectionCounters, DomainCounters};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Everything the call path knows of one domain, or of the system-wide owner `*`.
#[derive(Debug)]
pub struct DomainPart {
    /// The domain's name, or `*`.
    pub name: String,
    /// The domain's record; `None` for `*`.
    pub domain: Option<model::Domain>,
    /// Its connections, oldest first.
    pub connections: Vec<Arc<Connection>>,
    /// Its dial plans by name.
    pub dial_plans: HashMap<String, Arc<DialPlan>>,
    /// Its dial policies by name.
    pub dial_policies: HashMap<String, Arc<DialPolicy>>,
    /// The routes; only the part of `*` has any.
    pub routes: Routes,
    /// Live counters of the domain's calls. Whoever builds parts again and again puts the same ones in.
    pub counters: Arc<DomainCounters>,
}

/// A record that could not be used. The part is built without it; the feed logs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildProblem {
    /// The record, as `kind domain/key`.
    pub record: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for BuildProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.record, self.why)
    }
}

impl DomainPart {
    /// Builds a part. Connections and rules are given oldest first. `counters` hands out the live counters
    /// of a connection, the same ones at every build.
    pub fn build(
        name: &str,
        domain: Option<model::Domain>,
        connections: Vec<model::Connection>,
        dial_plans: Vec<model::DialPlan>,
        dial_rules: Vec<model::DialRule>,
        mut counters: impl FnMut(&model::Connection) -> Arc<ConnectionCounters>,
    ) -> (Self, Vec<BuildProblem>) {
        let mut problems = Vec::new();
        let mut usable = Vec::with_capacity(connections.len());
        for (ordinal, record) in connections.into_iter().enumerate() {
            let label = format!(
                "connection {}/{}",
                record.domain, record.connection_orig_match_pattern
            );
            let own = counters(&record);
            match Connection::build(record, ordinal as u64, own) {
                Ok(connection) => usable.push(Arc::new(connection)),
                Err(error) => problems.push(BuildProblem {
                    record: label,
                    why: error.to_string(),
                }),
            }
        }
        let mut rules_of: HashMap<String, Vec<model::DialRule>> = HashMap::new();
        for plan in dial_plans {
            rules_of.entry(plan.dial_rule_dial_plan).or_default();
        }
        for rule in dial_rules {
            rules_of
                .entry(rule.dial_rule_dial_plan.clone())
                .or_default()
                .push(rule);
        }
        let dial_plans = rules_of
            .into_iter()
            .map(|(plan, rules)| {
                let plan = DialPlan::build(name, &plan, rules, &mut problems);
                (plan.name.clone(), Arc::new(plan))
            })
            .collect();
        (
            Self {
                name: name.to_owned(),
                domain,
                connections: usable,
                dial_plans,
                dial_policies: HashMap::new(),
                routes: Routes::default(),
                counters: Arc::default(),
            },
            problems,
        )
    }

    /// Adds the dial policies. What cannot be used is left out and returned.
    pub fn add_policies(
        &mut self,
        policies: Vec<model::DialPolicy>,
        permissions: Vec<model::Permission>,
    ) -> Vec<BuildProblem> {
        let mut problems = Vec::new();
        let mut by_policy: HashMap<String, Vec<model::Permission>> = HashMap::new();
        for policy in policies {
            by_policy.entry(policy.dialpolicy).or_default();
        }
        for permission in permissions {
            by_policy
                .entry(permission.dialpolicy.clone())
                .or_default()
                .push(permission);
        }
        for (name, permissions) in by_policy {
            let policy = DialPolicy::build(&self.name, &name, permissions, &mut problems);
            self.dial_policies.insert(name, Arc::new(policy));
        }
        problems
    }

    /// Adds the routes, oldest first, and their connections. What cannot be used is left out and returned.
    pub fn add_routes(
        &mut self,
        routes: Vec<model::Route>,
        connections: Vec<model::RouteConnection>,
    ) -> Vec<BuildProblem> {
        let mut problems = Vec::new();
        self.routes = Routes::build(routes, connections, &mut problems);
        problems
    }

    /// `domain d1`, as explanations name it.
    pub fn label(&self) -> String {
        format!("domain {}", self.name)
    }

    /// The name of the plan that translates calls of this domain when nothing names another.
    pub fn default_dial_plan(&self) -> &str {
        self.domain
            .as_ref()
            .map_or(&self.name, model::Domain::effective_dial_plan)
    }
}
