//! Calls on simulated time, recorded once and then played to switches that start alike.
//!
//! A switch is a function of its seed and its inputs, so a second one that is given what the first was given does
//! exactly the same. Played from the tape it is alone: the carriers' work is not in the figures.

use crate::carriers::{self, ALICE, BOB, Caller, Reaction, SWITCH};
use crate::records::{self, Needs};
use bytes::Bytes;
use media::relay::{Command, Event, RelayId, RelayStats};
use media::ringing_tones::RingingTone;
use media::srtp::KeySeed;
use sip::endpoint::{Config, Flow, Interface};
use sip::transport::Transport;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use switch::{Clock, Input, Output, ShardConfig, Switch};

/// How long a message is on its way.
const HOP: Duration = Duration::from_millis(1);
const SEED: u64 = 4711;
const START_UNIX_MS: i64 = 1_795_176_000_000;

/// The load.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) calls: usize,
    pub(crate) per_second: u32,
    pub(crate) held: Duration,
    pub(crate) domains: usize,
    pub(crate) needs: Needs,
}

/// Something the switch is given.
enum Given {
    Datagram(SocketAddr, Bytes),
    Opened(RelayId),
    Closed(RelayId),
    Timeout,
}

/// Inputs in their order, with their times since the start.
pub(crate) struct Tape {
    load: Load,
    start: Instant,
    steps: Vec<(Duration, Given)>,
}

/// A switch that is being played to.
pub(crate) struct Player<'a> {
    tape: &'a Tape,
    switch: Switch,
    next: usize,
    pub(crate) records: usize,
    pub(crate) kept: Kept,
    /// The entries, where they are collected.
    pub(crate) journal: Option<BTreeMap<u64, Vec<u8>>>,
}

/// What went into a journal.
#[derive(Clone, Copy, Default)]
pub(crate) struct Kept {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

enum Happening {
    Call(usize),
    HangUp(usize),
    Datagram(SocketAddr, Bytes),
}

impl Tape {
    /// Plays both carriers until all calls are over and forgotten.
    pub(crate) fn record(load: Load) -> Self {
        let mut tape = Self {
            load,
            start: Instant::now(),
            steps: Vec::new(),
        };
        let mut switch = tape.switch();
        let mut callers: BTreeMap<usize, Caller> = BTreeMap::new();
        let mut queue = BinaryHeap::new();
        let mut happenings = Vec::new();
        let plan = |queue: &mut BinaryHeap<_>, happenings: &mut Vec<_>, at: Duration, what| {
            queue.push(Reverse((at, happenings.len())));
            happenings.push(Some(what));
        };
        for number in 0..load.calls {
            let at =
                Duration::from_secs(1) + Duration::from_secs(1) * number as u32 / load.per_second;
            plan(&mut queue, &mut happenings, at, Happening::Call(number));
        }
        let mut answered = 0;
        loop {
            let queued = queue.peek().map(|Reverse((at, _))| *at);
            let timer = switch
                .poll_timeout()
                .map(|at| at.saturating_duration_since(tape.start));
            let Some(at) = queued.into_iter().chain(timer).min() else {
                break;
            };
            let mut given = Vec::new();
            if queued == Some(at) {
                let Some(Reverse((_, index))) = queue.pop() else {
                    break;
                };
                match happenings[index].take().expect("once") {
                    Happening::Call(number) => {
                        let caller = Caller::new(number, number % load.domains);
                        given.push(Given::Datagram(carriers::address(ALICE), caller.invite("")));
                        callers.insert(number, caller);
                    }
                    Happening::HangUp(number) => {
                        let caller = callers.remove(&number).expect("a call that is up");
                        given.push(Given::Datagram(carriers::address(ALICE), caller.bye()));
                    }
                    Happening::Datagram(from, bytes) => given.push(Given::Datagram(from, bytes)),
                }
            } else {
                given.push(Given::Timeout);
            }
            while let Some(one) = given.pop() {
                tape.give(&mut switch, at, &one);
                tape.steps.push((at, one));
                switch.end_turn(|_, _| {});
                while let Some(output) = switch.poll() {
                    match output {
                        Output::Transmit { flow, bytes, .. } => {
                            let text = std::str::from_utf8(&bytes).expect("text");
                            let (number, reactions) = if flow.remote == carriers::address(BOB) {
                                (None, carriers::called_hears(text))
                            } else {
                                let number = carriers::call_number(text).expect("a Call-ID");
                                let hears = |caller: &mut Caller| caller.hears(text);
                                (
                                    Some(number),
                                    callers.get_mut(&number).map(hears).unwrap_or_default(),
                                )
                            };
                            for reaction in reactions {
                                match reaction {
                                    Reaction::Send(from, bytes, hops) => {
                                        let from = carriers::address(from);
                                        let what = Happening::Datagram(from, bytes);
                                        plan(&mut queue, &mut happenings, at + HOP * hops, what);
                                    }
                                    Reaction::Up => {
                                        answered += 1;
                                        let what = Happening::HangUp(number.unwrap_or_default());
                                        plan(&mut queue, &mut happenings, at + load.held, what);
                                    }
                                }
                            }
                        }
                        Output::Media(Command::Open { relay, .. }) => {
                            given.push(Given::Opened(relay))
                        }
                        Output::Media(Command::Close { relay }) => given.push(Given::Closed(relay)),
                        _ => {}
                    }
                }
            }
        }
        assert_eq!(answered, load.calls, "every call is answered");
        let stats = switch.stats();
        assert_eq!(
            (stats.calls, stats.transactions),
            (0, 0),
            "nothing is left of them"
        );
        tape
    }

    /// A switch with the records of this tape.
    fn switch(&self) -> Switch {
        let local = carriers::address(SWITCH);
        let interface = Interface {
            transport: Transport::Udp,
            local,
            advertise: local.ip().to_string().into(),
            port: local.port(),
            alternate: false,
        };
        let config = ShardConfig {
            rest_after: switch::REST_AFTER,
            keeps_calls: self.load.needs.journal,
            sip: Config::new(vec![interface], 0),
            shards: 1,
            media_timeout: Duration::from_secs(60),
            transcoded_calls_max: 0,
            ringback: RingingTone::of_country("us").ok(),
            hostname: "switch.example".to_owned(),
            options_ping: None,
            digest_algorithms: sip::auth::ALGORITHMS.to_vec(),
            guard: switch::GuardConfig::default(),
            key_seed: KeySeed([7; 32]),
            dtls_fingerprint: simulator::world::dtls_fingerprint(),
        };
        let clock = self.clock(Duration::ZERO);
        let mut switch = Switch::new(config, SEED, clock);
        for number in 0..self.load.domains {
            switch.handle(
                clock,
                Input::Directory(records::tenant(number, self.load.needs)),
            );
        }
        while switch.poll().is_some() {}
        switch
    }

    /// A switch to be played to.
    pub(crate) fn player(&self) -> Player<'_> {
        Player {
            tape: self,
            switch: self.switch(),
            next: 0,
            records: 0,
            journal: None,
            kept: Kept::default(),
        }
    }

    /// A new process, which is about to go on with calls.
    pub(crate) fn successor(&self) -> Switch {
        self.switch()
    }

    /// Goes on with the calls of these entries.
    pub(crate) fn restore(
        &self,
        switch: &mut Switch,
        at: Duration,
        journal: &BTreeMap<u64, Vec<u8>>,
    ) {
        let entries = journal.iter().map(|(key, state)| (*key, state.as_slice()));
        let report = switch.restore(self.clock(at), entries);
        while switch.poll().is_some() {}
        assert_eq!(report.resumed, journal.len(), "{report:?}");
    }

    fn clock(&self, at: Duration) -> Clock {
        Clock {
            now: self.start + at,
            unix_ms: START_UNIX_MS + at.as_millis() as i64,
        }
    }

    fn give(&self, switch: &mut Switch, at: Duration, given: &Given) {
        let input = match given {
            // A copy, as the driver makes one out of its receive buffer.
            Given::Datagram(remote, bytes) => Input::Sip(sip::endpoint::Input::Received {
                flow: Flow {
                    interface: 0,
                    remote: *remote,
                    stream: None,
                },
                bytes: Bytes::copy_from_slice(bytes),
            }),
            Given::Opened(relay) => {
                let port = 20_000 + (relay.0 % 10_000) as u16 * 4;
                Input::Media(Event::Opened {
                    relay: *relay,
                    a_port: port,
                    b_port: port + 2,
                })
            }
            Given::Closed(relay) => {
                let stats = Box::new(RelayStats::default());
                Input::Media(Event::Closed {
                    relay: *relay,
                    stats,
                })
            }
            Given::Timeout => Input::Timeout,
        };
        switch.handle(self.clock(at), input);
    }
}

impl Player<'_> {
    /// Plays on up to this time since the start.
    #[inline(never)]
    pub(crate) fn play(&mut self, until: Duration) {
        while let Some((at, given)) = self.tape.steps.get(self.next) {
            if *at >= until {
                break;
            }
            self.tape.give(&mut self.switch, *at, given);
            let (kept, journal) = (&mut self.kept, &mut self.journal);
            self.switch.end_turn(|key, state| {
                kept.entries += 1;
                kept.bytes += state.len();
                if let Some(journal) = journal {
                    journal.insert(key, state.to_vec());
                }
            });
            while let Some(output) = self.switch.poll() {
                match output {
                    Output::Cdr(_) => self.records += 1,
                    Output::Forget { key } => {
                        if let Some(journal) = &mut self.journal {
                            journal.remove(&key);
                        }
                    }
                    _ => {}
                }
            }
            // As the driver asks after every turn.
            std::hint::black_box(self.switch.poll_timeout());
            self.next += 1;
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.switch.stats().calls
    }
}
