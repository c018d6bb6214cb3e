//! `Session-Expires` and `Min-SE` (RFC 4028): how long a session lives without a refresh.

use std::fmt;

use super::cseq::decimal;
use crate::message::scan::{Params, trim};

/// Who refreshes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The side that sent the request.
    Uac,
    /// The side that answered it.
    Uas,
}

/// `Session-Expires: 1800;refresher=uac`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval in seconds.
    pub interval_seconds: u32,
    /// Who refreshes, when it is said.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads the header field value.
    pub fn parse(value: &str) -> Option<Self> {
        let (interval, params) = value.split_once(';').unwrap_or((value, ""));
        let refresher = Params::get(params, "refresher").flatten();
        Some(Self {
            interval_seconds: decimal(trim(interval))?,
            refresher: match refresher {
                Some(side) if side.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
                Some(side) if side.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
                _ => None,
            },
        })
    }

    /// Reads a Min-SE value, in seconds.
    pub fn parse_min(value: &str) -> Option<u32> {
        Self::parse(value).map(|min| min.interval_seconds)
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.interval_seconds)?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for text in ["1800", "1800;refresher=uac", "90;refresher=uas"] {
            assert_eq!(SessionExpires::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(SessionExpires::parse("x"), None);
        assert_eq!(SessionExpires::parse_min("90;x=y"), Some(90));
    }
}
