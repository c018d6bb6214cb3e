//! Messages that we send: drafts, and how they are printed.

use bytes::Bytes;

use super::headers::{push_decimal, push_one_line, push_text_line, repeat_line_with};
use super::status::reason_phrase;
use super::{ByteStr, Headers, Message, Method, Name, Uri};

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

keep::keep!(struct RequestDraft {
    method, uri, max_forwards, from, to, call_id, cseq, routes, contact, headers, content_type, body,
});

impl RequestDraft {
    /// Prints the request with `via` as its only Via header field value.
    pub fn print(&self, via: &str) -> Bytes {
        let routes: usize = self
            .routes
            .iter()
            .map(|route| route.len() + LINE_EXTRA_BYTES)
            .sum();
        let text_bytes = self.uri.as_str().len()
            + via.len()
            + routes
            + self.from.len()
            + self.to.len()
            + self.call_id.len()
            + self.contact.as_ref().map_or(0, |contact| contact.len())
            + self.headers.as_str().len()
            + self.body.len();
        let mut text = String::with_capacity(text_bytes + FIXED_BYTES);
        // A URI holds no line ends, but anybody can make a `Method::Other`.
        push_one_line(&mut text, self.method.as_str());
        text.push(' ');
        push_one_line(&mut text, self.uri.as_str());
        text.push_str(" SIP/2.0\r\n");
        line(&mut text, Name::Via, via);
        text.push_str("Max-Forwards: ");
        push_decimal(&mut text, self.max_forwards.into());
        text.push_str("\r\n");
        for route in &self.routes {
            line(&mut text, Name::Route, route);
        }
        line(&mut text, Name::From, &self.from);
        line(&mut text, Name::To, &self.to);
        line(&mut text, Name::CallId, &self.call_id);
        text.push_str("CSeq: ");
        push_decimal(&mut text, self.cseq.into());
        text.push(' ');
        push_one_line(&mut text, self.method.as_str());
        text.push_str("\r\n");
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
        let head_bytes = request.as_bytes().len() - request.body().len();
        let mut text = String::with_capacity(
            RESPONSE_BYTES.min(head_bytes)
                + FIXED_BYTES
                + self.headers.as_str().len()
                + self.body.len(),
        );
        status_line(&mut text, self.status, self.reason.as_deref());
        request.print_vias(&mut text);
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
                repeat_line_with(&mut text, Name::To.as_str(), |text| {
                    text.push_str(to);
                    text.push_str(";tag=");
                    text.push_str(tag);
                });
            }
            _ => repeat(&mut text, Name::To, to),
        }
        repeat(&mut text, Name::CallId, request.call_id());
        let cseq = request.cseq();
        repeat_line_with(&mut text, Name::CSeq.as_str(), |text| {
            push_decimal(text, cseq.number.into());
            text.push(' ');
            text.push_str(cseq.method.as_str());
        });
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

/// Room for what every message has besides the values that are counted: names of header lines, numbers, line ends.
const FIXED_BYTES: usize = 224;

/// What a line has besides its value, at most.
const LINE_EXTRA_BYTES: usize = 16;

/// What a response usually repeats of its request; a buffer that has to grow for more costs one copy.
const RESPONSE_BYTES: usize = 512;

fn line(text: &mut String, name: Name, value: &str) {
    push_text_line(text, name.as_str(), value);
}

fn repeat(text: &mut String, name: Name, value: &str) {
    repeat_line_with(text, name.as_str(), |text| text.push_str(value));
}

/// `SIP/2.0 200 OK`.
pub(crate) fn status_line(text: &mut String, status: u16, reason: Option<&str>) {
    text.push_str("SIP/2.0 ");
    push_decimal(text, status.into());
    text.push(' ');
    push_one_line(text, reason.unwrap_or_else(|| reason_phrase(status)));
    text.push_str("\r\n");
}

/// The lines about the body, the empty line and the body.
pub(crate) fn finish(mut text: String, content_type: Option<&ByteStr>, body: &Bytes) -> Bytes {
    if let Some(content_type) = content_type.filter(|_| !body.is_empty()) {
        line(&mut text, Name::ContentType, content_type);
    }
    text.push_str("Content-Length: ");
    push_decimal(&mut text, body.len() as u64);
    text.push_str("\r\n\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes.into()
}
