//! The key exchange: one half each, and a secret that only the two halves' owners can know (RFC 8422).

use p256::elliptic_curve::sec1::ToSec1Point;

use super::wire::hello::{SECP256R1, X25519};
use crate::srtp::KeySource;

/// Our half. Used once.
pub(super) struct Exchange {
    secret: Secret,
    public: Vec<u8>,
}

enum Secret {
    X25519([u8; 32]),
    P256(p256::SecretKey),
}

/// How often a random number may fail to be a secret of P-256, of which one in four thousand million does.
const TRIES_MAX: usize = 8;

impl Exchange {
    /// A new half on the first of these curves that we have: X25519 before P-256, for it is three times as fast.
    pub(super) fn new(source: &mut KeySource, groups: &[u16]) -> Option<Self> {
        if groups.contains(&X25519) {
            let secret = source.bytes();
            let public = x25519_dalek::x25519(secret, x25519_dalek::X25519_BASEPOINT_BYTES);
            return Some(Self {
                secret: Secret::X25519(secret),
                public: public.to_vec(),
            });
        }
        // Who does not say which curves it has, has the one that everybody has (RFC 8422 §4).
        if !groups.is_empty() && !groups.contains(&SECP256R1) {
            return None;
        }
        let mut tries = (0..TRIES_MAX).map(|_| source.bytes::<32>());
        let secret = tries.find_map(|bytes| p256::SecretKey::from_slice(&bytes).ok())?;
        let public = secret.public_key().to_sec1_point(false);
        Some(Self {
            public: public.as_bytes().to_vec(),
            secret: Secret::P256(secret),
        })
    }

    pub(super) fn group(&self) -> u16 {
        match self.secret {
            Secret::X25519(_) => X25519,
            Secret::P256(_) => SECP256R1,
        }
    }

    /// What the far end may see.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret; `None` when the far end's half is no point that makes one.
    pub(super) fn shared(&self, theirs: &[u8]) -> Option<[u8; 32]> {
        match &self.secret {
            Secret::X25519(secret) => {
                let shared = x25519_dalek::x25519(*secret, theirs.try_into().ok()?);
                // RFC 7748 §6.1: a point of small order makes a secret that everybody knows.
                (shared != [0; 32]).then_some(shared)
            }
            Secret::P256(secret) => {
                let theirs = p256::PublicKey::from_sec1_bytes(theirs).ok()?;
                let shared = secret.diffie_hellman(&theirs);
                let mut out = [0; 32];
                out.copy_from_slice(shared.raw_secret_bytes());
                Some(out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::KeySeed;

    #[test]
    fn both_ends_come_to_the_same_secret() {
        let mut source = KeySource::new(&KeySeed([1; 32]));
        for (groups, chosen) in [
            (vec![SECP256R1, X25519], X25519),
            (vec![24, SECP256R1], SECP256R1),
            (vec![], SECP256R1),
        ] {
            let [one, two] =
                [(), ()].map(|()| Exchange::new(&mut source, &groups).expect("a curve"));
            assert_eq!(one.group(), chosen);
            let shared = one.shared(two.public()).expect("a secret");
            assert_eq!(two.shared(one.public()), Some(shared));
            assert_eq!(one.shared(&[0; 32]), None);
            assert_eq!(one.shared(b"short"), None);
        }
        assert!(Exchange::new(&mut source, &[24]).is_none());
    }
}
