//! Writes call records to the store without ever making a shard wait.
//!
//! Shards put records into a bounded queue; one thread takes them out, gathers them for up to a second and writes
//! them in one transaction. While the store fails, the thread keeps its batch and tries again, and the queue fills
//! up behind it. When it is full, records go to the log, whole, so that they can be brought in by hand: a call
//! that was made must leave a trace.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use model::Cdr;
use tracing::{error, info, warn};

/// Records waiting to be written: a minute at a thousand calls a second.
const QUEUE_RECORDS: usize = 65_536;

/// Records per transaction.
const BATCH_RECORDS: usize = 1024;

/// The longest time a record waits for company.
const BATCH_TIME: Duration = Duration::from_secs(1);

/// How long to wait after a failure before the next attempt.
const RETRY: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 1_000 });

/// How many attempts the last batches get when the switch stops.
const LAST_ATTEMPTS: u32 = 5;

/// Attempts between two lines in the log: a disk that is full all night should not fill the log as well.
const ATTEMPTS_PER_LINE: u64 = 60;

/// Counts for the metrics.
#[derive(Default)]
pub(crate) struct CdrCounts {
    /// Records waiting now.
    pub(crate) waiting: AtomicUsize,
    /// Records in the store.
    pub(crate) written: AtomicU64,
    /// Records that only the log has.
    pub(crate) logged: AtomicU64,
    /// Attempts to write that failed.
    pub(crate) failures: AtomicU64,
}

/// The shards' end.
#[derive(Clone)]
pub(crate) struct CdrQueue {
    queue: SyncSender<Item>,
    counts: Arc<CdrCounts>,
    stored: Arc<AtomicU64>,
}

enum Item {
    /// A record, and where to count it when nothing can happen to it any more.
    Record(Box<Cdr>, Arc<AtomicU64>),
    Stop,
}

impl CdrQueue {
    /// The same queue for another shard, whose records are counted apart: see [`stored`](Self::stored).
    pub(crate) fn of_another_shard(&self) -> Self {
        Self {
            stored: Arc::default(),
            ..self.clone()
        }
    }

    /// How many of the records pushed here are in the store. Records are stored in their order.
    pub(crate) fn stored(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.stored)
    }

    /// Passes a record on. `false` when only the log has it.
    pub(crate) fn push(&self, cdr: Box<Cdr>) -> bool {
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        let item = Item::Record(cdr, Arc::clone(&self.stored));
        match self.queue.try_send(item) {
            Ok(()) => return true,
            Err(
                TrySendError::Full(Item::Record(cdr, _))
                | TrySendError::Disconnected(Item::Record(cdr, _)),
            ) => {
                self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
                log(&self.counts, &cdr, "the queue of call records is full");
            }
            Err(_) => {}
        }
        false
    }
}

/// The writing end.
pub(crate) struct CdrWriter {
    queue: SyncSender<Item>,
    stopping: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl CdrWriter {
    /// Starts the thread; `write` stores a batch durably or says why not.
    pub(crate) fn start<E: Display>(
        write: impl FnMut(&[Cdr]) -> Result<(), E> + Send + 'static,
        counts: Arc<CdrCounts>,
    ) -> io::Result<(CdrQueue, CdrWriter)> {
        let (queue, items) = sync_channel(QUEUE_RECORDS);
        let queue = CdrQueue {
            queue,
            counts: Arc::clone(&counts),
            stored: Arc::default(),
        };
        let stopping = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            items,
            write,
            counts,
            stopping: Arc::clone(&stopping),
            given_up: false,
        };
        let thread = thread::Builder::new()
            .name("cdr".into())
            .spawn(move || worker.run())?;
        let writer = CdrWriter {
            queue: queue.queue.clone(),
            stopping,
            thread,
        };
        Ok((queue, writer))
    }

    /// Writes what was pushed before and ends.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Waits while the queue is full; fails only when the thread has ended already.
        let _ = self.queue.send(Item::Stop);
        if self.thread.join().is_err() {
            error!("the writer of call records had panicked");
        }
    }
}

struct Worker<W> {
    items: Receiver<Item>,
    write: W,
    counts: Arc<CdrCounts>,
    /// The switch stops: a batch that cannot be stored must not keep it for ever.
    stopping: Arc<AtomicBool>,
    /// The last attempts were in vain. What comes after goes straight to the log.
    given_up: bool,
}

impl<E: Display, W: FnMut(&[Cdr]) -> Result<(), E>> Worker<W> {
    fn run(mut self) {
        let mut stopping = false;
        while !stopping {
            let (mut batch, mut receipts) = (Vec::new(), Vec::new());
            stopping = self.gather(&mut batch, &mut receipts);
            if !batch.is_empty() {
                self.store(&batch);
                for stored in receipts {
                    stored.fetch_add(1, Ordering::Release);
                }
                self.counts
                    .waiting
                    .fetch_sub(batch.len(), Ordering::Relaxed);
            }
        }
    }

    /// Fills `batch` until it is full, its time is up, or it is time to stop (then `true`).
    fn gather(&self, batch: &mut Vec<Cdr>, receipts: &mut Vec<Arc<AtomicU64>>) -> bool {
        let mut take = |cdr: Box<Cdr>, stored| {
            batch.push(*cdr);
            receipts.push(stored);
            receipts.len()
        };
        let mut gathered = match self.items.recv() {
            Ok(Item::Record(cdr, stored)) => take(cdr, stored),
            Ok(Item::Stop) | Err(_) => return true,
        };
        let deadline = Instant::now() + BATCH_TIME;
        while gathered < BATCH_RECORDS {
            match self
                .items
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(Item::Record(cdr, stored)) => gathered = take(cdr, stored),
                Ok(Item::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        false
    }

    /// Writes a batch, however long it takes; when the switch stops, gives up some time.
    fn store(&mut self, batch: &[Cdr]) {
        let mut last_attempts = 0;
        for attempt in 1_u64.. {
            if self.stopping.load(Ordering::Relaxed) {
                last_attempts += 1;
            }
            if self.given_up || last_attempts > LAST_ATTEMPTS {
                break;
            }
            match (self.write)(batch) {
                Ok(()) => {
                    if attempt > 1 {
                        info!(records = batch.len(), "call records are stored again");
                    }
                    self.counts
                        .written
                        .fetch_add(batch.len() as u64, Ordering::Relaxed);
                    return;
                }
                Err(error) => {
                    self.counts.failures.fetch_add(1, Ordering::Relaxed);
                    if attempt % ATTEMPTS_PER_LINE == 1 {
                        let waiting = self.counts.waiting.load(Ordering::Relaxed);
                        warn!(%error, waiting, attempt, "call records cannot be stored yet");
                    }
                }
            }
            thread::sleep(RETRY);
        }
        self.given_up = true;
        for cdr in batch {
            log(&self.counts, cdr, "the switch stops while the store fails");
        }
    }
}

/// Leaves a record in the log, complete.
fn log(counts: &CdrCounts, cdr: &Cdr, why: &str) {
    counts.logged.fetch_add(1, Ordering::Relaxed);
    let record = serde_json::to_string(cdr).unwrap_or_else(|_| format!("{cdr:?}"));
    error!(why, record, "call record not stored");
}

#[cfg(test)]
mod tests;
