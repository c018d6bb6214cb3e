//! Character classes and the scanners that know about quotes and brackets.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

/// `token` characters of RFC 3261 §25.1.
const TOKEN: [bool; 256] = class(b"-.!%*_+`'~");
/// Characters that may appear in a host name. The underscore is not legal in one, but seen.
const HOST: [bool; 256] = class(b"-._");
/// Characters that appear unescaped in the user part (RFC 3261 `user` and `password`).
const USER: [bool; 256] = class(b"-_.!~*'()&=+$,;?/:%");

const fn class(extra: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < extra.len() {
        table[extra[index] as usize] = true;
        index += 1;
    }
    table
}

/// Whether `byte` may stand in a token (RFC 3261 §25.1).
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Whether `text` is one token.
pub(crate) fn token(text: &str) -> bool {
    token_bytes(text.as_bytes())
}

/// Whether `text` is one token.
pub(crate) fn token_bytes(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token)
}

/// Whether `text` can be a host name or an IPv4 address.
pub(crate) fn host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| HOST[byte as usize])
}

/// How many bytes at the start of `text` can belong to a host name.
pub(crate) fn host_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = 0;
    while length < bytes.len() && HOST[bytes[length] as usize] {
        length += 1;
    }
    length
}

/// Whether no byte is one that never stands in a URI: white space, control characters, brackets
/// around it and quotes.
pub(crate) fn all_in_uri(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&byte| byte > b' ' && byte != 0x7f && !matches!(byte, b'<' | b'>' | b'"'))
}

/// Whether `byte` may stand unescaped in the user part of a SIP URI.
pub(crate) fn is_user(byte: u8) -> bool {
    USER[byte as usize]
}

/// Removes white space as it may surround any separator (RFC 3261 `LWS`).
pub(crate) fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes
        .iter()
        .position(|byte| !is_space(byte))
        .unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(start, |last| last + 1);
    &text[start..end]
}

/// The offset behind the quoted string that begins at the start of `text`, or `None` when the
/// closing quote is missing.
pub(crate) fn quoted_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Removes the quotes around a quoted string and the backslashes of its quoted pairs. Text
/// without quotes is returned as it is.
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Cow::Borrowed(text);
    };
    if memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    Cow::Owned(plain)
}

/// The members of a comma-separated list (RFC 3261 §7.3.1), trimmed, empty ones left out.
///
/// A comma inside of a quoted string or of angle brackets does not separate.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    rest: &'a str,
}

impl<'a> Values<'a> {
    /// Splits one header field value.
    pub fn new(value: &'a str) -> Self {
        Self { rest: value }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while !self.rest.is_empty() {
            let end = member_end(self.rest);
            let member = trim(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or("");
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

/// Where the first member of a list ends: at a comma, or at the end.
fn member_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = memchr3(b',', b'"', b'<', &bytes[at..]) {
        at += found;
        match bytes[at] {
            b',' => return at,
            b'"' => match quoted_end(&text[at..]) {
                Some(length) => at += length,
                None => break,
            },
            _ => match memchr(b'>', &bytes[at..]) {
                Some(length) => at += length + 1,
                None => break,
            },
        }
    }
    text.len()
}

/// The parameters of `;name=value;flag`, as pairs of a name and perhaps a value. White space
/// around separators is dropped, quotes around a value are kept.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    rest: &'a str,
}

impl<'a> Params<'a> {
    /// Splits a parameter list; a leading semicolon is optional.
    pub fn new(list: &'a str) -> Self {
        let list = trim(list);
        Self {
            rest: list.strip_prefix(';').unwrap_or(list),
        }
    }

    /// The value of the first parameter called `name` (case-insensitive): outer `None` when it
    /// is absent, inner `None` when it stands without a value.
    pub fn get(list: &'a str, name: &str) -> Option<Option<&'a str>> {
        Self::new(list)
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Whether every parameter has a name that is a token and a value whose quotes are closed.
    pub(crate) fn well_formed(list: &str) -> bool {
        let mut params = Params::new(list);
        if params.rest.is_empty() {
            return !list.contains(';');
        }
        if params.rest.ends_with(';') {
            return false;
        }
        params.all(|(name, value)| well_formed_param(name, value))
    }
}

/// Whether one parameter has a name that is a token and a value whose quotes are closed.
pub(crate) fn well_formed_param(name: &str, value: Option<&str>) -> bool {
    token(name)
        && value.is_none_or(|value| match value.as_bytes() {
            [] => false,
            [b'"', ..] => quoted_end(value) == Some(value.len()),
            plain => memchr(b'"', plain).is_none(),
        })
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = self.rest.as_bytes();
        let mut equals = None;
        let mut end = 0;
        while let Some(&byte) = bytes.get(end) {
            if TOKEN[byte as usize] {
                end += 1;
                continue;
            }
            match byte {
                b';' => break,
                b'"' => end += quoted_end(&self.rest[end..]).unwrap_or(bytes.len() - end),
                _ => {
                    if byte == b'=' && equals.is_none() {
                        equals = Some(end);
                    }
                    end += 1;
                }
            }
        }
        let param = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or("");
        Some(match equals {
            Some(at) => (trim(&param[..at]), Some(trim(&param[at + 1..]))),
            None => (trim(param), None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_outside_of_quotes_and_brackets() {
        let list = r#""Bell, A" <sip:a,b@c;x=","> , , <sip:d>;q="1,2",e"#;
        let members: Vec<_> = Values::new(list).collect();
        assert_eq!(
            members,
            [r#""Bell, A" <sip:a,b@c;x=",">"#, r#"<sip:d>;q="1,2""#, "e"]
        );
        assert_eq!(Values::new(" ,, ").count(), 0);
        assert_eq!(Values::new("\"open, <a").count(), 1);
    }

    #[test]
    fn parameters_split_and_are_found() {
        let list = r#"; a = 1;B;c="x;y=\"z";d= "#;
        let params: Vec<_> = Params::new(list).collect();
        assert_eq!(
            params,
            [
                ("a", Some("1")),
                ("B", None),
                ("c", Some(r#""x;y=\"z""#)),
                ("d", Some(""))
            ]
        );
        assert_eq!(Params::get(list, "b"), Some(None));
        assert_eq!(Params::get(list, "A"), Some(Some("1")));
        assert_eq!(Params::get(list, "e"), None);
    }

    #[test]
    fn well_formed_refuses_empty_names_and_open_quotes() {
        for good in ["", ";a", ";a=1 ; b=\"x;\"", " ; tag = 1 "] {
            assert!(Params::well_formed(good), "{good}");
        }
        for bad in [
            ";;",
            ";a;",
            ";a;;b",
            ";a=\"x",
            ";=1",
            ";a=\"x\"y",
            ";",
            ";a=x\"y\"",
        ] {
            assert!(!Params::well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn unquoting_resolves_pairs() {
        assert_eq!(unquote(r#""J \\\" R""#), r#"J \" R"#);
        assert_eq!(unquote("plain"), "plain");
        assert_eq!(unquote("\""), "\"");
    }
}
