//! Why a call goes where it goes: the decision path, without placing the call.

use model::{ExplainRequest, Scope};

use crate::call::{Call, Reply};
use crate::errors::ApiError;
use crate::table::{Access, Base, Body, Field, Kind, Operation, Star, Verb, one};

const EXPLANATION: Body = Body {
    schema: "Explanation",
    fields: &[&[
        Field::new(
            "steps",
            Kind::Ignored,
            "What was decided, top to bottom: stage, text, record, and what lost.",
        ),
        Field::text("outcome", "Where the call goes, or why it goes nowhere.").length(0, 4_096),
        Field::integer("refused-with", 100, "SIP status the caller would get."),
        Field::text("next-hop", "Where the INVITE would be sent.").length(0, 4_096),
        Field::new(
            "request",
            Kind::Ignored,
            "The lines of the INVITE that routing decides.",
        ),
    ]],
    required: &["steps", "outcome", "request"],
};

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[Operation {
    id: "explainCall",
    method: Verb::Get,
    base: Base::Strowger,
    path: "/explain",
    group: "Diagnosis",
    summary: "Decision path of a call",
    description: "Follows the same records as a real call and sends nothing. The path crosses tenants, so only a \
                  Super User sees it.",
    model: "trace",
    access: Access::AtLeast(Scope::SuperUser),
    star: Star::Refused,
    query: &[
        Field::text("from", "The caller, a SIP URI.").example("sip:12125550111@192.0.2.20"),
        Field::text("to", "The called party, a SIP URI.").example("sip:13105550100@192.0.2.1"),
        Field::text(
            "connection",
            "Orig match pattern of the connection the call is taken to come from.",
        ),
        Field::text("source-ip", "Address the INVITE would come from."),
    ],
    body: None,
    answers: &[one(EXPLANATION)],
    failures: &[503],
    handler: |call| Box::pin(explain(call)),
}];

async fn explain(call: Call) -> Result<Reply, ApiError> {
    let mut problems = Vec::new();
    for name in ["from", "to"] {
        if call.query.text(name).is_empty() {
            problems.push(format!("{name}: is required"));
        }
    }
    if let Some(address) = call.query.some("source-ip")
        && address.parse::<std::net::IpAddr>().is_err()
    {
        problems.push(format!("source-ip: {address:?} is no IP address"));
    }
    if !problems.is_empty() {
        return Err(ApiError::bad_request(problems.join("; ") + "."));
    }
    let request = ExplainRequest {
        from: call.query.text("from").into(),
        to: call.query.text("to").into(),
        connection: call.query.some("connection").map(Into::into),
        source_ip: call.query.some("source-ip").map(Into::into),
    };
    let explanation = call.state.explain(request).await?;
    Ok(Reply::ok(
        serde_json::to_value(explanation).map_err(ApiError::internal)?,
    ))
}
