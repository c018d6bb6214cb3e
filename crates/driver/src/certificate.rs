//! The certificate that media threads shake hands with (DTLS-SRTP).
//!
//! It is made at the start and lives as long as the process. Descriptions name it by its fingerprint, so nobody has to
//! know it from before, nothing about it is secret once the process has ended, and no file has to be guarded; and who
//! records our calls for years cannot tell by it which of them were ours.

use std::io;
use std::time::Duration;

use media::dtls::Endpoint;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

/// How far back its validity reaches: clocks of far ends may be behind ours, and some compare.
const BEFORE: Duration = Duration::from_secs(24 * 3600);

/// How long it is valid, which is longer than any process runs.
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Makes a certificate, and what handshakes need besides.
pub(crate) fn endpoint() -> io::Result<Endpoint> {
    let (certificate, key) = certificate().map_err(io::Error::other)?;
    Endpoint::new(certificate, &key).map_err(io::Error::other)
}

/// A self-signed certificate and its key, in DER.
fn certificate() -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    // It tells every far end who it is, so it says no more than anybody would.
    params
        .distinguished_name
        .push(DnType::CommonName, "strowger");
    let now = std::time::SystemTime::now();
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + VALIDITY).into();
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().to_vec(), key.serialize_der()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_has_its_own() {
        let [one, two] = [(), ()].map(|()| endpoint().expect("a certificate"));
        let fingerprints = [&one, &two].map(|endpoint| endpoint.fingerprint());
        assert_ne!(fingerprints[0], fingerprints[1]);
    }
}
