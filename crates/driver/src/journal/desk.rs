//! Between call control and the journal: what a turn changed, and calls that are over but for their record.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Journal;

/// How often is looked whether call records have reached the store.
const RECORDS_EVERY: Duration = Duration::from_millis(250);

/// The journal's desk of one shard. Without a journal it does nothing.
pub(crate) struct JournalDesk {
    pub(super) journal: Option<Journal>,
    /// Call records that this shard has handed out.
    handed_out: u64,
    /// How many of them need no call any more: the store has them, or the log.
    stored: Arc<AtomicU64>,
    /// Calls that are over, and which record has to be stored before they are forgotten. Crashed before that, a switch
    /// finds them in its journal and hands their records out again.
    over: VecDeque<(u64, u64)>,
}

impl JournalDesk {
    /// A desk for a shard; `stored` counts the call records of the shard that the store has.
    pub(crate) fn new(journal: Option<Journal>, stored: Arc<AtomicU64>) -> Self {
        Self {
            journal,
            handed_out: 0,
            stored,
            over: VecDeque::new(),
        }
    }

    /// The state of a call is now this.
    pub(crate) fn keep(&mut self, key: u64, state: &[u8]) {
        if let Some(journal) = &mut self.journal {
            journal.keep(key, state);
        }
    }

    /// Forgets a call as soon as all records that were handed out until now are stored.
    pub(crate) fn forget(&mut self, key: u64) {
        if self.journal.is_some() {
            self.over.push_back((self.handed_out, key));
        }
    }

    /// One more call record is on its way into the store.
    pub(crate) fn record_handed_out(&mut self) {
        self.handed_out += 1;
    }

    /// Writes what has changed. Nothing that follows from it may be sent before this returns.
    pub(crate) fn write(&mut self, now: Instant) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let stored = self.stored.load(Ordering::Acquire);
        while let Some((_, key)) = self.over.pop_front_if(|(record, _)| *record <= stored) {
            journal.forget(key);
        }
        journal.write(now);
    }

    /// How soon there is something to write although nothing changes.
    pub(crate) fn due_in(&self, now: Instant) -> Option<Duration> {
        let waits = (!self.over.is_empty()).then_some(RECORDS_EVERY);
        let due = self
            .journal
            .as_ref()
            .and_then(|journal| journal.due_in(now));
        [waits, due].into_iter().flatten().min()
    }
}
