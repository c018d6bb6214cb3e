//! Day, date and time conditions of a dial rule.
//!
//! `*` is no condition. Both ends count, an end time with its whole minute. A start time after the end time
//! means "over midnight"; day and date are then those of the evening it began.

use jiff::civil::{Date, DateTime};
use std::fmt;

/// When a rule holds, in the wall time of some zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedule {
    /// One bit a weekday, Sunday lowest.
    days: Option<u8>,
    dates: Option<(Date, Date)>,
    /// Minutes since midnight, both inclusive.
    minutes: Option<(u16, u16)>,
}

/// A condition that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleError {
    /// The contract field.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub allowed: &'static str,
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?}: allowed is {}",
            self.field, self.value, self.allowed
        )
    }
}

impl std::error::Error for ScheduleError {}

impl Schedule {
    /// Reads the five condition fields of a dial rule.
    pub fn parse(
        day_of_week: &str,
        start_date: &str,
        end_date: &str,
        start_time: &str,
        end_time: &str,
    ) -> Result<Self, ScheduleError> {
        let days = match set_value(day_of_week) {
            None => None,
            Some(text) => Some(days(text).ok_or_else(|| ScheduleError {
                field: "dial-rule-matching-day-of-week",
                value: text.to_owned(),
                allowed: "*, one digit 0 (Sunday) to 6, or a set such as [1-5]",
            })?),
        };
        let date = |field, text| match set_value(text) {
            None => Ok(None),
            Some(text) => text.parse::<Date>().map(Some).map_err(|_| ScheduleError {
                field,
                value: text.to_owned(),
                allowed: "* or a date YYYY-MM-DD",
            }),
        };
        let time = |field, text| match set_value(text) {
            None => Ok(None),
            Some(text) => minute(text).map(Some).ok_or_else(|| ScheduleError {
                field,
                value: text.to_owned(),
                allowed: "* or a time HH:MM",
            }),
        };
        let from_date = date("dial-rule-matching-start-date", start_date)?;
        let to_date = date("dial-rule-matching-end-date", end_date)?;
        let from_time = time("dial-rule-matching-start-time", start_time)?;
        let to_time = time("dial-rule-matching-end-time", end_time)?;
        Ok(Self {
            days,
            dates: (from_date.is_some() || to_date.is_some())
                .then(|| (from_date.unwrap_or(Date::MIN), to_date.unwrap_or(Date::MAX))),
            minutes: (from_time.is_some() || to_time.is_some())
                .then(|| (from_time.unwrap_or(0), to_time.unwrap_or(24 * 60 - 1))),
        })
    }

    /// Whether any condition is set, and therefore the wall time matters.
    pub fn is_always(&self) -> bool {
        *self == Self::default()
    }

    /// Precedence among rules that match equally well: a date range, then days, then a time range.
    pub fn rank(&self) -> (bool, bool, bool) {
        (
            self.dates.is_some(),
            self.days.is_some(),
            self.minutes.is_some(),
        )
    }

    /// Whether the conditions hold at this wall time.
    pub fn holds(&self, at: DateTime) -> bool {
        let minute = at.hour() as u16 * 60 + at.minute() as u16;
        match self.minutes {
            None => self.holds_on(at.date()),
            Some((from, to)) if from <= to => {
                (from..=to).contains(&minute) && self.holds_on(at.date())
            }
            Some((from, _)) if minute >= from => self.holds_on(at.date()),
            Some((_, to)) if minute <= to => at
                .date()
                .yesterday()
                .is_ok_and(|began| self.holds_on(began)),
            Some(_) => false,
        }
    }

    fn holds_on(&self, day: Date) -> bool {
        let weekday = day.weekday().to_sunday_zero_offset();
        self.days.is_none_or(|days| days & (1 << weekday) != 0)
            && self
                .dates
                .is_none_or(|(from, to)| (from..=to).contains(&day))
    }
}

fn set_value(text: &str) -> Option<&str> {
    match text.trim() {
        "" | "*" => None,
        other => Some(other),
    }
}

fn days(text: &str) -> Option<u8> {
    let inside = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if text.len() == 1 => text,
        None => return None,
    };
    let digit = |b: u8| (b'0'..=b'6').contains(&b).then(|| b - b'0');
    let bytes = inside.as_bytes();
    let mut days = 0;
    let mut at = 0;
    while at < bytes.len() {
        let from = digit(bytes[at])?;
        if bytes.get(at + 1) == Some(&b'-') {
            let to = digit(*bytes.get(at + 2)?)?;
            if from > to {
                return None;
            }
            (from..=to).for_each(|day| days |= 1 << day);
            at += 3;
        } else {
            days |= 1 << from;
            at += 1;
        }
    }
    (days != 0).then_some(days)
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |t: &str| {
        (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit()))
            .then(|| t.parse::<u16>().ok())
            .flatten()
    };
    let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    // 2026-11-20 is a Friday.
    fn friday(hour: i8, minute: i8) -> DateTime {
        date(2026, 11, 20).at(hour, minute, 30, 0)
    }

    fn schedule(fields: [&str; 5]) -> Schedule {
        let [day, from_date, to_date, from, to] = fields;
        Schedule::parse(day, from_date, to_date, from, to).unwrap()
    }

    #[test]
    fn stars_always_hold() {
        assert!(schedule(["*", "*", "*", "*", "*"]).is_always());
        assert!(schedule(["", "*", "", "*", "*"]).holds(friday(3, 0)));
    }

    #[test]
    fn both_ends_count() {
        let office = schedule(["[1-5]", "*", "*", "09:00", "17:00"]);
        assert!(office.holds(friday(9, 0)));
        assert!(office.holds(friday(17, 0)));
        assert!(!office.holds(friday(17, 1)));
        assert!(!office.holds(friday(8, 59)));
        assert!(!schedule(["6", "*", "*", "*", "*"]).holds(friday(12, 0)));
    }

    #[test]
    fn over_midnight_belongs_to_the_evening() {
        let night = schedule(["5", "*", "*", "22:00", "06:00"]);
        assert!(night.holds(friday(23, 0)));
        assert!(night.holds(date(2026, 11, 21).at(5, 0, 0, 0)));
        assert!(!night.holds(friday(5, 0)));
        assert!(!night.holds(date(2026, 11, 21).at(23, 0, 0, 0)));
    }

    #[test]
    fn dates_are_inclusive_and_may_be_open() {
        let range = schedule(["*", "2026-11-20", "2026-11-20", "*", "*"]);
        assert!(range.holds(friday(0, 0)));
        assert!(!range.holds(date(2026, 11, 21).at(0, 0, 0, 0)));
        assert!(schedule(["*", "2026-01-01", "*", "*", "*"]).holds(friday(0, 0)));
    }

    #[test]
    fn bad_values_name_their_field() {
        for (fields, field) in [
            (["7", "*", "*", "*", "*"], "dial-rule-matching-day-of-week"),
            (
                ["[5-1]", "*", "*", "*", "*"],
                "dial-rule-matching-day-of-week",
            ),
            (
                ["*", "20-11-2026", "*", "*", "*"],
                "dial-rule-matching-start-date",
            ),
            (
                ["*", "*", "2026-02-30", "*", "*"],
                "dial-rule-matching-end-date",
            ),
            (
                ["*", "*", "*", "9:00", "*"],
                "dial-rule-matching-start-time",
            ),
            (["*", "*", "*", "*", "24:00"], "dial-rule-matching-end-time"),
        ] {
            let [day, from_date, to_date, from, to] = fields;
            assert_eq!(
                Schedule::parse(day, from_date, to_date, from, to)
                    .unwrap_err()
                    .field,
                field
            );
        }
    }
}
