//! Requests that cannot be processed but can be answered.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use super::draft::{finish, status_line};
use super::headers::{push_line, repeat_line};
use super::index::{Index, StartLine};
use super::{ByteStr, Name, Values, Via};
use crate::misbehaviour::Misbehaviour;

/// A message that is not processed.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// What is wrong with it.
    pub why: Misbehaviour,
    /// What is needed to answer it; `None` for a response, an ACK and a request whose sender
    /// cannot be told.
    pub answerable: Option<Box<Answerable>>,
}

/// The parts of a broken request that its response repeats, as they were received.
#[derive(Clone, Debug)]
pub struct Answerable {
    /// The top Via, as far as it can be read: where the response goes.
    pub via: Via,
    via_is_sound: bool,
    via_stamped: bool,
    /// All Via lines.
    via_lines: Vec<ByteStr>,
    /// From, To, Call-ID and CSeq lines.
    lines: Vec<(Name, ByteStr)>,
}

/// The most Via lines a rejection repeats.
const VIA_LINES_MAX: usize = 70;

impl Rejected {
    pub(super) fn new(why: Misbehaviour, index: Option<&Index>) -> Self {
        Self {
            why,
            answerable: index.and_then(Answerable::of).map(Box::new),
        }
    }

    /// The same with the address the request came from, see
    /// [`Message::with_source`](super::Message::with_source).
    #[must_use]
    pub fn with_source(mut self, source: SocketAddr) -> Self {
        if let Some(answerable) = &mut self.answerable {
            answerable.via.stamp(source);
            answerable.via_stamped = answerable.via_is_sound;
        }
        self
    }

    /// The response that goes back; `None` when none can or should.
    pub fn response(&self) -> Option<Bytes> {
        let answerable = self.answerable.as_deref()?;
        Some(answerable.print(self.why.status()?, self.why))
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl std::error::Error for Rejected {}

impl Answerable {
    fn of(index: &Index) -> Option<Self> {
        match &index.start {
            StartLine::Request { method, .. } if *method != super::Method::Ack => {}
            _ => return None,
        }
        let via_lines: Vec<_> = index
            .values(Name::Via)
            .take(VIA_LINES_MAX)
            .map(|line| index.head.slice_of(line))
            .collect();
        let first = via_lines.first()?;
        let top = first.slice_of(Values::new(first).next()?);
        let mut lines = Vec::new();
        for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
            // A line that stands twice is what may be wrong with the request: the first counts.
            lines.extend(
                index
                    .values(name)
                    .next()
                    .map(|value| (name, index.head.slice_of(value))),
            );
        }
        let sound = Via::parse(&top);
        Some(Self {
            via_is_sound: sound.is_some(),
            via: sound.or_else(|| Via::parse_leniently(&top))?,
            via_stamped: false,
            via_lines,
            lines,
        })
    }

    fn print(&self, status: u16, why: Misbehaviour) -> Bytes {
        let mut text = String::with_capacity(512);
        status_line(&mut text, status, None);
        for (position, line) in self.via_lines.iter().enumerate() {
            if position > 0 || !self.via_stamped {
                repeat_line(&mut text, Name::Via.as_str(), line);
                continue;
            }
            repeat_line(&mut text, Name::Via.as_str(), &self.via);
            for value in Values::new(line).skip(1) {
                repeat_line(&mut text, Name::Via.as_str(), value);
            }
        }
        for (name, value) in &self.lines {
            match name {
                Name::To if !has_tag(value) => {
                    let tag = self.tag();
                    repeat_line(
                        &mut text,
                        name.as_str(),
                        format_args!("{value};tag={tag:016x}"),
                    );
                }
                _ => repeat_line(&mut text, name.as_str(), value),
            }
        }
        push_line(&mut text, Name::Warning.as_str(), Explanation(why));
        finish(text, None, &Bytes::new())
    }

    /// A tag that is the same for each retransmission of the request (RFC 3261 §8.2.7), without a
    /// memory of it: the hash (FNV-1a) of what identifies it.
    fn tag(&self) -> u64 {
        let identity = self
            .lines
            .iter()
            .map(|(_, line)| line)
            .chain(&self.via_lines);
        identity
            .flat_map(|line| line.bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    }
}

/// Whether a To value, which may be malformed, has a tag or seems to.
fn has_tag(value: &ByteStr) -> bool {
    match super::NameAddr::parse(value) {
        Ok(address) => address.tag().is_some(),
        Err(_) => value.contains(";tag="),
    }
}

/// `399 strowger "…"`: says to people at the other end what was wrong (RFC 3261 §20.43).
struct Explanation(Misbehaviour);

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut quoted = String::new();
        super::header::name_addr::push_quoted(&mut quoted, &self.0.to_string());
        write!(f, "399 strowger {quoted}")
    }
}
