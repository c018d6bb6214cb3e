//! Messages of real calls, broken, mixed up and repeated at random: an endpoint never panics, never
//! grows beyond its bounds, and is empty again in the end.

use crate::common::{ANSWER, Lone, NOTHING, OFFER, Pair, config, secs, udp};
use bytes::Bytes;
use sip::Event;
use sip::endpoint::Input;
use sip::message::{Headers, Method, ResponseDraft};
use sip::random::Random;

const SEEDS: u64 = 60;
const MESSAGES_PER_SEED: usize = 300;

/// What goes over the wire in calls with a bit of everything.
fn recorded() -> Vec<Bytes> {
    let mut pair = Pair::new(7);
    let (ours, theirs) = pair.established();
    for method in [Method::Invite, Method::Update] {
        pair.left
            .endpoint
            .offer(pair.now, ours, method, Headers::new(), OFFER)
            .expect("nothing is open");
        pair.settle();
        pair.right
            .endpoint
            .answer_offer(pair.now, theirs, Headers::new(), ANSWER);
        pair.settle();
    }
    pair.left
        .endpoint
        .request(pair.now, ours, Method::Info, Headers::new(), None, NOTHING);
    pair.left.endpoint.bye(pair.now, ours, Headers::new());
    pair.settle();
    let ours = pair.call(NOTHING);
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .progress(pair.now, theirs, 183, Headers::new(), OFFER, true);
    pair.settle();
    pair.left.endpoint.prack(pair.now, ours, ANSWER);
    pair.settle();
    pair.left.endpoint.cancel(pair.now, ours, None);
    pair.run_out();
    pair.log
        .iter()
        .map(|(_, message)| message.as_bytes().clone())
        .collect()
}

/// One of the recorded messages, or of those the endpoint just sent, more or less broken.
fn broken(choice: &[Bytes], dice: &mut Random) -> Bytes {
    let pick = |dice: &mut Random| choice[dice.below(choice.len() as u64) as usize].clone();
    let mut bytes = pick(dice).to_vec();
    for _ in 0..dice.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.below(bytes.len() as u64) as usize;
        match dice.below(5) {
            0 => bytes[at] = dice.next_u64() as u8,
            1 => bytes.truncate(at),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, b";, \r\n<>\"=:"[dice.below(10) as usize]),
            _ => {
                let other = pick(dice);
                let from = dice.below(other.len() as u64) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes.into()
}

#[test]
fn it_survives_and_forgets() {
    let recorded = recorded();
    for seed in 0..SEEDS {
        let mut dice = Random::new(seed);
        let mut config = config("192.0.2.2", 2);
        config.max_sessions = 20;
        config.max_transactions = 100;
        let mut lone = Lone::with(config);
        let mut choice = recorded.clone();
        let mut sessions = Vec::new();
        for _ in 0..MESSAGES_PER_SEED {
            let bytes = broken(&choice, &mut dice);
            let flow = if dice.below(5) == 0 {
                crate::common::tcp("192.0.2.1:4000", dice.below(3))
            } else {
                udp("192.0.2.1:5060")
            };
            lone.input(Input::Received { flow, bytes });
            for event in lone.events.drain(..) {
                match event {
                    Event::Invite { session, .. } => {
                        sessions.push(session);
                        match dice.below(4) {
                            0 => lone
                                .endpoint
                                .answer(lone.now, session, Headers::new(), ANSWER),
                            1 => lone.endpoint.progress(
                                lone.now,
                                session,
                                183,
                                Headers::new(),
                                ANSWER,
                                true,
                            ),
                            2 => lone
                                .endpoint
                                .reject(lone.now, session, ResponseDraft::new(486)),
                            _ => {}
                        }
                    }
                    Event::Offer { session, .. } if dice.below(2) == 0 => {
                        lone.endpoint
                            .answer_offer(lone.now, session, Headers::new(), ANSWER);
                    }
                    _ => {}
                }
            }
            lone.drain();
            // What it said may come back to it, too.
            for (_, _, message) in lone.sent.drain(..) {
                if choice.len() < 200 {
                    choice.push(message.as_bytes().clone());
                }
            }
            let stats = lone.endpoint.stats();
            assert!(
                stats.sessions <= 20 && stats.transactions <= 125 + 20,
                "seed {seed}: {stats:?}"
            );
            if dice.below(4) == 0 {
                lone.run(crate::common::ms(dice.below(3000)));
            }
        }
        for session in sessions {
            lone.endpoint.bye(lone.now, session, Headers::new());
        }
        lone.run(secs(200));
        let stats = lone.endpoint.stats();
        let left = (
            stats.sessions,
            stats.transactions,
            stats.exchanges,
            stats.timers,
        );
        assert_eq!(left, (0, 0, 0, 0), "seed {seed}: {stats:?}");
    }
}
