//! The ns-api v2 control plane over HTTP.
//!
//! One table of operations ([`resources`]) states every path, field, default and access rule once. From it
//! come the routes ([`router`]), the checks of bodies and queries ([`validate`]), the OpenAPI document
//! ([`openapi`]) and the access check ([`access`]). A request passes them in this order: credential, scope,
//! tenant of the path, query, body, handler. A change is answered after it is durable in the store *and*
//! applied by every subscriber of the bus, so that the next call obeys it.

pub mod access;
pub mod call;
pub mod checks;
mod docs;
pub mod errors;
pub mod json;
pub mod keys;
pub mod limits;
pub mod openapi;
pub mod resources;
mod router;
mod state;
pub mod table;
pub mod validate;

pub use router::{MAX_BODY_BYTES, router};
pub use state::{ApiConfig, ApiState};
