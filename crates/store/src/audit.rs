//! The audit log: written with each change, in the same transaction, and read by pages.

use crate::error::{Result, StoreError};
use crate::filter::{Conditions, Filter, MAX_PAGE_ROWS, Page};
use crate::session::{Reader, Writer};
use model::{Actor, Audit, AuditVerb, Words};
use rusqlite::params_from_iter;
use serde_json::{Map, Value};

/// Fields that changed, each as `[before, after]`.
pub(crate) type Diff = Map<String, Value>;

/// Stands for a secret: that it changed is known, what it was is not.
const HIDDEN: &str = "…";
/// Follows from the line's own time.
const DATE_OF_CHANGE: &str = "last-modified-datetime";

/// What the audit log is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only records of this domain.
    pub domain: Option<String>,
    /// Only this kind of record.
    pub object: Option<String>,
    /// From this moment on, in milliseconds since the Unix epoch.
    pub from_ms: Option<i64>,
}

impl Filter for AuditFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("domain", self.domain.as_deref())
            .equal("object", self.object.as_deref())
            .at_least("unix_ms", self.from_ms);
    }
}

impl Reader<'_> {
    /// Lines of the audit log, newest first.
    pub fn audit(&self, filter: &AuditFilter, page: Page) -> Result<Vec<Audit>> {
        let mut conditions = Conditions::default();
        filter.narrow(&mut conditions);
        let (condition, mut values) = conditions.into_parts();
        values.extend(page.params());
        let sql = format!(
            "SELECT id, unix_ms, who, address, verb, object, domain, key, diff FROM audit{condition} \
             ORDER BY id DESC LIMIT ? OFFSET ?"
        );
        let mut statement = self.sql().prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let damaged = || StoreError::Corrupt {
                what: format!("audit line {id}"),
            };
            let address: Option<String> = row.get(3)?;
            let verb: String = row.get(4)?;
            let diff: String = row.get(8)?;
            lines.push(Audit {
                id,
                unix_ms: row.get(1)?,
                who: row.get(2)?,
                address: address
                    .map(|text| text.parse().map_err(|_| damaged()))
                    .transpose()?,
                verb: AuditVerb::from_word(&verb).ok_or_else(damaged)?,
                object: row.get(5)?,
                domain: row.get(6)?,
                key: row.get(7)?,
                diff: serde_json::from_str(&diff).map_err(|_| damaged())?,
            });
        }
        Ok(lines)
    }
}

impl Writer<'_> {
    /// Removes lines that are older than a moment, at most [`MAX_PAGE_ROWS`] at a time so that other
    /// writes get their turn. Returns how many went.
    pub fn expire_audit(&mut self, before_ms: i64) -> Result<usize> {
        let sql = "DELETE FROM audit WHERE id IN \
                   (SELECT id FROM audit WHERE unix_ms < ? ORDER BY id LIMIT ?)";
        Ok(self
            .sql()
            .prepare_cached(sql)?
            .execute((before_ms, MAX_PAGE_ROWS))?)
    }
}

/// Adds a line.
pub(crate) fn write(
    writer: &mut Writer<'_>,
    actor: &Actor,
    verb: AuditVerb,
    object: &str,
    domain: &str,
    key: &str,
    diff: &Diff,
) -> Result<()> {
    let diff = Value::Object(diff.clone()).to_string();
    writer
        .sql()
        .prepare_cached(
            "INSERT INTO audit (unix_ms, who, address, verb, object, domain, key, diff) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            actor.unix_ms,
            &actor.who,
            actor.address.map(|address| address.to_string()),
            verb.as_str(),
            object,
            domain,
            key,
            diff,
        ))?;
    Ok(())
}

/// The fields that differ between two records, secrets hidden.
pub(crate) fn diff(before: &Value, after: &Value, secrets: &[&str]) -> Diff {
    let none = Map::new();
    let before = before.as_object().unwrap_or(&none);
    let after = after.as_object().unwrap_or(&none);
    let mut diff = Diff::new();
    for name in after
        .keys()
        .chain(before.keys().filter(|name| !after.contains_key(*name)))
    {
        let (old, new) = (before.get(name), after.get(name));
        if old == new || name == DATE_OF_CHANGE {
            continue;
        }
        let shown = |value: Option<&Value>| match value {
            Some(Value::String(text)) if secrets.contains(&name.as_str()) && !text.is_empty() => {
                Value::from(HIDDEN)
            }
            Some(value) => value.clone(),
            None => Value::Null,
        };
        diff.insert(name.clone(), Value::Array(vec![shown(old), shown(new)]));
    }
    diff
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_diff_tells_what_changed_and_no_secret() {
        let before = json!({"a": 1, "b": "x", "password": "old", "gone": true});
        let after = json!({"a": 1, "b": "y", "password": "new", "last-modified-datetime": "now"});
        let diff = diff(&before, &after, &["password"]);
        assert_eq!(
            Value::Object(diff),
            json!({"b": ["x", "y"], "password": ["…", "…"], "gone": [true, null]})
        );
    }
}
