//! The schema, step by step, forwards only. A step that shipped never changes.

use crate::error::OpenError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// All steps; step n brings version n - 1 to version n.
const STEPS: &[&str] = &[
    include_str!("../migrations/0001_records.sql"),
    include_str!("../migrations/0002_cdrs.sql"),
    include_str!("../migrations/0003_registrations.sql"),
    include_str!("../migrations/0004_policies_and_routes.sql"),
    include_str!("../migrations/0005_call_maxima.sql"),
    include_str!("../migrations/0006_recordings.sql"),
    include_str!("../migrations/0007_packed_records.sql"),
];

/// Marks a file as ours (`STRG`), so that another program's database is not written into.
const APPLICATION_ID: i32 = 0x5354_5247;

/// The newest schema version.
pub(crate) const fn known_version() -> u32 {
    STEPS.len() as u32
}

/// Brings the schema up to date, and lets `fill` write into a database that was empty. All of it is one
/// transaction: an interrupted start is as if it had never been.
pub(crate) fn run(
    connection: &mut Connection,
    path: &Path,
    now_ms: i64,
    fill: impl FnOnce(&Connection) -> crate::Result<()>,
) -> Result<(), OpenError> {
    let found = version(connection, path)?;
    if found > known_version() {
        return Err(OpenError::NewerSchema {
            path: path.into(),
            found,
            known: known_version(),
        });
    }
    if found == known_version() {
        return Ok(());
    }
    let failed = |version: u32, why: String| OpenError::Migration {
        path: path.into(),
        version,
        why,
    };
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| failed(found, error.to_string()))?;
    for (step, sql) in (1..).zip(STEPS).skip(found as usize) {
        apply(&transaction, step, sql, now_ms).map_err(|error| failed(step, error.to_string()))?;
    }
    if found == 0 {
        fill(&transaction).map_err(|error| failed(known_version(), error.to_string()))?;
    }
    transaction
        .commit()
        .map_err(|error| failed(known_version(), error.to_string()))
}

/// Whether the schema is the one this program knows, for whoever may not change it.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let (path, known) = (path.to_owned(), known_version());
    match version(connection, &path)? {
        found if found > known => Err(OpenError::NewerSchema { path, found, known }),
        found if found < known => Err(OpenError::OlderSchema { path, found, known }),
        _ => Ok(()),
    }
}

fn version(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let read = || -> rusqlite::Result<Option<u32>> {
        let tables = number("SELECT count(*) FROM sqlite_master WHERE type = 'table'")?;
        if tables == 0 {
            return Ok(Some(0));
        }
        if number("PRAGMA application_id")? != i64::from(APPLICATION_ID) {
            return Ok(None);
        }
        number("SELECT coalesce(max(version), 0) FROM schema_version")
            .map(|version| u32::try_from(version).ok())
    };
    match read() {
        Ok(Some(version)) => Ok(version),
        Ok(None) => Err(OpenError::Foreign { path: path.into() }),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            Err(OpenError::Foreign { path: path.into() })
        }
        Err(error) => Err(OpenError::Unreadable {
            path: path.into(),
            why: error.to_string(),
        }),
    }
}

fn apply(connection: &Connection, step: u32, sql: &str, now_ms: i64) -> rusqlite::Result<()> {
    if step == 1 {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.execute_batch(
            "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_ms BIGINT NOT NULL)",
        )?;
    }
    connection.execute_batch(sql)?;
    connection.execute(
        "INSERT INTO schema_version (version, applied_ms) VALUES (?1, ?2)",
        (step, now_ms),
    )?;
    Ok(())
}
