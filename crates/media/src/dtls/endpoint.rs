//! What we bring to every handshake.

use std::fmt;
use std::sync::Arc;

use super::signature::SigningKey;
use super::{DtlsError, Fingerprint, HashFunction};

/// A certificate of ours and its key. Printing it for debugging shows the fingerprint alone.
///
/// The certificate proves nothing by itself: descriptions name it by its [`Fingerprint`], and whoever trusts the
/// signalling trusts the handshake.
#[derive(Clone)]
pub struct Endpoint(Arc<Identity>);

struct Identity {
    certificate: Vec<u8>,
    key: SigningKey,
    fingerprint: Fingerprint,
}

impl Endpoint {
    /// A self-signed certificate in DER, and its key, of the curve P-256, in DER of PKCS #8.
    pub fn new(certificate: Vec<u8>, private_key: &[u8]) -> Result<Self, DtlsError> {
        let key = SigningKey::parse(private_key).ok_or(DtlsError::UnfitKey)?;
        Ok(Self(Arc::new(Identity {
            fingerprint: Fingerprint::of(HashFunction::Sha256, &certificate),
            certificate,
            key,
        })))
    }

    /// What descriptions name the certificate by.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    pub(super) fn certificate(&self) -> &[u8] {
        &self.0.certificate
    }

    pub(super) fn key(&self) -> &SigningKey {
        &self.0.key
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint")
            .field(&self.0.fingerprint)
            .finish()
    }
}
