//! What the calls of a shard work with and share: names of new things, whose each thing is, what is to be done.

use crate::call::{CallKey, CallWake};
use crate::challenge::Gatekeeper;
use crate::directory::Directory;
use crate::guard::Guard;
use crate::quarantine::Quarantine;
use crate::switch::{Clock, Output, ShardConfig};
use keep::Base;
use media::recorder::RecordingId;
use media::relay::{Command, RelayId, Side, Told};
use media::srtp::KeySource;
use model::cdr::Cdr;
use sip::endpoint::{Endpoint, Flow};
use sip::event::{RequestId, ServerRequestId, SessionId};
use sip::message::{ByteStr, Method, ResponseDraft};
use sip::random::Random;
use sip::transport::Transport;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// Requests passed on within calls whose answer is awaited; more are answered with 500.
const MAX_AWAITED_REQUESTS: usize = 10_000;

/// What we serve, in `Allow`; everything else is a 405.
const SERVED: [Method; 11] = [
    Method::Invite,
    Method::Ack,
    Method::Bye,
    Method::Cancel,
    Method::Options,
    Method::Prack,
    Method::Update,
    Method::Info,
    Method::Notify,
    Method::Message,
    Method::Register,
];

/// Extensions that a peer may insist on, in `Supported`; another is a 420. Whether calls of one connection are
/// timed is for its record to say.
const SUPPORTED: [&str; 2] = ["100rel", "timer"];

/// What calls work with.
pub(crate) struct Core {
    pub(crate) clock: Clock,
    pub(crate) config: ShardConfig,
    pub(crate) endpoint: Endpoint,
    pub(crate) directory: Directory,
    pub(crate) quarantine: Quarantine,
    pub(crate) gatekeeper: Gatekeeper,
    pub(crate) guard: Guard,
    pub(crate) random: Random,
    pub(crate) keys: KeySource,
    pub(crate) stats: Counters,
    /// Calls that have taken a place among those whose audio may be converted.
    pub(crate) transcoded_calls: usize,
    /// Calls that are over and wait for the relay's statistics. Counted as they come and go: looking at all calls
    /// for it would make each of them dearer the more there are.
    pub(crate) calls_released: usize,
    pub(crate) out: VecDeque<Output>,
    /// Calls of which there may be something new to keep.
    pub(crate) touched: Vec<CallKey>,
    pub(crate) wakes: BinaryHeap<Reverse<CallWake>>,
    pub(crate) sessions: HashMap<SessionId, (CallKey, Side)>,
    pub(crate) relays: HashMap<RelayId, Relayed>,
    pub(crate) recordings: HashMap<RecordingId, CallKey>,
    awaited: HashMap<RequestId, ServerRequestId>,
    pub(crate) next_slot: usize,
    pub(crate) serial: u64,
    pub(crate) relay_serial: u64,
    recording_serial: u64,
    /// Part of every call's identifier that is new with every start.
    instance: u64,
    /// By which moments become wall time in the journal.
    pub(crate) base: Base,
}

/// A relay of a call.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) call: CallKey,
    /// What it was told, where that is to outlive the process.
    pub(crate) told: Told,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls_started: u64,
    pub(crate) calls_answered: u64,
    pub(crate) calls_refused: u64,
    pub(crate) challenges: u64,
    pub(crate) handovers: u64,
    pub(crate) registers_refused: u64,
}

impl Core {
    /// Without records and calls.
    pub(crate) fn new(mut config: ShardConfig, seed: u64, clock: Clock) -> Self {
        let mut random = Random::new(seed);
        config.sip.allow = SERVED.to_vec();
        config.sip.supported = SUPPORTED.map(ByteStr::literal).to_vec();
        // Who is told is a matter of each connection.
        config.sip.software = None;
        let endpoint = Endpoint::new(config.sip.clone(), random.next_u64());
        let gatekeeper = Gatekeeper::new(&mut random, config.digest_algorithms.clone());
        Self {
            clock,
            endpoint,
            directory: Directory::default(),
            quarantine: Quarantine::default(),
            gatekeeper,
            guard: Guard::new(config.guard),
            instance: random.next_u64(),
            random,
            keys: KeySource::new(&config.key_seed),
            config,
            stats: Counters::default(),
            transcoded_calls: 0,
            calls_released: 0,
            out: VecDeque::new(),
            touched: Vec::new(),
            wakes: BinaryHeap::new(),
            sessions: HashMap::new(),
            relays: HashMap::new(),
            recordings: HashMap::new(),
            awaited: HashMap::new(),
            next_slot: 0,
            serial: 0,
            relay_serial: 0,
            recording_serial: 0,
            base: Base {
                now: clock.now,
                unix_ms: clock.unix_ms,
            },
        }
    }

    /// Key of the call that is about to begin.
    pub(crate) fn next_key(&mut self) -> CallKey {
        self.serial += 1;
        CallKey {
            slot: self.next_slot,
            serial: self.serial,
        }
    }

    /// A call identifier: unique in this shard, among shards, and across restarts.
    pub(crate) fn call_id(&mut self) -> String {
        format!(
            "{:012x}-{:02x}-{:016x}",
            self.clock.unix_ms,
            self.config.sip.owner,
            self.random.next_u64() ^ self.instance
        )
    }

    /// There may be something new to keep of a call.
    pub(crate) fn touch(&mut self, call: CallKey) {
        if self.config.keeps_calls {
            self.touched.push(call);
        }
    }

    pub(crate) fn own(&mut self, session: SessionId, call: CallKey, side: Side) {
        if self.config.keeps_calls {
            self.endpoint.watch(session);
        }
        self.sessions.insert(session, (call, side));
    }

    pub(crate) fn disown(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// Name of a new relay of the call that is being worked on.
    pub(crate) fn next_relay(&mut self, call: CallKey) -> RelayId {
        self.relay_serial += 1;
        let relay = RelayId(u64::from(self.config.sip.owner) << 48 | self.relay_serial);
        self.adopt_relay(relay, call);
        relay
    }

    /// A relay that has its name from an earlier process.
    pub(crate) fn adopt_relay(&mut self, relay: RelayId, call: CallKey) {
        let told = Told::default();
        self.relays.insert(relay, Relayed { call, told });
    }

    /// What a relay was told, of what lasts.
    pub(crate) fn told(&self, relay: RelayId) -> Option<&Told> {
        self.relays.get(&relay).map(|relayed| &relayed.told)
    }

    /// What a relay was told is this.
    pub(crate) fn set_told(&mut self, relay: RelayId, told: Told) {
        if let Some(relayed) = self.relays.get_mut(&relay) {
            relayed.told = told;
        }
    }

    /// Name of the recording of a call.
    pub(crate) fn next_recording(&mut self, call: CallKey) -> RecordingId {
        self.recording_serial += 1;
        let recording = RecordingId(u64::from(self.config.sip.owner) << 48 | self.recording_serial);
        self.recordings.insert(recording, call);
        recording
    }

    pub(crate) fn disown_relay(&mut self, relay: RelayId) {
        self.relays.remove(&relay);
    }

    pub(crate) fn media(&mut self, command: Command) {
        self.note(&command);
        self.out.push_back(Output::Media(command));
    }

    /// What a relay is to be told again by another process.
    pub(crate) fn note(&mut self, command: &Command) {
        if self.config.keeps_calls
            && let Some(relay) = command.lasting()
            && let Some(relayed) = self.relays.get_mut(&relay)
        {
            relayed.told.note(command, self.base);
        }
    }

    pub(crate) fn wake(&mut self, wake: CallWake) {
        self.wakes.push(Reverse(wake));
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(crate) fn record(&mut self, mut cdr: Cdr) {
        cdr.clip();
        self.out.push_back(Output::Cdr(Box::new(cdr)));
    }

    pub(crate) fn await_response(&mut self, asked: RequestId, waiting: ServerRequestId) {
        if self.awaited.len() >= MAX_AWAITED_REQUESTS {
            self.endpoint
                .respond(self.clock.now, waiting, ResponseDraft::new(500));
        } else {
            self.awaited.insert(asked, waiting);
        }
    }

    pub(crate) fn awaited(&mut self, asked: RequestId) -> Option<ServerRequestId> {
        self.awaited.remove(&asked)
    }

    pub(crate) fn transport(&self, flow: Flow) -> Option<Transport> {
        self.config
            .sip
            .interfaces
            .get(usize::from(flow.interface))
            .map(|interface| interface.transport)
    }
}
