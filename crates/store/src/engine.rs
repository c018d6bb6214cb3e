//! Threads around SQLite: one that writes, a few that read.
//!
//! The writer takes whatever units of work are waiting, runs each inside a savepoint, and commits them
//! together: one flush to the disk pays for many writes. Nobody hears of success before that flush. A
//! unit that fails or panics is rolled back alone.

use crate::error::{Result, StoreError};
use crate::session::{Reader, Writer};
use rusqlite::Connection;
use std::any::Any;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Units of work that may wait for the writer; more are refused with [`StoreError::Busy`].
pub const MAX_WRITES_QUEUED: usize = 1024;
/// Units of work that may wait for the readers; more are refused with [`StoreError::Busy`].
pub const MAX_READS_QUEUED: usize = 1024;
/// Most units of work in one commit, so that the first of them does not wait for ever.
pub const MAX_WRITES_PER_COMMIT: usize = 256;
/// Threads that read.
pub const READER_THREADS: usize = 2;

/// A unit of work for the writer: does it, and says how its caller is told once the commit is decided.
/// It gets an error instead of a writer when no transaction could be begun.
pub(crate) type WriteJob =
    Box<dyn for<'a, 'c> FnOnce(Result<&'a mut Writer<'c>>) -> Completion + Send>;
/// A unit of work for a reader; it answers its caller itself.
pub(crate) type ReadJob = Box<dyn for<'a, 'c> FnOnce(Result<&'a Reader<'c>>) + Send>;

/// How a unit of work went, before the commit.
pub(crate) struct Completion {
    /// Whether what it wrote stays.
    pub(crate) keep: bool,
    /// Tells the caller how the commit went.
    pub(crate) tell: Box<dyn FnOnce(Result<()>) + Send>,
}

/// The file of a database, told from any other that may come to stand in its place.
#[derive(Debug)]
pub(crate) struct Identity {
    path: PathBuf,
    #[cfg(unix)]
    device_and_number: (u64, u64),
}

impl Identity {
    /// Of the file that stands there now.
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let path = path.canonicalize()?;
        Ok(Self {
            #[cfg(unix)]
            device_and_number: device_and_number(&path)?,
            path,
        })
    }

    /// Whether it still stands there. A file that was removed can be written all the same, and is gone with the process
    /// that has it open.
    fn check(&self) -> Result<()> {
        #[cfg(unix)]
        if device_and_number(&self.path).ok() != Some(self.device_and_number) {
            return Err(StoreError::Gone {
                path: self.path.clone(),
            });
        }
        Ok(())
    }
}

#[cfg(unix)]
fn device_and_number(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

enum Work<J> {
    Job(J),
    Stop,
}

/// What the threads work with.
pub(crate) struct Connections {
    /// Absent when the database is only read.
    pub(crate) writer: Option<Connection>,
    /// Empty for a database in memory, which has one connection.
    pub(crate) readers: Vec<Connection>,
    /// Keeps other processes out; let go when the writer ends.
    pub(crate) lock: Option<File>,
    /// Which file it is; none for a database in memory, or one that is only read.
    pub(crate) file: Option<Identity>,
}

/// The queues of the threads, and the threads themselves for as long as nobody closed them.
pub(crate) struct Engine {
    /// Absent when the database is only read.
    writes: Option<SyncSender<Work<WriteJob>>>,
    /// Absent for a database in memory: reads go to the writer then.
    reads: Option<SyncSender<Work<ReadJob>>>,
    reader_threads: Mutex<Vec<JoinHandle<()>>>,
    writer_thread: Mutex<Option<JoinHandle<()>>>,
    /// The last commit that counted has failed.
    failing: Arc<AtomicBool>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Starts the threads.
    pub(crate) fn start(connections: Connections) -> std::io::Result<Self> {
        let Connections {
            writer,
            readers,
            lock,
            file,
        } = connections;
        let mut engine = Self {
            writes: None,
            reads: None,
            reader_threads: Mutex::default(),
            writer_thread: Mutex::default(),
            failing: Arc::default(),
        };
        if let Some(writer) = writer {
            let (sender, queue) = sync_channel(MAX_WRITES_QUEUED);
            engine.writes = Some(sender);
            let failing = Arc::clone(&engine.failing);
            engine.writer_thread = Mutex::new(Some(spawn("store-writer", move || {
                run_writer(&writer, &queue, file.as_ref(), &failing);
                finish(writer);
                drop(lock);
            })?));
        }
        if !readers.is_empty() {
            let (sender, queue) = sync_channel(MAX_READS_QUEUED);
            engine.reads = Some(sender);
            let queue = Arc::new(Mutex::new(queue));
            for connection in readers {
                let queue = Arc::clone(&queue);
                let thread = spawn("store-reader", move || run_reader(&connection, &queue))?;
                lock_of(&engine.reader_threads).push(thread);
            }
        }
        Ok(engine)
    }

    pub(crate) fn write(&self, job: WriteJob) -> Result<()> {
        let writes = self.writes.as_ref().ok_or(StoreError::ReadOnly)?;
        writes.try_send(Work::Job(job)).map_err(refused)
    }

    /// Whether the last commit failed, as far as [`is_well`](Self::is_well) has not been said since.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Something was written and committed.
    pub(crate) fn is_well(&self) {
        self.failing.store(false, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, job: ReadJob) -> Result<()> {
        match &self.reads {
            Some(reads) => reads.try_send(Work::Job(job)).map_err(refused),
            None => self.write(Box::new(|writer| {
                job(writer.map(|writer| &**writer));
                Completion {
                    keep: false,
                    tell: Box::new(|_| ()),
                }
            })),
        }
    }

    /// Lets the threads finish what is queued, then ends them. Later work is refused.
    pub(crate) fn stop(&self) {
        // Readers first: the last checkpoint can only take everything when nobody reads.
        let readers = std::mem::take(&mut *lock_of(&self.reader_threads));
        if let Some(reads) = &self.reads {
            for _ in &readers {
                let _ = reads.send(Work::Stop);
            }
        }
        for reader in readers {
            let _ = reader.join();
        }
        if let (Some(writes), Some(writer)) = (&self.writes, lock_of(&self.writer_thread).take()) {
            let _ = writes.send(Work::Stop);
            let _ = writer.join();
        }
    }
}

fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused<T>(error: TrySendError<T>) -> StoreError {
    match error {
        TrySendError::Full(_) => StoreError::Busy,
        TrySendError::Disconnected(_) => StoreError::Closed,
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// Takes batches until told to stop; what was queued before that is still done.
fn run_writer(
    connection: &Connection,
    queue: &Receiver<Work<WriteJob>>,
    file: Option<&Identity>,
    failing: &AtomicBool,
) {
    while let Ok(Work::Job(first)) = queue.recv() {
        let mut batch = vec![first];
        let mut stop = false;
        while batch.len() < MAX_WRITES_PER_COMMIT {
            match queue.try_recv() {
                Ok(Work::Job(job)) => batch.push(job),
                Ok(Work::Stop) => {
                    stop = true;
                    break;
                }
                Err(_) => break,
            }
        }
        run_batch(connection, batch, file, failing);
        if stop {
            return;
        }
    }
}

fn run_batch(
    connection: &Connection,
    batch: Vec<WriteJob>,
    file: Option<&Identity>,
    failing: &AtomicBool,
) {
    let begun = file.map_or(Ok(()), Identity::check).and_then(|()| {
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(StoreError::from)
    });
    if let Err(error) = begun {
        failing.store(true, Ordering::Relaxed);
        for job in batch {
            let completion = job(Err(error.clone()));
            (completion.tell)(Err(error.clone()));
        }
        return;
    }
    let completions: Vec<Completion> = batch
        .into_iter()
        .map(|job| run_in_savepoint(connection, job))
        .collect();
    let committed = connection.execute_batch("COMMIT").map_err(StoreError::from);
    if let Err(error) = &committed {
        failing.store(true, Ordering::Relaxed);
        tracing::error!(%error, units = completions.len(), "a commit failed and was undone");
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
    for completion in completions {
        (completion.tell)(committed.clone());
    }
}

fn run_in_savepoint(connection: &Connection, job: WriteJob) -> Completion {
    // SQLite undoes the whole transaction by itself on some errors (a full disk). A savepoint would
    // then begin a new one and commit alone, while the commit at the end fails for all.
    if connection.is_autocommit() {
        return job(Err(StoreError::Database {
            why: "the transaction was undone".to_owned(),
        }));
    }
    if let Err(error) = connection.execute_batch("SAVEPOINT unit") {
        return job(Err(error.into()));
    }
    let mut writer = Writer::new(connection);
    let completion = job(Ok(&mut writer));
    let end = if completion.keep {
        "RELEASE unit"
    } else {
        "ROLLBACK TO unit; RELEASE unit"
    };
    match connection.execute_batch(end) {
        Ok(()) => completion,
        Err(error) => {
            let error = StoreError::from(error);
            Completion {
                keep: false,
                tell: Box::new(move |_| (completion.tell)(Err(error))),
            }
        }
    }
}

/// Each unit of work reads inside one transaction, so it sees one moment.
fn run_reader(connection: &Connection, queue: &Mutex<Receiver<Work<ReadJob>>>) {
    loop {
        // The lock is held while waiting: the other readers wait for the lock instead.
        let work = lock_of(queue).recv();
        let Ok(Work::Job(job)) = work else { return };
        let begun = connection.execute_batch("BEGIN").map_err(StoreError::from);
        match begun {
            Ok(()) => {
                job(Ok(&Reader::new(connection)));
                let _ = connection.execute_batch("COMMIT");
            }
            Err(error) => job(Err(error)),
        }
    }
}

/// Puts the log into the database file, so that one file is all there is.
fn finish(connection: Connection) {
    if let Err(error) = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)")
    {
        tracing::warn!(%error, "the last checkpoint failed; the next start makes up for it");
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the database did not close cleanly");
    }
}

/// Runs a unit of work; a panic becomes an error, so that one bad request cannot stop all writes.
pub(crate) fn guarded<T, E: From<StoreError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        tracing::error!(
            panic = panic_text(&*panic),
            "a unit of work on the store panicked"
        );
        Err(StoreError::Panicked.into())
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
