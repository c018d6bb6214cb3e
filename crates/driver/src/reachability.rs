//! Which peers answer, on its way out of the shard that asks: to the other shards, to the log, to whoever listens on
//! the bus. A shard never waits for any of it, and nothing of it is stored: a start asks anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bus::Bus;
use model::{Reachability, ReachabilityState};
use switch::DirectoryChange;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

use crate::shards::{Mail, Shards};

/// Reports that wait for the task: more than one shard has connections to ask, so that even the loss of the whole
/// network fits.
const QUEUE_REPORTS: usize = 65_536;

/// The shards' end.
#[derive(Clone)]
pub(crate) struct ReachabilityQueue {
    reports: mpsc::Sender<(u16, Reachability)>,
    /// Reports lost because the queue was full.
    lost: Arc<AtomicU64>,
}

impl ReachabilityQueue {
    /// Passes a report of a shard on.
    pub(crate) fn push(&self, shard: u16, report: Reachability) {
        if self.reports.try_send((shard, report)).is_err()
            && self.lost.fetch_add(1, Ordering::Relaxed) == 0
        {
            error!("the queue of reachability is full; shards may disagree on who is down");
        }
    }
}

/// The task's end.
pub(crate) struct Herald {
    reports: mpsc::Receiver<(u16, Reachability)>,
    shards: Arc<Shards>,
    bus: Bus,
}

impl Herald {
    /// A queue and the task that empties it.
    pub(crate) fn new(
        shards: Arc<Shards>,
        bus: Bus,
        lost: Arc<AtomicU64>,
    ) -> (ReachabilityQueue, Self) {
        let (sender, reports) = mpsc::channel(QUEUE_REPORTS);
        let queue = ReachabilityQueue {
            reports: sender,
            lost,
        };
        let herald = Self {
            reports,
            shards,
            bus,
        };
        (queue, herald)
    }

    /// Works until all shards have ended.
    pub(crate) async fn run(mut self) {
        while let Some((shard, report)) = self.reports.recv().await {
            log(&report);
            let change = DirectoryChange::Silent {
                connection: report.connection.clone(),
                since_ms: (report.state == ReachabilityState::Down).then_some(report.at_ms),
            };
            for other in (0..self.shards.count()).filter(|other| *other != usize::from(shard)) {
                let (applied, _) = oneshot::channel();
                let changes = vec![change.clone()];
                self.shards
                    .send(other, Mail::Directory { changes, applied })
                    .await;
            }
            self.bus.emit(bus::Event::Reachability(Arc::new(report)));
        }
    }
}

fn log(report: &Reachability) {
    let domain = &report.connection.domain;
    let connection = &report.connection.connection_orig_match_pattern;
    let status = report.status;
    match report.state {
        ReachabilityState::Down => {
            warn!(
                domain,
                connection, status, "the peer does not answer OPTIONS any more"
            );
        }
        ReachabilityState::Up => info!(domain, connection, status, "the peer answers OPTIONS"),
        ReachabilityState::Unknown => {
            debug!(
                domain,
                connection, "whether the peer answers is not known any more"
            );
        }
    }
}
