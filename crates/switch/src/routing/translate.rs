//! The translation language: how a rule or connection rewrites one part of a URI.
//!
//! | written | result |
//! |---|---|
//! | `[*]` | the previous value; may stand inside text, as in `1[*]` |
//! | `[!*]`, `[!!!*]` | the previous value without its first 1, 3 … characters |
//! | `<Null>` | the part is removed |
//! | `<OwnDomain>`, `<AppIP>`, `<OwnCidNmbr>` … | taken from the call, see [`Tokens`] |
//! | `<LT>`, `<GT>` | the characters `<` and `>` |
//! | others | themselves |
//!
//! Tokens compare without case. A token nobody knows stays as text.

/// Longest result of a translation, in bytes. Longer results are cut: a URI part never needs more.
pub const MAX_RESULT_BYTES: usize = 256;

/// What the call offers to tokens. An empty text stands for "not known": the token then writes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// `<OwnDomain>`: the domain that owns this step.
    pub own_domain: String,
    /// `<OwnUser>`: extension of the user that owns this step.
    pub own_user: String,
    /// `<OwnName>`: full name of that user.
    pub own_name: String,
    /// `<OwnCidName>`: caller-ID name of that user, else of the domain.
    pub own_cid_name: String,
    /// `<OwnCidNmbr>`: caller-ID number of that user, else of the domain.
    pub own_cid_nmbr: String,
    /// `<CallerCidName>`: caller-ID name of the calling user.
    pub caller_cid_name: String,
    /// `<CallerCidNmbr>`: caller-ID number of the calling user.
    pub caller_cid_nmbr: String,
    /// `<CallerCidEmgr>`: emergency number of the calling user.
    pub caller_cid_emgr: String,
    /// `<AppIP>`: our signalling address on the interface in use.
    pub app_ip: String,
}

impl Tokens {
    fn value(&self, name: &str) -> Option<&str> {
        let known: [(&str, &str); 11] = [
            ("OwnDomain", &self.own_domain),
            ("OwnUser", &self.own_user),
            ("OwnName", &self.own_name),
            ("OwnCidName", &self.own_cid_name),
            ("OwnCidNmbr", &self.own_cid_nmbr),
            ("CallerCidName", &self.caller_cid_name),
            ("CallerCidNmbr", &self.caller_cid_nmbr),
            ("CallerCidEmgr", &self.caller_cid_emgr),
            ("AppIP", &self.app_ip),
            ("LT", "<"),
            ("GT", ">"),
        ];
        if name.eq_ignore_ascii_case("null") {
            return Some("");
        }
        known
            .iter()
            .find(|(token, _)| token.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }
}

/// Rewrites `previous` by `template`. An empty template leaves the part as it was; callers for whom empty
/// means something else ask before.
pub fn translate(template: &str, previous: &str, tokens: &Tokens) -> String {
    if template.is_empty() || template == "[*]" {
        return previous.to_owned();
    }
    let mut out = String::with_capacity(template.len() + previous.len());
    let mut rest = template;
    while let Some(at) = rest.find(['[', '<']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = if rest.starts_with('[') {
            copy_token(rest).map(|(skip, length)| {
                let start = previous
                    .char_indices()
                    .nth(skip)
                    .map_or(previous.len(), |(at, _)| at);
                out.push_str(&previous[start..]);
                length
            })
        } else {
            rest.find('>').and_then(|close| {
                let value = tokens.value(&rest[1..close])?;
                out.push_str(value);
                Some(close + 1)
            })
        };
        let taken = taken.unwrap_or_else(|| {
            out.push_str(&rest[..1]);
            1
        });
        rest = &rest[taken..];
    }
    out.push_str(rest);
    cut(out)
}

/// `[`, any number of `!`, any number of `?`, `*`, `]`: how many characters to drop, and the token's length.
fn copy_token(text: &str) -> Option<(usize, usize)> {
    let close = text.find(']')?;
    let inside = text[1..close].strip_suffix('*')?;
    let drops = inside.bytes().take_while(|b| *b == b'!').count();
    inside
        .bytes()
        .skip(drops)
        .all(|b| b == b'?')
        .then_some((drops, close + 1))
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_RESULT_BYTES {
        let mut end = MAX_RESULT_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, previous: &str, expected: &str) {
        let tokens = Tokens {
            own_domain: "d1".into(),
            app_ip: "192.0.2.1".into(),
            own_cid_nmbr: "13105550100".into(),
            ..Tokens::default()
        };
        assert_eq!(
            translate(template, previous, &tokens),
            expected,
            "{template} on {previous}"
        );
    }

    #[test]
    fn the_language() {
        check("[*]", "1001", "1001");
        check("", "1001", "1001");
        check("1[*]", "3105550100", "13105550100");
        check("+[*]", "13105550100", "+13105550100");
        check("sales_[*]", "7", "sales_7");
        check("1[!!!*]", "*673105550100", "13105550100");
        check("[!*]", "9123", "123");
        check("[!?*]", "9123", "123");
        check("[!!!!!!*]", "9123", "");
        check("<Null>", "9123", "");
        check("<NULL>", "9123", "");
        check("<OwnDomain>", "x", "d1");
        check("<ownciDnmbr>", "x", "13105550100");
        check("sip:[*]@<AppIP>", "7", "sip:7@192.0.2.1");
        check("<LT>sip:[*]<GT>", "7", "<sip:7>");
        check("<Nobody>[*]", "7", "<Nobody>7");
        check("[x]", "7", "[x]");
        check("a[", "7", "a[");
        check("7000", "x", "7000");
        check("[*]-[*]", "ab", "ab-ab");
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_stays_bounded(template in ".{0,60}", previous in ".{0,300}") {
            let out = translate(&template, &previous, &Tokens::default());
            proptest::prop_assert!(out.len() <= MAX_RESULT_BYTES.max(previous.len()));
        }
    }
}
