//! What a list is narrowed by, and how much of it is given.

use rusqlite::types::Value;

/// Rows in a page when the caller does not say.
pub const DEFAULT_PAGE_ROWS: u32 = 100;
/// Most rows in one page.
pub const MAX_PAGE_ROWS: u32 = 1000;
/// Most rows of a list that the contract does not divide into pages.
pub const MAX_LIST_ROWS: u32 = 100_000;

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    start: u64,
    rows: u32,
}

impl Page {
    /// Rows from `start` (0 is the first); `rows` is brought into 1 to [`MAX_PAGE_ROWS`].
    pub fn new(start: u64, rows: u32) -> Self {
        Self {
            start: start.min(i64::MAX as u64),
            rows: rows.clamp(1, MAX_PAGE_ROWS),
        }
    }

    /// The whole list, up to [`MAX_LIST_ROWS`], for operations without pages.
    pub fn all() -> Self {
        Self {
            start: 0,
            rows: MAX_LIST_ROWS,
        }
    }

    pub(crate) fn params(self) -> [Value; 2] {
        [
            Value::Integer(i64::from(self.rows)),
            Value::Integer(self.start as i64),
        ]
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new(0, DEFAULT_PAGE_ROWS)
    }
}

/// A filter turns itself into conditions.
pub trait Filter {
    /// Adds its conditions.
    fn narrow(&self, conditions: &mut Conditions);
}

/// What lists of a noun are narrowed by that is known by its owner alone, such as a dial plan.
#[derive(Debug, Clone, Default)]
pub struct OwnerFilter {
    /// Only those of this domain; `*` means the system's.
    pub domain: Option<String>,
    /// Only those of this reseller's domains.
    pub reseller: Option<String>,
}

impl Filter for OwnerFilter {
    fn narrow(&self, conditions: &mut Conditions) {
        conditions
            .equal("domain", self.domain.as_deref())
            .reseller("domain", self.reseller.as_deref());
    }
}

/// Conditions of a `WHERE`, all of which must hold. Values are always bound, never written into SQL.
#[derive(Debug, Default)]
pub struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// The column has this value, if one is asked for.
    pub fn equal(&mut self, column: &'static str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.add(&[column, " = ?"], [value.to_owned().into()]),
            None => self,
        }
    }

    /// The column has this value or more.
    pub fn at_least(&mut self, column: &'static str, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.add(&[column, " >= ?"], [value.into()]),
            None => self,
        }
    }

    /// The column has a smaller value.
    pub fn below(&mut self, column: &'static str, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.add(&[column, " < ?"], [value.into()]),
            None => self,
        }
    }

    /// The domain in this column belongs to that reseller.
    pub fn reseller(&mut self, column: &'static str, reseller: Option<&str>) -> &mut Self {
        match reseller {
            Some(reseller) => self.add(
                &[
                    column,
                    " IN (SELECT domain FROM domains WHERE reseller = ?)",
                ],
                [reseller.to_owned().into()],
            ),
            None => self,
        }
    }

    /// The pattern in this column is exactly this text, or matches it as a URI.
    pub fn pattern(&mut self, column: &'static str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.add(
                &["(", column, " = ? OR pattern_matches(", column, ", ?))"],
                [text.to_owned().into(), text.to_owned().into()],
            ),
            None => self,
        }
    }

    /// Either column has this value.
    pub fn either(&mut self, columns: [&'static str; 2], value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.add(
                &["(", columns[0], " = ? OR ", columns[1], " = ?)"],
                [value.to_owned().into(), value.to_owned().into()],
            ),
            None => self,
        }
    }

    fn add<const N: usize>(&mut self, sql: &[&'static str], values: [Value; N]) -> &mut Self {
        self.sql.push_str(if self.sql.is_empty() {
            " WHERE "
        } else {
            " AND "
        });
        self.sql.extend(sql.iter().copied());
        self.values.extend(values);
        self
    }

    pub(crate) fn into_parts(self) -> (String, Vec<Value>) {
        (self.sql, self.values)
    }
}
