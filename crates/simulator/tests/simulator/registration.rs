//! Registrations both ways on simulated time: what carriers and PBXs see on the wire, and when.

use crate::records::{phone, put_tenant, rule, trunk};
use bytes::Bytes;
use model::{
    Connection, ConnectionKey, DestinationFrom, ExplainRequest, Registration,
    RegistrationDirection, RegistrationEnd, RegistrationEvent,
};
use simulator::network::Weather;
use simulator::phone::{PhoneConfig, PhoneEvent, WhenCalled};
use simulator::world::{Action, START_UNIX_MS, SWITCH, World, WorldConfig};
use sip::auth::{Authenticator, Credentials, Secret, Verdict};
use sip::message::{ByteStr, Headers, Message, Method, Name, RequestDraft, ResponseDraft, Uri};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use switch::plan::PlanContext;
use switch::{DirectoryChange, Input, REGISTERS_PER_SECOND};

const REGISTRAR: &str = "198.51.100.2:5060";
const PBX: &str = "198.51.100.9:5070";
const CALLER: &str = "198.51.100.7:5060";
const TURN: Duration = Duration::from_millis(50);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn carrier() -> Connection {
    Connection {
        domain: "d1".into(),
        connection_orig_match_pattern: "sip*@carrier".into(),
        connection_address: REGISTRAR.into(),
        connection_sip_authenticate_as_client_enabled: true,
        connection_sip_registration_username: "trunk".into(),
        connection_sip_registration_password: "hunter2".into(),
        connection_sip_registration_realm: "carrier.example".into(),
        connection_translation_request_host: "reg.carrier.example".into(),
        ..Connection::default()
    }
}

fn pbx() -> Connection {
    Connection {
        domain: "d1".into(),
        connection_orig_match_pattern: "sip*@acme-pbx".into(),
        connection_sip_registration_username: "acme".into(),
        connection_sip_registration_password: "hunter2".into(),
        ..Connection::default()
    }
}

/// Somebody whose calls the plan sends to the PBX.
fn caller() -> Connection {
    trunk("d1", "caller", CALLER)
}

/// A world, and who answers the REGISTERs of the switch.
struct Desk {
    world: World,
    seen: usize,
}

impl Desk {
    fn new(shards: u16, connections: Vec<Connection>) -> Self {
        let config = WorldConfig {
            seed: 11,
            weather: Weather::FAIR,
            shards,
            relays: 100,
            rest_after: Duration::ZERO,
            keep_messages: true,
        };
        let mut desk = Self {
            world: World::new(config),
            seen: 0,
        };
        desk.records(connections);
        desk
    }

    fn records(&mut self, connections: Vec<Connection>) {
        let rules = vec![rule("*", "acme-pbx")];
        put_tenant(&mut self.world, connections, rules, |_| Arc::default());
    }

    /// Runs until then; `answer` is asked about each message to the registrar.
    fn run(&mut self, until: Duration, mut answer: impl FnMut(&Message) -> Option<ResponseDraft>) {
        while self.world.elapsed() < until {
            let next = (self.world.elapsed() + TURN).min(until);
            if self.world.run(next) {
                // Nothing will happen any more.
                return;
            }
            let new: Vec<Message> = self.world.messages()[self.seen..]
                .iter()
                .filter(|sent| sent.to == address(REGISTRAR))
                .filter_map(|sent| sent.message())
                .collect();
            self.seen = self.world.messages().len();
            for message in new.iter().filter(|message| message.is_request()) {
                if let Some(draft) = answer(message) {
                    self.world.say(address(REGISTRAR), draft.print(message));
                }
            }
        }
    }

    /// REGISTERs the switch sent, with their times.
    fn registers(&self) -> Vec<(Duration, Message)> {
        self.world
            .messages()
            .iter()
            .filter(|sent| sent.from == SWITCH)
            .filter_map(|sent| Some((sent.after, sent.message()?)))
            .filter(|(_, message)| message.method() == Some(&Method::Register))
            .collect()
    }

    fn reports(&self) -> Vec<&Registration> {
        let reports = self.world.registrations();
        reports.iter().map(|(_, report)| report).collect()
    }
}

fn ok(expires_seconds: u32) -> impl FnMut(&Message) -> Option<ResponseDraft> {
    move |register| {
        let mut draft = ResponseDraft::new(200);
        let contact = register.header(Name::Contact)?;
        draft.contact = Some(format!("{contact};expires={expires_seconds}").into());
        Some(draft)
    }
}

fn status(status: u16) -> impl FnMut(&Message) -> Option<ResponseDraft> {
    move |_| Some(ResponseDraft::new(status))
}

fn silence(_: &Message) -> Option<ResponseDraft> {
    None
}

fn expires(register: &Message) -> &str {
    register.header(Name::Expires).unwrap_or_default()
}

#[test]
fn one_shard_registers_and_answers_the_challenge() {
    let mut desk = Desk::new(3, vec![carrier()]);
    let mut guard = Authenticator::new([7; 32]);
    let now = Instant::now();
    desk.run(seconds(5), |register| {
        let password = Secret::new("hunter2");
        let realm = "carrier.example";
        let proof = register
            .header(Name::Authorization)
            .map(|value| guard.verify(now, "REGISTER", value, b"", realm, "trunk", &password));
        if proof == Some(Verdict::Ok) {
            return ok(3600)(register);
        }
        let mut draft = ResponseDraft::new(401);
        for value in guard.challenge(now, realm, false) {
            draft.headers.push_name(Name::WwwAuthenticate, value);
        }
        Some(draft)
    });
    let registers = desk.registers();
    let [(_, first), (_, second)] = registers.as_slice() else {
        panic!("asked and answered, not {:#?}", desk.world.ladder())
    };
    assert_eq!(first.uri_text(), "sip:reg.carrier.example");
    assert_eq!(first.to().uri.as_str(), "sip:trunk@carrier.example");
    assert_eq!(first.from().uri.as_str(), "sip:trunk@carrier.example");
    let contact = first.contact().unwrap();
    assert_eq!(contact.uri.as_str(), "sip:trunk@192.0.2.1:5060");
    assert_eq!(expires(first), "3600");
    assert_eq!(first.call_id(), second.call_id());
    assert_eq!(second.cseq().number, first.cseq().number + 1);
    let [report] = desk.reports()[..] else {
        panic!("one report, not {:?}", desk.reports())
    };
    assert_eq!(report.direction, RegistrationDirection::Outbound);
    assert!(matches!(
        report.event,
        RegistrationEvent::Registered { new: true, .. }
    ));
    let registered: usize = desk
        .world
        .stats()
        .iter()
        .map(|s| s.carriers_registered)
        .sum();
    assert_eq!(registered, 1);
    assert!(!format!("{:?}", desk.reports()).contains("hunter2"));
}

#[test]
fn a_refresh_comes_before_the_granted_time_is_over() {
    let mut desk = Desk::new(1, vec![carrier()]);
    desk.run(seconds(2000), ok(600));
    let registers = desk.registers();
    let times: Vec<u64> = registers.iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times, [0, 540, 1080, 1620]);
    let call_ids: HashSet<_> = registers.iter().map(|(_, m)| m.call_id().clone()).collect();
    assert_eq!(call_ids.len(), 1);
    let numbers: Vec<u32> = registers.iter().map(|(_, m)| m.cseq().number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[test]
fn a_registrar_that_wants_longer_gets_it() {
    let mut desk = Desk::new(1, vec![carrier()]);
    desk.run(seconds(60), |register| {
        if expires(register) == "7200" {
            return ok(7200)(register);
        }
        let mut draft = ResponseDraft::new(423);
        draft.headers.push("Min-Expires", 7200);
        Some(draft)
    });
    let asked: Vec<String> = desk
        .registers()
        .iter()
        .map(|(_, register)| expires(register).to_owned())
        .collect();
    assert_eq!(asked, ["3600", "7200"]);
}

#[test]
fn a_registrar_that_is_never_content_is_not_asked_in_a_loop() {
    let mut desk = Desk::new(1, vec![carrier()]);
    let mut least = 3600;
    desk.run(seconds(20), |_| {
        least += 1;
        let mut draft = ResponseDraft::new(423);
        draft.headers.push("Min-Expires", least);
        Some(draft)
    });
    assert_eq!(desk.registers().len(), 2);
}

#[test]
fn refusals_are_retried_ever_more_rarely_and_leave_the_trunk_in_service() {
    let mut desk = Desk::new(1, vec![carrier(), caller()]);
    desk.run(seconds(6 * 3600), status(403));
    let times: Vec<Duration> = desk.registers().iter().map(|(at, _)| *at).collect();
    let gaps = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64());
    let expected = [
        30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0, 1800.0,
    ];
    for (gap, expected) in gaps.zip(expected) {
        assert!((expected * 0.79..expected * 1.21).contains(&gap), "{gap}");
    }
    assert!(times.len() > 9, "{}", times.len());
    assert!(
        desk.reports()
            .iter()
            .all(|report| matches!(report.event, RegistrationEvent::Failed { status: 403, .. }))
    );
    // A call through it goes out as if nothing were the matter.
    let question = ExplainRequest {
        from: "sip:1@caller".into(),
        to: "sip:2000@192.0.2.1".into(),
        ..ExplainRequest::default()
    };
    let mut records = vec![carrier(), caller()];
    records[0].connection_term_match_pattern = "sip*@acme-pbx".into();
    desk.records(records);
    let told = explain(&desk, &question);
    assert_eq!(told.refused_with, None, "{told:?}");
}

#[test]
fn a_silent_registrar_is_tried_again_and_a_registration_that_ran_out_is_told() {
    let mut desk = Desk::new(1, vec![carrier()]);
    desk.run(seconds(10), ok(600));
    desk.run(seconds(1200), silence);
    let events: Vec<String> = desk
        .reports()
        .iter()
        .map(|report| match &report.event {
            RegistrationEvent::Registered { .. } => "registered".to_owned(),
            RegistrationEvent::Failed { status, .. } => format!("failed {status}"),
            RegistrationEvent::Ended(why) => why.to_string(),
        })
        .collect();
    assert_eq!(
        events[..4],
        [
            "registered",
            "failed 408",
            "not refreshed in time",
            "failed 408"
        ]
    );
    desk.run(seconds(2000), ok(3600));
    assert!(matches!(
        desk.reports().last().unwrap().event,
        RegistrationEvent::Registered { new: true, .. }
    ));
}

#[test]
fn a_registration_is_taken_back_when_the_record_goes_or_stops_asking_for_it() {
    type Change = fn(&mut Desk);
    let changes: [(&str, Change, bool); 5] = [
        ("delete", |desk| desk.records(vec![]), false),
        (
            "domain",
            |desk| desk.world.change(&DirectoryChange::Remove("d1".into())),
            false,
        ),
        (
            "flag",
            |desk| {
                desk.records(vec![Connection {
                    connection_sip_authenticate_as_client_enabled: false,
                    ..carrier()
                }]);
            },
            false,
        ),
        (
            "user",
            |desk| {
                desk.records(vec![Connection {
                    connection_sip_registration_username: "other".into(),
                    ..carrier()
                }]);
            },
            true,
        ),
        (
            "stop",
            |desk| {
                desk.world.tell_switch(|| Input::Drain {
                    retry_after_seconds: 30,
                });
            },
            false,
        ),
    ];
    for (what, change, again) in changes {
        let mut desk = Desk::new(2, vec![carrier()]);
        desk.run(seconds(10), ok(3600));
        change(&mut desk);
        desk.run(seconds(7200), ok(3600));
        let registers: Vec<Message> = desk.registers().into_iter().map(|(_, m)| m).collect();
        let farewell = &registers[1];
        assert_eq!(expires(farewell), "0", "{what}");
        assert_eq!(farewell.call_id(), registers[0].call_id(), "{what}");
        assert_eq!(farewell.to().uri.user(), Some("trunk"), "{what}");
        let users: Vec<_> = registers[2..]
            .iter()
            .filter_map(|register| register.to().uri.user())
            .collect();
        assert_eq!(users.contains(&"other"), again, "{what}");
        assert!(!users.contains(&"trunk"), "{what}");
        let farewells: usize = desk.world.stats().iter().map(|stats| stats.farewells).sum();
        assert_eq!(farewells, 0, "{what}");
    }
}

#[test]
fn a_change_that_is_not_seen_on_the_wire_leaves_the_registration_alone() {
    let mut desk = Desk::new(1, vec![carrier()]);
    desk.run(seconds(10), ok(3600));
    desk.records(vec![Connection {
        description: "another text".into(),
        ..carrier()
    }]);
    desk.run(seconds(3000), ok(3600));
    assert_eq!(desk.registers().len(), 1);
}

#[test]
fn many_trunks_do_not_register_all_at_once() {
    let count = 10 * REGISTERS_PER_SECOND as usize;
    let trunks = (0..count).map(|number| Connection {
        connection_orig_match_pattern: format!("sip*@carrier-{number}"),
        ..carrier()
    });
    let mut desk = Desk::new(1, trunks.collect());
    desk.run(seconds(30), ok(3600));
    let mut in_second = [0u32; 30];
    for (at, _) in desk.registers() {
        in_second[at.as_secs() as usize] += 1;
    }
    assert_eq!(in_second.iter().sum::<u32>() as usize, count);
    let most = in_second.iter().max().copied().unwrap_or_default();
    assert!(most <= REGISTERS_PER_SECOND + 1, "{in_second:?}");
    assert_eq!(desk.world.stats()[0].carriers_registered, count);
}

// -- the peer registers with us ----------------------------------------------------------------------------------

/// A PBX behind a NAT: what it writes and where it comes from differ.
struct Peer {
    from: SocketAddr,
    contact: String,
    to: String,
    call_id: String,
    cseq: u32,
    branch: u32,
    credentials: Option<Credentials>,
}

impl Peer {
    fn new() -> Self {
        Self {
            from: address(PBX),
            contact: "<sip:line1@10.0.0.5:5070;ob>".into(),
            to: "sip:acme@acme-pbx".into(),
            call_id: "peer-1".into(),
            cseq: 0,
            branch: 0,
            credentials: Some(Credentials {
                username: "acme".into(),
                password: Secret::new("hunter2"),
                realm: None,
            }),
        }
    }

    /// Sends a REGISTER and, when challenged, the answer; returns the last response.
    fn register(&mut self, desk: &mut Desk, expires: Option<u32>) -> Message {
        let contacts = vec![self.contact.clone()];
        self.register_contacts(desk, &contacts, expires)
    }

    fn register_contacts(
        &mut self,
        desk: &mut Desk,
        contacts: &[String],
        expires: Option<u32>,
    ) -> Message {
        let mut headers = Headers::new();
        if let Some(seconds) = expires {
            headers.push_name(Name::Expires, seconds);
        }
        for contact in contacts {
            headers.push_name(Name::Contact, contact);
        }
        let first = self.ask(desk, headers.clone());
        let (Some(401), Some(credentials)) = (first.status(), &self.credentials) else {
            return first;
        };
        let answer = sip::auth::answer(
            first.headers(Name::WwwAuthenticate),
            credentials,
            "REGISTER",
            "sip:192.0.2.1",
            b"",
            1,
            "cnonce",
        );
        headers.push_name(Name::Authorization, answer.unwrap());
        self.ask(desk, headers)
    }

    fn ask(&mut self, desk: &mut Desk, headers: Headers) -> Message {
        self.cseq += 1;
        self.branch += 1;
        let draft = RequestDraft {
            method: Method::Register,
            uri: Uri::parse(&ByteStr::from("sip:192.0.2.1")).unwrap(),
            max_forwards: 70,
            from: format!("<{}>;tag=1", self.to).into(),
            to: format!("<{}>", self.to).into(),
            call_id: self.call_id.clone().into(),
            cseq: self.cseq,
            routes: Vec::new(),
            contact: None,
            headers,
            content_type: None,
            body: Bytes::new(),
        };
        let branch = format!("z9hG4bK-{}-{}", self.call_id, self.branch);
        let via = format!("SIP/2.0/UDP 10.0.0.5:5070;branch={branch};rport");
        desk.world.say(self.from, draft.print(&via));
        let until = desk.world.elapsed() + TURN;
        desk.world.run(until);
        desk.world
            .messages()
            .iter()
            .rev()
            .filter(|sent| sent.to == self.from)
            .filter_map(|sent| sent.message())
            .find(|message| message.via().branch.as_deref() == Some(branch.as_str()))
            .expect("a response")
    }
}

/// A call to the PBX; returns the INVITE that reached `to`, or the status the caller got.
fn call(desk: &mut Desk, to: &str) -> Result<Message, u16> {
    call_from(desk, CALLER, to)
}

fn call_from(desk: &mut Desk, from: &str, to: &str) -> Result<Message, u16> {
    let already = desk.world.messages().len();
    let rings = WhenCalled::RingForever;
    let phone = desk.world.add(PhoneConfig {
        seed: already as u64,
        ..phone(address(from), "caller", 30_000, rings)
    });
    let now = desk.world.elapsed();
    let called = format!("sip:2000@{SWITCH}");
    desk.world.plan(now + TURN, phone, Action::Call(called));
    desk.world.plan(now + seconds(2), phone, Action::HangUp);
    desk.world.run(now + seconds(60));
    let invite = desk.world.messages()[already..]
        .iter()
        .filter(|sent| sent.from == SWITCH && sent.to == address(to))
        .filter_map(|sent| sent.message())
        .find(|message| message.method() == Some(&Method::Invite));
    let failed = desk
        .world
        .events()
        .iter()
        .rev()
        .find_map(|(index, event)| match event {
            PhoneEvent::Failed { status } if *index == phone => Some(*status),
            _ => None,
        });
    invite.ok_or(failed.unwrap_or(0))
}

fn explain(desk: &Desk, question: &ExplainRequest) -> model::Explanation {
    let interface = sip::endpoint::Interface {
        transport: sip::transport::Transport::Udp,
        local: SWITCH,
        advertise: SWITCH.ip().to_string().into(),
        port: SWITCH.port(),
        alternate: false,
    };
    let context = PlanContext {
        unix_ms: START_UNIX_MS,
        interfaces: &[interface],
        ringback: None,
        hostname: "switch.example",
        draw: 0,
    };
    switch::explain(desk.world.directory(0).unwrap(), question, context).unwrap()
}

fn question() -> ExplainRequest {
    ExplainRequest {
        from: "sip:1001@caller".into(),
        to: "sip:2000@192.0.2.1".into(),
        ..ExplainRequest::default()
    }
}

#[test]
fn a_peer_registers_and_is_called_where_it_came_from() {
    let mut desk = Desk::new(3, vec![pbx(), caller()]);
    assert_eq!(
        call(&mut desk, PBX).unwrap_err(),
        404,
        "nobody is there yet"
    );
    let told = explain(&desk, &question());
    let text = format!("{told:?}");
    assert!(text.contains("its peer is not registered"), "{text}");

    let mut peer = Peer::new();
    let answer = peer.register(&mut desk, None);
    assert_eq!(answer.status(), Some(200));
    assert_eq!(
        answer.header(Name::Contact),
        Some("<sip:line1@10.0.0.5:5070;ob>;expires=3600")
    );
    let invite = call(&mut desk, PBX).unwrap();
    assert_eq!(invite.uri_text(), "sip:line1@10.0.0.5:5070;ob");
    assert_eq!(invite.to().uri.as_str(), "sip:2000@10.0.0.5:5070");
    let text = format!("{:?}", explain(&desk, &question()));
    assert!(
        text.contains("sip:line1@10.0.0.5:5070;ob registered from 198.51.100.9:5070"),
        "{text}"
    );
    let held: usize = desk.world.stats().iter().map(|s| s.peers_registered).sum();
    assert_eq!(held, 1);
}

#[test]
fn a_translation_of_the_user_counts_for_a_registered_peer_too() {
    let record = Connection {
        connection_translation_request_user: "+[*]".into(),
        ..pbx()
    };
    let mut desk = Desk::new(1, vec![record, caller()]);
    Peer::new().register(&mut desk, None);
    let invite = call(&mut desk, PBX).unwrap();
    assert_eq!(invite.uri_text(), "sip:+2000@10.0.0.5:5070;ob");
}

#[test]
fn who_does_not_prove_it_gets_no_binding() {
    let mut desk = Desk::new(1, vec![pbx(), caller()]);
    let mut peer = Peer::new();
    peer.credentials = None;
    let challenge = peer.register(&mut desk, None);
    assert_eq!(challenge.status(), Some(401));
    let realms: Vec<&str> = challenge.headers(Name::WwwAuthenticate).collect();
    assert!(
        realms
            .iter()
            .all(|value| value.contains("realm=\"acme-pbx\""))
    );
    peer.credentials = Some(Credentials {
        username: "acme".into(),
        password: Secret::new("wrong"),
        realm: None,
    });
    let statuses: Vec<_> = (0..3)
        .map(|_| peer.register(&mut desk, None).status().unwrap())
        .collect();
    assert_eq!(statuses, [401, 401, 403]);
    assert_eq!(call(&mut desk, PBX).unwrap_err(), 404);
    assert_eq!(desk.world.stats()[0].registers_refused, 1);
}

/// And whoever tries names one after the other gets the same answers from all of them, whether they exist or not.
#[test]
fn only_a_connection_with_credentials_of_its_peer_can_be_registered() {
    let statuses = |peer: &mut Peer, desk: &mut Desk| -> Vec<u16> {
        (0..3)
            .map(|_| peer.register(desk, None).status().unwrap())
            .collect()
    };

    let bare = Connection {
        connection_sip_registration_username: String::new(),
        ..pbx()
    };
    let ours = Connection {
        connection_sip_authenticate_as_client_enabled: true,
        ..pbx()
    };
    let off = Connection {
        connection_orig_enabled: false,
        connection_term_enabled: false,
        ..pbx()
    };
    for record in [bare, ours, off] {
        let mut desk = Desk::new(1, vec![record]);
        assert_eq!(statuses(&mut Peer::new(), &mut desk), [401, 401, 403]);
        assert_eq!(desk.world.stats()[0].peers_registered, 0);
    }
    let mut desk = Desk::new(1, vec![pbx()]);
    let mut stranger = Peer::new();
    stranger.to = "sip:acme@nobody".into();
    assert_eq!(statuses(&mut stranger, &mut desk), [401, 401, 403]);
    // Not even the name and password that strangers are checked against let anybody in.
    stranger.credentials = Some(Credentials {
        username: String::new(),
        password: Secret::new(""),
        realm: None,
    });
    assert_eq!(statuses(&mut stranger, &mut desk), [401, 401, 403]);
    assert_eq!(desk.world.stats()[0].strangers, 12);
}

#[test]
fn times_have_bounds() {
    let mut desk = Desk::new(1, vec![pbx()]);
    let mut peer = Peer::new();
    let short = peer.register(&mut desk, Some(29));
    assert_eq!(short.status(), Some(423));
    assert_eq!(short.header_by_text("Min-Expires"), Some("30"));
    for (asked, granted) in [(30, 30), (100_000, 3600)] {
        let answer = peer.register(&mut desk, Some(asked));
        let contact = answer.header(Name::Contact).unwrap();
        assert!(
            contact.ends_with(&format!(";expires={granted}")),
            "{contact}"
        );
    }
    peer.contact = "<sip:line1@10.0.0.5:5070>;expires=60".into();
    let answer = peer.register(&mut desk, Some(3000));
    let contact = answer.header(Name::Contact).unwrap();
    assert!(contact.ends_with(";expires=60"), "{contact}");
}

#[test]
fn a_new_contact_takes_the_place_of_the_old() {
    let mut desk = Desk::new(2, vec![pbx(), caller()]);
    Peer::new().register(&mut desk, None);
    let mut moved = Peer::new();
    moved.call_id = "peer-2".into();
    moved.from = address("203.0.113.4:6000");
    moved.contact = "<sip:line2@10.9.9.9>".into();
    let answer = moved.register(&mut desk, None);
    assert_eq!(answer.values(Name::Contact).count(), 1);
    let invite = call(&mut desk, "203.0.113.4:6000").unwrap();
    assert_eq!(invite.uri_text(), "sip:line2@10.9.9.9");
}

#[test]
fn a_binding_can_be_asked_for_and_taken_back() {
    let mut desk = Desk::new(2, vec![pbx(), caller()]);
    let mut peer = Peer::new();
    peer.register(&mut desk, None);
    let asked = peer.register_contacts(&mut desk, &[], None);
    assert!(
        asked
            .header(Name::Contact)
            .unwrap()
            .starts_with("<sip:line1@")
    );
    // Nobody else's Contact, and no star with company or without an end.
    let other = "<sip:x@10.0.0.6>;expires=0".to_owned();
    peer.register_contacts(&mut desk, &[other], None);
    for wrong in [
        (vec!["*".to_owned()], Some(60)),
        (vec!["*".to_owned(), peer.contact.clone()], Some(0)),
    ] {
        let answer = peer.register_contacts(&mut desk, &wrong.0, wrong.1);
        assert_eq!(answer.status(), Some(400));
    }
    assert!(call(&mut desk, PBX).is_ok());

    let gone = peer.register(&mut desk, Some(0));
    assert_eq!(
        (gone.status(), gone.header(Name::Contact)),
        (Some(200), None)
    );
    assert_eq!(call(&mut desk, PBX).unwrap_err(), 404);
    peer.register(&mut desk, None);
    let star = peer.register_contacts(&mut desk, &["*".to_owned()], Some(0));
    assert_eq!(
        (star.status(), star.header(Name::Contact)),
        (Some(200), None)
    );
    assert_eq!(call(&mut desk, PBX).unwrap_err(), 404);
    assert!(matches!(
        desk.reports().last().unwrap().event,
        RegistrationEvent::Ended(RegistrationEnd::Withdrawn)
    ));
}

#[test]
fn a_request_that_was_overtaken_changes_nothing() {
    let mut desk = Desk::new(1, vec![pbx(), caller()]);
    let mut peer = Peer::new();
    peer.cseq = 100;
    peer.register(&mut desk, None);
    peer.cseq = 50;
    assert_eq!(peer.register(&mut desk, Some(0)).status(), Some(500));
    assert!(call(&mut desk, PBX).is_ok());
}

#[test]
fn a_binding_that_is_not_refreshed_ends_on_every_shard() {
    let mut desk = Desk::new(3, vec![pbx(), caller()]);
    Peer::new().register(&mut desk, Some(120));
    desk.world.run(seconds(60));
    assert!(call(&mut desk, PBX).is_ok());
    desk.world.run(seconds(200));
    assert_eq!(call(&mut desk, PBX).unwrap_err(), 404);
    let (at, last) = desk.world.registrations().last().unwrap();
    assert_eq!(
        last.event,
        RegistrationEvent::Ended(RegistrationEnd::Expired)
    );
    assert_eq!(at.as_secs(), 120);
}

#[test]
fn a_clock_that_is_set_neither_ends_nor_prolongs_a_binding() {
    const DAY_MS: i64 = 86_400_000;
    for step_ms in [DAY_MS, -DAY_MS] {
        let mut desk = Desk::new(1, vec![pbx(), caller()]);
        Peer::new().register(&mut desk, Some(600));
        desk.world.run(seconds(100));
        desk.world.set_clock(step_ms);
        desk.world.run(seconds(500));
        assert!(call(&mut desk, PBX).is_ok(), "{step_ms}");
        // What is stored was moved along: it holds after a restart too.
        desk.world.restart();
        assert!(call(&mut desk, PBX).is_ok(), "{step_ms}");
        desk.world.run(seconds(700));
        assert_eq!(call(&mut desk, PBX).unwrap_err(), 404, "{step_ms}");
    }
}

#[test]
fn a_clock_that_is_set_does_not_end_a_registration_with_a_carrier() {
    let mut desk = Desk::new(1, vec![carrier()]);
    desk.run(seconds(100), ok(3_600));
    desk.world.set_clock(86_400_000);
    let ended = |desk: &Desk| {
        let is_end = |report: &&Registration| matches!(report.event, RegistrationEvent::Ended(_));
        desk.reports().into_iter().filter(is_end).count()
    };
    // The refresh fails, and what was granted holds until its time is over.
    desk.run(seconds(3_590), status(503));
    assert_eq!(ended(&desk), 0);
    desk.run(seconds(3_650), status(503));
    assert_eq!(ended(&desk), 1);
}

#[test]
fn a_binding_survives_a_restart_and_ends_in_time() {
    let mut desk = Desk::new(2, vec![pbx(), caller()]);
    Peer::new().register(&mut desk, Some(600));
    desk.world.run(seconds(100));
    desk.world.restart();
    let invite = call(&mut desk, PBX).unwrap();
    assert_eq!(invite.uri_text(), "sip:line1@10.0.0.5:5070;ob");
    desk.world.run(seconds(700));
    assert_eq!(call(&mut desk, PBX).unwrap_err(), 404);
}

#[test]
fn a_registration_vouches_for_the_source_of_calls() {
    let record = Connection {
        connection_source_ip_checking_enabled: true,
        connection_orig_match_pattern: "sip*@caller".into(),
        ..pbx()
    };
    let callee = Connection {
        connection_orig_match_pattern: "sip*@acme-pbx".into(),
        connection_address: "198.51.100.44".into(),
        ..caller()
    };
    let mut desk = Desk::new(1, vec![record, callee]);
    let (inside, outside) = ("198.51.100.9:6001", "198.51.100.8:6001");
    assert_eq!(
        call_from(&mut desk, inside, "198.51.100.44:5060").unwrap_err(),
        403
    );
    let mut peer = Peer::new();
    peer.to = "sip:acme@caller".into();
    assert_eq!(peer.register(&mut desk, None).status(), Some(200));
    assert!(call_from(&mut desk, inside, "198.51.100.44:5060").is_ok());
    assert_eq!(
        call_from(&mut desk, outside, "198.51.100.44:5060").unwrap_err(),
        403
    );
}

#[test]
fn new_requests_go_to_the_contact_or_the_via_when_told_so() {
    for (from, to) in [
        (DestinationFrom::DefaultIp, PBX),
        (DestinationFrom::ContactHeader, "10.0.0.77:5099"),
        (DestinationFrom::ViaHeader, "10.0.0.5:5070"),
    ] {
        let record = Connection {
            connection_sip_get_new_dialog_destination_from: from,
            ..pbx()
        };
        let mut desk = Desk::new(1, vec![record, caller()]);
        let mut peer = Peer::new();
        peer.contact = "<sip:line1@10.0.0.77:5099>".into();
        peer.register(&mut desk, None);
        let invite = call(&mut desk, to).unwrap();
        assert_eq!(invite.uri_text(), "sip:line1@10.0.0.77:5099");
    }
}

#[test]
fn a_static_address_wins_over_the_registration_unless_told_otherwise() {
    let fixed = "198.51.100.50:5060";
    for (from, to) in [
        (DestinationFrom::DefaultIp, fixed),
        (DestinationFrom::ContactHeader, "10.0.0.5:5070"),
    ] {
        let record = Connection {
            connection_address: fixed.into(),
            connection_sip_get_new_dialog_destination_from: from,
            ..pbx()
        };
        let mut desk = Desk::new(1, vec![record, caller()]);
        assert_eq!(Peer::new().register(&mut desk, None).status(), Some(200));
        let invite = call(&mut desk, to).unwrap();
        assert_eq!(invite.uri().unwrap().user(), Some("2000"));
        let text = format!("{:?}", explain(&desk, &question()));
        let used = !text.contains("not used, for there is an address");
        assert_eq!(used, from == DestinationFrom::ContactHeader, "{text}");
    }
}

#[test]
fn an_end_that_somebody_wrote_holds() {
    let key = ConnectionKey {
        domain: "d1".into(),
        connection_orig_match_pattern: "sip*@acme-pbx".into(),
    };
    let ends = |at: Duration| DirectoryChange::BindingEnds {
        connection: key.clone(),
        unix_ms: START_UNIX_MS + at.as_millis() as i64,
    };
    let mut desk = Desk::new(3, vec![pbx(), caller()]);
    Peer::new().register(&mut desk, Some(600));
    // Later: the binding stays until then.
    desk.world.change(&ends(seconds(900)));
    desk.world.run(seconds(700));
    assert!(call(&mut desk, PBX).is_ok());
    // Past: it is gone at once, everywhere.
    desk.world.change(&ends(seconds(10)));
    assert_eq!(call(&mut desk, PBX).unwrap_err(), 404);
    assert!(matches!(
        desk.reports().last().unwrap().event,
        RegistrationEvent::Ended(RegistrationEnd::Record)
    ));
}
