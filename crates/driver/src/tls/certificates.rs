//! Our own certificates, and which of them a peer that connects is shown: the one for the name it asks for (SNI,
//! RFC 6066 §3), else the first.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Our certificates in the order of the settings; at least one.
#[derive(Debug)]
pub(super) struct Certificates {
    first: Certificate,
    others: Vec<Certificate>,
}

#[derive(Debug)]
struct Certificate {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl Certificates {
    /// Begins with the one that a peer is shown which asks for no name, or for one that we do not have.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        Certificate::new(chain, key).map(|first| Self {
            first,
            others: Vec::new(),
        })
    }

    /// Adds one for other names.
    pub(super) fn add(
        &mut self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), rustls::Error> {
        Certificate::new(chain, key).map(|certificate| self.others.push(certificate))
    }

    fn of(&self, name: Option<&str>) -> &Certificate {
        let all = || std::iter::once(&self.first).chain(&self.others);
        name.and_then(|name| {
            all().find(|certificate| certificate.names.iter().any(|own| covers(own, name)))
        })
        .unwrap_or(&self.first)
    }
}

impl Certificate {
    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let provider = rustls::crypto::ring::default_provider();
        let key = Arc::new(CertifiedKey::from_der(chain, key, &provider)?);
        let names = key
            .cert
            .first()
            .and_then(|own| {
                webpki::EndEntityCert::try_from(own)
                    .ok()
                    .map(|own| own.valid_dns_names().map(str::to_owned).collect())
            })
            .unwrap_or_default();
        Ok(Self { names, key })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.of(hello.server_name()).key))
    }
}

/// Whether a name of a certificate, which may begin with a wildcard for one level, is that name.
fn covers(own: &str, name: &str) -> bool {
    match own.strip_prefix("*.") {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(_, above)| above.eq_ignore_ascii_case(parent)),
        None => own.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_level() {
        assert!(covers("sip.example", "SIP.example"));
        assert!(covers("*.example", "sip.example"));
        assert!(!covers("*.example", "a.sip.example"));
        assert!(!covers("*.example", "example"));
        assert!(!covers("sip.example", "other.example"));
    }
}
