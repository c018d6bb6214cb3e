//! Records from the name servers of the system's configuration.

use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};
use sip::resolve::{Kind, LookupError, Question, Record};

use super::{Found, Resolver};

/// How long a server may take to answer; the next hop of a call is waiting.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// How often each question is tried.
const ATTEMPTS: usize = 2;

/// How long "not found" holds when the answer does not say.
const NOT_FOUND_TTL: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Hickory {
    resolver: TokioResolver,
}

impl Hickory {
    /// Reads the system's configuration (`/etc/resolv.conf`, `/etc/hosts`), or says why it cannot.
    pub(crate) fn of_system() -> Result<Self, String> {
        let mut builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
        let options = builder.options_mut();
        options.timeout = SERVER_TIMEOUT;
        options.attempts = ATTEMPTS;
        // Answers are kept by our own cache, which knows what a switch can live with.
        options.cache_size = 0;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { resolver })
    }
}

impl Resolver for Hickory {
    async fn lookup(&self, question: Question) -> Found {
        let kind = match question.kind {
            Kind::Naptr => RecordType::NAPTR,
            Kind::Srv => RecordType::SRV,
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
        };
        // A name with a dot is complete; only a bare host name may be looked for in the search list.
        let name = match question.name.contains('.') {
            true => format!("{}.", question.name),
            false => question.name.clone(),
        };
        match self.resolver.lookup(name, kind).await {
            Ok(lookup) => {
                let records: Vec<_> = lookup
                    .answers()
                    .iter()
                    .filter_map(|record| translate(&record.data))
                    .collect();
                let wanted = |record: &Record| kind_of(record) == question.kind;
                Found {
                    result: Ok(records.into_iter().filter(wanted).collect()),
                    ttl: lookup
                        .valid_until()
                        .saturating_duration_since(Instant::now()),
                }
            }
            Err(error) => failure(&error),
        }
    }
}

fn translate(data: &RData) -> Option<Record> {
    Some(match data {
        RData::A(a) => Record::A(a.0),
        RData::AAAA(aaaa) => Record::Aaaa(aaaa.0),
        RData::SRV(srv) => Record::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: without_dot(srv.target.to_utf8()),
        },
        RData::NAPTR(naptr) => Record::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
            service: String::from_utf8_lossy(&naptr.services).into_owned(),
            replacement: without_dot(naptr.replacement.to_utf8()),
        },
        _ => return None,
    })
}

fn kind_of(record: &Record) -> Kind {
    match record {
        Record::Naptr { .. } => Kind::Naptr,
        Record::Srv { .. } => Kind::Srv,
        Record::A(_) => Kind::A,
        Record::Aaaa(_) => Kind::Aaaa,
    }
}

/// The root alone keeps its dot: in SRV it says that there is no such service (RFC 2782).
fn without_dot(name: String) -> String {
    match name.strip_suffix('.') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => name,
    }
}

fn failure(error: &NetError) -> Found {
    let (error, ttl) = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let ttl = none
                .negative_ttl
                .map_or(NOT_FOUND_TTL, |ttl| Duration::from_secs(ttl.into()));
            (LookupError::NotFound, ttl)
        }
        NetError::Timeout => (LookupError::Timeout, Duration::ZERO),
        _ => (LookupError::ServerFailure, Duration::ZERO),
    };
    let result = Err(error);
    Found { result, ttl }
}
