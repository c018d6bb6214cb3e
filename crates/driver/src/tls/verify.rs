//! Whether the certificate of a peer that we connect to proves the name that led there (RFC 5922 §7).
//!
//! A name is proven by a dNSName, or by a URI `sip:name` (or `sips:`) without a user; an address by an iPAddress. The
//! common name does not count. Unlike §7.2 says, a wildcard is a name for its level, as on the web: certificates of
//! carriers have them.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The web's verification, and the names that only SIP has.
#[derive(Debug)]
pub(super) struct SipVerifier {
    web: Arc<WebPkiServerVerifier>,
}

impl SipVerifier {
    /// Trusts these authorities.
    pub(super) fn new(trusted: RootCertStore) -> Result<Self, VerifierBuilderError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider)
            .build()
            .map(|web| Self { web })
    }
}

impl ServerCertVerifier for SipVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let web =
            self.web
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match (web, server_name) {
            // The chain is verified before the name, so nothing but the name is missing.
            (Err(error), ServerName::DnsName(name))
                if is_of_name(&error) && has_sip_uri(end_entity, name.as_ref()) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            (outcome, _) => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.web
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.web
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.web.supported_verify_schemes()
    }
}

fn is_of_name(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

/// Whether a certificate names this domain by a SIP URI.
fn has_sip_uri(certificate: &CertificateDer<'_>, domain: &str) -> bool {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else {
        return false;
    };
    certificate
        .valid_uri_names()
        .filter_map(domain_of)
        .any(|named| named.eq_ignore_ascii_case(domain))
}

/// The domain that a SIP URI stands for: its host, where it has no user and no port (RFC 5922 §7.1).
fn domain_of(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return None;
    }
    let host = rest.split([';', '?']).next().unwrap_or_default();
    (!host.is_empty() && !host.contains(['@', ':'])).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sip_uri_names_a_domain_when_it_names_nobody_in_it() {
        let cases = [
            ("sip:carrier.example", Some("carrier.example")),
            ("SIPS:carrier.example;x=1", Some("carrier.example")),
            ("sip:bob@carrier.example", None),
            ("sip:carrier.example:5061", None),
            ("https:carrier.example", None),
            ("sip:", None),
        ];
        for (uri, domain) in cases {
            assert_eq!(domain_of(uri), domain, "{uri}");
        }
    }
}
