//! From the store to the shards: the directory, kept up to date.
//!
//! A change on the bus names a domain. Its records are read anew, built into a part, and handed to all shards; the
//! change is acknowledged when every shard has put the part in place, so whoever published it knows that the next
//! call obeys. What could not be read is tried again until it can.
//!
//! Connections may name their peer's host. Such names are looked up here, ahead of any call, so that a shard can tell
//! by a table whether a request comes from the peer.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::{Delivery, Subscription};
use model::Change;
use sip::resolve::Target;
use store::{DomainRecords, Store, StoreError};
use switch::directory::SYSTEM;
use switch::{DirectoryChange, DomainPart};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::counters::CounterBook;
use crate::dns::Dns;
use crate::shards::{Mail, Shards};

/// How soon a domain that could not be read is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often host names of peers are looked up again. The DNS cache answers while the records hold.
const REFRESH: Duration = Duration::from_secs(30);

/// Host names of peers that are kept up to date; connections beyond that are checked by digest alone.
const HOSTS_MAX: usize = 20_000;

/// Host names that are looked up at one time.
const HOSTS_AT_ONCE: usize = 32;

/// Builds a domain's part, or says that there is nothing left of it.
pub(crate) fn build(
    domain: &str,
    records: DomainRecords,
    counters: &CounterBook,
) -> DirectoryChange {
    if records.domain.is_none() && domain != SYSTEM {
        counters.keep(domain, &BTreeSet::new());
        counters.forget_domain(domain);
        return DirectoryChange::Remove(domain.to_owned());
    }
    let keys = records.connections.iter().map(model::Connection::key);
    counters.keep(domain, &keys.collect());
    let DomainRecords {
        domain: record,
        connections,
        dial_plans,
        dial_rules,
        dial_policies,
        permissions,
        routes,
        route_connections,
    } = records;
    let of = |connection: &model::Connection| counters.of(connection);
    let (mut part, mut problems) =
        DomainPart::build(domain, record, connections, dial_plans, dial_rules, of);
    part.counters = counters.of_domain(domain);
    problems.extend(part.add_policies(dial_policies, permissions));
    problems.extend(part.add_routes(routes, route_connections));
    for problem in problems {
        warn!(%problem, "a record cannot be used and is left out");
    }
    DirectoryChange::Swap(Arc::new(part))
}

/// Keeps the shards' directories up to date; see the module.
pub(crate) struct Feed {
    store: Store,
    shards: Arc<Shards>,
    dns: Dns,
    counters: Arc<CounterBook>,
    swaps: Arc<AtomicU64>,
    /// Domains the shards know.
    known: BTreeSet<String>,
    /// Domains that could not be read.
    stale: BTreeSet<String>,
    /// Host names of peers by domain, with the port that was written.
    hosts: HashMap<String, BTreeSet<(String, Option<u16>)>>,
    /// Of these, the ones whose turn to be looked up is to come.
    queue: BTreeSet<(String, Option<u16>)>,
    lookups: JoinSet<(String, Vec<std::net::IpAddr>)>,
    seed: u64,
}

impl Feed {
    /// A feed that has told nobody anything yet.
    pub(crate) fn new(
        store: Store,
        shards: Arc<Shards>,
        dns: Dns,
        counters: Arc<CounterBook>,
        swaps: Arc<AtomicU64>,
        seed: u64,
    ) -> Self {
        Self {
            store,
            shards,
            dns,
            counters,
            swaps,
            known: BTreeSet::new(),
            stale: BTreeSet::new(),
            hosts: HashMap::new(),
            queue: BTreeSet::new(),
            lookups: JoinSet::new(),
            seed,
        }
    }

    /// The whole directory, for shards that are about to start.
    pub(crate) async fn load(&mut self) -> Result<Vec<DirectoryChange>, StoreError> {
        let mut changes = Vec::new();
        for domain in self.domains().await? {
            let records = self.store.domain_part(domain.as_str()).await?;
            changes.push(self.built(&domain, records));
        }
        Ok(changes)
    }

    /// Serves changes until the bus or the shards are gone.
    pub(crate) async fn run(mut self, mut subscription: Subscription) {
        let mut refresh = tokio::time::interval(REFRESH);
        let mut retry = tokio::time::interval(RETRY);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.look_up_hosts();
            tokio::select! {
                delivery = subscription.next() => match delivery {
                    Some(delivery) => self.delivered(delivery).await,
                    None => return,
                },
                _ = refresh.tick() => self.queue = self.all_hosts(),
                _ = retry.tick() => self.retry().await,
                Some(found) = self.lookups.join_next() => {
                    if let Ok((host, addresses)) = found {
                        self.resolved(host, addresses).await;
                    }
                }
            }
        }
    }

    async fn delivered(&mut self, delivery: Delivery) {
        if !delivery.change.concerns_calls() {
            return delivery.done();
        }
        let applied = match &delivery.change {
            Change::Everything => self.reload().await,
            Change::RegistrationEnds {
                connection,
                unix_ms,
            } => {
                let connection = connection.clone();
                self.apply(vec![DirectoryChange::BindingEnds {
                    connection,
                    unix_ms: *unix_ms,
                }])
                .await;
                Ok(())
            }
            change => self.swap(change.domain().to_owned()).await,
        };
        match applied {
            Ok(()) => delivery.done(),
            // Letting the delivery fall says that the change is not in force; the retry will make it so.
            Err(error) => error!(%error, "changed records cannot be read"),
        }
    }

    async fn retry(&mut self) {
        for domain in std::mem::take(&mut self.stale) {
            if let Err(error) = self.swap(domain).await {
                warn!(%error, "changed records still cannot be read");
            }
        }
    }

    async fn reload(&mut self) -> Result<(), StoreError> {
        let mut domains: BTreeSet<_> = self.domains().await?.into_iter().collect();
        domains.extend(self.known.iter().cloned());
        info!(domains = domains.len(), "reading all records anew");
        for domain in domains {
            self.swap(domain).await?;
        }
        Ok(())
    }

    /// Reads one domain anew and puts it in place everywhere.
    async fn swap(&mut self, domain: String) -> Result<(), StoreError> {
        let records = match self.store.domain_part(domain.as_str()).await {
            Ok(records) => records,
            Err(error) => {
                self.stale.insert(domain);
                return Err(error);
            }
        };
        let change = self.built(&domain, records);
        self.apply(vec![change]).await;
        self.swaps.fetch_add(1, Ordering::Relaxed);
        self.queue
            .extend(self.hosts.get(&domain).into_iter().flatten().cloned());
        Ok(())
    }

    /// Hands changes to all shards and waits until all have taken them.
    async fn apply(&self, changes: Vec<DirectoryChange>) {
        let mut waiting = Vec::with_capacity(self.shards.count());
        for shard in 0..self.shards.count() {
            let (applied, done) = oneshot::channel();
            let changes = changes.clone();
            if self
                .shards
                .send(shard, Mail::Directory { changes, applied })
                .await
            {
                waiting.push(done);
            }
        }
        for done in waiting {
            // A shard that stopped meanwhile needs no directory.
            let _ = done.await;
        }
    }

    fn built(&mut self, domain: &str, records: DomainRecords) -> DirectoryChange {
        let change = build(domain, records, &self.counters);
        if let DirectoryChange::Swap(part) = &change {
            let addresses = part
                .connections
                .iter()
                .filter_map(|connection| connection.address.as_ref());
            let names = addresses.filter(|address| address.ip.is_none());
            let hosts = names
                .map(|address| (address.host.clone(), address.port))
                .collect();
            self.hosts.insert(domain.to_owned(), hosts);
            self.known.insert(domain.to_owned());
        } else {
            self.hosts.remove(domain);
            self.known.remove(domain);
        }
        change
    }

    async fn domains(&self) -> Result<Vec<String>, StoreError> {
        let mut domains = self.store.all_domains().await?;
        domains.push(SYSTEM.to_owned());
        Ok(domains)
    }

    fn all_hosts(&self) -> BTreeSet<(String, Option<u16>)> {
        self.hosts
            .values()
            .flatten()
            .take(HOSTS_MAX)
            .cloned()
            .collect()
    }

    /// Starts as many look-ups as may run; what they find comes back through the loop.
    fn look_up_hosts(&mut self) {
        while self.lookups.len() < HOSTS_AT_ONCE {
            let Some((host, port)) = self.queue.pop_first() else {
                return;
            };
            let (dns, seed) = (self.dns.clone(), self.seed);
            self.lookups.spawn(async move {
                // A peer sends from the servers that its SRV records name, or from the host itself: both count.
                let service = Target {
                    port,
                    ..Target::host(host.as_str())
                };
                let itself = Target {
                    port: Some(port.unwrap_or(5060)),
                    ..Target::host(host.as_str())
                };
                let mut addresses = dns.addresses(service, seed).await;
                addresses.extend(dns.addresses(itself, seed).await);
                addresses.sort();
                addresses.dedup();
                (host, addresses)
            });
        }
    }

    /// Tells the shards. A look-up that found nothing changes nothing: the last addresses are the best guess.
    async fn resolved(&mut self, host: String, addresses: Vec<std::net::IpAddr>) {
        if addresses.is_empty() {
            warn!(host, "the host of a connection cannot be resolved");
            return;
        }
        let addresses = addresses.into();
        self.apply(vec![DirectoryChange::Addresses { host, addresses }])
            .await;
    }
}

#[cfg(test)]
mod tests;
