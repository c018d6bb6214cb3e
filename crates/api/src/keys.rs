//! API keys: how they are made, and how a wrong one is told from a right one without the store.
//!
//! A key has 60 characters: a prefix of four that shows the scope, 48 random ones from A-Z a-z 0-9, and the
//! CRC-32 of those 48 as eight hexadecimal digits. The checksum is no secret; it lets a mistyped or cut key
//! be refused before any look-up. The store holds only the SHA-256 of the key.

use model::Scope;
use rand::Rng;
use sha2::{Digest, Sha256};

/// Length of a key in characters.
pub const KEY_CHARS: usize = 60;
/// Length of the public part that names a key in paths and logs.
pub const KEY_ID_CHARS: usize = 12;
/// Length of the scope prefix.
const PREFIX_CHARS: usize = 4;
/// Length of the random part: 48 characters of 62 are 285 bits.
const RANDOM_CHARS: usize = 48;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A key at the only moment its text exists.
#[derive(Clone)]
pub struct NewKey {
    /// The key itself; shown once, never stored.
    pub key: String,
    /// Its first twelve characters.
    pub key_id: String,
    /// SHA-256 of the key, in lower-case hexadecimal: what is stored.
    pub hash: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Makes a key for a scope from the system's random source.
pub fn generate(scope: Scope) -> NewKey {
    let mut source = rand::rng();
    let random: String = (0..RANDOM_CHARS)
        .map(|_| char::from(ALPHABET[source.random_range(0..ALPHABET.len())]))
        .collect();
    let key = format!(
        "{}{random}{:08x}",
        scope.key_prefix(),
        crc32fast::hash(random.as_bytes())
    );
    NewKey {
        key_id: key[..KEY_ID_CHARS].to_owned(),
        hash: hash(&key),
        key,
    }
}

/// SHA-256 of a key in lower-case hexadecimal.
pub fn hash(key: &str) -> String {
    Sha256::digest(key.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The key-id of a text that has the form and the checksum of a key; `None` for everything else.
pub fn key_id(key: &str) -> Option<&str> {
    let plain = key.len() == KEY_CHARS
        && key.is_ascii()
        && ["nss_", "nsr_", "nsd_", "nsu_"].contains(&&key[..PREFIX_CHARS]);
    if !plain {
        return None;
    }
    let (random, checksum) = key[PREFIX_CHARS..].split_at(RANDOM_CHARS);
    let fits = random.bytes().all(|b| b.is_ascii_alphanumeric())
        && format!("{:08x}", crc32fast::hash(random.as_bytes())) == checksum;
    fits.then(|| &key[..KEY_ID_CHARS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_keys_fit() {
        for scope in [
            Scope::SuperUser,
            Scope::Reseller,
            Scope::OfficeManager,
            Scope::BasicUser,
            Scope::Ndp,
        ] {
            let new = generate(scope);
            assert_eq!(new.key.len(), KEY_CHARS);
            assert!(new.key.starts_with(scope.key_prefix()));
            assert_eq!(key_id(&new.key), Some(new.key_id.as_str()));
            assert_eq!(new.hash.len(), 64);
            assert!(!format!("{new:?}").contains(&new.key));
        }
        assert_ne!(
            generate(Scope::SuperUser).key,
            generate(Scope::SuperUser).key
        );
    }

    #[test]
    fn the_public_sample_key_fits() {
        assert_eq!(
            key_id("nsd_UKkxfEzvJnM9DkGZ0RoXs8qn3wkOuKsALxKhUcYFrwTUtxNg64676181"),
            Some("nsd_UKkxfEzv")
        );
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let key = generate(Scope::Reseller).key;
        for at in 0..KEY_CHARS {
            let mut other = key.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            // A prefix letter changed may not name another scope's prefix by chance.
            assert_eq!(
                key_id(&String::from_utf8(other).unwrap()),
                None,
                "position {at}"
            );
        }
        for text in ["", "nss_", &key[1..], &format!("{key}0"), &"é".repeat(30)] {
            assert_eq!(key_id(text), None);
        }
    }
}
