//! `CSeq` (RFC 3261 §20.16): orders the requests of a dialog and names the method a response is for.

use std::fmt;

use crate::message::scan::trim;
use crate::message::{ByteStr, Method};

/// The largest sequence number that may be sent (RFC 3261 §8.1.1.5: less than 2^31).
pub const CSEQ_MAX: u32 = (1 << 31) - 1;

/// `CSeq: 4711 INVITE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Sequence number, at most [`CSEQ_MAX`].
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// Reads the header field value.
    pub fn parse(value: &ByteStr) -> Option<Self> {
        Self::parse_in(value, value)
    }

    /// The same for a part of `whole`.
    pub(crate) fn parse_in(whole: &ByteStr, value: &str) -> Option<Self> {
        let (number, method) = trim(value).split_once([' ', '\t'])?;
        Some(Self {
            number: decimal(number).filter(|&number| number <= CSEQ_MAX)?,
            method: Method::parse_in(whole, trim(method))?,
        })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// A number of digits alone: `u32::from_str` would also take a plus sign.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        let read = |text: &'static str| CSeq::parse(&ByteStr::literal(text));
        assert_eq!(read("0009 \t INVITE").unwrap().to_string(), "9 INVITE");
        assert_eq!(read("2147483647 x").unwrap().number, CSEQ_MAX);
        for bad in [
            "",
            "1",
            "INVITE 1",
            "2147483648 BYE",
            "36893488147419103232 BYE",
            "-1 BYE",
            "+1 BYE",
            "1 BYE BYE",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
