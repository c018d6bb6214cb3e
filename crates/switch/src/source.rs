//! Which connection is calling?
//!
//! Each connection is held against the header that it names itself (From unless told otherwise). Of those
//! whose orig pattern covers it, and whose source address agrees where that is asked for, the most specific
//! wins: host before user, then the caller's own domain before `*`, then the older record.

use crate::directory::{Connection, Directory, SYSTEM};
use crate::routing::identity::Claims;
use model::MatchingHeader;
use model::pattern::Subject;
use sip::message::{NameAddr, Uri};
use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of a call before anybody decided anything.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// From, as it came.
    pub from: NameAddr,
    /// To, as it came.
    pub to: NameAddr,
    /// Request-URI.
    pub request_uri: Uri,
    /// URI of Contact.
    pub contact: Option<Uri>,
    /// What it says of its caller besides From.
    pub claims: Claims,
    /// Where the request came from; `None` in an explanation that does not say.
    pub source_ip: Option<IpAddr>,
}

/// Why a connection is not the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceVerdict {
    /// Matches, but another is more specific or older.
    LessSpecific,
    /// The orig pattern does not cover the header it is held against.
    PatternDiffers,
    /// `connection-orig-enabled` is `no`.
    Disabled,
    /// The request came from an address that is not the peer's.
    SourceDiffers,
    /// The peer's addresses are not known: none configured, or its name has not been resolved.
    SourceUnknown,
}

impl fmt::Display for SourceVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LessSpecific => "matches too, but less specifically",
            Self::PatternDiffers => "connection-orig-match-pattern does not match",
            Self::Disabled => "matches, but connection-orig-enabled is no",
            Self::SourceDiffers => {
                "matches, but the request came from another address than connection-address or, where that is empty, \
                 the peer's registration"
            }
            Self::SourceUnknown => "matches, but no address of its peer is known",
        })
    }
}

/// The outcome of the search.
#[derive(Debug, Clone, Default)]
pub struct Identified {
    /// The caller's connection.
    pub connection: Option<Arc<Connection>>,
    /// Connections that matched by pattern and still lost.
    pub others: Vec<(Arc<Connection>, SourceVerdict)>,
}

impl Identified {
    /// Whether a pattern matched and only the source address stood in the way.
    pub fn stopped_by_source(&self) -> bool {
        self.connection.is_none()
            && self.others.iter().any(|(_, why)| {
                matches!(
                    why,
                    SourceVerdict::SourceDiffers | SourceVerdict::SourceUnknown
                )
            })
    }
}

/// Finds the connection that a request comes from.
pub fn identify(directory: &Directory, attempt: &Attempt) -> Identified {
    let subjects = Subjects::of(directory, attempt);
    let mut out = Identified::default();
    let mut best_rank = None;
    for (header, subject) in subjects.each() {
        for connection in directory.orig_candidates(subject) {
            if connection.record.connection_check_orig_matching_sip_header != header
                || !connection.orig.matches(subject)
            {
                continue;
            }
            if let Some(why) = unfit(directory, connection, attempt.source_ip) {
                out.others.push((Arc::clone(connection), why));
                continue;
            }
            let rank = rank(connection);
            let loser = if best_rank.as_ref().is_none_or(|best| rank > *best) {
                best_rank = Some(rank);
                out.connection.replace(Arc::clone(connection))
            } else {
                Some(Arc::clone(connection))
            };
            out.others
                .extend(loser.map(|loser| (loser, SourceVerdict::LessSpecific)));
        }
    }
    out
}

/// What speaks against one connection being the caller, or `None`. For explanations that assume it.
pub fn verdict(
    directory: &Directory,
    connection: &Arc<Connection>,
    attempt: &Attempt,
) -> Option<SourceVerdict> {
    let subjects = Subjects::of(directory, attempt);
    let header = connection.record.connection_check_orig_matching_sip_header;
    let matches = subjects
        .each()
        .any(|(other, subject)| other == header && connection.orig.matches(subject));
    if matches {
        unfit(directory, connection, attempt.source_ip)
    } else {
        Some(SourceVerdict::PatternDiffers)
    }
}

/// Why a connection that was found is the caller's, as a sentence.
pub(crate) fn covered(connection: &Connection, attempt: &Attempt) -> String {
    let record = &connection.record;
    let header = record.connection_check_orig_matching_sip_header;
    let checked = match (
        record.connection_source_ip_checking_enabled,
        attempt.source_ip,
    ) {
        (false, _) => "",
        (true, Some(_)) => ", and it came from an address of the peer",
        (true, None) => ", if it comes from an address of the peer",
    };
    format!(
        "{header} of the INVITE is covered by {}{checked}",
        connection.orig
    )
}

fn unfit(
    directory: &Directory,
    connection: &Connection,
    source: Option<IpAddr>,
) -> Option<SourceVerdict> {
    if !connection.record.connection_orig_enabled {
        return Some(SourceVerdict::Disabled);
    }
    if !connection.record.connection_source_ip_checking_enabled {
        return None;
    }
    match directory.is_source_of(connection, source?) {
        Some(true) => None,
        Some(false) => Some(SourceVerdict::SourceDiffers),
        None => Some(SourceVerdict::SourceUnknown),
    }
}

/// How well a pattern names its peer, comparable among those that match.
pub(crate) fn rank(connection: &Connection) -> impl Ord + use<> {
    let own_domain = connection.record.domain != SYSTEM;
    (
        connection.orig.rank_host_first(),
        own_domain,
        Reverse(connection.ordinal),
        connection.record.domain.clone(),
    )
}

/// The four URIs a connection may be tested by, as far as there is one and any connection is.
struct Subjects([(MatchingHeader, Option<Subject>); 4]);

impl Subjects {
    fn of(directory: &Directory, attempt: &Attempt) -> Self {
        let uris = [
            (MatchingHeader::From, Some(&attempt.from.uri)),
            (MatchingHeader::To, Some(&attempt.to.uri)),
            (MatchingHeader::Request, Some(&attempt.request_uri)),
            (MatchingHeader::Contact, attempt.contact.as_ref()),
        ];
        let subject = |uri: &Uri| Subject::new(uri.scheme(), uri.user(), uri.host(), uri.port());
        Self(uris.map(|(header, uri)| {
            let uri = uri.filter(|_| directory.looks_at(header));
            (header, uri.map(subject))
        }))
    }

    fn each(&self) -> impl Iterator<Item = (MatchingHeader, &Subject)> {
        self.0
            .iter()
            .filter_map(|(header, subject)| Some((*header, subject.as_ref()?)))
    }
}
