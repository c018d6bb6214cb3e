//! What every noun can do: list, count, read, insert, update, delete.
//!
//! A noun says which table it lives in, what its key is and what else lists ask for. Writing makes the
//! audit line and the change by itself, so there is no way to write without them.

use crate::audit;
use crate::error::{Result, StoreError};
use crate::filter::{Conditions, Filter, Page};
use crate::session::{Reader, Writer};
use model::{Actor, AuditVerb, Change};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params_from_iter};
use serde_json::Value as Json;

/// A noun of the model that is stored as a row: key columns, filter columns and the record as JSON.
pub trait Record: serde::Serialize + serde::de::DeserializeOwned + Default + 'static {
    /// What identifies a record.
    type Key: Clone;
    /// What lists are narrowed by.
    type Filter: Filter;

    /// The noun for people, such as `connection`.
    const NOUN: &'static str;
    /// The table.
    const TABLE: &'static str;
    /// The columns of the key, the owning domain first.
    const KEY_COLUMNS: &'static [&'static str];
    /// The columns lists are narrowed by, beyond the key.
    const FILTER_COLUMNS: &'static [&'static str];
    /// Wire names of fields whose values stay out of the audit log.
    const SECRET_FIELDS: &'static [&'static str];

    /// The key of this record.
    fn key(&self) -> Self::Key;
    /// The values of `KEY_COLUMNS`.
    fn key_values(key: &Self::Key) -> Vec<String>;
    /// The values of `FILTER_COLUMNS`.
    fn filter_values(&self) -> Vec<Value>;
    /// What travels on the bus when this record changes.
    fn change(key: &Self::Key) -> Change;

    /// Puts in what the store decides, such as the date of change.
    fn stamp(&mut self, _actor: &Actor) {}
    /// Puts in the row number, where the record shows it.
    fn numbered(&mut self, _id: i64) {}
    /// Refuses a record whose owner does not exist.
    fn check_owner(&self, _reader: &Reader<'_>) -> Result<()> {
        Ok(())
    }
    /// Makes what comes with a new record.
    fn after_insert(&self, _writer: &mut Writer<'_>, _actor: &Actor) -> Result<()> {
        Ok(())
    }
    /// Removes what belonged to a record; returns how much of what.
    fn after_delete(
        _key: &Self::Key,
        _writer: &mut Writer<'_>,
    ) -> Result<Vec<(&'static str, usize)>> {
        Ok(Vec::new())
    }
}

/// The domain a key belongs to and the rest of it, as the audit log shows them.
fn owner_and_rest<R: Record>(key: &R::Key) -> (String, String) {
    let mut values = R::key_values(key).into_iter();
    let owner = values.next().unwrap_or_default();
    (owner, values.collect::<Vec<_>>().join("/"))
}

/// `noun domain/key`, as errors show it.
fn label<R: Record>(key: &R::Key) -> String {
    format!("{} {}", R::NOUN, R::key_values(key).join("/"))
}

fn key_condition<R: Record>() -> String {
    let columns: Vec<String> = R::KEY_COLUMNS
        .iter()
        .map(|column| format!("{column} = ?"))
        .collect();
    columns.join(" AND ")
}

fn parse<R: Record>(row: &Row<'_>) -> Result<R> {
    let id: i64 = row.get(0)?;
    let text: String = row.get(1)?;
    let mut record: R = serde_json::from_str(&text).map_err(|error| StoreError::Corrupt {
        what: format!("{} in row {id}: {error}", R::NOUN),
    })?;
    record.numbered(id);
    Ok(record)
}

fn to_json<R: Record>(record: &R) -> Result<Json> {
    serde_json::to_value(record).map_err(|error| StoreError::Database {
        why: format!("{}: {error}", R::NOUN),
    })
}

impl Reader<'_> {
    /// The records that fit, in order of creation.
    pub fn list<R: Record>(&self, filter: &R::Filter, page: Page) -> Result<Vec<R>> {
        let mut conditions = Conditions::default();
        filter.narrow(&mut conditions);
        let (condition, mut values) = conditions.into_parts();
        values.extend(page.params());
        let table = R::TABLE;
        let sql = format!("SELECT id, record FROM {table}{condition} ORDER BY id LIMIT ? OFFSET ?");
        self.rows(&sql, values)
    }

    /// How many records fit.
    pub fn count<R: Record>(&self, filter: &R::Filter) -> Result<u64> {
        let mut conditions = Conditions::default();
        filter.narrow(&mut conditions);
        let (condition, values) = conditions.into_parts();
        self.number(
            &format!("SELECT count(*) FROM {}{condition}", R::TABLE),
            values,
        )
    }

    /// The record with this key.
    pub fn read<R: Record>(&self, key: &R::Key) -> Result<Option<R>> {
        let sql = format!(
            "SELECT id, record FROM {} WHERE {}",
            R::TABLE,
            key_condition::<R>()
        );
        let values = R::key_values(key).into_iter().map(Value::from).collect();
        Ok(self.rows(&sql, values)?.pop())
    }

    /// The record with this key, or [`StoreError::NotFound`].
    pub fn require<R: Record>(&self, key: &R::Key) -> Result<R> {
        self.read(key)?
            .ok_or_else(|| StoreError::not_found(label::<R>(key)))
    }

    /// Whether there is a record with this key.
    pub fn exists<R: Record>(&self, key: &R::Key) -> Result<bool> {
        let sql = format!("SELECT 1 FROM {} WHERE {}", R::TABLE, key_condition::<R>());
        let mut statement = self.sql().prepare_cached(&sql)?;
        Ok(statement
            .query_row(params_from_iter(R::key_values(key)), |_| Ok(()))
            .optional()?
            .is_some())
    }

    /// Refuses a record whose domain does not exist; the system always does.
    pub(crate) fn require_domain<R: Record>(&self, record: &R, domain: &str) -> Result<()> {
        if self.owner_exists(domain)? {
            return Ok(());
        }
        Err(StoreError::NoOwner {
            what: label::<R>(&record.key()),
            owner: format!("domain {domain}"),
        })
    }

    /// Refuses a record that is part of another one which does not exist.
    pub(crate) fn require_parent<R: Record, P: Record>(
        &self,
        record: &R,
        parent: &P::Key,
    ) -> Result<()> {
        if self.exists::<P>(parent)? {
            return Ok(());
        }
        Err(StoreError::NoOwner {
            what: label::<R>(&record.key()),
            owner: label::<P>(parent),
        })
    }

    /// All records behind a statement that selects `id, record`.
    pub(crate) fn rows<R: Record>(&self, sql: &str, values: Vec<Value>) -> Result<Vec<R>> {
        let mut statement = self.sql().prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            records.push(parse(row)?);
        }
        Ok(records)
    }

    /// The one number behind a statement.
    pub(crate) fn number(&self, sql: &str, values: Vec<Value>) -> Result<u64> {
        let mut statement = self.sql().prepare_cached(sql)?;
        let number: i64 = statement.query_row(params_from_iter(values), |row| row.get(0))?;
        Ok(u64::try_from(number).unwrap_or(0))
    }
}

impl Writer<'_> {
    /// Makes a record, and what comes with it. Returns it as stored.
    pub fn insert<R: Record>(&mut self, actor: &Actor, record: R) -> Result<R> {
        self.insert_with(actor, record, &[])
    }

    /// [`Writer::insert`] with columns that are not part of the record.
    pub(crate) fn insert_with<R: Record>(
        &mut self,
        actor: &Actor,
        mut record: R,
        beside: &[(&'static str, Value)],
    ) -> Result<R> {
        record.check_owner(self)?;
        record.stamp(actor);
        let key = record.key();
        let json = to_json(&record)?;

        let mut columns: Vec<&str> = R::KEY_COLUMNS.to_vec();
        let mut values: Vec<Value> = R::key_values(&key).into_iter().map(Value::from).collect();
        columns.extend(R::FILTER_COLUMNS);
        values.extend(record.filter_values());
        for (column, value) in beside {
            columns.push(column);
            values.push(value.clone());
        }
        columns.extend(["record", "created_ms", "modified_ms"]);
        values.extend([
            json.to_string().into(),
            actor.unix_ms.into(),
            actor.unix_ms.into(),
        ]);

        let holes = vec!["?"; columns.len()].join(", ");
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({holes})",
            R::TABLE,
            columns.join(", ")
        );
        self.sql()
            .prepare_cached(&sql)?
            .execute(params_from_iter(values))
            .map_err(|error| StoreError::from_insert(error, || label::<R>(&key)))?;
        record.numbered(self.sql().last_insert_rowid());

        let diff = audit::diff(&to_json(&R::default())?, &json, R::SECRET_FIELDS);
        self.note::<R>(actor, AuditVerb::Create, &key, diff)?;
        record.after_insert(self, actor)?;
        Ok(record)
    }

    /// Replaces the record with the same key. Returns it as stored.
    pub fn update<R: Record>(&mut self, actor: &Actor, mut record: R) -> Result<R> {
        let key = record.key();
        let before: R = self.require(&key)?;
        record.stamp(actor);
        let json = to_json(&record)?;

        let sets: String = R::FILTER_COLUMNS
            .iter()
            .map(|column| format!("{column} = ?, "))
            .collect();
        let mut values = record.filter_values();
        values.extend([json.to_string().into(), actor.unix_ms.into()]);
        values.extend(R::key_values(&key).into_iter().map(Value::from));
        let sql = format!(
            "UPDATE {} SET {sets}record = ?, modified_ms = ? WHERE {}",
            R::TABLE,
            key_condition::<R>()
        );
        self.sql()
            .prepare_cached(&sql)?
            .execute(params_from_iter(values))?;

        let diff = audit::diff(&to_json(&before)?, &json, R::SECRET_FIELDS);
        self.note::<R>(actor, AuditVerb::Update, &key, diff)?;
        Ok(record)
    }

    /// Removes a record and all that belongs to it. Returns it as it was.
    pub fn delete<R: Record>(&mut self, actor: &Actor, key: &R::Key) -> Result<R> {
        let before: R = self.require(key)?;
        let sql = format!("DELETE FROM {} WHERE {}", R::TABLE, key_condition::<R>());
        self.sql()
            .prepare_cached(&sql)?
            .execute(params_from_iter(R::key_values(key)))?;

        let mut diff = audit::diff(
            &to_json(&before)?,
            &to_json(&R::default())?,
            R::SECRET_FIELDS,
        );
        for (table, rows) in R::after_delete(key, self)? {
            if rows > 0 {
                diff.insert(table.to_owned(), serde_json::json!([rows, 0]));
            }
        }
        self.note::<R>(actor, AuditVerb::Delete, key, diff)?;
        Ok(before)
    }

    fn note<R: Record>(
        &mut self,
        actor: &Actor,
        verb: AuditVerb,
        key: &R::Key,
        diff: audit::Diff,
    ) -> Result<()> {
        let (domain, rest) = owner_and_rest::<R>(key);
        audit::write(self, actor, verb, R::NOUN, &domain, &rest, &diff)?;
        self.changed(R::change(key));
        Ok(())
    }
}
