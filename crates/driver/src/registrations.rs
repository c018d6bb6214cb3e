//! Registrations on their way out of the shards: to the other shards at once, to the log and the bus, and behind that
//! to the store.
//!
//! A shard never waits for any of it. One task takes the reports from a bounded queue, tells the other shards where a
//! peer is, and writes what gathered in a second in one unit of work. Of several reports about one registration only
//! the last is written. A crash loses at most what that second held: the peer refreshes, and we register anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::Bus;
use model::{ConnectionKey, Registration, RegistrationDirection, RegistrationEvent, datetime};
use store::{Store, StoreError};
use switch::DirectoryChange;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use crate::shards::{Mail, Shards};

/// Reports that wait for the task; at the rate shards register this is minutes.
const QUEUE_REPORTS: usize = 65_536;

/// The longest time a report waits for company before it is written.
const BATCH_TIME: Duration = Duration::from_secs(1);

/// How long to wait after a failure before the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// How many attempts the last reports get when the switch stops.
const LAST_ATTEMPTS: u32 = 3;

/// Counts for the metrics.
#[derive(Default)]
pub(crate) struct RegistrationCounts {
    /// Attempts of ours to register that failed.
    pub(crate) failed: AtomicU64,
    /// Reports lost because the queue was full.
    pub(crate) lost: AtomicU64,
}

/// The shards' end.
#[derive(Clone)]
pub(crate) struct RegistrationQueue {
    reports: mpsc::Sender<(u16, Registration)>,
    counts: Arc<RegistrationCounts>,
}

impl RegistrationQueue {
    /// Passes a report of a shard on.
    pub(crate) fn push(&self, shard: u16, report: Registration) {
        if matches!(report.event, RegistrationEvent::Failed { .. }) {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        if self.reports.try_send((shard, report)).is_err()
            && self.counts.lost.fetch_add(1, Ordering::Relaxed) == 0
        {
            error!("the queue of registrations is full; what it loses the next refresh brings");
        }
    }
}

type Key = (ConnectionKey, RegistrationDirection);

/// The task's end.
pub(crate) struct Keeper {
    reports: mpsc::Receiver<(u16, Registration)>,
    shards: Arc<Shards>,
    store: Store,
    bus: Bus,
    waiting: HashMap<Key, Registration>,
    /// When what waits is written.
    due: Option<Instant>,
    /// At most one batch.
    writing: JoinSet<(Vec<Registration>, Result<(), StoreError>)>,
}

impl Keeper {
    /// A queue and the task that empties it.
    pub(crate) fn new(
        store: Store,
        bus: Bus,
        shards: Arc<Shards>,
        counts: Arc<RegistrationCounts>,
    ) -> (RegistrationQueue, Self) {
        let (sender, reports) = mpsc::channel(QUEUE_REPORTS);
        let queue = RegistrationQueue {
            reports: sender,
            counts,
        };
        let keeper = Self {
            reports,
            shards,
            store,
            bus,
            waiting: HashMap::new(),
            due: None,
            writing: JoinSet::new(),
        };
        (queue, keeper)
    }

    /// Works until all shards have ended, and writes what is left.
    pub(crate) async fn run(mut self) {
        loop {
            // Polled only where there is one; any instant does otherwise.
            let due = self.due.unwrap_or_else(Instant::now);
            tokio::select! {
                report = self.reports.recv() => match report {
                    Some((shard, report)) => self.take(shard, report).await,
                    None => break,
                },
                () = sleep_until(due), if self.due.is_some() && self.writing.is_empty() => self.write(),
                Some(written) = self.writing.join_next() => {
                    if let Ok((batch, result)) = written {
                        self.written(batch, result);
                    }
                }
            }
        }
        for _ in 0..LAST_ATTEMPTS {
            if self.writing.is_empty() {
                if self.waiting.is_empty() {
                    return;
                }
                self.write();
            }
            if let Some(Ok((batch, result))) = self.writing.join_next().await {
                self.written(batch, result);
            }
        }
    }

    async fn take(&mut self, shard: u16, report: Registration) {
        log(&report);
        if let Some(change) = told(&report) {
            for other in (0..self.shards.count()).filter(|other| *other != usize::from(shard)) {
                let (applied, _) = oneshot::channel();
                let changes = vec![change.clone()];
                self.shards
                    .send(other, Mail::Directory { changes, applied })
                    .await;
            }
        }
        let event = bus::Event::Registration(Arc::new(report.clone()));
        self.bus.emit(event);
        if !matches!(report.event, RegistrationEvent::Failed { .. }) {
            self.waiting
                .insert((report.connection.clone(), report.direction), report);
            self.due.get_or_insert(Instant::now() + BATCH_TIME);
        }
    }

    fn write(&mut self) {
        self.due = None;
        let batch: Vec<Registration> = self.waiting.drain().map(|(_, report)| report).collect();
        let store = self.store.clone();
        self.writing.spawn(async move {
            let reports = batch.clone();
            let result = store
                .write(move |writer| writer.keep_registrations(&reports))
                .await;
            (batch, result)
        });
    }

    fn written(&mut self, batch: Vec<Registration>, result: Result<(), StoreError>) {
        let Err(error) = result else { return };
        warn!(%error, registrations = batch.len(), "registrations cannot be stored yet");
        for report in batch {
            // What came meanwhile is newer.
            let key = (report.connection.clone(), report.direction);
            self.waiting.entry(key).or_insert(report);
        }
        self.due = Some(Instant::now() + RETRY);
    }
}

/// What the other shards have to know of a report.
fn told(report: &Registration) -> Option<DirectoryChange> {
    let binding = match (report.direction, &report.event) {
        (RegistrationDirection::Inbound, RegistrationEvent::Registered { binding, .. }) => {
            Some(Arc::new(binding.clone()?))
        }
        (RegistrationDirection::Inbound, RegistrationEvent::Ended(_)) => None,
        _ => return None,
    };
    Some(DirectoryChange::Binding {
        connection: report.connection.clone(),
        binding,
    })
}

fn log(report: &Registration) {
    let direction = report.direction.as_str();
    let domain = &report.connection.domain;
    let connection = &report.connection.connection_orig_match_pattern;
    match &report.event {
        RegistrationEvent::Registered {
            expires_ms,
            binding,
            new,
        } => {
            let until = datetime::format_utc(*expires_ms);
            let contact = binding.as_ref().map(|binding| binding.contact.as_str());
            let from = binding.as_ref().map(|binding| binding.received.to_string());
            if *new {
                info!(
                    direction,
                    domain, connection, until, contact, from, "registered"
                );
            } else {
                debug!(
                    direction,
                    domain, connection, until, "registration refreshed"
                );
            }
        }
        RegistrationEvent::Failed {
            status,
            retry_seconds,
        } => {
            warn!(
                direction,
                domain, connection, status, retry_seconds, "registration failed"
            );
        }
        RegistrationEvent::Ended(why) => {
            info!(direction, domain, connection, %why, "registration ended");
        }
    }
}
