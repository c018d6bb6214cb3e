//! `Reason` (RFC 3326): why a request was sent, as a SIP status or a Q.850 cause.

use std::fmt;

use super::name_addr::push_quoted;
use crate::message::ByteStr;
use crate::message::scan::{Params, Values, trim, unquote};

/// One value of a Reason header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The name space of the cause: `SIP`, `Q.850` or another token.
    pub protocol: ByteStr,
    /// The cause; a status for SIP, 1 to 127 for Q.850.
    pub cause: Option<u16>,
    /// Explanation for people.
    pub text: Option<ByteStr>,
}

impl Reason {
    /// A SIP status as reason.
    pub fn sip(status: u16, text: &str) -> Self {
        Self {
            protocol: "SIP".into(),
            cause: Some(status),
            text: Some(ByteStr::copy(text)),
        }
    }

    /// A Q.850 cause as reason.
    pub fn q850(cause: u8, text: &str) -> Self {
        Self {
            protocol: "Q.850".into(),
            cause: Some(u16::from(cause)),
            text: Some(ByteStr::copy(text)),
        }
    }

    /// Reads one value.
    pub fn parse(value: &str) -> Option<Self> {
        let (protocol, params) = value.split_once(';').unwrap_or((value, ""));
        let protocol = trim(protocol);
        if !crate::message::scan::token(protocol) {
            return None;
        }
        Some(Self {
            protocol: ByteStr::copy(protocol),
            cause: Params::get(params, "cause")
                .flatten()
                .and_then(|cause| cause.parse().ok()),
            text: Params::get(params, "text")
                .flatten()
                .map(|text| ByteStr::from(unquote(text).into_owned())),
        })
    }

    /// Reads all values of one header line that can be read.
    pub fn parse_all(line: &str) -> impl Iterator<Item = Self> + '_ {
        Values::new(line).filter_map(Self::parse)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.protocol)?;
        if let Some(cause) = self.cause {
            write!(f, ";cause={cause}")?;
        }
        if let Some(text) = &self.text {
            let mut quoted = String::with_capacity(text.len() + 2);
            push_quoted(&mut quoted, text);
            write!(f, ";text={quoted}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        let reasons: Vec<_> = Reason::parse_all(
            "SIP ;cause=200 ;text=\"Call completed, elsewhere\", Q.850;cause=16, ;;",
        )
        .collect();
        assert_eq!(reasons.len(), 2);
        assert_eq!(
            reasons[0].to_string(),
            "SIP;cause=200;text=\"Call completed, elsewhere\""
        );
        assert_eq!(
            reasons[1],
            Reason {
                protocol: "Q.850".into(),
                cause: Some(16),
                text: None
            }
        );
        assert_eq!(
            Reason::q850(17, "User \"busy\"\r\n").to_string(),
            r#"Q.850;cause=17;text="User \"busy\"  ""#
        );
    }
}
