//! Keys in descriptions: `a=crypto` (SDES, RFC 4568).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::{Line, MediaLine};
use crate::srtp::{MasterKey, Suite};

/// One `a=crypto` that we can use. Printing it for debugging does not show the key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Crypto {
    /// Names the attribute in the answer: up to nine digits.
    pub tag: u32,
    /// Suite and key of what its sender sends.
    pub key: MasterKey,
}

keep::keep!(struct Crypto { tag, key });

impl Crypto {
    /// Reads the value of the attribute. `None` for suites we do not have, and for what asks for more than a plain key:
    /// several keys, key identifiers, streams without encryption or tag.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next()?.parse().ok()?;
        let suite = Suite::from_name(words.next()?)?;
        let (method, key) = words.next()?.split_once(':')?;
        if !method.eq_ignore_ascii_case("inline") || !words.all(is_harmless) {
            return None;
        }
        let mut parts = key.split('|');
        let encoded = parts.next()?.trim_end_matches('=');
        // What may follow is a lifetime, which no call reaches, and an identifier, which has a colon.
        if parts.any(|part| part.contains(':')) {
            return None;
        }
        let material = STANDARD_NO_PAD.decode(encoded).ok()?;
        Some(Self {
            tag,
            key: MasterKey::new(suite, &material)?,
        })
    }

    fn line(&self) -> Line {
        let Self { tag, key } = self;
        let encoded = STANDARD.encode(key.material());
        let value = format!("{tag} {} inline:{encoded}", key.suite().name());
        Line::attribute("crypto", Some(&value))
    }
}

/// Session parameters that change nothing for us (RFC 4568 §6.3).
fn is_harmless(parameter: &str) -> bool {
    parameter == "KDR=0" || parameter.starts_with("WSH=")
}

impl MediaLine {
    /// The first `a=crypto` that we can use.
    pub fn crypto(&self) -> Option<Crypto> {
        self.attributes()
            .filter(|attribute| attribute.name == "crypto")
            .find_map(|attribute| Crypto::parse(attribute.value?))
    }

    /// Replaces all `a=crypto` by ours, or by none.
    pub fn set_crypto(&mut self, crypto: Option<&Crypto>) {
        self.lines.retain(|line| !line.is_attribute("crypto"));
        self.lines.extend(crypto.map(Crypto::line));
    }

    /// Leaves a profile without feedback (RFC 4585) and takes out what it said about feedback: for ends that never heard
    /// of it, as most telephones have not.
    pub fn drop_feedback(&mut self) {
        if let Some(profile) = self.proto.strip_suffix(['F', 'f']) {
            self.proto = profile.to_owned();
        }
        self.lines.retain(|line| !line.is_attribute("rtcp-fb"));
    }

    /// Turns `RTP/AVP` into `RTP/SAVP` or back, and likewise the profiles with feedback (RFC 5124).
    pub fn set_secure_profile(&mut self, secure: bool) {
        let feedback = self.proto.to_ascii_uppercase().ends_with("AVPF");
        let profile = match (secure, feedback) {
            (false, false) => "RTP/AVP",
            (false, true) => "RTP/AVPF",
            (true, false) => "RTP/SAVP",
            (true, true) => "RTP/SAVPF",
        };
        profile.clone_into(&mut self.proto);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{Session, anchor};

    const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    #[test]
    fn the_example_of_rfc_4568_is_read_and_written() {
        let value = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        let crypto = Crypto::parse(&value).expect("usable");
        assert_eq!(
            (crypto.tag, crypto.key.suite()),
            (1, Suite::Aes128CmSha1_80)
        );
        assert_eq!(crypto.line(), Line::attribute("crypto", Some(&value)));
        let shown = format!("{crypto:?} {:?}", crypto.line());
        assert!(!shown.contains("d0Rm"), "{shown}");
    }

    #[test]
    fn what_goes_beyond_a_plain_key_is_not_used() {
        let suite = "AES_CM_128_HMAC_SHA1_80";
        for usable in [
            format!("9 {suite} inline:{KEY}|2^20"),
            format!("9 {suite} INLINE:{KEY} WSH=64 KDR=0"),
            format!("9 aes_cm_128_hmac_sha1_32 inline:{KEY}"),
        ] {
            assert!(Crypto::parse(&usable).is_some(), "{usable}");
        }
        for unusable in [
            format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AEAD_AES_128_GCM inline:{KEY}"),
            format!("1 {suite} inline:{KEY}|2^20|1:4"),
            format!("1 {suite} inline:{KEY};inline:{KEY}"),
            format!("1 {suite} inline:{KEY} UNENCRYPTED_SRTP"),
            format!("1 {suite} inline:WVNf"),
            format!("x {suite} inline:{KEY}"),
            format!("1 {suite}"),
            String::new(),
        ] {
            assert!(Crypto::parse(&unusable).is_none(), "{unusable}");
        }
    }

    #[test]
    fn a_line_gets_our_keys_and_profile() {
        let text = format!(
            "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/SAVPF 0\n\
             a=crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}\na=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}\n"
        );
        let mut session = Session::parse(text.as_bytes()).expect("in order");
        let line = &mut session.media[0];
        let theirs = line.crypto().expect("the second one");
        assert_eq!(theirs.tag, 2);
        line.set_crypto(Some(&theirs));
        line.set_secure_profile(false);
        let mut origin = anchor::OriginState::new(1, "192.0.2.1".parse().expect("address"));
        let printed = String::from_utf8(anchor::passthrough(&session, &mut origin)).expect("text");
        assert!(printed.contains("m=audio 4000 RTP/AVPF 0\r\n"), "{printed}");
        assert_eq!(printed.matches("a=crypto:").count(), 1);
    }
}
