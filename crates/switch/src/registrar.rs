//! Peers that register with us (RFC 3261 §10.3): a REGISTER makes, refreshes or ends the binding of a connection.
//!
//! The connection is the one whose orig pattern covers the To of the REGISTER, whichever header its calls are known
//! by. It must have credentials, and the peer must prove that it knows them: a connection that anybody could take
//! over by one datagram would hand its calls to anybody. There is one binding per connection; a new Contact takes the
//! place of the old one.
//!
//! The shard that a connection's key hashes to holds the binding: it answers the REGISTER and watches the time. It
//! tells outside, and through there the other shards, what happened.

use crate::challenge::Proof;
use crate::core::Core;
use crate::directory::{Connection, Directory, DirectoryChange};
use crate::door;
use crate::source::{self, Identified, SourceVerdict};
use crate::switch::Output;
use model::pattern::Subject;
use model::{
    Binding, ConnectionKey, Registration, RegistrationDirection, RegistrationEnd, RegistrationEvent,
};
use sip::endpoint::Flow;
use sip::event::ServerRequestId;
use sip::message::{ByteStr, Message, Name, NameAddr, ResponseDraft, Uri};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time a peer may ask for; less is a 423. Refreshing more often only loads both ends.
pub const MIN_EXPIRES_SECONDS: u32 = 30;

/// The longest time a peer gets, and what it gets when it asks for none.
pub const MAX_EXPIRES_SECONDS: u32 = 3600;

/// A longer Contact URI is refused.
const MAX_CONTACT_BYTES: usize = 1024;

/// Looks for the time at least this often, should the wall clock be set.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// The bindings that this shard holds, by their end.
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    ends: BTreeSet<(i64, ConnectionKey)>,
    next: Option<Instant>,
}

/// The connection that a REGISTER is for.
pub(crate) fn identify(directory: &Directory, to: &Uri, source: Option<IpAddr>) -> Identified {
    let subject = Subject::new(to.scheme(), to.user(), to.host(), to.port());
    let mut out = Identified::default();
    let mut best = None;
    for connection in directory.orig_candidates(&subject) {
        let record = &connection.record;
        if !connection.orig.matches(&subject) {
            continue;
        }
        if !record.connection_orig_enabled && !record.connection_term_enabled {
            out.others
                .push((Arc::clone(connection), SourceVerdict::Disabled));
            continue;
        }
        // A peer without an address may come from anywhere: that is what it registers for.
        if record.connection_source_ip_checking_enabled
            && connection.address.is_some()
            && let Some(source) = source
            && directory.is_source_of(connection, source) != Some(true)
        {
            out.others
                .push((Arc::clone(connection), SourceVerdict::SourceDiffers));
            continue;
        }
        let rank = source::rank(connection);
        if best.as_ref().is_none_or(|best| rank > *best) {
            best = Some(rank);
            out.connection = Some(Arc::clone(connection));
        }
    }
    out
}

/// Whether the peer of a connection may register: there are credentials, and they are the peer's.
pub(crate) fn may_register(connection: &Connection) -> bool {
    let record = &connection.record;
    !record.connection_sip_registration_username.is_empty()
        && !record
            .connection_sip_registration_password
            .reveal()
            .is_empty()
        && (!record.connection_sip_authenticate_as_client_enabled
            || record.connection_require_sip_authentication_enabled)
}

/// The realm in which a REGISTER for nobody is challenged: that of a connection of this host, should there be one, else
/// what it would be if there were. A name that may not register, or not from there, is nobody too. Who tries one name
/// after another gets the same answer to each (RFC 3261 §10.3 would have 404 tell them apart).
fn realm_of_strangers(directory: &Directory, to: &Uri) -> String {
    let subject = Subject::new(to.scheme(), to.user(), to.host(), to.port());
    directory
        .orig_candidates(&subject)
        .find(|connection| connection.orig.literal_host().is_some() && may_register(connection))
        .map_or_else(
            || to.host().to_owned(),
            |connection| connection.realm().to_owned(),
        )
}

impl Registrar {
    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Bindings that this shard holds.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Answers a REGISTER.
    pub(crate) fn on_register(
        &mut self,
        core: &mut Core,
        id: ServerRequestId,
        request: &Message,
        flow: Flow,
    ) {
        let draft = match self.check(core, request, flow) {
            Ok(connection) => self.bind(core, &connection, request, flow),
            Err(refusal) => *refusal,
        };
        if !matches!(draft.status, 200 | 401) {
            core.stats.registers_refused += 1;
        }
        core.endpoint.respond(core.clock.now, id, draft);
    }

    fn check(
        &self,
        core: &mut Core,
        request: &Message,
        flow: Flow,
    ) -> Result<Arc<Connection>, Box<ResponseDraft>> {
        let source = flow.remote.ip();
        let to = &request.to().uri;
        let identified = identify(&core.directory, to, Some(source)).connection;
        let connection = identified.filter(|connection| may_register(connection));
        let now = core.clock.now;
        let proof = match &connection {
            Some(connection) => core.gatekeeper.check(now, connection, request),
            None => {
                let realm = realm_of_strangers(&core.directory, to);
                core.gatekeeper.check_of_stranger(now, &realm, request)
            }
        };
        let refusal = |status| Err(Box::new(ResponseDraft::new(status)));
        match (proof, connection) {
            (Proof::Accepted, Some(connection)) => {
                core.guard.succeeded(flow);
                Ok(connection)
            }
            (Proof::Challenge { draft, wrong }, connection) => {
                core.stats.challenges += 1;
                if wrong || connection.is_none() {
                    core.distrust(flow);
                }
                Err(draft)
            }
            (Proof::Refused(_) | Proof::Accepted, _) => {
                core.distrust(flow);
                refusal(403)
            }
        }
    }

    /// Does what an authenticated REGISTER asks for (RFC 3261 §10.3, from step 6 on).
    fn bind(
        &mut self,
        core: &mut Core,
        connection: &Arc<Connection>,
        request: &Message,
        flow: Flow,
    ) -> ResponseDraft {
        let asked = match Asked::of(request) {
            Ok(asked) => asked,
            Err(draft) => return *draft,
        };
        let key = connection.record.key();
        let old = core.directory.binding(connection).cloned();
        if let (Some(old), false) = (&old, matches!(asked, Asked::Nothing)) {
            let late =
                old.call_id == request.call_id() as &str && old.cseq >= request.cseq().number;
            if late {
                // It was overtaken by a newer one.
                return ResponseDraft::new(500);
            }
        }
        match asked {
            Asked::Nothing => {}
            Asked::RemoveAll => self.remove(core, &key, RegistrationEnd::Withdrawn),
            Asked::Remove(contacts) => {
                let is_bound = |old: &Arc<Binding>| {
                    Uri::parse(&ByteStr::copy(&old.contact))
                        .is_ok_and(|bound| contacts.iter().any(|uri| uri.equivalent(&bound)))
                };
                if old.as_ref().is_some_and(is_bound) {
                    self.remove(core, &key, RegistrationEnd::Withdrawn);
                }
            }
            Asked::Bind { contact, seconds } => {
                let via = request.via();
                let binding = Binding {
                    contact: contact.as_str().to_owned(),
                    via: match via.port {
                        Some(port) => format!("{}:{port}", via.host),
                        None => via.host.to_string(),
                    },
                    transport: core
                        .transport(flow)
                        .map_or_else(String::new, |transport| transport.as_str().to_owned()),
                    received: flow.remote,
                    interface: flow.interface,
                    stream: flow.stream.map(|stream| stream.0),
                    call_id: request.call_id().to_string(),
                    cseq: request.cseq().number,
                    registered_ms: core.clock.unix_ms,
                    expires_ms: core.clock.unix_ms + i64::from(seconds) * 1000,
                };
                let new = old.is_none_or(|old| {
                    (&old.contact, old.received) != (&binding.contact, binding.received)
                });
                self.put(core, key, binding, new);
            }
        }
        let mut draft = ResponseDraft::new(200);
        if let Some(binding) = core.directory.binding(connection) {
            let left = (binding.expires_ms - core.clock.unix_ms).max(0) / 1000;
            draft.contact = Some(format!("<{}>;expires={left}", binding.contact).into());
        }
        draft
    }

    fn put(&mut self, core: &mut Core, key: ConnectionKey, binding: Binding, new: bool) {
        self.forget(core, &key);
        self.ends.insert((binding.expires_ms, key.clone()));
        core.directory.apply(DirectoryChange::Binding {
            connection: key.clone(),
            binding: Some(Arc::new(binding.clone())),
        });
        core.tell(Registration {
            connection: key,
            direction: RegistrationDirection::Inbound,
            at_ms: binding.registered_ms,
            event: RegistrationEvent::Registered {
                expires_ms: binding.expires_ms,
                binding: Some(binding),
                new,
            },
        });
        self.set_alarm(core);
    }

    fn remove(&mut self, core: &mut Core, key: &ConnectionKey, why: RegistrationEnd) {
        if !self.forget(core, key) {
            return;
        }
        core.directory.apply(DirectoryChange::Binding {
            connection: key.clone(),
            binding: None,
        });
        core.tell(Registration {
            connection: key.clone(),
            direction: RegistrationDirection::Inbound,
            at_ms: core.clock.unix_ms,
            event: RegistrationEvent::Ended(why),
        });
        self.set_alarm(core);
    }

    /// Takes the end of a binding out of the table; false when this shard holds none.
    fn forget(&mut self, core: &Core, key: &ConnectionKey) -> bool {
        let end = core
            .directory
            .binding_of(key)
            .map(|binding| binding.expires_ms);
        end.is_some_and(|end| self.ends.remove(&(end, key.clone())))
    }

    /// Hears what the directory has just taken over.
    pub(crate) fn on_change(&mut self, core: &mut Core, change: &DirectoryChange) {
        match change {
            DirectoryChange::Binding {
                connection,
                binding: Some(binding),
            } if core.is_mine(connection) => {
                // From the store, at the start.
                self.ends.insert((binding.expires_ms, connection.clone()));
                self.set_alarm(core);
            }
            DirectoryChange::BindingEnds {
                connection,
                unix_ms,
            } => {
                if core.is_mine(connection) {
                    self.end_at(core, connection, *unix_ms);
                } else if *unix_ms <= core.clock.unix_ms {
                    // Its holder will say so too, but the next call obeys already.
                    core.directory.apply(DirectoryChange::Binding {
                        connection: connection.clone(),
                        binding: None,
                    });
                }
            }
            DirectoryChange::Swap(part) => self.keep(core, &part.name),
            DirectoryChange::Remove(domain) => self.keep(core, domain),
            _ => {}
        }
    }

    /// `connection-sip-registration-expires-datetime` was written.
    fn end_at(&mut self, core: &mut Core, key: &ConnectionKey, unix_ms: i64) {
        if unix_ms <= core.clock.unix_ms {
            self.remove(core, key, RegistrationEnd::Record);
            return;
        }
        let Some(connection) = core.directory.connection(key) else {
            return;
        };
        let binding = core.directory.binding(connection).cloned();
        // Where there is an address, nothing depends on the registration.
        if let Some(binding) = binding.filter(|_| connection.address.is_none()) {
            let binding = Binding {
                expires_ms: unix_ms,
                ..Binding::clone(&binding)
            };
            self.put(core, key.clone(), binding, false);
        }
    }

    /// The wall clock was set by so many milliseconds, and the bindings have been moved along with it.
    pub(crate) fn on_clock_set(&mut self, core: &mut Core, step_ms: i64) {
        self.ends = std::mem::take(&mut self.ends)
            .into_iter()
            .map(|(end, key)| (end.saturating_add(step_ms), key))
            .collect();
        for (expires_ms, key) in &self.ends {
            let Some(binding) = core.directory.binding_of(key) else {
                continue;
            };
            // What is stored is in the old time.
            let event = RegistrationEvent::Registered {
                expires_ms: *expires_ms,
                binding: Some(Binding::clone(binding)),
                new: false,
            };
            core.tell(Registration {
                connection: key.clone(),
                direction: RegistrationDirection::Inbound,
                at_ms: core.clock.unix_ms,
                event,
            });
        }
        self.set_alarm(core);
    }

    /// Forgets the ends of bindings that went with their connections.
    fn keep(&mut self, core: &Core, domain: &str) {
        let directory = &core.directory;
        self.ends.retain(|(end, key)| {
            key.domain != domain
                || directory
                    .binding_of(key)
                    .is_some_and(|binding| binding.expires_ms == *end)
        });
    }

    /// Ends the bindings whose time is over.
    pub(crate) fn on_time(&mut self, core: &mut Core) {
        if self.next.is_none_or(|next| next > core.clock.now) {
            return;
        }
        while let Some((end, key)) = self.ends.first().cloned() {
            if end > core.clock.unix_ms {
                break;
            }
            self.remove(core, &key, RegistrationEnd::Expired);
            self.ends.remove(&(end, key));
        }
        self.set_alarm(core);
    }

    fn set_alarm(&mut self, core: &Core) {
        self.next = self.ends.first().map(|(end, _)| {
            let left = u64::try_from(end - core.clock.unix_ms).unwrap_or(0);
            core.clock.now + Duration::from_millis(left).min(MAX_SLEEP)
        });
    }
}

/// What a REGISTER asks for.
enum Asked {
    /// To be told what is bound.
    Nothing,
    /// That nothing be bound.
    RemoveAll,
    /// That these be not bound.
    Remove(Vec<Uri>),
    /// That this be bound.
    Bind { contact: Uri, seconds: u32 },
}

impl Asked {
    /// Reads the Contacts. Of several that are to be bound the first counts: a connection has one binding.
    fn of(request: &Message) -> Result<Self, Box<ResponseDraft>> {
        let bad = || Box::new(ResponseDraft::new(400));
        let values: Vec<ByteStr> = request.values_shared(Name::Contact).collect();
        let general = request.header(Name::Expires).and_then(seconds);
        if values.iter().any(|value| value.trim() == "*") {
            // RFC 3261 §10.3, step 6: alone, and with an end.
            let alone = values.len() == 1 && general == Some(0);
            return if alone {
                Ok(Self::RemoveAll)
            } else {
                Err(bad())
            };
        }
        let mut removed = Vec::new();
        let mut bound = None;
        for value in &values {
            let contact = NameAddr::parse(value).map_err(|_| bad())?;
            let own = contact.param("expires").flatten().and_then(seconds);
            let asked = own.or(general).unwrap_or(MAX_EXPIRES_SECONDS);
            let uri = bare(&contact.uri)
                .filter(|uri| uri.is_sip() && uri.as_str().len() <= MAX_CONTACT_BYTES)
                .ok_or_else(bad)?;
            match asked {
                0 => removed.push(uri),
                _ => {
                    bound.get_or_insert((uri, asked));
                }
            }
        }
        match bound {
            Some((_, asked)) if asked < MIN_EXPIRES_SECONDS => {
                let mut draft = ResponseDraft::new(423);
                draft.headers.push("Min-Expires", MIN_EXPIRES_SECONDS);
                Err(Box::new(draft))
            }
            Some((contact, asked)) => Ok(Self::Bind {
                contact,
                seconds: asked.min(MAX_EXPIRES_SECONDS),
            }),
            None if removed.is_empty() => Ok(Self::Nothing),
            None => Ok(Self::Remove(removed)),
        }
    }
}

/// Seconds of an `Expires`. What is no number counts as not said (RFC 3261 §20.10); a number too large for us is
/// only a large one.
fn seconds(text: &str) -> Option<u32> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u32::MAX))
}

/// A Contact as a Request-URI: without headers, which may not stand there (RFC 3261 §19.1.1).
fn bare(uri: &Uri) -> Option<Uri> {
    match uri.as_str().split_once('?') {
        Some((bare, _)) => Uri::parse(&ByteStr::copy(bare)).ok(),
        None => Some(uri.clone()),
    }
}

impl Core {
    /// Whether this shard holds the registrations of a connection.
    pub(crate) fn is_mine(&self, key: &ConnectionKey) -> bool {
        door::shard_of(key, self.config.shards) == self.config.sip.owner
    }

    /// Tells outside what became of a registration.
    pub(crate) fn tell(&mut self, registration: Registration) {
        self.push(Output::Registration(Box::new(registration)));
    }
}
