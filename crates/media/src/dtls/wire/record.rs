//! Records (RFC 6347 §4.1), and their protection by AES-128-GCM (RFC 5288).

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, KeyInit, Nonce, Tag};

use super::Reader;

/// What a record carries.
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;

/// Bytes of the header: type, version, epoch, sequence number, length.
pub(crate) const HEADER_BYTES: usize = 13;

/// DTLS 1.2, and 1.0, which a first message may still have in its record.
pub(crate) const VERSION: u16 = 0xfefd;
const VERSION_OF_OLD: u16 = 0xfeff;

/// Bytes that protection adds: the explicit part of the nonce and the tag.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;
const NONCE_BYTES: usize = 8;
const TAG_BYTES: usize = 16;

/// One record of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: u8,
    /// Epoch and sequence number, as they stand in the header.
    place: u64,
    pub(crate) body: &'a [u8],
}

impl Record<'_> {
    /// 0 is in the clear, 1 under the keys of the handshake. There is no other, for nobody may negotiate anew.
    pub(crate) fn epoch(&self) -> u16 {
        (self.place >> 48) as u16
    }

    /// The record alone, as a datagram.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.body.len());
        write(&mut out, self.kind, self.place, self.body);
        out
    }
}

/// The records of a datagram; ends at the first that is none.
pub(crate) fn records(datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut reader = Reader::new(datagram);
    std::iter::from_fn(move || {
        let kind = reader.u8()?;
        let version = reader.u16()?;
        if version != VERSION && version != VERSION_OF_OLD {
            return None;
        }
        let place = reader.array().map(u64::from_be_bytes)?;
        let body = reader.vec16()?;
        Some(Record { kind, place, body })
    })
}

/// Writes a record in the clear.
pub(crate) fn write(out: &mut Vec<u8>, kind: u8, place: u64, body: &[u8]) {
    out.push(kind);
    super::u16(out, VERSION);
    out.extend_from_slice(&place.to_be_bytes());
    super::vec16(out, body);
}

/// Protects what goes one way.
pub(crate) struct Cipher {
    cipher: Aes128Gcm,
    /// The part of the nonce that nobody sees.
    salt: [u8; 4],
}

impl Cipher {
    pub(crate) fn new(key: &[u8; 16], salt: [u8; 4]) -> Self {
        Self {
            cipher: Aes128Gcm::new(key.into()),
            salt,
        }
    }

    /// Writes a protected record.
    pub(crate) fn write(&self, out: &mut Vec<u8>, kind: u8, place: u64, body: &[u8]) {
        // RFC 5288 §3: any number that never comes twice, which the place of a record is.
        let explicit = place.to_be_bytes();
        let mut sealed = body.to_vec();
        let aad = additional(kind, place, body.len());
        let tag = self.cipher.encrypt_inout_detached(
            &self.nonce(explicit),
            &aad,
            sealed.as_mut_slice().into(),
        );
        // Fails only for texts of gigabytes.
        let Ok(tag) = tag else { return };
        let body = [explicit.as_slice(), &sealed, &tag].concat();
        write(out, kind, place, &body);
    }

    /// What a protected record says; `None` when it was not made with this key.
    pub(crate) fn open(&self, record: &Record<'_>) -> Option<Vec<u8>> {
        let mut reader = Reader::new(record.body);
        let explicit = reader.array()?;
        let length = reader.rest().len().checked_sub(TAG_BYTES)?;
        let mut text = reader.take(length)?.to_vec();
        let tag = Tag::try_from(reader.rest()).ok()?;
        let aad = additional(record.kind, record.place, length);
        self.cipher
            .decrypt_inout_detached(
                &self.nonce(explicit),
                &aad,
                text.as_mut_slice().into(),
                &tag,
            )
            .ok()?;
        Some(text)
    }

    fn nonce(&self, explicit: [u8; NONCE_BYTES]) -> Nonce<aes_gcm::aead::consts::U12> {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(&explicit);
        nonce.into()
    }
}

/// What a tag covers besides the text (RFC 5246 §6.2.3.3).
fn additional(kind: u8, place: u64, length: usize) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(&place.to_be_bytes());
    out[8] = kind;
    out[9..11].copy_from_slice(&VERSION.to_be_bytes());
    out[11..].copy_from_slice(&(length as u16).to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_protected_is_opened_and_nothing_else() {
        let cipher = Cipher::new(&[7; 16], [1, 2, 3, 4]);
        let mut out = Vec::new();
        cipher.write(&mut out, HANDSHAKE, 1 << 48 | 5, b"finished");
        let opened = |bytes: &[u8]| cipher.open(&records(bytes).next()?);
        assert_eq!(opened(&out).as_deref(), Some(b"finished".as_slice()));
        // The type, the place and the text are covered; the version was checked before.
        for at in [0, 4, 10, HEADER_BYTES, HEADER_BYTES + 9, out.len() - 1] {
            let mut forged = out.clone();
            forged[at] ^= 1;
            assert_eq!(opened(&forged), None, "byte {at}");
        }
        for length in 0..out.len() {
            assert_eq!(opened(&out[..length]), None);
        }
    }

    #[test]
    fn a_datagram_may_hold_several_records() {
        let mut out = Vec::new();
        write(&mut out, HANDSHAKE, 3, b"one");
        write(&mut out, ALERT, 1 << 48, b"two");
        let found: Vec<_> = records(&out)
            .map(|record| (record.kind, record.epoch(), record.body))
            .collect();
        let expected = [
            (HANDSHAKE, 0, b"one".as_slice()),
            (ALERT, 1, b"two".as_slice()),
        ];
        assert_eq!(found, expected);
        out.extend_from_slice(&[23, 3, 3]);
        assert_eq!(records(&out).count(), 2, "TLS is not DTLS");
    }
}
