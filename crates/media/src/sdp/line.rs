//! One line of a description.

use std::fmt;

use bytes::Bytes;

/// A letter, an equals sign, and a value that is kept as it came.
#[derive(Clone, Eq, PartialEq, Hash)]
pub struct Line {
    letter: u8,
    value: Bytes,
}

/// `a=name` or `a=name:value`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attribute<'a> {
    /// What stands before the colon; case matters (RFC 8866 §5.13).
    pub name: &'a str,
    /// What stands behind it; `None` for a property attribute such as `recvonly`.
    pub value: Option<&'a str>,
}

impl keep::Keep for Line {
    fn keep(&self, out: &mut keep::Writer) {
        out.number(self.value.len() as u64 + 2);
        out.raw(&[self.letter, b'=']);
        out.raw(&self.value);
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        let line = Self::received(&Bytes::kept(input)?);
        line.ok_or(keep::Damaged::Value("line"))
    }
}

impl Line {
    /// A line of our own. Anything that would end the line early is turned into a space, so a
    /// value can never become two lines.
    pub fn new(letter: u8, value: impl Into<String>) -> Self {
        let mut value = value.into().into_bytes();
        for byte in &mut value {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
        Self {
            letter,
            value: value.into(),
        }
    }

    /// An attribute of our own.
    pub fn attribute(name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => Self::new(b'a', format!("{name}:{value}")),
            None => Self::new(b'a', name),
        }
    }

    /// A line as it was received, without its end.
    pub(super) fn received(line: &Bytes) -> Option<Self> {
        let [letter, b'=', ..] = line[..] else {
            return None;
        };
        // RFC 8866 §9: any byte may stand in a value but the line ends and NUL.
        let sound = letter.is_ascii_graphic() && memchr::memchr(0, line).is_none();
        sound.then(|| Self {
            letter,
            value: line.slice(2..),
        })
    }

    /// What stands before the equals sign.
    pub fn letter(&self) -> u8 {
        self.letter
    }

    /// The value as text, up to the first byte that is not UTF-8. Nothing this crate understands
    /// uses other characters; the bytes themselves are printed whole.
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.value) {
            Ok(text) => text,
            Err(error) => {
                std::str::from_utf8(&self.value[..error.valid_up_to()]).unwrap_or_default()
            }
        }
    }

    /// The line as an attribute, if it is one.
    pub fn as_attribute(&self) -> Option<Attribute<'_>> {
        if self.letter != b'a' {
            return None;
        }
        let text = self.text();
        Some(match text.split_once(':') {
            Some((name, value)) => Attribute {
                name,
                value: Some(value),
            },
            None => Attribute {
                name: text,
                value: None,
            },
        })
    }

    /// Whether this is `a=name` with or without a value.
    pub fn is_attribute(&self, name: &str) -> bool {
        self.as_attribute()
            .is_some_and(|attribute| attribute.name == name)
    }

    /// Appends the line with its end.
    pub(super) fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.letter, b'=']);
        out.extend_from_slice(&self.value);
        out.extend_from_slice(b"\r\n");
    }

    /// Whether the value is key material that belongs in no log.
    fn is_secret(&self) -> bool {
        self.letter == b'k'
            || ["crypto", "key-mgmt", "ice-pwd"]
                .iter()
                .any(|name| self.is_attribute(name))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = char::from(self.letter);
        match self.as_attribute() {
            Some(attribute) if self.is_secret() => write!(f, "{letter}={}:…", attribute.name),
            None if self.is_secret() => write!(f, "{letter}=…"),
            _ => write!(f, "{letter}={}", String::from_utf8_lossy(&self.value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_split_at_the_first_colon() {
        let line = Line::attribute("rtpmap", Some("0 a:b"));
        assert_eq!(
            line.as_attribute(),
            Some(Attribute {
                name: "rtpmap",
                value: Some("0 a:b")
            })
        );
        assert_eq!(Line::new(b's', "x").as_attribute(), None);
    }

    #[test]
    fn nothing_can_be_injected() {
        let mut out = Vec::new();
        Line::new(b's', "x\r\nm=audio 1").print(&mut out);
        assert_eq!(out, b"s=x  m=audio 1\r\n");
    }

    #[test]
    fn keys_are_not_shown() {
        let key = Line::attribute("crypto", Some("1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0"));
        assert_eq!(format!("{key:?}"), "a=crypto:…");
        assert_eq!(format!("{:?}", Line::new(b'k', "clear:secret")), "k=…");
    }
}
