//! Every way in which a peer can break the rules: its name, the answer it gets, its log line.

use std::fmt;

use crate::message::{Name, NameAddrError, UriError};

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misbehaviour {
    // --- what cannot be read ---
    /// Nothing but line ends: a keep-alive, not a message.
    Empty,
    /// The head does not end with an empty line.
    HeadNotTerminated,
    /// More than [`HEADERS_MAX`](crate::message::HEADERS_MAX) header lines.
    TooManyHeaders,
    /// Larger than [`MESSAGE_BYTES_MAX`](crate::message::MESSAGE_BYTES_MAX).
    TooLarge,
    /// The first line is neither a request line nor a status line.
    MalformedStartLine,
    /// A version other than SIP/2.0.
    Version,
    /// A status code that is not 100 to 699.
    Status,
    /// The Request-URI cannot be read.
    RequestUri(UriError),
    /// The Request-URI has headers, which only a URI outside of a message may have.
    RequestUriHeaders,
    /// A line of the head that is no header.
    MalformedHeaderLine,

    // --- header fields ---
    /// A header field that every message must have is missing.
    Missing(Name),
    /// A header field that must be there once is there again.
    Repeated(Name),
    /// A header field that cannot be read.
    Malformed(Name),
    /// A header field with an address that cannot be read.
    MalformedAddress(Name, NameAddrError),
    /// CSeq names another method than the request line.
    CSeqMethod,
    /// Content-Length says more than has come.
    BodyTruncated {
        /// What the header says, in bytes.
        announced: u64,
        /// What has come, in bytes.
        received: usize,
    },

    // --- what can be read but not be done ---
    /// A method that we do not allow.
    MethodNotAllowed,
    /// A Request-URI scheme that we do not serve, or `sips` without TLS.
    Scheme,
    /// Max-Forwards has run out.
    TooManyHops,
    /// Require names an extension that we do not support.
    ExtensionRequired,
    /// The same request came another way before (RFC 3261 §8.2.2.2).
    Merged,
    /// A request within a dialog that we do not have.
    UnknownDialog,
    /// A CANCEL of an INVITE that we do not have.
    UnknownTransaction,
}

impl Misbehaviour {
    /// The status with which a request is answered that did this; `None` when it deserves or can
    /// get no answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Empty => None,
            Self::Version => Some(505),
            Self::TooLarge | Self::TooManyHeaders => Some(513),
            Self::RequestUri(UriError::TooLong) => Some(414),
            Self::HeadNotTerminated
            | Self::MalformedStartLine
            | Self::Status
            | Self::RequestUri(_)
            | Self::RequestUriHeaders
            | Self::MalformedHeaderLine
            | Self::Missing(_)
            | Self::Repeated(_)
            | Self::Malformed(_)
            | Self::MalformedAddress(..)
            | Self::CSeqMethod
            | Self::BodyTruncated { .. } => Some(400),
            Self::MethodNotAllowed => Some(405),
            Self::Scheme => Some(416),
            Self::ExtensionRequired => Some(420),
            Self::UnknownDialog | Self::UnknownTransaction => Some(481),
            Self::Merged => Some(482),
            Self::TooManyHops => Some(483),
        }
    }
}

/// The log line.
impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty message"),
            Self::HeadNotTerminated => f.write_str("head does not end with an empty line"),
            Self::TooManyHeaders => f.write_str("too many header lines"),
            Self::TooLarge => f.write_str("message larger than the limit"),
            Self::MalformedStartLine => f.write_str("malformed first line"),
            Self::Version => f.write_str("version is not SIP/2.0"),
            Self::Status => f.write_str("status code out of range"),
            Self::RequestUri(error) => write!(f, "Request-URI: {error}"),
            Self::RequestUriHeaders => f.write_str("Request-URI with headers"),
            Self::MalformedHeaderLine => f.write_str("line in the head that is no header"),
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::Repeated(name) => write!(f, "{name} more than once"),
            Self::Malformed(name) => write!(f, "malformed {name}"),
            Self::MalformedAddress(name, error) => write!(f, "malformed {name}: {error}"),
            Self::CSeqMethod => f.write_str("CSeq names another method than the request line"),
            Self::MethodNotAllowed => f.write_str("method not allowed"),
            Self::Scheme => f.write_str("Request-URI scheme not served"),
            Self::TooManyHops => f.write_str("Max-Forwards has run out"),
            Self::ExtensionRequired => f.write_str("unsupported extension required"),
            Self::Merged => f.write_str("same request received before on another way"),
            Self::UnknownDialog => f.write_str("request within an unknown dialog"),
            Self::UnknownTransaction => f.write_str("CANCEL of an unknown INVITE"),
            Self::BodyTruncated {
                announced,
                received,
            } => {
                write!(
                    f,
                    "body of {received} bytes, but Content-Length {announced}"
                )
            }
        }
    }
}

impl std::error::Error for Misbehaviour {}
