//! Single calls in fair weather: what each side sees on the wire, and what the record says.

use crate::records::{fair_world, phone, put_tenant, rule, run_to_rest, trunk};
use model::counters::ConnectionCounters;
use model::datetime::Month;
use model::{AudioRelay, Cdr, Connection, ReleaseSide};
use simulator::phone::{PhoneConfig, PhoneEvent, WhenCalled};
use simulator::world::{Action, START_UNIX_MS, SWITCH, World};
use sip::auth::{Credentials, Secret};
use sip::message::{Message, Method, Name};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use switch::Input;

const PBX: &str = "198.51.100.1:5060";
const CARRIER: &str = "198.51.100.2:5060";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One PBX that calls, one carrier that is called, and the switch between them.
struct Trunks {
    world: World,
    counters: Arc<ConnectionCounters>,
    credentials: Option<Arc<Credentials>>,
    phones: u16,
}

impl Trunks {
    fn new(change: impl FnOnce(&mut Connection, &mut Connection)) -> Self {
        Self::with_relays(100, change)
    }

    fn with_relays(relays: usize, change: impl FnOnce(&mut Connection, &mut Connection)) -> Self {
        let mut world = fair_world(7, relays);
        let (mut pbx, mut carrier) = (trunk("d1", "pbx", PBX), trunk("d1", "carrier", CARRIER));
        change(&mut pbx, &mut carrier);
        let counters = Arc::new(ConnectionCounters::default());
        let rules = vec![rule("*", "carrier")];
        put_tenant(&mut world, vec![pbx, carrier], rules, |c| {
            if c.connection_orig_match_pattern == "sip*@pbx" {
                Arc::clone(&counters)
            } else {
                Arc::default()
            }
        });
        Self {
            world,
            counters,
            credentials: None,
            phones: 0,
        }
    }

    fn phone(&mut self, address: SocketAddr, domain: &str, when_called: WhenCalled) -> usize {
        self.phones += 1;
        let rtp_port = 30_000 + 2 * self.phones;
        self.world.add(PhoneConfig {
            credentials: self.credentials.clone(),
            seed: u64::from(self.phones) * 0x9e37_79b9,
            ..phone(address, domain, rtp_port, when_called)
        })
    }

    /// A carrier that does this, and a call to it after one second. Returns the caller's phone.
    fn call(&mut self, when_called: WhenCalled) -> usize {
        self.phone(CARRIER.parse().unwrap(), "carrier", when_called);
        self.caller(PBX, 1)
    }

    fn caller(&mut self, address: &str, at: u64) -> usize {
        let phone = self.phone(address.parse().unwrap(), "pbx", WhenCalled::RingForever);
        self.world.plan(
            seconds(at),
            phone,
            Action::Call(format!("sip:2000@{SWITCH}")),
        );
        phone
    }

    fn run(&mut self) {
        run_to_rest(&mut self.world, seconds(600));
        assert_eq!(self.counters.current(), (0, 0));
    }

    fn cdr(&self) -> &Cdr {
        let [cdr] = self.world.cdrs() else {
            panic!("one record, not {:?}", self.world.cdrs())
        };
        cdr
    }

    /// Messages of a method or status from one address to another, in order.
    fn sent(&self, from: &str, to: &str, what: &str) -> Vec<Message> {
        let from = if from == "us" {
            SWITCH
        } else {
            from.parse().unwrap()
        };
        let to = if to == "us" {
            SWITCH
        } else {
            to.parse().unwrap()
        };
        let messages = self
            .world
            .messages()
            .iter()
            .filter(|sent| sent.from == from && sent.to == to);
        let is = |message: &Message| match message.status() {
            Some(status) => status.to_string() == what,
            None => message
                .method()
                .is_some_and(|method| method.as_str() == what),
        };
        messages
            .filter_map(|sent| sent.message())
            .filter(is)
            .collect()
    }

    fn status_of(&self, phone: usize) -> Option<u16> {
        self.world
            .events()
            .iter()
            .find_map(|(index, event)| match event {
                PhoneEvent::Failed { status } if *index == phone => Some(*status),
                _ => None,
            })
    }
}

fn sdp_port(message: &Message) -> String {
    let body = String::from_utf8_lossy(message.body()).into_owned();
    let line = |prefix: &str| {
        body.lines()
            .find(|line| line.starts_with(prefix))
            .unwrap_or_default()
            .to_owned()
    };
    let port = line("m=audio")
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    format!(
        "{}:{port}",
        line("c=IN IP4 ").trim_start_matches("c=IN IP4 ")
    )
}

#[test]
fn an_answered_call_has_its_record() {
    let mut trunks = Trunks::new(|_, carrier| carrier.minimum_call_duration_seconds = 60);
    let caller = trunks.call(WhenCalled::Answer(seconds(2)));
    trunks.world.plan(seconds(10), caller, Action::HangUp);
    trunks.run();
    let cdr = trunks.cdr();
    assert_eq!(
        (cdr.release_side, cdr.release_text.as_str()),
        (ReleaseSide::Orig, "Orig: Bye")
    );
    assert_eq!((cdr.release_status, cdr.release_cause), (200, Some(16)));
    assert_eq!(cdr.domain, "d1");
    assert!(
        cdr.talk_ms() > 6_000 && cdr.talk_ms() < 7_500,
        "{}",
        cdr.talk_ms()
    );
    assert_eq!(cdr.billable_ms(), 60_000);
    assert!(cdr.ringing_ms.unwrap() < cdr.answered_ms.unwrap());
    assert_eq!(cdr.orig.from_uri, "sip:1001@pbx");
    assert_eq!(cdr.orig.remote.as_deref(), Some(PBX));
    let term = cdr.term.as_ref().unwrap();
    assert_eq!(term.request_uri, "sip:2000@198.51.100.2:5060");
    assert_eq!(term.from_uri, "sip:1001@192.0.2.1");
    assert_eq!(
        term.connection_orig_match_pattern.as_deref(),
        Some("sip*@carrier")
    );
    assert_ne!(term.call_id, cdr.orig.call_id);
    assert!(cdr.media.is_some());
    assert!(
        cdr.decisions.iter().any(|line| line.starts_with("target:")),
        "{:?}",
        cdr.decisions
    );
}

#[test]
fn both_dialogs_are_ours() {
    let mut trunks = Trunks::new(|_, _| ());
    let caller = trunks.call(WhenCalled::Answer(seconds(1)));
    trunks.world.plan(seconds(5), caller, Action::HangUp);
    trunks.run();
    let came = &trunks.sent(PBX, "us", "INVITE")[0];
    let went = &trunks.sent("us", CARRIER, "INVITE")[0];
    assert_ne!(came.call_id(), went.call_id());
    assert_ne!(came.from().tag(), went.from().tag());
    assert_eq!(
        went.headers(Name::Via).count(),
        1,
        "no Via of the caller's side goes out"
    );
    assert_eq!(went.max_forwards(), Some(69));
    assert_eq!(trunks.sent("us", PBX, "100").len(), 1);
    // Media passes us: neither side learns the other's address.
    assert_eq!(sdp_port(went), "192.0.2.1:20002");
    assert_eq!(
        sdp_port(&trunks.sent("us", PBX, "200")[0]),
        "192.0.2.1:20000"
    );
}

#[test]
fn hold_and_resume_keep_the_ports() {
    let mut trunks = Trunks::new(|_, _| ());
    let caller = trunks.call(WhenCalled::Answer(seconds(1)));
    trunks.world.plan(seconds(5), caller, Action::Hold);
    trunks.world.plan(seconds(7), caller, Action::Resume);
    trunks.world.plan(seconds(9), caller, Action::HangUp);
    trunks.run();
    let invites = trunks.sent("us", CARRIER, "INVITE");
    assert_eq!(invites.len(), 3);
    assert!(
        invites
            .iter()
            .all(|invite| sdp_port(invite) == "192.0.2.1:20002")
    );
    assert!(String::from_utf8_lossy(invites[1].body()).contains("a=sendonly"));
    let answers: Vec<_> = trunks.sent("us", PBX, "200");
    assert!(String::from_utf8_lossy(answers[1].body()).contains("a=recvonly"));
    let done = trunks
        .world
        .events()
        .iter()
        .filter(|(_, event)| *event == PhoneEvent::OfferDone { status: 200 });
    assert_eq!(done.count(), 2);
}

#[test]
fn a_late_offer_passes_and_its_answer_comes_with_the_ack() {
    let mut trunks = Trunks::new(|_, _| ());
    trunks.phone(
        CARRIER.parse().unwrap(),
        "carrier",
        WhenCalled::Answer(seconds(1)),
    );
    let caller = trunks.phone(PBX.parse().unwrap(), "pbx", WhenCalled::RingForever);
    let call = Action::CallWithoutOffer(format!("sip:2000@{SWITCH}"));
    trunks.world.plan(seconds(1), caller, call);
    trunks.world.plan(seconds(5), caller, Action::HangUp);
    trunks.run();
    assert!(trunks.sent("us", CARRIER, "INVITE")[0].body().is_empty());
    assert_eq!(
        sdp_port(&trunks.sent("us", PBX, "200")[0]),
        "192.0.2.1:20000"
    );
    assert_eq!(
        sdp_port(&trunks.sent("us", CARRIER, "ACK")[0]),
        "192.0.2.1:20002"
    );
    assert_eq!(trunks.cdr().release_text, "Orig: Bye");
}

#[test]
fn holds_of_both_sides_at_once_end_in_491_and_the_call_goes_on() {
    let mut trunks = Trunks::new(|_, _| ());
    let called = trunks.phone(
        CARRIER.parse().unwrap(),
        "carrier",
        WhenCalled::Answer(seconds(1)),
    );
    let caller = trunks.caller(PBX, 1);
    trunks.world.plan(seconds(5), caller, Action::Hold);
    trunks.world.plan(seconds(5), called, Action::Hold);
    trunks.world.plan(seconds(9), caller, Action::HangUp);
    trunks.run();
    let refused = trunks
        .world
        .events()
        .iter()
        .filter(|(_, event)| *event == PhoneEvent::OfferDone { status: 491 });
    assert!(refused.count() >= 1);
    assert_eq!(trunks.cdr().release_text, "Orig: Bye");
}

#[test]
fn busy_is_told_to_the_caller() {
    let mut trunks = Trunks::new(|_, _| ());
    let caller = trunks.call(WhenCalled::Refuse(486, seconds(1)));
    trunks.run();
    assert_eq!(trunks.status_of(caller), Some(486));
    let cdr = trunks.cdr();
    assert_eq!(
        (cdr.release_side, cdr.release_text.as_str()),
        (ReleaseSide::Term, "Term: Busy Here")
    );
    assert_eq!(
        (cdr.release_status, cdr.release_cause, cdr.answered_ms),
        (486, Some(17), None)
    );
}

#[test]
fn refusals_that_are_not_the_callers_business_are_translated() {
    for (from_carrier, to_caller) in [
        (302, 480),
        (401, 403),
        (407, 403),
        (500, 503),
        (503, 503),
        (404, 404),
        (603, 603),
    ] {
        let mut trunks = Trunks::new(|_, _| ());
        let caller = trunks.call(WhenCalled::Refuse(from_carrier, seconds(1)));
        trunks.run();
        assert_eq!(trunks.status_of(caller), Some(to_caller), "{from_carrier}");
    }
}

#[test]
fn a_caller_that_gives_up_cancels_the_called_side() {
    let mut trunks = Trunks::new(|_, _| ());
    let caller = trunks.call(WhenCalled::RingForever);
    trunks.world.plan(seconds(6), caller, Action::HangUp);
    trunks.run();
    assert_eq!(trunks.sent("us", CARRIER, "CANCEL").len(), 1);
    let cdr = trunks.cdr();
    assert_eq!(
        (cdr.release_status, cdr.release_text.as_str()),
        (487, "Orig: Cancel")
    );
}

#[test]
fn nobody_answers_for_three_minutes() {
    let mut trunks = Trunks::new(|_, _| ());
    let caller = trunks.call(WhenCalled::RingForever);
    trunks.run();
    assert_eq!(trunks.status_of(caller), Some(480));
    let cdr = trunks.cdr();
    assert_eq!(
        (cdr.release_side, cdr.release_text.as_str()),
        (ReleaseSide::Switch, "No Answer")
    );
    assert_eq!(
        (cdr.ended_ms - cdr.started_ms) / 1000,
        switch::MAX_RING_SECONDS as i64
    );
}

#[test]
fn a_carrier_that_is_not_there_costs_four_seconds() {
    let mut trunks = Trunks::new(|_, _| ());
    let caller = trunks.caller(PBX, 1);
    trunks.run();
    assert_eq!(trunks.status_of(caller), Some(503));
    let cdr = trunks.cdr();
    assert_eq!(cdr.release_text, "Term: no response");
    assert_eq!((cdr.ended_ms - cdr.started_ms) / 1000, 4);
}

#[test]
fn n_calls_fit_and_the_next_one_does_not() {
    let mut trunks = Trunks::new(|pbx, _| pbx.limits_max_active_calls_orig = 1);
    trunks.phone(CARRIER.parse().unwrap(), "carrier", WhenCalled::RingForever);
    let callers: Vec<usize> = (0..2)
        .map(|n| trunks.caller(&format!("198.51.100.1:506{n}"), 1 + n))
        .collect();
    for caller in &callers {
        trunks.world.plan(seconds(20), *caller, Action::HangUp);
    }
    let late = trunks.caller("198.51.100.1:5069", 30);
    trunks.world.plan(seconds(35), late, Action::HangUp);
    trunks.run();
    assert_eq!(trunks.status_of(callers[1]), Some(503));
    assert_eq!(trunks.status_of(late), None, "places are free again");
    let refusal = &trunks.sent("us", "198.51.100.1:5061", "503")[0];
    assert_eq!(
        refusal.header(Name::RetryAfter),
        None,
        "it would stop the peer's other calls too"
    );
    let texts: Vec<_> = trunks
        .world
        .cdrs()
        .iter()
        .map(|cdr| cdr.release_text.as_str())
        .collect();
    assert!(texts.contains(&"Connection limit"), "{texts:?}");
    assert_eq!(
        trunks.counters.now(Month::of(START_UNIX_MS)).max_this_month,
        1
    );
}

#[test]
fn a_full_target_is_a_503() {
    let mut trunks = Trunks::new(|_, carrier| carrier.limits_max_active_calls_total = 1);
    trunks.phone(CARRIER.parse().unwrap(), "carrier", WhenCalled::RingForever);
    let first = trunks.caller(PBX, 1);
    let second = trunks.caller("198.51.100.1:5061", 2);
    trunks.world.plan(seconds(9), first, Action::HangUp);
    trunks.run();
    assert_eq!(trunks.status_of(second), Some(503));
}

#[test]
fn a_connection_proves_itself_by_digest() {
    let with_password = |password: &str| {
        let mut trunks = Trunks::new(|pbx, _| {
            pbx.connection_require_sip_authentication_enabled = true;
            pbx.connection_sip_registration_username = "acme".into();
            pbx.connection_sip_registration_password = model::Secret::new("right");
        });
        trunks.credentials = Some(Arc::new(Credentials {
            username: "acme".into(),
            password: Secret::new(password),
            realm: None,
        }));
        let caller = trunks.call(WhenCalled::Answer(seconds(1)));
        trunks.world.plan(seconds(5), caller, Action::HangUp);
        trunks.run();
        (trunks, caller)
    };
    let (good, caller) = with_password("right");
    assert_eq!(good.status_of(caller), None);
    let challenge = &good.sent("us", PBX, "407")[0];
    let offered: Vec<&str> = challenge.headers(Name::ProxyAuthenticate).collect();
    assert!(
        offered[0].contains("MD5") && offered[1].contains("SHA-256"),
        "{offered:?}"
    );
    assert!(
        offered.iter().all(|value| value.contains("realm=\"pbx\"")),
        "{offered:?}"
    );
    assert_eq!(
        good.cdr().release_text,
        "Orig: Bye",
        "the challenge itself is no attempt"
    );

    let (bad, caller) = with_password("wrong");
    assert_eq!(bad.status_of(caller), Some(407));
    assert!(bad.sent("us", CARRIER, "INVITE").is_empty());
}

#[test]
fn a_stranger_is_refused_and_recorded() {
    let mut trunks = Trunks::new(|pbx, _| pbx.connection_orig_enabled = false);
    let caller = trunks.call(WhenCalled::Answer(seconds(1)));
    trunks.run();
    assert_eq!(trunks.status_of(caller), Some(403));
    let cdr = trunks.cdr();
    assert_eq!((cdr.release_status, cdr.term.is_none()), (403, true));
    assert!(
        cdr.decisions[0].contains("connection-orig-enabled is no"),
        "{:?}",
        cdr.decisions
    );
}

#[test]
fn the_relay_stays_out_where_it_is_told_to() {
    let mut trunks =
        Trunks::new(|_, carrier| carrier.connection_audio_relay_enabled = AudioRelay::Never);
    let caller = trunks.call(WhenCalled::Answer(seconds(1)));
    trunks.world.plan(seconds(5), caller, Action::HangUp);
    trunks.run();
    let came = &trunks.sent(PBX, "us", "INVITE")[0];
    let went = &trunks.sent("us", CARRIER, "INVITE")[0];
    assert_eq!(sdp_port(went), sdp_port(came));
    assert!(trunks.cdr().media.is_none());
}

#[test]
fn without_ports_there_is_no_call() {
    let mut trunks = Trunks::with_relays(0, |_, _| ());
    let caller = trunks.call(WhenCalled::Answer(seconds(1)));
    trunks.run();
    assert_eq!(trunks.status_of(caller), Some(503));
    assert_eq!(trunks.cdr().release_text, "No media relay: no ports left");
}

#[test]
fn silence_on_both_sides_ends_the_call() {
    let mut trunks = Trunks::new(|_, _| ());
    trunks.call(WhenCalled::Answer(seconds(1)));
    trunks.world.run(seconds(30));
    trunks.world.fall_silent();
    trunks.run();
    let cdr = trunks.cdr();
    assert_eq!(
        (cdr.release_side, cdr.release_text.as_str()),
        (ReleaseSide::Switch, "Media timeout")
    );
    for side in [PBX, CARRIER] {
        let bye = &trunks.sent("us", side, "BYE")[0];
        let reason = bye.header(Name::Reason).unwrap_or_default();
        assert!(
            reason.starts_with("Q.850") && reason.contains("cause=102"),
            "{reason}"
        );
    }
}

#[test]
fn shutting_down_refuses_new_calls_and_then_ends_the_others() {
    let mut trunks = Trunks::new(|_, _| ());
    trunks.call(WhenCalled::Answer(seconds(1)));
    trunks.world.run(seconds(10));
    trunks.world.tell_switch(|| Input::Drain {
        retry_after_seconds: 9,
    });
    let late = trunks.caller("198.51.100.1:5061", 12);
    trunks.world.run(seconds(20));
    assert_eq!(trunks.status_of(late), Some(503));
    let refusal = &trunks.sent("us", "198.51.100.1:5061", "503")[0];
    assert_eq!(refusal.header(Name::RetryAfter), Some("9"));
    assert_eq!(trunks.world.stats()[0].calls, 1, "the running call goes on");
    trunks.world.tell_switch(|| Input::HangUpAll);
    trunks.run();
    assert_eq!(trunks.cdr().release_text, "Shutting down");
}

#[test]
fn a_bye_of_the_called_side_reaches_the_caller() {
    let mut trunks = Trunks::new(|_, _| ());
    let called = trunks.phone(
        CARRIER.parse().unwrap(),
        "carrier",
        WhenCalled::Answer(seconds(1)),
    );
    trunks.caller(PBX, 1);
    trunks.world.plan(seconds(8), called, Action::HangUp);
    trunks.run();
    assert_eq!(trunks.sent("us", PBX, "BYE").len(), 1);
    assert_eq!(
        trunks.sent("us", PBX, "BYE")[0].method(),
        Some(&Method::Bye)
    );
    assert_eq!(trunks.cdr().release_side, ReleaseSide::Term);
}
