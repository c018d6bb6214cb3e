//! The header line that a dial rule adds: what it may look like, for those who store it and those who send it.

use std::fmt;

/// Headers that a rule must not write: the switch makes them itself, and a second one breaks the message. Each with its
/// compact form (RFC 3261 §7.3.3), which is the same header. Everything that begins with [`OF_THE_BODY`] is one too.
const RESERVED: [(&str, Option<&str>); 12] = [
    ("via", Some("v")),
    ("from", Some("f")),
    ("to", Some("t")),
    ("call-id", Some("i")),
    ("cseq", None),
    ("contact", Some("m")),
    ("route", None),
    ("record-route", None),
    ("max-forwards", None),
    ("content-type", Some("c")),
    ("content-length", Some("l")),
    ("content-encoding", Some("e")),
];

/// What the names of all headers about the body begin with.
const OF_THE_BODY: &str = "content-";

/// Why a text is no header line that a rule may add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderLineError<'a> {
    /// It is not `Name: value` on one line.
    NotALine,
    /// The name is one that the switch writes itself.
    Reserved(&'a str),
}

impl fmt::Display for HeaderLineError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotALine => f.write_str("must be a header line, Name: value"),
            Self::Reserved(name) => write!(
                f,
                "must not write the header {name}, which the switch makes itself"
            ),
        }
    }
}

/// The name and the value of a line, both without the space around them. The name is a token (RFC 3261 §25.1) and none
/// of those that are reserved, in whatever form; the value may hold tokens that are not replaced yet.
pub fn parse(line: &str) -> Result<(&str, &str), HeaderLineError<'_>> {
    let (name, value) = line.split_once(':').ok_or(HeaderLineError::NotALine)?;
    let (name, value) = (name.trim_matches(BLANK), value.trim_matches(BLANK));
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) || value.is_empty() || !is_one_line(value) {
        return Err(HeaderLineError::NotALine);
    }
    if is_reserved(name) {
        return Err(HeaderLineError::Reserved(name));
    }
    Ok((name, value))
}

/// Whether nothing in `value` could end a line, or be taken for its end by a careless reader.
pub fn is_one_line(value: &str) -> bool {
    !value
        .chars()
        .any(|c| (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Whether the switch writes the header of this name itself; in long or compact form and any case.
pub fn is_reserved(name: &str) -> bool {
    let of_the_body = name
        .get(..OF_THE_BODY.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(OF_THE_BODY));
    of_the_body
        || RESERVED.iter().any(|(long, compact)| {
            long.eq_ignore_ascii_case(name)
                || compact.is_some_and(|compact| compact.eq_ignore_ascii_case(name))
        })
}

/// White space of SIP within a line.
const BLANK: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_a_value() {
        assert_eq!(
            parse("X-Account: <OwnDomain>"),
            Ok(("X-Account", "<OwnDomain>"))
        );
        assert_eq!(parse("  S\t:  a: b\t"), Ok(("S", "a: b")));
        for text in [
            "",
            "X-Account",
            ": x",
            "X:",
            "X: \t",
            "A B: c",
            "Ä: c",
            "\u{a0}X: c",
            "X\r\nY: c",
            "X: a\r\nVia: b",
            "X: a\nb",
            "X: a\rb",
            "X: a\0b",
            "X: a\u{7f}",
            "X: a\u{85}Via: b",
            "X: a\u{2028}Via: b",
        ] {
            assert_eq!(parse(text), Err(HeaderLineError::NotALine), "{text:?}");
        }
    }

    #[test]
    fn a_reserved_name_is_found_in_every_form() {
        for (long, compact) in RESERVED {
            for name in [Some(long), compact].into_iter().flatten() {
                for name in [name.to_owned(), name.to_uppercase()] {
                    for line in [format!("{name}: x"), format!(" {name}\t : x")] {
                        assert_eq!(parse(&line), Err(HeaderLineError::Reserved(&name)));
                    }
                }
            }
        }
        assert!(is_reserved("Content-Disposition") && is_reserved("CONTENT-"));
        for free in ["Contents", "Vias", "s", "X-Via", "contentä"] {
            assert!(!is_reserved(free), "{free}");
        }
    }
}
