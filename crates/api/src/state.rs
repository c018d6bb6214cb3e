//! What every handler needs: the store, the bus, the clock and the limits.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use bus::{Answer, Bus, Question};
use jiff::Timestamp;
use model::{
    ApiKey, ConnectionKey, CountersNow, Domain, DomainCalls, ExplainRequest, Explanation, PeerState,
};
use store::{LAST_USED_GRAIN_MS, Reader, Store, Writer};
use tokio::sync::Semaphore;

use crate::errors::ApiError;
use crate::limits::{Failures, KeyRate, REQUEST_BURST, REQUESTS_PER_SECOND};

/// Writes of "last used" under way at once; more are left for a later request of the key.
const MAX_USE_WRITES: usize = 4;
/// Keys whose hour of last use is remembered.
const MAX_USES: usize = 20_000;

/// What the binary decides.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Name of this machine, as `/version` tells it.
    pub hostname: String,
    /// Whether a second address is configured, so that connections may bind to it.
    pub has_alternate_interface: bool,
    /// Requests per second one key may make over a longer time.
    pub requests_per_second: NonZeroU32,
    /// Requests one key may make at once after a pause.
    pub request_burst: NonZeroU32,
}

impl ApiConfig {
    /// The usual limits, and no second address.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            has_alternate_interface: false,
            requests_per_second: REQUESTS_PER_SECOND,
            request_burst: REQUEST_BURST,
        }
    }
}

/// Shared by all requests; clones are cheap.
#[derive(Clone)]
pub struct ApiState {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    bus: Bus,
    config: ApiConfig,
    clock: fn() -> i64,
    failures: Failures,
    key_rate: KeyRate,
    /// Hour of last use per key, as far as it is known to be stored.
    uses: Mutex<HashMap<String, i64>>,
    use_writes: Arc<Semaphore>,
}

impl ApiState {
    /// A state over a store and a bus.
    pub fn new(store: Store, bus: Bus, config: ApiConfig) -> Self {
        Self::with_clock(store, bus, config, || Timestamp::now().as_millisecond())
    }

    /// The same with a clock of its own: milliseconds since the Unix epoch.
    pub fn with_clock(store: Store, bus: Bus, config: ApiConfig, clock: fn() -> i64) -> Self {
        Self {
            inner: Arc::new(Inner {
                key_rate: KeyRate::new(config.requests_per_second, config.request_burst),
                store,
                bus,
                config,
                clock,
                failures: Failures::default(),
                uses: Mutex::default(),
                use_writes: Arc::new(Semaphore::new(MAX_USE_WRITES)),
            }),
        }
    }

    pub(crate) fn hostname(&self) -> &str {
        &self.inner.config.hostname
    }

    pub(crate) fn has_alternate_interface(&self) -> bool {
        self.inner.config.has_alternate_interface
    }

    pub(crate) fn now_ms(&self) -> i64 {
        (self.inner.clock)()
    }

    pub(crate) fn failures(&self) -> &Failures {
        &self.inner.failures
    }

    pub(crate) fn key_rate(&self) -> &KeyRate {
        &self.inner.key_rate
    }

    /// Reads records.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&Reader<'c>) -> store::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        Ok(self.inner.store.read(work).await?)
    }

    /// Writes records, and returns when they are durable and every part of the switch has applied them:
    /// the next call obeys.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&mut Writer<'c>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let written = self.inner.store.transact(work).await?;
        for change in written.changes {
            self.inner.bus.publish(change).await.map_err(|error| {
                tracing::error!(%error, "a stored change was not applied everywhere");
                ApiError::unavailable(
                    "The change is stored, but a part of the switch has not applied it yet.",
                )
            })?;
        }
        Ok(written.value)
    }

    /// The key with this hash, read anew for every request: a revoked one is gone at once.
    pub(crate) async fn find_key(&self, hash: String) -> Result<Option<ApiKey>, ApiError> {
        self.read(move |reader| reader.api_key_by_hash(&hash)).await
    }

    pub(crate) async fn find_domain(&self, name: &str) -> Result<Option<Domain>, ApiError> {
        let name = name.to_owned();
        self.read(move |reader| reader.read(&name)).await
    }

    /// Remembers the hour of last use, behind the request. When too much is being written already, the next
    /// request of the key tries again.
    pub(crate) fn note_use(&self, key: &ApiKey, now_ms: i64) {
        let hour = now_ms - now_ms.rem_euclid(LAST_USED_GRAIN_MS);
        {
            let mut uses = self
                .inner
                .uses
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if uses.get(&key.key_id) == Some(&hour) {
                return;
            }
            if uses.len() >= MAX_USES {
                uses.retain(|_, known| *known == hour);
            }
            if uses.len() >= MAX_USES {
                return;
            }
            let Ok(permit) = self.inner.use_writes.clone().try_acquire_owned() else {
                return;
            };
            uses.insert(key.key_id.clone(), hour);
            drop(uses);
            let store = self.inner.store.clone();
            let key_id = key.key_id.clone();
            tokio::spawn(async move {
                if let Err(error) = store
                    .write(move |writer| writer.touch_api_key(&key_id, hour))
                    .await
                {
                    tracing::warn!(%error, "the hour of a key's last use was not stored");
                }
                drop(permit);
            });
        }
    }

    /// Live counters of connections, in the order of the keys; empty when the switch does not answer.
    pub(crate) async fn counters(&self, connections: Vec<ConnectionKey>) -> Vec<CountersNow> {
        match self.inner.bus.ask(Question::Counters(connections)).await {
            Ok(Answer::Counters(counters)) => counters,
            _ => Vec::new(),
        }
    }

    /// Calls of domains, in the order of the names; empty when the switch does not answer.
    pub(crate) async fn domain_calls(&self, domains: Vec<String>) -> Vec<DomainCalls> {
        match self.inner.bus.ask(Question::DomainCalls(domains)).await {
            Ok(Answer::DomainCalls(calls)) => calls,
            _ => Vec::new(),
        }
    }

    /// How it stands with the peers of connections, in the order of the keys.
    pub(crate) async fn peers(
        &self,
        connections: Vec<ConnectionKey>,
    ) -> Result<Vec<PeerState>, ApiError> {
        match self.inner.bus.ask(Question::Peers(connections)).await {
            Ok(Answer::Peers(states)) => Ok(states),
            _ => Err(ApiError::unavailable(
                "The part of the switch that looks after peers does not answer.",
            )),
        }
    }

    /// The decision path of a call.
    pub(crate) async fn explain(&self, request: ExplainRequest) -> Result<Explanation, ApiError> {
        match self.inner.bus.ask(Question::Explain(request)).await {
            Ok(Answer::Explain(explanation)) => Ok(*explanation),
            _ => Err(ApiError::unavailable(
                "The part of the switch that explains calls does not answer.",
            )),
        }
    }
}
