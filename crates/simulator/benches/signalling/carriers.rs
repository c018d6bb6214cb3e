//! Two carriers that speak as SIPp's scenarios in `tests/sipp/` do: one calls, the other rings and answers.
//!
//! They are text and nothing else, so that what they do cannot be mistaken for what the switch does.

use bytes::Bytes;
use sip::auth::{Credentials, Secret, answer};
use std::net::SocketAddr;

/// Where carrier A sends from.
pub(crate) const ALICE: &str = "127.0.0.2:5070";
/// Where carrier B listens.
pub(crate) const BOB: &str = "127.0.0.3:5080";
/// Where the switch listens.
pub(crate) const SWITCH: &str = "127.0.0.1:5060";

/// What both carriers' connections ask for, where they ask.
pub(crate) const PASSWORD: &str = "correct-horse";

/// What a carrier does when it has heard a message.
pub(crate) enum Reaction {
    /// It sends this, so many hops later.
    Send(&'static str, Bytes, u32),
    /// The call is up: after a while the caller hangs up.
    Up,
}

/// The description of a carrier's audio.
fn sdp(user: &str, host: &str) -> String {
    format!(
        "v=0\r\no={user} 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

/// A call of carrier A as far as it has to remember it.
pub(crate) struct Caller {
    pub(crate) number: usize,
    pub(crate) domain: usize,
    cseq: u32,
    to: String,
    contact: String,
}

impl Caller {
    pub(crate) fn new(number: usize, domain: usize) -> Self {
        Self {
            number,
            domain,
            cseq: 1,
            to: format!("<sip:13105550100@{SWITCH}>"),
            contact: format!("sip:13105550100@{SWITCH}"),
        }
    }

    pub(crate) fn invite(&self, credentials: &str) -> Bytes {
        let body = sdp("alice", "127.0.0.2");
        let contact = "Contact: <sip:12125550111@127.0.0.2:5070;transport=UDP>\r\n";
        let more = format!(
            "{contact}Allow: INVITE, ACK, CANCEL, BYE, UPDATE\r\n{credentials}Content-Type: application/sdp\r\n"
        );
        self.request("INVITE", self.cseq, self.cseq, &more, &body)
    }

    pub(crate) fn bye(&self) -> Bytes {
        self.request("BYE", self.cseq + 1, 9, "", "")
    }

    fn request(&self, method: &str, cseq: u32, branch: u32, more: &str, body: &str) -> Bytes {
        let Self {
            number,
            domain,
            to,
            contact,
            ..
        } = self;
        let length = body.len();
        Bytes::from(format!(
            "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {ALICE};branch=z9hG4bK-7777-{number}-{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: \"Alice\" <sip:12125550111@a{domain}.example.net>;tag=c{number}\r\nTo: {to}\r\n\
             Call-ID: {number}-7777@127.0.0.2\r\nCSeq: {cseq} {method}\r\n{more}Content-Length: {length}\r\n\r\n{body}"
        ))
    }

    /// What the caller does when it hears `text`.
    pub(crate) fn hears(&mut self, text: &str) -> Vec<Reaction> {
        let invite = header(text, "CSeq").is_some_and(|value| value.ends_with("INVITE"));
        let ack = "Contact: <sip:12125550111@127.0.0.2:5070;transport=UDP>\r\n";
        if !invite {
            return Vec::new();
        }
        if text.starts_with("SIP/2.0 200") {
            self.to = header(text, "To").unwrap_or_default().to_owned();
            self.contact = header(text, "Contact")
                .unwrap_or_default()
                .trim_matches(['<', '>'])
                .to_owned();
            let ack = self.request("ACK", self.cseq, 8, ack, "");
            return vec![Reaction::Send(ALICE, ack, 1), Reaction::Up];
        }
        if text.starts_with("SIP/2.0 407") {
            let to = std::mem::replace(
                &mut self.to,
                header(text, "To").unwrap_or_default().to_owned(),
            );
            let ack = self.request("ACK", self.cseq, self.cseq, ack, "");
            self.to = to;
            self.cseq += 1;
            let credentials = Credentials {
                username: "alice".to_owned(),
                password: Secret::new(PASSWORD),
                realm: None,
            };
            let challenge = header(text, "Proxy-Authenticate");
            let answer = answer(
                challenge.into_iter(),
                &credentials,
                "INVITE",
                &self.contact,
                b"",
                1,
                "c0ffee",
            );
            let line = format!(
                "Proxy-Authorization: {}\r\n",
                answer.expect("a challenge that can be answered")
            );
            return vec![
                Reaction::Send(ALICE, ack, 1),
                Reaction::Send(ALICE, self.invite(&line), 1),
            ];
        }
        Vec::new()
    }
}

/// What carrier B does when it hears `text`.
pub(crate) fn called_hears(text: &str) -> Vec<Reaction> {
    if text.starts_with("INVITE") {
        let body = sdp("bob", "127.0.0.3");
        let ringing = response(text, "180 Ringing", "", "");
        let answer = response(text, "200 OK", "Content-Type: application/sdp\r\n", &body);
        return vec![
            Reaction::Send(BOB, ringing, 1),
            Reaction::Send(BOB, answer, 2),
        ];
    }
    if text.starts_with("BYE") {
        return vec![Reaction::Send(BOB, response(text, "200 OK", "", ""), 1)];
    }
    Vec::new()
}

fn response(request: &str, status: &str, more: &str, body: &str) -> Bytes {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let value = header(request, name).unwrap_or_default();
        let tag = if name == "To" && !value.contains(";tag=") {
            let number = header(request, "Call-ID").unwrap_or_default();
            format!(";tag=s{number}")
        } else {
            String::new()
        };
        text += &format!("{name}: {value}{tag}\r\n");
    }
    text += &format!(
        "Contact: <sip:bob@127.0.0.3:5080;transport=UDP>\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Bytes::from(text)
}

/// The value of a header line that the switch prints with its customary name.
fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(candidate, _)| *candidate == name)
        .map(|(_, value)| value)
}

/// The number of the call whose caller is addressed by `text`.
pub(crate) fn call_number(text: &str) -> Option<usize> {
    header(text, "Call-ID")?.split('-').next()?.parse().ok()
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
