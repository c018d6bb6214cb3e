//! Writes call records to the store without ever making a shard wait.
//!
//! Shards put records into a bounded queue; one thread takes them out, gathers them for up to a second and writes
//! them in one transaction. It sleeps meanwhile: only the first and the last record of a batch wake it. While the store fails, the thread keeps its batch and tries again, and the queue fills
//! up behind it. When it is full, records go to the log, whole, so that they can be brought in by hand: a call
//! that was made must leave a trace.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::Thread;
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
    /// Who writes.
    writer: Thread,
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
        let waiting = self.counts.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        let item = Item::Record(cdr, Arc::clone(&self.stored));
        match self.queue.try_send(item) {
            Ok(()) => {
                if waiting == BATCH_RECORDS {
                    self.writer.unpark();
                }
                return true;
            }
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
        write: impl FnMut(&[Arc<Cdr>]) -> Result<(), E> + Send + 'static,
        counts: Arc<CdrCounts>,
    ) -> io::Result<(CdrQueue, CdrWriter)> {
        let (queue, items) = sync_channel(QUEUE_RECORDS);
        let stopping = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            items,
            write,
            counts: Arc::clone(&counts),
            stopping: Arc::clone(&stopping),
            given_up: false,
        };
        let thread = thread::Builder::new()
            .name("cdr".into())
            .spawn(move || worker.run())?;
        let writer = CdrWriter {
            queue: queue.clone(),
            stopping,
            thread,
        };
        let queue = CdrQueue {
            queue,
            counts,
            stored: Arc::default(),
            writer: writer.thread.thread().clone(),
        };
        Ok((queue, writer))
    }

    /// Writes what was pushed before and ends.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        // It may be letting records gather.
        self.thread.thread().unpark();
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

impl<E: Display, W: FnMut(&[Arc<Cdr>]) -> Result<(), E>> Worker<W> {
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

    /// Fills `batch` with what has come when it is full, its time is up, or it is time to stop (then `true`).
    fn gather(&self, batch: &mut Vec<Arc<Cdr>>, receipts: &mut Vec<Arc<AtomicU64>>) -> bool {
        let mut take = |cdr: Box<Cdr>, stored| {
            batch.push(cdr.into());
            receipts.push(stored);
            receipts.len()
        };
        let mut gathered = match self.items.recv() {
            Ok(Item::Record(cdr, stored)) => take(cdr, stored),
            Ok(Item::Stop) | Err(_) => return true,
        };
        self.wait_for_company();
        while gathered < BATCH_RECORDS {
            match self.items.try_recv() {
                Ok(Item::Record(cdr, stored)) => gathered = take(cdr, stored),
                Ok(Item::Stop) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => break,
            }
        }
        false
    }

    /// Lets records gather. None of them wakes the thread, but for the one that makes the batch full: a call would
    /// pay for that with a system call and a change of threads.
    fn wait_for_company(&self) {
        let deadline = Instant::now() + BATCH_TIME;
        while self.counts.waiting.load(Ordering::Relaxed) < BATCH_RECORDS
            && !self.stopping.load(Ordering::Acquire)
        {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
    }

    /// Writes a batch, however long it takes; when the switch stops, gives up some time.
    fn store(&mut self, batch: &[Arc<Cdr>]) {
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
