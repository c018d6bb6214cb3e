//! Routes and their connections. A removed route takes its connections along.

use crate::error::Result;
use crate::filter::{Conditions, Filter};
use crate::session::{Reader, Writer};
use crate::table::Record;
use model::{
    Actor, Change, Route, RouteConnection, RouteConnectionKey, RouteMatching, SYSTEM_DOMAIN,
};
use rusqlite::types::Value;

/// What routes are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct RouteFilter {
    /// Only those with exactly this destination pattern.
    pub destination: Option<String>,
    /// Only those with exactly this source pattern.
    pub source: Option<String>,
    /// Only those of this class.
    pub class: Option<String>,
    /// Only those of this node.
    pub server_hostname: Option<String>,
}

impl Filter for RouteFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("destination", self.destination.as_deref())
            .equal("source", self.source.as_deref())
            .equal("class", self.class.as_deref())
            .equal("server_hostname", self.server_hostname.as_deref());
    }
}

impl Record for Route {
    type Key = RouteMatching;
    type Filter = RouteFilter;

    const NOUN: &'static str = "route";
    const TABLE: &'static str = "routes";
    const KEY_COLUMNS: &'static [&'static str] = &["domain", "route"];
    const FILTER_COLUMNS: &'static [&'static str] =
        &["destination", "source", "class", "server_hostname"];
    const SECRET_FIELDS: &'static [&'static str] = &[];

    fn key(&self) -> RouteMatching {
        self.matching.clone()
    }

    fn key_values(key: &RouteMatching) -> Vec<String> {
        vec![SYSTEM_DOMAIN.to_owned(), key.id()]
    }

    fn filter_values(&self) -> Vec<Value> {
        let matching = &self.matching;
        [
            &matching.route_destination_match_pattern,
            &matching.route_source_match_pattern,
            &matching.route_class,
            &matching.route_match_server_hostname,
        ]
        .map(|text| text.clone().into())
        .into()
    }

    fn change(key: &RouteMatching) -> Change {
        Change::Route(key.id())
    }

    fn stamp(&mut self, _actor: &Actor) {
        self.route_id = self.matching.id();
    }

    fn after_delete(
        key: &RouteMatching,
        writer: &mut Writer<'_>,
    ) -> Result<Vec<(&'static str, usize)>> {
        let sql = "DELETE FROM route_connections WHERE domain = ? AND route = ?";
        let rows = writer
            .sql()
            .prepare_cached(sql)?
            .execute([SYSTEM_DOMAIN, &key.id()])?;
        Ok(vec![("route_connections", rows)])
    }
}

/// What connections of routes are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct RouteConnectionFilter {
    /// Only those of the route with this id.
    pub route: Option<String>,
    /// Only those of routes with exactly this destination pattern.
    pub destination: Option<String>,
}

impl Filter for RouteConnectionFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("route", self.route.as_deref())
            .equal("destination", self.destination.as_deref());
    }
}

impl Record for RouteConnection {
    type Key = RouteConnectionKey;
    type Filter = RouteConnectionFilter;

    const NOUN: &'static str = "route connection";
    const TABLE: &'static str = "route_connections";
    const KEY_COLUMNS: &'static [&'static str] = &["domain", "route", "connection_index"];
    const FILTER_COLUMNS: &'static [&'static str] = &["destination"];
    const SECRET_FIELDS: &'static [&'static str] = &[];

    fn key(&self) -> RouteConnectionKey {
        self.key()
    }

    fn key_values(key: &RouteConnectionKey) -> Vec<String> {
        vec![
            SYSTEM_DOMAIN.to_owned(),
            key.route.id(),
            key.index.to_string(),
        ]
    }

    fn filter_values(&self) -> Vec<Value> {
        vec![self.route.route_destination_match_pattern.clone().into()]
    }

    fn change(key: &RouteConnectionKey) -> Change {
        Change::Route(key.route.id())
    }

    fn check_owner(&self, reader: &Reader<'_>) -> Result<()> {
        reader.require_parent::<Self, Route>(self, &self.route)
    }
}
