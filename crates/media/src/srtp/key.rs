//! Master keys, and where ours come from.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use std::fmt;

use super::Suite;

/// Bytes of the longest key and salt together.
const MATERIAL_BYTES_MAX: usize = 32 + 14;

/// A master key with its salt. Printing it for debugging shows the suite alone.
#[derive(Clone, Eq, PartialEq)]
pub struct MasterKey {
    suite: Suite,
    /// Key and salt, then zeroes.
    material: [u8; MATERIAL_BYTES_MAX],
}

impl MasterKey {
    /// Key and salt one behind the other, as a description has them; `None` when the length is not the suite's.
    pub fn new(suite: Suite, material: &[u8]) -> Option<Self> {
        if material.len() != suite.key_bytes() + suite.salt_bytes() {
            return None;
        }
        let mut key = Self {
            suite,
            material: [0; MATERIAL_BYTES_MAX],
        };
        key.material[..material.len()].copy_from_slice(material);
        Some(key)
    }

    /// What it is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Key and salt one behind the other.
    pub fn material(&self) -> &[u8] {
        &self.material[..self.suite.key_bytes() + self.suite.salt_bytes()]
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.material[..self.suite.key_bytes()]
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.material()[self.suite.key_bytes()..]
    }
}

impl keep::Keep for MasterKey {
    fn keep(&self, out: &mut keep::Writer) {
        self.suite.keep(out);
        out.raw(self.material());
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        let suite = Suite::kept(input)?;
        let material = input.raw(suite.key_bytes() + suite.salt_bytes())?;
        Self::new(suite, material).ok_or(keep::Damaged::Value("key"))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

/// The master keys of both directions between us and a far end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SideKeys {
    /// Of what the far end sends.
    pub receive: MasterKey,
    /// Of what we send.
    pub send: MasterKey,
}

keep::keep!(struct SideKeys { receive, send });

/// What a [`KeySource`] begins with: 32 bytes of the operating system's generator. Printing it shows nothing.
#[derive(Clone)]
pub struct KeySeed(pub [u8; 32]);

impl fmt::Debug for KeySeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySeed")
    }
}

/// Makes keys and other secrets nobody can guess out of a seed nobody knows: the key stream of AES-256, which is as hard to predict as
/// the cipher is to break. After each key the generator is keyed anew from its own stream, so that who reads our
/// memory later learns no earlier key.
pub struct KeySource(Ctr128BE<Aes256>);

impl KeySource {
    /// A source that gives the same keys for the same seed.
    pub fn new(seed: &KeySeed) -> Self {
        Self(Ctr128BE::new(&seed.0.into(), &[0; 16].into()))
    }

    /// A new key.
    pub fn key(&mut self, suite: Suite) -> MasterKey {
        let mut key = MasterKey {
            suite,
            material: [0; MATERIAL_BYTES_MAX],
        };
        let used = suite.key_bytes() + suite.salt_bytes();
        self.0.apply_keystream(&mut key.material[..used]);
        self.renew();
        key
    }

    /// Bytes that nobody can guess and that will not come again.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.apply_keystream(&mut bytes);
        self.renew();
        bytes
    }

    fn renew(&mut self) {
        let mut seed = KeySeed([0; 32]);
        self.0.apply_keystream(&mut seed.0);
        *self = Self::new(&seed);
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySource")
    }
}
