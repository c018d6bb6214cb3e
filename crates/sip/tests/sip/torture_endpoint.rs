//! What an endpoint does with the torture messages of RFC 4475 and RFC 5118 as they come in by UDP:
//! the half of their verdicts that reading alone (see `torture.rs`) does not show.

use std::time::Instant;

use crate::common::config;
use sip::endpoint::{Endpoint, Flow, Input, Output};
use sip::event::Event;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The endpoint answers by itself, with this status and without troubling the layer above.
    Answered(u16),
    /// The endpoint refuses it with this status, and says why for logs and counters.
    Refused(u16),
    /// An INVITE for the layer above, a 100 on its way.
    Call,
    /// A request for the layer above.
    Request,
    /// Nothing goes back; for a response that is broken rather than stray, the reason is reported.
    Dropped { reported: bool },
}

use Fate::{Answered, Call, Dropped, Refused, Request};

const RFC_4475: [(&str, Fate); 49] = [
    // A To tag that names no dialog of ours.
    ("wsinv", Refused(481)),
    ("intmeth", Refused(405)),
    ("esc01", Call),
    ("escnull", Request),
    // Not REGISTER: methods have no escapes.
    ("esc02", Refused(405)),
    ("lwsdisp", Answered(200)),
    ("longreq", Call),
    ("dblreq", Request),
    ("semiuri", Answered(200)),
    ("transports", Answered(200)),
    ("mpart01", Request),
    ("unreason", Dropped { reported: false }),
    ("noreason", Dropped { reported: false }),
    ("badinv01", Refused(400)),
    ("clerr", Refused(400)),
    ("ncl", Refused(400)),
    ("scalar02", Refused(400)),
    ("scalarlg", Dropped { reported: true }),
    ("quotbal", Refused(400)),
    ("ltgtruri", Refused(400)),
    ("lwsruri", Refused(400)),
    ("lwsstart", Refused(400)),
    ("trws", Refused(400)),
    ("escruri", Refused(400)),
    ("baddate", Call),
    ("regbadct", Refused(400)),
    ("badaspec", Answered(200)),
    ("baddn", Answered(200)),
    ("badvers", Refused(505)),
    ("mismatch01", Refused(400)),
    ("mismatch02", Refused(400)),
    ("bigcode", Dropped { reported: true }),
    ("badbranch", Answered(200)),
    ("insuf", Refused(400)),
    ("unkscm", Refused(416)),
    ("novelsc", Refused(416)),
    ("unksm2", Request),
    ("bext01", Refused(420)),
    ("invut", Call),
    ("regaut01", Request),
    ("multi01", Refused(400)),
    ("mcl01", Refused(400)),
    ("bcast", Dropped { reported: false }),
    // An OPTIONS whose hops end with us is meant for us (RFC 3261 §11); other methods get 483.
    ("zeromf", Answered(200)),
    ("cparam01", Request),
    ("cparam02", Request),
    ("regescrt", Request),
    ("sdp01", Call),
    ("inv2543", Call),
];

const RFC_5118: [(&str, Fate); 12] = [
    ("ipv6-good", Request),
    ("ipv6-bad", Refused(400)),
    ("port-ambiguous", Request),
    ("port-unambiguous", Request),
    // No dialog of ours.
    ("via-received-param-with-delim", Refused(481)),
    ("via-received-param-no-delim", Answered(200)),
    ("ipv6-in-sdp", Refused(400)),
    ("mult-ip-in-header", Refused(481)),
    ("mult-ip-in-sdp", Call),
    ("ipv4-mapped-ipv6", Call),
    ("ipv6-bug-abnf-3-colons", Refused(400)),
    ("ipv6-correct-abnf-2-colons", Answered(200)),
];

#[test]
fn rfc_4475() {
    check("rfc4475", &RFC_4475);
}

#[test]
fn rfc_5118() {
    check("rfc5118", &RFC_5118);
}

#[track_caller]
fn check(folder: &str, table: &[(&str, Fate)]) {
    for (name, expected) in table {
        let path = format!(
            "{}/tests/torture/{folder}/{name}.dat",
            env!("CARGO_MANIFEST_DIR")
        );
        assert_eq!(fate(std::fs::read(path).unwrap()), *expected, "{name}");
    }
}

fn fate(bytes: Vec<u8>) -> Fate {
    let now = Instant::now();
    let mut endpoint = Endpoint::new(config("198.51.100.1", 1), 1);
    let flow = Flow {
        interface: 0,
        remote: "203.0.113.9:5060".parse().unwrap(),
        stream: None,
    };
    endpoint.handle(
        now,
        Input::Received {
            flow,
            bytes: bytes.into(),
        },
    );
    let (mut statuses, mut heard) = (Vec::new(), Vec::new());
    while let Some(output) = endpoint.poll() {
        match output {
            Output::Transmit { bytes, .. } => statuses.push(status(&bytes)),
            Output::Event(event) => heard.push(event),
            Output::Lookup(question) => panic!("a response needs no {question:?}"),
        }
    }
    match (statuses[..].as_ref(), heard[..].as_ref()) {
        ([status], []) => Answered(*status),
        ([status], [Event::Misbehaved { .. }]) => Refused(*status),
        ([100], [Event::Invite { .. }]) => Call,
        ([], [Event::Request { .. }]) => Request,
        ([], []) => Dropped { reported: false },
        ([], [Event::Misbehaved { .. }]) => Dropped { reported: true },
        other => panic!("{other:?}"),
    }
}

fn status(response: &[u8]) -> u16 {
    let text = std::str::from_utf8(response).unwrap();
    text.strip_prefix("SIP/2.0 ").unwrap()[..3].parse().unwrap()
}
