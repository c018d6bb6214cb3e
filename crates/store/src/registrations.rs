//! Registrations, as the switch reports them: written without an audit line, for nobody decided them.

use crate::error::{Result, StoreError};
use crate::session::{Reader, Writer};
use crate::table::Record;
use model::{
    Actor, Binding, Change, Connection, ConnectionKey, KeptRegistration, Registration,
    RegistrationDirection, RegistrationEvent,
};
use rusqlite::named_params;
use rusqlite::types::Value;

const COLUMNS: &str = "domain, orig_match_pattern, direction, registered_ms, expires_ms, binding";

impl Writer<'_> {
    /// Keeps what the switch reports. What belongs to a connection that is gone is dropped.
    pub fn keep_registrations(&mut self, reports: &[Registration]) -> Result<()> {
        for report in reports {
            match &report.event {
                RegistrationEvent::Registered {
                    expires_ms,
                    binding,
                    ..
                } => self.keep_registered(report, *expires_ms, binding.as_ref())?,
                RegistrationEvent::Ended(_) => {
                    self.end(&report.connection, report.direction)?;
                }
                // What was granted before holds until its end.
                RegistrationEvent::Failed { .. } => {}
            }
        }
        Ok(())
    }

    fn keep_registered(
        &mut self,
        report: &Registration,
        expires_ms: i64,
        binding: Option<&Binding>,
    ) -> Result<()> {
        let binding = binding
            .map(serde_json::to_string)
            .transpose()
            .map_err(|error| StoreError::Database {
                why: format!("registration: {error}"),
            })?;
        let key = &report.connection;
        self.sql()
            .prepare_cached(
                "INSERT INTO registrations \
                 (domain, orig_match_pattern, direction, registered_ms, expires_ms, binding) \
                 SELECT domain, orig_match_pattern, :direction, :registered_ms, :expires_ms, :binding \
                 FROM connections WHERE domain = :domain AND orig_match_pattern = :pattern \
                 ON CONFLICT (domain, orig_match_pattern, direction) DO UPDATE SET \
                 registered_ms = excluded.registered_ms, expires_ms = excluded.expires_ms, \
                 binding = excluded.binding",
            )?
            .execute(named_params! {
                ":domain": key.domain,
                ":pattern": key.connection_orig_match_pattern,
                ":direction": report.direction.as_str(),
                ":registered_ms": report.at_ms,
                ":expires_ms": expires_ms,
                ":binding": binding,
            })?;
        Ok(())
    }

    fn end(&mut self, key: &ConnectionKey, direction: RegistrationDirection) -> Result<()> {
        self.sql()
            .prepare_cached(
                "UPDATE registrations SET expires_ms = NULL, binding = NULL \
                 WHERE domain = ? AND orig_match_pattern = ? AND direction = ?",
            )?
            .execute((
                &key.domain,
                &key.connection_orig_match_pattern,
                direction.as_str(),
            ))?;
        Ok(())
    }

    /// Sets when the registration of a connection's peer ends, because somebody said so: a moment that is
    /// over ends it. The change travels on the bus.
    pub fn end_registration(
        &mut self,
        actor: &Actor,
        key: &ConnectionKey,
        unix_ms: i64,
    ) -> Result<()> {
        if unix_ms <= actor.unix_ms {
            self.end(key, RegistrationDirection::Inbound)?;
        }
        self.changed(Change::RegistrationEnds {
            connection: key.clone(),
            unix_ms,
        });
        Ok(())
    }

    /// Forgets the registrations of a connection that goes.
    pub(crate) fn forget_registrations(&mut self, key: &ConnectionKey) -> Result<()> {
        self.sql()
            .prepare_cached(
                "DELETE FROM registrations WHERE domain = ? AND orig_match_pattern = ?",
            )?
            .execute((&key.domain, &key.connection_orig_match_pattern))?;
        Ok(())
    }
}

impl Reader<'_> {
    /// The registrations of one connection, one per direction at most.
    pub fn registrations_of(&self, key: &ConnectionKey) -> Result<Vec<KeptRegistration>> {
        let values = Connection::key_values(key)
            .into_iter()
            .map(Value::from)
            .collect();
        self.registration_rows(
            &format!(
                "SELECT {COLUMNS} FROM registrations WHERE domain = ? AND orig_match_pattern = ?"
            ),
            values,
        )
    }

    /// The registrations of peers that hold at a moment, for a switch that starts.
    pub fn peers_registered(&self, now_ms: i64) -> Result<Vec<KeptRegistration>> {
        self.registration_rows(
            &format!(
                "SELECT {COLUMNS} FROM registrations \
                 WHERE direction = 'inbound' AND expires_ms > ? AND binding IS NOT NULL"
            ),
            vec![now_ms.into()],
        )
    }

    fn registration_rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<KeptRegistration>> {
        let mut statement = self.sql().prepare_cached(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let connection = ConnectionKey {
                domain: row.get(0)?,
                connection_orig_match_pattern: row.get(1)?,
            };
            let corrupt = |why: String| StoreError::Corrupt {
                what: format!(
                    "registration {}/{}: {why}",
                    connection.domain, connection.connection_orig_match_pattern
                ),
            };
            let word: String = row.get(2)?;
            let direction = RegistrationDirection::of(&word)
                .ok_or_else(|| corrupt(format!("direction {word:?}")))?;
            let binding: Option<String> = row.get(5)?;
            let binding = binding
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| corrupt(error.to_string()))?;
            found.push(KeptRegistration {
                direction,
                registered_ms: row.get(3)?,
                expires_ms: row.get(4)?,
                binding,
                connection,
            });
        }
        Ok(found)
    }
}
