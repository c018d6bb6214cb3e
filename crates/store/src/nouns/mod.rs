//! One file per noun: its table, its key, what lists are narrowed by, and what comes and goes with it.

pub(crate) mod api_keys;
pub(crate) mod connections;
pub(crate) mod dial_plans;
pub(crate) mod dial_policies;
pub(crate) mod dial_rules;
pub(crate) mod domains;
pub(crate) mod routes;
