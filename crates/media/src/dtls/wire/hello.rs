//! The two hellos (RFC 5246 §7.4.1, RFC 6347 §4.2.1) and the extensions that matter to us.

use super::{Reader, record, u16, vec8, vec16};
use crate::srtp::Suite;

/// Cipher suites (RFC 5289): which differ in whose signature the server shows.
pub(crate) const ECDHE_ECDSA_AES_128_GCM: u16 = 0xc02b;
pub(crate) const ECDHE_RSA_AES_128_GCM: u16 = 0xc02f;

/// "I would renegotiate safely" (RFC 5746 §3.3), written as a cipher suite.
const RENEGOTIATION_SCSV: u16 = 0x00ff;

/// Curves (RFC 8422 §5.1.1).
pub(crate) const X25519: u16 = 29;
pub(crate) const SECP256R1: u16 = 23;

/// Bytes of the longest cookie.
pub(crate) const COOKIE_BYTES_MAX: usize = 255;

const SUPPORTED_GROUPS: u16 = 10;
const POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
const USE_SRTP: u16 = 14;
const EXTENDED_MASTER_SECRET: u16 = 23;
const RENEGOTIATION_INFO: u16 = 0xff01;

/// Protection profiles of SRTP (RFC 5764 §4.1.2, RFC 7714 §14.2), in our order of preference: what authenticates best
/// for its cost comes first.
const PROFILES: [(u16, Suite); 4] = [
    (0x0007, Suite::Aes128Gcm),
    (0x0008, Suite::Aes256Gcm),
    (0x0001, Suite::Aes128CmSha1_80),
    (0x0002, Suite::Aes128CmSha1_32),
];

/// Signatures (RFC 5246 §7.4.1.4.1) that can be verified, in our order of preference: hash, then kind of key.
pub(crate) const SIGNATURES: [u16; 5] = [0x0403, 0x0503, 0x0401, 0x0501, 0x0601];

/// ECDSA with SHA-256: how we sign.
pub(crate) const ECDSA_SHA256: u16 = 0x0403;

/// What a client says first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ClientHello {
    pub(crate) random: [u8; 32],
    pub(crate) cookie: Vec<u8>,
    pub(crate) ciphers: Vec<u16>,
    pub(crate) groups: Vec<u16>,
    /// Empty when it says nothing about them.
    pub(crate) signatures: Vec<u16>,
    /// Of the profiles it knows, those that we know.
    pub(crate) profiles: Vec<Suite>,
    pub(crate) extended_master_secret: bool,
    renegotiation_info: bool,
    point_formats: bool,
}

/// What a server answers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ServerHello {
    pub(crate) random: [u8; 32],
    pub(crate) cipher: u16,
    pub(crate) profile: Option<Suite>,
    pub(crate) extended_master_secret: bool,
    renegotiation_info: bool,
    point_formats: bool,
}

impl ClientHello {
    /// Ours.
    pub(crate) fn new(random: [u8; 32], cookie: &[u8]) -> Self {
        Self {
            random,
            cookie: cookie.to_vec(),
            ciphers: vec![ECDHE_ECDSA_AES_128_GCM, ECDHE_RSA_AES_128_GCM],
            groups: vec![X25519, SECP256R1],
            signatures: SIGNATURES.to_vec(),
            profiles: PROFILES.map(|(_, suite)| suite).to_vec(),
            extended_master_secret: true,
            renegotiation_info: true,
            point_formats: true,
        }
    }

    /// `None` when it makes no sense, or is of a version before 1.2.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        // Versions count down; later ones say 1.2 here and themselves in an extension.
        if reader.u16()? > record::VERSION {
            return None;
        }
        let mut hello = Self {
            random: reader.array()?,
            ..Self::default()
        };
        reader.vec8()?;
        hello.cookie = reader.vec8()?.to_vec();
        hello.ciphers = Reader::numbers(reader.vec16()?).collect();
        if !reader.vec8()?.contains(&0) {
            return None;
        }
        hello.renegotiation_info = hello.ciphers.contains(&RENEGOTIATION_SCSV);
        for (kind, value) in extensions(&mut reader)? {
            let mut value = Reader::new(value);
            match kind {
                SUPPORTED_GROUPS => hello.groups = Reader::numbers(value.vec16()?).collect(),
                SIGNATURE_ALGORITHMS => {
                    hello.signatures = Reader::numbers(value.vec16()?).collect();
                }
                USE_SRTP => hello.profiles = profiles(value.vec16()?),
                EXTENDED_MASTER_SECRET => hello.extended_master_secret = true,
                RENEGOTIATION_INFO => hello.renegotiation_info = true,
                POINT_FORMATS => hello.point_formats = true,
                _ => {}
            }
        }
        Some(hello)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(200);
        u16(&mut out, record::VERSION);
        out.extend_from_slice(&self.random);
        vec8(&mut out, &[]);
        vec8(&mut out, &self.cookie);
        vec16(&mut out, &numbers(&self.ciphers));
        vec8(&mut out, &[0]);
        let mut all = Vec::new();
        let mut listed = |kind, list: &[u8]| {
            let mut value = Vec::new();
            vec16(&mut value, list);
            extension(&mut all, kind, &value);
        };
        listed(SUPPORTED_GROUPS, &numbers(&self.groups));
        listed(SIGNATURE_ALGORITHMS, &numbers(&self.signatures));
        extension(&mut all, USE_SRTP, &use_srtp(&self.profiles));
        extension(&mut all, POINT_FORMATS, &[1, 0]);
        extension(&mut all, EXTENDED_MASTER_SECRET, &[]);
        extension(&mut all, RENEGOTIATION_INFO, &[0]);
        vec16(&mut out, &all);
        out
    }

    /// The profile to use: the one we like best of those it knows.
    pub(crate) fn best_profile(&self) -> Option<Suite> {
        let known = PROFILES.iter().map(|(_, suite)| *suite);
        known
            .into_iter()
            .find(|suite| self.profiles.contains(suite))
    }
}

impl ServerHello {
    /// Our answer, with what it may have of the extensions that were asked for.
    pub(crate) fn answer(to: &ClientHello, random: [u8; 32], profile: Suite) -> Self {
        Self {
            random,
            cipher: ECDHE_ECDSA_AES_128_GCM,
            profile: Some(profile),
            extended_master_secret: to.extended_master_secret,
            renegotiation_info: to.renegotiation_info,
            point_formats: to.point_formats,
        }
    }

    /// `None` when it makes no sense, or chooses what no client of ours offers.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        if reader.u16()? != record::VERSION {
            return None;
        }
        let mut hello = Self {
            random: reader.array()?,
            ..Self::default()
        };
        reader.vec8()?;
        hello.cipher = reader.u16()?;
        if reader.u8()? != 0 {
            return None;
        }
        for (kind, value) in extensions(&mut reader)? {
            let mut value = Reader::new(value);
            match kind {
                USE_SRTP => hello.profile = profiles(value.vec16()?).first().copied(),
                EXTENDED_MASTER_SECRET => hello.extended_master_secret = true,
                RENEGOTIATION_INFO => hello.renegotiation_info = true,
                POINT_FORMATS => hello.point_formats = true,
                _ => {}
            }
        }
        Some(hello)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(100);
        u16(&mut out, record::VERSION);
        out.extend_from_slice(&self.random);
        vec8(&mut out, &[]);
        u16(&mut out, self.cipher);
        out.push(0);
        let mut all = Vec::new();
        if let Some(profile) = self.profile {
            extension(&mut all, USE_SRTP, &use_srtp(&[profile]));
        }
        if self.extended_master_secret {
            extension(&mut all, EXTENDED_MASTER_SECRET, &[]);
        }
        if self.renegotiation_info {
            extension(&mut all, RENEGOTIATION_INFO, &[0]);
        }
        if self.point_formats {
            extension(&mut all, POINT_FORMATS, &[1, 0]);
        }
        vec16(&mut out, &all);
        out
    }
}

/// The cookie that a client has to repeat: the body of a HelloVerifyRequest, which says 1.0 whatever follows
/// (RFC 6347 §4.2.1).
pub(crate) fn verify_request(cookie: &[u8]) -> Vec<u8> {
    let mut out = vec![0xfe, 0xff];
    vec8(&mut out, cookie);
    out
}

/// The cookie of a HelloVerifyRequest.
pub(crate) fn cookie_of(body: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(body);
    reader.u16()?;
    reader.vec8()
}

/// The extensions behind a hello; none at all is as good as an empty list.
fn extensions<'a>(reader: &mut Reader<'a>) -> Option<impl Iterator<Item = (u16, &'a [u8])>> {
    let list = match reader.is_empty() {
        true => &[],
        false => reader.vec16()?,
    };
    let mut reader = Reader::new(list);
    Some(std::iter::from_fn(move || {
        Some((reader.u16()?, reader.vec16()?))
    }))
}

fn extension(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    u16(out, kind);
    vec16(out, value);
}

fn numbers(list: &[u16]) -> Vec<u8> {
    list.iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

fn profiles(list: &[u8]) -> Vec<Suite> {
    let known = |number| {
        let mut all = PROFILES.iter();
        all.find(|(known, _)| *known == number)
            .map(|(_, suite)| *suite)
    };
    Reader::numbers(list).filter_map(known).collect()
}

/// The value of `use_srtp`: profiles, and no master key identifier.
fn use_srtp(suites: &[Suite]) -> Vec<u8> {
    let chosen = PROFILES.iter().filter(|(_, suite)| suites.contains(suite));
    let list: Vec<u16> = chosen.map(|(number, _)| *number).collect();
    let mut out = Vec::new();
    vec16(&mut out, &numbers(&list));
    vec8(&mut out, &[]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let hello = ClientHello::new([7; 32], b"cookie");
        assert_eq!(ClientHello::parse(&hello.write()), Some(hello.clone()));
        assert_eq!(hello.best_profile(), Some(Suite::Aes128Gcm));
        let answer = ServerHello::answer(&hello, [8; 32], Suite::Aes128CmSha1_80);
        assert_eq!(ServerHello::parse(&answer.write()), Some(answer));
        assert_eq!(cookie_of(&verify_request(b"abc")), Some(b"abc".as_slice()));
    }

    #[test]
    fn an_answer_has_no_extension_that_nobody_asked_for() {
        let bare = ClientHello {
            ciphers: vec![ECDHE_ECDSA_AES_128_GCM],
            ..ClientHello::default()
        };
        let answer = ServerHello::answer(&bare, [8; 32], Suite::Aes128Gcm);
        assert!(!answer.extended_master_secret && !answer.renegotiation_info);
        let scsv = ClientHello {
            ciphers: vec![ECDHE_ECDSA_AES_128_GCM, RENEGOTIATION_SCSV],
            ..ClientHello::default()
        };
        let read = ClientHello::parse(&scsv.write()).expect("sound");
        let answer = ServerHello::answer(&read, [8; 32], Suite::Aes128Gcm);
        assert!(answer.renegotiation_info);
    }

    #[test]
    fn a_hello_that_ends_early_is_none() {
        let whole = ClientHello::new([7; 32], b"cookie").write();
        for length in 0..whole.len() {
            let cut = ClientHello::parse(&whole[..length]);
            // Without the extensions it is a hello still, of somebody who knows none.
            assert!(
                cut.is_none_or(|hello| hello.profiles.is_empty()),
                "{length}"
            );
        }
        let mut old = whole;
        old[1] = 0xff;
        assert_eq!(ClientHello::parse(&old), None, "DTLS 1.0");
    }
}
