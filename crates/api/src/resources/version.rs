//! Which API this is, and which machine answers.

use serde_json::json;

use crate::call::{Call, Reply};
use crate::errors::ApiError;
use crate::table::{Access, Base, Body, Field, Operation, Star, Verb, one};

/// Revision of the contract that is served.
pub(crate) const API_VERSION: &str = "45.0.0";

const VERSION: Body = Body {
    schema: "Version",
    fields: &[&[
        Field::text("apiversion", "Revision of the API contract served here.").example(API_VERSION),
        Field::text("hostname", "Name of the machine that answered."),
        Field::text("current-time", "Its clock, as RFC 3339 in UTC."),
    ]],
    required: &["apiversion", "hostname"],
};

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[Operation {
    id: "readVersion",
    method: Verb::Get,
    base: Base::NsApi,
    path: "/version",
    group: "Version",
    summary: "API version, host name and clock",
    description: "",
    model: "",
    access: Access::AnyKey,
    star: Star::Refused,
    query: &[],
    body: None,
    answers: &[one(VERSION)],
    failures: &[],
    handler: |call| Box::pin(read(call)),
}];

async fn read(call: Call) -> Result<Reply, ApiError> {
    Ok(Reply::ok(json!({
        "apiversion": API_VERSION,
        "hostname": call.state.hostname(),
        "current-time": model::datetime::format_rfc3339(call.now_ms),
    })))
}
