//! Records that survive: SQLite behind one face.
//!
//! ```
//! use model::{Actor, Connection, Domain};
//! use store::{ConnectionFilter, Page, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open_in_memory()?;
//! let actor = Actor::system("example", 0);
//! store.write_blocking(move |writer| {
//!     writer.insert(&actor, Domain { domain: "d1".into(), ..Domain::default() })?;
//!     writer.insert(&actor, Connection {
//!         domain: "d1".into(),
//!         connection_orig_match_pattern: "sip*@acme-pbx".into(),
//!         ..Connection::default()
//!     })
//! })?;
//! let count = store.read_blocking(|reader| reader.count::<Connection>(&ConnectionFilter::default()))?;
//! assert_eq!(count, 1);
//! # Ok(())
//! # }
//! ```
//!
//! - A write is durable when it returns `Ok`: it survives `kill -9` and a power cut.
//! - A unit of work is all or nothing, and its audit lines are part of it: no write goes without one.
//! - A read sees one moment, and every write that was acknowledged before it began.
//! - Nothing waits without bound: full queues answer [`StoreError::Busy`].
//!
//! SQL stays in the subset that PostgreSQL understands too, except where a comment says otherwise.

mod audit;
mod call_maxima;
mod cdrs;
mod directory;
mod engine;
mod error;
mod filter;
mod migrations;
mod nouns;
mod open;
mod packed;
mod pattern_function;
mod registrations;
mod session;
mod shipped;
mod table;

pub use audit::AuditFilter;
pub use cdrs::{CdrFilter, CdrTotals};
pub use directory::DomainRecords;
pub use engine::{MAX_READS_QUEUED, MAX_WRITES_PER_COMMIT, MAX_WRITES_QUEUED, READER_THREADS};
pub use error::{OpenError, Result, StoreError};
pub use filter::{
    Conditions, DEFAULT_PAGE_ROWS, Filter, MAX_LIST_ROWS, MAX_PAGE_ROWS, OwnerFilter, Page,
};
pub use nouns::api_keys::{ApiKeyFilter, LAST_USED_GRAIN_MS};
pub use nouns::connections::ConnectionFilter;
pub use nouns::dial_policies::PermissionFilter;
pub use nouns::dial_rules::DialRuleFilter;
pub use nouns::domains::DomainFilter;
pub use nouns::routes::{RouteConnectionFilter, RouteFilter};
pub use session::{Reader, Writer};
pub use shipped::{FEATURES, INBOUND, NUMBERS, US_AND_CANADA};
pub use table::Record;

use engine::{Completion, Engine, ReadJob, WriteJob, guarded};
use model::{Cdr, Change};
use std::borrow::Borrow;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The records. Clones share one database.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Arc<Engine>,
}

/// What a unit of work returned, and what the bus has to carry now that it is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<T> {
    /// What the unit of work returned.
    pub value: T,
    /// What it changed, in order.
    pub changes: Vec<Change>,
}

impl Store {
    /// Opens the database in a file, or makes it: brings the schema up to date, fills a new one with
    /// the shipped dial plans, and keeps other processes out.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::start(open::file(path)?, path)
    }

    /// Opens the database of a switch that may be running, only to read: nothing is made, changed or
    /// locked, and every write answers [`StoreError::ReadOnly`].
    pub fn open_to_read(path: &Path) -> Result<Self, OpenError> {
        Self::start(open::to_read(path)?, path)
    }

    /// A database that is gone with its last clone.
    pub fn open_in_memory() -> Result<Self, OpenError> {
        Self::start(open::memory()?, Path::new(":memory:"))
    }

    fn start(opened: engine::Connections, path: &Path) -> Result<Self, OpenError> {
        let engine = Engine::start(opened).map_err(|error| OpenError::Unreadable {
            path: path.into(),
            why: error.to_string(),
        })?;
        Ok(Self {
            engine: Arc::new(engine),
        })
    }

    /// Reads. All that `work` reads is of one moment.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&Reader<'c>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (job, answer) = read_job(work);
        self.engine.read(job)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// [`Store::read`] for threads outside an async runtime.
    pub fn read_blocking<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&Reader<'c>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (job, answer) = read_job(work);
        self.engine.read(job)?;
        answer.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Writes: all of `work` or nothing of it. Durable when it returns `Ok`.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&mut Writer<'c>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.transact(work).await.map(|written| written.value)
    }

    /// [`Store::write`] for threads outside an async runtime.
    pub fn write_blocking<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&mut Writer<'c>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.transact_blocking(work).map(|written| written.value)
    }

    /// [`Store::write`] that also tells what changed, and lets `work` refuse with an error of its own.
    pub async fn transact<T, E>(
        &self,
        work: impl for<'c> FnOnce(&mut Writer<'c>) -> Result<T, E> + Send + 'static,
    ) -> Result<Written<T>, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = write_job(work);
        self.engine.write(job)?;
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// [`Store::transact`] for threads outside an async runtime.
    pub fn transact_blocking<T, E>(
        &self,
        work: impl for<'c> FnOnce(&mut Writer<'c>) -> Result<T, E> + Send + 'static,
    ) -> Result<Written<T>, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = write_job(work);
        self.engine.write(job)?;
        answer
            .blocking_recv()
            .unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Adds call records in one unit of work; durable when it returns `Ok`. One that is there already
    /// is left as it is, so a batch may be sent again. Returns how many were new.
    pub async fn append_cdrs(&self, cdrs: Vec<Cdr>) -> Result<usize> {
        self.write(move |writer| writer.insert_cdrs(&cdrs)).await
    }

    /// [`Store::append_cdrs`] for threads outside an async runtime.
    pub fn append_cdrs_blocking(
        &self,
        cdrs: Vec<impl Borrow<Cdr> + Send + 'static>,
    ) -> Result<usize> {
        self.write_blocking(move |writer| writer.insert_cdrs(&cdrs))
    }

    /// The records of one domain, for the directory.
    pub async fn domain_part(&self, domain: impl Into<String>) -> Result<DomainRecords> {
        let domain = domain.into();
        self.read(move |reader| reader.domain_part(&domain)).await
    }

    /// Names of all domains, without `*`.
    pub async fn all_domains(&self) -> Result<Vec<String>> {
        self.read(|reader| reader.all_domains()).await
    }

    /// Whether reads and writes are answered right now. After a commit that failed, only a write that reaches the disk
    /// counts: an empty one succeeds on any.
    pub async fn ready(&self) -> bool {
        let failing = self.engine.is_failing();
        let touch = move |writer: &mut Writer<'_>| if failing { writer.touch() } else { Ok(()) };
        if self.write(touch).await.is_err() {
            return false;
        }
        if failing {
            self.engine.is_well();
        }
        self.read(|_| Ok(())).await.is_ok()
    }

    /// Finishes what is queued, puts everything into the one file and ends the threads. Clones that
    /// are left get [`StoreError::Closed`]. Blocks for as long as that takes.
    pub fn close(self) {
        self.engine.stop();
    }
}

fn read_job<T: Send + 'static>(
    work: impl for<'c> FnOnce(&Reader<'c>) -> Result<T> + Send + 'static,
) -> (ReadJob, oneshot::Receiver<Result<T>>) {
    let (tell, answer) = oneshot::channel();
    let job: ReadJob = Box::new(move |reader| {
        // Whoever stopped waiting needs no answer, and no work.
        if !tell.is_closed() {
            let _ = tell.send(reader.and_then(|reader| guarded(|| work(reader))));
        }
    });
    (job, answer)
}

type WriteAnswer<T, E> = oneshot::Receiver<Result<Written<T>, E>>;

fn write_job<T, E>(
    work: impl for<'c> FnOnce(&mut Writer<'c>) -> Result<T, E> + Send + 'static,
) -> (WriteJob, WriteAnswer<T, E>)
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let (tell, answer) = oneshot::channel();
    let job: WriteJob = Box::new(move |writer| {
        let outcome = match writer {
            Ok(writer) => guarded(|| {
                let value = work(writer)?;
                Ok(Written {
                    value,
                    changes: writer.take_changes(),
                })
            }),
            Err(error) => Err(error.into()),
        };
        Completion {
            keep: outcome.is_ok(),
            tell: Box::new(move |committed| {
                let _ = tell.send(match committed {
                    Ok(()) => outcome,
                    Err(error) => outcome.and(Err(error.into())),
                });
            }),
        }
    });
    (job, answer)
}
