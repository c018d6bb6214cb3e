//! Call records: written in batches, read by time or followed by position. They never change.

use crate::error::{Result, StoreError};
use crate::filter::{Conditions, Filter, MAX_PAGE_ROWS, Page};
use crate::packed;
use crate::session::{Reader, Writer};
use model::Cdr;
use rusqlite::types::Value;
use rusqlite::{named_params, params_from_iter};
use std::borrow::Borrow;

/// What call records are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct CdrFilter {
    /// Only those of this domain.
    pub domain: Option<String>,
    /// Only those of this reseller's domains.
    pub reseller: Option<String>,
    /// Started at this moment or later, in milliseconds since the Unix epoch.
    pub from_ms: Option<i64>,
    /// Started before this moment.
    pub until_ms: Option<i64>,
    /// Only those where either leg has this Call-ID.
    pub call_id: Option<String>,
}

impl Filter for CdrFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("domain", self.domain.as_deref())
            .reseller("domain", self.reseller.as_deref())
            .at_least("started_ms", self.from_ms)
            .below("started_ms", self.until_ms)
            .either(["orig_call_id", "term_call_id"], self.call_id.as_deref());
    }
}

/// Number and length of the records that fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CdrTotals {
    /// How many.
    pub records: u64,
    /// Talk time of all together.
    pub talk_ms: u64,
}

const INSERT: &str = "INSERT INTO cdrs (call, domain, started_ms, ringing_ms, answered_ms, ended_ms, \
     talk_ms, billable_ms, from_uri, to_uri, orig_call_id, orig_connection_domain, \
     orig_connection_pattern, term_call_id, term_connection_domain, term_connection_pattern, \
     dial_rule, release_side, release_status, release_cause, release_text, recording_path, \
     recording_ms, recording_failure, record) \
     VALUES (:call, :domain, :started_ms, :ringing_ms, :answered_ms, :ended_ms, :talk_ms, \
     :billable_ms, :from_uri, :to_uri, :orig_call_id, :orig_connection_domain, \
     :orig_connection_pattern, :term_call_id, :term_connection_domain, :term_connection_pattern, \
     :dial_rule, :release_side, :release_status, :release_cause, :release_text, :recording_path, \
     :recording_ms, :recording_failure, :record) \
     ON CONFLICT (call) DO NOTHING";

impl Writer<'_> {
    /// Adds call records; one that is there already, by its id, is left as it is. Returns how many
    /// were new.
    pub fn insert_cdrs(&mut self, cdrs: &[impl Borrow<Cdr>]) -> Result<usize> {
        let mut statement = self.sql().prepare_cached(INSERT)?;
        let mut added = 0;
        for cdr in cdrs {
            let cdr: &Cdr = cdr.borrow();
            let record = packed::pack(cdr)?;
            let term = cdr.term.as_ref();
            let recording = cdr.recording.as_ref();
            added += statement.execute(named_params! {
                ":call": cdr.id,
                ":domain": cdr.domain,
                ":started_ms": cdr.started_ms,
                ":ringing_ms": cdr.ringing_ms,
                ":answered_ms": cdr.answered_ms,
                ":ended_ms": cdr.ended_ms,
                ":talk_ms": cdr.talk_ms(),
                ":billable_ms": cdr.billable_ms(),
                ":from_uri": cdr.orig.from_uri,
                ":to_uri": cdr.orig.to_uri,
                ":orig_call_id": cdr.orig.call_id,
                ":orig_connection_domain": cdr.orig.connection_domain,
                ":orig_connection_pattern": cdr.orig.connection_orig_match_pattern,
                ":term_call_id": term.map(|leg| &leg.call_id),
                ":term_connection_domain": term.and_then(|leg| leg.connection_domain.as_ref()),
                ":term_connection_pattern":
                    term.and_then(|leg| leg.connection_orig_match_pattern.as_ref()),
                ":dial_rule": cdr.dial_rule,
                ":release_side": cdr.release_side.as_str(),
                ":release_status": cdr.release_status,
                ":release_cause": cdr.release_cause,
                ":release_text": cdr.release_text,
                ":recording_path": recording.and_then(|it| it.path.as_ref()),
                ":recording_ms": recording.and_then(|it| i64::try_from(it.duration_ms).ok()),
                ":recording_failure": recording.and_then(|it| it.failure.as_ref()),
                ":record": record,
            })?;
        }
        Ok(added)
    }

    /// Removes call records that started before a moment, at most [`MAX_PAGE_ROWS`] at a time so that
    /// other writes get their turn. Returns how many went.
    pub fn expire_cdrs(&mut self, before_ms: i64) -> Result<usize> {
        let sql = "DELETE FROM cdrs WHERE position IN \
                   (SELECT position FROM cdrs WHERE started_ms < ? ORDER BY started_ms LIMIT ?)";
        Ok(self
            .sql()
            .prepare_cached(sql)?
            .execute((before_ms, MAX_PAGE_ROWS))?)
    }
}

impl Reader<'_> {
    /// Call records that fit, the latest call first.
    pub fn cdrs(&self, filter: &CdrFilter, page: Page) -> Result<Vec<Cdr>> {
        let mut conditions = Conditions::default();
        filter.narrow(&mut conditions);
        let (condition, mut values) = conditions.into_parts();
        values.extend(page.params());
        let sql = format!(
            "SELECT position, record FROM cdrs{condition} \
             ORDER BY started_ms DESC, position DESC LIMIT ? OFFSET ?"
        );
        Ok(self
            .cdr_rows(&sql, values)?
            .into_iter()
            .map(|(_, cdr)| cdr)
            .collect())
    }

    /// Number and talk time of the call records that fit.
    pub fn count_cdrs(&self, filter: &CdrFilter) -> Result<CdrTotals> {
        let mut conditions = Conditions::default();
        filter.narrow(&mut conditions);
        let (condition, values) = conditions.into_parts();
        let sql = format!("SELECT count(*), coalesce(sum(talk_ms), 0) FROM cdrs{condition}");
        let mut statement = self.sql().prepare_cached(&sql)?;
        let (records, talk_ms) = statement.query_row(params_from_iter(values), |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?))
        })?;
        let number = |value: i64| u64::try_from(value).unwrap_or(0);
        Ok(CdrTotals {
            records: number(records),
            talk_ms: number(talk_ms),
        })
    }

    /// Call records written after a position (0 is the beginning), oldest first, each with its own
    /// position; at most `limit` and [`MAX_PAGE_ROWS`].
    pub fn tail_cdrs(&self, after: i64, limit: u32) -> Result<Vec<(i64, Cdr)>> {
        let limit = limit.clamp(1, MAX_PAGE_ROWS);
        let sql = "SELECT position, record FROM cdrs WHERE position > ? ORDER BY position LIMIT ?";
        self.cdr_rows(sql, vec![after.into(), i64::from(limit).into()])
    }

    /// The position of the newest call record; 0 when there is none.
    pub fn last_cdr_position(&self) -> Result<i64> {
        let number = self.number("SELECT coalesce(max(position), 0) FROM cdrs", Vec::new())?;
        Ok(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn cdr_rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<(i64, Cdr)>> {
        let mut statement = self.sql().prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            let position: i64 = row.get(0)?;
            let cdr = packed::unpack(row.get_ref(1)?).map_err(|why| StoreError::Corrupt {
                what: format!("call record {position}: {why}"),
            })?;
            records.push((position, cdr));
        }
        Ok(records)
    }
}
