//! Which headers of one leg appear on the other.
//!
//! We are a user agent on both legs (RFC 7092), so every header is written anew. What means something only
//! to the two ends travels: extension headers nobody here knows, and the standard ones listed below. What
//! belongs to one dialog, one hop, authentication, identity or session handling does not: those are ours to
//! decide on each leg.

use sip::message::{Headers, Message, Name};

/// Bytes of carried headers on one message; what does not fit any more is left out.
const MAX_CARRIED_BYTES: usize = 4096;

/// Standard headers that travel from end to end.
const CARRIED: [&str; 14] = [
    "Subject",
    "Priority",
    "Organization",
    "Alert-Info",
    "Call-Info",
    "Reply-To",
    "Date",
    "Accept-Language",
    "Content-Language",
    "Content-Disposition",
    "MIME-Version",
    "User-to-User",
    "Reason",
    "Warning",
];

/// Extension headers, beyond those that have a [`Name`], that never travel: identity and charging (decided by
/// the connection), routing and session state of one leg.
const KEPT: [&str; 26] = [
    "p-preferred-identity",
    "p-charging-vector",
    "p-charging-function-addresses",
    "p-access-network-info",
    "p-visited-network-id",
    "p-called-party-id",
    "p-associated-uri",
    "p-charge-info",
    "p-early-media",
    "history-info",
    "identity",
    "identity-info",
    "path",
    "service-route",
    "security-client",
    "security-server",
    "security-verify",
    "join",
    "target-dialog",
    "geolocation-routing",
    "request-disposition",
    "accept-contact",
    "reject-contact",
    "flow-timer",
    "proxy-authentication-info",
    "authentication-info",
];

/// Of those that travel, the ones that say something of their sender (RFC 3323 §4.1 and §5.3): they stay when the
/// caller is to be hidden.
const PERSONAL: [&str; 6] = [
    "Subject",
    "Organization",
    "Call-Info",
    "Reply-To",
    "In-Reply-To",
    "Warning",
];

/// Copies what travels from `message` into `out`.
pub(super) fn carry(message: &Message, out: &mut Headers) {
    carry_some(message, out, |_| true);
}

/// The same for a message of somebody who is hidden from its reader.
pub(super) fn carry_of_hidden(message: &Message, out: &mut Headers) {
    carry_some(message, out, |name| {
        !PERSONAL
            .iter()
            .any(|personal| personal.eq_ignore_ascii_case(name))
    });
}

fn carry_some(message: &Message, out: &mut Headers, may: impl Fn(&str) -> bool) {
    let mut room = MAX_CARRIED_BYTES;
    for (text, name, value) in message.all_headers() {
        let travels = match name {
            Name::Other => {
                !KEPT.iter().any(|kept| kept.eq_ignore_ascii_case(text))
                    || CARRIED
                        .iter()
                        .any(|carried| carried.eq_ignore_ascii_case(text))
            }
            known => CARRIED
                .iter()
                .any(|carried| carried.eq_ignore_ascii_case(known.as_str())),
        };
        let size = text.len() + value.len() + 4;
        // A compact form means the long one.
        let long = if name == Name::Other {
            text
        } else {
            name.as_str()
        };
        if travels && may(long) && size <= room {
            room -= size;
            out.push_text(text, value);
        }
    }
}

/// The `Reason` lines of a message, for a BYE or CANCEL on the other leg (RFC 3326).
pub(super) fn reason_of(message: &Message) -> Headers {
    let mut out = Headers::new();
    for value in message.headers(Name::Reason) {
        out.push_name(Name::Reason, value);
    }
    out
}
