//! Live counters of all connections and domains, by key, and the monthly maxima of connections in the store.
//!
//! The call path does not come here: there every connection and every domain has its counters at hand.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::datetime::Month;
use model::{
    CallMaxima, ConnectionCounters, ConnectionKey, CountersNow, DomainCalls, DomainCounters,
};
use store::Store;
use tokio::sync::watch;
use tracing::warn;

use crate::shard::clock;

/// How often maxima that have changed are written: a crash loses no more than what was reached since. Also how late a
/// new month may begin on a connection where no call comes or goes.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// How many attempts the last ones get when the switch stops.
const LAST_ATTEMPTS: u32 = 3;

/// The counters of every connection and of every domain, the same ones for as long as it exists.
#[derive(Default)]
pub(crate) struct CounterBook {
    counters: Mutex<HashMap<String, OfDomain>>,
    /// Some counters were forgotten since this was looked at last.
    forgotten: AtomicBool,
    domains: Mutex<HashMap<String, Arc<DomainCounters>>>,
}

/// The counters of a domain's connections.
#[derive(Default)]
struct OfDomain {
    /// By orig pattern.
    connections: HashMap<String, Arc<ConnectionCounters>>,
    /// One of them has a new maximum.
    news: Arc<AtomicBool>,
}

impl OfDomain {
    fn of(&mut self, orig_match_pattern: &str) -> Arc<ConnectionCounters> {
        if let Some(known) = self.connections.get(orig_match_pattern) {
            return Arc::clone(known);
        }
        let counters = Arc::new(ConnectionCounters::with_news(Arc::clone(&self.news)));
        self.connections
            .insert(orig_match_pattern.to_owned(), Arc::clone(&counters));
        counters
    }
}

impl CounterBook {
    /// A book that begins with the maxima of earlier runs.
    pub(crate) fn with(maxima: &[CallMaxima]) -> Self {
        let book = Self::default();
        for one in maxima {
            book.of_key(&one.connection)
                .restore(one.month, one.this_month, one.last_month);
        }
        book
    }

    /// The counters of a connection.
    pub(crate) fn of(&self, connection: &model::Connection) -> Arc<ConnectionCounters> {
        self.of_key(&connection.key())
    }

    fn of_key(&self, key: &ConnectionKey) -> Arc<ConnectionCounters> {
        let mut book = self.lock();
        let of_domain = book.entry(key.domain.clone()).or_default();
        of_domain.of(&key.connection_orig_match_pattern)
    }

    /// A reading; zeros where no call ever was.
    pub(crate) fn now(&self, key: &ConnectionKey) -> CountersNow {
        self.get(key)
            .map(|counters| counters.now(month()))
            .unwrap_or_default()
    }

    /// The counters of a domain.
    pub(crate) fn of_domain(&self, domain: &str) -> Arc<DomainCounters> {
        Arc::clone(self.lock_domains().entry(domain.to_owned()).or_default())
    }

    /// The calls of a domain; none where none ever was.
    pub(crate) fn calls_of(&self, domain: &str) -> DomainCalls {
        let domains = self.lock_domains();
        domains
            .get(domain)
            .map(|counters| counters.now())
            .unwrap_or_default()
    }

    /// Forgets the counters of a domain that is gone, unless it still has calls up.
    pub(crate) fn forget_domain(&self, domain: &str) {
        self.lock_domains()
            .retain(|name, counters| name != domain || counters.now() != DomainCalls::default());
    }

    /// Forgets the counters of a domain's connections that are gone and carry no call.
    pub(crate) fn keep(&self, domain: &str, connections: &BTreeSet<ConnectionKey>) {
        let mut book = self.lock();
        let Some(of_domain) = book.get_mut(domain) else {
            return;
        };
        let patterns: HashSet<&str> = connections
            .iter()
            .map(|key| key.connection_orig_match_pattern.as_str())
            .collect();
        let before = of_domain.connections.len();
        of_domain.connections.retain(|pattern, counters| {
            patterns.contains(pattern.as_str()) || counters.current() != (0, 0)
        });
        if of_domain.connections.len() < before {
            self.forgotten.store(true, Ordering::Relaxed);
        }
        if of_domain.connections.is_empty() {
            book.remove(domain);
        }
    }

    /// The maxima of a month that are not what was written last. `all`: of every connection, for the month is new;
    /// otherwise of the domains that have news.
    fn news(&self, month: Month, written: &Written, all: bool) -> Vec<CallMaxima> {
        let book = self.lock();
        let mut changed = Vec::new();
        for (domain, of_domain) in &*book {
            if !of_domain.news.swap(false, Ordering::Acquire) && !all {
                continue;
            }
            for (pattern, counters) in &of_domain.connections {
                let now = counters.now(month);
                let maxima = (month, now.max_this_month, now.max_last_month);
                let key = ConnectionKey {
                    domain: domain.clone(),
                    connection_orig_match_pattern: pattern.clone(),
                };
                let is_news = match written.get(&key) {
                    Some(before) => *before != maxima,
                    // A connection that never carried a call needs no row.
                    None => (maxima.1, maxima.2) != (0, 0),
                };
                if is_news {
                    changed.push(CallMaxima {
                        connection: key,
                        month,
                        this_month: maxima.1,
                        last_month: maxima.2,
                    });
                }
            }
        }
        changed
    }

    /// These could not be written: they are news again.
    fn remind(&self, maxima: &[CallMaxima]) {
        let book = self.lock();
        for one in maxima {
            if let Some(of_domain) = book.get(&one.connection.domain) {
                of_domain.news.store(true, Ordering::Release);
            }
        }
    }

    /// The counters of a connection that is in the book.
    fn get(&self, key: &ConnectionKey) -> Option<Arc<ConnectionCounters>> {
        let book = self.lock();
        let of_domain = book.get(&key.domain)?;
        let counters = of_domain
            .connections
            .get(&key.connection_orig_match_pattern);
        counters.map(Arc::clone)
    }

    fn lock_domains(&self) -> MutexGuard<'_, HashMap<String, Arc<DomainCounters>>> {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, OfDomain>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn month() -> Month {
    Month::of(clock().unix_ms)
}

/// What the store has, as far as we know: of which month, the maximum in it and in the one before.
type Written = HashMap<ConnectionKey, (Month, u32, u32)>;

/// Writes maxima to the store as they grow.
pub(crate) struct MaximaKeeper {
    book: Arc<CounterBook>,
    store: Store,
    written: Written,
    /// Of which all maxima were looked at.
    month: Option<Month>,
}

impl MaximaKeeper {
    pub(crate) fn new(book: Arc<CounterBook>, store: Store, kept: Vec<CallMaxima>) -> Self {
        let known = |one: CallMaxima| (one.connection, (one.month, one.this_month, one.last_month));
        Self {
            book,
            store,
            written: kept.into_iter().map(known).collect(),
            month: None,
        }
    }

    /// Works until the other end of `stop` is dropped, and writes what is left.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<()>) {
        let mut ticks = tokio::time::interval(WRITE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => { self.write(month()).await; }
                _ = stop.changed() => break,
            }
        }
        for _ in 0..LAST_ATTEMPTS {
            if self.write(month()).await {
                return;
            }
        }
    }

    /// Writes what has changed. False when the store did not take it: it is tried again with the next.
    async fn write(&mut self, month: Month) -> bool {
        let all = self.month != Some(month);
        let changed = self.book.news(month, &self.written, all);
        self.month = Some(month);
        if changed.is_empty() {
            return true;
        }
        let batch = changed.clone();
        let result = self
            .store
            .write(move |writer| writer.keep_call_maxima(&batch))
            .await;
        if let Err(error) = result {
            warn!(%error, connections = changed.len(), "monthly maxima of calls cannot be stored yet");
            self.book.remind(&changed);
            return false;
        }
        for one in changed {
            let maxima = (one.month, one.this_month, one.last_month);
            self.written.insert(one.connection, maxima);
        }
        let book = &self.book;
        if book.forgotten.swap(false, Ordering::Relaxed) {
            self.written.retain(|key, _| book.get(key).is_some());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Actor, CallDirection, CallLimits, Connection, Domain};

    const MAY: Month = Month::from_number(676);
    const JUNE: Month = Month::from_number(677);

    fn trunk() -> Connection {
        Connection {
            domain: "d1".into(),
            connection_orig_match_pattern: "sip*@carrier".into(),
            ..Connection::default()
        }
    }

    async fn store() -> Store {
        let store = Store::open_in_memory().expect("store");
        let actor = Actor::system("test", 0);
        let records = move |writer: &mut store::Writer<'_>| {
            let domain = Domain {
                domain: "d1".into(),
                ..Domain::default()
            };
            writer.insert(&actor, domain)?;
            writer.insert(&actor, trunk())
        };
        store.write(records).await.expect("write");
        store
    }

    async fn kept(store: &Store) -> Vec<CallMaxima> {
        store
            .read(|reader| reader.call_maxima())
            .await
            .expect("read")
    }

    #[tokio::test]
    async fn maxima_are_kept_over_a_restart_and_go_with_their_connection() {
        let store = store().await;
        let book = Arc::new(CounterBook::default());
        let mut keeper = MaximaKeeper::new(Arc::clone(&book), store.clone(), Vec::new());
        let counters = book.of(&trunk());
        assert!(keeper.write(MAY).await);
        assert_eq!(kept(&store).await, [], "nothing to tell yet");
        for _ in 0..3 {
            let taken = counters.reserve(CallDirection::Term, CallLimits::default(), MAY);
            taken.expect("no limit");
        }
        assert!(keeper.write(MAY).await);
        let [row] = &kept(&store).await[..] else {
            panic!("one row")
        };
        assert_eq!((row.month, row.this_month, row.last_month), (MAY, 3, 0));

        // The process starts anew: no call is up, and the maximum is still known.
        let again = Arc::new(CounterBook::with(&kept(&store).await));
        let counters = again.of(&trunk());
        assert_eq!(counters.current(), (0, 0));
        let now = counters.now(MAY);
        assert_eq!((now.max_this_month, now.term_since_startup), (3, 0));
        let mut keeper = MaximaKeeper::new(Arc::clone(&again), store.clone(), kept(&store).await);
        assert!(keeper.write(JUNE).await);
        let [row] = &kept(&store).await[..] else {
            panic!("one row")
        };
        assert_eq!((row.month, row.this_month, row.last_month), (JUNE, 0, 3));

        let actor = Actor::system("test", 0);
        let delete = move |writer: &mut store::Writer<'_>| {
            writer.delete::<Connection>(&actor, &trunk().key())
        };
        store.write(delete).await.expect("delete");
        assert_eq!(kept(&store).await, []);
        // Calls that are still up on it leave nothing behind either.
        assert!(keeper.write(MAY).await);
        assert_eq!(kept(&store).await, []);
    }
}
