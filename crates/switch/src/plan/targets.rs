//! May the call leave, and by which connections?

use super::party::Party;
use super::uris::split_port;
use super::{MAX_CANDIDATES, MAX_LOSERS_SHOWN, Refusal, Routing};
use crate::directory::{Connection, Permission, Route, SYSTEM};
use crate::routing::permissions::{self, Decision};
use crate::routing::routes;
use crate::routing::target::{self, Targeted};
use crate::routing::translate::translate;
use crate::trail::Trail;
use std::sync::Arc;

/// A connection that may get the call, and the destination it gets.
pub(super) struct Target {
    pub(super) connection: Arc<Connection>,
    pub(super) called: Party,
    pub(super) by_route: bool,
}

impl Routing<'_> {
    /// Asks the policy of the connection that calls.
    pub(super) fn permit(&self, trail: &mut Trail) -> Result<(), Refusal> {
        let policy = &self.source.record.dial_policy;
        let called = self.called.subject();
        let permitted =
            permissions::check(self.directory, &self.source.record.domain, policy, &called);
        if !policy.is_empty() {
            let record = match &permitted.decision {
                Decision::Permission(permission) => permission.label(),
                _ => format!("dial policy {policy}"),
            };
            trail.step_with_losers(
                "dial policy",
                Some(record),
                || format!("{} is {}", called.as_str(), permitted.why()),
                || {
                    let why = |permission: &Permission| {
                        let mode = permission.record.permission_mode;
                        format!("says {mode}, but is less specific, or as specific as a denial")
                    };
                    permitted
                        .others
                        .iter()
                        .take(MAX_LOSERS_SHOWN)
                        .map(|other| (other.label(), why(other)))
                        .collect()
                },
            );
        }
        if permitted.permits() {
            Ok(())
        } else {
            Err(Refusal::new(403, "Dial policy"))
        }
    }

    /// A locked domain has no calls, from its connections or to them, but for emergency numbers.
    pub(super) fn refuse_when_locked(&self, trail: &mut Trail) -> Result<(), Refusal> {
        let part = self.directory.part(&self.domain);
        let record = part.and_then(|part| part.domain.as_ref());
        if !record.is_some_and(|record| record.is_domain_locked) {
            return Ok(());
        }
        let emergency = permissions::is_emergency(&self.called.user);
        trail.step("domain", Some(self.domain.clone()), || {
            let outcome = if emergency {
                "but emergency numbers always pass"
            } else {
                "its calls are refused"
            };
            format!("{} is locked, {outcome}", self.domain)
        });
        if emergency {
            Ok(())
        } else {
            Err(Refusal::new(403, "Domain locked"))
        }
    }

    /// Who may get the call: the connection that the destination's host names, else those of the best route, else
    /// one that takes any host.
    pub(super) fn choose_targets(&mut self, trail: &mut Trail) -> Result<Vec<Target>, Refusal> {
        let found = self.find_target(&self.called);
        let named = found
            .connection
            .as_ref()
            .is_some_and(|connection| connection.term.literal_host().is_some());
        // A carrier delivers to a PBX, and a foreign host means that connection and no other. A destination in a
        // domain of our own is a number, which routes know where to send.
        let direct = named
            && (self.source.record.connection_is_carrier_trunk
                || !self.directory.is_domain(&self.called.host));
        let route = if direct {
            None
        } else {
            self.choose_route(trail)
        };
        let targets = match route {
            Some(route) => self.targets_of(&route, trail),
            None => vec![self.only_target(found, trail)?],
        };
        match targets.first() {
            Some(first) if self.domain == SYSTEM => {
                self.domain.clone_from(&first.connection.record.domain)
            }
            Some(_) => {}
            None => return Err(Refusal::new(503, "No connection of the route can be used")),
        }
        Ok(targets)
    }

    fn find_target(&self, called: &Party) -> Targeted {
        target::find(
            self.directory,
            &self.domain,
            Some(self.source),
            &called.subject(),
        )
    }

    fn only_target(&self, found: Targeted, trail: &mut Trail) -> Result<Target, Refusal> {
        let subject = self.called.subject();
        let losers = || target_losers(&found);
        let Some(connection) = &found.connection else {
            trail.step_with_losers(
                "target",
                None,
                || format!("no term pattern covers {}", subject.as_str()),
                losers,
            );
            return Err(Refusal::new(404, "No Connection"));
        };
        trail.step_with_losers(
            "target",
            Some(connection.label()),
            || format!("{} is covered by {}", subject.as_str(), connection.term),
            losers,
        );
        Ok(Target {
            connection: Arc::clone(connection),
            called: self.called.clone(),
            by_route: false,
        })
    }

    fn choose_route(&self, trail: &mut Trail) -> Option<Arc<Route>> {
        self.directory.routes()?;
        let (called, caller) = (self.called.subject(), self.caller.subject());
        let call = routes::Outbound {
            destination: &called,
            source: &caller,
            hostname: self.context.hostname,
        };
        let losers = if trail.with_losers() {
            MAX_LOSERS_SHOWN
        } else {
            0
        };
        let found = routes::find(self.directory, call, losers);
        trail.step_with_losers(
            "route",
            found.route.as_ref().map(|route| route.label()),
            || match &found.route {
                Some(route) => format!(
                    "{} is covered by {}, order {}",
                    called.as_str(),
                    route.destination,
                    route.record.route_method
                ),
                None => format!("no route covers {}", called.as_str()),
            },
            || {
                let others = found.others.iter();
                others
                    .map(|(route, why)| (route.label(), why.to_string()))
                    .collect()
            },
        );
        found.route
    }

    /// The connections of a route in their order, those that are none left out.
    fn targets_of(&self, route: &Route, trail: &mut Trail) -> Vec<Target> {
        let tokens = self.tokens(None);
        let mut targets = Vec::new();
        for way in routes::order(route, self.context.draw) {
            if targets.len() >= MAX_CANDIDATES || (self.only_one && !targets.is_empty()) {
                break;
            }
            let mut called = self.called.clone();
            let user = &way.route_connection_translation_destination_user;
            called.user = translate(user, &called.user, &tokens);
            let host = &way.route_connection_translation_destination_host;
            let host = translate(host, &called.host, &tokens).to_ascii_lowercase();
            let (name, port) = split_port(&host);
            (called.host, called.port) = (name.to_owned(), port);
            let found = self.find_target(&called);
            let index = way.route_connection_ordinal_index;
            let losers = || target_losers(&found);
            let Some(connection) = &found.connection else {
                trail.step_with_losers(
                    "candidate",
                    None,
                    || {
                        let why = found.others.first();
                        let why =
                            why.map(|(connection, why)| format!("{} {why}", connection.label()));
                        let why = why.unwrap_or_else(|| "no term pattern covers it".to_owned());
                        format!("index {index}, {}, is left out: {why}", called.show())
                    },
                    losers,
                );
                continue;
            };
            trail.step_with_losers(
                "candidate",
                Some(connection.label()),
                || {
                    format!(
                        "index {index}, {}, is covered by {}",
                        called.show(),
                        connection.term
                    )
                },
                losers,
            );
            targets.push(Target {
                connection: Arc::clone(connection),
                called,
                by_route: true,
            });
        }
        targets
    }
}

fn target_losers(found: &Targeted) -> Vec<(String, String)> {
    let others = found.others.iter().take(MAX_LOSERS_SHOWN);
    others
        .map(|(connection, why)| (connection.label(), why.to_string()))
        .collect()
}
