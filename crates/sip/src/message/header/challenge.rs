//! `WWW-Authenticate` and `Proxy-Authenticate` (RFC 3261 §20.44, RFC 7616 §3.3, RFC 8760).

use std::fmt;

use super::name_addr::push_quoted;
use crate::message::scan::{Values, token, trim, unquote};

/// The digest algorithms this crate computes, strongest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// MD5 over user, realm and password.
    Md5,
    /// MD5 with a session key.
    Md5Sess,
    /// SHA-256 over user, realm and password.
    Sha256,
    /// SHA-256 with a session key.
    Sha256Sess,
}

impl Algorithm {
    /// The algorithm that a header names; absence means MD5 (RFC 7616 §3.3).
    pub fn parse(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else {
            return Some(Self::Md5);
        };
        [Self::Md5, Self::Md5Sess, Self::Sha256, Self::Sha256Sess]
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }

    /// The name in headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
        }
    }

    /// Whether the first half of the hash includes both nonces.
    pub const fn is_session(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess)
    }
}

/// Quality of protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Qop {
    /// The request line is protected.
    Auth,
    /// The body as well.
    AuthInt,
}

impl Qop {
    /// The protection that a header names.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Auth, Self::AuthInt]
            .into_iter()
            .find(|qop| qop.as_str().eq_ignore_ascii_case(text))
    }

    /// The name in headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// A digest challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The protection domain.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// To be returned unchanged.
    pub opaque: Option<String>,
    /// `None`: an algorithm this crate does not know.
    pub algorithm: Option<Algorithm>,
    /// The offered protections that are known. Empty both for a challenge of RFC 2069 times and
    /// for one that offers only unknown ones; see [`Challenge::has_qop`].
    pub qop: Vec<Qop>,
    /// Whether the challenge has a qop parameter at all.
    pub has_qop: bool,
    /// The password was right, only the nonce is too old.
    pub stale: bool,
}

impl Challenge {
    /// Reads one header field value; `None` for other schemes and for a challenge without realm
    /// or nonce.
    pub fn parse(value: &str) -> Option<Self> {
        let params = digest_params(value)?;
        let mut realm = None;
        let mut nonce = None;
        let mut opaque = None;
        let mut algorithm = None;
        let mut qop = None;
        let mut stale = false;
        for (name, value) in params {
            let value = unquote(value).into_owned();
            match name {
                _ if name.eq_ignore_ascii_case("realm") => realm = Some(value),
                _ if name.eq_ignore_ascii_case("nonce") => nonce = Some(value),
                _ if name.eq_ignore_ascii_case("opaque") => opaque = Some(value),
                _ if name.eq_ignore_ascii_case("algorithm") => algorithm = Some(value),
                _ if name.eq_ignore_ascii_case("qop") => qop = Some(value),
                _ if name.eq_ignore_ascii_case("stale") => {
                    stale = value.eq_ignore_ascii_case("true")
                }
                _ => {}
            }
        }
        Some(Self {
            realm: realm?,
            nonce: nonce?,
            opaque,
            algorithm: Algorithm::parse(algorithm.as_deref()),
            has_qop: qop.is_some(),
            qop: qop
                .iter()
                .flat_map(|list| Values::new(list))
                .filter_map(Qop::parse)
                .collect(),
            stale,
        })
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from("Digest realm=");
        push_quoted(&mut text, &self.realm);
        text.push_str(", nonce=");
        push_quoted(&mut text, &self.nonce);
        if let Some(opaque) = &self.opaque {
            text.push_str(", opaque=");
            push_quoted(&mut text, opaque);
        }
        if self.stale {
            text.push_str(", stale=true");
        }
        if let Some(algorithm) = self.algorithm {
            text.push_str(", algorithm=");
            text.push_str(algorithm.as_str());
        }
        if self.has_qop {
            let names: Vec<_> = self.qop.iter().map(|qop| qop.as_str()).collect();
            text.push_str(", qop=");
            push_quoted(&mut text, &names.join(","));
        }
        f.write_str(&text)
    }
}

/// The parameters behind `Digest `; `None` when the scheme is another one. At most
/// [`DIGEST_PARAMS_MAX`] are read.
pub(crate) fn digest_params(value: &str) -> Option<impl Iterator<Item = (&str, &str)>> {
    let value = trim(value);
    let (scheme, rest) = value.split_once([' ', '\t'])?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    Some(
        Values::new(rest)
            .take(DIGEST_PARAMS_MAX)
            .filter_map(|param| {
                let (name, value) = param.split_once('=')?;
                let name = trim(name);
                token(name).then_some((name, trim(value)))
            }),
    )
}

/// More parameters than any digest header needs.
pub(crate) const DIGEST_PARAMS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        let text = r#"Digest realm="a\"b", nonce="n,1", opaque="", stale=true, algorithm=SHA-256, qop="auth,auth-int""#;
        let challenge = Challenge::parse(text).unwrap();
        assert_eq!(challenge.realm, "a\"b");
        assert_eq!(challenge.qop, [Qop::Auth, Qop::AuthInt]);
        assert!(challenge.stale);
        assert_eq!(challenge.to_string(), text);
        assert_eq!(Challenge::parse(&challenge.to_string()), Some(challenge));
    }

    #[test]
    fn old_and_foreign_ones() {
        let old = Challenge::parse("digest\trealm=x,nonce=y").unwrap();
        assert_eq!((old.algorithm, old.has_qop), (Some(Algorithm::Md5), false));
        let future = Challenge::parse("Digest realm=x,nonce=y,algorithm=SHA-9,qop=future").unwrap();
        assert_eq!(
            (future.algorithm, future.has_qop, future.qop.len()),
            (None, true, 0)
        );
        assert_eq!(Challenge::parse("Basic realm=x"), None);
        assert_eq!(Challenge::parse("Digest realm=x"), None);
        assert_eq!(
            Challenge::parse("NoOneKnowsThisScheme opaque-data=here"),
            None
        );
    }
}
