//! `RAck` (RFC 3262 §7.2): names the provisional response that a PRACK acknowledges.

use std::fmt;

use super::cseq::{CSeq, decimal};
use crate::message::ByteStr;
use crate::message::scan::trim;

/// `RAck: 776656 1 INVITE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The RSeq of the acknowledged response.
    pub rseq: u32,
    /// The CSeq of the acknowledged response.
    pub cseq: CSeq,
}

impl RAck {
    /// Reads the header field value.
    pub fn parse(value: &ByteStr) -> Option<Self> {
        let (rseq, cseq) = trim(value).split_once([' ', '\t'])?;
        Some(Self {
            rseq: decimal(rseq)?,
            cseq: CSeq::parse(&value.slice_of(cseq))?,
        })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        let rack = RAck::parse(&"776656  1 INVITE".into()).unwrap();
        assert_eq!(rack.to_string(), "776656 1 INVITE");
        for bad in ["", "1 INVITE", "1 2", "x 1 INVITE"] {
            assert_eq!(RAck::parse(&ByteStr::literal(bad)), None, "{bad}");
        }
    }
}
