//! Why there are no keys.

use std::fmt;

/// Why a handshake cannot be had, or came to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DtlsError {
    /// Our own private key cannot be used.
    UnfitKey,
    /// The far end's certificate is not the one its description names.
    Fingerprint,
    /// It does not have the key of its certificate.
    Signature,
    /// Nothing in common: of ciphers, curves or signatures, or the far end's DTLS is older than 1.2.
    NothingInCommon,
    /// No protection profile for SRTP in common, or none asked for.
    NoProfile,
    /// A message that makes no sense, or does not belong where it came.
    Malformed,
    /// The two ends did not see the same handshake: somebody between them changed it.
    Tampered,
    /// The far end broke off; its alert says why (RFC 5246 §7.2).
    Alert(u8),
    /// Not finished in time.
    TimedOut,
}

impl DtlsError {
    /// The alert that tells the far end (RFC 5246 §7.2.2).
    pub(super) fn alert(self) -> Option<u8> {
        match self {
            Self::Fingerprint => Some(42),
            Self::Signature | Self::Tampered => Some(51),
            Self::NothingInCommon | Self::NoProfile => Some(40),
            Self::Malformed => Some(10),
            Self::UnfitKey => Some(80),
            Self::Alert(_) | Self::TimedOut => None,
        }
    }
}

impl fmt::Display for DtlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnfitKey => "the private key cannot be used",
            Self::Fingerprint => "the certificate is not the one described",
            Self::Signature => "the far end lacks the key of its certificate",
            Self::NothingInCommon => "no cipher, curve or signature in common",
            Self::NoProfile => "no protection profile for SRTP in common",
            Self::Malformed => "a message that does not belong there",
            Self::Tampered => "the two ends did not see the same handshake",
            Self::Alert(alert) => return write!(f, "the far end broke off with alert {alert}"),
            Self::TimedOut => "not finished in time",
        })
    }
}

impl std::error::Error for DtlsError {}
