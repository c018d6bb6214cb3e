//! The switch between a PBX and a carrier whose every message is written by the test.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file uses its own part"
)]

use crate::records::{fair_world, rule, trunk};
use model::{Cdr, Connection, DialPlan, DialRule, Domain};
use simulator::world::{SWITCH, World};
use sip::message::{Message, Name};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use switch::directory::SYSTEM;
use switch::{DirectoryChange, DomainPart};

pub const PBX: &str = "198.51.100.1:5060";
pub const CARRIER: &str = "198.51.100.2:5060";

/// Two trunks of domain `d1`; whatever the PBX dials goes to the carrier.
pub struct Wire {
    pub world: World,
    /// How far time has come.
    now: Duration,
    branch: u32,
    cseq: u32,
}

impl Wire {
    pub fn new(change: impl FnOnce(&mut Connection, &mut Connection)) -> Self {
        Self::with(change, |_, _| ())
    }

    /// With a change to the two connections, and to the domain and the rule between them.
    pub fn with(
        change: impl FnOnce(&mut Connection, &mut Connection),
        tenant: impl FnOnce(&mut Domain, &mut DialRule),
    ) -> Self {
        let mut world = fair_world(11, 10);
        let (mut pbx, mut carrier) = (trunk("d1", "pbx", PBX), trunk("d1", "carrier", CARRIER));
        change(&mut pbx, &mut carrier);
        let mut domain = Domain {
            domain: "d1".into(),
            ..Domain::default()
        };
        let mut rule = rule("*", "carrier");
        tenant(&mut domain, &mut rule);
        // A connection that was moved to `*` belongs to the system.
        let (shared, own): (Vec<_>, Vec<_>) = [pbx, carrier]
            .into_iter()
            .partition(|connection| connection.domain == SYSTEM);
        let plan = DialPlan::new("d1", "d1", "");
        let of_d1 = ("d1", Some(domain), own, vec![plan], vec![rule]);
        let of_system = (SYSTEM, None, shared, Vec::new(), Vec::new());
        for (name, domain, connections, plans, rules) in [of_d1, of_system] {
            let (part, problems) =
                DomainPart::build(name, domain, connections, plans, rules, |_| Arc::default());
            assert!(problems.is_empty(), "{problems:?}");
            world.change(&DirectoryChange::Swap(Arc::new(part)));
        }
        Self {
            world,
            now: Duration::ZERO,
            branch: 0,
            cseq: 0,
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.world.run(self.now);
    }

    fn say(&mut self, from: &str, text: String) {
        self.world.say(from.parse().unwrap(), text);
        self.wait(200);
    }

    /// The PBX calls `to` with these whole lines. A From among them stands in place of the usual one.
    pub fn invite(&mut self, to: &str, lines: &str) {
        self.invite_with(to, &format!("{lines}{}", body(30_000)));
    }

    /// The same with a body of the test's own behind the lines, or none; see [`body_with`].
    pub fn invite_with(&mut self, to: &str, lines: &str) {
        self.branch += 1;
        self.cseq += 1;
        let from = if lines.contains("From:") {
            ""
        } else {
            "From: \"Ann\" <sip:1001@pbx>;tag=ann\r\n"
        };
        let text = format!(
            "INVITE sip:{to}@{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {PBX};branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n\
             {from}To: <sip:{to}@{SWITCH}>\r\nCall-ID: of-ann\r\nCSeq: {} INVITE\r\nContact: <sip:ann@{PBX}>\r\n\
             {lines}",
            self.branch, self.cseq,
        );
        self.say(PBX, text);
    }

    /// The PBX makes another offer in the dialog of this response to it: audio at this port, and these lines behind it.
    pub fn invite_again(&mut self, response: &Message, port: u16, sdp_lines: &str) {
        self.branch += 1;
        self.cseq += 1;
        let text = format!(
            "INVITE sip:{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {PBX};branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: of-ann\r\nCSeq: {} INVITE\r\nContact: <sip:ann@{PBX}>\r\n{}",
            self.branch,
            response.header(Name::From).unwrap(),
            response.header(Name::To).unwrap(),
            self.cseq,
            body_with(port, sdp_lines)
        );
        self.say(PBX, text);
    }

    /// Another request of the PBX in the dialog of this response to it. A From among the lines stands in place of the
    /// usual one.
    pub fn ask(&mut self, response: &Message, method: &str, lines: &str) {
        self.branch += 1;
        if method != "ACK" {
            self.cseq += 1;
        }
        let from = usual("From", lines, response.header(Name::From).unwrap());
        let text = format!(
            "{method} sip:{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {PBX};branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n\
             {from}To: {}\r\nCall-ID: of-ann\r\nCSeq: {} {method}\r\n{lines}{}",
            self.branch,
            response.header(Name::To).unwrap(),
            self.cseq,
            if lines.contains("Content-Length") {
                ""
            } else {
                "Content-Length: 0\r\n\r\n"
            },
        );
        self.say(PBX, text);
    }

    /// The carrier answers a request of the switch.
    pub fn answer(&mut self, request: &Message, status: u16, lines: &str, media: bool) {
        let content = if media {
            body(40_000)
        } else {
            "Content-Length: 0\r\n\r\n".to_owned()
        };
        self.answer_with(request, status, lines, &content);
    }

    /// The carrier answers with a body of the test's own; see [`body_with`].
    pub fn answer_with(&mut self, request: &Message, status: u16, lines: &str, content: &str) {
        let to = request.header(Name::To).unwrap();
        let tag = if request.to().tag().is_some() {
            ""
        } else {
            ";tag=carrier"
        };
        let text = format!(
            "SIP/2.0 {status} Indeed\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:bob@{CARRIER}>\r\n{lines}{content}",
            request.header(Name::Via).unwrap(),
            request.header(Name::From).unwrap(),
            request.call_id(),
            request.cseq(),
        );
        self.say(CARRIER, text);
    }

    /// A request of the carrier in the dialog of the INVITE it got.
    pub fn carrier_asks(&mut self, invite: &Message, method: &str, cseq: u32) {
        self.carrier_says(invite, method, cseq, "");
    }

    /// The same with these whole lines. A From among them stands in place of the usual one.
    pub fn carrier_says(&mut self, invite: &Message, method: &str, cseq: u32, lines: &str) {
        self.branch += 1;
        let to = format!("{};tag=carrier", invite.header(Name::To).unwrap());
        let from = usual("From", lines, &to);
        let text = format!(
            "{method} sip:{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {CARRIER};branch=z9hG4bKc{}\r\nMax-Forwards: 70\r\n\
             {from}To: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n{lines}Content-Length: 0\r\n\r\n",
            self.branch,
            invite.header(Name::From).unwrap(),
            invite.call_id(),
        );
        self.say(CARRIER, text);
    }

    /// The PBX answers a request of the switch within the dialog.
    pub fn pbx_answers(&mut self, request: &Message, status: u16, media: bool) {
        let content = if media {
            body(30_000)
        } else {
            "Content-Length: 0\r\n\r\n".to_owned()
        };
        self.pbx_says(request, status, &content);
    }

    /// The same with these whole lines, the body's among them.
    pub fn pbx_says(&mut self, request: &Message, status: u16, content: &str) {
        let text = format!(
            "SIP/2.0 {status} Indeed\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:ann@{PBX}>\r\n{content}",
            request.header(Name::Via).unwrap(),
            request.header(Name::From).unwrap(),
            request.header(Name::To).unwrap(),
            request.call_id(),
            request.cseq(),
        );
        self.say(PBX, text);
    }

    /// What the switch sent there, by method or status. Repetitions count once.
    pub fn got(&self, who: &str, what: &str) -> Vec<Message> {
        let who = who.parse().unwrap();
        let mut seen = HashSet::new();
        let messages = self.world.messages().iter().filter(|sent| sent.to == who);
        messages
            .filter(|sent| seen.insert(&sent.bytes))
            .filter_map(|sent| sent.message())
            .filter(|message| match message.status() {
                Some(status) => status.to_string() == what,
                None => message.method().is_some_and(|it| it.as_str() == what),
            })
            .collect()
    }

    /// The INVITE that the carrier got last.
    pub fn at_carrier(&self) -> Message {
        let invites = self.got(CARRIER, "INVITE");
        invites
            .into_iter()
            .next_back()
            .expect("the carrier is called")
    }

    /// The PBX calls 2000 and the carrier answers: the INVITE of one, the 200 of the other side.
    pub fn talk(&mut self, lines: &str, carrier_lines: &str) -> (Message, Message) {
        self.invite("2000", lines);
        let invite = self.at_carrier();
        self.answer(&invite, 200, carrier_lines, true);
        let ok = self.got(PBX, "200").pop().expect("the caller is answered");
        self.ask(&ok, "ACK", "");
        (invite, ok)
    }

    pub fn cdr(&self) -> &Cdr {
        assert_eq!(self.world.cdrs().len(), 1, "{:#?}", self.world.ladder());
        &self.world.cdrs()[0]
    }
}

/// The usual line, unless there is one among these.
fn usual(name: &str, lines: &str, value: &str) -> String {
    if lines.contains(&format!("{name}:")) {
        String::new()
    } else {
        format!("{name}: {value}\r\n")
    }
}

pub fn body(port: u16) -> String {
    body_with(port, "")
}

/// Headers and description of a body: audio at this port, and these lines behind it.
pub fn body_with(port: u16, sdp_lines: &str) -> String {
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n{sdp_lines}"
    );
    format!(
        "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}
