//! `Authorization` and `Proxy-Authorization` (RFC 3261 §20.7, RFC 7616 §3.4).

use std::fmt;

use super::challenge::{Algorithm, Qop, digest_params};
use super::name_addr::push_quoted;
use crate::message::scan::unquote;

/// A digest answer to a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestCredentials {
    /// The user name.
    pub username: String,
    /// The protection domain of the challenge.
    pub realm: String,
    /// The nonce of the challenge.
    pub nonce: String,
    /// The URI the hash was computed over.
    pub uri: String,
    /// The hash, in hexadecimal.
    pub response: String,
    /// Returned from the challenge.
    pub opaque: Option<String>,
    /// `None`: an algorithm this crate does not know.
    pub algorithm: Option<Algorithm>,
    /// Protection and what comes with it; `None` in the manner of RFC 2069.
    pub qop: Option<QopValues>,
}

/// What a protected answer carries besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QopValues {
    /// The protection chosen.
    pub qop: Qop,
    /// The client's nonce.
    pub cnonce: String,
    /// How many requests used this nonce so far, this one included; from 1.
    pub nonce_count: u32,
}

impl DigestCredentials {
    /// Reads one header field value; `None` for other schemes and for one that is incomplete.
    pub fn parse(value: &str) -> Option<Self> {
        let mut fields: [Option<String>; FIELDS.len()] = Default::default();
        for (name, value) in digest_params(value)? {
            if let Some(index) = FIELDS
                .iter()
                .position(|field| field.eq_ignore_ascii_case(name))
            {
                fields[index] = Some(unquote(value).into_owned());
            }
        }
        let [
            username,
            realm,
            nonce,
            uri,
            response,
            opaque,
            algorithm,
            qop,
            cnonce,
            nc,
        ] = fields;
        let qop = match qop {
            None => None,
            Some(qop) => Some(QopValues {
                qop: Qop::parse(&qop)?,
                cnonce: cnonce?,
                nonce_count: nonce_count(&nc?)?,
            }),
        };
        Some(Self {
            username: username?,
            realm: realm?,
            nonce: nonce?,
            uri: uri?,
            response: response?,
            opaque,
            algorithm: Algorithm::parse(algorithm.as_deref()),
            qop,
        })
    }
}

const FIELDS: [&str; 10] = [
    "username",
    "realm",
    "nonce",
    "uri",
    "response",
    "opaque",
    "algorithm",
    "qop",
    "cnonce",
    "nc",
];

/// Eight hexadecimal digits by the grammar; fewer are tolerated, more or other ones are not.
fn nonce_count(text: &str) -> Option<u32> {
    let legal = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    legal.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for DigestCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from("Digest");
        let mut separator = " ";
        for (name, value) in [
            ("username", Some(&self.username)),
            ("realm", Some(&self.realm)),
            ("nonce", Some(&self.nonce)),
            ("uri", Some(&self.uri)),
            ("response", Some(&self.response)),
            ("opaque", self.opaque.as_ref()),
            ("cnonce", self.qop.as_ref().map(|values| &values.cnonce)),
        ] {
            if let Some(value) = value {
                text.push_str(separator);
                text.push_str(name);
                text.push('=');
                push_quoted(&mut text, value);
                separator = ", ";
            }
        }
        f.write_str(&text)?;
        if let Some(algorithm) = self.algorithm {
            write!(f, ", algorithm={}", algorithm.as_str())?;
        }
        if let Some(values) = &self.qop {
            write!(
                f,
                ", qop={}, nc={:08x}",
                values.qop.as_str(),
                values.nonce_count
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        let text = concat!(
            r#"Digest username="bob", realm="biloxi.com", nonce="dcd98b", uri="sip:bob@biloxi.com", "#,
            r#"response="6629", opaque="5ccc", cnonce="0a4f", algorithm=MD5, qop=auth, nc=0000000a"#
        );
        let credentials = DigestCredentials::parse(text).unwrap();
        assert_eq!(
            credentials.qop.as_ref().map(|values| values.nonce_count),
            Some(10)
        );
        assert_eq!(credentials.to_string(), text);
    }

    #[test]
    fn incomplete_ones_are_refused() {
        let whole = r#"Digest username="u",realm="r",nonce="n",uri="sip:x",response="0""#;
        assert!(DigestCredentials::parse(whole).is_some());
        for bad in [
            r#"Digest username="u",realm="r",nonce="n",uri="sip:x""#.to_owned(),
            format!("{whole},qop=auth"),
            format!("{whole},qop=auth,cnonce=x,nc=123456789"),
            format!("{whole},qop=auth,cnonce=x,nc=+1"),
            format!("{whole},qop=other,cnonce=x,nc=1"),
            "NoOneKnowsThisScheme opaque-data=here".to_owned(),
        ] {
            assert_eq!(DigestCredentials::parse(&bad), None, "{bad}");
        }
    }
}
