//! Whatever the wire loses, repeats or reorders, and whatever the two sides do meanwhile: when both
//! have hung up, nothing is left, neither transaction nor session nor timer.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use crate::common::{ANSWER, NOTHING, OFFER, Pair, Side, Weather, call_to, ms, secs};
use bytes::Bytes;
use sip::Event;
use sip::event::SessionId;
use sip::message::{Headers, Method, ResponseDraft};
use sip::random::Random;

/// Hundreds of different worlds; a failure names its seed.
const SEEDS: u64 = 400;
const CALLS_PER_SEED: usize = 3;

/// What one side knows about its sessions.
#[derive(Default)]
struct User {
    sessions: Vec<SessionId>,
}

/// Reacts to everything that happened on one side, and does something of its own now and then.
fn act(pair: &mut Pair, side: Side, user: &mut User, dice: &mut Random) {
    let now = pair.now;
    let events: Vec<Event> = pair.node(side).events.drain(..).collect();
    let endpoint = &mut pair.node(side).endpoint;
    for event in events {
        match event {
            Event::Invite { session, .. } => user.sessions.push(session),
            Event::Answered { session, .. } => endpoint.ack(now, session, ANSWER),
            Event::Progress { session, .. } => endpoint.prack(now, session, ANSWER),
            Event::Offer { session, .. } => match dice.below(4) {
                0 => endpoint.reject_offer(now, session, 488, Headers::new()),
                1 => {}
                _ => endpoint.answer_offer(now, session, Headers::new(), ANSWER),
            },
            Event::OfferResult {
                session,
                status: 200,
                ..
            } => endpoint.ack(now, session, ANSWER),
            Event::Request { id, .. } if dice.below(4) > 0 => {
                endpoint.respond(now, id, ResponseDraft::new(200));
            }
            Event::Failed { session, .. }
            | Event::Ended { session, .. }
            | Event::Cancelled { session, .. } => {
                user.sessions.retain(|known| *known != session);
            }
            _ => {}
        }
    }
    for session in user.sessions.clone() {
        let body = |dice: &mut Random| if dice.below(3) == 0 { NOTHING } else { OFFER };
        match dice.below(24) {
            0 => endpoint.cancel(now, session, None),
            1 => endpoint.bye(now, session, Headers::new()),
            2..=4 => {
                let (status, reliable) = (180 + dice.below(4) as u16, dice.below(2) == 0);
                let body: Bytes = body(dice);
                endpoint.progress(now, session, status, Headers::new(), body, reliable);
            }
            5..=7 => endpoint.answer(now, session, Headers::new(), ANSWER),
            8 => endpoint.reject(now, session, ResponseDraft::new(486)),
            9..=10 => {
                let method = if dice.below(2) == 0 {
                    Method::Invite
                } else {
                    Method::Update
                };
                let body = body(dice);
                let _pending_is_fine = endpoint.offer(now, session, method, Headers::new(), body);
            }
            11 => {
                endpoint.request(now, session, Method::Info, Headers::new(), None, NOTHING);
            }
            12 => endpoint.answer_offer(now, session, Headers::new(), ANSWER),
            _ => {}
        }
    }
}

fn weather(dice: &mut Random) -> Weather {
    Weather {
        loss: dice.below(40),
        duplication: dice.below(20),
        jitter: ms(dice.below(400)),
    }
}

/// Runs one world; counts what was said in it.
fn world(seed: u64, blackout: bool, said: &mut BTreeMap<String, usize>) {
    let mut pair = Pair::new(seed);
    let mut dice = Random::new(seed ^ 0x0d1c_e000);
    pair.weather = weather(&mut dice);
    let mut users = [User::default(), User::default()];
    for _ in 0..CALLS_PER_SEED {
        let offer = if dice.below(3) == 0 { NOTHING } else { OFFER };
        let transport = if dice.below(4) == 0 {
            ";transport=tcp"
        } else {
            ""
        };
        let mut call = call_to(&format!("sip:bob@192.0.2.2{transport}"), offer);
        call.fail_over_without_response = dice.below(2) == 0;
        users[0]
            .sessions
            .push(pair.left.endpoint.invite(pair.now, call));
    }
    for _ in 0..40 {
        pair.run(ms(dice.below(800)));
        act(&mut pair, Side::Left, &mut users[0], &mut dice);
        act(&mut pair, Side::Right, &mut users[1], &mut dice);
    }
    if blackout {
        pair.weather.loss = 100;
    }
    // Both hang up, whatever has become of the calls; one that comes now is refused.
    for _ in 0..3 {
        for (side, user) in [(Side::Left, 0), (Side::Right, 1)] {
            act_quietly(&mut pair, side, &mut users[user]);
        }
        pair.run(secs(20));
    }
    pair.run_out();
    for (side, user) in [(Side::Left, 0), (Side::Right, 1)] {
        act_quietly(&mut pair, side, &mut users[user]);
    }
    pair.run_out();
    pair.assert_empty();
    for (_, message) in &pair.log {
        *said.entry(crate::common::first_word(message)).or_default() += 1;
    }
}

fn act_quietly(pair: &mut Pair, side: Side, user: &mut User) {
    let now = pair.now;
    for event in pair.node(side).events.drain(..).collect::<Vec<_>>() {
        if let Event::Invite { session, .. } = event {
            user.sessions.push(session);
        }
    }
    for session in &user.sessions {
        pair.node(side).endpoint.bye(now, *session, Headers::new());
    }
}

#[test]
fn nothing_is_left_when_both_have_hung_up() {
    let mut said = BTreeMap::new();
    for seed in 0..SEEDS {
        let result =
            std::panic::catch_unwind(AssertUnwindSafe(|| world(seed, seed % 8 == 7, &mut said)));
        if let Err(panic) = result {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
    // The worlds are neither so bad nor so simple that some part of the stack stays idle.
    for word in [
        "200", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "487", "488", "491", "500", "481",
    ] {
        let times = said.get(word).copied().unwrap_or(0);
        assert!(
            times as u64 > SEEDS / 20,
            "{word} was said {times} times: {said:?}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let run = || {
        let mut pair = Pair::new(99);
        pair.weather = Weather {
            loss: 20,
            duplication: 10,
            jitter: ms(100),
        };
        let session = pair
            .left
            .endpoint
            .invite(pair.now, call_to("sip:bob@192.0.2.2", OFFER));
        pair.run(secs(2));
        pair.left.endpoint.bye(pair.now, session, Headers::new());
        pair.run_out();
        let bytes: Vec<Bytes> = pair
            .log
            .iter()
            .map(|(_, message)| message.as_bytes().clone())
            .collect();
        bytes
    };
    assert_eq!(run(), run());
}
