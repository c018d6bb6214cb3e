//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 §22), the server's and the client's half.
//!
//! A nonce proves by itself when and by whom it was made, so challenges cost no memory; only
//! nonces that were used successfully are remembered, to refuse a replay, and that table is bounded.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::message::header::challenge::{Algorithm, Challenge, Qop};
use crate::message::header::credentials::{DigestCredentials, QopValues};

/// How long a nonce may be used, in seconds.
pub const NONCE_LIFETIME_SECONDS: u64 = 60;

/// How many used nonces are remembered. At the bound the oldest is forgotten, and with it every
/// nonce made before it becomes stale: a client then answers one more challenge, nothing else.
pub const USED_NONCES_MAX: usize = 65_536;

/// What challenges offer unless they are told otherwise, in this order.
///
/// MD5 stands first although RFC 8760 §2.4 would have the strongest there: many phones and gateways look at the first
/// challenge alone and give up on an algorithm they do not know, while those that know SHA-256 look at all of them.
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::Md5, Algorithm::Sha256];

/// A password. Printing it for debugging shows none of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password, for computing with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What a client proves that it knows.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// The only realm that is answered; `None` answers any.
    pub realm: Option<String>,
}

/// The result of looking at an Authorization header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right and the nonce fresh.
    Ok,
    /// The password is right, but the nonce is too old, unknown or used up: challenge again with
    /// `stale`.
    Stale,
    /// The answer is wrong.
    Wrong(Wrong),
    /// Another scheme, an algorithm or protection that was not offered, or something that cannot
    /// be read. Treated as if the header were not there.
    Unusable,
}

/// In what an answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is for another realm.
    Realm,
    /// It is from another user.
    Username,
    /// The password, or something else that is hashed.
    Password,
}

/// The server's half: makes challenges and checks answers.
pub struct Authenticator {
    key: [u8; 32],
    /// Offered in this order, and no other is accepted.
    algorithms: Vec<Algorithm>,
    /// Nonces tell time relative to the first use of this value.
    epoch: Option<Instant>,
    serial: u64,
    /// Used nonces by serial number.
    used: BTreeMap<u64, Used>,
    /// Nonces with a smaller serial number may have been forgotten.
    oldest_remembered: u64,
}

struct Used {
    expires: Instant,
    nonce_count: u32,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("used", &self.used.len())
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// `secret` signs the nonces; take it from the operating system's generator.
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            key: secret,
            algorithms: ALGORITHMS.to_vec(),
            epoch: None,
            serial: 0,
            used: BTreeMap::new(),
            oldest_remembered: 0,
        }
    }

    /// Offers and accepts these algorithms alone, in this order; `-sess` goes with its algorithm.
    #[must_use]
    pub fn offering(mut self, algorithms: Vec<Algorithm>) -> Self {
        self.algorithms = algorithms;
        self
    }

    /// The values of the WWW-Authenticate (or Proxy-Authenticate) headers. `stale` says that only the
    /// nonce was wrong.
    ///
    /// Only `auth` is offered: what changes a body on
    /// its way would break every `auth-int` answer, which is checked all the same when one comes.
    pub fn challenge(&mut self, now: Instant, realm: &str, stale: bool) -> Vec<String> {
        let milliseconds = self.milliseconds(now);
        self.serial += 1;
        let nonce = self.nonce(milliseconds, self.serial, realm);
        self.algorithms
            .iter()
            .map(|&algorithm| {
                Challenge {
                    realm: realm.to_owned(),
                    nonce: nonce.clone(),
                    opaque: None,
                    algorithm: Some(algorithm),
                    qop: vec![Qop::Auth],
                    has_qop: true,
                    stale,
                }
                .to_string()
            })
            .collect()
    }

    /// Checks the value of one Authorization (or Proxy-Authorization) header against what the user
    /// should have sent. `body` counts when the client protects it (`auth-int`).
    ///
    /// An answer without qop, in the manner of RFC 2069, is accepted: gateways that predate RFC
    /// 2617 answer so whatever they are offered, and RFC 7616 leaves it to the server. Having no
    /// count to tell a repetition from a replay, it may use a nonce once.
    ///
    /// The digest's `uri` is not compared with the Request-URI, which proxies rewrite; a captured
    /// answer is of no use on another request because its nonce count is spent.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a distinct input of the hash"
    )]
    pub fn verify(
        &mut self,
        now: Instant,
        method: &str,
        authorization: &str,
        body: &[u8],
        realm: &str,
        username: &str,
        password: &Secret,
    ) -> Verdict {
        let Some(given) = DigestCredentials::parse(authorization) else {
            return Verdict::Unusable;
        };
        let Some(algorithm) = given.algorithm else {
            return Verdict::Unusable;
        };
        if !self
            .algorithms
            .iter()
            .any(|&offered| strength(offered) == strength(algorithm))
        {
            return Verdict::Unusable;
        }
        if given.realm != realm {
            return Verdict::Wrong(Wrong::Realm);
        }
        if given.username != username {
            return Verdict::Wrong(Wrong::Username);
        }
        if algorithm.is_session() && given.qop.is_none() {
            return Verdict::Unusable;
        }
        let expected = Hashed {
            algorithm,
            username,
            realm,
            password,
            method,
            uri: &given.uri,
            nonce: &given.nonce,
            body,
            qop: given.qop.as_ref(),
        }
        .response();
        if !same(
            expected.as_bytes(),
            given.response.to_ascii_lowercase().as_bytes(),
        ) {
            return Verdict::Wrong(Wrong::Password);
        }
        let Some((issued, serial)) = self.read_nonce(&given.nonce, realm) else {
            return Verdict::Stale;
        };
        if self.spend(now, issued, serial, given.qop.as_ref()) {
            Verdict::Ok
        } else {
            Verdict::Stale
        }
    }

    /// Uses up one nonce count; false when it is spent, or the nonce too old.
    fn spend(&mut self, now: Instant, issued: u64, serial: u64, qop: Option<&QopValues>) -> bool {
        let Some(epoch) = self.epoch else {
            return false;
        };
        let expires =
            epoch + Duration::from_millis(issued) + Duration::from_secs(NONCE_LIFETIME_SECONDS);
        self.forget_expired(now);
        if expires <= now || serial < self.oldest_remembered {
            return false;
        }
        // Without a count the one use is the last.
        let nonce_count = qop.map_or(u32::MAX, |values| values.nonce_count);
        if nonce_count == 0
            || self
                .used
                .get(&serial)
                .is_some_and(|used| used.nonce_count >= nonce_count)
        {
            return false;
        }
        self.used.insert(
            serial,
            Used {
                expires,
                nonce_count,
            },
        );
        if self.used.len() > USED_NONCES_MAX
            && let Some((forgotten, _)) = self.used.pop_first()
        {
            self.oldest_remembered = forgotten + 1;
        }
        true
    }

    fn forget_expired(&mut self, now: Instant) {
        while let Some(oldest) = self.used.first_entry()
            && oldest.get().expires <= now
        {
            oldest.remove();
        }
    }

    fn milliseconds(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        u64::try_from(now.saturating_duration_since(epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// Time and serial number in hexadecimal, and a keyed hash over both and the realm.
    fn nonce(&self, milliseconds: u64, serial: u64, realm: &str) -> String {
        let plain = format!("{milliseconds:012x}{serial:012x}");
        let tag = hmac_sha256(&self.key, &[plain.as_bytes(), realm.as_bytes()]);
        format!("{plain}{}", hex(&tag[..16]))
    }

    /// Time and serial number of a nonce that we made for this realm.
    fn read_nonce(&self, nonce: &str, realm: &str) -> Option<(u64, u64)> {
        let milliseconds = u64::from_str_radix(nonce.get(..12)?, 16).ok()?;
        let serial = u64::from_str_radix(nonce.get(12..24)?, 16).ok()?;
        let genuine = self.nonce(milliseconds, serial, realm);
        same(genuine.as_bytes(), nonce.as_bytes()).then_some((milliseconds, serial))
    }
}

/// The client's half: answers the strongest of the `challenges` (values of WWW-Authenticate or
/// Proxy-Authenticate headers) that can be answered, and returns the value of the Authorization or
/// Proxy-Authorization header. Of equal strength, the first counts (RFC 8760 §2.4).
///
/// `nonce_count` counts the requests with this nonce, from 1; `cnonce` is a fresh token. `auth` is
/// preferred to `auth-int`, whose hash a middlebox that touches the body breaks.
pub fn answer<'a>(
    challenges: impl Iterator<Item = &'a str>,
    credentials: &Credentials,
    method: &str,
    uri: &str,
    body: &[u8],
    nonce_count: u32,
    cnonce: &str,
) -> Option<String> {
    let mut best: Option<(Challenge, Algorithm)> = None;
    for challenge in challenges.take(CHALLENGES_MAX).filter_map(Challenge::parse) {
        let Some(algorithm) = challenge.algorithm else {
            continue;
        };
        let unknown_qop = challenge.qop.is_empty() && (challenge.has_qop || algorithm.is_session());
        let foreign = credentials
            .realm
            .as_ref()
            .is_some_and(|realm| *realm != challenge.realm);
        let stronger = best
            .as_ref()
            .is_none_or(|(_, other)| strength(algorithm) > strength(*other));
        if !unknown_qop && !foreign && stronger {
            best = Some((challenge, algorithm));
        }
    }
    let (challenge, algorithm) = best?;
    let qop = challenge
        .qop
        .iter()
        .find(|qop| **qop == Qop::Auth)
        .or(challenge.qop.first());
    let qop = qop.map(|&qop| QopValues {
        qop,
        cnonce: cnonce.to_owned(),
        nonce_count,
    });
    let response = Hashed {
        algorithm,
        username: &credentials.username,
        realm: &challenge.realm,
        password: &credentials.password,
        method,
        uri,
        nonce: &challenge.nonce,
        body,
        qop: qop.as_ref(),
    }
    .response();
    let answer = DigestCredentials {
        username: credentials.username.clone(),
        realm: challenge.realm,
        nonce: challenge.nonce,
        uri: uri.to_owned(),
        response,
        opaque: challenge.opaque,
        algorithm: Some(algorithm),
        qop,
    };
    Some(answer.to_string())
}

/// More challenges in one response than this are not looked at.
const CHALLENGES_MAX: usize = 16;

fn strength(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Md5 | Algorithm::Md5Sess => 1,
        Algorithm::Sha256 | Algorithm::Sha256Sess => 2,
    }
}

/// All that goes into the hash (RFC 7616 §3.4.1).
struct Hashed<'a> {
    algorithm: Algorithm,
    username: &'a str,
    realm: &'a str,
    password: &'a Secret,
    method: &'a str,
    uri: &'a str,
    nonce: &'a str,
    body: &'a [u8],
    qop: Option<&'a QopValues>,
}

impl Hashed<'_> {
    fn response(&self) -> String {
        let mut a1 = self.hash(&[self.username, self.realm, self.password.expose()]);
        if let (true, Some(values)) = (self.algorithm.is_session(), self.qop) {
            a1 = self.hash(&[&a1, self.nonce, &values.cnonce]);
        }
        let a2 = match self.qop.map(|values| values.qop) {
            Some(Qop::AuthInt) => {
                let body = digest(self.algorithm, &[self.body]);
                self.hash(&[self.method, self.uri, &body])
            }
            _ => self.hash(&[self.method, self.uri]),
        };
        match self.qop {
            Some(values) => {
                let nonce_count = format!("{:08x}", values.nonce_count);
                self.hash(&[
                    &a1,
                    self.nonce,
                    &nonce_count,
                    &values.cnonce,
                    values.qop.as_str(),
                    &a2,
                ])
            }
            None => self.hash(&[&a1, self.nonce, &a2]),
        }
    }

    /// The hash of the parts with colons between them, in hexadecimal.
    fn hash(&self, parts: &[&str]) -> String {
        digest(self.algorithm, &[parts.join(":").as_bytes()])
    }
}

fn digest(algorithm: Algorithm, parts: &[&[u8]]) -> String {
    match algorithm {
        Algorithm::Md5 | Algorithm::Md5Sess => {
            let mut hash = Md5::new();
            parts.iter().for_each(|part| hash.update(part));
            hex(&hash.finalize())
        }
        Algorithm::Sha256 | Algorithm::Sha256Sess => {
            let mut hash = Sha256::new();
            parts.iter().for_each(|part| hash.update(part));
            hex(&hash.finalize())
        }
    }
}

/// HMAC (RFC 2104) with a key that is shorter than the block of 64 bytes.
fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        block
    };
    let mut inner = Sha256::new_with_prefix(pad(0x36));
    parts.iter().for_each(|part| inner.update(part));
    let outer = Sha256::new_with_prefix(pad(0x5c)).chain_update(inner.finalize());
    outer.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Compares without telling by its duration where the difference is. The length is no secret.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && std::hint::black_box(
            one.iter()
                .zip(other)
                .fold(0, |difference, (a, b)| difference | (a ^ b)),
        ) == 0
}

#[cfg(test)]
mod tests;
