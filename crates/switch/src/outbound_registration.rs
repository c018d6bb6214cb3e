//! Our registrations with carriers (RFC 3261 §10.2): made, kept alive and taken back.
//!
//! A connection with `connection-sip-authenticate-as-client-enabled` and an address registers there. What each
//! field says:
//!
//! | part of the REGISTER | from |
//! |---|---|
//! | Request-URI | `connection-translation-request-host`, else the address |
//! | To, From | username @ realm, else @ host of the Request-URI |
//! | Contact | username @ our address |
//! | where it goes | the address, by RFC 3263, over `connection-sip-transport-protocol` |
//!
//! A failure never takes the connection out of service: many carriers challenge calls and have no registrar.
//!
//! Only the shard that a connection's key hashes to registers it. No more than [`REGISTERS_PER_SECOND`] go out of
//! one shard, so that ten thousand trunks neither start nor come back all at once.

use crate::agenda::Agenda;
use crate::core::Core;
use crate::directory::{Connection, DirectoryChange, SYSTEM};
use crate::plan::{host_and_port, split_port, unquoted};
use crate::routing::next_hop;
use crate::routing::translate::{Tokens, translate};
use model::{
    ConnectionKey, OutboundState, Registration, RegistrationDirection, RegistrationEnd,
    RegistrationEvent, RegistrationOutcome, Secret,
};
use sip::auth::Credentials;
use sip::endpoint::{Interface, OutboundRequest};
use sip::event::RequestId;
use sip::message::{ByteStr, Headers, Message, Method, Name, RequestDraft, Uri};
use sip::random::Random;
use sip::resolve::Target;
use sip::transport::Transport;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time we ask for.
pub(crate) const EXPIRES_SECONDS: u32 = 3600;

/// The longest time we take, whether granted or demanded by a 423.
const MAX_EXPIRES_SECONDS: u32 = 86_400;

/// A refresh is sent when a tenth of the time is left, but at least this long before the end.
const MIN_LEFT_SECONDS: u32 = 30;

/// Wait after the first failure; each further one doubles it.
pub(crate) const FIRST_RETRY_SECONDS: u64 = 30;

/// The longest wait between attempts.
pub(crate) const MAX_RETRY_SECONDS: u64 = 1800;

/// Waits are longer or shorter by up to this many percent, so that trunks that failed together come back apart.
const JITTER_PERCENT: u64 = 20;

/// REGISTERs that one shard starts in a second.
pub const REGISTERS_PER_SECOND: u32 = 50;

/// Registrations of one shard; connections beyond that stay unregistered.
pub(crate) const MAX_REGISTRATIONS: usize = 50_000;

/// Of a reason phrase, what is kept to be shown.
const MAX_REASON_CHARS: usize = 120;

/// CSeq numbers one attempt may use: the request, and once more for each challenge.
const CSEQ_STEP: u32 = 8;

/// What goes over the wire for one connection. While it stays the same, a change of the record changes nothing.
#[derive(Debug, Clone, PartialEq)]
struct Identity {
    registrar: Uri,
    address_of_record: Uri,
    contact: String,
    host: String,
    port: Option<u16>,
    transport: Transport,
    /// The interface of ours it leaves by.
    interface: u8,
    with_user_agent: bool,
    username: String,
    password: Secret,
    realm: String,
}

impl Identity {
    fn of(connection: &Connection, interfaces: &[Interface]) -> Result<Self, String> {
        let record = &connection.record;
        let address = connection.address.as_ref().ok_or("no address")?;
        let transport = next_hop::transport_of(connection);
        let alternate = next_hop::alternate(connection);
        let index = next_hop::reach(interfaces, transport, address, alternate)?;
        let interface = interfaces.get(usize::from(index)).ok_or("no interface")?;
        let tokens = Tokens {
            app_ip: interface.advertise.to_string(),
            own_domain: match record.domain.as_str() {
                SYSTEM => String::new(),
                domain => domain.to_owned(),
            },
            ..Tokens::default()
        };
        let written = match unquoted(&record.connection_translation_request_host) {
            "" => host_and_port(&address.host, address.port),
            template => translate(template, &address.host, &tokens),
        };
        let (host, port) = split_port(&written);
        let usable = |uri: Uri| Uri::parse(&ByteStr::copy(uri.as_str()));
        let registrar = usable(Uri::build("sip", None, host, port))
            .map_err(|_| format!("{host:?} is no host to register at"))?;
        let username = record.connection_sip_registration_username.as_str();
        // A realm is any text; only one that is a host can stand behind the @.
        let at = |host: &str| usable(Uri::build("sip", Some(username), host, None)).ok();
        let address_of_record = at(&record.connection_sip_registration_realm)
            .or_else(|| at(host))
            .ok_or_else(|| format!("{username:?} is no user to register"))?;
        let contact = Uri::build(
            "sip",
            Some(username),
            &interface.advertise,
            Some(interface.port),
        );
        let parameter = match transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        Ok(Self {
            registrar,
            address_of_record,
            contact: format!("{contact}{parameter}"),
            host: address.host.clone(),
            port: address.port,
            transport,
            interface: index,
            with_user_agent: record.connection_include_server_header_enabled,
            username: username.to_owned(),
            password: record.connection_sip_registration_password.clone(),
            realm: record.connection_sip_registration_realm.clone(),
        })
    }

    fn target(&self) -> Target {
        Target {
            host: self.host.clone(),
            port: self.port,
            transport: Some(self.transport),
            secure: self.transport == Transport::Tls,
        }
    }

    fn draft(&self, call_id: &ByteStr, cseq: u32, expires_seconds: u32) -> RequestDraft {
        let mut headers = Headers::new();
        headers.push_name(Name::Expires, expires_seconds);
        if self.with_user_agent {
            headers.push_name(Name::UserAgent, crate::SOFTWARE);
        }
        let party: ByteStr = format!("<{}>", self.address_of_record).into();
        RequestDraft {
            method: Method::Register,
            uri: self.registrar.clone(),
            max_forwards: 70,
            from: party.clone(),
            to: party,
            call_id: call_id.clone(),
            cseq,
            routes: Vec::new(),
            contact: Some(format!("<{}>", self.contact).into()),
            headers,
            content_type: None,
            body: bytes::Bytes::new(),
        }
    }
}

/// One connection that registers.
#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    identity: Identity,
    credentials: Arc<Credentials>,
    /// The same for all REGISTERs of one run (RFC 3261 §10.2.4).
    call_id: ByteStr,
    cseq: u32,
    asked_seconds: u32,
    /// Until when we are registered, in milliseconds since the Unix epoch.
    expires_ms: Option<i64>,
    failures: u32,
    /// A 423 has been obeyed in this attempt.
    obeyed: bool,
    request: Option<RequestId>,
    /// No attempt before this moment.
    not_before: Instant,
    /// What became of the last attempt.
    last: Option<RegistrationOutcome>,
    /// When the next attempt is made, in milliseconds since the Unix epoch.
    next_ms: Option<i64>,
}

impl Entry {
    /// A REGISTER that asks for so many seconds.
    fn ask(&self, expires_seconds: u32) -> OutboundRequest {
        let draft = self
            .identity
            .draft(&self.call_id, self.cseq, expires_seconds);
        OutboundRequest {
            credentials: Some(Arc::clone(&self.credentials)),
            interface: Some(self.identity.interface),
            ..OutboundRequest::new(draft, self.identity.target())
        }
    }
}

/// The registrations that this shard keeps with carriers.
#[derive(Debug)]
pub(crate) struct OutboundRegistrations {
    entries: Agenda<Entry>,
    requests: HashMap<RequestId, usize>,
    /// Un-registrations without an answer yet.
    farewells: HashSet<RequestId>,
    stopped: bool,
}

/// How many registrations are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct States {
    pub(crate) registered: usize,
    pub(crate) failed: usize,
    pub(crate) trying: usize,
}

/// Whether we register for this connection.
pub(crate) fn registers(connection: &Connection) -> bool {
    let record = &connection.record;
    record.connection_sip_authenticate_as_client_enabled
        && connection.address.is_some()
        && !record.connection_sip_registration_username.is_empty()
}

impl OutboundRegistrations {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            entries: Agenda::new(now, REGISTERS_PER_SECOND),
            requests: HashMap::new(),
            farewells: HashSet::new(),
            stopped: false,
        }
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.entries.poll_timeout()
    }

    /// Un-registrations that wait for their answer.
    pub(crate) fn farewells(&self) -> usize {
        self.farewells.len()
    }

    pub(crate) fn states(&self) -> States {
        let mut states = States::default();
        for entry in self.entries.works() {
            match (entry.expires_ms, entry.failures) {
                (Some(_), _) => states.registered += 1,
                (None, 0) => states.trying += 1,
                (None, _) => states.failed += 1,
            }
        }
        states
    }

    /// How it stands with one connection, which is this shard's; `None` where we do not register.
    pub(crate) fn state_of(
        &self,
        connection: &Connection,
        interfaces: &[Interface],
        unix_ms: i64,
    ) -> Option<OutboundState> {
        if self.stopped || !registers(connection) {
            return None;
        }
        let Some(entry) = self.entries.of(&connection.record.key()) else {
            let why = Identity::of(connection, interfaces).err();
            return Some(OutboundState {
                expires_ms: None,
                last: Some(RegistrationOutcome {
                    status: 503,
                    reason: why.unwrap_or_else(|| "too many registrations".to_owned()),
                    at_ms: unix_ms,
                }),
                failures: 1,
                next_ms: None,
            });
        };
        Some(OutboundState {
            expires_ms: entry.expires_ms.filter(|expires_ms| *expires_ms > unix_ms),
            last: entry.last.clone(),
            failures: entry.failures,
            next_ms: entry.next_ms,
        })
    }

    /// Hears what the directory has just taken over.
    pub(crate) fn on_change(&mut self, core: &mut Core, change: &DirectoryChange) {
        if self.stopped {
            return;
        }
        let (domain, part) = match change {
            DirectoryChange::Swap(part) => (&part.name, Some(part)),
            DirectoryChange::Remove(domain) => (domain, None),
            _ => return,
        };
        let mut wanted: HashMap<&str, &Arc<Connection>> = HashMap::new();
        for connection in part.iter().flat_map(|part| &part.connections) {
            if registers(connection) && core.is_mine(&connection.record.key()) {
                let pattern = connection.record.connection_orig_match_pattern.as_str();
                wanted.insert(pattern, connection);
            }
        }
        for slot in self.entries.slots_of(domain) {
            let Some((key, entry)) = self.entries.get_mut(slot) else {
                continue;
            };
            let pattern = key.connection_orig_match_pattern.as_str();
            let Some(connection) = wanted.get(pattern) else {
                self.leave(core, slot);
                continue;
            };
            let same = entry.connection.record == connection.record
                || Identity::of(connection, &core.config.sip.interfaces).as_ref()
                    == Ok(&entry.identity);
            if same {
                entry.connection = Arc::clone(connection);
                wanted.remove(pattern);
            } else {
                self.leave(core, slot);
            }
        }
        // In the order of the records, so that a start is the same every time.
        for connection in part.iter().flat_map(|part| &part.connections) {
            let pattern = connection.record.connection_orig_match_pattern.as_str();
            if wanted.contains_key(pattern) {
                self.begin(core, connection);
            }
        }
    }

    /// Takes all registrations back: the switch stops.
    pub(crate) fn stop(&mut self, core: &mut Core) {
        self.stopped = true;
        for slot in self.entries.slots() {
            self.leave(core, slot);
        }
        self.entries.forget_times();
    }

    fn begin(&mut self, core: &mut Core, connection: &Arc<Connection>) {
        let key = connection.record.key();
        let identity = match Identity::of(connection, &core.config.sip.interfaces) {
            Ok(identity) if self.entries.len() < MAX_REGISTRATIONS => identity,
            _ => {
                let event = RegistrationEvent::Failed {
                    status: 503,
                    retry_seconds: 0,
                };
                tell(core, &key, event);
                return;
            }
        };
        let entry = Entry {
            connection: Arc::clone(connection),
            identity,
            credentials: connection.credentials(),
            call_id: core.endpoint.new_call_id(),
            cseq: 1,
            asked_seconds: EXPIRES_SECONDS,
            expires_ms: None,
            failures: 0,
            obeyed: false,
            request: None,
            not_before: core.clock.now,
            last: None,
            next_ms: None,
        };
        let slot = self.entries.insert(key, entry);
        self.entries.wake_at(slot, core.clock.now);
    }

    /// Takes a registration back and forgets it.
    fn leave(&mut self, core: &mut Core, slot: usize) {
        let Some((key, entry)) = self.entries.remove(slot) else {
            return;
        };
        let pending = entry.request.inspect(|request| {
            self.requests.remove(request);
        });
        // A request that is under way may yet succeed.
        if entry.expires_ms.is_none() && pending.is_none() {
            return;
        }
        let request = core.endpoint.send(core.clock.now, entry.ask(0));
        self.farewells.insert(request);
        let ended = RegistrationEvent::Ended(RegistrationEnd::Record);
        tell(core, &key, ended);
    }

    /// Starts what is due.
    pub(crate) fn on_time(&mut self, core: &mut Core) {
        let now = core.clock.now;
        while let Some(slot) = self.entries.next_due(now) {
            self.lapse(core, slot);
            let not_before = self.entries.get_mut(slot).map(|(_, it)| it.not_before);
            match not_before {
                Some(later) if later > now => self.entries.wake_at(slot, later),
                _ => {
                    if self.entries.take_turn(slot, now) {
                        self.register(core, slot, false);
                    }
                }
            }
        }
    }

    /// The wall clock was set by so many milliseconds: what was granted lasts as long as before.
    pub(crate) fn on_clock_set(&mut self, step_ms: i64) {
        for slot in self.entries.slots() {
            if let Some((_, entry)) = self.entries.get_mut(slot) {
                entry.expires_ms = entry.expires_ms.map(|end| end.saturating_add(step_ms));
            }
        }
    }

    /// Says so when the time that was granted has run out.
    fn lapse(&mut self, core: &mut Core, slot: usize) {
        let Some((key, entry)) = self.entries.get_mut(slot) else {
            return;
        };
        let over = entry
            .expires_ms
            .is_some_and(|expires_ms| expires_ms <= core.clock.unix_ms);
        if over {
            entry.expires_ms = None;
            let ended = RegistrationEvent::Ended(RegistrationEnd::Expired);
            tell(core, key, ended);
        }
    }

    /// Sends a REGISTER. `obeyed`: a 423 has just been.
    fn register(&mut self, core: &mut Core, slot: usize, obeyed: bool) {
        let Some((_, entry)) = self.entries.get_mut(slot) else {
            return;
        };
        entry.obeyed = obeyed;
        let register = entry.ask(entry.asked_seconds);
        entry.cseq += CSEQ_STEP;
        let request = core.endpoint.send(core.clock.now, register);
        entry.request = Some(request);
        entry.next_ms = None;
        self.requests.insert(request, slot);
    }

    /// Takes the outcome of a REGISTER of ours. False when the request is none.
    pub(crate) fn on_response(
        &mut self,
        core: &mut Core,
        request: RequestId,
        status: u16,
        response: Option<&Message>,
    ) -> bool {
        if self.farewells.remove(&request) {
            return true;
        }
        let Some(slot) = self.requests.remove(&request) else {
            return false;
        };
        let Some((_, entry)) = self.entries.get_mut(slot) else {
            return true;
        };
        entry.request = None;
        entry.last = Some(RegistrationOutcome {
            status,
            reason: match (response, status) {
                (Some(response), _) => response.reason().chars().take(MAX_REASON_CHARS).collect(),
                (None, 408) => "no answer".to_owned(),
                (None, _) => "not reachable".to_owned(),
            },
            at_ms: core.clock.unix_ms,
        });
        match (status, response) {
            (200..300, Some(response)) => {
                let granted = granted(response, &entry.identity.contact, entry.asked_seconds);
                match granted {
                    0 => self.failed(core, slot, 500, None),
                    seconds => self.succeeded(core, slot, seconds),
                }
            }
            (423, Some(response)) => {
                let least = response.header_by_text("Min-Expires").and_then(number);
                match least {
                    Some(least)
                        if !entry.obeyed
                            && least > entry.asked_seconds
                            && least <= MAX_EXPIRES_SECONDS =>
                    {
                        entry.asked_seconds = least;
                        self.register(core, slot, true);
                    }
                    _ => self.failed(core, slot, status, None),
                }
            }
            (status, response) => {
                let wait = response.and_then(|response| response.header(Name::RetryAfter));
                let wait = wait.and_then(|text| {
                    let digits = text.trim_start().bytes().take_while(u8::is_ascii_digit);
                    number(&text.trim_start()[..digits.count()])
                });
                self.failed(core, slot, status, wait);
            }
        }
        true
    }

    fn succeeded(&mut self, core: &mut Core, slot: usize, granted_seconds: u32) {
        let Some((key, entry)) = self.entries.get_mut(slot) else {
            return;
        };
        let expires_ms = core.clock.unix_ms + i64::from(granted_seconds) * 1000;
        let before = entry.expires_ms.replace(expires_ms);
        entry.failures = 0;
        let event = RegistrationEvent::Registered {
            expires_ms,
            binding: None,
            new: before.is_none(),
        };
        tell(core, key, event);
        let wait = Duration::from_secs(u64::from(refresh_after(granted_seconds)));
        entry.next_ms = Some(core.clock.unix_ms + wait.as_millis() as i64);
        self.entries.wake_at(slot, core.clock.now + wait);
    }

    fn failed(&mut self, core: &mut Core, slot: usize, status: u16, retry_after: Option<u32>) {
        self.lapse(core, slot);
        let Some((key, entry)) = self.entries.get_mut(slot) else {
            return;
        };
        entry.failures = entry.failures.saturating_add(1);
        let wait = back_off(entry.failures, retry_after, &mut core.random);
        let event = RegistrationEvent::Failed {
            status,
            retry_seconds: wait.as_secs(),
        };
        tell(core, key, event);
        entry.not_before = core.clock.now + wait;
        entry.next_ms = Some(core.clock.unix_ms + wait.as_millis() as i64);
        // In between, what was granted before may run out.
        let left_ms = entry
            .expires_ms
            .and_then(|expires_ms| u64::try_from(expires_ms - core.clock.unix_ms).ok());
        let left = left_ms.map_or(wait, Duration::from_millis);
        self.entries.wake_at(slot, core.clock.now + wait.min(left));
    }
}

fn tell(core: &mut Core, key: &ConnectionKey, event: RegistrationEvent) {
    let at_ms = core.clock.unix_ms;
    core.tell(Registration {
        connection: key.clone(),
        direction: RegistrationDirection::Outbound,
        at_ms,
        event,
    });
}

/// How long a registration may be left alone.
fn refresh_after(granted_seconds: u32) -> u32 {
    let granted = u64::from(granted_seconds);
    let late = (granted * 9 / 10).min(granted.saturating_sub(u64::from(MIN_LEFT_SECONDS)));
    // A registrar that grants a minute or less still gets no more than two REGISTERs in that time.
    late.max(granted / 2).max(1) as u32
}

/// How long to wait after this many failures in a row.
fn back_off(failures: u32, retry_after: Option<u32>, random: &mut Random) -> Duration {
    let doubled = FIRST_RETRY_SECONDS << failures.saturating_sub(1).min(16);
    let wait = doubled
        .max(u64::from(retry_after.unwrap_or(0)))
        .min(MAX_RETRY_SECONDS);
    let percent = 100 - JITTER_PERCENT + random.below(2 * JITTER_PERCENT + 1);
    Duration::from_millis(wait * 10 * percent)
}

/// The seconds a 200 grants: those of our Contact, else of its Expires, else what we asked for
/// (RFC 3261 §10.2.4).
fn granted(response: &Message, contact: &str, asked_seconds: u32) -> u32 {
    let ours = Uri::parse(&ByteStr::copy(contact)).ok();
    let of_contact = response
        .addresses(Name::Contact)
        .find(|other| {
            ours.as_ref()
                .is_some_and(|ours| ours.equivalent(&other.uri))
        })
        .and_then(|other| other.param("expires").flatten().and_then(number));
    of_contact
        .or_else(|| response.header(Name::Expires).and_then(number))
        .unwrap_or(asked_seconds)
        .min(MAX_EXPIRES_SECONDS)
}

fn number(text: &str) -> Option<u32> {
    text.trim().trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_leaves_a_tenth_and_half_a_minute() {
        assert_eq!(refresh_after(3600), 3240);
        assert_eq!(refresh_after(120), 90);
        assert_eq!(refresh_after(60), 30);
        assert_eq!(refresh_after(40), 20);
        assert_eq!(refresh_after(1), 1);
    }

    #[test]
    fn waits_double_up_to_half_an_hour_and_scatter_by_a_fifth() {
        let mut random = Random::new(3);
        for (failures, seconds) in [(1, 30), (2, 60), (3, 120), (6, 960), (7, 1800), (60, 1800)] {
            let mut seen = HashSet::new();
            for _ in 0..200 {
                let wait = back_off(failures, None, &mut random).as_millis() as u64;
                assert!((seconds * 800..=seconds * 1200).contains(&wait), "{wait}");
                seen.insert(wait);
            }
            assert!(seen.len() > 20);
        }
        let asked = back_off(1, Some(600), &mut random).as_secs();
        assert!((480..=720).contains(&asked), "{asked}");
    }
}
