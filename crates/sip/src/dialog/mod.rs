//! Dialogs (RFC 3261 §12) and what is spoken inside them.
//!
//! A [`session::Session`] is one INVITE usage: the INVITE, the early dialogs its forks open, and the one
//! dialog that is confirmed. `uac` has the side that called, `uas` the side that was called; once there is
//! a dialog, both share `requests` (ours), `incoming` (theirs), `offers` and `hangup`.

pub(crate) mod hangup;
pub(crate) mod id;
pub(crate) mod identity;
pub(crate) mod incoming;
pub(crate) mod negotiation;
pub(crate) mod offers;
pub(crate) mod reliable;
pub(crate) mod requests;
pub(crate) mod route_set;
pub(crate) mod session;
pub(crate) mod session_timer;
pub(crate) mod sessions;
pub(crate) mod uac;
pub(crate) mod uas;

use crate::dialog::identity::bears_from_change;
use crate::endpoint::Flow;
use crate::message::{ByteStr, Message, Name, Uri};
use negotiation::Negotiation;

/// One dialog: the far end of a session, or of one of its forks.
///
/// Its texts are slices of the one message that opened it, until it is confirmed and [`Dialog::detach`] makes them
/// its own: then it costs no more than what it says.
pub(crate) struct Dialog {
    /// Empty when the peer is so old that it sends none.
    pub(crate) remote_tag: ByteStr,
    /// The peer as it stands in From or To, with its tag.
    pub(crate) remote: ByteStr,
    /// Where its requests go in the end: the peer's Contact.
    pub(crate) target: Uri,
    /// What they pass on the way, nearest first.
    pub(crate) routes: Vec<ByteStr>,
    /// The number of the peer's last request.
    pub(crate) remote_cseq: Option<u32>,
    /// Where the peer's last message came from.
    pub(crate) flow: Flow,
    /// The RSeq of the last reliable provisional response that we accepted (RFC 3262 §4).
    pub(crate) rseq: Option<u32>,
    pub(crate) negotiation: Negotiation,
    /// The peer has listed UPDATE in its last Allow.
    pub(crate) allows_update: bool,
    /// The peer has said that it takes a changed From (RFC 4916).
    pub(crate) bears_from_change: bool,
}

keep::keep!(struct Dialog {
    remote_tag, remote, target, routes, remote_cseq, flow, rseq, negotiation, allows_update, bears_from_change,
});

impl Dialog {
    /// The dialog that an INVITE of the peer opens (RFC 3261 §12.1.1).
    pub(crate) fn from_request(request: &Message, flow: Flow, negotiation: Negotiation) -> Self {
        Self {
            remote_tag: request
                .from()
                .tag()
                .map(|tag| shared(request, Name::From, tag))
                .unwrap_or_default(),
            remote: request.header_shared(Name::From).unwrap_or_default(),
            target: request
                .contact()
                .map_or_else(|| request.from().uri.clone(), |contact| contact.uri),
            routes: route_set::from_request(request),
            remote_cseq: Some(request.cseq().number),
            flow,
            rseq: None,
            negotiation,
            allows_update: request.has_token(Name::Allow, "UPDATE"),
            bears_from_change: bears_from_change(request).unwrap_or(false),
        }
    }

    /// The dialog that a response to our INVITE opens (RFC 3261 §12.1.2). `fallback` is the target
    /// when the response has no Contact.
    pub(crate) fn from_response(
        response: &Message,
        flow: Flow,
        fallback: &Uri,
        negotiation: Negotiation,
    ) -> Self {
        Self {
            remote_tag: response
                .to()
                .tag()
                .map(|tag| shared(response, Name::To, tag))
                .unwrap_or_default(),
            remote: response.header_shared(Name::To).unwrap_or_default(),
            target: response
                .contact()
                .map_or_else(|| fallback.clone(), |contact| contact.uri),
            routes: route_set::from_response(response),
            remote_cseq: None,
            flow,
            rseq: None,
            negotiation,
            allows_update: response.has_token(Name::Allow, "UPDATE"),
            bears_from_change: bears_from_change(response).unwrap_or(false),
        }
    }

    /// Lets go of the message that opened the dialog.
    pub(crate) fn detach(&mut self) {
        let remote = ByteStr::copy(&self.remote);
        // The tag stands in what the peer is called, in nearly every message in these very bytes.
        let tag = self.remote.rfind(&*self.remote_tag);
        self.remote_tag = match tag {
            Some(at) => remote.slice_of(&remote[at..at + self.remote_tag.len()]),
            None => ByteStr::copy(&self.remote_tag),
        };
        self.remote = remote;
        self.target = self.target.detached();
        for route in &mut self.routes {
            *route = ByteStr::copy(route);
        }
        self.routes.shrink_to_fit();
    }

    /// Takes note of what the peer allows and supports, if the message says so.
    pub(crate) fn note_abilities(&mut self, message: &Message) {
        if message.header(Name::Allow).is_some() {
            self.allows_update = message.has_token(Name::Allow, "UPDATE");
        }
        if let Some(bears) = bears_from_change(message) {
            self.bears_from_change = bears;
        }
    }

    /// Whether the peer calls itself something else in From than before.
    pub(crate) fn is_renamed(&self, request: &Message) -> bool {
        *self.remote != *request.header(Name::From).unwrap_or_default()
    }

    /// Takes over what the peer calls itself now.
    pub(crate) fn rename(&mut self, request: &Message) {
        // A copy: what is kept must not hold the whole message.
        self.remote = ByteStr::copy(request.header(Name::From).unwrap_or_default());
    }

    /// Takes over the Contact of a target refresh request or its response (RFC 3261 §12.2).
    pub(crate) fn refresh_target(&mut self, message: &Message) {
        if let Some(contact) = message.contact() {
            self.target = contact.uri;
        }
    }
}

/// A part of a header as a slice of the message it stands in.
fn shared(message: &Message, name: Name, part: &str) -> ByteStr {
    message
        .header_shared(name)
        .unwrap_or_default()
        .slice_of(part)
}
