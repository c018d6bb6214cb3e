//! The three limits of a connection and the two of a domain: exact when everybody calls at once, on whatever shard, and free again however a
//! call ended.
//!
//! A trunk that all tenants share is called by their PBXs and calls them. Callers are phones; the called sides are
//! spoken for by the test, and what they do stands in the number that is dialled.

use model::counters::{ConnectionCounters, DomainCalls, DomainCounters, DomainLimits};
use model::datetime::Month;
use model::{Connection, DialPlan, DialRule, DialRuleApplication, Domain, RuleMatching};
use proptest::prelude::*;
use simulator::network::Weather;
use simulator::phone::{PhoneConfig, PhoneEvent, WhenCalled};
use simulator::world::{Action, START_UNIX_MS, SWITCH, World, WorldConfig};
use sip::message::{Message, Method, Name};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use switch::{DirectoryChange, DomainPart, Input};

/// Tenants, enough that their calls are on all shards.
const TENANTS: u16 = 6;
const SHARDS: u16 = 4;
const SHARED: &str = "198.51.100.200:5060";
const STEP: Duration = Duration::from_millis(5);

/// What a called side does. The number that is dialled says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Called {
    Answers,
    /// Answers, and hangs up two seconds later.
    HangsUp,
    Rings,
    IsBusy,
    /// Answers 503.
    Fails,
    /// Does not even say 100.
    IsSilent,
    /// Answers with a description that cannot be used.
    Mumbles,
}

impl Called {
    const ALL: [Self; 7] = [
        Self::Answers,
        Self::HangsUp,
        Self::Rings,
        Self::IsBusy,
        Self::Fails,
        Self::IsSilent,
        Self::Mumbles,
    ];

    fn number(self) -> String {
        let digit = Self::ALL.iter().position(|it| *it == self).unwrap();
        format!("2{digit}00")
    }

    fn of(number: &str) -> Self {
        Self::ALL[usize::from(number.as_bytes()[1] - b'0')]
    }
}

/// Which way a call uses the shared trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A tenant's PBX calls out through it.
    Out,
    /// It calls a tenant's PBX.
    In,
    /// A tenant's PBX calls another of the same tenant; the shared trunk has no part in it.
    Inside,
}

struct Exchange {
    world: World,
    /// Counters of the shared trunk.
    counters: Arc<ConnectionCounters>,
    /// Counters of the tenants.
    domains: Vec<Arc<DomainCounters>>,
    /// The shared trunk as it was made, to make it anew.
    trunk: Connection,
    now: Duration,
    /// Messages that the called sides have seen.
    seen: usize,
    answered: HashSet<String>,
    /// Called sides that hang up, and when: the INVITE they answered.
    hang_ups: Vec<(Duration, Message)>,
    phones: u16,
}

fn pbx_address(tenant: u16) -> String {
    format!("198.51.100.{}:5060", 100 + tenant)
}

fn rule(domain: &str, pattern: &str, host: &str) -> DialRule {
    DialRule {
        domain: domain.into(),
        dial_rule_dial_plan: "plan".into(),
        matching: RuleMatching::to(pattern),
        dial_rule_application: DialRuleApplication::ToConnection,
        dial_rule_translation_destination_host: host.into(),
        ..DialRule::default()
    }
}

impl Exchange {
    fn new(relays: usize, change: impl FnOnce(&mut Connection)) -> Self {
        let world = World::new(WorldConfig {
            seed: 5,
            weather: Weather::FAIR,
            shards: SHARDS,
            relays,
            rest_after: Duration::ZERO,
            keep_messages: true,
        });
        let counters = Arc::new(ConnectionCounters::default());
        let mut trunk = Connection {
            domain: "*".into(),
            connection_orig_match_pattern: "sip*@shared".into(),
            connection_address: SHARED.into(),
            dial_plan: "plan".into(),
            connection_is_carrier_trunk: true,
            ..Connection::default()
        };
        change(&mut trunk);
        let mut exchange = Self {
            world,
            counters,
            domains: (0..TENANTS).map(|_| Arc::default()).collect(),
            trunk,
            now: Duration::ZERO,
            seen: 0,
            answered: HashSet::new(),
            hang_ups: Vec::new(),
            phones: 0,
        };
        exchange.limit_domains(DomainLimits::default());
        exchange.write_trunk();
        exchange
    }

    /// Puts the tenants into the directory, with these limits and with the counters they have.
    fn limit_domains(&mut self, limits: DomainLimits) {
        for (tenant, counters) in self.domains.iter().enumerate() {
            let name = format!("d{tenant}");
            let domain = Domain {
                domain: name.clone(),
                limits_max_active_calls_total: limits.total,
                limits_max_active_calls_offnet: limits.offnet,
                ..Domain::default()
            };
            let pbx = |host: &str| Connection {
                domain: name.clone(),
                connection_orig_match_pattern: format!("sip*@{host}-{tenant}"),
                connection_address: pbx_address(tenant as u16),
                dial_plan: "plan".into(),
                ..Connection::default()
            };
            let inside = DialRule {
                dial_rule_translation_destination_user: "[!*]".into(),
                ..rule(&name, "sip:92*@*", &format!("second-{tenant}"))
            };
            let mut rules = ["sip:2*@*", "sip:911@*"]
                .map(|to| rule(&name, to, "shared"))
                .to_vec();
            rules.push(inside);
            let pbxs = vec![pbx("pbx"), pbx("second")];
            let plan = DialPlan::new(name.clone(), "plan", "");
            let (mut part, problems) =
                DomainPart::build(&name, Some(domain), pbxs, vec![plan], rules, |_| {
                    Arc::default()
                });
            part.counters = Arc::clone(counters);
            assert!(problems.is_empty(), "{problems:?}");
            self.world.change(&DirectoryChange::Swap(Arc::new(part)));
        }
    }

    /// Puts the shared trunk into the directory, with the counters it has.
    fn write_trunk(&mut self) {
        // The trunk dials the tenant in front of the number.
        let rules = (0..TENANTS).map(|tenant| DialRule {
            dial_rule_translation_destination_user: "[!*]".into(),
            ..rule("*", &format!("sip:{tenant}2*@*"), &format!("pbx-{tenant}"))
        });
        let rules = rules.chain([rule("*", "sip:911@*", "pbx-0")]);
        let plan = DialPlan::new("*", "plan", "");
        let counters = Arc::clone(&self.counters);
        let (part, problems) = DomainPart::build(
            "*",
            None,
            vec![self.trunk.clone()],
            vec![plan],
            rules.collect(),
            |_| Arc::clone(&counters),
        );
        assert!(problems.is_empty(), "{problems:?}");
        self.world.change(&DirectoryChange::Swap(Arc::new(part)));
    }

    /// A call at a moment, hung up at another. Returns the caller's phone.
    fn call(&mut self, at: Duration, way: Way, called: Called, until: Option<Duration>) -> usize {
        let tenant = self.phones % TENANTS;
        self.call_of(tenant, at, way, called, until)
    }

    /// The same for a certain tenant.
    fn call_of(
        &mut self,
        tenant: u16,
        at: Duration,
        way: Way,
        called: Called,
        until: Option<Duration>,
    ) -> usize {
        let number = match way {
            Way::Out => called.number(),
            Way::In => format!("{tenant}{}", called.number()),
            Way::Inside => format!("9{}", called.number()),
        };
        self.dial(tenant, at, way, &number, until)
    }

    fn call_number(
        &mut self,
        at: Duration,
        way: Way,
        number: &str,
        until: Option<Duration>,
    ) -> usize {
        self.dial(self.phones % TENANTS, at, way, number, until)
    }

    fn dial(
        &mut self,
        tenant: u16,
        at: Duration,
        way: Way,
        number: &str,
        until: Option<Duration>,
    ) -> usize {
        self.phones += 1;
        let port = 6_000 + self.phones;
        let (domain, address) = match way {
            Way::Out | Way::Inside => {
                let address = format!("198.51.100.{}:{port}", 100 + tenant);
                (format!("pbx-{tenant}"), address)
            }
            Way::In => ("shared".to_owned(), format!("198.51.100.200:{port}")),
        };
        let sip: SocketAddr = address.parse().unwrap();
        let phone = self.world.add(PhoneConfig {
            name: "Ann".into(),
            user: format!("1{:03}", self.phones),
            domain,
            sip,
            rtp: SocketAddr::new(sip.ip(), 20_000 + 2 * self.phones),
            peer: SWITCH,
            tone_hz: 0.0,
            credentials: None,
            when_called: WhenCalled::RingForever,
            seed: u64::from(self.phones) * 0x9e37_79b9,
        });
        let call = Action::Call(format!("sip:{number}@{SWITCH}"));
        self.world.plan(at, phone, call);
        if let Some(until) = until {
            self.world.plan(until, phone, Action::HangUp);
        }
        phone
    }

    /// An INVITE of a caller that says nothing more.
    fn call_and_forget(&mut self, way: Way) {
        let (host, number) = match way {
            Way::Out | Way::Inside => ("pbx-0", Called::Answers.number()),
            Way::In => ("shared", format!("0{}", Called::Answers.number())),
        };
        let (from, body) = ("198.51.100.99:6000", sdp("RTP/AVP 0"));
        let text = format!(
            "INVITE sip:{number}@{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK1\r\n\
             Max-Forwards: 70\r\nFrom: <sip:1000@{host}>;tag=1\r\nTo: <sip:{number}@{SWITCH}>\r\nCall-ID: forgotten\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:1000@{from}>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.world.say(from.parse().unwrap(), text);
    }

    /// Lets time pass while the called sides do what they are there for. After each step `watch` looks at the
    /// counters of the shared trunk.
    fn run(&mut self, until: Duration, mut watch: impl FnMut((u32, u32))) {
        while self.now < until {
            self.now += STEP;
            self.world.run(self.now);
            self.speak();
            watch(self.counters.current());
        }
    }

    fn speak(&mut self) {
        let new: Vec<(SocketAddr, Message)> = self.world.messages()[self.seen..]
            .iter()
            .filter(|sent| sent.from == SWITCH && sent.to.port() == 5060)
            .filter_map(|sent| Some((sent.to, sent.message()?)))
            .collect();
        self.seen = self.world.messages().len();
        for (at, request) in new {
            let key = request.call_id().to_owned();
            match request.method() {
                Some(Method::Invite) if request.to().tag().is_none() => {
                    self.on_called(at, &request);
                }
                Some(Method::Cancel) => {
                    self.answer(at, &request, "200 OK", None);
                    let invite = self.world.messages().iter().rev().find_map(|sent| {
                        let message = sent.message()?;
                        let is_it = sent.to == at
                            && message.method() == Some(&Method::Invite)
                            && *message.call_id() == key;
                        is_it.then_some(message)
                    });
                    let invite = invite.expect("what is cancelled was sent");
                    self.answer(at, &invite, "487 Request Terminated", None);
                }
                Some(Method::Ack) | None => {}
                Some(_) => self.answer(at, &request, "200 OK", None),
            }
        }
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.hang_ups)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.hang_ups = later;
        for (_, invite) in due as Vec<(Duration, Message)> {
            let call_id = invite.call_id();
            let text = format!(
                "BYE sip:{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {SHARED};branch=z9hG4bKbye{call_id}\r\n\
                 Max-Forwards: 70\r\nFrom: {};tag=called\r\nTo: {}\r\nCall-ID: {call_id}\r\nCSeq: 1 BYE\r\n\
                 Content-Length: 0\r\n\r\n",
                invite.header(Name::To).unwrap(),
                invite.header(Name::From).unwrap(),
            );
            self.world.say(SHARED.parse().unwrap(), text);
        }
    }

    fn on_called(&mut self, at: SocketAddr, invite: &Message) {
        let number = invite.uri().unwrap().user().unwrap().to_owned();
        let called = Called::of(&number);
        let again = !self.answered.insert(invite.call_id().to_string());
        match called {
            Called::Answers | Called::HangsUp => {
                self.answer(at, invite, "200 OK", Some(sdp("RTP/AVP 0")));
                if called == Called::HangsUp && !again {
                    let when = self.now + Duration::from_secs(2);
                    self.hang_ups.push((when, invite.clone()));
                }
            }
            Called::Rings => self.answer(at, invite, "180 Ringing", None),
            Called::IsBusy => self.answer(at, invite, "486 Busy Here", None),
            Called::Fails => self.answer(at, invite, "503 Service Unavailable", None),
            Called::Mumbles => self.answer(at, invite, "200 OK", Some("v=0\r\nnonsense".into())),
            Called::IsSilent => {}
        }
    }

    fn answer(&mut self, at: SocketAddr, request: &Message, status: &str, body: Option<String>) {
        let to = request.header(Name::To).unwrap();
        let tag = if request.to().tag().is_some() {
            ""
        } else {
            ";tag=called"
        };
        let body = body.unwrap_or_default();
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:called@{at}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            request.header(Name::Via).unwrap(),
            request.header(Name::From).unwrap(),
            request.call_id(),
            request.cseq(),
            body.len(),
        );
        self.world.say(at, text);
    }

    fn answered(&self, phone: usize) -> bool {
        let mut events = self.world.events().iter();
        events.any(|(index, event)| *index == phone && *event == PhoneEvent::Answered)
    }

    fn status_of(&self, phone: usize) -> Option<u16> {
        let mut events = self.world.events().iter();
        events.find_map(|(index, event)| match event {
            PhoneEvent::Failed { status } if *index == phone => Some(*status),
            _ => None,
        })
    }

    /// How many of these callers were refused with this status.
    fn refused(&self, callers: &[usize], status: u16) -> usize {
        let refused = callers.iter();
        let refused = refused.filter(|caller| self.status_of(**caller) == Some(status));
        refused.count()
    }

    /// Shards that hold a call.
    fn shards_in_use(&self) -> usize {
        self.world.stats().iter().filter(|it| it.calls > 0).count()
    }
}

fn sdp(profile: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\nm=audio 40000 {profile}\r\n"
    )
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Twenty calls at the same moment where five have room.
fn five_of_twenty(ways: [Way; 2], limit: fn(&mut Connection)) {
    let mut exchange = Exchange::new(1_000, limit);
    let callers: Vec<usize> = (0..20)
        .map(|n| exchange.call(ms(100), ways[n % 2], Called::Answers, Some(ms(9_000))))
        .collect();
    let mut most = 0;
    exchange.run(ms(8_000), |(orig, term)| most = most.max(orig + term));
    assert_eq!(most, 5);
    assert!(
        exchange.shards_in_use() > 1,
        "the calls are on several shards"
    );
    let answered = callers.iter().filter(|it| exchange.answered(**it)).count();
    let refused = callers
        .iter()
        .filter(|it| exchange.status_of(**it) == Some(503));
    assert_eq!((answered, refused.count()), (5, 15));
    let limited = exchange.world.cdrs().iter();
    let limited = limited.filter(|cdr| cdr.release_text == "Connection limit");
    assert_eq!(limited.count(), 15, "and their records say why");

    // When all are gone there is room for five again.
    exchange.run(ms(20_000), |_| ());
    assert_eq!(exchange.counters.current(), (0, 0));
    let later: Vec<usize> = (0..6)
        .map(|n| exchange.call(ms(21_000), ways[n % 2], Called::Answers, Some(ms(25_000))))
        .collect();
    exchange.run(ms(40_000), |_| ());
    let answered = later.iter().filter(|it| exchange.answered(**it)).count();
    assert_eq!(answered, 5);
    let now = exchange.counters.now(Month::of(START_UNIX_MS));
    assert_eq!(now.max_this_month, 5);
    assert_eq!(now.orig_since_startup + now.term_since_startup, 10);
}

#[test]
fn of_many_calls_at_once_as_many_pass_as_the_orig_limit_says() {
    five_of_twenty([Way::In, Way::In], |trunk| {
        trunk.limits_max_active_calls_orig = 5
    });
}

#[test]
fn of_many_calls_at_once_as_many_pass_as_the_term_limit_says() {
    five_of_twenty([Way::Out, Way::Out], |trunk| {
        trunk.limits_max_active_calls_term = 5
    });
}

#[test]
fn the_total_limit_counts_both_directions_together() {
    five_of_twenty([Way::In, Way::Out], |trunk| {
        trunk.limits_max_active_calls_total = 5
    });
}

/// Twenty calls of one domain at the same moment, half of them from the outside, where five have room.
#[test]
fn of_many_calls_at_once_a_domain_gets_as_many_as_its_limits_say() {
    for limits in [
        DomainLimits {
            total: 5,
            offnet: 0,
        },
        DomainLimits {
            total: 0,
            offnet: 5,
        },
        DomainLimits {
            total: 8,
            offnet: 5,
        },
    ] {
        let mut exchange = Exchange::new(1_000, |_| ());
        exchange.limit_domains(limits);
        let caller = |exchange: &mut Exchange, at, way| {
            exchange.call_of(0, ms(at), way, Called::Answers, Some(ms(at + 8_900)))
        };
        let inwards: Vec<_> = (0..10)
            .map(|_| caller(&mut exchange, 100, Way::In))
            .collect();
        let out: Vec<_> = (0..10)
            .map(|_| caller(&mut exchange, 100, Way::Out))
            .collect();
        let others: Vec<_> = (1..TENANTS)
            .map(|n| exchange.call_of(n, ms(100), Way::Out, Called::Answers, Some(ms(9_000))))
            .collect();
        let domain = Arc::clone(&exchange.domains[0]);
        let mut most = DomainCalls::default();
        exchange.run(ms(8_000), |_| {
            let now = domain.now();
            most.total = most.total.max(now.total);
            most.offnet = most.offnet.max(now.offnet);
        });
        assert_eq!((most.total, most.offnet), (5, 5), "{limits:?}");
        assert!(
            others.iter().all(|it| exchange.answered(*it)),
            "each domain has limits of its own"
        );
        let all: Vec<_> = inwards.iter().chain(&out).copied().collect();
        assert_eq!(all.iter().filter(|it| exchange.answered(**it)).count(), 5);
        // A carrier hears of a callee that is busy, never that we are out of order.
        assert_eq!(exchange.refused(&inwards, 503), 0);
        assert_eq!(exchange.refused(&out, 486), 0);
        assert_eq!(
            exchange.refused(&inwards, 486) + exchange.refused(&out, 503),
            15
        );
        let limited = exchange.world.cdrs().iter();
        let limited =
            limited.filter(|cdr| cdr.release_text == "Domain limit" && cdr.domain == "d0");
        assert_eq!(limited.count(), 15, "and their records say why");

        exchange.run(ms(20_000), |_| ());
        assert_eq!(domain.now(), DomainCalls::default());
        let later: Vec<_> = [Way::In, Way::Out, Way::Out, Way::In, Way::In, Way::Out]
            .map(|way| caller(&mut exchange, 21_000, way))
            .to_vec();
        exchange.run(ms(40_000), |_| ());
        assert_eq!(later.iter().filter(|it| exchange.answered(**it)).count(), 5);
    }
}

/// What makes one domain's limit a matter of several shards: a carrier's calls belong to it only once they are routed.
#[test]
fn a_domain_limit_holds_across_shards() {
    let mut exchange = Exchange::new(1_000, |_| ());
    exchange.limit_domains(DomainLimits {
        total: 7,
        offnet: 0,
    });
    for n in 0..40 {
        let way = [Way::In, Way::Out, Way::Inside][n % 3];
        exchange.call_of(0, ms(100), way, Called::Answers, Some(ms(9_000)));
    }
    exchange.run(ms(8_000), |_| ());
    assert_eq!(exchange.domains[0].now().total, 7);
    let held: Vec<usize> = exchange.world.stats().iter().map(|it| it.calls).collect();
    assert_eq!(held.iter().sum::<usize>(), 7, "{held:?}");
    assert!(exchange.shards_in_use() > 1, "{held:?}");
    exchange.run(ms(20_000), |_| ());
    assert_eq!(exchange.domains[0].now(), DomainCalls::default());
}

#[test]
fn calls_inside_a_domain_count_for_its_total_alone() {
    let mut exchange = Exchange::new(100, |_| ());
    exchange.limit_domains(DomainLimits {
        total: 4,
        offnet: 1,
    });
    let mut call = |at, way| exchange.call_of(0, ms(at), way, Called::Answers, Some(ms(9_000)));
    let inside = [call(100, Way::Inside), call(200, Way::Inside)];
    let outside = [call(300, Way::Out), call(400, Way::Out), call(500, Way::In)];
    let more = [call(600, Way::Inside), call(700, Way::Inside)];
    exchange.run(ms(3_000), |_| ());
    assert!(inside.iter().all(|it| exchange.answered(*it)));
    let statuses = outside.map(|it| exchange.status_of(it));
    assert_eq!(statuses, [None, Some(503), Some(486)]);
    assert_eq!(more.map(|it| exchange.status_of(it)), [None, Some(503)]);
    let calls = exchange.domains[0].now();
    assert_eq!((calls.total, calls.offnet), (4, 1));
}

#[test]
fn a_call_for_help_has_a_place_in_a_domain_that_is_full() {
    for limits in [
        DomainLimits {
            total: 1,
            offnet: 0,
        },
        DomainLimits {
            total: 0,
            offnet: 1,
        },
    ] {
        for (way, status) in [(Way::In, 486), (Way::Out, 503)] {
            let mut exchange = Exchange::new(100, |_| ());
            exchange.limit_domains(limits);
            exchange.call_of(0, ms(100), way, Called::Answers, None);
            let refused = exchange.call_of(0, ms(1_000), way, Called::Answers, None);
            let help = exchange.dial(0, ms(2_000), way, "911", None);
            exchange.run(ms(3_000), |_| ());
            assert_eq!(exchange.status_of(refused), Some(status));
            assert!(exchange.answered(help), "{way:?} {limits:?}");
            assert_eq!(exchange.domains[0].now().total, 2, "and it counts");
        }
    }
}

#[test]
fn each_limit_is_about_its_own_direction() {
    for (way, other, limit) in [
        (
            Way::In,
            Way::Out,
            (|trunk| trunk.limits_max_active_calls_orig = 1) as fn(&mut Connection),
        ),
        (Way::Out, Way::In, |trunk| {
            trunk.limits_max_active_calls_term = 1
        }),
    ] {
        let mut exchange = Exchange::new(100, limit);
        let callers = [way, way, other, other]
            .map(|way| exchange.call(ms(100), way, Called::Answers, Some(ms(5_000))));
        exchange.run(ms(4_000), |_| ());
        let answered = callers.map(|caller| exchange.answered(caller));
        assert_eq!(answered.iter().filter(|it| **it).count(), 3, "{way:?}");
        assert!(answered[2] && answered[3], "nothing limits {other:?}");
    }
}

#[test]
fn lowering_a_limit_ends_no_call_and_counts_for_the_next() {
    let mut exchange = Exchange::new(100, |trunk| trunk.limits_max_active_calls_term = 3);
    for _ in 0..3 {
        exchange.call(ms(100), Way::Out, Called::Answers, Some(ms(9_000)));
    }
    exchange.run(ms(2_000), |_| ());
    exchange.trunk.limits_max_active_calls_term = 1;
    exchange.write_trunk();
    let next = exchange.call(ms(2_500), Way::Out, Called::Answers, None);
    exchange.run(ms(5_000), |_| ());
    assert_eq!(exchange.counters.current(), (0, 3));
    assert_eq!(exchange.status_of(next), Some(503));
}

#[test]
fn a_call_for_help_has_a_place_even_where_all_are_taken() {
    for way in [Way::In, Way::Out] {
        let mut exchange = Exchange::new(100, |trunk| {
            trunk.limits_max_active_calls_orig = 1;
            trunk.limits_max_active_calls_term = 1;
            trunk.limits_max_active_calls_total = 1;
        });
        exchange.call(ms(100), way, Called::Answers, None);
        let refused = exchange.call(ms(1_000), way, Called::Answers, None);
        let help = exchange.call_number(ms(2_000), way, "911", None);
        let mut most = 0;
        exchange.run(ms(3_000), |(orig, term)| most = most.max(orig + term));
        assert_eq!(exchange.status_of(refused), Some(503));
        assert!(exchange.answered(help), "{way:?}");
        assert_eq!(most, 2, "and it counts");
    }
}

/// Every way a call can end, as far as the place it held is concerned.
#[test]
fn a_place_is_free_again_however_the_call_ended() {
    #[derive(Debug, Clone, Copy)]
    enum End {
        /// By what the called side does.
        Called(Called),
        /// The caller hangs up, or gives up.
        CallerLeaves(Called),
        MediaTimeout,
        HangUpAll,
        /// The caller dies before it acknowledges the answer.
        NoAck,
        /// There is no port left for the call.
        NoRelay,
    }
    use Called::{Answers, Fails, HangsUp, IsBusy, IsSilent, Mumbles, Rings};
    for end in [
        End::Called(HangsUp),
        End::Called(IsBusy),
        End::Called(Fails),
        End::Called(IsSilent),
        End::Called(Mumbles),
        // Nobody answers for three minutes.
        End::Called(Rings),
        End::CallerLeaves(Answers),
        End::CallerLeaves(Rings),
        End::CallerLeaves(IsSilent),
        End::MediaTimeout,
        End::HangUpAll,
        End::NoAck,
        End::NoRelay,
    ] {
        for way in [Way::In, Way::Out] {
            let relays = if matches!(end, End::NoRelay) { 0 } else { 100 };
            let mut exchange = Exchange::new(relays, |trunk| {
                trunk.limits_max_active_calls_orig = 1;
                trunk.limits_max_active_calls_term = 1;
                trunk.limits_max_active_calls_total = 1;
            });
            exchange.limit_domains(DomainLimits {
                total: 1,
                offnet: 1,
            });
            let (called, until) = match end {
                End::Called(called) => (called, None),
                End::CallerLeaves(called) => (called, Some(ms(2_000))),
                _ => (Answers, None),
            };
            if matches!(end, End::NoAck) {
                exchange.call_and_forget(way);
            } else {
                exchange.call(ms(100), way, called, until);
            }
            let mut most = 0;
            exchange.run(ms(3_000), |(orig, term)| most = most.max(orig + term));
            match end {
                End::MediaTimeout => exchange.world.fall_silent(),
                End::HangUpAll => exchange.world.tell_switch(|| Input::HangUpAll),
                _ => {}
            }
            if !matches!(end, End::NoRelay) {
                assert_eq!(most, 1, "{end:?} {way:?}");
            }
            exchange.run(ms(200_000), |_| ());
            assert_eq!(exchange.counters.current(), (0, 0), "{end:?} {way:?}");
            let calls = exchange.domains[0].now();
            assert_eq!(calls, DomainCalls::default(), "{end:?} {way:?}");
            assert_eq!(exchange.world.cdrs().len(), 1, "{end:?} {way:?}");
            if relays > 0 {
                let next = exchange.call_of(0, ms(201_000), way, Answers, None);
                exchange.run(ms(203_000), |_| ());
                assert!(exchange.answered(next), "{end:?} {way:?}");
            }
        }
    }
}

#[test]
fn after_a_start_no_place_is_taken() {
    let mut exchange = Exchange::new(100, |trunk| trunk.limits_max_active_calls_total = 2);
    for way in [Way::In, Way::Out] {
        exchange.call(ms(100), way, Called::Answers, None);
    }
    exchange.run(ms(2_000), |_| ());
    assert_eq!(exchange.counters.current(), (1, 1));
    // The process dies, and with it all its calls; counters are made anew.
    exchange.counters = Arc::default();
    exchange.write_trunk();
    exchange.world.restart();
    let later = [Way::In, Way::Out, Way::Out]
        .map(|way| exchange.call(ms(3_000), way, Called::Answers, None));
    exchange.run(ms(5_000), |_| ());
    let answered = later.map(|caller| exchange.answered(caller));
    assert_eq!(answered.iter().filter(|it| **it).count(), 2);
    let now = exchange.counters.now(Month::of(START_UNIX_MS));
    assert_eq!(now.orig_since_startup + now.term_since_startup, 2);
}

fn script() -> impl Strategy<Value = (u64, bool, usize, u64)> {
    // When, which way, what the called side does, how long until the caller leaves.
    (
        0..4_000u64,
        any::<bool>(),
        0..Called::ALL.len(),
        1..6_000u64,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_limit_is_ever_exceeded_and_nothing_is_left(
        [orig, term, total] in [0..5u32, 0..5, 0..6],
        calls in prop::collection::vec(script(), 1..40),
    ) {
        let mut exchange = Exchange::new(1_000, |trunk| {
            trunk.limits_max_active_calls_orig = orig;
            trunk.limits_max_active_calls_term = term;
            trunk.limits_max_active_calls_total = total;
        });
        let mut callers = HashMap::new();
        for (at, inwards, called, length) in calls {
            let way = if inwards { Way::In } else { Way::Out };
            let (at, until) = (ms(at), Some(ms(at + length)));
            let caller = exchange.call(at, way, Called::ALL[called], until);
            callers.insert(caller, way);
        }
        let within = |limit: u32, used: u32| limit == 0 || used <= limit;
        let mut exceeded = Vec::new();
        exchange.run(ms(60_000), |(o, t)| {
            if !(within(orig, o) && within(term, t) && within(total, o + t)) {
                exceeded.push((o, t));
            }
        });
        prop_assert!(exceeded.is_empty(), "{exceeded:?}");
        prop_assert_eq!(exchange.counters.current(), (0, 0));
        if (orig, term, total) == (0, 0, 0) {
            let limited = exchange.world.cdrs().iter();
            prop_assert_eq!(limited.filter(|cdr| cdr.release_text == "Connection limit").count(), 0);
        }
        // Each call has one record, and each that had no place is said to have had none.
        prop_assert_eq!(exchange.world.cdrs().len(), callers.len());
        let now = exchange.counters.now(Month::of(START_UNIX_MS));
        let taken = now.orig_since_startup + now.term_since_startup;
        let limited = exchange.world.cdrs().iter();
        let limited = limited.filter(|cdr| cdr.release_text == "Connection limit").count() as u64;
        prop_assert_eq!(taken + limited, callers.len() as u64);
    }
}
