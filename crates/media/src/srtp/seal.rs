//! The two ways to seal: counter mode with a separate tag, and Galois/counter mode.

use aes::{Aes128, Aes256};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit, Nonce, Tag};
use ctr::CtrCore;
use ctr::cipher::consts::U16;
use ctr::cipher::{BlockCipherEncrypt, InnerIvInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::derivation::{Label, derive};
use super::{MasterKey, Suite};

/// Bytes of an authentication key (RFC 3711 §5.2).
const AUTHENTICATION_KEY_BYTES: usize = 20;

/// Bytes of a tag of Galois/counter mode.
const GCM_TAG_BYTES: usize = 16;

/// Session keys of RTP or of RTCP.
pub(super) struct Sealer {
    kind: Kind,
    salt: [u8; 14],
    /// Bytes of the tag.
    pub(super) tag_bytes: usize,
}

// The large ones are boxed already, by those who hold a context.
#[allow(
    clippy::large_enum_variant,
    reason = "one per direction of a stream, boxed as a whole"
)]
enum Kind {
    Counter {
        cipher: Block,
        authentication: Hmac<Sha1>,
    },
    Galois(Galois),
}

#[allow(clippy::large_enum_variant, reason = "as above")]
enum Block {
    Aes128(Aes128),
    Aes256(Aes256),
}

#[allow(clippy::large_enum_variant, reason = "as above")]
enum Galois {
    Aes128(Aes128Gcm),
    Aes256(Aes256Gcm),
}

/// What is sealed: where it stands and what its tag covers besides.
pub(super) struct Place {
    pub(super) ssrc: u32,
    /// 48 bits for RTP, 31 for RTCP.
    pub(super) index: u64,
}

impl Sealer {
    pub(super) fn rtp(master: &MasterKey) -> Self {
        let labels = [Label::RtpCipher, Label::RtpAuthentication, Label::RtpSalt];
        Self::new(master, labels, master.suite().rtp_tag_bytes())
    }

    pub(super) fn rtcp(master: &MasterKey) -> Self {
        let labels = [
            Label::RtcpCipher,
            Label::RtcpAuthentication,
            Label::RtcpSalt,
        ];
        Self::new(master, labels, master.suite().rtcp_tag_bytes())
    }

    fn new(
        master: &MasterKey,
        [cipher, authentication, salt]: [Label; 3],
        tag_bytes: usize,
    ) -> Self {
        let suite = master.suite();
        let mut session_salt = [0; 14];
        derive(master, salt, &mut session_salt[..suite.salt_bytes()]);
        let mut key = [0; 32];
        derive(master, cipher, &mut key[..suite.key_bytes()]);
        let [short, long] = [&key[..16], &key[..]];
        let short: &[u8; 16] = short.try_into().expect("sixteen of thirty-two");
        let long: &[u8; 32] = long.try_into().expect("all of them");
        let counter = |cipher| {
            let mut key = [0; AUTHENTICATION_KEY_BYTES];
            derive(master, authentication, &mut key);
            let authentication = <Hmac<Sha1> as KeyInit>::new_from_slice(&key);
            Kind::Counter {
                cipher,
                authentication: authentication.expect("HMAC takes keys of any length"),
            }
        };
        let kind = match suite {
            Suite::Aes128CmSha1_80 | Suite::Aes128CmSha1_32 => {
                counter(Block::Aes128(Aes128::new(short.into())))
            }
            Suite::Aes256CmSha1_80 | Suite::Aes256CmSha1_32 => {
                counter(Block::Aes256(Aes256::new(long.into())))
            }
            Suite::Aes128Gcm => Kind::Galois(Galois::Aes128(Aes128Gcm::new(short.into()))),
            Suite::Aes256Gcm => Kind::Galois(Galois::Aes256(Aes256Gcm::new(long.into()))),
        };
        Self {
            kind,
            salt: session_salt,
            tag_bytes,
        }
    }

    #[cfg(test)]
    pub(super) fn galois_of_session_key(key: &[u8; 16], salt: &[u8; 12]) -> Self {
        let mut padded = [0; 14];
        padded[..12].copy_from_slice(salt);
        Self {
            kind: Kind::Galois(Galois::Aes128(Aes128Gcm::new(key.into()))),
            salt: padded,
            tag_bytes: GCM_TAG_BYTES,
        }
    }

    /// Whether the cipher makes the tag itself, covering `aad` and the text, or the tag covers the whole packet.
    pub(super) fn is_galois(&self) -> bool {
        matches!(self.kind, Kind::Galois(_))
    }

    /// Encrypts or decrypts `text` in counter mode.
    pub(super) fn apply_counter(&self, place: &Place, text: &mut [u8]) {
        let Kind::Counter { cipher, .. } = &self.kind else {
            return;
        };
        // RFC 3711 §4.1.1: salt, SSRC and index side by side, the last two bytes counting blocks.
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &place.ssrc.to_be_bytes());
        xor(&mut iv[8..14], &place.index.to_be_bytes()[2..]);
        match cipher {
            Block::Aes128(aes) => counter(aes.clone(), iv, text),
            Block::Aes256(aes) => counter(aes.clone(), iv, text),
        }
    }

    /// Writes the tag over `covered` and then `more`, as long as `tag` is.
    pub(super) fn write_tag(&self, covered: &[u8], more: &[u8], tag: &mut [u8]) {
        if let Some(mac) = self.mac(covered, more) {
            let whole = mac.finalize().into_bytes();
            tag.copy_from_slice(&whole[..tag.len()]);
        }
    }

    /// Whether `tag` is genuine, in time that does not tell how much of it is right.
    pub(super) fn check_tag(&self, covered: &[u8], more: &[u8], tag: &[u8]) -> bool {
        self.mac(covered, more)
            .is_some_and(|mac| mac.verify_truncated_left(tag).is_ok())
    }

    fn mac(&self, covered: &[u8], more: &[u8]) -> Option<Hmac<Sha1>> {
        let Kind::Counter { authentication, .. } = &self.kind else {
            return None;
        };
        let mut mac = authentication.clone();
        mac.update(covered);
        mac.update(more);
        Some(mac)
    }

    /// Encrypts `text` and returns its tag.
    pub(super) fn seal_galois(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; GCM_TAG_BYTES]> {
        let Kind::Galois(cipher) = &self.kind else {
            return None;
        };
        let nonce = Nonce::from(nonce);
        let tag = match cipher {
            Galois::Aes128(gcm) => gcm.encrypt_inout_detached(&nonce, aad, text.into()),
            Galois::Aes256(gcm) => gcm.encrypt_inout_detached(&nonce, aad, text.into()),
        };
        tag.ok().map(Into::into)
    }

    /// Decrypts `text` if `tag` is genuine.
    pub(super) fn open_galois(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8],
    ) -> bool {
        let (Kind::Galois(cipher), Ok(tag)) = (&self.kind, <[u8; GCM_TAG_BYTES]>::try_from(tag))
        else {
            return false;
        };
        let (nonce, tag) = (Nonce::from(nonce), Tag::from(tag));
        match cipher {
            Galois::Aes128(gcm) => gcm.decrypt_inout_detached(&nonce, aad, text.into(), &tag),
            Galois::Aes256(gcm) => gcm.decrypt_inout_detached(&nonce, aad, text.into(), &tag),
        }
        .is_ok()
    }

    /// The nonce of an RTP packet (RFC 7714 §8.1).
    pub(super) fn rtp_nonce(&self, place: &Place) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&place.ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&place.index.to_be_bytes()[2..]);
        xor(&mut nonce, &self.salt);
        nonce
    }

    /// The nonce of a report (RFC 7714 §9.1).
    pub(super) fn rtcp_nonce(&self, place: &Place) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&place.ssrc.to_be_bytes());
        nonce[8..].copy_from_slice(&(place.index as u32).to_be_bytes());
        xor(&mut nonce, &self.salt);
        nonce
    }
}

/// Counter mode with a cipher whose key schedule is ready.
fn counter(cipher: impl BlockCipherEncrypt<BlockSize = U16>, iv: [u8; 16], text: &mut [u8]) {
    let core = CtrCore::<_, Ctr128BE>::inner_iv_init(cipher, &iv.into());
    StreamCipherCoreWrapper::from_core(core).apply_keystream(text);
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    for (byte, with) in bytes.iter_mut().zip(with) {
        *byte ^= with;
    }
}
