//! Connections of a route: hosts that its calls are sent to, each of which names a connection by its term pattern.

use std::collections::BTreeSet;

use model::{Route, RouteConnection, RouteConnectionKey, Scope};
use store::{Page, RouteConnectionFilter};

use crate::call::{Call, Reply, Secrets};
use crate::errors::ApiError;
use crate::table::{ACCEPTED, Access, Body, Field, Kind, Operation, TOTAL, Verb, many};

use super::routes::{self, key_of};

/// Most connections of one route: a call tries far fewer.
const MAX_PER_ROUTE: usize = 1_000;

const ROUTE: &[Field] = &[
    Field::text(
        "route-destination-match-pattern",
        "Destination pattern of the route.",
    )
    .read_only(),
    Field::text("route-source-match-pattern", "Source pattern of the route.").read_only(),
    Field::text("route-class", "Class of the route.").read_only(),
    Field::text("route-match-server-hostname", "Node of the route.").read_only(),
];
const INDEX: &[Field] = &[Field::integer(
    "route-connection-ordinal-index",
    1,
    "Place in the route, the lowest first. Left out on create: the next one free.",
)];
const SETTINGS: &[Field] = &[
    Field::text(
        "route-connection-translation-destination-user",
        "User the destination gets; [*] stands for the one it has.",
    )
    .default("[*]")
    .example("1234[*]"),
    Field::text(
        "route-connection-translation-destination-host",
        "Host the destination gets. The connection whose term pattern covers it carries the call.",
    )
    .length(1, 253)
    .example("a.carrier.example"),
    Field::integer(
        "route-connection-integer-percentage",
        0,
        "Share of the calls under the method percentage. Shares need not add up to 100; 0 is tried after all others.",
    )
    .default("50"),
    Field::new(
        "route-connection-integer-cost",
        Kind::Decimal {
            min: 0,
            max: 1_000_000,
        },
        "Price under the method cost; may have a fraction.",
    )
    .default("0")
    .example("0.001"),
];

const RECORD: Body = Body {
    schema: "RouteConnection",
    fields: &[ROUTE, INDEX, SETTINGS],
    required: &[
        "route-destination-match-pattern",
        "route-connection-ordinal-index",
        "route-connection-translation-destination-user",
        "route-connection-translation-destination-host",
        "route-match-server-hostname",
        "route-class",
        "route-source-match-pattern",
    ],
};
const CREATE: Body = Body {
    schema: "RouteConnectionCreate",
    fields: &[SETTINGS, INDEX],
    required: &[
        "route-connection-translation-destination-user",
        "route-connection-translation-destination-host",
    ],
};
const UPDATE: Body = Body {
    schema: "RouteConnectionUpdate",
    fields: &[SETTINGS, INDEX],
    required: &[],
};

const LIST: Operation = Operation {
    id: "listRouteConnections",
    method: Verb::Get,
    base: crate::table::Base::NsApi,
    path: "/routes/{route-id}/routecon",
    group: routes::GROUP,
    summary: "Connections of a route",
    description: "",
    model: routes::MODEL,
    access: Access::AtLeast(Scope::Reseller),
    star: crate::table::Star::Global,
    query: &[],
    body: None,
    answers: &[many(RECORD)],
    failures: &[404],
    handler: |call| Box::pin(list(call)),
};
const WRITE: Operation = Operation {
    access: Access::AtLeast(Scope::SuperUser),
    answers: &[ACCEPTED],
    ..LIST
};

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[
    LIST,
    Operation {
        id: "createRouteConnection",
        method: Verb::Post,
        summary: "Add a connection to a route",
        body: Some(CREATE),
        failures: &[404, 409],
        handler: |call| Box::pin(create(call)),
        ..WRITE
    },
    Operation {
        id: "countRouteConnections",
        path: "/routecon/count",
        summary: "Number of connections of all routes",
        query: &[Field::text(
            "route-destination-match-pattern",
            "Only those of routes with exactly this destination pattern.",
        )],
        answers: &[TOTAL],
        failures: &[],
        handler: |call| Box::pin(count(call)),
        ..LIST
    },
    Operation {
        id: "updateRouteConnection",
        method: Verb::Put,
        path: "/routes/{route-id}/routecon/{index}",
        summary: "Change a connection of a route",
        body: Some(UPDATE),
        handler: |call| Box::pin(update(call)),
        ..WRITE
    },
    Operation {
        id: "deleteRouteConnection",
        method: Verb::Delete,
        path: "/routes/{route-id}/routecon/{index}",
        summary: "Take a connection out of a route",
        handler: |call| Box::pin(delete(call)),
        ..WRITE
    },
];

fn place_of(call: &Call) -> Result<RouteConnectionKey, ApiError> {
    let index = call
        .place("index")
        .parse()
        .map_err(|_| ApiError::not_found("The route has no connection of this index."))?;
    Ok(RouteConnectionKey {
        route: key_of(call)?,
        index,
    })
}

async fn list(call: Call) -> Result<Reply, ApiError> {
    let route = key_of(&call)?;
    let mut found: Vec<RouteConnection> = call
        .state
        .read(move |reader| {
            reader.require::<Route>(&route)?;
            let filter = RouteConnectionFilter {
                route: Some(route.id()),
                destination: None,
            };
            reader.list(&filter, Page::all())
        })
        .await?;
    found.sort_by_key(|way| way.route_connection_ordinal_index);
    Reply::list(&RECORD, &found, Secrets::Hidden)
}

async fn count(call: Call) -> Result<Reply, ApiError> {
    let filter = RouteConnectionFilter {
        route: None,
        destination: call
            .query
            .some("route-destination-match-pattern")
            .map(str::to_owned),
    };
    let total = call
        .state
        .read(move |reader| reader.count::<RouteConnection>(&filter))
        .await?;
    Ok(Reply::total(total))
}

async fn create(call: Call) -> Result<Reply, ApiError> {
    let route = key_of(&call)?;
    let indexed = call
        .body
        .values
        .contains_key("route-connection-ordinal-index");
    let mut way: RouteConnection = call.fresh(&CREATE)?;
    way.route = route;
    let actor = call.actor();
    call.state
        .commit(move |writer| {
            let filter = RouteConnectionFilter {
                route: Some(way.route.id()),
                destination: None,
            };
            let taken: BTreeSet<i64> = writer
                .list::<RouteConnection>(&filter, Page::all())?
                .iter()
                .map(|other| other.route_connection_ordinal_index)
                .collect();
            if taken.len() >= MAX_PER_ROUTE {
                return Err(ApiError::bad_request(format!(
                    "A route has at most {MAX_PER_ROUTE} connections."
                )));
            }
            if !indexed {
                way.route_connection_ordinal_index = (1..)
                    .find(|index| !taken.contains(index))
                    .unwrap_or_default();
            }
            writer.insert(&actor, way)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn update(call: Call) -> Result<Reply, ApiError> {
    let key = place_of(&call)?;
    let state = call.state.clone();
    state
        .commit(move |writer| {
            let before: RouteConnection = writer.require(&key)?;
            let after: RouteConnection =
                call.overlay(&UPDATE, &before, &["route-connection-ordinal-index"])?;
            writer.update(&call.actor(), after)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn delete(call: Call) -> Result<Reply, ApiError> {
    let key = place_of(&call)?;
    let actor = call.actor();
    call.state
        .commit(move |writer| {
            writer.delete::<RouteConnection>(&actor, &key)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}
