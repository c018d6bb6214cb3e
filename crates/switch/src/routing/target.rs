//! Which connection gets a call: the term pattern that covers the destination most specifically.
//!
//! Looked at are the enabled connections of the caller's domain and of `*`. A caller that is system-wide
//! itself, a carrier, reaches every tenant's connection whose pattern names its host in full, but none that
//! would catch its calls by a wildcard host.

use crate::directory::{Connection, Directory, SYSTEM};
use model::pattern::Subject;
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

/// Why a connection does not get the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetVerdict {
    /// Covers the destination, but another does so more specifically, or is older.
    LessSpecific,
    /// `connection-term-enabled` is `no`.
    Disabled,
    /// It is the connection the call came from.
    IsSource,
    /// It belongs to another domain.
    OtherDomain,
    /// It has no `connection-address`, and nobody is registered for it.
    NoAddress,
}

impl fmt::Display for TargetVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LessSpecific => "covers the destination too, but less specifically",
            Self::Disabled => "covers the destination, but connection-term-enabled is no",
            Self::IsSource => "covers the destination, but the call came from it",
            Self::OtherDomain => "covers the destination, but belongs to another domain",
            Self::NoAddress => {
                "covers the destination, but has no connection-address, and its peer is not registered"
            }
        })
    }
}

/// The outcome of the search.
#[derive(Debug, Clone, Default)]
pub struct Targeted {
    /// The connection that gets the call.
    pub connection: Option<Arc<Connection>>,
    /// Connections whose term pattern covered the destination and that lost all the same.
    pub others: Vec<(Arc<Connection>, TargetVerdict)>,
}

/// Finds the connection for a destination. `domain` owns the call; `source` is where it came from.
pub fn find(
    directory: &Directory,
    domain: &str,
    source: Option<&Arc<Connection>>,
    destination: &Subject,
) -> Targeted {
    let mut out = Targeted::default();
    let mut best_rank = None;
    for connection in directory.term_candidates(destination) {
        if !connection.term.matches(destination) {
            continue;
        }
        if let Some(why) = unfit(directory, domain, source, connection) {
            out.others.push((Arc::clone(connection), why));
            continue;
        }
        let own_domain = connection.record.domain == domain;
        let rank = (
            connection.term.rank_host_first(),
            own_domain,
            Reverse(connection.ordinal),
        );
        let loser = if best_rank.as_ref().is_none_or(|best| rank > *best) {
            best_rank = Some(rank);
            out.connection.replace(Arc::clone(connection))
        } else {
            Some(Arc::clone(connection))
        };
        out.others
            .extend(loser.map(|loser| (loser, TargetVerdict::LessSpecific)));
    }
    out
}

fn unfit(
    directory: &Directory,
    domain: &str,
    source: Option<&Arc<Connection>>,
    connection: &Arc<Connection>,
) -> Option<TargetVerdict> {
    let owner = connection.record.domain.as_str();
    let reachable = owner == SYSTEM
        || owner == domain
        || (source.is_some_and(|source| source.record.domain == SYSTEM)
            && connection.term.literal_host().is_some());
    if !reachable {
        return Some(TargetVerdict::OtherDomain);
    }
    if source.is_some_and(|source| Arc::ptr_eq(source, connection)) {
        return Some(TargetVerdict::IsSource);
    }
    if !connection.record.connection_term_enabled {
        return Some(TargetVerdict::Disabled);
    }
    if connection.address.is_none() && directory.binding(connection).is_none() {
        return Some(TargetVerdict::NoAddress);
    }
    None
}
