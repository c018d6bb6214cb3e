//! Routes: for which destinations which connections are tried, and in what order. They belong to the system.

use model::{Route, RouteMatching, RouteMethod, Scope, Words};
use store::{Page, RouteFilter};

use crate::call::{Call, Reply, Secrets};
use crate::checks;
use crate::errors::ApiError;
use crate::table::{ACCEPTED, Access, Base, Body, Field, Operation, Star, TOTAL, Verb, many};

/// The group of the contract.
pub(super) const GROUP: &str = "Routes";
/// The noun that `allowed-models` of a key names.
pub(super) const MODEL: &str = "route";

/// Longest host name, in characters (RFC 1035 §2.3.4).
const MAX_HOST_CHARS: usize = 253;

const DESTINATION: Field = Field::text(
    "route-destination-match-pattern",
    "Destinations the route is for, as a pattern; tested after dial rules have rewritten them.",
)
.example("sip:1??????????@*")
.check(checks::match_pattern);
const SOURCE: Field = Field::text(
    "route-source-match-pattern",
    "Callers the route is for, as a pattern.",
)
.default("*")
.value_aliases(&[("", "*")])
.check(checks::match_pattern);
const CLASS: Field = Field::text(
    "route-class",
    "Class of the calls the route is for. Calls have class 0; * takes any.",
)
.default("*")
.length(0, 32)
.value_aliases(&[("", "*")]);
const HOSTNAME: Field = Field::text(
    "route-match-server-hostname",
    "The one node the route holds on, by its host name; * for every node.",
)
.default("*")
.example("core1.example.com")
.length(0, MAX_HOST_CHARS)
.value_aliases(&[("", "*")])
.check(checks::domain_or_star);

const ID: &[Field] = &[Field::text(
    "route-id",
    "Id of the route for paths; made from its four matching fields.",
)
.length(0, 2_048)
.read_only()];
const MATCHING: &[Field] = &[DESTINATION, SOURCE, CLASS, HOSTNAME];
const SETTINGS: &[Field] = &[
    Field::yes_no("route-is-enabled", "Whether the route takes part at all.").default("yes"),
    Field::text("description", "What the route is for, for people."),
    Field::words(
        "route-method",
        RouteMethod::WORDS,
        "How its connections are put into an order: fixed by index, cost by price, percentage by a draw.",
    ),
];

const RECORD: Body = Body {
    schema: "Route",
    fields: &[ID, MATCHING, SETTINGS],
    required: &[
        "route-destination-match-pattern",
        "description",
        "route-method",
        "route-id",
    ],
};
const CREATE: Body = Body {
    schema: "RouteCreate",
    fields: &[ID, MATCHING, SETTINGS],
    required: &[
        "route-destination-match-pattern",
        "description",
        "route-method",
    ],
};
const UPDATE: Body = Body {
    schema: "RouteUpdate",
    fields: &[SETTINGS, ID, MATCHING],
    required: &[],
};

/// What names a route, and therefore stays.
const KEYS: &[&str] = &[
    "route-destination-match-pattern",
    "route-source-match-pattern",
    "route-class",
    "route-match-server-hostname",
];

const BY_DESTINATION: Field = Field::text(
    "route-destination-match-pattern",
    "Only routes with exactly this destination pattern.",
);
const BY_SOURCE: Field = Field::text(
    "route-source-match-pattern",
    "Only routes with exactly this source pattern.",
);

const LIST: Operation = Operation {
    id: "listRoutes",
    method: Verb::Get,
    base: Base::NsApi,
    path: "/routes",
    group: GROUP,
    summary: "All routes",
    description: "",
    model: MODEL,
    access: Access::AtLeast(Scope::Reseller),
    star: Star::Global,
    query: &[
        BY_DESTINATION,
        BY_SOURCE,
        Field::text("route-class", "Only routes of exactly this class."),
        Field::text(
            "route-match-server-hostname",
            "Only routes with exactly this host name.",
        ),
    ],
    body: None,
    answers: &[many(RECORD)],
    failures: &[],
    handler: |call| Box::pin(list(call)),
};
const WRITE: Operation = Operation {
    access: Access::AtLeast(Scope::SuperUser),
    query: &[],
    answers: &[ACCEPTED],
    ..LIST
};

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[
    LIST,
    Operation {
        id: "createRoute",
        method: Verb::Post,
        summary: "Create a route",
        description: "It leads nowhere until it has connections.",
        body: Some(CREATE),
        failures: &[409],
        handler: |call| Box::pin(create(call)),
        ..WRITE
    },
    Operation {
        id: "countRoutes",
        path: "/routes/count",
        summary: "Number of routes",
        query: &[
            Field::text(
                "forward_request_matchrule",
                "Only routes with exactly this destination pattern.",
            ),
            BY_SOURCE,
        ],
        answers: &[TOTAL],
        handler: |call| Box::pin(count(call)),
        ..LIST
    },
    Operation {
        id: "updateRoute",
        method: Verb::Put,
        path: "/routes/{route-id}",
        summary: "Change a route",
        description: "The four matching fields name the route and stay as they are.",
        body: Some(UPDATE),
        failures: &[404],
        handler: |call| Box::pin(update(call)),
        ..WRITE
    },
    Operation {
        id: "deleteRoute",
        method: Verb::Delete,
        path: "/routes/{route-id}",
        summary: "Delete a route and its list of connections",
        failures: &[404],
        handler: |call| Box::pin(delete(call)),
        ..WRITE
    },
];

/// The route a path names. An id that cannot be read names nothing.
pub(super) fn key_of(call: &Call) -> Result<RouteMatching, ApiError> {
    RouteMatching::from_id(call.place("route-id"))
        .ok_or_else(|| ApiError::not_found("There is no route with this id."))
}

fn filter_of(call: &Call) -> RouteFilter {
    let text = |name: &str| call.query.some(name).map(str::to_owned);
    RouteFilter {
        destination: text("route-destination-match-pattern")
            .or_else(|| text("forward_request_matchrule")),
        source: text("route-source-match-pattern"),
        class: text("route-class"),
        server_hostname: text("route-match-server-hostname"),
    }
}

async fn list(call: Call) -> Result<Reply, ApiError> {
    let filter = filter_of(&call);
    let found: Vec<Route> = call
        .state
        .read(move |reader| reader.list(&filter, Page::all()))
        .await?;
    Reply::list(&RECORD, &found, Secrets::Hidden)
}

async fn count(call: Call) -> Result<Reply, ApiError> {
    let filter = filter_of(&call);
    let total = call
        .state
        .read(move |reader| reader.count::<Route>(&filter))
        .await?;
    Ok(Reply::total(total))
}

async fn create(call: Call) -> Result<Reply, ApiError> {
    let route: Route = call.fresh(&CREATE)?;
    let matching = &route.matching;
    let parts = [
        &matching.route_destination_match_pattern,
        &matching.route_source_match_pattern,
        &matching.route_class,
    ];
    if parts.iter().any(|part| part.contains("||")) {
        return Err(ApiError::bad_request(
            "route-destination-match-pattern, route-source-match-pattern, route-class: must not hold ||, which \
             separates the parts of the id.",
        ));
    }
    let actor = call.actor();
    call.state
        .commit(move |writer| {
            writer.insert(&actor, route)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn update(call: Call) -> Result<Reply, ApiError> {
    let key = key_of(&call)?;
    let state = call.state.clone();
    state
        .commit(move |writer| {
            let before: Route = writer.require(&key)?;
            let after: Route = call.overlay(&UPDATE, &before, KEYS)?;
            writer.update(&call.actor(), after)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn delete(call: Call) -> Result<Reply, ApiError> {
    let key = key_of(&call)?;
    let actor = call.actor();
    call.state
        .commit(move |writer| {
            writer.delete::<Route>(&actor, &key)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}
