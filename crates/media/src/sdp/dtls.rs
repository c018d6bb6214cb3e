//! DTLS-SRTP in descriptions: whose certificate, and who begins (RFC 5763, RFC 8842).

use super::{MediaLine, Security, Session};
use crate::dtls::{Fingerprint, Role};

/// Fingerprints of one line that are read: one per hash function, of two certificates.
const FINGERPRINTS_MAX: usize = 8;

/// Characters of the longest identifier of an association (RFC 8842 §4).
const TLS_ID_CHARS_MAX: usize = 255;

/// Who begins the handshake, as its writer sees it: `a=setup` (RFC 4145 §4).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Setup {
    /// I do: I am the client.
    Active,
    /// You do.
    Passive,
    /// As you like.
    ActPass,
    /// Nobody for now, which no stream of datagrams can mean (RFC 8842 §5.1).
    HoldConn,
}

impl Setup {
    /// Its word in a description.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Passive, Self::ActPass, Self::HoldConn]
            .into_iter()
            .find(|setup| setup.name().eq_ignore_ascii_case(name))
    }

    /// What an end with this role writes into an answer, or into an offer that keeps an association.
    pub fn of(role: Role) -> Self {
        match role {
            Role::Client => Self::Active,
            Role::Server => Self::Passive,
        }
    }
}

/// What a description says about the handshake of one line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dtls {
    /// What its writer's certificate is known by; never empty.
    pub fingerprints: Vec<Fingerprint>,
    /// Who begins. An offer that says nothing leaves it to the other end, as most that say nothing mean.
    pub setup: Setup,
    /// Names the association, so that a new one can be asked for (RFC 8842 §4).
    pub tls_id: Option<String>,
}

impl Session {
    /// How a line is protected: by its profile, and where that leaves it open by the attributes of line and session.
    pub fn security(&self, index: usize) -> Security {
        let Some(line) = self.media.get(index) else {
            return Security::None;
        };
        match line.security() {
            Security::Sdes if line.attribute("crypto").is_none() => {
                // SAVP without the prefix of DTLS but with a fingerprint is how DTLS-SRTP was first done.
                let named = self.dtls_value(line, "fingerprint").is_some();
                if named {
                    Security::Dtls
                } else {
                    Security::Sdes
                }
            }
            security => security,
        }
    }

    /// What a line says about the handshake, or the session for it. `None` without a fingerprint that can be used.
    pub fn dtls(&self, index: usize) -> Option<Dtls> {
        let line = self.media.get(index)?;
        let of_line: Vec<_> = fingerprints(line.attributes());
        let fingerprints = match of_line.is_empty() {
            true => fingerprints(self.attributes()),
            false => of_line,
        };
        if fingerprints.is_empty() {
            return None;
        }
        let setup = self.dtls_value(line, "setup");
        let tls_id = self
            .dtls_value(line, "tls-id")
            .filter(|id| id.len() <= TLS_ID_CHARS_MAX);
        Some(Dtls {
            fingerprints,
            setup: setup.and_then(Setup::from_name).unwrap_or(Setup::ActPass),
            tls_id: tls_id.map(str::to_owned),
        })
    }

    /// The value of an attribute that counts for a line: its own, else the session's.
    fn dtls_value<'a>(&'a self, line: &'a MediaLine, name: &str) -> Option<&'a str> {
        let own = line.attribute(name);
        let attribute = own.or_else(|| self.attributes().find(|found| found.name == name));
        Some(attribute?.value?.trim())
    }
}

impl MediaLine {
    /// Whether its reports travel on the port of the media (`a=rtcp-mux`, RFC 5761).
    pub fn multiplexes(&self) -> bool {
        self.attribute("rtcp-mux").is_some()
    }
}

fn fingerprints<'a>(attributes: impl Iterator<Item = super::Attribute<'a>>) -> Vec<Fingerprint> {
    attributes
        .filter(|attribute| attribute.name == "fingerprint")
        .filter_map(|attribute| Fingerprint::parse(attribute.value?))
        .take(FINGERPRINTS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::HashFunction;

    fn session(session: &str, media: &str) -> Session {
        let text = format!(
            "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n{session}m={media}"
        );
        Session::parse(text.as_bytes()).expect("a description in order")
    }

    fn fingerprint(of: &str) -> Fingerprint {
        Fingerprint::of(HashFunction::Sha256, of.as_bytes())
    }

    #[test]
    fn the_handshake_is_described_by_line_or_session() {
        let (one, two) = (fingerprint("one"), fingerprint("two"));
        let media = format!(
            "audio 4000 UDP/TLS/RTP/SAVP 0\na=setup:actpass\na=fingerprint:{one}\na=tls-id:abc\na=rtcp-mux\n"
        );
        let by_line = session(&format!("a=fingerprint:{two}\n"), &media);
        let dtls = by_line.dtls(0).expect("described");
        assert_eq!((dtls.fingerprints, dtls.setup), (vec![one], Setup::ActPass));
        assert_eq!(dtls.tls_id.as_deref(), Some("abc"));
        assert!(by_line.media[0].multiplexes());
        assert_eq!(by_line.security(0), Security::Dtls);

        let above = format!("a=setup:ACTIVE\na=fingerprint:{two}\na=fingerprint:md5 00\n");
        let by_session = session(&above, "audio 4000 RTP/SAVPF 0\n");
        let dtls = by_session.dtls(0).expect("described");
        assert_eq!((dtls.fingerprints, dtls.setup), (vec![two], Setup::Active));
        assert_eq!(by_session.security(0), Security::Dtls);
    }

    #[test]
    fn without_a_usable_fingerprint_there_is_no_handshake() {
        let unusable = session("", "audio 4000 UDP/TLS/RTP/SAVP 0\na=fingerprint:md5 00\n");
        assert_eq!(unusable.dtls(0), None);
        assert_eq!(unusable.security(0), Security::Dtls);
        assert_eq!(unusable.dtls(1), None);
        assert_eq!(unusable.security(1), Security::None);
    }

    #[test]
    fn keys_in_the_description_come_first() {
        let one = fingerprint("one");
        let both = session(
            &format!("a=fingerprint:{one}\n"),
            "audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\n",
        );
        assert_eq!(both.security(0), Security::Sdes);
        let plain = session(&format!("a=fingerprint:{one}\n"), "audio 4000 RTP/AVP 0\n");
        assert_eq!(plain.security(0), Security::None);
        assert!(plain.dtls(0).is_some(), "and yet it may be offered");
    }
}
