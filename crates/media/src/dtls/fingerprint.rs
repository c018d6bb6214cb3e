//! Fingerprints: how a description names the certificate that the handshake will show (RFC 8122 §5).

use std::fmt;

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Bytes of the longest digest.
const DIGEST_BYTES_MAX: usize = 64;

/// Hash functions that may name a certificate, the weakest first. MD5 and MD2 are not among them: RFC 8122 §5 forbids
/// both.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum HashFunction {
    /// Still what old telephones write. Nobody can make a second certificate for a given digest of it.
    Sha1,
    /// What everybody has to understand, and what we write.
    Sha256,
    /// For certificates signed with it.
    Sha384,
    /// For certificates signed with it.
    Sha512,
}

impl HashFunction {
    const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its name in a description.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    fn digest_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// The digest of a certificate.
#[derive(Clone, Copy, Eq, PartialEq, Hash)]
pub struct Fingerprint {
    hash: HashFunction,
    /// The digest, then zeroes.
    digest: [u8; DIGEST_BYTES_MAX],
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(hash: HashFunction, certificate: &[u8]) -> Self {
        let mut digest = [0; DIGEST_BYTES_MAX];
        let out = &mut digest[..hash.digest_bytes()];
        match hash {
            HashFunction::Sha1 => out.copy_from_slice(&Sha1::digest(certificate)),
            HashFunction::Sha256 => out.copy_from_slice(&Sha256::digest(certificate)),
            HashFunction::Sha384 => out.copy_from_slice(&Sha384::digest(certificate)),
            HashFunction::Sha512 => out.copy_from_slice(&Sha512::digest(certificate)),
        }
        Self { hash, digest }
    }

    /// Reads the value of `a=fingerprint`. `None` for hash functions we do not have and for digests of another length.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let name = words.next()?;
        let hash = HashFunction::ALL
            .into_iter()
            .find(|hash| hash.name().eq_ignore_ascii_case(name))?;
        let mut digest = [0; DIGEST_BYTES_MAX];
        let mut pairs = words.next()?.split(':');
        for byte in &mut digest[..hash.digest_bytes()] {
            let pair = pairs.next().filter(|pair| pair.len() == 2)?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        (pairs.next().is_none() && words.next().is_none()).then_some(Self { hash, digest })
    }

    /// The hash function.
    pub fn hash(&self) -> HashFunction {
        self.hash
    }
}

/// Whether a certificate in DER is one of those that a description names: of its fingerprints those of the strongest
/// hash function count, and one of them has to fit (RFC 8122 §5.1).
pub fn names(fingerprints: &[Fingerprint], certificate: &[u8]) -> bool {
    let strongest = fingerprints.iter().map(Fingerprint::hash).max();
    strongest.is_some_and(|hash| fingerprints.contains(&Fingerprint::of(hash, certificate)))
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.name())?;
        for (at, byte) in self.digest[..self.hash.digest_bytes()].iter().enumerate() {
            let before = if at == 0 { ' ' } else { ':' };
            write!(f, "{before}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for hash in HashFunction::ALL {
            let fingerprint = Fingerprint::of(hash, b"certificate");
            let text = fingerprint.to_string();
            assert_eq!(Fingerprint::parse(&text), Some(fingerprint), "{text}");
            assert_eq!(Fingerprint::parse(&text.to_lowercase()), Some(fingerprint));
        }
        // SHA-256 of "abc" (FIPS 180-4).
        let known = "sha-256 BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD";
        assert_eq!(
            Fingerprint::of(HashFunction::Sha256, b"abc").to_string(),
            known
        );
    }

    #[test]
    fn what_is_no_fingerprint_is_not_read() {
        let sound = Fingerprint::of(HashFunction::Sha1, b"x").to_string();
        for broken in [
            "",
            "sha-1",
            "md5 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
            &sound[..sound.len() - 3],
            &format!("{sound}:00"),
            &format!("{sound} more"),
            &sound.replace(':', ""),
            &sound.replace("sha-1", "sha-256"),
        ] {
            assert_eq!(Fingerprint::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_strongest_hash_decides() {
        let [weak, strong] =
            [HashFunction::Sha1, HashFunction::Sha256].map(|hash| Fingerprint::of(hash, b"mine"));
        let other = Fingerprint::of(HashFunction::Sha256, b"other");
        assert!(names(&[weak], b"mine"));
        assert!(names(&[other, strong], b"mine"));
        assert!(!names(&[weak, other], b"mine"), "a weak match is none");
        assert!(!names(&[], b"mine"));
    }
}
