//! `Retry-After` (RFC 3261 §20.33): when a refused request may be tried again.

use super::cseq::decimal;
use crate::message::scan::trim;

/// Reads the delay in seconds; the comment and the parameters are for people.
pub fn parse(value: &str) -> Option<u32> {
    let end = value.find([';', '(']).unwrap_or(value.len());
    decimal(trim(&value[..end]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_the_seconds() {
        assert_eq!(super::parse("18000;duration=3600"), Some(18000));
        assert_eq!(super::parse(" 120 (I'm in a meeting)"), Some(120));
        assert_eq!(super::parse("949302838503028349304023988"), None);
        assert_eq!(super::parse("soon"), None);
    }
}
