//! Messages that we send: drafts, and how they are printed.

use bytes::Bytes;

use super::headers::{OneLine, push_line, repeat_line};
use super::status::reason_phrase;
use super::{ByteStr, Headers, Message, Method, Name, Uri};
use std::fmt::{self, Write};

/// A request to be sent. Via and Content-Length are added when it is printed.
#[derive(Clone, Debug)]
pub struct RequestDraft {
    /// The method.
    pub method: Method,
    /// The Request-URI.
    pub uri: Uri,
    /// How many elements it may pass.
    pub max_forwards: u8,
    /// The From header field value, with tag.
    pub from: ByteStr,
    /// The To header field value.
    pub to: ByteStr,
    /// The Call-ID.
    pub call_id: ByteStr,
    /// The sequence number.
    pub cseq: u32,
    /// The Route header field values, first hop first.
    pub routes: Vec<ByteStr>,
    /// The Contact header field value.
    pub contact: Option<ByteStr>,
    /// All other header lines.
    pub headers: Headers,
    /// The type of the body.
    pub content_type: Option<ByteStr>,
    /// The body.
    pub body: Bytes,
}

impl RequestDraft {
    /// Prints the request with `via` as its only Via header field value.
    pub fn print(&self, via: &str) -> Bytes {
        let mut text = String::with_capacity(
            PRINT_RESERVE_BYTES + self.headers.as_str().len() + self.body.len(),
        );
        // A URI holds no line ends, but anybody can make a `Method::Other`.
        // Writing to a `String` does not fail.
        let _ = write!(OneLine(&mut text), "{} {} SIP/2.0", self.method, self.uri);
        text.push_str("\r\n");
        line(&mut text, Name::Via, via);
        line(&mut text, Name::MaxForwards, self.max_forwards);
        for route in &self.routes {
            line(&mut text, Name::Route, route);
        }
        line(&mut text, Name::From, &self.from);
        line(&mut text, Name::To, &self.to);
        line(&mut text, Name::CallId, &self.call_id);
        line(
            &mut text,
            Name::CSeq,
            format_args!("{} {}", self.cseq, self.method),
        );
        if let Some(contact) = &self.contact {
            line(&mut text, Name::Contact, contact);
        }
        text.push_str(self.headers.as_str());
        finish(text, self.content_type.as_ref(), &self.body)
    }
}

/// A response to be sent. What it repeats of the request is added when it is printed.
#[derive(Clone, Debug, Default)]
pub struct ResponseDraft {
    /// The status, 100 to 699.
    pub status: u16,
    /// The reason phrase; `None` takes the customary one.
    pub reason: Option<ByteStr>,
    /// Our tag, added to To when the request has none there.
    pub to_tag: Option<ByteStr>,
    /// The Contact header field value.
    pub contact: Option<ByteStr>,
    /// All other header lines.
    pub headers: Headers,
    /// The type of the body.
    pub content_type: Option<ByteStr>,
    /// The body.
    pub body: Bytes,
}

impl ResponseDraft {
    /// A response with this status and nothing else.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Prints the response to `request` (RFC 3261 §8.2.6): Via, From, To, Call-ID and CSeq are
    /// the request's, Record-Route too when the response can form a dialog, Timestamp in a 100.
    pub fn print(&self, request: &Message) -> Bytes {
        let mut text = String::with_capacity(
            PRINT_RESERVE_BYTES + self.headers.as_str().len() + self.body.len(),
        );
        status_line(&mut text, self.status, self.reason.as_deref());
        request.each_via(|via| repeat(&mut text, Name::Via, via));
        if self.repeats_record_route(request) {
            for route in request.headers(Name::RecordRoute) {
                repeat(&mut text, Name::RecordRoute, route);
            }
        }
        if self.status == 100
            && let Some(timestamp) = request.header(Name::Timestamp)
        {
            repeat(&mut text, Name::Timestamp, timestamp);
        }
        let from = request.header(Name::From).unwrap_or_default();
        repeat(&mut text, Name::From, from);
        let to = request.header(Name::To).unwrap_or_default();
        match &self.to_tag {
            Some(tag) if request.to().tag().is_none() => {
                repeat(&mut text, Name::To, format_args!("{to};tag={tag}"));
            }
            _ => repeat(&mut text, Name::To, to),
        }
        repeat(&mut text, Name::CallId, request.call_id());
        repeat(&mut text, Name::CSeq, request.cseq());
        if let Some(contact) = &self.contact {
            line(&mut text, Name::Contact, contact);
        }
        text.push_str(self.headers.as_str());
        finish(text, self.content_type.as_ref(), &self.body)
    }

    fn repeats_record_route(&self, request: &Message) -> bool {
        (101..300).contains(&self.status) && request.method().is_some_and(Method::forms_dialog)
    }
}

/// Room for the lines every message has, so that printing rarely grows its buffer.
const PRINT_RESERVE_BYTES: usize = 768;

fn line(text: &mut String, name: Name, value: impl fmt::Display) {
    push_line(text, name.as_str(), value);
}

fn repeat(text: &mut String, name: Name, value: impl fmt::Display) {
    repeat_line(text, name.as_str(), value);
}

/// `SIP/2.0 200 OK`.
pub(crate) fn status_line(text: &mut String, status: u16, reason: Option<&str>) {
    let reason = reason.unwrap_or_else(|| reason_phrase(status));
    // Writing to a `String` does not fail.
    let _ = write!(OneLine(text), "SIP/2.0 {status} {reason}");
    text.push_str("\r\n");
}

/// The lines about the body, the empty line and the body.
pub(crate) fn finish(mut text: String, content_type: Option<&ByteStr>, body: &Bytes) -> Bytes {
    if let Some(content_type) = content_type.filter(|_| !body.is_empty()) {
        line(&mut text, Name::ContentType, content_type);
    }
    line(&mut text, Name::ContentLength, body.len());
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes.into()
}
