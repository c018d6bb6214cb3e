//! Connections: carriers, gateways and PBXs.

use model::pattern::{Pattern, Subject};
use model::{
    Connection, ConnectionKey, DialPlan, DialPlanKey, RouteConnection, RouteMatching,
    SYSTEM_DOMAIN, Scope,
};
use store::{ConnectionFilter, Page, Reader, RouteConnectionFilter};

use crate::access::{self, Reach};
use crate::call::{Call, Reply, Secrets};
use crate::errors::ApiError;
use crate::state::ApiState;
use crate::table::{ACCEPTED, Access, Base, Field, Operation, Star, TOTAL, Verb, many};

use super::connections_fields::{CREATE, RECORD, UPDATE};
use super::connections_registration;
use super::dial_policies;

const KEYS: &[&str] = &["connection-orig-match-pattern", "domain"];
const GROUP: &str = "Connections";
const MODEL: &str = "connection";
/// The user every tenant has, to whom calls are booked when nothing else is said.
const SYSTEM_USER: &str = "domain";

const BY_ORIG: Field = Field::text(
    "device-sip-registration-uri",
    "Only connections with exactly this orig pattern, or whose orig pattern takes this URI.",
);
const BY_TERM: Field = Field::text(
    "termination-match",
    "Only connections with exactly this term pattern, or whose term pattern takes this URI.",
);
const BY_DOMAIN: Field = Field::text(
    "domain",
    "Only connections of this tenant; ~ for the one of the key, * for all.",
);
const BY_RESELLER: Field = Field::text(
    "reseller",
    "Only connections of tenants of this reseller; ~ for that of the key.",
);
const BY_ROUTE: Field = Field::text(
    "route-chain",
    "Only connections that the route with this id leads to.",
);
const BY_SCOPE: Field = Field::text(
    "user-scope",
    "Taken for compatibility: a list never shows more than the key may see.",
);
const QUERY: &[Field] = &[BY_ORIG, BY_TERM, BY_DOMAIN, BY_RESELLER, BY_ROUTE, BY_SCOPE];
const DOMAIN_QUERY: &[Field] = &[BY_ORIG, BY_TERM, BY_RESELLER, BY_ROUTE, BY_SCOPE];

const LIST: Operation = Operation {
    id: "listConnections",
    method: Verb::Get,
    base: Base::NsApi,
    path: "/connections",
    group: GROUP,
    summary: "Connections within reach",
    description: "Passwords are left out.",
    model: MODEL,
    access: Access::AtLeast(Scope::OfficeManager),
    star: Star::AllDomains,
    query: QUERY,
    body: None,
    answers: &[many(RECORD)],
    failures: &[],
    handler: |call| Box::pin(list(call)),
};
const WRITE: Operation = Operation {
    access: Access::AtLeast(Scope::Reseller),
    star: Star::Global,
    query: &[],
    answers: &[ACCEPTED],
    ..LIST
};
const ONE_PATH: &str = "/domains/{domain}/connections/{connection-orig-match-pattern}";

/// The operations of this noun.
pub(super) const OPERATIONS: &[Operation] = &[
    LIST,
    Operation {
        id: "createConnection",
        method: Verb::Post,
        summary: "Create a connection",
        description: "The connection takes and places calls once the answer has arrived.",
        body: Some(CREATE),
        failures: &[404, 409],
        handler: |call| Box::pin(create(call)),
        ..WRITE
    },
    Operation {
        id: "countConnections",
        path: "/connections/count",
        summary: "Number of connections within reach",
        description: "",
        answers: &[TOTAL],
        handler: |call| Box::pin(count(call)),
        ..LIST
    },
    Operation {
        id: "listDomainConnections",
        path: "/domains/{domain}/connections",
        summary: "Connections of a tenant",
        failures: &[404],
        query: DOMAIN_QUERY,
        ..LIST
    },
    Operation {
        id: "readConnection",
        path: ONE_PATH,
        summary: "One connection",
        description: "The answer is a list with this connection alone. The password is in it when the key may change it.",
        star: Star::Global,
        query: &[],
        failures: &[404],
        handler: |call| Box::pin(read(call)),
        ..LIST
    },
    Operation {
        id: "deleteConnection",
        method: Verb::Delete,
        path: ONE_PATH,
        summary: "Delete a connection",
        description: "Registrations end at once; calls that are up go on.",
        failures: &[404],
        handler: |call| Box::pin(delete(call)),
        ..WRITE
    },
    Operation {
        id: "updateConnection",
        method: Verb::Put,
        path: ONE_PATH,
        summary: "Change a connection",
        description: "Fields that are left out keep their values. New calls obey the change; calls that are up do not.",
        body: Some(UPDATE),
        failures: &[404],
        handler: |call| Box::pin(update(call)),
        ..WRITE
    },
];

async fn list(call: Call) -> Result<Reply, ApiError> {
    let selection = select(&call).await?;
    let mut found = call
        .state
        .read(move |reader| selection.list(reader))
        .await?;
    fill_in(&call, &mut found).await?;
    Reply::list(&RECORD, &found, Secrets::Hidden)
}

async fn count(call: Call) -> Result<Reply, ApiError> {
    let selection = select(&call).await?;
    Ok(Reply::total(
        call.state
            .read(move |reader| selection.count(reader))
            .await?,
    ))
}

/// The connections a list or a count is about: those of any filter that fit both texts.
struct Selection {
    filters: Vec<ConnectionFilter>,
    orig: Option<String>,
    term: Option<String>,
    chain: Option<RouteChain>,
}

impl Selection {
    fn list(&self, reader: &Reader<'_>) -> store::Result<Vec<Connection>> {
        let mut found: Vec<Connection> = Vec::new();
        for filter in &self.filters {
            found.extend(reader.list(filter, Page::all())?);
        }
        // The patterns are matched here and not in the database, by the code that matches calls.
        if let Some(text) = &self.orig {
            let wanted = Wanted::new(text);
            found.retain(|connection| wanted.fits(&connection.connection_orig_match_pattern));
        }
        if let Some(text) = &self.term {
            let wanted = Wanted::new(text);
            found.retain(|connection| wanted.fits(connection.effective_term_pattern()));
        }
        if let Some(chain) = &self.chain {
            found.retain(|connection| chain.leads_to(connection.effective_term_pattern()));
        }
        Ok(found)
    }

    fn count(&self, reader: &Reader<'_>) -> store::Result<u64> {
        if self.orig.is_some() || self.term.is_some() || self.chain.is_some() {
            return Ok(self.list(reader)?.len() as u64);
        }
        self.filters
            .iter()
            .map(|filter| reader.count::<Connection>(filter))
            .sum()
    }
}

async fn select(call: &Call) -> Result<Selection, ApiError> {
    let of_path = Some(call.domain.as_str()).filter(|domain| !domain.is_empty());
    let domain = call.query.some("domain").or(of_path);
    let reseller = call.query.some("reseller");
    let reach = access::narrowed(&call.state, &call.caller, domain, reseller).await?;
    // A filter that fits nothing gives an empty list; a path to nothing is a mistake.
    if let Some(name) = of_path
        && name != SYSTEM_DOMAIN
        && call.state.find_domain(name).await?.is_none()
    {
        return Err(ApiError::not_found(format!(
            "domain {name} does not exist."
        )));
    }
    let mut filters = Vec::new();
    let chain = match call.query.some("route-chain") {
        Some(id) => Some(RouteChain::read(&call.state, id).await?),
        None => None,
    };
    let mut filter = ConnectionFilter::default();
    match &reach {
        Reach::All => {}
        Reach::Reseller(name) => filter.reseller = Some(name.clone()),
        Reach::Domain(name) => filter.domain = Some(name.clone()),
    }
    filters.push(filter);
    // A Reseller may read what belongs to the system, unless the list was narrowed to tenants.
    if call.caller.scope == Scope::Reseller
        && reseller.is_none()
        && matches!(reach, Reach::Reseller(_))
    {
        filters.push(ConnectionFilter {
            domain: Some(SYSTEM_DOMAIN.into()),
            ..ConnectionFilter::default()
        });
    }
    Ok(Selection {
        filters,
        orig: call
            .query
            .some("device-sip-registration-uri")
            .map(str::to_owned),
        term: call.query.some("termination-match").map(str::to_owned),
        chain,
    })
}

/// The hosts a route sends its calls to.
struct RouteChain(Vec<Subject>);

impl RouteChain {
    /// Those of the route with this id; none when there is no such route.
    async fn read(state: &ApiState, id: &str) -> Result<Self, ApiError> {
        let route = RouteMatching::from_id(id).map(|matching| matching.id());
        let ways: Vec<RouteConnection> = state
            .read(move |reader| match route {
                Some(route) => {
                    let filter = RouteConnectionFilter {
                        route: Some(route),
                        destination: None,
                    };
                    reader.list(&filter, Page::all())
                }
                None => Ok(Vec::new()),
            })
            .await?;
        let subject = |way: &RouteConnection| {
            let user = &way.route_connection_translation_destination_user;
            let host = &way.route_connection_translation_destination_host;
            Wanted::new(&format!("sip:{user}@{host}")).subject
        };
        Ok(Self(ways.iter().map(subject).collect()))
    }

    fn leads_to(&self, term: &str) -> bool {
        Pattern::parse(term).is_ok_and(|term| {
            self.0.iter().any(|subject| {
                // A pattern for some numbers of the host is led to as well: which numbers come is not known here.
                term.matches(subject) || term.literal_host() == Some(subject.host())
            })
        })
    }
}

/// A pattern looked for by its text, or by a URI it takes.
struct Wanted<'a> {
    text: &'a str,
    subject: Subject,
}

impl<'a> Wanted<'a> {
    fn new(text: &'a str) -> Self {
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest))
                if ["sip", "sips", "tel"].contains(&scheme.to_ascii_lowercase().as_str()) =>
            {
                (scheme, rest)
            }
            _ => ("sip", text),
        };
        let rest = rest.split([';', '?']).next().unwrap_or_default();
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((name, port)) if !name.ends_with(':') && !port.contains(']') => match port.parse()
            {
                Ok(port) => (name, Some(port)),
                Err(_) => (host, None),
            },
            _ => (host, None),
        };
        Self {
            text,
            subject: Subject::new(scheme, user, host, port),
        }
    }

    fn fits(&self, pattern: &str) -> bool {
        pattern == self.text
            || Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(&self.subject))
    }
}

fn key_of(call: &Call) -> ConnectionKey {
    ConnectionKey {
        domain: call.domain.clone(),
        connection_orig_match_pattern: call.place("connection-orig-match-pattern").to_owned(),
    }
}

async fn read(call: Call) -> Result<Reply, ApiError> {
    let key = key_of(&call);
    let mut found = vec![
        call.state
            .read(move |reader| reader.require::<Connection>(&key))
            .await?,
    ];
    fill_in(&call, &mut found).await?;
    let may_write = call.caller.at_least(Scope::Reseller)
        && !call.caller.readonly
        && (call.domain != SYSTEM_DOMAIN || call.caller.scope == Scope::SuperUser);
    let secrets = if may_write {
        Secrets::Shown
    } else {
        Secrets::Hidden
    };
    Reply::list(&RECORD, &found, secrets)
}

/// Puts in what is not stored in the record: registrations, live counters, and the offset that follows from the
/// zone.
async fn fill_in(call: &Call, connections: &mut [Connection]) -> Result<(), ApiError> {
    connections_registration::fill_in(call, connections).await?;
    let counters = call
        .state
        .counters(connections.iter().map(Connection::key).collect())
        .await;
    for (index, connection) in connections.iter_mut().enumerate() {
        if let Some(now) = counters.get(index) {
            connection.active_calls_orig_current = now.orig_current;
            connection.active_calls_orig_since_startup = now.orig_since_startup;
            connection.active_calls_term_current = now.term_current;
            connection.active_calls_term_since_startup = now.term_since_startup;
            connection.active_calls_max_this_month = now.max_this_month;
            connection.active_calls_max_last_month = now.max_last_month;
        }
        if let Some(offset) = utc_offset(&connection.time_zone, call.now_ms) {
            connection.utc_offset = offset;
        }
    }
    Ok(())
}

/// Hours from UTC of a zone at a moment, as `-7` or `5.5`.
fn utc_offset(zone: &str, unix_ms: i64) -> Option<String> {
    if zone.is_empty() {
        return None;
    }
    let zone = jiff::tz::TimeZone::get(zone).ok()?;
    let seconds = zone
        .to_offset(jiff::Timestamp::from_millisecond(unix_ms).ok()?)
        .seconds();
    Some((f64::from(seconds) / 3600.0).to_string())
}

async fn create(mut call: Call) -> Result<Reply, ApiError> {
    let domain = access::body_domain(&call.state, &call.caller, call.body.text("domain")).await?;
    call.body.values.insert("domain".into(), domain.into());
    let mut connection: Connection = call.fresh(&CREATE)?;
    if connection.connection_term_match_pattern.is_empty() {
        connection.connection_term_match_pattern = connection.connection_orig_match_pattern.clone();
    }
    let state = call.state.clone();
    state
        .commit(move |writer| {
            if !writer.owner_exists(&connection.domain)? {
                return Err(ApiError::bad_request(format!(
                    "domain: {:?} does not exist.",
                    connection.domain
                )));
            }
            check(
                writer,
                &connection,
                &Connection::default(),
                call.state.has_alternate_interface(),
            )?;
            writer.insert(&call.actor(), connection)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn update(mut call: Call) -> Result<Reply, ApiError> {
    if call.body.text("domain") == "~" {
        call.body
            .values
            .insert("domain".into(), call.caller.own_domain()?.into());
    }
    let state = call.state.clone();
    state
        .commit(move |writer| {
            let before: Connection = writer.require(&key_of(&call))?;
            let after: Connection = call.overlay(&UPDATE, &before, KEYS)?;
            check(
                writer,
                &after,
                &before,
                call.state.has_alternate_interface(),
            )?;
            let after = writer.update(&call.actor(), after)?;
            connections_registration::write(&call, writer, &after)?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

async fn delete(call: Call) -> Result<Reply, ApiError> {
    let state = call.state.clone();
    state
        .commit(move |writer| {
            writer.delete::<Connection>(&call.actor(), &key_of(&call))?;
            Ok(())
        })
        .await?;
    Ok(Reply::accepted())
}

/// What no single field can say. A name that was there before is not asked for again: its plan may be gone,
/// and that must not stop other changes.
fn check(
    reader: &Reader<'_>,
    new: &Connection,
    old: &Connection,
    has_alternate: bool,
) -> Result<(), ApiError> {
    let mut problems = Vec::new();
    if new.dial_plan != old.dial_plan && !new.dial_plan.is_empty() {
        let own = reader.exists::<DialPlan>(&DialPlanKey::new(&*new.domain, &*new.dial_plan))?;
        if !own && !reader.exists::<DialPlan>(&DialPlanKey::new(SYSTEM_DOMAIN, &*new.dial_plan))? {
            problems.push(format!(
                "dial-plan: {:?} is no plan of this domain or of the system",
                new.dial_plan
            ));
        }
    }
    if new.dial_policy != old.dial_policy
        && !dial_policies::may_name(reader, &new.domain, &new.dial_policy)?
    {
        problems.push(format!(
            "dial-policy: {:?} is no policy of this domain or of the system; {} and nothing permit everything",
            new.dial_policy,
            model::PERMIT_ALL
        ));
    }
    let user = &new.connection_linked_billing_user;
    if *user != old.connection_linked_billing_user
        && let Some(why) = wrong_billing_user(reader, &new.domain, user)?
    {
        problems.push(format!("connection-linked-billing-user: {user:?} {why}"));
    }
    let no_credentials = new.connection_sip_registration_username.is_empty()
        || new.connection_sip_registration_password.is_empty();
    if new.connection_sip_authenticate_as_client_enabled && no_credentials {
        problems.push(
            "connection-sip-authenticate-as-client-enabled: \"yes\" needs connection-sip-registration-username and \
             connection-sip-registration-password"
                .into(),
        );
    }
    if new.connection_bind_to_alternate_interface_enabled
        && !old.connection_bind_to_alternate_interface_enabled
        && !has_alternate
    {
        problems.push(
            "connection-bind-to-alternate-interface-enabled: \"yes\" needs a second address, and the switch has none; \
             give no"
                .into(),
        );
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ApiError::bad_request(problems.join("; ") + "."))
    }
}

/// What is wrong with a user that a connection of this domain is to be booked to, or nothing. Each tenant has one
/// user so far; what is the system's may be booked to that of any tenant.
fn wrong_billing_user(
    reader: &Reader<'_>,
    domain: &str,
    user: &str,
) -> Result<Option<String>, ApiError> {
    let (name, of) = user.split_once('@').unwrap_or((user, domain));
    let wrong = if user.is_empty() || (name == SYSTEM_USER && of == domain) {
        None
    } else if name != SYSTEM_USER {
        Some(format!("does not exist; give {SYSTEM_USER} or nothing"))
    } else if domain != SYSTEM_DOMAIN {
        Some(format!(
            "is of another domain; give {SYSTEM_USER} or nothing"
        ))
    } else if !reader.owner_exists(of)? {
        Some(format!("does not exist: there is no domain {of:?}"))
    } else {
        None
    };
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_by_text_or_by_uri() {
        assert!(Wanted::new("sip*@acme-pbx").fits("sip*@acme-pbx"));
        assert!(Wanted::new("sip:1000@ACME-pbx:5080;x=y").fits("sip*@acme-pbx"));
        assert!(!Wanted::new("sip:1000@other").fits("sip*@acme-pbx"));
        assert!(Wanted::new("1000@acme-pbx").fits("sip:1*@acme-pbx"));
    }

    #[test]
    fn offsets_follow_the_zone() {
        assert_eq!(
            utc_offset("US/Pacific", 1_720_000_000_000).as_deref(),
            Some("-7")
        );
        assert_eq!(
            utc_offset("US/Pacific", 1_700_000_000_000 + 2_600_000_000).as_deref(),
            Some("-8")
        );
        assert_eq!(utc_offset("Asia/Calcutta", 0).as_deref(), Some("5.5"));
        assert_eq!(utc_offset("", 0), None);
    }
}
