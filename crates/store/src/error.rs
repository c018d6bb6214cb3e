//! What can go wrong, in words for the person who has to act. The only place that reads SQLite's codes.

use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
use std::fmt;
use std::path::PathBuf;

/// Result of everything that touches records.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a read or a write did not happen. A write that failed has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// A record with this key exists already.
    Conflict {
        /// The record, as `noun domain/key`.
        what: String,
    },
    /// There is no record with this key.
    NotFound {
        /// The record, as `noun domain/key`.
        what: String,
    },
    /// The record would belong to something that does not exist.
    NoOwner {
        /// The record, as `noun domain/key`.
        what: String,
        /// What it should belong to.
        owner: String,
    },
    /// Too much is waiting to be done; try again later.
    Busy,
    /// The store was closed.
    Closed,
    /// The store was opened only to read.
    ReadOnly,
    /// Another process holds the database.
    Locked,
    /// The file of the database is no longer where it was: what is written now would be gone with this process.
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// The disk refuses.
    Unwritable {
        /// The database's words.
        why: String,
    },
    /// The disk has no room.
    DiskFull,
    /// What is stored cannot be read back.
    Corrupt {
        /// Where.
        what: String,
    },
    /// The unit of work panicked and was undone.
    Panicked,
    /// Anything else the database says.
    Database {
        /// Its words.
        why: String,
    },
}

impl StoreError {
    /// There is no `noun` with this key.
    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// Gives a broken uniqueness its name.
    pub(crate) fn from_insert(error: rusqlite::Error, what: impl FnOnce() -> String) -> Self {
        let code = error.sqlite_error().map(|error| error.extended_code);
        match code {
            Some(SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_PRIMARYKEY) => {
                Self::Conflict { what: what() }
            }
            _ => error.into(),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { what } => write!(f, "{what} exists already"),
            Self::NotFound { what } => write!(f, "{what} does not exist"),
            Self::NoOwner { what, owner } => {
                write!(f, "{what} needs {owner}, which does not exist")
            }
            Self::Busy => f.write_str("the store has too much to do; try again later"),
            Self::Closed => f.write_str("the store is closed"),
            Self::ReadOnly => f.write_str("the store was opened only to read"),
            Self::Locked => f.write_str("the database is locked by another process"),
            Self::Gone { path } => write!(
                f,
                "{} was removed or replaced: put the same file back, or stop the switch and restore a copy",
                path.display()
            ),
            Self::Unwritable { why } => write!(f, "the database cannot be written: {why}"),
            Self::DiskFull => f.write_str("the disk of the database is full"),
            Self::Corrupt { what } => write!(f, "the database is damaged: {what}"),
            Self::Panicked => f.write_str("the work on the store failed inside and was undone"),
            Self::Database { why } => write!(f, "the database failed: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(
                ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied,
            ) => Self::Unwritable {
                why: error.to_string(),
            },
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt {
                what: error.to_string(),
            },
            _ => Self::Database {
                why: error.to_string(),
            },
        }
    }
}

/// Why the database cannot be used at all: one sentence each, for the operator.
#[derive(Debug)]
pub enum OpenError {
    /// The database was written by a newer version.
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// The database was written by an older version, and may not be changed now.
    OlderSchema {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The schema version this program needs.
        known: u32,
    },
    /// The file cannot be opened or made.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The file is a database of another program, or no database.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another process uses the database.
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The address names a database server, which this version cannot use.
    ServerNotSupported,
    /// The schema could not be brought up to date.
    Migration {
        /// The file.
        path: PathBuf,
        /// The step that failed.
        version: u32,
        /// The database's words.
        why: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerSchema { path, found, known } => write!(
                f,
                "{} has schema version {found}, this program knows versions up to {known}: start the newer program",
                path.display()
            ),
            Self::OlderSchema { path, found, known } => write!(
                f,
                "{} has schema version {found} and has to be brought to {known}: start the switch once",
                path.display()
            ),
            Self::Unreadable { path, why } => {
                write!(f, "{} cannot be opened: {why}", path.display())
            }
            Self::Foreign { path } => {
                write!(f, "{} is not a database of this program", path.display())
            }
            Self::Locked { path } => {
                write!(f, "{} is in use by another process: stop that one first", path.display())
            }
            Self::ServerNotSupported => f.write_str(
                "database servers such as PostgreSQL are not supported yet: give the path of a file",
            ),
            Self::Migration { path, version, why } => write!(
                f,
                "{} could not be brought to schema version {version} and was left as it was: {why}",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}
