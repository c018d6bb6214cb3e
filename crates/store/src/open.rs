//! Opening the database: who may, what must hold, and how SQLite is set up.

use crate::engine::{Connections, Identity, READER_THREADS};
use crate::error::OpenError;
use crate::migrations;
use crate::pattern_function;
use crate::session::Writer;
use crate::shipped;
use model::Actor;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long SQLite itself waits for a lock, which only a checkpoint of our own holds, or another process that should
/// not: whoever wrote over the API hears of that after this time.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// The write-ahead log is cut back to this size after a checkpoint.
const MAX_LOG_BYTES: i64 = 64 * 1024 * 1024;
/// Prepared statements each connection keeps.
const STATEMENTS_KEPT: usize = 128;

/// Opens or makes the database in a file.
pub(crate) fn file(path: &Path) -> Result<Connections, OpenError> {
    refuse_server(path)?;
    let unreadable = |why: String| OpenError::Unreadable {
        path: path.into(),
        why,
    };

    let lock = lock(path)?;
    // Made here and not by SQLite, because it holds passwords: SQLite gives its log the same rights.
    private(path).map_err(|error| unreadable(error.to_string()))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut writer =
        Connection::open_with_flags(path, flags).map_err(|error| unreadable(error.to_string()))?;
    migrate(&mut writer, path)?;
    set_up_writer(&writer).map_err(|error| unreadable(error.to_string()))?;
    let readers = (0..READER_THREADS)
        .map(|_| open_reader(path))
        .collect::<rusqlite::Result<_>>()
        .map_err(|error| unreadable(error.to_string()))?;
    Ok(Connections {
        writer: Some(writer),
        readers,
        lock: Some(lock),
        file: Some(Identity::of(path).map_err(|error| unreadable(error.to_string()))?),
    })
}

/// Opens a database beside the process that uses it, only to read. Nothing is made or changed.
pub(crate) fn to_read(path: &Path) -> Result<Connections, OpenError> {
    refuse_server(path)?;
    let unreadable = |error: rusqlite::Error| OpenError::Unreadable {
        path: path.into(),
        why: error.to_string(),
    };
    let reader = open_reader(path).map_err(unreadable)?;
    migrations::check(&reader, path)?;
    Ok(Connections {
        writer: None,
        readers: vec![reader],
        lock: None,
        file: None,
    })
}

fn refuse_server(path: &Path) -> Result<(), OpenError> {
    let text = path.to_string_lossy();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Err(OpenError::ServerNotSupported);
    }
    Ok(())
}

/// A database that lives as long as the process, for tests and trials.
pub(crate) fn memory() -> Result<Connections, OpenError> {
    let path = PathBuf::from(":memory:");
    let unreadable = |error: rusqlite::Error| OpenError::Unreadable {
        path: path.clone(),
        why: error.to_string(),
    };
    let mut writer = Connection::open_in_memory().map_err(unreadable)?;
    migrate(&mut writer, &path)?;
    set_up(&writer).map_err(unreadable)?;
    Ok(Connections {
        writer: Some(writer),
        readers: Vec::new(),
        lock: None,
        file: None,
    })
}

/// The lock is a file of its own, because SQLite's locks come and go with each transaction.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let unreadable = |error: std::io::Error| OpenError::Unreadable {
        path: path.into(),
        why: error.to_string(),
    };
    let file = private(Path::new(&name)).map_err(unreadable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(unreadable(error)),
    }
}

/// Opens a file for reading and writing; a new one can be read by its owner alone.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// What every connection needs.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    pattern_function::register(connection)
}

fn set_up_writer(connection: &Connection) -> rusqlite::Result<()> {
    set_up(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: the log is flushed at each commit, so what was acknowledged survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", MAX_LOG_BYTES)
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    // Not opened read-only: a reader of a write-ahead log takes part in its shared memory.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    set_up(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    // The first read opens the log. Now, and not when something may have happened to the files.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// Brings the schema up to date and fills a fresh database with the shipped plans.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        });
    migrations::run(connection, path, now_ms, |connection| {
        shipped::write(
            &mut Writer::new(connection),
            &Actor::system("setup", now_ms),
        )
    })
}
