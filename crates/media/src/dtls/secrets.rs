//! Keys out of the shared secret (RFC 5246 §5 and §8.1, RFC 7627, RFC 5705), all with SHA-256.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::wire::record::Cipher;
use crate::dtls::Role;
use crate::srtp::{MasterKey, SideKeys, Suite};

const MASTER_BYTES: usize = 48;

/// Bytes by which each end proves that it saw the same handshake (RFC 5246 §7.4.9).
pub(super) const VERIFY_BYTES: usize = 12;

/// The two random numbers of the hellos.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Randoms {
    pub(super) client: [u8; 32],
    pub(super) server: [u8; 32],
}

/// The master secret of a handshake.
pub(super) struct Master([u8; MASTER_BYTES]);

impl Master {
    /// Bound to the whole handshake up to the client's key exchange (RFC 7627), whose digest is `session`; or, with an
    /// end that does not know how, to the random numbers alone.
    pub(super) fn new(shared: &[u8], session: Option<[u8; 32]>, randoms: &Randoms) -> Self {
        let mut master = [0; MASTER_BYTES];
        match session {
            Some(session) => prf(shared, b"extended master secret", &[&session], &mut master),
            None => {
                let seed: [&[u8]; 2] = [&randoms.client, &randoms.server];
                prf(shared, b"master secret", &seed, &mut master);
            }
        }
        Self(master)
    }

    /// The ciphers of the records: the client's, then the server's.
    pub(super) fn ciphers(&self, randoms: &Randoms) -> [Cipher; 2] {
        let mut block = [0; 2 * (16 + 4)];
        let seed: [&[u8]; 2] = [&randoms.server, &randoms.client];
        prf(&self.0, b"key expansion", &seed, &mut block);
        let (keys, salts) = block.split_at(32);
        [0, 1].map(|at| {
            let (mut key, mut salt) = ([0; 16], [0; 4]);
            key.copy_from_slice(&keys[at * 16..][..16]);
            salt.copy_from_slice(&salts[at * 4..][..4]);
            Cipher::new(&key, salt)
        })
    }

    /// What an end says in Finished when the handshake has this digest.
    pub(super) fn finished(&self, whose: Role, digest: [u8; 32]) -> [u8; VERIFY_BYTES] {
        let label: &[u8] = match whose {
            Role::Client => b"client finished",
            Role::Server => b"server finished",
        };
        let mut out = [0; VERIFY_BYTES];
        prf(&self.0, label, &[&digest], &mut out);
        out
    }

    /// The keys of SRTP as the end with this role has them (RFC 5764 §4.2): both keys, then both salts, the client's
    /// first.
    pub(super) fn srtp(&self, randoms: &Randoms, suite: Suite, role: Role) -> Option<SideKeys> {
        let (key_bytes, salt_bytes) = (suite.key_bytes(), suite.salt_bytes());
        let mut material = [0; 2 * (32 + 14)];
        let material = &mut material[..2 * (key_bytes + salt_bytes)];
        let seed: [&[u8]; 2] = [&randoms.client, &randoms.server];
        prf(&self.0, b"EXTRACTOR-dtls_srtp", &seed, material);
        let (keys, salts) = material.split_at(2 * key_bytes);
        let master = |at: usize| {
            let key = &keys[at * key_bytes..][..key_bytes];
            let salt = &salts[at * salt_bytes..][..salt_bytes];
            MasterKey::new(suite, &[key, salt].concat())
        };
        let (client, server) = (master(0)?, master(1)?);
        let (send, receive) = match role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        };
        Some(SideKeys { receive, send })
    }
}

/// The digest of a handshake.
pub(super) fn digest(transcript: &[u8]) -> [u8; 32] {
    Sha256::digest(transcript).into()
}

/// Fills `out` with as many bytes of the pseudo-random function as it has (RFC 5246 §5).
fn prf(secret: &[u8], label: &[u8], seed: &[&[u8]], out: &mut [u8]) {
    let keyed = <Hmac<Sha256> as KeyInit>::new_from_slice(secret);
    let keyed = keyed.expect("HMAC takes keys of any length");
    let of = |before: &[u8]| {
        let mut mac = keyed.clone();
        mac.update(before);
        mac
    };
    let with_seed = |mut mac: Hmac<Sha256>| {
        mac.update(label);
        seed.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes()
    };
    let mut a = with_seed(of(&[]));
    for chunk in out.chunks_mut(32) {
        let block = with_seed(of(&a));
        chunk.copy_from_slice(&block[..chunk.len()]);
        a = of(&a).finalize().into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .chars()
            .filter_map(|digit| digit.to_digit(16))
            .map(|digit| digit as u8)
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    /// The vector for SHA-256 that the IETF's TLS list agreed on.
    #[test]
    fn the_pseudo_random_function_is_the_known_one() {
        let secret = hex("9bbe436ba940f017b17652849a71db35");
        let seed = hex("a0ba9f936cda311827a6f796ffd5198c");
        let expected = hex(
            "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af\
             0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701\
             87347b66",
        );
        let mut out = [0; 100];
        prf(&secret, b"test label", &[&seed], &mut out);
        assert_eq!(out.as_slice(), expected);
    }

    #[test]
    fn what_one_end_sends_the_other_receives() {
        let randoms = Randoms {
            client: [1; 32],
            server: [2; 32],
        };
        let master = Master::new(b"shared", Some([3; 32]), &randoms);
        for suite in Suite::ALL {
            let client = master.srtp(&randoms, suite, Role::Client).expect("keys");
            let server = master.srtp(&randoms, suite, Role::Server).expect("keys");
            assert_eq!(client.send, server.receive);
            assert_eq!(client.receive, server.send);
            assert_ne!(client.send, client.receive);
        }
    }
}
