//! The API through its real router, on a store in memory.

mod api_keys;
mod connection_documents;
mod connection_states;
mod connections;
mod dial_policies;
mod dial_rules;
mod domains;
mod isolation;
mod openapi;
mod protocol;
mod routes;
mod support;
mod table;
