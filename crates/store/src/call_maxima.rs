//! The most calls at once on each connection by month: counted by the switch, so written without an audit line.

use crate::error::{Result, StoreError};
use crate::session::{Reader, Writer};
use model::datetime::Month;
use model::{CallMaxima, ConnectionKey};
use rusqlite::named_params;

impl Writer<'_> {
    /// Keeps what was counted, in place of what was there. What belongs to a connection that is gone is dropped.
    pub fn keep_call_maxima(&mut self, maxima: &[CallMaxima]) -> Result<()> {
        for one in maxima {
            let key = &one.connection;
            self.sql()
                .prepare_cached(
                    "INSERT INTO call_maxima (domain, orig_match_pattern, month, this_month, last_month) \
                     SELECT domain, orig_match_pattern, :month, :this_month, :last_month \
                     FROM connections WHERE domain = :domain AND orig_match_pattern = :pattern \
                     ON CONFLICT (domain, orig_match_pattern) DO UPDATE SET month = excluded.month, \
                     this_month = excluded.this_month, last_month = excluded.last_month",
                )?
                .execute(named_params! {
                    ":domain": key.domain,
                    ":pattern": key.connection_orig_match_pattern,
                    ":month": one.month.number(),
                    ":this_month": one.this_month,
                    ":last_month": one.last_month,
                })?;
        }
        Ok(())
    }

    /// Forgets those of a connection that goes.
    pub(crate) fn forget_call_maxima(&mut self, key: &ConnectionKey) -> Result<()> {
        self.sql()
            .prepare_cached("DELETE FROM call_maxima WHERE domain = ? AND orig_match_pattern = ?")?
            .execute((&key.domain, &key.connection_orig_match_pattern))?;
        Ok(())
    }
}

impl Reader<'_> {
    /// All of them, for a switch that starts.
    pub fn call_maxima(&self) -> Result<Vec<CallMaxima>> {
        let mut statement = self.sql().prepare_cached(
            "SELECT domain, orig_match_pattern, month, this_month, last_month FROM call_maxima",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(CallMaxima {
                connection: ConnectionKey {
                    domain: row.get(0)?,
                    connection_orig_match_pattern: row.get(1)?,
                },
                month: Month::from_number(row.get(2)?),
                this_month: row.get(3)?,
                last_month: row.get(4)?,
            })
        })?;
        rows.collect::<rusqlite::Result<_>>()
            .map_err(StoreError::from)
    }
}
