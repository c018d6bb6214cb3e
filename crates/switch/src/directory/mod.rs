//! The directory: what the call path knows about records.
//!
//! One immutable part per domain behind an [`Arc`], plus one for the system-wide owner `*`. A change swaps
//! one part; a call that runs keeps the records it began with. Indexes over all parts belong to the shard,
//! so nothing here is locked or shared for writing.

mod bindings;
mod connection;
mod dial_plan;
mod dial_policy;
mod part;
mod prefix_index;
mod route;
mod silent;

use bindings::Bindings;
pub use connection::{Address, Connection};
pub use dial_plan::{DialPlan, DialRule};
pub use dial_policy::{DialPolicy, Permission};
pub use part::{BuildProblem, DomainPart};
pub use route::{Route, Routes};
use silent::Silent;

use model::pattern::Subject;
use model::{Binding, ConnectionKey, MatchingHeader};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use model::SYSTEM_DOMAIN as SYSTEM;

/// A change of the directory, as it arrives at a shard.
#[derive(Debug, Clone)]
pub enum DirectoryChange {
    /// Puts a domain's part in place of the one it had.
    Swap(Arc<DomainPart>),
    /// Forgets a domain.
    Remove(String),
    /// Addresses that a host name of some `connection-address` resolves to, for the source address check.
    Addresses {
        /// Host name in lower case.
        host: String,
        /// What it resolved to last.
        addresses: Arc<[IpAddr]>,
    },
    /// Where the peer of a connection that registers with us is; `None` when it is no longer registered.
    Binding {
        /// The connection.
        connection: ConnectionKey,
        /// Where its peer is.
        binding: Option<Arc<Binding>>,
    },
    /// Somebody set when a registration ends. The shard that holds it sees to that and tells the others.
    BindingEnds {
        /// The connection.
        connection: ConnectionKey,
        /// When, in milliseconds since the Unix epoch; a moment that is over ends it at once.
        unix_ms: i64,
    },
    /// The peer of a connection has stopped answering OPTIONS, or answers again.
    Silent {
        /// The connection.
        connection: ConnectionKey,
        /// Since when it is silent, in milliseconds since the Unix epoch; `None` when it answers.
        since_ms: Option<i64>,
    },
}

/// The records of all domains, as one shard sees them.
#[derive(Debug, Default)]
pub struct Directory {
    parts: HashMap<String, Arc<DomainPart>>,
    orig: HostIndex,
    term: HostIndex,
    /// How many connections are held against each header, by its place in [`MatchingHeader`].
    headers: [usize; 4],
    addresses: HashMap<String, Arc<[IpAddr]>>,
    bindings: Bindings,
    silent: Silent,
}

impl Directory {
    /// Takes a change over. Costs as much as the part that changed is large.
    pub fn apply(&mut self, change: DirectoryChange) {
        match change {
            DirectoryChange::Swap(part) => {
                let old = self.parts.insert(part.name.clone(), Arc::clone(&part));
                self.forget(old);
                self.bindings.keep(&part.name, Some(&part));
                self.silent.keep(&part.name, Some(&part));
                for connection in &part.connections {
                    self.headers[header_of(connection)] += 1;
                    self.orig.insert(connection.orig.literal_host(), connection);
                    self.term.insert(connection.term.literal_host(), connection);
                }
            }
            DirectoryChange::Remove(name) => {
                let old = self.parts.remove(&name);
                self.forget(old);
                self.bindings.keep(&name, None);
                self.silent.keep(&name, None);
            }
            DirectoryChange::Addresses { host, addresses } => {
                self.addresses.insert(host, addresses);
            }
            DirectoryChange::Binding {
                connection,
                binding,
            } => self.bindings.put(&connection, binding),
            DirectoryChange::BindingEnds { .. } => {}
            DirectoryChange::Silent {
                connection,
                since_ms,
            } => self.silent.put(&connection, since_ms),
        }
    }

    fn forget(&mut self, old: Option<Arc<DomainPart>>) {
        for connection in old.iter().flat_map(|part| &part.connections) {
            self.headers[header_of(connection)] -= 1;
            self.orig.remove(connection.orig.literal_host(), connection);
            self.term.remove(connection.term.literal_host(), connection);
        }
    }

    /// The part of one domain.
    pub fn part(&self, domain: &str) -> Option<&Arc<DomainPart>> {
        self.parts.get(domain)
    }

    /// Whether `host` is the name of a domain of this system.
    pub fn is_domain(&self, host: &str) -> bool {
        host != SYSTEM && self.parts.contains_key(host)
    }

    /// A dial plan by name: the domain's own, else the system's.
    pub fn dial_plan(&self, domain: &str, name: &str) -> Option<&Arc<DialPlan>> {
        [domain, SYSTEM]
            .into_iter()
            .filter_map(|owner| self.parts.get(owner))
            .find_map(|part| part.dial_plans.get(name))
    }

    /// A dial policy by name: the domain's own, else the system's.
    pub fn dial_policy(&self, domain: &str, name: &str) -> Option<&Arc<DialPolicy>> {
        [domain, SYSTEM]
            .into_iter()
            .filter_map(|owner| self.parts.get(owner))
            .find_map(|part| part.dial_policies.get(name))
    }

    /// The routes of the system; `None` when there are none.
    pub fn routes(&self) -> Option<&Routes> {
        let routes = &self.parts.get(SYSTEM)?.routes;
        (!routes.is_empty()).then_some(routes)
    }

    /// Whether any connection is held against this header. Nearly all are held against From.
    pub(crate) fn looks_at(&self, header: MatchingHeader) -> bool {
        self.headers[header as usize] > 0
    }

    /// Connections whose orig pattern could match a URI of this host.
    pub(crate) fn orig_candidates<'a>(
        &'a self,
        subject: &'a Subject,
    ) -> impl Iterator<Item = &'a Arc<Connection>> {
        self.orig.candidates(subject)
    }

    /// Connections whose term pattern could match a URI of this host.
    pub(crate) fn term_candidates<'a>(
        &'a self,
        subject: &'a Subject,
    ) -> impl Iterator<Item = &'a Arc<Connection>> {
        self.term.candidates(subject)
    }

    /// Every connection, in no order. For explanations only: its cost grows with their number.
    pub fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.parts.values().flat_map(|part| &part.connections)
    }

    /// Number of connections in all parts.
    pub fn connection_count(&self) -> usize {
        self.parts.values().map(|part| part.connections.len()).sum()
    }

    /// The connection with this key.
    pub fn connection(&self, key: &ConnectionKey) -> Option<&Arc<Connection>> {
        let part = self.parts.get(&key.domain)?;
        part.connections.iter().find(|connection| {
            connection.record.connection_orig_match_pattern == key.connection_orig_match_pattern
        })
    }

    /// Where the peer of a connection is that registered with us.
    pub fn binding(&self, connection: &Connection) -> Option<&Arc<Binding>> {
        self.bindings.of(connection)
    }

    /// The same by the connection's key.
    pub fn binding_of(&self, key: &ConnectionKey) -> Option<&Arc<Binding>> {
        self.bindings
            .get(&key.domain, &key.connection_orig_match_pattern)
    }

    /// Since when a connection's peer has not answered OPTIONS any more, in milliseconds since the Unix epoch.
    /// `None` while it does, has never done, or is not asked.
    pub fn silent_since_ms(&self, connection: &Connection) -> Option<i64> {
        self.silent.since_ms(connection)
    }

    /// The wall clock was set by so many milliseconds.
    pub(crate) fn shift_bindings(&mut self, step_ms: i64) {
        self.bindings.shift(step_ms);
    }

    /// A stream is no more.
    pub(crate) fn stream_closed(&mut self, stream: u64) {
        self.bindings.stream_closed(stream);
    }

    /// Whether `source` is one of the addresses a connection's peer sends from: those of its
    /// `connection-address`, else the one it registered from. `None` when that cannot be told: a name that has
    /// not been resolved yet, or no address and no registration.
    pub(crate) fn is_source_of(&self, connection: &Connection, source: IpAddr) -> Option<bool> {
        let source = source.to_canonical();
        match &connection.address {
            None => {
                let binding = self.binding(connection)?;
                Some(binding.received.ip().to_canonical() == source)
            }
            Some(Address { ip: Some(ip), .. }) => Some(ip.to_canonical() == source),
            Some(Address { host, .. }) => {
                let known = self.addresses.get(host.as_str())?;
                Some(known.iter().any(|ip| ip.to_canonical() == source))
            }
        }
    }

    /// Whether a record or a registration says that a peer is at this address. Its cost grows with the number of
    /// connections.
    pub(crate) fn is_address_of_a_peer(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.connections().any(|connection| {
            self.is_source_of(connection, source) == Some(true)
                || self
                    .binding(connection)
                    .is_some_and(|binding| binding.received.ip().to_canonical() == source)
        })
    }
}

fn header_of(connection: &Connection) -> usize {
    connection.record.connection_check_orig_matching_sip_header as usize
}

/// Connections by the host of a pattern. Patterns with a wildcard in the host stand in a list of their own,
/// which is short in practice.
#[derive(Debug, Default)]
struct HostIndex {
    by_host: HashMap<String, Vec<Arc<Connection>>>,
    any_host: Vec<Arc<Connection>>,
}

impl HostIndex {
    fn insert(&mut self, host: Option<&str>, connection: &Arc<Connection>) {
        match host {
            Some(host) => self
                .by_host
                .entry(host.to_owned())
                .or_default()
                .push(Arc::clone(connection)),
            None => self.any_host.push(Arc::clone(connection)),
        }
    }

    fn remove(&mut self, host: Option<&str>, connection: &Arc<Connection>) {
        let same = |other: &Arc<Connection>| Arc::ptr_eq(other, connection);
        match host {
            Some(host) => {
                if let Some(list) = self.by_host.get_mut(host) {
                    list.retain(|other| !same(other));
                    if list.is_empty() {
                        self.by_host.remove(host);
                    }
                }
            }
            None => self.any_host.retain(|other| !same(other)),
        }
    }

    fn candidates<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Arc<Connection>> {
        self.by_host
            .get(subject.host())
            .into_iter()
            .flatten()
            .chain(&self.any_host)
    }
}
