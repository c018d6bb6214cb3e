//! What a seed makes of a world, and what must hold at its end.

use crate::network::Weather;
use crate::phone::{PhoneConfig, PhoneEvent, WhenCalled};
use crate::world::{Action, Death, SWITCH, World, WorldConfig};
use model::counters::ConnectionCounters;
use model::{
    Connection, DialPlan, DialRule, DialRuleApplication, Route, RouteConnection, RouteMethod,
    RuleMatching,
};
use sip::endpoint::SessionInterval;
use sip::random::Random;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use switch::{DirectoryChange, DomainPart};

/// Simulated time after which everything must have come to rest.
const AT_MOST: Duration = Duration::from_secs(900);

/// One call of a scenario.
#[derive(Debug, Clone)]
pub struct CallScript {
    /// When it begins.
    pub at: Duration,
    /// What the called side does.
    pub when_called: WhenCalled,
    /// Whether the caller leaves the offer to the called side.
    pub late_offer: bool,
    /// When the caller hangs up, from the beginning.
    pub caller_hangs_up: Option<Duration>,
    /// When the called side hangs up, from the beginning.
    pub called_hangs_up: Option<Duration>,
    /// When the caller holds, and how long.
    pub hold: Option<(Duration, Duration)>,
    /// When the called side holds: near the caller's hold, this is glare.
    pub called_holds: Option<Duration>,
    /// Session timers of the caller and of the called side.
    pub timers: [Option<SessionInterval>; 2],
}

impl CallScript {
    fn of_seed(random: &mut Random) -> Self {
        let ms = |random: &mut Random, up_to: u64| Duration::from_millis(random.below(up_to));
        let at = ms(random, 3_000);
        let when_called = match random.below(10) {
            0 => WhenCalled::Refuse(486, ms(random, 3_000)),
            1 => WhenCalled::RingForever,
            _ => WhenCalled::Answer(ms(random, 4_000)),
        };
        // An interval this short is refused by the switch, and agreed on at its minimum.
        let timer = |random: &mut Random| {
            (random.below(4) == 0).then(|| SessionInterval {
                seconds: 20 + random.below(160) as u32,
                minimum_seconds: 20,
            })
        };
        let timers = [timer(random), timer(random)];
        // Every call is hung up by somebody: a call nobody ends would only test the clock.
        let end = if timers == [None, None] {
            ms(random, 20_000)
        } else {
            ms(random, 300_000)
        };
        let (caller_hangs_up, called_hangs_up) = match random.below(4) {
            0 => (Some(end + ms(random, 200)), Some(end + ms(random, 200))),
            1 => (Some(end + Duration::from_secs(60)), Some(end)),
            _ => (Some(end), None),
        };
        let hold = (random.below(3) == 0).then(|| (ms(random, 10_000), ms(random, 3_000)));
        let called_holds = match hold {
            Some((when, _)) if random.below(2) == 0 => Some(when + ms(random, 100)),
            _ => None,
        };
        Self {
            at,
            when_called,
            caller_hangs_up,
            called_hangs_up,
            hold,
            called_holds,
            timers,
            late_offer: random.below(5) == 0,
        }
    }
}

/// Who is tried before the carrier of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// Nobody: the destination names the carrier.
    None,
    /// A carrier that never says a word.
    Silent,
    /// A carrier that answers 503.
    Refuses,
}

impl First {
    fn of_seed(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::Silent,
            1 => Self::Refuses,
            _ => Self::None,
        }
    }
}

/// The result of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// What did not hold; empty is good.
    pub faults: Vec<String>,
    /// Calls that were answered on both ends.
    pub answered: usize,
    /// Calls made.
    pub calls: usize,
    /// How often a call outlived the process of the switch.
    pub resumed: usize,
    /// How often a call was laid to rest.
    pub rests: u64,
    /// How each call ended, by its record.
    pub releases: Vec<String>,
    /// The messages, when they were kept.
    pub ladder: Vec<String>,
}

/// Runs one seed.
pub fn run(seed: u64, keep_ladder: bool) -> Outcome {
    run_with(seed, keep_ladder, false, rest_of(seed))
}

/// The same, and calls are laid to rest so long after they began or woke.
pub fn run_resting(seed: u64, rest_after: Duration) -> Outcome {
    run_with(seed, true, false, rest_after)
}

/// Half of the seeds lay calls to rest whenever they can.
fn rest_of(seed: u64) -> Duration {
    if seed.is_multiple_of(2) {
        Duration::ZERO
    } else {
        switch::REST_AFTER
    }
}

/// The same, and the process of the switch dies now and then.
pub fn run_with_crashes(seed: u64, keep_ladder: bool) -> Outcome {
    run_with(seed, keep_ladder, true, rest_of(seed))
}

fn run_with(seed: u64, keep_ladder: bool, crashes: bool, rest_after: Duration) -> Outcome {
    let mut random = Random::new(seed);
    let weather = if random.below(8) == 0 {
        Weather::FAIR
    } else {
        Weather::of_seed(&mut random)
    };
    let shards = 1 + random.below(3) as u16;
    let scripts: Vec<CallScript> = (0..1 + random.below(5))
        .map(|_| CallScript::of_seed(&mut random))
        .collect();
    let config = WorldConfig {
        seed: random.next_u64(),
        weather,
        shards,
        relays: 2_000,
        rest_after,
        keep_messages: keep_ladder,
    };
    let crashes = match crashes {
        true => crashes_of(&mut random),
        false => Vec::new(),
    };
    run_scripts(config, &scripts, &crashes, &mut random)
}

/// When a process dies, where in its turn, and how long it takes until there is another one.
type Crash = (Duration, Death, Duration);

/// The shortest time in which a process is replaced. Whatever was on its way to the old one is lost by then.
const DEAD_MIN: Duration = Duration::from_millis(500);

fn crashes_of(random: &mut Random) -> Vec<Crash> {
    let crashes = 1 + random.below(3);
    let crash = |random: &mut Random| {
        // Half of them while calls begin, when there is most to lose.
        let within_ms = [8_000, 60_000][random.below(2) as usize];
        let death = match random.below(5) {
            0 => Death::Idle,
            1 => Death::Writing(random.below(3) as usize),
            2 => Death::Written,
            3 => Death::Recorded,
            _ => Death::Sending(random.below(3) as usize),
        };
        let at = Duration::from_millis(random.below(within_ms));
        let dead = DEAD_MIN + Duration::from_millis(random.below(4_500));
        (at, death, dead)
    };
    (0..crashes).map(|_| crash(random)).collect()
}

fn run_scripts(
    config: WorldConfig,
    scripts: &[CallScript],
    crashes: &[Crash],
    random: &mut Random,
) -> Outcome {
    let mut world = World::new(config);
    for (at, death, dead) in crashes {
        world.kill(*at, *death, *dead);
    }
    let firsts: Vec<First> = scripts.iter().map(|_| First::of_seed(random)).collect();
    let counters = tenants(&mut world, &firsts);
    let mut lines = Vec::new();
    for (index, script) in scripts.iter().enumerate() {
        let mut phone = |net: u8, user: String, when_called| {
            let ip = IpAddr::V4(Ipv4Addr::new(198, 51, 100, net));
            let sip = SocketAddr::new(ip, 5060 + index as u16);
            PhoneConfig {
                name: user.clone(),
                user,
                domain: if net == 1 {
                    format!("pbx-{}", index % DOMAINS)
                } else {
                    "carrier".to_owned()
                },
                sip,
                rtp: SocketAddr::new(ip, 30_000 + 2 * index as u16),
                peer: SWITCH,
                tone_hz: 0.0,
                credentials: None,
                when_called,
                seed: random.next_u64(),
            }
        };
        let caller = phone(1, format!("100{index}"), WhenCalled::RingForever);
        let called = phone(2, format!("200{index}"), script.when_called);
        let (caller, called) = (world.add(caller), world.add(called));
        if let First::Refuses = firsts[index] {
            let refusing = phone(
                3,
                format!("200{index}"),
                WhenCalled::Refuse(503, Duration::ZERO),
            );
            world.add(refusing);
        }
        lines.push((caller, called));
        for (phone, timer) in [caller, called].into_iter().zip(script.timers) {
            if let Some(interval) = timer {
                world.time_sessions(phone, interval);
            }
        }
        let at = script.at;
        let to = format!("sip:200{index}@{SWITCH}");
        let call = if script.late_offer {
            Action::CallWithoutOffer(to)
        } else {
            Action::Call(to)
        };
        world.plan(at, caller, call);
        if let Some(when) = script.caller_hangs_up {
            world.plan(at + when, caller, Action::HangUp);
        }
        if let Some(when) = script.called_hangs_up {
            world.plan(at + when, called, Action::HangUp);
        }
        if let Some((when, how_long)) = script.hold {
            world.plan(at + when, caller, Action::Hold);
            world.plan(at + when + how_long, caller, Action::Resume);
        }
        if let Some(when) = script.called_holds {
            world.plan(at + when, called, Action::Hold);
        }
    }
    let rested = world.run(AT_MOST);
    let mut faults = check(&world, &lines, &counters);
    if !rested {
        faults.push(format!(
            "still busy after {} simulated seconds",
            AT_MOST.as_secs()
        ));
    }
    let answered = lines
        .iter()
        .filter(|(caller, _)| happened(&world, *caller, &PhoneEvent::Answered))
        .count();
    Outcome {
        faults,
        answered,
        calls: lines.len(),
        resumed: world.restored().iter().map(|report| report.resumed).sum(),
        rests: world.stats().iter().map(|stats| stats.rests).sum(),
        releases: world
            .cdrs()
            .iter()
            .map(|cdr| cdr.release_text.clone())
            .collect(),
        ladder: world.ladder(),
    }
}

/// Tenants of a world: enough that calls spread over the shards.
const DOMAINS: usize = 3;

/// Whether the calls of a tenant's PBX are recorded.
fn is_recorded(domain: usize) -> bool {
    domain == 1
}

type AllCounters = HashMap<(String, String), Arc<ConnectionCounters>>;

/// Domains `d0` … with a PBX each, whose plan sends every number to the carrier phone of its call.
fn tenants(world: &mut World, firsts: &[First]) -> AllCounters {
    let calls = firsts.len();
    let mut all: AllCounters = HashMap::new();
    let mut counters = |record: &Connection| {
        let key = (
            record.domain.clone(),
            record.connection_orig_match_pattern.clone(),
        );
        Arc::clone(all.entry(key).or_default())
    };
    for domain in 0..DOMAINS {
        let name = format!("d{domain}");
        let pbx = Connection {
            domain: name.clone(),
            connection_orig_match_pattern: format!("sip*@pbx-{domain}"),
            connection_record_all_calls_enabled: is_recorded(domain),
            ..Connection::default()
        };
        let rules = (0..calls).map(|call| DialRule {
            domain: name.clone(),
            dial_rule_dial_plan: name.clone(),
            matching: RuleMatching::to(format!("sip:200{call}@*")),
            dial_rule_application: DialRuleApplication::ToConnection,
            dial_rule_translation_destination_host: match firsts[call] {
                First::None => format!("carrier-{call}"),
                // A host of our own is looked up among the routes.
                First::Silent | First::Refuses => "<OwnDomain>".to_owned(),
            },
            ..DialRule::default()
        });
        let plan = DialPlan::new(name.clone(), name.clone(), String::new());
        let (part, problems) = DomainPart::build(
            &name,
            None,
            vec![pbx],
            vec![plan],
            rules.collect(),
            &mut counters,
        );
        assert!(problems.is_empty(), "{problems:?}");
        world.change(&DirectoryChange::Swap(Arc::new(part)));
    }
    let connection = |name: &str, net: u8, call: usize| Connection {
        domain: "*".to_owned(),
        connection_orig_match_pattern: format!("sip*@{name}-{call}"),
        connection_address: format!("198.51.100.{net}:{}", 5060 + call),
        ..Connection::default()
    };
    let carriers = (0..calls).flat_map(|call| {
        [
            connection("carrier", 2, call),
            connection("broken", 3, call),
        ]
    });
    let (mut part, problems) = DomainPart::build(
        "*",
        None,
        carriers.collect(),
        Vec::new(),
        Vec::new(),
        &mut counters,
    );
    assert!(problems.is_empty(), "{problems:?}");
    let routes: Vec<Route> = (0..calls)
        .map(|call| Route::new(format!("sip:200{call}@*"), RouteMethod::Fixed))
        .collect();
    let ways = routes.iter().enumerate().flat_map(|(call, route)| {
        let hosts = [format!("broken-{call}"), format!("carrier-{call}")];
        let way = |(host, index)| RouteConnection::new(route.matching.clone(), index, host);
        hosts.into_iter().zip(1..).map(way).collect::<Vec<_>>()
    });
    let ways = ways.collect();
    let problems = part.add_routes(routes, ways);
    assert!(problems.is_empty(), "{problems:?}");
    world.change(&DirectoryChange::Swap(Arc::new(part)));
    all
}

/// What must hold when everything is over.
fn check(world: &World, lines: &[(usize, usize)], counters: &AllCounters) -> Vec<String> {
    let mut faults = Vec::new();
    for (shard, stats) in world.stats().iter().enumerate() {
        let left = [
            ("calls", stats.calls + stats.calls_released),
            ("relays", stats.relays),
            ("recordings", stats.recordings),
            ("sessions", stats.sessions),
            ("transactions", stats.transactions),
        ];
        for (what, count) in left {
            if count != 0 {
                faults.push(format!("shard {shard} still has {count} {what}"));
            }
        }
    }
    if world.journal() != 0 {
        faults.push(format!("{} entries were never forgotten", world.journal()));
    }
    for report in world.restored() {
        if !report.unreadable.is_empty() {
            faults.push(format!("unreadable entries: {:?}", report.unreadable));
        }
    }
    if world.open_relays() != 0 {
        faults.push(format!("{} relays were never closed", world.open_relays()));
    }
    faults.extend(world.recorder().faults().iter().cloned());
    for ((domain, pattern), counter) in counters {
        let (orig, term) = counter.current();
        if orig + term != 0 {
            faults.push(format!(
                "connection {domain}/{pattern} still counts {orig} orig and {term} term"
            ));
        }
    }
    let restarted = !world.restored().is_empty();
    for (index, (caller, called)) in lines.iter().enumerate() {
        for phone in [caller, called] {
            if !world.is_idle(*phone) {
                faults.push(format!("call {index}: phone {phone} is not idle"));
            }
        }
        let records: Vec<_> = world
            .cdrs()
            .iter()
            .filter(|cdr| cdr.orig.from_uri.contains(&format!("100{index}@")))
            .collect();
        // An INVITE of which no copy ever arrived is no attempt that anybody here could know of.
        let reached = happened(world, *caller, &PhoneEvent::Ringing) || !records.is_empty();
        match records.as_slice() {
            [record] => {
                let answered = happened(world, *caller, &PhoneEvent::Answered);
                if answered && record.answered_ms.is_none() {
                    faults.push(format!(
                        "call {index}: answered, but the record says {:?}",
                        record.release_text
                    ));
                }
                let expected = record.answered_ms.is_some() && is_recorded(index % DOMAINS);
                match &record.recording {
                    Some(recording)
                        if recording
                            .failure
                            .as_deref()
                            .is_some_and(|why| !restarted || !why.contains("restarted")) =>
                    {
                        faults.push(format!("call {index}: recorded as {recording:?}"));
                    }
                    recording if recording.is_some() != expected => {
                        faults.push(format!("call {index}: recorded as {recording:?}"));
                    }
                    _ => {}
                }
                if record.release_text.contains("Restart") {
                    faults.push(format!("call {index}: {}", record.release_text));
                }
                if record.ended_ms < record.started_ms {
                    faults.push(format!("call {index}: ended before it began"));
                }
            }
            [] if !reached => {}
            several => faults.push(format!("call {index}: {} records", several.len())),
        }
    }
    faults
}

fn happened(world: &World, phone: usize, event: &PhoneEvent) -> bool {
    world
        .events()
        .iter()
        .any(|(index, seen)| *index == phone && seen == event)
}
