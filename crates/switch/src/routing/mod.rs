//! The parts of routing that know nothing of a call in progress: each a function from records and values to
//! a value. [`crate::plan`] is the only place that puts them into an order.

pub mod dial_rules;
pub mod forwarded;
pub mod identity;
pub mod next_hop;
pub mod numbers;
pub mod permissions;
pub mod routes;
pub mod target;
pub mod translate;
