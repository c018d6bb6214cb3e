//! How the switch stands with the peers of connections: registrations both ways, and who answers OPTIONS. Read only,
//! beside the contract, and never from the store: it is what the running switch knows at this moment.

use model::{Connection, ConnectionKey, PeerState, Scope, datetime};
use serde::Serialize;
use store::{ConnectionFilter, Page};

use crate::call::{Call, Reply, Secrets};
use crate::errors::ApiError;
use crate::table::{Access, Base, Body, Field, Kind, Operation, Star, Verb, many, one};

use super::common::{DEFAULT_LIMIT, MAX_LIMIT, START};

const STATE: Body = Body {
    schema: "ConnectionState",
    fields: &[&[
        Field::text("domain", "The tenant of the connection, or *."),
        Field::text("connection-orig-match-pattern", "The connection."),
        Field::words(
            "registration-outbound-state",
            &["none", "registering", "registered", "failed"],
            "Our registration with the peer. none: we do not register; registered: what was granted holds, even if the \
             last refresh failed.",
        ),
        Field::integer(
            "registration-outbound-last-status",
            100,
            "SIP status of the last attempt; 408 and 503 also stand for no answer and no way there.",
        )
        .nullable(),
        Field::text(
            "registration-outbound-last-reason",
            "Reason phrase of that answer, or what happened instead.",
        )
        .nullable(),
        Field::text("registration-outbound-last-datetime", "When that was, UTC.").nullable(),
        Field::text(
            "registration-outbound-next-datetime",
            "When the next attempt is made, UTC; null while one is under way, and where none is possible.",
        )
        .nullable(),
        Field::text(
            "registration-outbound-expires-datetime",
            "Until when we are registered, UTC.",
        )
        .nullable(),
        Field::integer(
            "registration-outbound-failures-count",
            0,
            "Attempts that failed since the last success.",
        ),
        Field::words(
            "registration-inbound-state",
            &["none", "registered"],
            "Whether the peer is registered with us.",
        ),
        Field::text("registration-inbound-contact", "The Contact it registered.").nullable(),
        Field::text(
            "registration-inbound-source",
            "Address and port that its REGISTER came from.",
        )
        .nullable(),
        Field::text("registration-inbound-transport", "UDP, TCP or TLS.").nullable(),
        Field::text(
            "registration-inbound-datetime",
            "When it registered last, UTC.",
        )
        .nullable(),
        Field::text(
            "registration-inbound-expires-datetime",
            "When that ends, UTC.",
        )
        .nullable(),
        Field::words(
            "options-state",
            &["not-asked", "unknown", "up", "down"],
            "Whether the peer answers OPTIONS. not-asked: options_ping_seconds is 0, or calls never go there; unknown: it \
             has not answered yet; down: it had answered and does not any more, so that routes pass it over.",
        ),
        Field::text("options-since-datetime", "Since when that is so, UTC.").nullable(),
        Field::integer(
            "options-last-status",
            100,
            "SIP status of the last answer; null when the last question had none.",
        )
        .nullable(),
    ]],
    required: &[
        "domain",
        "connection-orig-match-pattern",
        "registration-outbound-state",
        "registration-inbound-state",
        "options-state",
    ],
};

const PAGE: &[Field] = &[
    START,
    Field::new(
        "limit",
        Kind::Integer {
            min: 1,
            max: MAX_LIMIT as i64,
        },
        "How many rows at most.",
    )
    .default("100"),
];

const READ: Operation = Operation {
    id: "readConnectionState",
    method: Verb::Get,
    base: Base::Strowger,
    path: "/domains/{domain}/connections/{connection-orig-match-pattern}/state",
    group: "Diagnosis",
    summary: "Registrations and reachability of a connection",
    description: "What the running switch knows at this moment: how our registration with the peer stands, where the \
                  peer is that registered with us, and whether it answers OPTIONS.",
    model: "connection",
    access: Access::AtLeast(Scope::OfficeManager),
    star: Star::Global,
    query: &[],
    body: None,
    answers: &[one(STATE)],
    failures: &[404, 503],
    handler: |call| Box::pin(read(call)),
};

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        id: "listConnectionStates",
        path: "/domains/{domain}/connections/state",
        summary: "Registrations and reachability of a tenant's connections",
        description: "In the order of the connections.",
        query: PAGE,
        answers: &[many(STATE)],
        failures: &[503],
        handler: |call| Box::pin(list(call)),
        ..READ
    },
    READ,
];

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    domain: String,
    connection_orig_match_pattern: String,
    registration_outbound_state: &'static str,
    registration_outbound_last_status: Option<u16>,
    registration_outbound_last_reason: Option<String>,
    registration_outbound_last_datetime: Option<String>,
    registration_outbound_next_datetime: Option<String>,
    registration_outbound_expires_datetime: Option<String>,
    registration_outbound_failures_count: u32,
    registration_inbound_state: &'static str,
    registration_inbound_contact: Option<String>,
    registration_inbound_source: Option<String>,
    registration_inbound_transport: Option<String>,
    registration_inbound_datetime: Option<String>,
    registration_inbound_expires_datetime: Option<String>,
    options_state: &'static str,
    options_since_datetime: Option<String>,
    options_last_status: Option<u16>,
}

impl Shown {
    fn of(key: ConnectionKey, state: PeerState) -> Self {
        let (outbound, inbound, options) = (state.outbound, state.inbound, state.options);
        let last = outbound.as_ref().and_then(|ours| ours.last.as_ref());
        let text = |moment: Option<i64>| moment.map(datetime::format_utc);
        Self {
            domain: key.domain,
            connection_orig_match_pattern: key.connection_orig_match_pattern,
            registration_outbound_state: outbound.as_ref().map_or("none", |ours| ours.word()),
            registration_outbound_last_status: last.map(|last| last.status),
            registration_outbound_last_reason: last.map(|last| last.reason.clone()),
            registration_outbound_last_datetime: text(last.map(|last| last.at_ms)),
            registration_outbound_next_datetime: text(
                outbound.as_ref().and_then(|ours| ours.next_ms),
            ),
            registration_outbound_expires_datetime: text(
                outbound.as_ref().and_then(|ours| ours.expires_ms),
            ),
            registration_outbound_failures_count: outbound.map_or(0, |ours| ours.failures),
            registration_inbound_state: inbound.as_ref().map_or("none", |_| "registered"),
            registration_inbound_contact: inbound.as_ref().map(|peer| peer.contact.clone()),
            registration_inbound_source: inbound.as_ref().map(|peer| peer.received.to_string()),
            registration_inbound_transport: inbound.as_ref().map(|peer| peer.transport.clone()),
            registration_inbound_datetime: text(inbound.as_ref().map(|peer| peer.registered_ms)),
            registration_inbound_expires_datetime: text(inbound.map(|peer| peer.expires_ms)),
            options_state: options.as_ref().map_or("not-asked", |it| it.state.as_str()),
            options_since_datetime: text(options.as_ref().map(|it| it.since_ms)),
            options_last_status: options.and_then(|it| it.status),
        }
    }
}

async fn list(call: Call) -> Result<Reply, ApiError> {
    let start = call.query.number("start").unwrap_or(0);
    let rows = call
        .query
        .number("limit")
        .and_then(|limit| u32::try_from(limit).ok())
        .unwrap_or(DEFAULT_LIMIT as u32);
    let filter = ConnectionFilter {
        domain: Some(call.domain.clone()),
        ..ConnectionFilter::default()
    };
    let found: Vec<Connection> = call
        .state
        .read(move |reader| reader.list(&filter, Page::new(start, rows)))
        .await?;
    let shown = shown(&call, found.iter().map(Connection::key).collect()).await?;
    Reply::list(&STATE, &shown, Secrets::Hidden)
}

async fn read(call: Call) -> Result<Reply, ApiError> {
    let key = ConnectionKey {
        domain: call.domain.clone(),
        connection_orig_match_pattern: call.place("connection-orig-match-pattern").to_owned(),
    };
    let wanted = key.clone();
    call.state
        .read(move |reader| reader.require::<Connection>(&wanted))
        .await?;
    match shown(&call, vec![key]).await?.pop() {
        Some(shown) => Reply::one(&STATE, &shown, Secrets::Hidden),
        None => Err(ApiError::unavailable("The switch gave no answer.")),
    }
}

async fn shown(call: &Call, keys: Vec<ConnectionKey>) -> Result<Vec<Shown>, ApiError> {
    let states = call.state.peers(keys.clone()).await?;
    let pairs = keys.into_iter().zip(states);
    Ok(pairs.map(|(key, state)| Shown::of(key, state)).collect())
}
