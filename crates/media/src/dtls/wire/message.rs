//! The messages of a handshake other than the hellos (RFC 5246 §7.4, RFC 8422 §5).

use super::hello::SIGNATURES;
use super::{Reader, u16, vec8, vec16, vec24};

pub(crate) const CLIENT_HELLO: u8 = 1;
pub(crate) const SERVER_HELLO: u8 = 2;
pub(crate) const HELLO_VERIFY_REQUEST: u8 = 3;
pub(crate) const CERTIFICATE: u8 = 11;
pub(crate) const SERVER_KEY_EXCHANGE: u8 = 12;
pub(crate) const CERTIFICATE_REQUEST: u8 = 13;
pub(crate) const SERVER_HELLO_DONE: u8 = 14;
pub(crate) const CERTIFICATE_VERIFY: u8 = 15;
pub(crate) const CLIENT_KEY_EXCHANGE: u8 = 16;
pub(crate) const FINISHED: u8 = 20;

/// "The curve has a name" (RFC 8422 §5.4).
const NAMED_CURVE: u8 = 3;

/// Kinds of certificates that a client may show: ECDSA and RSA.
const CERTIFICATE_KINDS: [u8; 2] = [64, 1];

/// A signature and how it was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Signed {
    pub(crate) algorithm: u16,
    pub(crate) signature: Vec<u8>,
}

impl Signed {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            algorithm: reader.u16()?,
            signature: reader.vec16()?.to_vec(),
        })
    }

    /// As it stands in CertificateVerify, which is nothing else.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        u16(out, self.algorithm);
        vec16(out, &self.signature);
    }

    /// The body of a CertificateVerify.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        Self::read(&mut Reader::new(body))
    }
}

/// The server's half of the key exchange.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ServerKeyExchange {
    pub(crate) group: u16,
    pub(crate) public: Vec<u8>,
    pub(crate) signed: Signed,
}

impl ServerKeyExchange {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        if reader.u8()? != NAMED_CURVE {
            return None;
        }
        Some(Self {
            group: reader.u16()?,
            public: reader.vec8()?.to_vec(),
            signed: Signed::read(&mut reader)?,
        })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = parameters(self.group, &self.public);
        self.signed.write(&mut out);
        out
    }
}

/// What the server signs besides the two random numbers.
pub(crate) fn parameters(group: u16, public: &[u8]) -> Vec<u8> {
    let mut out = vec![NAMED_CURVE];
    u16(&mut out, group);
    vec8(&mut out, public);
    out
}

/// The body of a Certificate with one certificate.
pub(crate) fn certificate(der: &[u8]) -> Vec<u8> {
    let mut chain = Vec::new();
    vec24(&mut chain, der);
    let mut out = Vec::new();
    vec24(&mut out, &chain);
    out
}

/// The first certificate of a Certificate: its sender's own. `None` when there is none.
pub(crate) fn own_certificate(body: &[u8]) -> Option<&[u8]> {
    let chain = Reader::new(body).vec24()?;
    Reader::new(chain).vec24()
}

/// The body of our CertificateRequest: any kind of key that we can verify, of any authority.
pub(crate) fn certificate_request() -> Vec<u8> {
    let mut out = Vec::new();
    vec8(&mut out, &CERTIFICATE_KINDS);
    let list: Vec<u8> = SIGNATURES
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect();
    vec16(&mut out, &list);
    vec16(&mut out, &[]);
    out
}

/// The signatures that a server's CertificateRequest allows.
pub(crate) fn requested_signatures(body: &[u8]) -> Option<Vec<u16>> {
    let mut reader = Reader::new(body);
    reader.vec8()?;
    Some(Reader::numbers(reader.vec16()?).collect())
}

/// The body of a ClientKeyExchange.
pub(crate) fn client_key_exchange(public: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    vec8(&mut out, public);
    out
}

/// The public key of a ClientKeyExchange.
pub(crate) fn client_public(body: &[u8]) -> Option<&[u8]> {
    Reader::new(body).vec8()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let exchange = ServerKeyExchange {
            group: 29,
            public: vec![1; 32],
            signed: Signed {
                algorithm: 0x0403,
                signature: vec![2; 70],
            },
        };
        let bytes = exchange.write();
        assert_eq!(ServerKeyExchange::parse(&bytes), Some(exchange));
        for length in 0..bytes.len() {
            assert_eq!(ServerKeyExchange::parse(&bytes[..length]), None);
        }
        assert_eq!(
            own_certificate(&certificate(b"der")),
            Some(b"der".as_slice())
        );
        assert_eq!(own_certificate(&[0, 0, 0]), None, "an empty chain");
        let request = certificate_request();
        assert_eq!(requested_signatures(&request), Some(SIGNATURES.to_vec()));
        let public = client_key_exchange(b"point");
        assert_eq!(client_public(&public), Some(b"point".as_slice()));
    }
}
