//! What a unit of work holds in its hands: a reader, or a writer that can read too.

use crate::error::Result;
use model::Change;
use rusqlite::Connection;
use std::ops::Deref;

/// Reads records. All reads of one unit of work see the same moment.
#[derive(Debug)]
pub struct Reader<'c> {
    connection: &'c Connection,
}

impl<'c> Reader<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self { connection }
    }

    pub(crate) fn sql(&self) -> &'c Connection {
        self.connection
    }
}

/// Writes records, and reads what it wrote. Nobody else writes in between.
#[derive(Debug)]
pub struct Writer<'c> {
    reader: Reader<'c>,
    changes: Vec<Change>,
}

impl<'c> Writer<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self {
            reader: Reader::new(connection),
            changes: Vec::new(),
        }
    }

    /// Writes something that changes nothing.
    pub(crate) fn touch(&mut self) -> Result<()> {
        let version: i64 = self
            .sql()
            .pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(self.sql().pragma_update(None, "user_version", version)?)
    }

    /// Remembers what the bus will carry once this is committed.
    pub(crate) fn changed(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// What was changed, without what a change of the whole domain says already.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        let changes = std::mem::take(&mut self.changes);
        let whole = |name: &str| {
            changes
                .iter()
                .any(|c| matches!(c, Change::Domain(d) if d == name))
        };
        changes
            .iter()
            .filter(|change| {
                matches!(change, Change::Domain(_) | Change::ApiKey(_)) || !whole(change.domain())
            })
            .cloned()
            .collect()
    }
}

impl<'c> Deref for Writer<'c> {
    type Target = Reader<'c>;

    fn deref(&self) -> &Reader<'c> {
        &self.reader
    }
}
