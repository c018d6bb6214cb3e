//! What the records hold is text, and text is all that a peer ever sees of it: no field can add a header, a line of SDP
//! or a body. The store is taken to hold anything at all, as one may that an older version has written.

use crate::records::{fair_world, trunk};
use crate::wire::{CARRIER, PBX, body};
use media::sdp;
use model::{
    Connection, DialPlan, DialPolicy, DialRule, DialRuleApplication, Domain, Permission,
    PermissionMode, Route, RouteConnection, RouteMethod, RuleMatching, header_line,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use simulator::world::{SWITCH, Sent, World};
use sip::message::{Message, Method, Name};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use switch::{DirectoryChange, DomainPart};

/// Every header that the switch writes in these calls.
const OURS: &[Name] = &[
    Name::Accept,
    Name::Allow,
    Name::Authorization,
    Name::CallId,
    Name::Contact,
    Name::ContentLength,
    Name::ContentType,
    Name::CSeq,
    Name::Expires,
    Name::From,
    Name::MaxForwards,
    Name::MinSe,
    Name::PAssertedIdentity,
    Name::Privacy,
    Name::ProxyAuthenticate,
    Name::ProxyAuthorization,
    Name::Reason,
    Name::RemotePartyId,
    Name::Server,
    Name::SessionExpires,
    Name::Supported,
    Name::To,
    Name::UserAgent,
    Name::Via,
    Name::Warning,
];

/// Headers of which a message has exactly one.
const SINGLE: [Name; 6] = [
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::Via,
    Name::ContentLength,
];

/// What nobody should be able to smuggle in.
const PIECES: &[&str] = &[
    "\r\nEvil: 1",
    "\nEvil: 1",
    "\rEvil: 1",
    "\r\n\r\nv=0\r\no=evil 1 1 IN IP4 203.0.113.9\r\n",
    "\r\nm=audio 9 RTP/AVP 0",
    "\r\na=evil",
    "\r\n Evil: folded",
    "\0",
    "\u{7f}",
    "\u{1b}[2J",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "é",
    "\"",
    "\\",
    "<",
    ">",
    ";",
    ";tag=evil",
    ",",
    "@",
    ":",
    "?",
    "&",
    "=",
    "%",
    "%0d%0aEvil:%201",
    "%00",
    " ",
    "\t",
    "*",
    "[*]",
    "<OwnDomain>",
    "<OwnCidName>",
    "<Null>",
    "sip:",
    "Evil: 1",
    "Via: ",
    "f: ",
    "evil.example",
    "192.0.2.66",
    "13105550100",
    "passerted",
    "rpid",
    "yes",
];

fn nasty() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(PIECES).prop_map(str::to_owned);
    prop_oneof![
        40 => vec(piece, 0..6).prop_map(|pieces| pieces.concat()),
        1 => proptest::sample::select(PIECES).prop_map(|piece| piece.repeat(4_096 / piece.len())),
    ]
}

/// One text for each field, and whether the field gets it.
type Texts = Vec<(u8, String)>;

/// The record with texts in its fields, all but the `kept` ones. A field that can only hold certain words keeps its own
/// where the text is none of them, as the store keeps it; yes and no change places now and then.
fn filled<T: Serialize + DeserializeOwned>(
    record: T,
    kept: &[&str],
    density: u8,
    texts: &mut impl Iterator<Item = (u8, String)>,
) -> T {
    let mut json = serde_json::to_value(record).expect("a record");
    let fields: Vec<String> = json
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    for field in fields
        .iter()
        .filter(|field| !kept.contains(&field.as_str()))
    {
        let (chance, text) = texts.next().expect("one for every field");
        let text = match json[field].as_str() {
            Some("yes") if chance < density / 4 => "no".to_owned(),
            Some("no") if chance < density / 4 => "yes".to_owned(),
            Some("yes" | "no") | None => continue,
            Some(_) if chance < density => text,
            Some(_) => continue,
        };
        let before = std::mem::replace(&mut json[field], Value::String(text));
        if T::deserialize(&json).is_err() {
            json[field] = before;
        }
    }
    T::deserialize(&json).expect("it was one before")
}

/// A call of the PBX through these records, the header that the rule adds, and everything that left the switch.
struct Call {
    world: World,
    now: Duration,
    branch: u32,
    added: Option<String>,
}

impl Call {
    fn new(density: u8, texts: Texts, application: DialRuleApplication) -> Self {
        let mut world = fair_world(11, 10);
        let texts = &mut texts.into_iter().cycle();
        let key = ["domain", "connection-orig-match-pattern"];
        let pbx = filled(trunk("d1", "pbx", PBX), &key, density, texts);
        let carrier = Connection {
            connection_sip_authenticate_as_client_enabled: true,
            connection_sip_registration_username: "trunk".into(),
            connection_sip_registration_password: "secret".into(),
            ..trunk("d1", "carrier", CARRIER)
        };
        let kept = [&key[..], &["connection-address", "connection-term-enabled"]].concat();
        let carrier = filled(carrier, &kept, density, texts);
        let domain = Domain {
            domain: "d1".into(),
            ..Domain::default()
        };
        let domain = filled(domain, &["domain"], density, texts);
        let rule = DialRule {
            domain: "d1".into(),
            dial_rule_dial_plan: "d1".into(),
            matching: RuleMatching::to("*"),
            dial_rule_application: application,
            dial_rule_parameter: "X-Account: <OwnDomain>".into(),
            dial_rule_translation_destination_host: "carrier".into(),
            ..DialRule::default()
        };
        let kept = [
            "domain",
            "enabled",
            "dial-rule-dial-plan",
            "dial-rule-application",
            "dial-rule-matching-to-uri",
        ];
        let mut rule = filled(rule, &kept, density, texts);
        // Text alone is seldom a header at all; behind a name it is one more often.
        if let Some((_, text)) = texts.next().filter(|(chance, _)| *chance < 128) {
            rule.dial_rule_parameter = format!("X-Account: 1{text}");
        }
        let added = header_line::parse(&rule.dial_rule_parameter).ok();
        let added = added.map(|(name, _)| match Name::parse(name) {
            Name::Other => name.to_owned(),
            known => known.to_string(),
        });
        let plans = vec![filled(
            DialPlan::new("d1", "d1", ""),
            &["domain", "dial-plan"],
            density,
            texts,
        )];
        let (mut part, _) = DomainPart::build(
            "d1",
            Some(domain),
            vec![pbx, carrier],
            plans,
            vec![rule],
            |_| Arc::default(),
        );
        let policy = filled(
            DialPolicy::new("d1", "Permit All", ""),
            &["domain"],
            density,
            texts,
        );
        let permission = Permission {
            dialpolicy: policy.dialpolicy.clone(),
            domain: "d1".into(),
            permission_match: "*".into(),
            permission_mode: PermissionMode::Permit,
            ..Permission::default()
        };
        let permission = filled(permission, &["domain", "dialpolicy"], density, texts);
        part.add_policies(vec![policy], vec![permission]);
        let route = Route::new("*", RouteMethod::Fixed);
        let way = RouteConnection::new(route.matching.clone(), 1, "carrier");
        part.add_routes(
            vec![filled(route, &[], density, texts)],
            vec![filled(way, &[], density, texts)],
        );
        world.change(&DirectoryChange::Swap(Arc::new(part)));
        Self {
            world,
            now: Duration::ZERO,
            branch: 0,
            added,
        }
    }

    fn say(&mut self, from: &str, text: String) {
        self.world.say(from.parse().expect("an address"), text);
        self.now += Duration::from_millis(200);
        self.world.run(self.now);
    }

    /// What the switch has sent there last, of a method.
    fn last(&self, who: &str, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        let who = who.parse().expect("an address");
        let sent = self.world.messages().iter().rev();
        sent.filter(|sent| sent.to == who)
            .filter_map(Sent::message)
            .find(wanted)
    }

    fn asked(&self, method: &Method) -> Option<Message> {
        self.last(CARRIER, |message| message.method() == Some(method))
    }

    /// The carrier's answer.
    fn answer(&mut self, request: &Message, status: u16, lines: &str) {
        let text = format!(
            "SIP/2.0 {status} Indeed\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=carrier\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:bob@{CARRIER}>\r\n{lines}",
            request.header(Name::Via).unwrap_or_default(),
            request.header(Name::From).unwrap_or_default(),
            request.header(Name::To).unwrap_or_default(),
            request.call_id(),
            request.cseq(),
        );
        self.say(CARRIER, text);
    }

    /// A request of the PBX. `to` is the To header.
    fn ask(&mut self, method: &str, cseq: u32, to: &str, lines: &str) {
        self.branch += 1;
        let text = format!(
            "{method} sip:2000@{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {PBX};branch=z9hG4bK{}\r\nMax-Forwards: 70\r\n\
             From: \"Ann\" <sip:1001@pbx>;tag=ann\r\nTo: {to}\r\nCall-ID: of-ann\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:ann@{PBX}>\r\n{lines}",
            self.branch,
        );
        self.say(PBX, text);
    }

    /// The whole call: the registration and the INVITE are challenged, the call is answered and ends. Whether the
    /// carrier was reached.
    fn run(&mut self) -> bool {
        let challenge = "Authenticate: Digest realm=\"carrier\", nonce=\"n\", algorithm=MD5\r\n";
        let empty = "Content-Length: 0\r\n\r\n";
        self.ask("INVITE", 1, "<sip:2000@sbc>", &body(30_000));
        if let Some(register) = self.asked(&Method::Register) {
            self.answer(&register, 401, &format!("WWW-{challenge}{empty}"));
        }
        let Some(invite) = self.asked(&Method::Invite) else {
            return false;
        };
        self.answer(&invite, 407, &format!("Proxy-{challenge}{empty}"));
        let Some(again) = self.asked(&Method::Invite) else {
            return false;
        };
        self.answer(&again, 200, &body(40_000));
        let Some(ok) = self.last(PBX, |message| message.status() == Some(200)) else {
            return false;
        };
        let to = ok.header(Name::To).unwrap_or_default().to_owned();
        self.ask("ACK", 1, &to, empty);
        self.ask("BYE", 2, &to, empty);
        true
    }

    /// Everything that left the switch is what it should be.
    fn check(&self) -> Result<(), TestCaseError> {
        let sent = self.world.messages().iter();
        for sent in sent.filter(|sent| sent.from == SWITCH) {
            let message = sent.message();
            prop_assert!(message.is_some(), "{sent}");
            let message = message.expect("looked at");
            let end = sent.bytes.len() - message.body().len();
            let head = std::str::from_utf8(&sent.bytes[..end]).expect("text");
            let head = head.strip_suffix("\r\n\r\n").expect("an empty line");
            for line in head.split("\r\n") {
                prop_assert!(!line.is_empty(), "{sent}");
                prop_assert!(
                    !line.contains(|c: char| c.is_ascii_control() && c != '\t'),
                    "{line:?}"
                );
            }
            prop_assert_eq!(
                head.split("\r\n").count() - 1,
                message.all_headers().count(),
                "{}",
                sent
            );
            for (text, name, _) in message.all_headers() {
                let added = message.method() == Some(&Method::Invite)
                    && self.added.as_deref().is_some_and(|it| it == text);
                prop_assert!(added || OURS.contains(&name), "{text} in {sent}");
            }
            let added = self.added.as_deref().unwrap_or("X-Account");
            let times = message.all_headers().filter(|(text, ..)| *text == added);
            prop_assert!(times.count() <= 1, "{added} in {sent}");
            for name in SINGLE {
                prop_assert_eq!(message.headers(name).count(), 1, "{} in {}", name, sent);
            }
            for address in [message.from(), message.to()] {
                prop_assert!(address.tag() != Some("evil"), "{sent}");
            }
            let described = message.body();
            prop_assert_eq!(
                message.header(Name::ContentType).is_some(),
                !described.is_empty(),
                "{}",
                sent
            );
            if !described.is_empty() {
                let session = sdp::Session::parse(described);
                prop_assert!(session.is_ok(), "{sent}");
                prop_assert_eq!(session.expect("looked at").media.len(), 1, "{}", sent);
                prop_assert!(
                    !described
                        .windows(4)
                        .any(|word| word.eq_ignore_ascii_case(b"evil")),
                    "{sent}"
                );
            }
        }
        Ok(())
    }
}

#[test]
fn no_field_of_a_record_adds_a_line_to_a_message() {
    const CASES: u32 = 400;
    let (reached, filled) = (Cell::new(0), Cell::new(0));
    let applications = proptest::sample::select(vec![
        DialRuleApplication::ToConnection,
        DialRuleApplication::ToConnectionAddHeader,
        DialRuleApplication::ToConnectionAddHeaderForceCallerId,
    ]);
    // Of 256 texts so many are put into a record: all of them at once, and few calls get far.
    let densities = proptest::sample::select(vec![8, 24, 80]);
    let strategy = (densities, vec((any::<u8>(), nasty()), 211), applications);
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(CASES)
    });
    let outcome = runner.run(&strategy, |(density, texts, application)| {
        let mut call = Call::new(density, texts, application);
        reached.set(reached.get() + u32::from(call.run()));
        filled.set(filled.get() + u32::from(call.added.is_some()));
        call.check()
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Records that no call can pass would show nothing.
    assert!(
        reached.get() > CASES / 10,
        "{} calls were carried",
        reached.get()
    );
    assert!(
        filled.get() > CASES / 10,
        "{} rules had a header",
        filled.get()
    );
}
