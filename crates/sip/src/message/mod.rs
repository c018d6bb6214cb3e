//! Messages: reading them, looking into them, composing them.
//!
//! A received message is read once into an index of its header lines over one shared copy of the
//! head; what every transaction needs is decoded at once (Request-URI, top Via, From, To, Call-ID,
//! CSeq, first Contact), everything else when it is asked for.

mod byte_str;
mod draft;
pub mod header;
mod headers;
pub(crate) mod index;
mod method;
mod name;
mod rejected;
pub(crate) mod scan;
mod status;
pub mod uri;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr2;

pub use self::byte_str::ByteStr;
pub use self::draft::{RequestDraft, ResponseDraft};
pub use self::header::cseq::CSeq;
pub use self::header::name_addr::{NameAddr, NameAddrError};
pub use self::header::rack::RAck;
pub use self::header::reason::Reason;
pub use self::header::via::Via;
pub use self::headers::Headers;
pub use self::index::{HEADERS_MAX, MESSAGE_BYTES_MAX};
pub use self::method::Method;
pub use self::name::Name;
pub use self::rejected::{Answerable, Rejected};
pub use self::scan::{Params, Values, unquote};
pub use self::status::reason_phrase;
pub use self::uri::{Uri, UriError};

use self::header::cseq::decimal;
use self::header::tokens;
use self::headers::repeat_line_with;
use self::index::{Index, StartLine};
use crate::misbehaviour::Misbehaviour;

/// A received message that RFC 3261 allows to process. Clones share everything.
#[derive(Clone, Debug)]
pub struct Message(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    bytes: Bytes,
    index: Index,
    decoded: Decoded,
}

/// The parts that every transaction needs.
#[derive(Clone, Debug)]
struct Decoded {
    body: Bytes,
    uri: Option<Uri>,
    via: Via,
    via_stamped: bool,
    from: NameAddr,
    to: NameAddr,
    call_id: ByteStr,
    cseq: CSeq,
    contact: Option<NameAddr>,
}

impl keep::Keep for Message {
    fn keep(&self, out: &mut keep::Writer) {
        out.slice(&self.0.bytes);
        let via = &self.0.decoded.via;
        let source = via.received.or_else(|| uri::host_ip(&via.host));
        let source = source.filter(|_| self.0.decoded.via_stamped);
        source
            .map(|ip| SocketAddr::new(ip, via.rport.flatten().unwrap_or(0)))
            .keep(out);
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        let message = Self::parse(Bytes::kept(input)?);
        let message = message.map_err(|_| keep::Damaged::Value("message"))?;
        Ok(match Option::kept(input)? {
            Some(source) => message.with_source(source),
            None => message,
        })
    }
}

impl Message {
    /// Reads a whole datagram or a framed message of a stream.
    ///
    /// Line ends before the message are skipped, folded lines unfolded, bytes of the head that
    /// are not UTF-8 replaced, and bytes behind the body that Content-Length announces dropped
    /// (RFC 3261 §18.3). What comes back obeys RFC 3261 as far as processing it needs.
    pub fn parse(bytes: Bytes) -> Result<Self, Rejected> {
        let index = match Index::read(&bytes) {
            Ok(index) => index,
            Err((why, partial)) => return Err(Rejected::new(why, partial.as_deref())),
        };
        match Decoded::of(&bytes, &index) {
            Ok(decoded) => Ok(Self(Arc::new(Inner {
                bytes,
                index,
                decoded,
            }))),
            Err(why) => Err(Rejected::new(why, Some(&index))),
        }
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.0.index.start, StartLine::Request { .. })
    }

    /// The method of a request; `None` for a response, whose method stands in [`Self::cseq`].
    pub fn method(&self) -> Option<&Method> {
        match &self.0.index.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI as written; empty for a response.
    pub fn uri_text(&self) -> &str {
        match &self.0.index.start {
            StartLine::Request { uri, .. } => uri,
            StartLine::Response { .. } => "",
        }
    }

    /// The Request-URI; `None` for a response.
    pub fn uri(&self) -> Option<&Uri> {
        self.0.decoded.uri.as_ref()
    }

    /// The status of a response, 100 to 699.
    pub fn status(&self) -> Option<u16> {
        match self.0.index.start {
            StartLine::Response { status, .. } => Some(status),
            StartLine::Request { .. } => None,
        }
    }

    /// The reason phrase of a response; empty for a request.
    pub fn reason(&self) -> &str {
        match &self.0.index.start {
            StartLine::Response { reason, .. } => reason,
            StartLine::Request { .. } => "",
        }
    }

    /// The value of the first header line of this name.
    pub fn header(&self, name: Name) -> Option<&str> {
        self.0.index.values(name).next()
    }

    /// The same as [`Self::header`], as text that outlives the message.
    pub fn header_shared(&self, name: Name) -> Option<ByteStr> {
        self.header(name)
            .map(|value| self.0.index.head.slice_of(value))
    }

    /// The values of all header lines of this name, in order.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = &str> {
        self.0.index.values(name)
    }

    /// The members of the comma-separated lists in all header lines of this name.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        self.headers(name).flat_map(Values::new)
    }

    /// The same as [`Self::values`], as text that outlives the message.
    pub fn values_shared(&self, name: Name) -> impl Iterator<Item = ByteStr> {
        self.values(name)
            .map(|value| self.0.index.head.slice_of(value))
    }

    /// The addresses in all header lines of this name that can be read.
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = NameAddr> {
        self.values_shared(name)
            .filter_map(|value| NameAddr::parse(&value).ok())
    }

    /// The value of the first header line whose name is `name` in any case, for names that
    /// [`Name`] does not know; known names are found as well.
    pub fn header_by_text(&self, name: &str) -> Option<&str> {
        match Name::parse(name) {
            Name::Other => self
                .all_headers()
                .find(|(written, known, _)| {
                    *known == Name::Other && written.eq_ignore_ascii_case(name)
                })
                .map(|(_, _, value)| value),
            known => self.header(known),
        }
    }

    /// All header lines in order: the name as written, what it means, the value.
    pub fn all_headers(&self) -> impl Iterator<Item = (&str, Name, &str)> {
        self.0.index.all()
    }

    /// The top Via.
    pub fn via(&self) -> &Via {
        &self.0.decoded.via
    }

    /// The From header.
    pub fn from(&self) -> &NameAddr {
        &self.0.decoded.from
    }

    /// The To header.
    pub fn to(&self) -> &NameAddr {
        &self.0.decoded.to
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &ByteStr {
        &self.0.decoded.call_id
    }

    /// The CSeq header.
    pub fn cseq(&self) -> &CSeq {
        &self.0.decoded.cseq
    }

    /// The first contact; `None` when there is none, or it is the `*` of a REGISTER.
    pub fn contact(&self) -> Option<NameAddr> {
        self.0.decoded.contact.clone()
    }

    /// Max-Forwards, when present.
    pub fn max_forwards(&self) -> Option<u8> {
        self.header(Name::MaxForwards).and_then(max_forwards)
    }

    /// The type of the body, parameters included.
    pub fn content_type(&self) -> Option<&str> {
        self.header(Name::ContentType)
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.0.decoded.body
    }

    /// Whether a header that is a list of tokens (Require, Supported, Allow …) contains `token`,
    /// in any case.
    pub fn has_token(&self, name: Name, token: &str) -> bool {
        self.headers(name).any(|list| tokens::contains(list, token))
    }

    /// The message as it was received, folds and all.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The same message with the address it came from written into its top Via, as `received`
    /// and `rport` (RFC 3261 §18.2.1, RFC 3581). Responses printed from it repeat the marked Via.
    #[must_use]
    pub fn with_source(mut self, source: SocketAddr) -> Self {
        let decoded = &mut Arc::make_mut(&mut self.0).decoded;
        decoded.via.stamp(source);
        decoded.via_stamped = true;
        self
    }

    /// Appends the Via lines of a response to this request.
    pub(crate) fn print_vias(&self, text: &mut String) {
        let name = Name::Via.as_str();
        for (position, line) in self.headers(Name::Via).enumerate() {
            if position > 0 || !self.0.decoded.via_stamped {
                repeat_line_with(text, name, |text| text.push_str(line));
                continue;
            }
            let mut values = Values::new(line);
            let _replaced_by_the_marked_one = values.next();
            repeat_line_with(text, name, |text| self.0.decoded.via.print(text));
            for value in values {
                repeat_line_with(text, name, |text| text.push_str(value));
            }
        }
    }
}

impl Decoded {
    /// Decodes and checks what every message needs (RFC 3261 §8.1.1, §16.3).
    fn of(bytes: &Bytes, index: &Index) -> Result<Self, Misbehaviour> {
        let head = &index.head;
        let found = index.required()?;
        let cseq = CSeq::parse_in(head, found.cseq).ok_or(Misbehaviour::Malformed(Name::CSeq))?;
        let uri = match &index.start {
            StartLine::Request { method, uri, .. } => {
                if *method != cseq.method {
                    return Err(Misbehaviour::CSeqMethod);
                }
                Some(request_uri(uri)?)
            }
            StartLine::Response { .. } => None,
        };
        let top = Values::new(found.via).next().unwrap_or_default();
        let via = Via::parse_in(head, top).ok_or(Misbehaviour::Malformed(Name::Via))?;
        let hops_unreadable = found
            .max_forwards
            .is_some_and(|value| max_forwards(value).is_none());
        if uri.is_some() && hops_unreadable {
            return Err(Misbehaviour::Malformed(Name::MaxForwards));
        }
        if found.call_id.is_empty() || memchr2(b' ', b'\t', found.call_id.as_bytes()).is_some() {
            return Err(Misbehaviour::Malformed(Name::CallId));
        }
        Ok(Self {
            body: body(bytes, index, found.content_length)?,
            uri,
            via,
            via_stamped: false,
            from: address(head, Name::From, found.from)?,
            to: address(head, Name::To, found.to)?,
            call_id: head.slice_of(found.call_id),
            cseq,
            contact: contacts(index)?,
        })
    }
}

fn request_uri(text: &ByteStr) -> Result<Uri, Misbehaviour> {
    let uri = Uri::parse(text).map_err(Misbehaviour::RequestUri)?;
    if uri.headers().is_empty() {
        Ok(uri)
    } else {
        Err(Misbehaviour::RequestUriHeaders)
    }
}

fn address(head: &ByteStr, name: Name, value: &str) -> Result<NameAddr, Misbehaviour> {
    NameAddr::parse_in(head, value).map_err(|error| Misbehaviour::MalformedAddress(name, error))
}

/// The first contact that can be read. One that cannot is a fault only where the message is
/// answered to or called back by its contacts: dropping a response, an ACK or a BYE for it would
/// leave a call hanging that works.
fn contacts(index: &Index) -> Result<Option<NameAddr>, Misbehaviour> {
    let counts = match &index.start {
        StartLine::Request { method, .. } => method.needs_contact(),
        StartLine::Response { .. } => false,
    };
    let mut first = None;
    for value in index.values(Name::Contact).flat_map(Values::new) {
        if value == "*" {
            continue;
        }
        match address(&index.head, Name::Contact, value) {
            Ok(contact) => first = first.or(Some(contact)),
            Err(fault) if counts => return Err(fault),
            Err(_) => {}
        }
    }
    Ok(first)
}

fn max_forwards(value: &str) -> Option<u8> {
    decimal(value).and_then(|hops| u8::try_from(hops).ok())
}

/// The body: as long as Content-Length says, or all that is left without one.
fn body(bytes: &Bytes, index: &Index, content_length: Option<&str>) -> Result<Bytes, Misbehaviour> {
    let rest = bytes.slice(index.body_start..);
    let Some(value) = content_length else {
        return Ok(rest);
    };
    let announced =
        content_length_bytes(value).ok_or(Misbehaviour::Malformed(Name::ContentLength))?;
    match usize::try_from(announced) {
        Ok(length) if length <= rest.len() => Ok(rest.slice(..length)),
        _ => Err(Misbehaviour::BodyTruncated {
            announced,
            received: rest.len(),
        }),
    }
}

/// A Content-Length: digits alone. A number beyond 64 bits is no length.
pub(crate) fn content_length_bytes(value: &str) -> Option<u64> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
