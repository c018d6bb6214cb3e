//! Header lines that we compose.

use std::fmt::{self, Write};

use super::Name;
use super::scan;

/// An append-only list of header lines.
///
/// No value can end its line: control characters become spaces and a name that is no token is
/// refused, so text from a peer, a record or a user cannot add headers or a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    lines: String,
}

keep::keep!(struct Headers { lines });

impl Headers {
    /// No lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a line. A `name` that is no token appends nothing.
    pub fn push(&mut self, name: &str, value: impl fmt::Display) {
        if scan::token(name) {
            push_line(&mut self.lines, name, value);
        }
    }

    /// Appends a line whose value is text already: as [`Headers::push`], with less work.
    pub fn push_text(&mut self, name: &str, value: &str) {
        if scan::token(name) {
            push_text_line(&mut self.lines, name, value);
        }
    }

    /// Appends a line with a known name; [`Name::Other`] appends nothing.
    pub fn push_name(&mut self, name: Name, value: impl fmt::Display) {
        self.push(name.as_str(), value);
    }

    /// Appends all lines of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.lines.push_str(&other.lines);
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether a line has this name, in any case.
    pub fn contains(&self, name: &str) -> bool {
        self.iter()
            .any(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
    }

    /// The value of the first line of this name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Removes all lines of this name, in any case.
    pub fn remove(&mut self, name: &str) {
        self.retain(|candidate, _| !candidate.eq_ignore_ascii_case(name));
    }

    /// Removes the lines of this name, in any case, that have exactly this value.
    pub fn remove_line(&mut self, name: &str, value: &str) {
        self.retain(|candidate, other| !candidate.eq_ignore_ascii_case(name) || other != value);
    }

    fn retain(&mut self, keep: impl Fn(&str, &str) -> bool) {
        let mut kept = Self::new();
        for (name, value) in self.iter().filter(|(name, value)| keep(name, value)) {
            kept.push(name, value);
        }
        *self = kept;
    }

    /// All lines as names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        // The line ends are ours, so that one byte tells them.
        self.lines.split_terminator('\n').filter_map(|line| {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let colon = line.find(':')?;
            Some((&line[..colon], line[colon..].strip_prefix(": ")?))
        })
    }

    /// The lines as they are sent, each with its line end.
    pub fn as_str(&self) -> &str {
        &self.lines
    }
}

/// Appends `name: value` and the line end. `name` must be a token.
pub(crate) fn push_line(lines: &mut String, name: &str, value: impl fmt::Display) {
    lines.push_str(name);
    lines.push_str(": ");
    // Writing to a `String` fails only when the value's own `Display` does; the line then carries
    // what it had written.
    let _ = write!(OneLine(lines), "{value}");
    lines.push_str("\r\n");
}

/// [`push_line`] for text.
pub(crate) fn push_text_line(lines: &mut String, name: &str, value: &str) {
    lines.push_str(name);
    lines.push_str(": ");
    push_one_line(lines, value);
    lines.push_str("\r\n");
}

/// Appends a line that repeats what a peer sent. It is left as it is, down to the control
/// characters that a quoted string may contain, except that it cannot end the line.
pub(crate) fn repeat_line(lines: &mut String, name: &str, value: impl fmt::Display) {
    // As above: writing to a `String` does not fail.
    repeat_line_with(lines, name, |lines| {
        let _ = write!(lines, "{value}");
    });
}

/// [`repeat_line`] for a value that `print` appends.
pub(crate) fn repeat_line_with(lines: &mut String, name: &str, print: impl FnOnce(&mut String)) {
    lines.push_str(name);
    lines.push_str(": ");
    let start = lines.len();
    print(lines);
    if memchr::memchr2(b'\r', b'\n', &lines.as_bytes()[start..]).is_some() {
        let mended = lines[start..].replace(['\r', '\n'], " ");
        lines.truncate(start);
        lines.push_str(&mended);
    }
    lines.push_str("\r\n");
}

/// Appends a number. Every message has several, and `write!` is made for more than that.
pub(crate) fn push_decimal(text: &mut String, number: u64) {
    const DIGITS: usize = 20;
    let mut digits = [0; DIGITS];
    let mut at = DIGITS;
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    // ASCII by construction.
    text.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// Writes text with every control character but the tab replaced by a space.
pub(crate) struct OneLine<'a>(pub(crate) &'a mut String);

impl Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_one_line(self.0, text);
        Ok(())
    }
}

/// Appends text with every control character but the tab replaced by a space.
pub(crate) fn push_one_line(out: &mut String, text: &str) {
    // Without a way out of the loop the compiler checks many bytes at once.
    if !text
        .bytes()
        .fold(false, |found, byte| found | is_control(byte))
    {
        out.push_str(text);
    } else {
        let plain = |c: char| {
            if c.is_ascii() && is_control(c as u8) {
                ' '
            } else {
                c
            }
        };
        out.extend(text.chars().map(plain));
    }
}

/// Whether `byte` is a control character other than the tab.
fn is_control(byte: u8) -> bool {
    (byte < b' ') & (byte != b'\t') | (byte == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_found() {
        let mut headers = Headers::new();
        assert!(headers.is_empty());
        headers.push("X-One", 1);
        headers.push_name(Name::Subject, "hello: you");
        let mut more = Headers::new();
        more.push("Date", "now");
        headers.extend(&more);
        assert_eq!(
            headers.as_str(),
            "X-One: 1\r\nSubject: hello: you\r\nDate: now\r\n"
        );
        assert!(headers.contains("x-one") && !headers.contains("X-Two"));
        assert_eq!(headers.get("subject"), Some("hello: you"));
    }

    #[test]
    fn nothing_can_be_injected() {
        let evil = "x\r\nEvil: 1\r\n\r\nbody\0\u{7f}";
        let mut headers = Headers::new();
        headers.push("A", evil);
        headers.push_text("B", evil);
        headers.push("C: 1\r\nEvil", "x");
        headers.push_text("C: 1\r\nEvil", "x");
        headers.push("", "x");
        headers.push_name(Name::Other, "x");
        let mended = "x  Evil: 1    body  ";
        assert_eq!(headers.as_str(), format!("A: {mended}\r\nB: {mended}\r\n"));

        let mut line = String::new();
        repeat_line_with(&mut line, "A", |text| text.push_str("x\r\nEvil: 1"));
        assert_eq!(line, "A: x  Evil: 1\r\n");
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for number in [0, 7, 10, 5060, u64::from(u32::MAX), u64::MAX] {
            let mut text = String::new();
            push_decimal(&mut text, number);
            assert_eq!(text, number.to_string());
        }
    }
}
