//! Why would this call go there? The same functions as a call, told to a reader instead of the wire.

use crate::call::{media, ringing, terms};
use crate::directory::{Connection, Directory, DomainPart};
use crate::pings;
use crate::plan::{self, MAX_LOSERS_SHOWN, PlanContext, Routed};
use crate::routing::identity::Claims;
use crate::source::{self, Attempt};
use crate::trail::Trail;
use model::counters::DomainLimits;
use model::explain::{ExplainRequest, Explanation};
use sip::message::{ByteStr, NameAddr, Uri};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A question that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainError {
    /// The field of the question.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub allowed: &'static str,
}

impl fmt::Display for ExplainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?}: allowed is {}",
            self.field, self.value, self.allowed
        )
    }
}

impl std::error::Error for ExplainError {}

/// Walks the decisions of a call without placing it.
pub fn explain(
    directory: &Directory,
    request: &ExplainRequest,
    context: PlanContext<'_>,
) -> Result<Explanation, ExplainError> {
    let from = uri("from", &request.from)?;
    let to = uri("to", &request.to)?;
    let source_ip = match request.source_ip.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(text.parse::<IpAddr>().map_err(|_| ExplainError {
            field: "source-ip",
            value: text.to_owned(),
            allowed: "an IPv4 or IPv6 address",
        })?),
    };
    let attempt = Attempt {
        from: NameAddr::new(None, from.clone()),
        to: NameAddr::new(None, to.clone()),
        request_uri: to,
        contact: Some(from),
        claims: Claims::default(),
        source_ip,
    };
    let ringback = context.ringback;
    let mut trail = Trail::full();
    let source = match request
        .connection
        .as_deref()
        .filter(|text| !text.is_empty())
    {
        Some(pattern) => assume(directory, pattern, &attempt, &mut trail)?,
        None => find(directory, &attempt, &mut trail),
    };
    let Some(source) = source else {
        return Ok(Explanation {
            steps: trail.into_steps(),
            outcome: "The INVITE is refused: no connection matches the caller.".to_owned(),
            refused_with: Some(403),
            ..Explanation::default()
        });
    };
    terms::note_responses(&source, &mut trail);
    let record = &source.record;
    if record.connection_require_sip_authentication_enabled {
        trail.step("authentication", Some(source.label()), || {
            format!(
                "the INVITE is challenged for realm {:?} before anything else",
                source.realm()
            )
        });
    }
    limits(&source, "orig", &mut trail);
    let Routed { domain, result, .. } =
        plan::route(directory, &source, &attempt, context, &mut trail);
    let plan = match result {
        Ok(plan) => plan,
        Err(refusal) => {
            return Ok(Explanation {
                steps: trail.into_steps(),
                outcome: format!("The call is refused: {}.", refusal.text),
                refused_with: Some(refusal.status),
                ..Explanation::default()
            });
        }
    };
    if let Some(part) = directory.part(&domain) {
        domain_limits(part, &mut trail);
    }
    let mut candidates = Vec::with_capacity(plan.candidates.len());
    let mut last_resort = Vec::new();
    for candidate in plan.candidates {
        limits(&candidate.target, "term", &mut trail);
        let Some(why) = pings::silence(directory, &candidate) else {
            candidates.push(candidate);
            continue;
        };
        trail.step("options", Some(candidate.target.label()), || {
            format!("{why} and {}", candidate.when_in_doubt())
        });
        if candidate.emergency {
            last_resort.push(candidate);
        }
    }
    candidates.extend(last_resort);
    let mut candidates = candidates.into_iter();
    let Some(plan) = candidates.next() else {
        return Ok(Explanation {
            steps: trail.into_steps(),
            outcome: "The call is refused: no connection answers OPTIONS.".to_owned(),
            refused_with: Some(503),
            ..Explanation::default()
        });
    };
    let others: Vec<String> = candidates
        .map(|candidate| candidate.target.label())
        .collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(" Should that fail: {}.", others.join(", then "))
    };
    media::note(&source, &plan.target, &mut trail);
    ringing::note(&source, &plan.target, ringback, &mut trail);
    terms::note(&source, &plan.target, &mut trail);
    let port = plan
        .next_hop
        .port
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let next_hop = format!(
        "{}{port} over {}",
        plan.next_hop.host,
        plan.transport.as_str()
    );
    let mut lines = vec![
        format!("INVITE {} SIP/2.0", plan.request_uri),
        format!("From: {}", plan.from),
        format!("To: {}", plan.to),
    ];
    lines.extend(
        plan.headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    Ok(Explanation {
        steps: trail.into_steps(),
        outcome: format!(
            "The call goes to {} at {next_hop}; it belongs to domain {domain}.{others}",
            plan.target.label()
        ),
        refused_with: None,
        next_hop: Some(next_hop),
        request: lines,
    })
}

fn find(directory: &Directory, attempt: &Attempt, trail: &mut Trail) -> Option<Arc<Connection>> {
    let identified = source::identify(directory, attempt);
    let mut losers: Vec<_> = identified
        .others
        .iter()
        .map(|(connection, why)| (connection.label(), why.to_string()))
        .collect();
    let room = MAX_LOSERS_SHOWN.saturating_sub(losers.len());
    let known = |connection: &Arc<Connection>| {
        identified
            .connection
            .iter()
            .chain(identified.others.iter().map(|(other, _)| other))
            .any(|k| Arc::ptr_eq(k, connection))
    };
    losers.extend(
        directory
            .connections()
            .filter(|connection| !known(connection))
            .take(room)
            .map(|connection| {
                let why = source::verdict(directory, connection, attempt);
                let header = connection.record.connection_check_orig_matching_sip_header;
                (
                    connection.label(),
                    why.map_or_else(String::new, |why| format!("{why} ({header} is tested)")),
                )
            }),
    );
    let chosen = identified.connection;
    trail.step_with_losers(
        "source",
        chosen.as_ref().map(|connection| connection.label()),
        || match &chosen {
            Some(connection) => source::covered(connection, attempt),
            None => "no connection matches the caller".to_owned(),
        },
        || losers,
    );
    chosen
}

fn assume(
    directory: &Directory,
    pattern: &str,
    attempt: &Attempt,
    trail: &mut Trail,
) -> Result<Option<Arc<Connection>>, ExplainError> {
    let connection = directory
        .connections()
        .find(|connection| connection.orig.as_str() == pattern)
        .cloned();
    let Some(connection) = connection else {
        return Err(ExplainError {
            field: "connection",
            value: pattern.to_owned(),
            allowed: "the connection-orig-match-pattern of a connection that exists",
        });
    };
    let why = source::verdict(directory, &connection, attempt);
    trail.step("source", Some(connection.label()), || match why {
        None => "assumed, and it would be found by itself".to_owned(),
        Some(why) => format!("assumed; by itself it would not be the caller: {why}"),
    });
    Ok(Some(connection))
}

fn limits(connection: &Connection, direction: &str, trail: &mut Trail) {
    let limits = connection.record.limits();
    let (own, total) = (
        if direction == "orig" {
            limits.orig
        } else {
            limits.term
        },
        limits.total,
    );
    if own != 0 || total != 0 {
        let (orig, term) = connection.counters.current();
        trail.step("limits", Some(connection.label()), || {
            format!(
                "at most {own} {direction} and {total} in total (0 = any number); up now: {orig} orig, {term} term"
            )
        });
    }
}

fn domain_limits(part: &DomainPart, trail: &mut Trail) {
    let Some(limits) = part.domain.as_ref().map(model::Domain::limits) else {
        return;
    };
    if limits != DomainLimits::default() {
        let now = part.counters.now();
        trail.step("limits", Some(part.label()), || {
            format!(
                "at most {} in total and {} with the outside (0 = any number); up now: {}, {} of them with the outside",
                limits.total, limits.offnet, now.total, now.offnet
            )
        });
    }
}

fn uri(field: &'static str, text: &str) -> Result<Uri, ExplainError> {
    let with_scheme =
        if text.contains(':') && !text.starts_with(|c: char| c.is_ascii_digit() || c == '[') {
            text.to_owned()
        } else {
            format!("sip:{text}")
        };
    Uri::parse(&ByteStr::from(with_scheme))
        .ok()
        .filter(Uri::is_sip)
        .ok_or_else(|| ExplainError {
            field,
            value: text.to_owned(),
            allowed: "a SIP URI such as sip:13105550100@192.0.2.20",
        })
}
