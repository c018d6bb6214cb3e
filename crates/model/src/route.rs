//! A route: which connections an outside destination may leave by, and in what order they are tried.
//!
//! Routes belong to the system; the contract gives them no domain.

use crate::rule_id;
use crate::wire;
use crate::words::words;
use serde::{Deserialize, Serialize};

const SEPARATOR: &str = "||";

/// What identifies a route: its four matching fields.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RouteMatching {
    /// Pattern of the destinations it leads to.
    pub route_destination_match_pattern: String,
    /// Pattern of the callers it serves.
    pub route_source_match_pattern: String,
    /// Class of the calls it serves; `*` for all.
    #[serde(with = "wire::text")]
    pub route_class: String,
    /// Host name of the one node it holds on; `*` for all.
    pub route_match_server_hostname: String,
}

impl Default for RouteMatching {
    fn default() -> Self {
        let any = || "*".to_owned();
        Self {
            route_destination_match_pattern: String::new(),
            route_source_match_pattern: any(),
            route_class: any(),
            route_match_server_hostname: any(),
        }
    }
}

impl RouteMatching {
    /// All callers and classes, on every node.
    pub fn to(destination: impl Into<String>) -> Self {
        Self {
            route_destination_match_pattern: destination.into(),
            ..Self::default()
        }
    }

    /// The id of a route with these fields: base64 of the destination alone where the other three are `*`,
    /// else of all four joined by `||`.
    pub fn id(&self) -> String {
        let others = [
            &*self.route_source_match_pattern,
            &*self.route_class,
            &*self.route_match_server_hostname,
        ];
        let mut text = self.route_destination_match_pattern.clone();
        if others.iter().any(|other| *other != "*") {
            for other in others {
                text.push_str(SEPARATOR);
                text.push_str(other);
            }
        }
        rule_id::encode_bytes(text.as_bytes())
    }

    /// The fields behind an id, in either alphabet, padded or not; `None` when it is no id.
    pub fn from_id(id: &str) -> Option<Self> {
        let text = String::from_utf8(rule_id::decode_bytes(id)?).ok()?;
        let mut fields = text.split(SEPARATOR);
        let destination = fields.next().filter(|pattern| !pattern.is_empty())?;
        let mut field = || fields.next().unwrap_or("*").to_owned();
        let matching = Self {
            route_destination_match_pattern: destination.to_owned(),
            route_source_match_pattern: field(),
            route_class: field(),
            route_match_server_hostname: field(),
        };
        fields.next().is_none().then_some(matching)
    }
}

words! {
    /// How the connections of a route are put into an order.
    pub enum RouteMethod {
        /// By their index.
        Fixed = "fixed",
        /// The cheapest first.
        Cost = "cost",
        /// Drawn by their shares, anew for each call.
        Percentage = "percentage",
    }
}

/// The record; its connections are records of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Route {
    /// Made of the four matching fields; set by the store.
    pub route_id: String,
    /// Which calls it takes; cannot change.
    #[serde(flatten)]
    pub matching: RouteMatching,
    /// Whether it takes part at all.
    #[serde(with = "wire::yes_no")]
    pub route_is_enabled: bool,
    /// Text for people.
    pub description: String,
    /// The order its connections are tried in.
    pub route_method: RouteMethod,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            route_id: String::new(),
            matching: RouteMatching::default(),
            route_is_enabled: true,
            description: String::new(),
            route_method: RouteMethod::Fixed,
        }
    }
}

impl Route {
    /// An enabled route for all callers.
    pub fn new(destination: impl Into<String>, method: RouteMethod) -> Self {
        let matching = RouteMatching::to(destination);
        Self {
            route_id: matching.id(),
            matching,
            route_method: method,
            ..Self::default()
        }
    }
}

/// What identifies a connection of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteConnectionKey {
    /// The route.
    pub route: RouteMatching,
    /// Its place in the route.
    pub index: i64,
}

/// One way out of a route. It names a host; the connection is the one whose term pattern covers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RouteConnection {
    /// The route it belongs to.
    #[serde(flatten)]
    pub route: RouteMatching,
    /// Its place in the route; the lowest is tried first when nothing else decides.
    pub route_connection_ordinal_index: i64,
    /// The destination's user from here on; `[*]` for the one it had.
    #[serde(with = "wire::text")]
    pub route_connection_translation_destination_user: String,
    /// The destination's host from here on: names the connection.
    pub route_connection_translation_destination_host: String,
    /// Its share of the calls, when shares decide; 0 makes it a last resort.
    pub route_connection_integer_percentage: i64,
    /// Its price, when prices decide; may have a fraction.
    pub route_connection_integer_cost: f64,
}

impl Default for RouteConnection {
    fn default() -> Self {
        Self {
            route: RouteMatching::default(),
            route_connection_ordinal_index: 1,
            route_connection_translation_destination_user: "[*]".to_owned(),
            route_connection_translation_destination_host: String::new(),
            route_connection_integer_percentage: 50,
            route_connection_integer_cost: 0.0,
        }
    }
}

impl RouteConnection {
    /// A way to this host that leaves the user as it is.
    pub fn new(route: RouteMatching, index: i64, host: impl Into<String>) -> Self {
        Self {
            route,
            route_connection_ordinal_index: index,
            route_connection_translation_destination_host: host.into(),
            ..Self::default()
        }
    }

    /// The key of this record.
    pub fn key(&self) -> RouteConnectionKey {
        RouteConnectionKey {
            route: self.route.clone(),
            index: self.route_connection_ordinal_index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_id_of_the_sample() {
        assert_eq!(RouteMatching::to("sip:test1@*").id(), "c2lwOnRlc3QxQCo");
    }

    #[test]
    fn ids_lead_back_to_fields() {
        let full = RouteMatching {
            route_source_match_pattern: "sip:1310*@*".into(),
            route_class: "2".into(),
            ..RouteMatching::to("sip:1*@*")
        };
        for matching in [RouteMatching::to("sip:1*@*"), full] {
            assert_eq!(RouteMatching::from_id(&matching.id()), Some(matching));
        }
        assert_eq!(RouteMatching::from_id(""), None);
    }

    #[test]
    fn records_read_and_write_the_names_of_the_contract() {
        let route: Route = serde_json::from_value(json!({
            "route-destination-match-pattern": "sip:1*@*", "route-class": 0, "route-is-enabled": "no",
            "description": "d", "route-method": "Cost"
        }))
        .unwrap();
        assert_eq!(route.matching.route_class, "0");
        assert!(!route.route_is_enabled);
        let json = serde_json::to_value(&route).unwrap();
        assert_eq!(json["route-method"], "cost");
        assert_eq!(json["route-source-match-pattern"], "*");
        let way = RouteConnection::new(route.matching, 2, "a.carrier.example");
        let json = serde_json::to_value(&way).unwrap();
        assert_eq!(json["route-connection-ordinal-index"], 2);
        assert_eq!(
            serde_json::from_value::<RouteConnection>(json).unwrap(),
            way
        );
    }
}
