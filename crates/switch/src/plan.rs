//! The order of decisions. Watch this file: features are functions that it calls, and never call each other.
//!
//! 1. dial plan: whose, by what name
//! 2. dial rule: the best that matches; rewrite caller and called
//! 3. application: chain on, refuse, or deliver
//! 4. dial policy: may the caller call there?
//! 5. targets: the connection that the destination's host names, else those of the best route, else one that
//!    takes any host
//! 6. write, for each of them: Request-URI, To and From by its translations
//!
//! | file | what it does |
//! |---|---|
//! | `targets` | steps 4 and 5: may the call leave, and by which connections |
//! | `write` | step 6: the INVITE for each of them |
//! | `caller` | the caller in it, and within the call |
//! | `party`, `uris`, `added_header` | values that the steps share |
//!
//! A plan is a value. Making one reserves nothing and sends nothing, so an explanation and a call share it.

mod added_header;
mod caller;
mod party;
mod targets;
mod uris;
mod write;

pub use self::caller::CallerRules;
pub(crate) use self::caller::{Renamed, is_of_identity, rename};
pub(crate) use self::uris::{host_and_port, split_port, unquoted};

use self::added_header::added_header;
use self::party::Party;
use crate::directory::{Address, Connection, Directory, SYSTEM};
use crate::routing::dial_rules;
use crate::routing::identity::{self, Claims};
use crate::routing::translate::{Tokens, translate};
use crate::source::Attempt;
use crate::trail::Trail;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use keep::{Damaged, Keep, Reader, Writer};
use media::ringing_tones::RingingTone;
use model::ConnectionKey;
use model::pattern::Subject;
use model::{DialRuleApplication, SchemeTranslation};
use sip::endpoint::{Flow, Interface};
use sip::message::{NameAddr, Uri};
use sip::transport::Transport;
use std::sync::Arc;

/// Dial plans that one call may pass: a longer chain is a loop (482).
pub const MAX_CHAINED_PLANS: usize = 10;

/// How many losing records a step of an explanation lists.
pub const MAX_LOSERS_SHOWN: usize = 8;

/// Connections that are tried for one call at most, one after the other.
pub const MAX_CANDIDATES: usize = 10;

/// The outcome of routing: who to call, in which order.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The connections to try, at least one and at most [`MAX_CANDIDATES`].
    pub candidates: Vec<Candidate>,
}

/// One connection that may get the call, and with which words on the wire.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The connection.
    pub target: Arc<Connection>,
    /// Whether a route led here. Such a candidate is passed over while its connection is in quarantine, or comes last
    /// for an emergency call.
    pub by_route: bool,
    /// Request-URI of the new INVITE.
    pub request_uri: Uri,
    /// To of the new INVITE, without tag.
    pub to: NameAddr,
    /// From of the new INVITE, without tag.
    pub from: NameAddr,
    /// Header lines the plan adds: privacy, and what a dial rule asks for.
    pub headers: Vec<(String, String)>,
    /// What dial rules said of the caller.
    pub rules: CallerRules,
    /// The caller is hidden from this connection.
    pub hidden: bool,
    /// It is a call for help: limits do not hold for it.
    pub emergency: bool,
    /// Where it goes: host and port as the resolver is asked.
    pub next_hop: Address,
    /// Exactly there, without asking the resolver: the way a registered peer is reached.
    pub flow: Option<Flow>,
    /// Transport of the target.
    pub transport: Transport,
    /// Index of the interface of ours it leaves by.
    pub interface: u8,
}

impl Candidate {
    /// What becomes of it where its peer looks out of order. A call for help may not be lost to a guess.
    pub(crate) fn when_in_doubt(&self) -> &'static str {
        if self.emergency {
            "comes after all others, for this is an emergency call"
        } else {
            "is passed over"
        }
    }
}

impl Keep for Candidate {
    fn keep(&self, out: &mut Writer) {
        keep_connection(&self.target, out);
        self.keep_words(out);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let target = kept_connection(input)?;
        Self::kept_words(target, input)
    }
}

impl Candidate {
    /// Writes all but the connection.
    pub(crate) fn keep_words(&self, out: &mut Writer) {
        let Self {
            target: _,
            by_route,
            request_uri,
            to,
            from,
            headers,
            rules,
            hidden,
            emergency,
            next_hop,
            flow,
            transport,
            interface,
        } = self;
        by_route.keep(out);
        request_uri.keep(out);
        to.keep(out);
        from.keep(out);
        headers.keep(out);
        rules.keep(out);
        hidden.keep(out);
        emergency.keep(out);
        next_hop.keep(out);
        flow.keep(out);
        transport.keep(out);
        interface.keep(out);
    }

    /// Reads what [`keep_words`](Self::keep_words) has written, for this connection.
    pub(crate) fn kept_words(
        target: Arc<Connection>,
        input: &mut Reader<'_>,
    ) -> Result<Self, Damaged> {
        Ok(Self {
            target,
            by_route: Keep::kept(input)?,
            request_uri: Keep::kept(input)?,
            to: Keep::kept(input)?,
            from: Keep::kept(input)?,
            headers: Keep::kept(input)?,
            rules: Keep::kept(input)?,
            hidden: Keep::kept(input)?,
            emergency: Keep::kept(input)?,
            next_hop: Keep::kept(input)?,
            flow: Keep::kept(input)?,
            transport: Keep::kept(input)?,
            interface: Keep::kept(input)?,
        })
    }
}

impl Candidate {
    /// Takes the record from the directory, after a restart. False when it is no more.
    pub(crate) fn look_up(&mut self, directory: &Directory) -> bool {
        let found = directory.connection(&self.target.key());
        if let Some(target) = found {
            self.target = Arc::clone(target);
        }
        found.is_some()
    }
}

/// Writes which connection it is. The record itself is in the directory, with its secrets.
pub(crate) fn keep_connection(connection: &Connection, out: &mut Writer) {
    connection.record.domain.keep(out);
    connection.record.connection_orig_match_pattern.keep(out);
}

/// Reads which connection it is. Until the directory has been asked, it stands for one that is no more.
pub(crate) fn kept_connection(input: &mut Reader<'_>) -> Result<Arc<Connection>, Damaged> {
    let key = ConnectionKey {
        domain: String::kept(input)?,
        connection_orig_match_pattern: String::kept(input)?,
    };
    let connection = Connection::gone(key).map_err(|_| Damaged::Value("connection"))?;
    Ok(Arc::new(connection))
}

/// A call that goes nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// SIP status for the caller.
    pub status: u16,
    /// Release text of the call record, and the sentence of an explanation.
    pub text: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

/// What routing found out, whether or not the call goes anywhere.
#[derive(Debug, Clone)]
pub struct Routed {
    /// The domain the call belongs to, `*` when it is nobody's.
    pub domain: String,
    /// The last dial rule that matched, for the call record.
    pub dial_rule: Option<String>,
    /// The plan, or why there is none.
    pub result: Result<Plan, Refusal>,
}

/// What routing needs besides the records.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// Wall time, for rules with day or time conditions: milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// Our listening addresses.
    pub interfaces: &'a [Interface],
    /// The ringing tone that callers hear from us. It decides nothing, but an explanation tells of it.
    pub ringback: Option<&'static RingingTone>,
    /// Host name of this node, for routes that hold on one node only.
    pub hostname: &'a str,
    /// A random number, for routes that draw.
    pub draw: u64,
}

/// Routes a call from a connection.
pub fn route(
    directory: &Directory,
    source: &Arc<Connection>,
    attempt: &Attempt,
    context: PlanContext<'_>,
    trail: &mut Trail,
) -> Routed {
    let mut routing = Routing::begin(directory, source, attempt, context, trail);
    let result = routing.run(trail);
    if let Err(refusal) = &result {
        trail.step("refused", None, || {
            format!("{} {}", refusal.status, refusal.text)
        });
    }
    Routed {
        domain: routing.domain,
        dial_rule: routing.dial_rule,
        result,
    }
}

struct Routing<'a> {
    directory: &'a Directory,
    source: &'a Arc<Connection>,
    context: PlanContext<'a>,
    domain: String,
    caller: Party,
    called: Party,
    dial_rule: Option<String>,
    extra_header: Option<(String, String)>,
    /// The caller wants to be hidden.
    private: bool,
    rules: CallerRules,
    /// The caller's number before any rule.
    number: String,
    claims: Claims,
    /// The dial rule wants one connection tried and no other.
    only_one: bool,
}

impl<'a> Routing<'a> {
    fn begin(
        directory: &'a Directory,
        source: &'a Arc<Connection>,
        attempt: &Attempt,
        context: PlanContext<'a>,
        trail: &mut Trail,
    ) -> Self {
        let domain = source.record.domain.clone();
        let trusted = source.record.connection_is_carrier_trunk;
        let identified = identity::caller(trusted, &attempt.from, &attempt.claims);
        if identified.header != "From" || identified.private {
            trail.step("caller", Some(source.label()), || {
                let private = if identified.private {
                    ", and is to be hidden"
                } else {
                    ""
                };
                format!("{} by {}{private}", identified.id, identified.header)
            });
        }
        let caller = caller::party(source, &domain, &identified);
        let mut called = Party::of(&attempt.request_uri, "");
        if source.record.connection_is_carrier_trunk {
            called.drop_plus();
        }
        Self {
            directory,
            source,
            context,
            domain,
            number: caller.user.clone(),
            caller,
            called,
            dial_rule: None,
            extra_header: None,
            private: identified.private,
            rules: CallerRules::default(),
            claims: attempt.claims.clone(),
            only_one: false,
        }
    }

    fn run(&mut self, trail: &mut Trail) -> Result<Plan, Refusal> {
        let mut plan_name = self.first_plan(trail)?;
        for _ in 0..MAX_CHAINED_PLANS {
            match self.apply_plan(&plan_name, trail)? {
                Next::Chain(name) => plan_name = name,
                Next::Connect => {
                    self.permit(trail)?;
                    let targets = self.choose_targets(trail)?;
                    // Not before: the target may say whose call it is.
                    self.refuse_when_locked(trail)?;
                    return self.write_all(targets, trail);
                }
            }
        }
        Err(Refusal::new(
            482,
            format!("more than {MAX_CHAINED_PLANS} dial plans chained"),
        ))
    }

    fn first_plan(&self, trail: &mut Trail) -> Result<String, Refusal> {
        let own = &self.source.record.dial_plan;
        let (name, why) = if !own.is_empty() {
            (own.clone(), "named by the connection")
        } else if let Some(part) = self
            .directory
            .part(&self.domain)
            .filter(|_| self.domain != SYSTEM)
        {
            (part.default_dial_plan().to_owned(), "the domain's own")
        } else {
            return Err(Refusal::new(
                404,
                "No dial plan: the connection is system-wide and names none",
            ));
        };
        trail.step("dial plan", Some(self.source.label()), || {
            format!("{name:?}, {why}")
        });
        Ok(name)
    }

    fn apply_plan(&mut self, name: &str, trail: &mut Trail) -> Result<Next, Refusal> {
        let Some(plan) = self.directory.dial_plan(&self.domain, name) else {
            return Err(Refusal::new(404, format!("No dial plan {name:?}")));
        };
        let (to, from) = (self.called.subject(), self.caller.subject());
        let now = || self.wall_time();
        let mut rule = dial_rules::best(plan, &to, &from, now);
        if rule.is_none() {
            // A plan may say what becomes of destinations nobody knows.
            let unknown = Subject::new("sip", Some("ToUserNotFound"), &self.called.host, None);
            rule = dial_rules::best(plan, &unknown, &from, now)
                .filter(|rule| rule.to.literal_user().is_some());
        }
        let losers = || {
            dial_rules::losers(plan, rule.as_ref(), &to, &from, now, MAX_LOSERS_SHOWN)
                .into_iter()
                .map(|(rule, why)| (rule.label(), why.to_string()))
                .collect()
        };
        let Some(rule) = &rule else {
            trail.step_with_losers(
                "dial rule",
                None,
                || format!("no rule of plan {name:?} matches {}", self.called.show()),
                losers,
            );
            return Err(Refusal::new(404, "No dial rule"));
        };
        let record = &rule.record;
        trail.step_with_losers(
            "dial rule",
            Some(rule.label()),
            || {
                format!(
                    "{} is covered by {} → {}",
                    self.called.show(),
                    rule.to,
                    record.dial_rule_application
                )
            },
            losers,
        );
        self.dial_rule = Some(format!(
            "{}/{}",
            record.dial_rule_dial_plan, record.matching.to_uri
        ));
        if self.domain == SYSTEM && record.domain != SYSTEM {
            // The number belongs to a tenant: from here the call is that tenant's.
            self.domain.clone_from(&record.domain);
        }
        self.rewrite(record, trail);
        self.next(record)
    }

    fn rewrite(&mut self, rule: &model::DialRule, trail: &mut Trail) {
        let tokens = self.tokens(None);
        let part = |template: &str, previous: &str| translate(template, previous, &tokens);
        let scheme = |translation: SchemeTranslation, previous: &str| match translation {
            SchemeTranslation::Keep => previous.to_owned(),
            SchemeTranslation::Sip => "sip".to_owned(),
            SchemeTranslation::Null => String::new(),
        };
        let (caller, called) = (self.caller.clone(), self.called.clone());
        self.called.scheme = scheme(
            rule.dial_rule_translation_destination_scheme,
            &called.scheme,
        );
        self.called.user = part(&rule.dial_rule_translation_destination_user, &called.user);
        self.called.host =
            part(&rule.dial_rule_translation_destination_host, &called.host).to_ascii_lowercase();
        self.caller.name = part(&rule.dial_rule_translation_source_name, &caller.name);
        self.caller.scheme = scheme(rule.dial_rule_translation_source_scheme, &caller.scheme);
        self.caller.user = part(&rule.dial_rule_translation_source_user, &caller.user);
        self.caller.host =
            part(&rule.dial_rule_translation_source_host, &caller.host).to_ascii_lowercase();
        for (now, before) in [(&mut self.called, &called), (&mut self.caller, &caller)] {
            if now.host != before.host {
                // A rule may write `host:port`; a port of the old host means nothing at the new one.
                let (host, port) = split_port(&now.host);
                (now.port, now.host) = (port, host.to_owned());
            }
        }
        if called != self.called {
            trail.step("translate called", None, || {
                format!("{} → {}", called.show(), self.called.show())
            });
        }
        if caller != self.caller {
            trail.step("translate caller", None, || {
                format!("{} → {}", caller.show(), self.caller.show())
            });
        }
    }

    fn next(&mut self, rule: &model::DialRule) -> Result<Next, Refusal> {
        use DialRuleApplication as App;
        match &rule.dial_rule_application {
            App::Chain(name) => Ok(Next::Chain(name.clone())),
            App::ToConnection | App::ToConnectionNoTimeout => Ok(Next::Connect),
            App::ToConnectionOrUserNoFailover => {
                self.only_one = true;
                Ok(Next::Connect)
            }
            App::ToConnectionBlockCallerId => {
                self.rules.blocked = true;
                Ok(Next::Connect)
            }
            App::ToConnectionAddHeader
            | App::ToConnectionAddHeaderNoTimeout
            | App::ToConnectionAddHeaderForceCallerId => {
                self.extra_header = added_header(
                    &rule.dial_rule_parameter,
                    &self.tokens(None),
                    &self.called.user,
                );
                Ok(Next::Connect)
            }
            App::Hangup => {
                let status = rule.dial_rule_parameter.trim();
                let status = if status.is_empty() {
                    Ok(403)
                } else {
                    status.parse()
                };
                let status = status
                    .ok()
                    .filter(|status| (400..700).contains(status))
                    .unwrap_or(603);
                Err(Refusal::new(status, "Hangup by dial rule"))
            }
            App::AvailableNumber => Err(Refusal::new(404, "Number is not in use")),
            // No users, queues or mailboxes exist in this system yet, so none of them can be found.
            App::Other(word) => Err(Refusal::new(
                501,
                format!("dial rule application {word:?} is not known here"),
            )),
            other => Err(Refusal::new(
                404,
                format!("{other}: {:?} does not exist", self.called.user),
            )),
        }
    }

    /// Values for `<…>` tokens. `<AppIP>` is the advertised address of `interface`, else of the first one.
    fn tokens(&self, interface: Option<u8>) -> Tokens {
        let domain = self
            .directory
            .part(&self.domain)
            .and_then(|part| part.domain.as_ref());
        let own_domain = if self.domain == SYSTEM {
            String::new()
        } else {
            self.domain.clone()
        };
        let cid_name = domain.map(|d| d.caller_id_name.clone()).unwrap_or_default();
        let cid_number = domain
            .map(|d| d.caller_id_number.clone())
            .unwrap_or_default();
        let emergency = domain
            .map(|d| d.caller_id_number_emergency.clone())
            .unwrap_or_default();
        let app_ip = self
            .context
            .interfaces
            .get(usize::from(interface.unwrap_or(0)))
            .map(|interface| interface.advertise.to_string())
            .unwrap_or_default();
        Tokens {
            own_domain,
            own_cid_name: cid_name.clone(),
            own_cid_nmbr: cid_number.clone(),
            caller_cid_name: cid_name,
            caller_cid_nmbr: cid_number,
            caller_cid_emgr: emergency,
            app_ip,
            ..Tokens::default()
        }
    }

    /// Wall time where the call is: the connection's zone, else its offset, else the domain's zone, else UTC.
    fn wall_time(&self) -> DateTime {
        let at = Timestamp::from_millisecond(self.context.unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let own = self.source.record.time_zone.as_str();
        let domains = self
            .directory
            .part(&self.domain)
            .and_then(|part| Some(part.domain.as_ref()?.time_zone.as_str()));
        let named = |name: &str| TimeZoneDatabase::bundled().get(name).ok();
        let zone = named(own)
            .or_else(|| fixed_zone(&self.source.record.utc_offset))
            .or_else(|| domains.and_then(named))
            .unwrap_or(TimeZone::UTC);
        zone.to_datetime(at)
    }
}

/// The zone of `utc-offset`: hours from UTC such as `-7`, `5.5` or `5:30`.
fn fixed_zone(text: &str) -> Option<TimeZone> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let seconds = match digits.split_once(':') {
        Some((hours, minutes)) => {
            3600 * hours.parse::<u8>().map_or(0, i32::from)
                + 60 * minutes.parse::<u8>().map_or(0, i32::from)
        }
        // Whole minutes are as exact as zones get; the field allows no more than 14 hours.
        None => 60 * (60.0 * digits.parse::<f64>().ok()?) as i32,
    };
    let offset = Offset::from_seconds(sign * seconds).ok()?;
    (seconds <= 14 * 3600).then(|| TimeZone::fixed(offset))
}

enum Next {
    Chain(String),
    Connect,
}

/// The first interface of a transport and address family: an alternate one if that is wanted and there is one.
pub fn pick_interface(
    interfaces: &[Interface],
    transport: Transport,
    ipv6: bool,
    alternate: bool,
) -> Option<u8> {
    let first = |alternate: bool| {
        interfaces.iter().position(|interface| {
            interface.transport == transport
                && interface.local.is_ipv6() == ipv6
                && interface.alternate == alternate
        })
    };
    let wanted = if alternate { first(true) } else { None };
    wanted
        .or_else(|| first(false))
        .and_then(|at| u8::try_from(at).ok())
}
