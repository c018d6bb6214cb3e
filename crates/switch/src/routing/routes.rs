//! Which route takes an outside call, in what order its connections are tried, and after which failures the next
//! one is.

use crate::directory::{Directory, Route};
use model::pattern::Subject;
use model::{RouteConnection, RouteMethod};
use sip::event::FailCause;
use sip::random::Random;
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

/// Class of every call: nothing rates calls by jurisdiction.
pub const CALL_CLASS: &str = "0";

/// Why a route that could have led to the destination does not take the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteVerdict {
    /// Another route is more specific, or older.
    LessSpecific,
    /// `route-is-enabled` is `no`.
    Disabled,
    /// The destination is another.
    DestinationDiffers,
    /// The caller is another.
    SourceDiffers,
    /// It is for calls of another class.
    ClassDiffers,
    /// It is for another node.
    HostnameDiffers,
}

impl fmt::Display for RouteVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LessSpecific => "matches too, but less specifically",
            Self::Disabled => "matches, but route-is-enabled is no",
            Self::DestinationDiffers => "route-destination-match-pattern does not match",
            Self::SourceDiffers => "route-source-match-pattern does not match",
            Self::ClassDiffers => "route-class is not the class of the call",
            Self::HostnameDiffers => "route-match-server-hostname is another node",
        })
    }
}

/// A call as routes see it.
#[derive(Debug, Clone, Copy)]
pub struct Outbound<'a> {
    /// The destination after dial rules.
    pub destination: &'a Subject,
    /// The caller after dial rules.
    pub source: &'a Subject,
    /// Host name of this node.
    pub hostname: &'a str,
}

/// The outcome of the search.
#[derive(Debug, Clone, Default)]
pub struct Routed {
    /// The route that takes the call.
    pub route: Option<Arc<Route>>,
    /// The others, best first, with what speaks against them.
    pub others: Vec<(Arc<Route>, RouteVerdict)>,
}

/// The best route for a call. At most `losers` of the others are told.
pub fn find(directory: &Directory, call: Outbound<'_>, losers: usize) -> Routed {
    let mut out = Routed::default();
    let Some(routes) = directory.routes() else {
        return out;
    };
    let mut best: Option<&Arc<Route>> = None;
    for route in routes.candidates(call.destination) {
        if verdict(route, call).is_none() && best.is_none_or(|best| route.rank() > best.rank()) {
            best = Some(route);
        }
    }
    out.route = best.cloned();
    if losers > 0 {
        let mut others: Vec<_> = routes
            .candidates(call.destination)
            .filter(|route| best.is_none_or(|best| !Arc::ptr_eq(best, route)))
            .collect();
        others.sort_by_key(|route| Reverse(route.rank()));
        out.others = others
            .into_iter()
            .take(losers)
            .map(|route| {
                let why = verdict(route, call).unwrap_or(RouteVerdict::LessSpecific);
                (Arc::clone(route), why)
            })
            .collect();
    }
    out
}

fn verdict(route: &Route, call: Outbound<'_>) -> Option<RouteVerdict> {
    let matching = &route.record.matching;
    let hostname = &matching.route_match_server_hostname;
    if !route.destination.matches(call.destination) {
        return Some(RouteVerdict::DestinationDiffers);
    }
    if !route.record.route_is_enabled {
        return Some(RouteVerdict::Disabled);
    }
    if !route.source.matches(call.source) {
        return Some(RouteVerdict::SourceDiffers);
    }
    if matching.route_class != "*" && matching.route_class != CALL_CLASS {
        return Some(RouteVerdict::ClassDiffers);
    }
    if hostname != "*" && !hostname.eq_ignore_ascii_case(call.hostname) {
        return Some(RouteVerdict::HostnameDiffers);
    }
    None
}

/// The connections of a route in the order they are tried. `draw` decides where shares do.
pub fn order(route: &Route, draw: u64) -> Vec<&RouteConnection> {
    let mut ways: Vec<&RouteConnection> = route.ways.iter().collect();
    match route.record.route_method {
        RouteMethod::Fixed => {}
        // A stable sort: among equal prices the index decides.
        RouteMethod::Cost => ways.sort_by(|a, b| {
            a.route_connection_integer_cost
                .total_cmp(&b.route_connection_integer_cost)
        }),
        RouteMethod::Percentage => return by_share(ways, draw),
    }
    ways
}

/// A draw among all, then among the rest, and so on. Those without a share come last, by index.
fn by_share(mut left: Vec<&RouteConnection>, draw: u64) -> Vec<&RouteConnection> {
    let mut random = Random::new(draw);
    let mut out = Vec::with_capacity(left.len());
    let share =
        |way: &RouteConnection| u64::try_from(way.route_connection_integer_percentage).unwrap_or(0);
    loop {
        let sum: u64 = left.iter().map(|way| share(way)).sum();
        if sum == 0 {
            out.extend(left);
            return out;
        }
        let mut ticket = random.below(sum);
        let winner = left.iter().position(|way| {
            let own = share(way);
            let wins = ticket < own;
            ticket = ticket.saturating_sub(own);
            wins
        });
        out.push(left.remove(winner.unwrap_or(0)));
    }
}

/// What is done after a connection did not take a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// The next connection is tried: this one has a problem of its own.
    Advance,
    /// The caller hears of it: another connection would only say the same.
    Stop,
}

/// How a connection failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// How the attempt ended.
    pub cause: FailCause,
    /// SIP status of the answer, or the one that stands for the cause.
    pub status: u16,
    /// Q.850 cause of the answer's Reason (RFC 3326), when it has one.
    pub q850: Option<u8>,
    /// Whether the called side had rung.
    pub rang: bool,
    /// Whether the caller has media of the called side: it has heard somebody.
    pub heard: bool,
}

/// Whether the next connection is tried.
///
/// | failure | next one? |
/// |---|---|
/// | no response, not reachable, not resolved, our credentials refused | yes |
/// | 403, 408 before it rang, 5xx | yes, unless Q.850 says that the called party itself is the cause |
/// | 404, 410, 480, 484 | no, unless Q.850 says that the network is the cause |
/// | 486, 487, 488, 6xx, all others | no |
/// | anything after the caller heard early media | no |
pub fn continuation(failure: Failure) -> Continuation {
    use Continuation::{Advance, Stop};
    if failure.heard {
        return Stop;
    }
    match failure.cause {
        FailCause::Transport | FailCause::Resolve | FailCause::Auth => return Advance,
        FailCause::Timeout => return if failure.rang { Stop } else { Advance },
        FailCause::Cancelled | FailCause::Overload => return Stop,
        FailCause::Response => {}
    }
    let of_party = failure.q850.is_some_and(is_of_called_party);
    let of_network = failure.q850.is_some_and(is_of_network);
    match failure.status {
        408 if failure.rang => Stop,
        401 | 403 | 407 | 408 | 500..=599 if of_party => Stop,
        401 | 403 | 407 | 408 | 500..=599 => Advance,
        404 | 410 | 480 | 484 if of_network => Advance,
        _ => Stop,
    }
}

/// Causes of ITU-T Q.850 that speak of the called party: unallocated, busy, no user responding, no answer, absent,
/// number changed, incomplete.
fn is_of_called_party(cause: u8) -> bool {
    matches!(cause, 1 | 16 | 17 | 18 | 19 | 20 | 22 | 28)
}

/// Causes of ITU-T Q.850 that speak of the network on the way: no route, no channel, out of order, congestion.
fn is_of_network(cause: u8) -> bool {
    matches!(cause, 2 | 3 | 6 | 25 | 27 | 34 | 38 | 41..=44 | 46 | 47)
}

/// Whether a failure speaks against the connection itself, so that many of them put it aside for a while.
pub fn is_outage(failure: Failure) -> bool {
    match failure.cause {
        FailCause::Timeout => !failure.rang,
        FailCause::Transport | FailCause::Resolve => true,
        FailCause::Response => failure.status == 503,
        FailCause::Auth | FailCause::Cancelled | FailCause::Overload => false,
    }
}
