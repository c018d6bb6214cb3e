//! Where everything is: the start line and the header lines of a message.

use std::sync::Arc;

use memchr::{memchr, memchr_iter};

use super::scan;
use super::{ByteStr, Method, Name};
use crate::misbehaviour::Misbehaviour;

/// The largest message that is read, in bytes: what fits into a UDP datagram.
pub const MESSAGE_BYTES_MAX: usize = 65_535;

/// The most header lines that are read. Long routes and many contacts stay far below.
pub const HEADERS_MAX: usize = 512;

/// How many header lines are expected, so that the index rarely grows.
const HEADERS_USUAL: usize = 24;

/// The first line.
#[derive(Clone, Debug)]
pub(super) enum StartLine {
    Request { method: Method, uri: ByteStr },
    Response { status: u16, reason: ByteStr },
}

/// One header line, as offsets into the head.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: Name,
    name_at: (u32, u32),
    value_at: (u32, u32),
}

/// The index of a message's head.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// The head as text, unfolded; everything else points into it.
    pub(super) head: ByteStr,
    pub(super) start: StartLine,
    fields: Vec<Field>,
    /// Where the body begins in the received bytes.
    pub(super) body_start: usize,
}

/// The header fields that every message has, and the two that are checked when present.
pub(super) struct Required<'a> {
    pub(super) via: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) call_id: &'a str,
    pub(super) cseq: &'a str,
    pub(super) max_forwards: Option<&'a str>,
    pub(super) content_length: Option<&'a str>,
}

/// An error, and what could be read in spite of it.
type Failure = (Misbehaviour, Option<Box<Index>>);

impl Index {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Failure> {
        let skipped = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        let message = &bytes[skipped..];
        if message.is_empty() {
            return Err((Misbehaviour::Empty, None));
        }
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err((Misbehaviour::TooLarge, None));
        }
        let mut lines = Lines::find(message);
        // Some senders leave out the empty line when there is no body. A datagram that ends with a
        // whole line is taken for that; one that ends within a line has been cut, and is read only
        // to be answered.
        let (length, terminated) = match lines.head_length {
            Some(length) => (length, true),
            None => (message.len(), message.ends_with(b"\n")),
        };
        let head = match std::str::from_utf8(&message[..length]) {
            Ok(text) if !lines.folded => Arc::from(text),
            // Rare enough to be read twice.
            _ => {
                let text: Arc<str> =
                    Arc::from(unfold(&String::from_utf8_lossy(&message[..length])));
                lines = Lines::find(text.as_bytes());
                text
            }
        };
        let head = ByteStr::from(head);
        let (start, start_fault) = start_line(&head, &head[..lines.first_line]);
        let index = Self {
            start,
            head,
            fields: lines.fields,
            body_start: skipped + length,
        };
        let cut = (!terminated).then_some(Misbehaviour::HeadNotTerminated);
        match cut.or(start_fault).or(lines.fault) {
            None => Ok(index),
            Some(fault) => Err((fault, Some(Box::new(index)))),
        }
    }

    pub(super) fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |field| field.name == name)
            .map(|field| self.text(field.value_at))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Name, &str)> {
        self.fields.iter().map(|field| {
            (
                self.text(field.name_at),
                field.name,
                self.text(field.value_at),
            )
        })
    }

    /// Finds the header fields every message must have in one pass, and refuses repetitions of
    /// those that may stand once only (RFC 3261 §7.3.1).
    pub(super) fn required(&self) -> Result<Required<'_>, Misbehaviour> {
        let mut via = None;
        let mut once: [Option<&str>; ONCE] = [None; ONCE];
        for field in &self.fields {
            if field.name == Name::Via {
                via = via.or_else(|| Some(self.text(field.value_at)));
            } else if let Some(slot) = once_slot(field.name)
                && once[slot].replace(self.text(field.value_at)).is_some()
            {
                return Err(Misbehaviour::Repeated(field.name));
            }
        }
        let [from, to, call_id, cseq, max_forwards, content_length] = once;
        Ok(Required {
            via: via.ok_or(Misbehaviour::Missing(Name::Via))?,
            from: from.ok_or(Misbehaviour::Missing(Name::From))?,
            to: to.ok_or(Misbehaviour::Missing(Name::To))?,
            call_id: call_id.ok_or(Misbehaviour::Missing(Name::CallId))?,
            cseq: cseq.ok_or(Misbehaviour::Missing(Name::CSeq))?,
            max_forwards,
            content_length,
        })
    }

    fn text(&self, (start, end): (u32, u32)) -> &str {
        &self.head[start as usize..end as usize]
    }
}

/// How many names [`once_slot`] knows.
const ONCE: usize = 6;

/// The place of a header field that stands once and is looked at when a message is read.
fn once_slot(name: Name) -> Option<usize> {
    Some(match name {
        Name::From => 0,
        Name::To => 1,
        Name::CallId => 2,
        Name::CSeq => 3,
        Name::MaxForwards => 4,
        Name::ContentLength => 5,
        _ => return None,
    })
}

/// The lines of a head, found in one pass over its bytes.
struct Lines {
    /// Where the first line ends, its line end left out.
    first_line: usize,
    fields: Vec<Field>,
    /// The length of the head with its empty line; `None` when that has not come.
    head_length: Option<usize>,
    /// A line continues the one before it. Then the fields are of no use.
    folded: bool,
    /// A line is no header field. Those that are, are there all the same.
    fault: Option<Misbehaviour>,
}

impl Lines {
    fn find(bytes: &[u8]) -> Self {
        let mut lines = Self {
            first_line: bytes.len(),
            fields: Vec::with_capacity(HEADERS_USUAL),
            head_length: None,
            folded: false,
            fault: None,
        };
        let mut start = 0;
        let mut carriage_returns = 0;
        for line_feed in memchr_iter(b'\n', bytes) {
            let ends_with_both = line_feed > start && bytes[line_feed - 1] == b'\r';
            let end = line_feed - usize::from(ends_with_both);
            carriage_returns += usize::from(ends_with_both);
            if start == end && start != 0 {
                lines.head_length = Some(line_feed + 1);
                break;
            }
            lines.take(bytes, start, end);
            start = line_feed + 1;
        }
        let head = &bytes[..lines.head_length.unwrap_or(bytes.len())];
        if lines.head_length.is_none() && start < bytes.len() {
            lines.take(bytes, start, bytes.len());
        }
        // A CR alone would end the line for some readers and not for others.
        if memchr_iter(b'\r', head).count() != carriage_returns {
            lines.fault.get_or_insert(Misbehaviour::MalformedHeaderLine);
        }
        lines
    }

    fn take(&mut self, bytes: &[u8], start: usize, end: usize) {
        if start == 0 {
            self.first_line = end;
        } else if matches!(bytes[start], b' ' | b'\t') {
            self.folded = true;
        } else if self.fields.len() == HEADERS_MAX {
            self.fault = Some(Misbehaviour::TooManyHeaders);
        } else {
            match field(bytes, start, end) {
                Some(field) => self.fields.push(field),
                None => self.fault = Some(Misbehaviour::MalformedHeaderLine),
            }
        }
    }
}

/// The header field on the line from `start` to `end`; white space around the value is left out.
fn field(bytes: &[u8], start: usize, end: usize) -> Option<Field> {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t');
    // Names are short: a loop is done before a vectorized search has begun.
    let colon = start + bytes[start..end].iter().position(|&byte| byte == b':')?;
    let mut name_end = colon;
    while name_end > start && is_space(bytes[name_end - 1]) {
        name_end -= 1;
    }
    let name_text = &bytes[start..name_end];
    let name = Name::of_bytes(name_text);
    if name == Name::Other && !scan::token_bytes(name_text) {
        return None;
    }
    let (mut value_start, mut value_end) = (colon + 1, end);
    while value_start < value_end && is_space(bytes[value_start]) {
        value_start += 1;
    }
    while value_end > value_start && is_space(bytes[value_end - 1]) {
        value_end -= 1;
    }
    // Heads are bounded by MESSAGE_BYTES_MAX (thrice that with every byte replaced), so no offset
    // is cut.
    let narrow = |offset: usize| offset as u32;
    Some(Field {
        name,
        name_at: (narrow(start), narrow(name_end)),
        value_at: (narrow(value_start), narrow(value_end)),
    })
}

/// The length of a head with its empty line, when that has come. Lines end with CRLF; a bare LF
/// is taken for one, here and in the stream framing alike, so that both always agree on where
/// the body begins.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr(b'\n', &bytes[at..])? + 1;
        match bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// Joins folded lines (RFC 3261 §7.3.1): a line that begins with white space continues the one
/// before it.
fn unfold(head: &str) -> String {
    let mut joined = String::with_capacity(head.len());
    for line in head.split_inclusive('\n') {
        if line.starts_with([' ', '\t']) && !joined.is_empty() {
            joined.truncate(joined.trim_end_matches(['\r', '\n', ' ', '\t']).len());
            joined.push(' ');
            joined.push_str(line.trim_start_matches([' ', '\t']));
        } else {
            joined.push_str(line);
        }
    }
    joined
}

/// Reads the first line. With a fault comes a start line that serves to answer the request.
fn start_line(head: &ByteStr, line: &str) -> (StartLine, Option<Misbehaviour>) {
    if line
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("SIP/"))
    {
        return status_line(head, line);
    }
    let (method_text, rest) = line.split_once(' ').unwrap_or((line, ""));
    let Some(method) = Method::parse_in(head, method_text) else {
        return (unanswerable(), Some(Misbehaviour::MalformedStartLine));
    };
    // From the right: a Request-URI with white space in it must not pass for a version.
    let (uri, version) = rest.rsplit_once(' ').unwrap_or((rest, ""));
    let fault = if !looks_like_version(version) || uri.is_empty() {
        Some(Misbehaviour::MalformedStartLine)
    } else if !version.eq_ignore_ascii_case("SIP/2.0") {
        Some(Misbehaviour::Version)
    } else {
        None
    };
    let uri = head.slice_of(uri);
    (StartLine::Request { method, uri }, fault)
}

fn status_line(head: &ByteStr, line: &str) -> (StartLine, Option<Misbehaviour>) {
    let (version, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return (unanswerable(), Some(Misbehaviour::Version));
    }
    let digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let status = code.parse().unwrap_or(0);
    if !digits || !(100..700).contains(&status) {
        return (unanswerable(), Some(Misbehaviour::Status));
    }
    let reason = head.slice_of(reason);
    (StartLine::Response { status, reason }, None)
}

fn looks_like_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("SIP/"))
        && text[4..]
            .split_once('.')
            .is_some_and(|(major, minor)| number(major) && number(minor))
}

fn unanswerable() -> StartLine {
    StartLine::Response {
        status: 0,
        reason: ByteStr::EMPTY,
    }
}
