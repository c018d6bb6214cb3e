//! Session keys from the master key (RFC 3711 §4.3, RFC 6188 §3, RFC 7714 §11).

use aes::{Aes128, Aes256};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};

use super::MasterKey;

/// What a derived key is for; the numbers are those of RFC 3711 §4.3.1 and 4.3.2.
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpCipher = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpCipher = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Fills `out` with the session key of that label.
pub(super) fn derive(master: &MasterKey, label: Label, out: &mut [u8]) {
    // The label lies above 48 bits of packet index, which stay zero as keys are derived once; a salt of 96 bits
    // counts as one of 112 that ends in zeroes.
    let mut iv = [0; 16];
    iv[..master.salt().len()].copy_from_slice(master.salt());
    iv[7] ^= label as u8;
    out.fill(0);
    match master.key().len() {
        16 => apply::<Ctr128BE<Aes128>>(master.key(), &iv, out),
        _ => apply::<Ctr128BE<Aes256>>(master.key(), &iv, out),
    }
}

fn apply<C: KeyIvInit + StreamCipher>(key: &[u8], iv: &[u8; 16], out: &mut [u8]) {
    // The lengths are the suite's, so this cannot fail; if it did, the zeroes that are left would open nothing.
    if let Ok(mut cipher) = C::new_from_slices(key, iv) {
        cipher.apply_keystream(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::Suite;
    use crate::srtp::context::hex;

    #[track_caller]
    fn check(suite: Suite, material: &str, cipher: &str, salt: &str, authentication: &str) {
        let master = MasterKey::new(suite, &hex(material)).expect("of the right length");
        for (label, expected) in [
            (Label::RtpCipher, cipher),
            (Label::RtpSalt, salt),
            (Label::RtpAuthentication, authentication),
        ] {
            let expected = hex(expected);
            let mut derived = vec![0; expected.len()];
            derive(&master, label, &mut derived);
            assert_eq!(derived, expected);
        }
    }

    #[test]
    fn keys_are_derived_as_rfc_3711_appendix_b_3_has_them() {
        check(
            Suite::Aes128CmSha1_80,
            "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6",
            "C61E7A93744F39EE10734AFE3FF7A087",
            "30CBBC08863D8C85D49DB34A9AE1",
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4",
        );
    }

    #[test]
    fn keys_are_derived_as_rfc_6188_section_7_has_them() {
        check(
            Suite::Aes256CmSha1_80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2",
            "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
            "fa31791685ca444a9e07c6c64e93",
            "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
        );
    }
}
