//! Dates as the contract writes them: `YYYY-MM-DD HH:MM:SS`, always UTC.

const MS_PER_DAY: i64 = 86_400_000;
/// Years that are printed with four digits.
const FIRST_DAY: i64 = -719_528; // 0000-01-01
const LAST_DAY: i64 = 2_932_896; // 9999-12-31

/// Text of a moment given in milliseconds since the Unix epoch; moments outside the years 0 to 9999
/// are moved to the nearest end.
pub fn format_utc(unix_ms: i64) -> String {
    let days = unix_ms.div_euclid(MS_PER_DAY).clamp(FIRST_DAY, LAST_DAY);
    let seconds = unix_ms.rem_euclid(MS_PER_DAY) / 1000;
    let (year, month, day) = civil_from_days(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// The same moment as RFC 3339 with a zero offset, the form used for keys.
pub fn format_rfc3339(unix_ms: i64) -> String {
    format!("{}+00:00", format_utc(unix_ms).replacen(' ', "T", 1))
}

/// Milliseconds since the Unix epoch of `YYYY-MM-DD HH:MM:SS`; every digit must be there.
pub fn parse_utc(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if bytes.len() != 19 || separators.iter().any(|&(at, byte)| bytes[at] != byte) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = &bytes[from..to];
        digits.iter().all(u8::is_ascii_digit).then(|| {
            digits
                .iter()
                .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day)?;
    Some(days * MS_PER_DAY + (hour * 3600 + minute * 60 + second) * 1000)
}

/// A calendar month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(u32);

impl Month {
    /// The month of a moment given in milliseconds since the Unix epoch; the first one for moments before.
    pub fn of(unix_ms: i64) -> Self {
        let (year, month, _) = civil_from_days(unix_ms.div_euclid(MS_PER_DAY).clamp(0, LAST_DAY));
        // Within the bounds above neither part is negative, and the sum is small.
        Self(u32::try_from((year - 1970) * 12 + month - 1).unwrap_or(0))
    }

    /// Its number: months since January 1970.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The month of a number.
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }
}

/// Year, month and day of a day number counted from 1970-01-01 in the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last one and every 400 years are equal.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let from_march = days + 719_468;
    let era = from_march.div_euclid(146_097);
    let day_of_era = from_march.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Day number of a date; `None` when there is no such date.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    // A day that the month does not have comes back as another date.
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn months_are_counted_and_end_at_midnight() {
        let month = |text: &str| Month::of(parse_utc(text).unwrap()).number();
        assert_eq!(month("1970-01-31 23:59:59"), 0);
        assert_eq!(month("1970-02-01 00:00:00"), 1);
        assert_eq!(month("2026-11-30 23:59:59"), 56 * 12 + 10);
        assert_eq!(month("2027-01-01 00:00:00"), 57 * 12);
        assert_eq!(Month::of(-1), Month::from_number(0));
    }

    #[test]
    fn known_moments() {
        assert_eq!(format_utc(0), "1970-01-01 00:00:00");
        assert_eq!(format_utc(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(format_utc(1_691_728_173_999), "2023-08-11 04:29:33");
        assert_eq!(
            format_rfc3339(1_691_728_173_000),
            "2023-08-11T04:29:33+00:00"
        );
        assert_eq!(format_utc(i64::MAX)[..4], *"9999");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "2025-05-19 02:41:1",
            "2025-02-29 00:00:00",
            "2025-13-01 00:00:00",
            "2025-01-00 00:00:00",
            "2025-01-01T00:00:00",
            "2025-01-01 24:00:00",
            "+025-01-01 00:00:00",
            "",
        ] {
            assert_eq!(parse_utc(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_then_parsing_keeps_the_second(seconds in -62_167_219_200i64..253_402_300_800) {
            prop_assert_eq!(parse_utc(&format_utc(seconds * 1000)), Some(seconds * 1000));
        }
    }
}
