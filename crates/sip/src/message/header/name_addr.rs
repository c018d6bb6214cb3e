//! `name-addr` with header parameters: From, To, Contact, Route, Record-Route, Refer-To,
//! P-Asserted-Identity, Diversion and friends (RFC 3261 §20.10).

use std::fmt;
use std::str::FromStr;

use memchr::{memchr, memchr2};

use crate::message::scan::{self, Params, trim};
use crate::message::uri::Uri;
use crate::message::{ByteStr, UriError};

/// `"Display name" <uri>;param=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name without quotes and backslashes; `None` when there is none or it is empty.
    pub display: Option<ByteStr>,
    /// The address.
    pub uri: Uri,
    params: ByteStr,
}

keep::keep!(struct NameAddr { display, uri, params });

/// Why text is not an address with an optional display name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameAddrError {
    /// A quote without its partner, or something else than `<` behind the display name.
    Display,
    /// `<` without `>`.
    Bracket,
    /// The address itself.
    Uri(UriError),
    /// An address without brackets that contains `?` or `,` (RFC 3261 §20.10).
    NeedsBrackets,
    /// Malformed header parameters.
    Params,
}

impl fmt::Display for NameAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Display => f.write_str("malformed display name"),
            Self::Bracket => f.write_str("angle bracket not closed"),
            Self::Uri(error) => error.fmt(f),
            Self::NeedsBrackets => f.write_str("address has to stand in angle brackets"),
            Self::Params => f.write_str("malformed parameters"),
        }
    }
}

impl std::error::Error for NameAddrError {}

impl NameAddr {
    /// An address with a display name; an empty name means none.
    pub fn new(display: Option<&str>, uri: Uri) -> Self {
        Self {
            display: display.filter(|name| !name.is_empty()).map(ByteStr::copy),
            uri,
            params: ByteStr::EMPTY,
        }
    }

    /// Reads one address.
    ///
    /// More is accepted than the grammar allows where the meaning is plain: a display name of
    /// several words without quotes, and white space inside of the angle brackets.
    pub fn parse(value: &ByteStr) -> Result<Self, NameAddrError> {
        Self::parse_in(value, value)
    }

    /// The same for a part of `whole`.
    pub(crate) fn parse_in(whole: &ByteStr, value: &str) -> Result<Self, NameAddrError> {
        let text = trim(value);
        let (display, rest) = split_display(text)?;
        let Some(rest) = rest else {
            return Self::parse_bare(whole, text);
        };
        let close = memchr(b'>', rest.as_bytes()).ok_or(NameAddrError::Bracket)?;
        let uri = Uri::parse_in(whole, trim(&rest[..close])).map_err(NameAddrError::Uri)?;
        let params = trim(&rest[close + 1..]);
        if !(params.is_empty() || params.starts_with(';')) {
            return Err(NameAddrError::Params);
        }
        Ok(Self {
            display: unquoted(whole, display),
            uri,
            params: check_params(whole, params)?,
        })
    }

    /// An address without brackets: all parameters belong to the header, none to the URI.
    fn parse_bare(whole: &ByteStr, text: &str) -> Result<Self, NameAddrError> {
        let end = memchr(b';', text.as_bytes()).unwrap_or(text.len());
        let address = trim(&text[..end]);
        if memchr2(b'?', b',', address.as_bytes()).is_some() {
            return Err(NameAddrError::NeedsBrackets);
        }
        Ok(Self {
            display: None,
            uri: Uri::parse_in(whole, address).map_err(NameAddrError::Uri)?,
            params: check_params(whole, trim(&text[end..]))?,
        })
    }

    /// The address as it is sent: what `to_string` gives, without the formatting machinery.
    pub fn to_text(&self) -> String {
        let display = self.display.as_deref().unwrap_or("");
        let uri = self.uri.as_str();
        let mut text = String::with_capacity(display.len() + uri.len() + self.params.len() + 8);
        if self.display.is_some() {
            push_quoted(&mut text, display);
            text.push(' ');
        }
        for part in ["<", uri, ">", &self.params] {
            text.push_str(part);
        }
        text
    }

    /// The `tag` parameter: the first that has a value, so that a tag which is added after one without counts.
    pub fn tag(&self) -> Option<&str> {
        Params::new(&self.params)
            .filter(|(name, _)| name.eq_ignore_ascii_case("tag"))
            .find_map(|(_, value)| value.filter(|tag| !tag.is_empty()))
    }

    /// A header parameter by its name in any case: outer `None` when absent, inner `None` when it
    /// has no value. Quotes around a value are kept.
    pub fn param(&self, name: &str) -> Option<Option<&str>> {
        Params::get(&self.params, name)
    }

    /// The header parameters from their first semicolon on.
    pub fn params(&self) -> &str {
        &self.params
    }

    /// The header parameters from their first semicolon on, as shared text.
    pub fn params_shared(&self) -> ByteStr {
        self.params.clone()
    }

    /// The same address with one more parameter; one of that name is replaced. A value that is no
    /// token is quoted. A name that is no token adds nothing.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        if !scan::token(name) {
            return self;
        }
        let mut params = String::with_capacity(self.params.len() + name.len() + 16);
        for (other, old) in Params::new(&self.params) {
            if !other.eq_ignore_ascii_case(name) {
                params.push(';');
                params.push_str(other);
                if let Some(old) = old {
                    params.push('=');
                    params.push_str(old);
                }
            }
        }
        params.push(';');
        params.push_str(name);
        if let Some(value) = value {
            params.push('=');
            if scan::token(value) || host_like(value) {
                params.push_str(value);
            } else {
                push_quoted(&mut params, value);
            }
        }
        self.params = params.into();
        self
    }

    /// The same address with this tag.
    #[must_use]
    pub fn with_tag(self, tag: &str) -> Self {
        self.with_param("tag", Some(tag))
    }

    /// The same address without any header parameter.
    #[must_use]
    pub fn without_params(mut self) -> Self {
        self.params = ByteStr::EMPTY;
        self
    }
}

impl FromStr for NameAddr {
    type Err = NameAddrError;

    fn from_str(text: &str) -> Result<Self, NameAddrError> {
        Self::parse(&ByteStr::copy(text))
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// Splits at the opening bracket: the display name, and what follows the bracket; `None` there
/// when the address stands without brackets.
fn split_display(text: &str) -> Result<(&str, Option<&str>), NameAddrError> {
    if text.starts_with('"') {
        let end = scan::quoted_end(text).ok_or(NameAddrError::Display)?;
        let rest = trim(&text[end..])
            .strip_prefix('<')
            .ok_or(NameAddrError::Display)?;
        return Ok((&text[..end], Some(rest)));
    }
    let Some(open) = memchr(b'<', text.as_bytes()) else {
        return Ok(("", None));
    };
    let display = trim(&text[..open]);
    // `sip:a@b;p="<"`: the bracket belongs to a parameter of an address without brackets.
    if let Some(at) = memchr2(b';', b'"', display.as_bytes()) {
        return if display[..at].contains(':') {
            Ok(("", None))
        } else {
            Err(NameAddrError::Display)
        };
    }
    Ok((display, Some(&text[open + 1..])))
}

fn unquoted(value: &ByteStr, display: &str) -> Option<ByteStr> {
    let name = match scan::unquote(display) {
        std::borrow::Cow::Borrowed(name) => value.slice_of(name),
        std::borrow::Cow::Owned(name) => name.into(),
    };
    (!name.is_empty()).then_some(name)
}

fn check_params(value: &ByteStr, params: &str) -> Result<ByteStr, NameAddrError> {
    if params.is_empty() {
        Ok(ByteStr::EMPTY)
    } else if Params::well_formed(params) {
        Ok(value.slice_of(params))
    } else {
        Err(NameAddrError::Params)
    }
}

fn host_like(value: &str) -> bool {
    crate::message::uri::host_ip(value).is_some()
}

/// Appends a quoted string; control characters, which could end the line, become spaces.
pub(crate) fn push_quoted(text: &mut String, raw: &str) {
    text.push('"');
    for character in raw.chars() {
        match character {
            '"' | '\\' => {
                text.push('\\');
                text.push(character);
            }
            control if control.is_control() => text.push(' '),
            plain => text.push(plain),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NameAddr {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn reads_all_forms() {
        let quoted = read(r#""J Rosenberg \\\"" <sip:j@example.com;x=1> ; tag = 98asjd8;y"#);
        assert_eq!(quoted.display.as_deref(), Some(r#"J Rosenberg \""#));
        assert_eq!(quoted.uri.as_str(), "sip:j@example.com;x=1");
        assert_eq!(quoted.tag(), Some("98asjd8"));
        assert_eq!(quoted.param("Y"), Some(None));

        let words = read("token1~` two<sip:a@b>;tag=1");
        assert_eq!(words.display.as_deref(), Some("token1~` two"));
        let bare = read("sip:a@b;tag=7;x=\"<\"");
        assert_eq!(
            (bare.display.clone(), bare.uri.as_str(), bare.tag()),
            (None, "sip:a@b", Some("7"))
        );
        assert_eq!(read("<sip:a@b>").params(), "");
        assert_eq!(read("\"\"<sip:a@b>").display, None);
        assert_eq!(read("<tel:+1202>;tag=x").uri.scheme(), "tel");
        assert_eq!(read("< sip:a@b >").uri.as_str(), "sip:a@b");
        // A tag that we add to this counts.
        assert_eq!(read("<sip:a@b>;tag;tag=ours").tag(), Some("ours"));
    }

    #[test]
    fn refuses_what_cannot_be_read() {
        for (text, error) in [
            (r#""Mr. J <sip:a@b>"#, NameAddrError::Display),
            (r#""A" sip:a@b"#, NameAddrError::Display),
            ("<sip:a@b", NameAddrError::Bracket),
            ("sip:a@b?Route=x", NameAddrError::NeedsBrackets),
            ("<sip:a@b>;;tag=1", NameAddrError::Params),
            ("<sip:a@b> x", NameAddrError::Params),
            ("<sip:a b>", NameAddrError::Uri(UriError::Host)),
            ("*", NameAddrError::Uri(UriError::Scheme)),
            ("", NameAddrError::Uri(UriError::Scheme)),
        ] {
            assert_eq!(text.parse::<NameAddr>(), Err(error), "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads_and_cannot_inject() {
        let made = NameAddr::new(Some("A \"b\"\\\r\nEvil: 1"), read("<sip:a@b>").uri)
            .with_tag("t1")
            .with_param("x", Some("q\r\n;z"))
            .with_param("TAG", Some("t2"))
            .with_param("no token", None);
        let printed = made.to_string();
        assert_eq!(
            printed,
            r#""A \"b\"\\  Evil: 1" <sip:a@b>;x="q  ;z";TAG=t2"#
        );
        let again = read(&printed);
        assert_eq!(again.tag(), Some("t2"));
        assert_eq!(again.display.as_deref(), Some("A \"b\"\\  Evil: 1"));
    }
}
