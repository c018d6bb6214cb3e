//! Peers that are asked with OPTIONS: when, by whom, and what becomes of calls to those that do not answer.

use crate::records::{phone, put_tenant, rule, trunk};
use model::{
    Binding, Connection, ConnectionKey, ExplainRequest, Explanation, ReachabilityState, Route,
    RouteConnection, RouteMethod,
};
use simulator::network::Weather;
use simulator::phone::{PhoneEvent, WhenCalled};
use simulator::world::{Action, START_UNIX_MS, SWITCH, World, WorldConfig};
use sip::message::{Message, Method, ResponseDraft};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use switch::plan::PlanContext;
use switch::{DirectoryChange, DomainPart, PINGS_PER_SECOND};

const FIRST: &str = "198.51.100.2:5060";
const SECOND: &str = "198.51.100.3:5060";
const PBX: &str = "198.51.100.1:5060";
const TURN: Duration = Duration::from_millis(100);
const INTERVAL: Duration = Duration::from_secs(60);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A switch that asks, and peers whose answers the test gives.
struct Yard {
    world: World,
    seen: usize,
    phones: u16,
}

impl Yard {
    fn new(shards: u16, interval: Option<Duration>) -> Self {
        let config = WorldConfig {
            seed: 3,
            weather: Weather::FAIR,
            shards,
            relays: 10,
            rest_after: Duration::ZERO,
            keep_messages: true,
        };
        Self {
            world: World::pinging(config, interval),
            seen: 0,
            phones: 0,
        }
    }

    /// A PBX, and a route over two carriers.
    fn routed(shards: u16) -> Self {
        let mut yard = Self::new(shards, Some(INTERVAL));
        let mut pbx = trunk("d1", "pbx", PBX);
        pbx.connection_term_enabled = false;
        let rules = vec![rule("*", "<OwnDomain>")];
        put_tenant(&mut yard.world, vec![pbx], rules, |_| Arc::default());
        yard.carriers(vec![
            trunk("*", "first", FIRST),
            trunk("*", "second", SECOND),
        ]);
        yard
    }

    fn carriers(&mut self, carriers: Vec<Connection>) {
        let (mut part, _) =
            DomainPart::build("*", None, carriers, vec![], vec![], |_| Arc::default());
        let routes = ["sip:2*@*", "sip:911@*"].map(|to| Route::new(to, RouteMethod::Fixed));
        let ways = routes.iter().flat_map(|route| {
            let ways = ["first", "second"].iter().zip(1..);
            ways.map(move |(host, index)| {
                RouteConnection::new(route.matching.clone(), index, *host)
            })
        });
        let ways = ways.collect();
        assert!(part.add_routes(routes.to_vec(), ways).is_empty());
        self.world.change(&DirectoryChange::Swap(Arc::new(part)));
    }

    /// Runs until then; `answer` says what an address answers to OPTIONS, if anything.
    fn run(&mut self, until: Duration, answer: impl Fn(SocketAddr) -> Option<u16>) {
        while self.world.elapsed() < until {
            let next = (self.world.elapsed() + TURN).min(until);
            if self.world.run(next) {
                return;
            }
            let new: Vec<(SocketAddr, Message)> = self.world.messages()[self.seen..]
                .iter()
                .filter(|sent| sent.from == SWITCH)
                .filter_map(|sent| Some((sent.to, sent.message()?)))
                .collect();
            self.seen = self.world.messages().len();
            for (to, message) in new {
                if message.method() == Some(&Method::Options)
                    && let Some(status) = answer(to)
                {
                    let response = ResponseDraft::new(status).print(&message);
                    self.world.say(to, response);
                }
            }
        }
    }

    /// When each address was asked, without repetitions.
    fn asked(&self) -> BTreeMap<SocketAddr, Vec<Duration>> {
        let mut asked: BTreeMap<SocketAddr, Vec<Duration>> = BTreeMap::new();
        let mut last = BTreeMap::new();
        for sent in self.world.messages() {
            let Some(message) = sent.message().filter(|_| sent.from == SWITCH) else {
                continue;
            };
            if message.method() != Some(&Method::Options) {
                continue;
            }
            let call_id = message.call_id().to_string();
            if last.insert(sent.to, call_id.clone()) != Some(call_id) {
                asked.entry(sent.to).or_default().push(sent.after);
            }
        }
        asked
    }

    fn states(&self) -> Vec<(String, ReachabilityState, Option<u16>)> {
        let reports = self.world.reachability().iter();
        reports
            .map(|(_, it)| {
                let pattern = it.connection.connection_orig_match_pattern.clone();
                (pattern, it.state, it.status)
            })
            .collect()
    }

    /// One more call of the PBX, answered by whoever gets it.
    fn call(&mut self, at: Duration) -> usize {
        self.dial(at, "2000")
    }

    fn dial(&mut self, at: Duration, number: &str) -> usize {
        self.phones += 1;
        let sip: SocketAddr = format!("198.51.100.1:{}", 6000 + self.phones)
            .parse()
            .unwrap();
        let phone = self
            .world
            .add(phone(sip, "pbx", 30_000, WhenCalled::RingForever));
        let to = format!("sip:{number}@{SWITCH}");
        self.world.plan(at, phone, Action::Call(to));
        self.world.plan(at + seconds(5), phone, Action::HangUp);
        phone
    }

    fn explain(&self) -> Explanation {
        self.explain_call("2000")
    }

    fn explain_call(&self, number: &str) -> Explanation {
        let interfaces = [sip::endpoint::Interface {
            transport: sip::transport::Transport::Udp,
            local: SWITCH,
            advertise: "192.0.2.1".into(),
            port: 5060,
            alternate: false,
        }];
        let context = PlanContext {
            unix_ms: START_UNIX_MS,
            interfaces: &interfaces,
            ringback: None,
            hostname: "switch.example",
            draw: 0,
        };
        let question = ExplainRequest {
            from: "sip:1001@pbx".into(),
            to: format!("sip:{number}@192.0.2.1"),
            ..ExplainRequest::default()
        };
        let directory = self.world.directory(0).unwrap();
        switch::explain(directory, &question, context).unwrap()
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn up(_: SocketAddr) -> Option<u16> {
    Some(200)
}

#[test]
fn nobody_is_asked_unless_the_operator_wants_it() {
    let mut yard = Yard::new(1, None);
    yard.carriers(vec![trunk("*", "first", FIRST)]);
    yard.run(seconds(300), up);
    assert!(yard.asked().is_empty());
    assert_eq!(yard.world.stats()[0].pinged, [0, 0, 0]);
}

#[test]
fn many_trunks_are_asked_one_after_the_other_and_each_in_its_time() {
    let mut yard = Yard::new(2, Some(INTERVAL));
    let trunks = (0..1_000)
        .map(|n| {
            trunk(
                "*",
                &format!("t{n}"),
                &format!("198.51.{}.{}", n / 250, n % 250),
            )
        })
        .collect();
    yard.carriers(trunks);
    yard.run(seconds(200), up);
    let asked = yard.asked();
    assert_eq!(asked.len(), 1_000, "both shards together ask each");
    let mut per_second: BTreeMap<u64, u32> = BTreeMap::new();
    for times in asked.values() {
        assert!(times[0] <= INTERVAL + seconds(1), "{times:?}");
        assert_eq!(times.len(), times.len().clamp(3, 4));
        for pair in times.windows(2) {
            let wait = (pair[1] - pair[0]).as_secs_f64();
            assert!((53.9..67.0).contains(&wait), "{wait}");
        }
        let waits: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.windows(2).any(|two| two[0] != two[1]), "by chance");
        for time in times {
            *per_second.entry(time.as_secs()).or_default() += 1;
        }
    }
    // A thousand in a minute is seventeen a second.
    let most = per_second.values().copied().max().unwrap();
    assert!(most < 40, "{per_second:?}");
    let stats = yard.world.stats();
    let pinged: usize = stats.iter().map(|stats| stats.pinged[1]).sum();
    assert_eq!(pinged, 1_000);
}

#[test]
fn an_interval_that_is_too_short_for_all_gets_longer() {
    let mut yard = Yard::new(1, Some(seconds(5)));
    let trunks = (0..2_000)
        .map(|n| {
            trunk(
                "*",
                &format!("t{n}"),
                &format!("198.51.{}.{}", n / 250, n % 250),
            )
        })
        .collect();
    yard.carriers(trunks);
    yard.run(seconds(30), up);
    let mut per_second: BTreeMap<u64, u32> = BTreeMap::new();
    for time in yard.asked().into_values().flatten() {
        *per_second.entry(time.as_secs()).or_default() += 1;
    }
    assert!(
        per_second
            .values()
            .all(|count| *count <= PINGS_PER_SECOND + 1),
        "{per_second:?}"
    );
}

#[test]
fn routes_pass_over_a_carrier_that_stopped_answering_until_it_does_again() {
    // Two shards: one of them asks the first carrier, the other has to be told.
    for shards in [1, 2, 3] {
        let mut yard = Yard::routed(shards);
        let second_answers = WhenCalled::Answer(seconds(1));
        yard.world
            .add(phone(address(SECOND), "carrier", 30_000, second_answers));
        yard.run(seconds(70), up);
        let mut states = yard.states();
        states.sort();
        let up_now = |name: &str| (format!("sip*@{name}"), ReachabilityState::Up, Some(200));
        assert_eq!(states, [up_now("first"), up_now("second")]);
        assert!(!yard.asked().contains_key(&address(PBX)), "never called");

        let second_alone = |who: SocketAddr| (who == address(SECOND)).then_some(200);
        yard.run(seconds(160), second_alone);
        let down = ("sip*@first".to_owned(), ReachabilityState::Down, None);
        assert_eq!(yard.states().last(), Some(&down));
        let explanation = yard.explain();
        assert!(
            explanation.outcome.contains("sip*@second"),
            "{}",
            explanation.outcome
        );
        let step = explanation
            .steps
            .iter()
            .find(|step| step.stage == "options");
        assert!(
            step.unwrap()
                .text
                .contains("has not answered OPTIONS since 2026-11-20 12:0")
        );

        let caller = yard.call(seconds(161));
        yard.run(seconds(175), second_alone);
        assert!(
            yard.world
                .events()
                .contains(&(caller, PhoneEvent::Answered))
        );
        let cdr = &yard.world.cdrs()[0];
        let term = cdr.term.as_ref().unwrap();
        assert_eq!(
            term.connection_orig_match_pattern.as_deref(),
            Some("sip*@second")
        );
        let why = cdr
            .decisions
            .iter()
            .find(|line| line.starts_with("options"));
        assert!(
            why.unwrap().contains("is passed over"),
            "{:?}",
            cdr.decisions
        );

        // It is asked every ten seconds while it is down, so it is soon back.
        yard.world
            .add(phone(address(FIRST), "carrier", 30_000, second_answers));
        yard.run(seconds(190), up);
        let back = ("sip*@first".to_owned(), ReachabilityState::Up, Some(200));
        assert_eq!(yard.states().last(), Some(&back));
        yard.call(seconds(191));
        yard.run(seconds(205), up);
        let term = yard.world.cdrs()[1].term.as_ref().unwrap();
        assert_eq!(
            term.connection_orig_match_pattern.as_deref(),
            Some("sip*@first"),
            "{:#?}",
            yard.world.cdrs()[1].decisions
        );
    }
}

#[test]
fn when_all_of_a_route_are_down_the_caller_hears_503() {
    let mut yard = Yard::routed(1);
    yard.run(seconds(70), up);
    yard.run(seconds(170), |_| None);
    assert_eq!(yard.world.stats()[0].pinged, [0, 0, 2]);
    let caller = yard.call(seconds(171));
    yard.run(seconds(180), |_| None);
    let failed = PhoneEvent::Failed { status: 503 };
    assert!(yard.world.events().contains(&(caller, failed)));
    assert_eq!(
        yard.world.cdrs()[0].release_text,
        "No connection answers OPTIONS"
    );
    let explanation = yard.explain();
    assert_eq!(explanation.refused_with, Some(503));
}

#[test]
fn a_call_for_help_tries_peers_that_do_not_answer_options_last() {
    let mut yard = Yard::routed(1);
    let refuses = WhenCalled::Refuse(503, Duration::from_millis(100));
    yard.world
        .add(phone(address(SECOND), "carrier", 30_000, refuses));
    let second_alone = |who| (who == address(SECOND)).then_some(200);
    yard.run(seconds(70), up);
    yard.run(seconds(160), second_alone);
    assert_eq!(yard.world.stats()[0].pinged, [0, 1, 1]);
    let invites = |yard: &Yard| -> Vec<String> {
        let sent = yard.world.messages().iter();
        let invites = sent
            .filter(|sent| sent.from == SWITCH)
            .filter_map(|sent| sent.message())
            .filter(|message| message.method() == Some(&Method::Invite));
        let mut uris: Vec<String> = invites.map(|it| it.uri_text().to_owned()).collect();
        uris.dedup();
        uris
    };
    let ordinary = yard.dial(seconds(161), "2000");
    yard.run(seconds(163), second_alone);
    assert_eq!(invites(&yard), [format!("sip:2000@{SECOND}")]);
    let failed = PhoneEvent::Failed { status: 503 };
    assert!(yard.world.events().contains(&(ordinary, failed)));

    yard.dial(seconds(164), "911");
    yard.run(seconds(180), second_alone);
    let tried = [
        format!("sip:2000@{SECOND}"),
        format!("sip:911@{SECOND}"),
        format!("sip:911@{FIRST}"),
    ];
    assert_eq!(invites(&yard), tried);
    let cdr = &yard.world.cdrs()[1];
    let mut lines = cdr.decisions.iter();
    let why = lines.find(|line| line.starts_with("options"));
    let last = "comes after all others, for this is an emergency call";
    assert!(why.unwrap().contains(last), "{:?}", cdr.decisions);

    let explanation = yard.explain_call("911");
    let step = explanation.steps.iter().find(|it| it.stage == "options");
    assert!(step.unwrap().text.contains(last));
    let outcome = &explanation.outcome;
    assert!(
        outcome.starts_with("The call goes to connection */sip*@second")
            && outcome.ends_with("Should that fail: connection */sip*@first."),
        "{outcome}"
    );
}

#[test]
fn a_peer_that_registered_is_asked_where_it_came_from() {
    let mut yard = Yard::new(1, Some(INTERVAL));
    let pbx = trunk("*", "first", "");
    let key = pbx.key();
    yard.carriers(vec![pbx]);
    yard.run(seconds(70), up);
    assert!(yard.asked().is_empty(), "there is no way to it");
    let source = address("203.0.113.9:41000");
    let binding = Binding {
        contact: "sip:line1@10.0.0.5:5070;ob".into(),
        via: "10.0.0.5:5070".into(),
        transport: "UDP".into(),
        received: source,
        interface: 0,
        stream: None,
        call_id: "c".into(),
        cseq: 1,
        registered_ms: START_UNIX_MS,
        expires_ms: START_UNIX_MS + 3_600_000,
    };
    yard.world.change(&DirectoryChange::Binding {
        connection: key,
        binding: Some(Arc::new(binding)),
    });
    yard.run(seconds(140), up);
    assert_eq!(yard.asked().into_keys().collect::<Vec<_>>(), [source]);
    let asked = yard.world.messages().iter().find(|sent| sent.to == source);
    let uri = asked.unwrap().message().unwrap().uri_text().to_owned();
    assert_eq!(uri, "sip:line1@10.0.0.5:5070;ob");
    assert_eq!(yard.world.stats()[0].pinged, [0, 1, 0]);
}

#[test]
fn one_that_never_answered_stays_in_use() {
    let mut yard = Yard::routed(1);
    yard.world.add(phone(
        address(FIRST),
        "carrier",
        30_000,
        WhenCalled::Answer(seconds(1)),
    ));
    // The phone at the first address would answer OPTIONS; a firewall of the carrier drops them.
    yard.carriers(vec![
        trunk("*", "first", "198.51.100.77"),
        trunk("*", "second", SECOND),
    ]);
    yard.run(seconds(400), |who| (who == address(SECOND)).then_some(200));
    assert!(yard.states().iter().all(|(name, ..)| name == "sip*@second"));
    yard.call(seconds(401));
    yard.run(seconds(403), |_| None);
    let invited = yard.world.messages().iter().any(|sent| {
        sent.to == address("198.51.100.77:5060")
            && sent
                .message()
                .is_some_and(|it| it.method() == Some(&Method::Invite))
    });
    assert!(invited, "it is tried as if nobody had asked");
}

#[test]
fn a_refusal_is_an_answer_and_an_outage_is_none() {
    for (status, state) in [
        (405, ReachabilityState::Up),
        (403, ReachabilityState::Up),
        (503, ReachabilityState::Down),
        (408, ReachabilityState::Down),
    ] {
        let mut yard = Yard::routed(1);
        yard.run(seconds(70), up);
        yard.run(seconds(170), |who| {
            Some(if who == address(FIRST) { status } else { 200 })
        });
        let last = yard.states().pop().unwrap();
        let (name, now, with) = match state {
            ReachabilityState::Down => ("sip*@first", state, Some(status)),
            _ => (last.0.as_str(), ReachabilityState::Up, Some(200)),
        };
        assert_eq!(last, (name.to_owned(), now, with), "{status}");
    }
}

#[test]
fn a_change_of_the_address_begins_anew_and_other_changes_do_not() {
    let mut yard = Yard::routed(1);
    yard.run(seconds(70), up);
    yard.run(seconds(170), |who| (who == address(SECOND)).then_some(200));
    assert_eq!(yard.world.stats()[0].pinged, [0, 1, 1]);
    let mut first = trunk("*", "first", FIRST);
    first.description = "new".into();
    yard.carriers(vec![first, trunk("*", "second", SECOND)]);
    assert_eq!(yard.world.stats()[0].pinged, [0, 1, 1]);

    yard.carriers(vec![
        trunk("*", "first", "198.51.100.55"),
        trunk("*", "second", SECOND),
    ]);
    assert_eq!(yard.world.stats()[0].pinged, [1, 1, 0]);
    let key = ConnectionKey {
        domain: "*".into(),
        connection_orig_match_pattern: "sip*@first".into(),
    };
    let directory = yard.world.directory(0).unwrap();
    let connection = directory.connection(&key).unwrap();
    assert_eq!(directory.silent_since_ms(connection), None);
    yard.run(seconds(172), up);
    assert!(yard.asked().contains_key(&address("198.51.100.55:5060")));

    yard.carriers(vec![trunk("*", "second", SECOND)]);
    assert_eq!(yard.world.stats()[0].pinged, [0, 1, 0]);
}
