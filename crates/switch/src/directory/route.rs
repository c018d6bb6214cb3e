//! The routes of the system, compiled and indexed.

use super::part::BuildProblem;
use super::prefix_index::PrefixIndex;
use model::pattern::{Pattern, Rank, Subject};
use model::{RouteConnection, RouteMatching};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// All routes.
#[derive(Debug, Default)]
pub struct Routes {
    routes: PrefixIndex<Route>,
}

/// A route with its patterns compiled and its connections beside it.
#[derive(Debug)]
pub struct Route {
    /// The route as it was posted.
    pub record: model::Route,
    /// `route-destination-match-pattern`
    pub destination: Pattern,
    /// `route-source-match-pattern`
    pub source: Pattern,
    /// Its connections, lowest index first.
    pub ways: Vec<RouteConnection>,
    /// Position in order of creation: the earlier wins among equals.
    ordinal: u64,
}

/// The order of routes; the greater wins.
pub(crate) type RouteRank = (Rank, Rank, bool, bool, Reverse<u64>);

impl Route {
    pub(crate) fn rank(&self) -> RouteRank {
        let matching = &self.record.matching;
        (
            self.destination.rank_user_first(),
            self.source.rank_user_first(),
            matching.route_class != "*",
            matching.route_match_server_hostname != "*",
            Reverse(self.ordinal),
        )
    }

    /// The route as people read it.
    pub fn label(&self) -> String {
        let RouteMatching {
            route_source_match_pattern: source,
            route_class: class,
            route_match_server_hostname: hostname,
            ..
        } = &self.record.matching;
        let mut label = format!("route {}", self.destination);
        for (name, value) in [("from", source), ("class", class), ("on", hostname)] {
            if value != "*" {
                label.push_str(&format!(" {name} {value}"));
            }
        }
        label
    }
}

impl Routes {
    pub(super) fn build(
        records: Vec<model::Route>,
        connections: Vec<RouteConnection>,
        problems: &mut Vec<BuildProblem>,
    ) -> Self {
        let mut ways: HashMap<RouteMatching, Vec<RouteConnection>> = HashMap::new();
        for connection in connections {
            ways.entry(connection.route.clone())
                .or_default()
                .push(connection);
        }
        let mut routes = PrefixIndex::default();
        for (ordinal, record) in records.into_iter().enumerate() {
            let mut ways = ways.remove(&record.matching).unwrap_or_default();
            ways.sort_by_key(|way| way.route_connection_ordinal_index);
            let matching = &record.matching;
            let destination = Pattern::parse(&matching.route_destination_match_pattern);
            let source = Pattern::parse(&matching.route_source_match_pattern);
            match (destination, source) {
                (Ok(destination), Ok(source)) => routes.insert(
                    &destination.clone(),
                    Route {
                        record,
                        destination,
                        source,
                        ways,
                        ordinal: ordinal as u64,
                    },
                ),
                (Err(error), _) | (_, Err(error)) => problems.push(BuildProblem {
                    record: format!("route {}", matching.route_destination_match_pattern),
                    why: error.to_string(),
                }),
            }
        }
        Self { routes }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// All routes that could lead to a destination, in no order.
    pub(crate) fn candidates<'a>(
        &'a self,
        destination: &'a Subject,
    ) -> impl Iterator<Item = &'a Arc<Route>> {
        self.routes.candidates(destination)
    }
}
