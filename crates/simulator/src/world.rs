//! Shards, phones, network and media on one clock.

use crate::network::Weather;
use crate::phone::{self, Phone, PhoneEvent};
use crate::recorder::Recorder;
use bytes::Bytes;
use media::dtls::{Fingerprint, HashFunction};
use media::recorder;
use media::relay::{Command, Event as MediaEvent, RelayId, RelayStats, Silent};
use media::ringing_tones::RingingTone;
use media::sdp::Codec;
use media::srtp::KeySeed;
use model::{
    Binding, Cdr, ConnectionKey, Reachability, ReachabilityState, Registration,
    RegistrationDirection, RegistrationEvent,
};
use sip::endpoint::{Flow, Interface, SessionInterval};
use sip::message::Message;
use sip::random::Random;
use sip::resolve::{Kind, LookupError, Question, Record};
use sip::transport::Transport;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use switch::{
    Clock, Directory, DirectoryChange, GuardConfig, Input, Output, RestoreReport, ShardConfig,
    Stats, Switch,
};

/// Where the switch listens.
pub const SWITCH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060);

/// Wall time at the start: 2026-11-20 12:00 UTC, a Friday.
pub const START_UNIX_MS: i64 = 1_795_176_000_000;

/// A datagram as somebody sent it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Since the start.
    pub after: Duration,
    /// Who sent it.
    pub from: SocketAddr,
    /// Whom to.
    pub to: SocketAddr,
    /// The message.
    pub bytes: Bytes,
    /// How many copies arrive.
    pub copies: usize,
}

impl Sent {
    /// The message, decoded.
    pub fn message(&self) -> Option<Message> {
        Message::parse(self.bytes.clone()).ok()
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes);
        let line = text.lines().next().unwrap_or_default();
        let at = self.after.as_secs_f64();
        write!(f, "{at:9.3}  {} → {}  {line}", self.from, self.to)?;
        if let Some(message) = self.message() {
            write!(f, "  [{} {}]", message.cseq(), message.call_id())?;
        }
        match self.copies {
            0 => f.write_str("  LOST"),
            1 => Ok(()),
            _ => f.write_str("  TWICE"),
        }
    }
}

/// What a world is made of.
#[derive(Debug, Clone, Copy)]
pub struct WorldConfig {
    /// Makes everything that looks like chance.
    pub seed: u64,
    /// How bad the network is.
    pub weather: Weather,
    /// Shards of the switch.
    pub shards: u16,
    /// Relays that can be open at once.
    pub relays: usize,
    /// How soon calls are laid to rest. At once, they are packed up and woken as often as can be.
    pub rest_after: Duration,
    /// Whether messages are kept for [`World::messages`] and [`World::ladder`].
    pub keep_messages: bool,
}

/// Calls whose audio a shard of the simulated switch converts at one time; one, so that a test reaches the bound.
pub const TRANSCODED_CALLS: usize = 1;

/// Whose ringing tone the simulated switch plays.
pub const RINGBACK_COUNTRY: &str = "de";

/// Something a phone is told to do at its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Call this URI.
    Call(String),
    /// Call this URI without an offer.
    CallWithoutOffer(String),
    /// Hang up, whatever the state of the call.
    HangUp,
    /// Hold the call.
    Hold,
    /// Resume it.
    Resume,
}

/// When in a turn of the switch its process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Between two turns.
    Idle,
    /// When so many entries of the turn have reached the journal, and the next one in part. Nothing was sent.
    Writing(usize),
    /// When the journal is written, and the records are not.
    Written,
    /// When the records are stored too, and the journal does not know.
    Recorded,
    /// When so many messages of the turn have been sent.
    Sending(usize),
}

/// What follows from one thing that happened, in the order in which the driver does it.
#[derive(Debug, Default)]
struct Turn {
    /// Inputs that were given within each other.
    depth: usize,
    /// By shard and key.
    entries: Vec<((usize, u64), Vec<u8>)>,
    cdrs: Vec<Cdr>,
    forgotten: Vec<(usize, u64)>,
    messages: Vec<(SocketAddr, SocketAddr, Bytes)>,
}

#[derive(Debug)]
enum Happening {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    Act {
        phone: usize,
        action: Action,
    },
    /// The process dies, in the next turn or at once.
    Die {
        death: Death,
        /// How long nobody is there.
        dead: Duration,
    },
    /// Another process takes over.
    Rise,
}

/// An entry of the queue; the serial keeps equal times in order.
#[derive(Debug)]
struct Due {
    at: Instant,
    serial: u64,
    what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.serial) == (other.at, other.serial)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// The whole of it.
#[derive(Debug)]
pub struct World {
    start: Instant,
    now: Instant,
    /// By how much somebody has set the wall clock since the start, in milliseconds.
    clock_set_ms: i64,
    random: Random,
    weather: Weather,
    shards: Vec<Switch>,
    /// Changes of the records in their order, for a restart.
    changes: Vec<DirectoryChange>,
    /// Bindings of peers, as the store would keep them.
    bindings: BTreeMap<ConnectionKey, Arc<Binding>>,
    registrations: Vec<(Duration, Registration)>,
    /// What the name servers know.
    names: HashMap<Question, Vec<Record>>,
    reachability: Vec<(Duration, Reachability)>,
    options_ping: Option<Duration>,
    rest_after: Duration,
    phones: Vec<Phone>,
    addresses: BTreeMap<SocketAddr, usize>,
    queue: BinaryHeap<Reverse<Due>>,
    serial: u64,
    relays: BTreeMap<RelayId, (u16, u16)>,
    recorder: Recorder,
    next_port: u16,
    cdrs: Vec<Cdr>,
    events: Vec<(usize, PhoneEvent)>,
    relays_max: usize,
    messages: Option<Vec<Sent>>,
    /// What the media threads were told, where messages are kept.
    orders: Vec<Command>,
    turn: Turn,
    journal: BTreeMap<(usize, u64), Vec<u8>>,
    /// The process is going to die in this turn.
    doomed: Option<(Death, Duration)>,
    shard_count: u16,
    restored: Vec<RestoreReport>,
}

impl World {
    /// A world with a switch that knows nothing yet, and nobody else.
    pub fn new(config: WorldConfig) -> Self {
        Self::pinging(config, None)
    }

    /// The same with a switch that asks its peers with OPTIONS at this interval.
    pub fn pinging(config: WorldConfig, options_ping: Option<Duration>) -> Self {
        let start = Instant::now();
        let mut random = Random::new(config.seed);
        let clock = Clock {
            now: start,
            unix_ms: START_UNIX_MS,
        };
        let rest_after = config.rest_after;
        let count = config.shards.max(1);
        let shards = switches(count, rest_after, options_ping, &mut random, clock);
        Self {
            start,
            now: start,
            clock_set_ms: 0,
            random,
            weather: config.weather,
            shards,
            changes: Vec::new(),
            bindings: BTreeMap::new(),
            registrations: Vec::new(),
            names: HashMap::new(),
            reachability: Vec::new(),
            options_ping,
            rest_after,
            phones: Vec::new(),
            addresses: BTreeMap::new(),
            queue: BinaryHeap::new(),
            serial: 0,
            relays: BTreeMap::new(),
            recorder: Recorder::default(),
            next_port: 0,
            orders: Vec::new(),
            cdrs: Vec::new(),
            events: Vec::new(),
            relays_max: config.relays,
            messages: config.keep_messages.then(Vec::new),
            turn: Turn::default(),
            journal: BTreeMap::new(),
            doomed: None,
            shard_count: count,
            restored: Vec::new(),
        }
    }

    /// Tells all shards of a change of the records.
    pub fn change(&mut self, change: &DirectoryChange) {
        self.changes.push(change.clone());
        for shard in 0..self.shards.len() {
            self.give(shard, Input::Directory(change.clone()));
        }
    }

    /// The switch dies without a word and starts anew, with the same records and with what was registered.
    pub fn restart(&mut self) {
        let clock = self.clock();
        let count = self.shards.len() as u16;
        let (ping, rest) = (self.options_ping, self.rest_after);
        self.shards = switches(count, rest, ping, &mut self.random, clock);
        self.relays.clear();
        self.learn_again(clock);
    }

    /// The records, and what was registered.
    fn learn_again(&mut self, clock: Clock) {
        let records = self.changes.clone();
        let live = self
            .bindings
            .iter()
            .filter(|(_, binding)| binding.expires_ms > clock.unix_ms)
            .map(|(connection, binding)| DirectoryChange::Binding {
                connection: connection.clone(),
                binding: Some(Arc::clone(binding)),
            });
        let all: Vec<DirectoryChange> = records.into_iter().chain(live).collect();
        for change in all {
            self.tell_switch(|| Input::Directory(change.clone()));
        }
    }

    /// The process of the switch dies this long after the start, and another one takes over after a while, with what the
    /// journal has.
    pub fn kill(&mut self, after: Duration, death: Death, dead: Duration) {
        self.schedule(self.start + after, Happening::Die { death, dead });
    }

    /// What each process found in the journal, by shard.
    pub fn restored(&self) -> &[RestoreReport] {
        &self.restored
    }

    /// Entries in the journal.
    pub fn journal(&self) -> usize {
        self.journal.len()
    }

    /// The entries, to be damaged.
    pub fn entries_mut(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        self.journal.values_mut()
    }

    fn die(&mut self, dead: Duration) {
        self.shards.clear();
        self.relays.clear();
        self.recorder.die(self.now - self.start);
        self.schedule(self.now + dead, Happening::Rise);
    }

    fn rise(&mut self) {
        let clock = self.clock();
        let (ping, rest) = (self.options_ping, self.rest_after);
        self.shards = switches(self.shard_count, rest, ping, &mut self.random, clock);
        self.turn.depth += 1;
        self.learn_again(clock);
        for shard in 0..self.shards.len() {
            let entries = self.journal.clone();
            let own = entries.range((shard, 0)..=(shard, u64::MAX));
            let own = own.map(|((_, key), state)| (*key, state.as_slice()));
            let report = self.shards[shard].restore(clock, own);
            self.restored.push(report);
            self.perform(shard);
        }
        self.turn.depth -= 1;
        self.end_turn();
    }

    /// Somebody sets the wall clock forward or back; no time passes.
    pub fn set_clock(&mut self, by_ms: i64) {
        self.clock_set_ms += by_ms;
    }

    /// A datagram to the switch from any address, now.
    pub fn say(&mut self, from: SocketAddr, bytes: impl Into<Bytes>) {
        self.send(from, SWITCH, bytes.into());
    }

    /// What became of registrations, with the time since the start.
    pub fn registrations(&self) -> &[(Duration, Registration)] {
        &self.registrations
    }

    /// Changes of who answers OPTIONS, with the time since the start.
    pub fn reachability(&self) -> &[(Duration, Reachability)] {
        &self.reachability
    }

    /// The records as a shard sees them.
    pub fn directory(&self, shard: usize) -> Option<&Directory> {
        self.shards.get(shard).map(Switch::directory)
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Adds a phone; its index is what actions name.
    pub fn add(&mut self, config: phone::PhoneConfig) -> usize {
        let index = self.phones.len();
        self.addresses.insert(config.sip, index);
        self.phones.push(Phone::new(config));
        index
    }

    /// Lets a phone time its calls from now on (RFC 4028).
    pub fn time_sessions(&mut self, phone: usize, interval: SessionInterval) {
        if let Some(phone) = self.phones.get_mut(phone) {
            phone.time_sessions(interval);
        }
    }

    /// Something a phone does, this long after the start.
    pub fn plan(&mut self, after: Duration, phone: usize, action: Action) {
        self.schedule(self.start + after, Happening::Act { phone, action });
    }

    /// Runs until nothing is left to happen, or for `at_most` of simulated time. True when it came to rest.
    pub fn run(&mut self, at_most: Duration) -> bool {
        let end = self.start + at_most;
        loop {
            let queued = self.queue.peek().map(|due| due.0.at);
            let timers = self.shards.iter().filter_map(Switch::poll_timeout);
            let phones = self.phones.iter().filter_map(Phone::poll_timeout);
            let Some(next) = timers.chain(phones).chain(queued).min() else {
                return true;
            };
            if next > end {
                self.now = self.now.max(end);
                return false;
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    /// Lets a phone describe itself with these media lines; see [`Phone::describe_as`].
    pub fn describe_as(&mut self, phone: usize, media: &str) {
        if let Some(phone) = self.phones.get_mut(phone) {
            phone.describe_as(media);
        }
    }

    /// Lets a phone speak these codecs; see [`Phone::speak`].
    pub fn speak(&mut self, phone: usize, codecs: &[Codec]) {
        if let Some(phone) = self.phones.get_mut(phone) {
            phone.speak(codecs);
        }
    }

    /// Records written so far.
    pub fn cdrs(&self) -> &[Cdr] {
        &self.cdrs
    }

    /// What phones reported, in order, with their index.
    pub fn events(&self) -> &[(usize, PhoneEvent)] {
        &self.events
    }

    /// What each shard still holds.
    pub fn stats(&self) -> Vec<Stats> {
        self.shards.iter().map(Switch::stats).collect()
    }

    /// Relays that are open.
    pub fn open_relays(&self) -> usize {
        self.relays.len()
    }

    /// What the recorder was told.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The recorder, to be given another mood.
    pub fn recorder_mut(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// A name exists from now on, with these records of a kind. All others do not.
    pub fn name(&mut self, name: &str, kind: Kind, records: Vec<Record>) {
        let name = name.to_owned();
        self.names.insert(Question { kind, name }, records);
    }

    /// Every recording ends now, as when the disk is full.
    pub fn fail_recordings(&mut self, why: &str) {
        for event in self.recorder.fail(self.now - self.start, why) {
            let recorder::Event::Ended { recording, .. } = &event;
            self.give((recording.0 >> 48) as usize, Input::Recording(event));
        }
    }

    /// Whether nothing is left of any call on this phone.
    pub fn is_idle(&self, phone: usize) -> bool {
        self.phones.get(phone).is_some_and(Phone::is_idle)
    }

    /// Messages as they were sent, when they are kept.
    pub fn messages(&self) -> &[Sent] {
        self.messages.as_deref().unwrap_or_default()
    }

    /// The messages as text, one line each.
    pub fn ladder(&self) -> Vec<String> {
        self.messages().iter().map(ToString::to_string).collect()
    }

    /// Gives an input to every shard, now: a shutdown, say.
    pub fn tell_switch(&mut self, input: impl Fn() -> Input) {
        for shard in 0..self.shards.len() {
            self.give(shard, input());
        }
    }

    /// All relays report that both sides have been silent for too long.
    pub fn fall_silent(&mut self) {
        let open: Vec<RelayId> = self.relays.keys().copied().collect();
        for relay in open {
            // A relay's name begins with the number of its shard.
            let shard = (relay.0 >> 48) as usize;
            self.give(
                shard,
                Input::Media(MediaEvent::Timeout {
                    relay,
                    silent: Silent::Both,
                }),
            );
        }
    }

    fn step(&mut self) {
        while self.queue.peek().is_some_and(|due| due.0.at <= self.now) {
            let Some(Reverse(due)) = self.queue.pop() else {
                break;
            };
            match due.what {
                Happening::Datagram { from, to, bytes } => self.deliver(from, to, bytes),
                Happening::Act { phone, action } => self.act(phone, action),
                Happening::Die { .. } if self.shards.is_empty() => {}
                Happening::Die {
                    death: Death::Idle,
                    dead,
                } => self.die(dead),
                Happening::Die { death, dead } => self.doomed = Some((death, dead)),
                Happening::Rise => self.rise(),
            }
        }
        for shard in 0..self.shards.len() {
            let due = self.shards.get(shard).and_then(Switch::poll_timeout);
            if due.is_some_and(|at| at <= self.now) {
                self.give(shard, Input::Timeout);
            }
        }
        for phone in 0..self.phones.len() {
            if self.phones[phone]
                .poll_timeout()
                .is_some_and(|at| at <= self.now)
            {
                self.phones[phone].handle(self.now, phone::Input::Timeout);
                self.drain_phone(phone);
            }
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        let Some(phone) = self.phones.get_mut(index) else {
            return;
        };
        match action {
            Action::Call(to) => phone.call(self.now, &to),
            Action::CallWithoutOffer(to) => phone.call_without_offer(self.now, &to),
            Action::HangUp => phone.hang_up(self.now),
            Action::Hold => {
                phone.hold(self.now, true);
            }
            Action::Resume => {
                phone.hold(self.now, false);
            }
        }
        self.drain_phone(index);
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        if to == SWITCH {
            if self.shards.is_empty() {
                return;
            }
            // As the kernel spreads datagrams over sockets of one port: by the far address.
            let mut hasher = DefaultHasher::new();
            from.hash(&mut hasher);
            let shard = (hasher.finish() % self.shards.len() as u64) as usize;
            let flow = Flow {
                interface: 0,
                remote: from,
                stream: None,
            };
            self.give(
                shard,
                Input::Sip(sip::endpoint::Input::Received { flow, bytes }),
            );
        } else if let Some(phone) = self.addresses.get(&to).copied() {
            self.phones[phone].handle(self.now, phone::Input::Sip { from, bytes });
            self.drain_phone(phone);
        }
    }

    fn give(&mut self, shard: usize, input: Input) {
        let clock = self.clock();
        if let Some(switch) = self.shards.get_mut(shard) {
            self.turn.depth += 1;
            switch.handle(clock, input);
            self.perform(shard);
            self.turn.depth -= 1;
            self.end_turn();
        }
    }

    fn perform(&mut self, shard: usize) {
        while let Some(output) = self.shards[shard].poll() {
            match output {
                Output::Transmit { flow, bytes, .. } => {
                    self.turn.messages.push((SWITCH, flow.remote, bytes));
                }
                Output::Forget { key } => self.turn.forgotten.push((shard, key)),
                Output::Media(command) => self.media(shard, command),
                Output::Recording(command) => {
                    if let Some(event) = self.recorder.command(self.start, command) {
                        self.give(shard, Input::Recording(event));
                    }
                }
                Output::Cdr(cdr) => self.turn.cdrs.push(*cdr),
                Output::Handover { shard, flow, bytes } => {
                    self.give(usize::from(shard), Input::HandedOver { flow, bytes })
                }
                Output::Registration(report) => self.registration(shard, *report),
                Output::Reachability(report) => self.reached(shard, *report),
                Output::Lookup(question) => {
                    let records = self.names.get(&question).cloned();
                    let result = records.ok_or(LookupError::NotFound);
                    let answer = sip::endpoint::Input::Answer { question, result };
                    self.give(shard, Input::Sip(answer));
                }
                Output::Misbehaved { .. } | Output::Ignored(_) => {}
            }
        }
    }

    /// Does what the turn has gathered: the journal first, then records, then messages, unless the process dies on it.
    fn end_turn(&mut self) {
        if self.turn.depth > 0 {
            return;
        }
        for shard in 0..self.shards.len() {
            let entries = &mut self.turn.entries;
            self.shards[shard].end_turn(|key, state| entries.push(((shard, key), state.to_vec())));
            self.turn.depth += 1;
            self.perform(shard);
            self.turn.depth -= 1;
        }
        let turn = std::mem::take(&mut self.turn);
        let doomed = self.doomed.take();
        let death = doomed.map(|(death, _)| death);
        let written = match death {
            Some(Death::Writing(entries)) => entries,
            _ => usize::MAX,
        };
        self.journal.extend(turn.entries.into_iter().take(written));
        if !matches!(death, Some(Death::Writing(_) | Death::Written)) {
            for cdr in turn.cdrs {
                // The store has one of each.
                if !self.cdrs.iter().any(|known| known.id == cdr.id) {
                    self.cdrs.push(cdr);
                }
            }
            if death != Some(Death::Recorded) {
                turn.forgotten.iter().for_each(|key| {
                    self.journal.remove(key);
                });
                let sent = match death {
                    Some(Death::Sending(messages)) => messages,
                    _ => usize::MAX,
                };
                for (from, to, bytes) in turn.messages.into_iter().take(sent) {
                    self.send(from, to, bytes);
                }
            }
        }
        if let Some((_, dead)) = doomed {
            self.die(dead);
        }
    }

    fn clock(&self) -> Clock {
        Clock {
            now: self.now,
            unix_ms: START_UNIX_MS + self.elapsed().as_millis() as i64 + self.clock_set_ms,
        }
    }

    /// Keeps what a shard reports and tells the others of a peer's binding, as the driver does.
    fn registration(&mut self, shard: usize, report: Registration) {
        self.registrations.push((self.elapsed(), report.clone()));
        let binding = match (report.direction, report.event) {
            (RegistrationDirection::Inbound, RegistrationEvent::Registered { binding, .. }) => {
                binding.map(Arc::new)
            }
            (RegistrationDirection::Inbound, RegistrationEvent::Ended(_)) => None,
            _ => return,
        };
        match &binding {
            Some(binding) => {
                self.bindings
                    .insert(report.connection.clone(), Arc::clone(binding));
            }
            None => {
                self.bindings.remove(&report.connection);
            }
        }
        let change = DirectoryChange::Binding {
            connection: report.connection,
            binding,
        };
        for other in (0..self.shards.len()).filter(|other| *other != shard) {
            self.give(other, Input::Directory(change.clone()));
        }
    }

    /// Tells the other shards whether a peer answers, as the driver does.
    fn reached(&mut self, shard: usize, report: Reachability) {
        self.reachability.push((self.elapsed(), report.clone()));
        let change = DirectoryChange::Silent {
            connection: report.connection,
            since_ms: (report.state == ReachabilityState::Down).then_some(report.at_ms),
        };
        for other in (0..self.shards.len()).filter(|other| *other != shard) {
            self.give(other, Input::Directory(change.clone()));
        }
    }

    fn drain_phone(&mut self, index: usize) {
        let own = self
            .addresses
            .iter()
            .find(|(_, phone)| **phone == index)
            .map(|(address, _)| *address);
        while let Some(output) = self.phones[index].poll() {
            match output {
                phone::Output::Sip { to, bytes } => self.send(own.unwrap_or(SWITCH), to, bytes),
                phone::Output::Rtp { .. } => {}
                phone::Output::Event(event) => self.events.push((index, event)),
            }
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let fates: Vec<Duration> = self.weather.fate(&mut self.random).collect();
        if let Some(messages) = &mut self.messages {
            let after = self.now - self.start;
            messages.push(Sent {
                after,
                from,
                to,
                bytes: bytes.clone(),
                copies: fates.len(),
            });
        }
        for delay in fates {
            self.schedule(
                self.now + delay,
                Happening::Datagram {
                    from,
                    to,
                    bytes: bytes.clone(),
                },
            );
        }
    }

    fn schedule(&mut self, at: Instant, what: Happening) {
        self.serial += 1;
        self.queue.push(Reverse(Due {
            at,
            serial: self.serial,
            what,
        }));
    }

    /// What the media threads were told, in order; empty unless messages are kept.
    pub fn orders(&self) -> &[Command] {
        &self.orders
    }

    /// The media thread of a shard says something of its own accord.
    pub fn media_says(&mut self, shard: usize, event: MediaEvent) {
        self.give(shard, Input::Media(event));
    }

    /// The media thread of this world: ports without packets.
    fn media(&mut self, shard: usize, command: Command) {
        if self.messages.is_some() {
            self.orders.push(command.clone());
        }
        match command {
            Command::Open { relay, .. } => {
                let event = if self.relays.len() >= self.relays_max {
                    MediaEvent::OpenFailed {
                        relay,
                        why: "no ports left".to_owned(),
                    }
                } else {
                    let a_port = 20_000 + self.next_port * 4 % 40_000;
                    self.next_port = self.next_port.wrapping_add(1);
                    self.relays.insert(relay, (a_port, a_port + 2));
                    MediaEvent::Opened {
                        relay,
                        a_port,
                        b_port: a_port + 2,
                    }
                };
                self.give(shard, Input::Media(event));
            }
            Command::Reopen { relay, a, b, .. } => {
                self.relays.insert(relay, (a.port(), b.port()));
                let event = MediaEvent::Opened {
                    relay,
                    a_port: a.port(),
                    b_port: b.port(),
                };
                self.give(shard, Input::Media(event));
            }
            Command::Close { relay } if self.relays.remove(&relay).is_some() => {
                let stats = Box::new(RelayStats::default());
                self.give(shard, Input::Media(MediaEvent::Closed { relay, stats }));
            }
            Command::Record { relay, recording } => self.recorder.heard(relay, recording),
            // Everything else is about packets, of which this world has none.
            _ => {}
        }
    }
}

/// Of the certificate that the media threads of this world would show.
pub fn dtls_fingerprint() -> Fingerprint {
    Fingerprint::of(HashFunction::Sha256, b"the simulated certificate")
}

/// The shards of a switch that starts.
fn switches(
    count: u16,
    rest_after: Duration,
    options_ping: Option<Duration>,
    random: &mut Random,
    clock: Clock,
) -> Vec<Switch> {
    (0..count)
        .map(|owner| {
            let interface = Interface {
                transport: Transport::Udp,
                local: SWITCH,
                advertise: SWITCH.ip().to_string().into(),
                port: SWITCH.port(),
                alternate: false,
            };
            let shard = ShardConfig {
                sip: sip::endpoint::Config::new(vec![interface], owner),
                shards: count,
                media_timeout: Duration::from_secs(60),
                transcoded_calls_max: TRANSCODED_CALLS,
                ringback: RingingTone::of_country(RINGBACK_COUNTRY).ok(),
                hostname: "switch.example".to_owned(),
                options_ping,
                digest_algorithms: sip::auth::ALGORITHMS.to_vec(),
                guard: GuardConfig::default(),
                key_seed: KeySeed([owner as u8; 32]),
                dtls_fingerprint: dtls_fingerprint(),
                rest_after,
                keeps_calls: true,
            };
            Switch::new(shard, random.next_u64(), clock)
        })
        .collect()
}
