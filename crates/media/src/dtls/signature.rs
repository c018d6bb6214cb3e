//! Signatures: ours by ECDSA on P-256, the far end's by that, P-384 or RSA.
//!
//! Of the far end's certificate only the public key is read. Whether it is the right certificate, its fingerprint says;
//! names, dates and authorities mean nothing here.

use p256::ecdsa::signature::Signer;
use p256::pkcs8::DecodePrivateKey;
use ring::signature::{self as verifiers, UnparsedPublicKey, VerificationAlgorithm};

use super::wire::hello::ECDSA_SHA256;
use super::wire::message::Signed;

/// Whose key a certificate has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    P256,
    P384,
    Rsa,
}

/// A key that signs.
#[derive(Clone)]
pub(super) struct SigningKey(p256::ecdsa::SigningKey);

impl SigningKey {
    /// Reads PKCS #8 in DER.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        p256::ecdsa::SigningKey::from_pkcs8_der(der).ok().map(Self)
    }

    /// Signs. The number that ECDSA needs follows from key and text (RFC 6979), so it needs no generator and cannot
    /// come twice.
    pub(super) fn sign(&self, text: &[u8]) -> Signed {
        let signature: p256::ecdsa::Signature = self.0.sign(text);
        Signed {
            algorithm: ECDSA_SHA256,
            signature: signature.to_der().as_bytes().to_vec(),
        }
    }
}

/// Whether the owner of a certificate, in DER, signed a text.
pub(super) fn verifies(certificate: &[u8], text: &[u8], signed: &Signed) -> bool {
    let Some((kind, key)) = public_key(certificate) else {
        return false;
    };
    let algorithm: &dyn VerificationAlgorithm = match (signed.algorithm, kind) {
        (0x0403, Kind::P256) => &verifiers::ECDSA_P256_SHA256_ASN1,
        (0x0403, Kind::P384) => &verifiers::ECDSA_P384_SHA256_ASN1,
        (0x0503, Kind::P256) => &verifiers::ECDSA_P256_SHA384_ASN1,
        (0x0503, Kind::P384) => &verifiers::ECDSA_P384_SHA384_ASN1,
        // Telephones of ten years ago have keys of 1,024 bits, and cannot be given others.
        (0x0401, Kind::Rsa) => &verifiers::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        (0x0501, Kind::Rsa) => &verifiers::RSA_PKCS1_2048_8192_SHA384,
        (0x0601, Kind::Rsa) => &verifiers::RSA_PKCS1_2048_8192_SHA512,
        _ => return false,
    };
    UnparsedPublicKey::new(algorithm, key)
        .verify(text, &signed.signature)
        .is_ok()
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const VERSION: u8 = 0xa0;

const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// The public key of a certificate (RFC 5280 §4.1).
fn public_key(certificate: &[u8]) -> Option<(Kind, &[u8])> {
    let mut outer = Der(certificate);
    let mut certificate = Der(outer.value(SEQUENCE)?);
    let mut signed = Der(certificate.value(SEQUENCE)?);
    if signed.0.first() == Some(&VERSION) {
        signed.value(VERSION)?;
    }
    signed.value(INTEGER)?;
    // Signature algorithm, issuer, validity, subject.
    for _ in 0..4 {
        signed.value(SEQUENCE)?;
    }
    let mut info = Der(signed.value(SEQUENCE)?);
    let mut algorithm = Der(info.value(SEQUENCE)?);
    let kind = match algorithm.value(OBJECT_IDENTIFIER)? {
        RSA_ENCRYPTION => Kind::Rsa,
        EC_PUBLIC_KEY => match algorithm.value(OBJECT_IDENTIFIER)? {
            PRIME256V1 => Kind::P256,
            SECP384R1 => Kind::P384,
            _ => return None,
        },
        _ => return None,
    };
    // The first byte of a bit string says how many bits of the last are none.
    let (unused, key) = info.value(BIT_STRING)?.split_first()?;
    (*unused == 0).then_some((kind, key))
}

/// What is left to read of DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The value of the next element, which has to have this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        if *found != tag {
            return None;
        }
        let (length, rest) = match rest.split_first()? {
            (short, rest) if *short < 0x80 => (usize::from(*short), rest),
            (0x81, rest) => {
                let ([length], rest) = rest.split_first_chunk()?;
                (usize::from(*length), rest)
            }
            (0x82, rest) => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate and its key in PKCS #8, both in DER.
    fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (Vec<u8>, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let params = rcgen::CertificateParams::new(vec!["phone".to_owned()]).expect("sound");
        (
            params.self_signed(&key).expect("signed").der().to_vec(),
            key,
        )
    }

    #[test]
    fn what_we_sign_is_verified_and_nothing_else() {
        let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (other, _) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let signed = SigningKey::parse(&key.serialize_der())
            .expect("a key of P-256")
            .sign(b"text");
        assert!(verifies(&certificate, b"text", &signed));
        assert!(!verifies(&certificate, b"tex", &signed));
        assert!(!verifies(&other, b"text", &signed));
        let mislabelled = Signed {
            algorithm: 0x0401,
            ..signed
        };
        assert!(!verifies(&certificate, b"text", &mislabelled));
    }

    #[test]
    fn keys_of_other_kinds_are_found() {
        let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P384_SHA384);
        let (kind, found) = public_key(&certificate).expect("a key");
        assert_eq!(kind, Kind::P384);
        assert_eq!(found, rcgen::PublicKeyData::der_bytes(&key));
        let (certificate, _) = pair(&rcgen::PKCS_ED25519);
        assert_eq!(public_key(&certificate), None, "nobody agreed to that");
    }

    #[test]
    fn bytes_that_are_no_certificate_have_no_key() {
        let (certificate, _) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        for length in 0..certificate.len() {
            assert_eq!(public_key(&certificate[..length]), None);
        }
    }
}
