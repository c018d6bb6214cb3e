//! Calls with several connections to try: what each of them sees, what the caller sees, what the record says.

use crate::records::{fair_world, phone, put_tenant, rule, run_to_rest, trunk};
use model::counters::ConnectionCounters;
use model::{AudioRelay, Cdr, Connection, DialPolicy, Route, RouteConnection, RouteMethod};
use simulator::phone::{PhoneEvent, WhenCalled};
use simulator::world::{Action, SWITCH, World};
use sip::message::{Message, Name};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use switch::{DirectoryChange, DomainPart};

const PBX: &str = "198.51.100.1:5060";
const FIRST: &str = "198.51.100.2:5060";
const SECOND: &str = "198.51.100.3:5060";
const OK: WhenCalled = WhenCalled::Answer(Duration::from_secs(1));

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn refuses(status: u16) -> WhenCalled {
    WhenCalled::Refuse(status, Duration::from_millis(100))
}

/// A PBX, and a route with two carriers.
struct Carriers {
    world: World,
    counters: [Arc<ConnectionCounters>; 2],
    phones: u16,
}

impl Carriers {
    fn new(change: impl FnOnce(&mut Connection, &mut [Connection; 2])) -> Self {
        let mut world = fair_world(5, 100);
        let mut pbx = trunk("d1", "pbx", PBX);
        let mut carriers = [trunk("*", "first", FIRST), trunk("*", "second", SECOND)];
        change(&mut pbx, &mut carriers);
        let counters: [Arc<ConnectionCounters>; 2] = Default::default();
        let counters_of = |c: &Connection| match c.connection_orig_match_pattern.as_str() {
            "sip*@first" => Arc::clone(&counters[0]),
            "sip*@second" => Arc::clone(&counters[1]),
            _ => Arc::default(),
        };
        let rules = vec![rule("*", "<OwnDomain>")];
        put_tenant(&mut world, vec![pbx], rules, counters_of);
        let (mut part, _) = DomainPart::build(
            "*",
            None,
            carriers.into(),
            Vec::new(),
            Vec::new(),
            counters_of,
        );
        let routes = ["sip:2*@*", "sip:911@*"].map(|to| Route::new(to, RouteMethod::Fixed));
        let ways = routes.iter().flat_map(|route| {
            let ways = ["first", "second"].iter().zip(1..);
            ways.map(move |(host, index)| {
                RouteConnection::new(route.matching.clone(), index, *host)
            })
        });
        let ways = ways.collect();
        assert!(part.add_routes(routes.to_vec(), ways).is_empty());
        part.add_policies(vec![DialPolicy::new("*", "Nobody", "")], Vec::new());
        world.change(&DirectoryChange::Swap(Arc::new(part)));
        Self {
            world,
            counters,
            phones: 0,
        }
    }

    fn phone(&mut self, address: &str, domain: &str, when_called: WhenCalled) -> usize {
        let sip: SocketAddr = address.parse().unwrap();
        self.phones += 1;
        self.world
            .add(phone(sip, domain, 30_000 + 2 * self.phones, when_called))
    }

    /// Carriers that do this; `None` is one that does not exist.
    fn carriers(&mut self, first: Option<WhenCalled>, second: Option<WhenCalled>) {
        for (address, when_called) in [(FIRST, first), (SECOND, second)] {
            if let Some(when_called) = when_called {
                self.phone(address, "carrier", when_called);
            }
        }
    }

    /// A call after so many seconds, hung up ten seconds later.
    fn call(&mut self, at: u64) -> usize {
        self.call_for(at, seconds(10))
    }

    fn call_for(&mut self, at: u64, how_long: Duration) -> usize {
        self.dial(at, "2000", how_long)
    }

    fn dial(&mut self, at: u64, number: &str, how_long: Duration) -> usize {
        let ip = 10 + self.phones;
        let address = format!("198.51.100.{ip}:5060");
        let phone = self.phone(&address, "pbx", WhenCalled::RingForever);
        let to = format!("sip:{number}@{SWITCH}");
        self.world.plan(seconds(at), phone, Action::Call(to));
        self.world
            .plan(seconds(at) + how_long, phone, Action::HangUp);
        phone
    }

    fn rest(&mut self) {
        run_to_rest(&mut self.world, seconds(900));
        assert_eq!(self.world.open_relays(), 0);
        for counters in &self.counters {
            assert_eq!(counters.current(), (0, 0));
        }
    }

    fn cdr(&self) -> &Cdr {
        let [cdr] = self.world.cdrs() else {
            panic!("one record, not {:?}", self.world.cdrs())
        };
        cdr
    }

    /// Messages of a method or status from us to an address.
    fn to(&self, address: &str, what: &str) -> Vec<Message> {
        let to: SocketAddr = address.parse().unwrap();
        let messages = self.world.messages().iter();
        messages
            .filter(|sent| sent.from == SWITCH && sent.to == to)
            .filter_map(|sent| sent.message())
            .filter(|message| match message.status() {
                Some(status) => status.to_string() == what,
                None => message.method().is_some_and(|m| m.as_str() == what),
            })
            .collect()
    }

    /// What the phone heard at the end of a call that was not answered.
    fn status_of(&self, phone: usize) -> Option<u16> {
        self.world
            .events()
            .iter()
            .find_map(|(index, event)| match event {
                PhoneEvent::Failed { status } if *index == phone => Some(*status),
                _ => None,
            })
    }

    fn answered(&self, phone: usize) -> bool {
        self.world.events().contains(&(phone, PhoneEvent::Answered))
    }

    /// Lets an address where no phone is answer the INVITE it got, with headers and body of the test's own.
    fn say(&mut self, address: &str, line: &str, more: &str) {
        let invite = self.to(address, "INVITE").pop().expect("an INVITE came");
        let via = invite.header(Name::Via).unwrap();
        let text = format!(
            "SIP/2.0 {line}\r\nVia: {via}\r\nFrom: {}\r\nTo: {};tag=raw\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:raw@{address}>\r\n{more}",
            invite.from(),
            invite.to(),
            invite.call_id(),
            invite.cseq()
        );
        self.world.say(address.parse().unwrap(), text);
    }
}

fn audio_port(message: &Message) -> String {
    let body = String::from_utf8_lossy(message.body()).into_owned();
    let line = body.lines().find(|line| line.starts_with("m=audio"));
    line.and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default()
        .to_owned()
}

fn attempts(cdr: &Cdr) -> Vec<&str> {
    let of_stage = |stage: &'static str| move |line: &&String| line.starts_with(stage);
    let lines = cdr.decisions.iter();
    lines
        .filter(of_stage("attempt"))
        .map(String::as_str)
        .collect()
}

const NO_BODY: &str = "Content-Length: 0\r\n\r\n";

#[test]
fn the_second_carrier_gets_what_the_first_could_not_do() {
    for status in [500, 503, 403, 408] {
        let mut world = Carriers::new(|_, _| ());
        world.carriers(Some(refuses(status)), Some(OK));
        let caller = world.call(1);
        world.rest();
        assert!(world.answered(caller), "{status}");
        let (first, second) = (world.to(FIRST, "INVITE"), world.to(SECOND, "INVITE"));
        assert_eq!((first.len(), second.len()), (1, 1));
        // Two dialogs, one relay.
        assert_ne!(first[0].call_id(), second[0].call_id());
        assert_eq!(audio_port(&first[0]), audio_port(&second[0]));
        assert_eq!(second[0].uri_text(), format!("sip:2000@{SECOND}"));
        let cdr = world.cdr();
        let term = cdr.term.as_ref().unwrap();
        assert_eq!(
            term.connection_orig_match_pattern.as_deref(),
            Some("sip*@second")
        );
        assert_eq!(term.call_id, second[0].call_id().to_string());
        assert_eq!(attempts(cdr).len(), 1, "{:?}", cdr.decisions);
        assert!(attempts(cdr)[0].ends_with("[connection */sip*@first]"));
        assert_eq!(cdr.release_text, "Orig: Bye");
    }
}

#[test]
fn a_carrier_that_says_nothing_costs_four_seconds() {
    let mut world = Carriers::new(|_, _| ());
    world.carriers(None, Some(OK));
    let caller = world.call(1);
    world.rest();
    assert!(world.answered(caller));
    let at = |to: &str| {
        let to: SocketAddr = to.parse().unwrap();
        let sent = world.world.messages().iter();
        sent.filter(|sent| sent.from == SWITCH && sent.to == to)
            .map(|sent| sent.after)
            .next()
            .unwrap()
    };
    let waited = at(SECOND) - at(FIRST);
    assert!(
        waited > Duration::from_millis(3_900) && waited < seconds(5),
        "{waited:?}"
    );
}

#[test]
fn what_speaks_of_the_called_party_ends_the_search() {
    for status in [404, 480, 484, 486, 488, 603] {
        let mut world = Carriers::new(|_, _| ());
        world.carriers(Some(refuses(status)), Some(OK));
        let caller = world.call(1);
        world.rest();
        assert_eq!(world.status_of(caller), Some(status));
        assert!(world.to(SECOND, "INVITE").is_empty(), "{status}");
    }
}

#[test]
fn a_cause_says_more_than_a_status() {
    for (line, cause, second_is_tried) in [
        ("503 Service Unavailable", 17, false),
        ("480 Temporarily Unavailable", 34, true),
    ] {
        let mut world = Carriers::new(|_, _| ());
        world.carriers(None, Some(OK));
        let caller = world.call(1);
        world.world.run(seconds(2));
        let reason = format!("Reason: Q.850;cause={cause}\r\n{NO_BODY}");
        world.say(FIRST, line, &reason);
        world.rest();
        assert_eq!(world.answered(caller), second_is_tried, "{line} {cause}");
        assert_eq!(
            world.to(SECOND, "INVITE").len(),
            usize::from(second_is_tried)
        );
        if !second_is_tried {
            assert_eq!(world.cdr().release_cause, Some(17));
        }
    }
}

#[test]
fn nobody_follows_a_voice_that_was_heard() {
    let sdp = "v=0\r\no=- 1 1 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let with_sdp = format!(
        "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    for (first, body, second_is_tried) in [
        ("183 Session Progress", with_sdp.as_str(), false),
        // Ringing without a voice: the caller notices nothing of the change.
        ("180 Ringing", NO_BODY, true),
    ] {
        let mut world = Carriers::new(|_, _| ());
        world.carriers(None, Some(OK));
        let caller = world.call(1);
        world.world.run(seconds(2));
        world.say(FIRST, first, body);
        world.world.run(seconds(1));
        world.say(FIRST, "503 Service Unavailable", NO_BODY);
        world.rest();
        assert_eq!(world.answered(caller), second_is_tried, "{first}");
        assert_eq!(
            world.to(SECOND, "INVITE").len(),
            usize::from(second_is_tried)
        );
        if !second_is_tried {
            assert_eq!(world.status_of(caller), Some(503));
        }
    }
}

#[test]
fn when_all_fail_the_caller_hears_what_says_most() {
    for (first, second, heard) in [
        (Some(403), Some(503), 403),
        (Some(503), Some(403), 403),
        (Some(503), None, 503),
        (Some(503), Some(486), 486),
        (Some(403), None, 403),
    ] {
        let mut world = Carriers::new(|_, _| ());
        world.carriers(first.map(refuses), second.map(refuses));
        let caller = world.call(1);
        world.rest();
        assert_eq!(world.status_of(caller), Some(heard), "{first:?} {second:?}");
        assert_eq!(world.cdr().release_status, heard);
        assert_eq!(attempts(world.cdr()).len(), 2);
    }
}

#[test]
fn a_full_carrier_is_passed_over_and_its_place_is_given_back() {
    let mut world = Carriers::new(|_, [first, _]| first.limits_max_active_calls_term = 1);
    world.carriers(Some(OK), Some(OK));
    let callers = [world.call(1), world.call(2), world.call(30)];
    world.rest();
    assert!(callers.iter().all(|caller| world.answered(*caller)));
    let carried = |pattern: &str| {
        let by = |cdr: &&Cdr| {
            let term = cdr.term.as_ref();
            term.and_then(|term| term.connection_orig_match_pattern.as_deref()) == Some(pattern)
        };
        world.world.cdrs().iter().filter(by).count()
    };
    assert_eq!((carried("sip*@first"), carried("sip*@second")), (2, 1));

    let full = |_: &mut Connection, carriers: &mut [Connection; 2]| {
        carriers
            .iter_mut()
            .for_each(|c| c.limits_max_active_calls_term = 1);
    };
    let mut world = Carriers::new(full);
    world.carriers(Some(OK), Some(OK));
    let callers = [world.call(1), world.call(2), world.call(3)];
    world.rest();
    assert_eq!(world.status_of(callers[2]), Some(503));
    let cdrs = world.world.cdrs().iter();
    assert!(
        cdrs.clone()
            .any(|cdr| cdr.release_text == "Connection limit")
    );
}

#[test]
fn an_attempt_that_failed_holds_no_place() {
    let mut world = Carriers::new(|_, [first, _]| first.limits_max_active_calls_term = 1);
    world.carriers(Some(refuses(500)), Some(OK));
    let caller = world.call(1);
    world.world.run(seconds(5));
    assert!(world.answered(caller), "the second carrier has it");
    let up = world.counters.each_ref().map(|c| c.current().1);
    assert_eq!(up, [0, 1]);
    world.rest();
}

#[test]
fn three_outages_put_a_carrier_aside_until_it_answers_options() {
    let mut world = Carriers::new(|_, _| ());
    world.carriers(Some(refuses(503)), Some(OK));
    let callers: Vec<usize> = [1, 4, 7, 10, 30]
        .map(|at| world.call_for(at, Duration::from_millis(2_500)))
        .into();
    world.rest();
    assert!(callers.iter().all(|caller| world.answered(*caller)));
    // The fourth call does not ask it. The phone answers OPTIONS, so that the fifth does again.
    assert_eq!(world.to(FIRST, "INVITE").len(), 4);
    assert_eq!(world.to(FIRST, "OPTIONS").len(), 1);
    let passed_over = |cdr: &&Cdr| {
        cdr.decisions
            .iter()
            .any(|line| line.contains("passed over"))
    };
    assert_eq!(world.world.cdrs().iter().filter(passed_over).count(), 1);
}

#[test]
fn a_call_for_help_tries_carriers_in_quarantine_when_no_other_is_left() {
    let mut world = Carriers::new(|_, _| ());
    world.carriers(Some(refuses(503)), Some(refuses(503)));
    for at in [1, 2, 3] {
        world.call(at);
    }
    let other = world.call(5);
    let help = world.dial(6, "911", seconds(10));
    world.world.run(seconds(9));
    // Three calls put both aside: an ordinary one is not even tried.
    assert_eq!(world.status_of(other), Some(503));
    let uris = |to: &str| -> Vec<String> {
        let invites = world.to(to, "INVITE");
        invites.iter().map(|it| it.uri_text().to_owned()).collect()
    };
    for to in [FIRST, SECOND] {
        let ordinary = format!("sip:2000@{to}");
        let emergency = format!("sip:911@{to}");
        let expected = [&ordinary, &ordinary, &ordinary, &emergency];
        assert_eq!(uris(to).iter().collect::<Vec<_>>(), expected);
    }
    assert_eq!(world.status_of(help), Some(503));
    let cdrs = world.world.cdrs().iter();
    let texts: Vec<&str> = cdrs.map(|cdr| cdr.release_text.as_str()).collect();
    assert_eq!(texts[3], "All connections failed of late", "{texts:?}");
    let decisions = &world.world.cdrs()[4].decisions;
    let why = decisions.iter().filter(|it| it.starts_with("quarantine"));
    for line in why.clone() {
        assert!(line.contains("comes after all others, for this is an emergency call"));
    }
    assert_eq!(why.count(), 2, "{decisions:?}");
}

#[test]
fn a_call_for_help_goes_to_a_carrier_that_works_first() {
    let mut world = Carriers::new(|_, _| ());
    world.carriers(Some(refuses(503)), Some(OK));
    for at in [1, 4, 7] {
        world.call_for(at, seconds(2));
    }
    let help = world.dial(10, "911", seconds(3));
    world.world.run(seconds(14));
    assert!(world.answered(help));
    assert_eq!(world.to(FIRST, "INVITE").len(), 3, "it was not needed");
    assert_eq!(world.to(SECOND, "INVITE").len(), 4);
}

#[test]
fn a_carrier_that_stays_silent_comes_back_by_itself() {
    let mut world = Carriers::new(|_, _| ());
    world.carriers(None, Some(OK));
    for at in [1, 2, 3, 20, 60] {
        world.call(at);
    }
    world.rest();
    let calls: std::collections::BTreeSet<_> = world
        .to(FIRST, "INVITE")
        .iter()
        .map(|invite| invite.call_id().to_string())
        .collect();
    assert_eq!(
        calls.len(),
        4,
        "the call after twenty seconds does not ask it"
    );
    assert!(!world.to(FIRST, "OPTIONS").is_empty());
}

#[test]
fn a_caller_who_gives_up_ends_the_search() {
    let mut world = Carriers::new(|_, _| ());
    world.carriers(None, Some(WhenCalled::RingForever));
    let caller = world.phone(PBX, "pbx", WhenCalled::RingForever);
    let to = format!("sip:2000@{SWITCH}");
    world.world.plan(seconds(1), caller, Action::Call(to));
    world.world.plan(seconds(3), caller, Action::HangUp);
    world.rest();
    assert!(world.to(SECOND, "INVITE").is_empty());
    assert_eq!(world.cdr().release_text, "Orig: Cancel");
}

#[test]
fn a_carrier_whose_media_go_another_way_gets_relays_of_its_own() {
    let direct = |_: &mut Connection, [first, _]: &mut [Connection; 2]| {
        first.connection_audio_relay_enabled = AudioRelay::Never;
    };
    let mut world = Carriers::new(direct);
    world.carriers(Some(refuses(500)), Some(OK));
    let caller = world.call(1);
    world.rest();
    assert!(world.answered(caller));
    let body = |address| {
        let invite = world.to(address, "INVITE").remove(0);
        String::from_utf8_lossy(invite.body()).into_owned()
    };
    assert!(
        !body(FIRST).contains("c=IN IP4 192.0.2.1"),
        "{}",
        body(FIRST)
    );
    assert!(
        body(SECOND).contains("c=IN IP4 192.0.2.1"),
        "{}",
        body(SECOND)
    );
    assert!(world.cdr().media.is_some());

    // And the other way round: the relay of the first attempt is closed.
    let second = |_: &mut Connection, [_, second]: &mut [Connection; 2]| {
        second.connection_audio_relay_enabled = AudioRelay::Never;
    };
    let mut world = Carriers::new(second);
    world.carriers(Some(refuses(500)), Some(OK));
    let caller = world.call(1);
    world.rest();
    assert!(world.answered(caller));
}

#[test]
fn a_policy_that_denies_refuses_the_call() {
    let mut world = Carriers::new(|pbx, _| pbx.dial_policy = "Nobody".into());
    world.carriers(Some(OK), Some(OK));
    let caller = world.call(1);
    world.rest();
    assert_eq!(world.status_of(caller), Some(403));
    assert!(world.to(FIRST, "INVITE").is_empty());
    let cdr = world.cdr();
    assert_eq!(cdr.release_text, "Dial policy");
    let says = |line: &String| line.starts_with("dial policy:");
    assert!(cdr.decisions.iter().any(says), "{:?}", cdr.decisions);
}
