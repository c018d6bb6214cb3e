//! One file per noun: its fields, its lines in the operation table, and what its operations do.

mod api_keys;
mod common;
mod connection_states;
mod connections;
mod connections_fields;
mod connections_registration;
mod dial_plans;
mod dial_policies;
mod dial_rules;
mod domains;
mod domains_fields;
mod explain;
mod models;
mod permissions;
mod route_connections;
mod routes;
mod time_zones;
mod version;

use crate::table::Operation;

pub(crate) use common::{COUNT, STATUS};
/// Bodies of writing operations, for checks that need no HTTP.
pub use {
    connections_fields::{CREATE as CONNECTION_CREATE, UPDATE as CONNECTION_UPDATE},
    dial_rules::CREATE as DIAL_RULE_CREATE,
    domains_fields::CREATE as DOMAIN_CREATE,
};

/// The table: every operation of the API.
pub fn operations() -> impl Iterator<Item = &'static Operation> {
    [
        version::OPERATIONS,
        domains::OPERATIONS,
        api_keys::OPERATIONS,
        connections::OPERATIONS,
        connection_states::OPERATIONS,
        dial_plans::OPERATIONS,
        dial_rules::OPERATIONS,
        dial_policies::OPERATIONS,
        permissions::OPERATIONS,
        routes::OPERATIONS,
        route_connections::OPERATIONS,
        explain::OPERATIONS,
    ]
    .into_iter()
    .flatten()
}
