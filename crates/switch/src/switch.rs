//! One shard: gives each input to the call it concerns.

use crate::call::{
    self, Call, CallKey, CallTimer, Stage, hangup, minimum_duration, offers, progress, recording,
    setup,
};
use crate::calls::Calls;
use crate::core::Core;
use crate::directory::{Directory, DirectoryChange};
use crate::door::{Door, Owner};
use crate::guard::{GuardConfig, Ignored};
use crate::journal::Journal;
use crate::outbound_registration::OutboundRegistrations;
use crate::pings::Pings;
use crate::quarantine;
use crate::registrar::Registrar;
use media::dtls::Fingerprint;
use media::recorder;
use media::relay::{Command, Event as MediaEvent, Side};
use media::ringing_tones::RingingTone;
use media::srtp::KeySeed;
use model::cdr::Cdr;
use model::{ConnectionKey, PeerState, Reachability, Registration};
use sip::Misbehaviour;
use sip::endpoint::Flow;
use sip::event::{Event, ServerRequestId, SessionId};
use sip::message::header::challenge::Algorithm;
use sip::message::{ByteStr, Method, ResponseDraft};
use sip::resolve::Question;
use std::cmp::Reverse;
use std::fmt;
use std::time::{Duration, Instant};

/// A wall clock that differs from the other one by as much between two inputs has been set. Less is how clocks are.
const CLOCK_STEP_MS: i64 = 2_000;

/// The two clocks, read once for each batch of inputs.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// For timers.
    pub now: Instant,
    /// For records and schedules: milliseconds since the Unix epoch.
    pub unix_ms: i64,
}

keep::keep!(struct Clock { now, unix_ms });

impl Clock {
    /// The wall clock at a moment after this one, if nobody sets it in between.
    pub(crate) fn later(&self, now: Instant) -> i64 {
        let since = now.saturating_duration_since(self.now).as_millis();
        self.unix_ms
            .saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }
}

/// What a shard is told at its start.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// The SIP stack: interfaces, owner number, timers, bounds.
    pub sip: sip::endpoint::Config,
    /// How many shards there are. This one's number is `sip.owner`.
    pub shards: u16,
    /// Silence of both sides after which a call is ended; zero means never.
    pub media_timeout: Duration,
    /// Calls whose audio may be converted at one time. Beyond that, offers are not widened any more.
    pub transcoded_calls_max: usize,
    /// The ringing tone that callers hear from us; `None` means silence.
    pub ringback: Option<&'static RingingTone>,
    /// Host name of this node, for routes that hold on one node only.
    pub hostname: String,
    /// How often the peers of connections are asked with OPTIONS whether they are there; `None` means never.
    pub options_ping: Option<Duration>,
    /// What challenges offer to peers that have to authenticate, in this order.
    pub digest_algorithms: Vec<Algorithm>,
    /// When a source that tries names and passwords is ignored.
    pub guard: GuardConfig,
    /// Of the keys of SRTP; from the operating system's generator, and another one in each shard.
    pub key_seed: KeySeed,
    /// Of the certificate that the media threads shake hands with.
    pub dtls_fingerprint: Fingerprint,
    /// How long after it began, or was last unpacked, a call is packed up until something happens to it: a matter of
    /// memory alone. [`REST_AFTER`](crate::REST_AFTER) is the usual.
    pub rest_after: Duration,
    /// Whether calls are to outlive the process: [`Switch::end_turn`] gives entries and [`Output::Forget`] is told then.
    pub keeps_calls: bool,
}

/// Something that happened outside.
#[derive(Debug)]
pub enum Input {
    /// A SIP message, a look-up's answer, a stream that closed.
    Sip(sip::endpoint::Input),
    /// A first request that another shard handed over: it is ours, whatever we would have guessed.
    HandedOver {
        /// Where it came from.
        flow: Flow,
        /// The message.
        bytes: bytes::Bytes,
    },
    /// From the media thread.
    Media(MediaEvent),
    /// From the recorder.
    Recording(recorder::Event),
    /// Records changed.
    Directory(DirectoryChange),
    /// New calls are refused from now on, with this Retry-After.
    Drain {
        /// Seconds after which a caller may try again.
        retry_after_seconds: u32,
    },
    /// Every call is ended now.
    HangUpAll,
    /// The time that [`Switch::poll_timeout`] named has come.
    Timeout,
}

/// Something to be done outside.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Transmit {
        /// Where to and by which interface.
        flow: Flow,
        /// The message.
        bytes: bytes::Bytes,
        /// What the peer has to prove over TLS, as in [`sip::endpoint::Output::Transmit`].
        peer: Option<ByteStr>,
    },
    /// Look this name up.
    Lookup(Question),
    /// Tell the media thread.
    Media(Command),
    /// Tell the recorder. What media threads are told afterwards is to follow after this.
    Recording(recorder::Command),
    /// Write this record.
    Cdr(Box<Cdr>),
    /// The call is over, nothing has to be said of it any more, and its record has been handed out.
    ///
    /// This may be written late but never early: not before the records handed out until now are stored. A call whose
    /// entry is still there hands its record out again after a restart, under the same identifier.
    Forget {
        /// The key of the call, as [`Switch::end_turn`] gives it.
        key: u64,
    },
    /// Give this message to the shard that owns it.
    Handover {
        /// Number of the shard.
        shard: u16,
        /// Where it came from.
        flow: Flow,
        /// The message.
        bytes: bytes::Bytes,
    },
    /// A registration was made, ended, or could not be made: keep it, tell the other shards of a peer's, log it.
    Registration(Box<Registration>),
    /// Whether a peer answers has changed: tell the other shards, log it.
    Reachability(Box<Reachability>),
    /// A source has tried too many names or passwords and is not answered for a while; for the log.
    Ignored(Ignored),
    /// A peer broke the rules; for logs and counters.
    Misbehaved {
        /// Where its message came from.
        flow: Flow,
        /// Which rule.
        why: Misbehaviour,
    },
}

/// What a shard holds and has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls that are not over.
    pub calls: usize,
    /// Calls that are over and wait for the relay's statistics.
    pub calls_released: usize,
    /// Calls that are packed up, for nothing happens to them.
    pub calls_resting: usize,
    /// How often a call was packed up, since the start.
    pub rests: u64,
    /// Calls whose audio is converted from one codec to another, or was.
    pub transcoded_calls: usize,
    /// Relays open or being opened.
    pub relays: usize,
    /// Recordings of calls that are not over or whose record is not complete.
    pub recordings: usize,
    /// SIP sessions.
    pub sessions: usize,
    /// SIP transactions.
    pub transactions: usize,
    /// INVITEs that became calls, since the start.
    pub calls_started: u64,
    /// Calls answered, since the start.
    pub calls_answered: u64,
    /// INVITEs refused before anybody was called, since the start.
    pub calls_refused: u64,
    /// Digest challenges sent, since the start.
    pub challenges: u64,
    /// Requests that named no connection or a wrong password, since the start.
    pub strangers: u64,
    /// Sources that are ignored.
    pub sources_ignored: usize,
    /// Messages of theirs that were not answered, since the start.
    pub messages_ignored: u64,
    /// Messages given to other shards, since the start.
    pub handovers: u64,
    /// Peers registered with us whose bindings this shard holds.
    pub peers_registered: usize,
    /// Connections that this shard registers with their carriers: those that are registered.
    pub carriers_registered: usize,
    /// Those not registered because the last attempt failed.
    pub carriers_failed: usize,
    /// Those whose first attempt is not over.
    pub carriers_trying: usize,
    /// Registrations being taken back.
    pub farewells: usize,
    /// REGISTERs of peers refused, since the start; challenges are none.
    pub registers_refused: u64,
    /// Connections that this shard asks with OPTIONS, by state in the order of [`model::ReachabilityState::ALL`].
    pub pinged: [usize; 3],
    /// Questions asked, since the start.
    pub pings_sent: u64,
    /// Questions without a sign of life, since the start.
    pub pings_missed: u64,
}

/// One shard.
pub struct Switch {
    pub(crate) core: Core,
    pub(crate) calls: Calls,
    door: Door,
    registrar: Registrar,
    outbound: OutboundRegistrations,
    pings: Pings,
    pub(crate) journal: Journal,
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch")
            .field("owner", &self.core.config.sip.owner)
            .field("stats", &self.stats())
            .finish()
    }
}

impl Switch {
    /// A shard without records. `seed` makes tags, branches, nonces and identifiers; `clock` is the start.
    pub fn new(config: ShardConfig, seed: u64, clock: Clock) -> Self {
        let core = Core::new(config, seed, clock);
        Self {
            calls: Calls::new(core.base, core.config.rest_after),
            door: Door::new(core.config.sip.owner, core.config.shards),
            registrar: Registrar::default(),
            outbound: OutboundRegistrations::new(clock.now),
            pings: Pings::new(clock.now, core.config.options_ping),
            journal: Journal::new(core.base),
            core,
        }
    }

    /// Takes one input. Drain [`poll`](Self::poll) before the next, and call [`end_turn`](Self::end_turn) before anything
    /// is sent.
    pub fn handle(&mut self, clock: Clock, input: Input) {
        self.take_clock(clock);
        self.core.keep_time();
        match input {
            Input::Sip(sip::endpoint::Input::Received { flow, bytes }) => {
                match self.door.owner(&self.core.directory, flow, &bytes) {
                    Owner::Here => self.receive(flow, bytes),
                    Owner::Shard(shard) => {
                        self.core.stats.handovers += 1;
                        self.core
                            .out
                            .push_back(Output::Handover { shard, flow, bytes });
                    }
                }
            }
            Input::Sip(other) => {
                if let sip::endpoint::Input::StreamClosed(stream) = &other {
                    self.core.directory.stream_closed(stream.0);
                }
                self.core.endpoint.handle(clock.now, other);
            }
            Input::HandedOver { flow, bytes } => self.receive(flow, bytes),
            Input::Media(event) => self.on_media(event),
            Input::Recording(event) => self.on_recording(event),
            Input::Directory(change) => {
                self.core.directory.apply(change.clone());
                self.core.guard.on_change();
                self.registrar.on_change(&mut self.core, &change);
                self.outbound.on_change(&mut self.core, &change);
                self.pings.on_change(&mut self.core, &change);
            }
            Input::Drain {
                retry_after_seconds,
            } => {
                self.core.endpoint.drain(Some(retry_after_seconds));
                // Carriers need not find out by themselves that nobody takes calls here.
                self.outbound.stop(&mut self.core);
                self.pings.stop();
            }
            Input::HangUpAll => self.hang_up_all(),
            Input::Timeout => self
                .core
                .endpoint
                .handle(clock.now, sip::endpoint::Input::Timeout),
        }
        self.fire_wakes();
        self.registrar.on_time(&mut self.core);
        self.outbound.on_time(&mut self.core);
        self.pings.on_time(&mut self.core);
        quarantine::on_time(&mut self.core);
        self.pump();
    }

    /// The next thing to do outside; `None` when there is nothing more.
    pub fn poll(&mut self) -> Option<Output> {
        self.core.out.pop_front()
    }

    /// Ends a turn of one input or several: gives what is to be written into the journal before anything of the turn is
    /// sent, so that nothing is said that is not kept. Each entry takes the place of the one before it under its key,
    /// which names a call for as long as it is kept, also in the process that comes after this one; see
    /// [`restore`](Self::restore). Drain [`poll`](Self::poll) once more afterwards.
    pub fn end_turn(&mut self, mut keep: impl FnMut(u64, &[u8])) {
        self.keep_calls(&mut keep);
        self.rest_calls();
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = self.core.wakes.peek().map(|wake| wake.0.at);
        let timeouts = [
            own,
            self.core.endpoint.poll_timeout(),
            self.registrar.poll_timeout(),
            self.outbound.poll_timeout(),
            self.pings.poll_timeout(),
            self.core.quarantine.poll_timeout(),
            self.calls.poll_timeout(),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// What the shard holds and has done.
    pub fn stats(&self) -> Stats {
        let endpoint = self.core.endpoint.stats();
        let released = self.core.calls_released;
        let counters = &self.core.stats;
        let carriers = self.outbound.states();
        let pings = self.pings.stats();
        Stats {
            calls: self.calls.len() - released,
            calls_released: released,
            calls_resting: self.calls.resting(),
            rests: self.calls.rests(),
            transcoded_calls: self.core.transcoded_calls,
            relays: self.core.relays.len(),
            recordings: self.core.recordings.len(),
            sessions: endpoint.sessions,
            transactions: endpoint.transactions,
            calls_started: counters.calls_started,
            calls_answered: counters.calls_answered,
            calls_refused: counters.calls_refused,
            challenges: counters.challenges,
            strangers: self.core.guard.failures,
            sources_ignored: self.core.guard.ignored(self.core.clock.now),
            messages_ignored: self.core.guard.unanswered,
            handovers: counters.handovers,
            peers_registered: self.registrar.len(),
            carriers_registered: carriers.registered,
            carriers_failed: carriers.failed,
            carriers_trying: carriers.trying,
            farewells: self.outbound.farewells(),
            registers_refused: counters.registers_refused,
            pinged: pings.by_state,
            pings_sent: pings.sent,
            pings_missed: pings.missed,
        }
    }

    /// How it stands with the peer of a connection; `None` when another shard looks after it, or there is none of this
    /// key.
    pub fn peer_state(&self, clock: Clock, key: &ConnectionKey) -> Option<PeerState> {
        if !self.core.is_mine(key) {
            return None;
        }
        let connection = self.core.directory.connection(key)?;
        let inbound = self.core.directory.binding_of(key);
        let interfaces = &self.core.config.sip.interfaces;
        Some(PeerState {
            outbound: self
                .outbound
                .state_of(connection, interfaces, clock.unix_ms),
            inbound: inbound
                .filter(|binding| binding.expires_ms > clock.unix_ms)
                .map(|binding| model::Binding::clone(binding)),
            options: self.pings.state_of(key),
        })
    }

    /// The records this shard routes by.
    pub fn directory(&self) -> &Directory {
        &self.core.directory
    }

    /// Takes the time over. The wall clock may have been set since the last input; what lasts until a moment of it
    /// lasts as long as before.
    fn take_clock(&mut self, clock: Clock) {
        let core = &mut self.core;
        let before = std::mem::replace(&mut core.clock, clock);
        let step_ms = clock.unix_ms - before.later(clock.now);
        if step_ms.abs() >= CLOCK_STEP_MS {
            core.directory.shift_bindings(step_ms);
            self.registrar.on_clock_set(core, step_ms);
            self.outbound.on_clock_set(step_ms);
        }
    }

    fn receive(&mut self, flow: Flow, bytes: bytes::Bytes) {
        let core = &mut self.core;
        // What continues something of ours goes on: the call was there before its source was found wanting.
        let continues = sip::owner_of(&bytes).is_some() && !bytes.starts_with(b"REGISTER ");
        if !continues && core.guard.ignores(core.clock.now, flow, &core.directory) {
            core.guard.unanswered += 1;
            return;
        }
        let received = sip::endpoint::Input::Received { flow, bytes };
        self.core.endpoint.handle(self.core.clock.now, received);
    }

    /// Drains the endpoint: what it wants sent, and what it tells.
    pub(crate) fn pump(&mut self) {
        while let Some(output) = self.core.endpoint.poll() {
            match output {
                sip::endpoint::Output::Transmit { flow, bytes, peer } => {
                    self.core
                        .out
                        .push_back(Output::Transmit { flow, bytes, peer });
                }
                sip::endpoint::Output::Lookup(question) => {
                    self.core.out.push_back(Output::Lookup(question))
                }
                sip::endpoint::Output::Event(event) => self.on_event(event),
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Invite {
                session,
                request,
                flow,
            } => self.on_invite(session, request, flow),
            Event::Progress {
                session,
                response,
                flow,
            } => {
                self.with_call(session, |core, call, _| {
                    progress::on_progress(core, call, &response, flow)
                });
            }
            Event::Answered {
                session,
                response,
                flow,
            } => {
                self.with_call(session, |core, call, _| {
                    progress::on_answered(core, call, &response, flow)
                });
            }
            Event::Failed {
                session,
                status,
                response,
                cause,
            } => {
                self.with_call(session, |core, call, _| {
                    progress::on_failed(core, call, status, response.as_ref(), cause);
                });
                self.core.disown(session);
            }
            Event::Cancelled { session, request } => {
                self.with_call(session, |core, call, _| {
                    hangup::on_cancelled(core, call, &request)
                });
                self.core.disown(session);
            }
            Event::Established { session, ack } => {
                self.with_call(session, |core, call, _| {
                    progress::on_established(core, call, ack.as_ref())
                });
            }
            Event::Pracked { session, request } => {
                self.with_call(session, |core, call, _| {
                    progress::on_pracked(core, call, &request)
                });
            }
            Event::Offer {
                session,
                method,
                request,
            } => {
                self.with_call(session, |core, call, side| {
                    offers::on_offer(core, call, side, method, &request)
                });
            }
            Event::Updated { session, request } => {
                self.with_call(session, |_, call, side| {
                    call::identity::on_request(call, side, &request);
                });
            }
            Event::OfferWithdrawn { session, .. } => {
                self.with_call(session, |core, call, side| {
                    offers::on_offer_withdrawn(core, call, side)
                });
            }
            Event::OfferResult {
                session,
                status,
                response,
                ..
            } => {
                self.with_call(session, |core, call, side| {
                    offers::on_offer_result(core, call, side, status, response.as_ref());
                });
            }
            Event::OfferAck { session, ack } => {
                self.with_call(session, |core, call, side| {
                    offers::on_offer_ack(core, call, side, ack.as_ref())
                });
            }
            Event::Request {
                id,
                session: None,
                request,
                flow,
            } if request.method() == Some(&Method::Register) => {
                self.registrar
                    .on_register(&mut self.core, id, &request, flow);
            }
            Event::Request {
                id,
                session,
                request,
                ..
            } => self.on_request(id, session, &request),
            Event::Response {
                id,
                status,
                response,
            } => {
                let core = &mut self.core;
                let came = response.is_some();
                let of_ours = self
                    .outbound
                    .on_response(core, id, status, response.as_ref())
                    || self.pings.on_response(core, id, status, came)
                    || quarantine::on_response(core, id, status, came);
                if !of_ours {
                    offers::on_response(&mut self.core, id, status, response.as_ref());
                }
            }
            Event::Ended { session, cause } => {
                self.with_call(session, |core, call, side| {
                    hangup::on_ended(core, call, side, &cause)
                });
                self.core.disown(session);
            }
            Event::Misbehaved { flow, why } => {
                self.core.out.push_back(Output::Misbehaved { flow, why })
            }
        }
    }

    fn on_invite(&mut self, session: SessionId, request: sip::message::Message, flow: Flow) {
        self.core.next_slot = self.calls.vacant_key();
        if let Some(call) = setup::on_invite(&mut self.core, session, request, flow) {
            self.core.stats.calls_started += 1;
            let key = call.key;
            self.calls.insert(self.core.clock.now, call);
            self.core.touch(key);
            self.retire(key);
        }
    }

    fn on_request(
        &mut self,
        id: ServerRequestId,
        session: Option<SessionId>,
        request: &sip::message::Message,
    ) {
        let Some(session) = session else {
            // MESSAGE and NOTIFY are served within calls; outside of one nobody here takes them.
            let refusal = ResponseDraft::new(501);
            self.core.endpoint.respond(self.core.clock.now, id, refusal);
            return;
        };
        if !self.with_call(session, |core, call, side| {
            offers::on_request(core, call, side, id, request)
        }) {
            self.core
                .endpoint
                .respond(self.core.clock.now, id, ResponseDraft::new(481));
        }
    }

    fn on_media(&mut self, event: MediaEvent) {
        let relay = match &event {
            MediaEvent::Opened { relay, .. }
            | MediaEvent::OpenFailed { relay, .. }
            | MediaEvent::Timeout { relay, .. }
            | MediaEvent::Secured { relay, .. }
            | MediaEvent::Progress { relay, .. }
            | MediaEvent::HandshakeFailed { relay, .. }
            | MediaEvent::Closed { relay, .. } => *relay,
        };
        let Some(key) = self.core.relays.get(&relay).map(|relayed| relayed.call) else {
            // The call was dropped without waiting for this relay: nothing of it must stay open.
            if matches!(event, MediaEvent::Opened { .. }) {
                self.core.media(Command::Close { relay });
            }
            return;
        };
        let core = &mut self.core;
        let Some(call) = self.calls.get(core, key) else {
            return;
        };
        match event {
            MediaEvent::Opened { a_port, b_port, .. } => {
                let setup = call.stage == Stage::Preparing;
                if let Some((side, body)) = call.media.opened(core, relay, a_port, b_port, setup) {
                    if setup {
                        setup::call_out(core, call, body);
                    } else {
                        offers::put_offer(core, call, side, body);
                    }
                }
            }
            MediaEvent::OpenFailed { why, .. } => {
                // Of an earlier process, and its ports are gone.
                let lost = call.media.is_usable(relay);
                let waiting = call.media.open_failed(relay);
                core.disown_relay(relay);
                match (call.stage, waiting) {
                    (stage, _) if stage == Stage::Preparing || lost => {
                        let release =
                            hangup::Release::by_switch(503, format!("No media relay: {why}"));
                        hangup::release(core, call, release, hangup::Said::Nothing);
                    }
                    (_, Some(side)) => hangup::abandon_offer(core, call, side),
                    _ => {}
                }
            }
            MediaEvent::Timeout { silent, .. } => {
                if call.media.is_dead(relay, silent) {
                    hangup::on_media_timeout(core, call);
                }
            }
            MediaEvent::Progress {
                side,
                sent,
                ssrc,
                index,
                ..
            } => core.note(&Command::Resume {
                relay,
                side,
                sent,
                ssrc,
                index,
            }),
            MediaEvent::Secured { side, suite, .. } => {
                let whose = match side {
                    Side::A => "the caller's",
                    Side::B => "the called side's",
                };
                call.trail.step("media", None, || {
                    format!("{whose} media sealed by DTLS-SRTP, {}", suite.name())
                });
            }
            MediaEvent::HandshakeFailed { side, why, .. } => {
                if call.media.is_first(relay) {
                    hangup::on_handshake_failure(core, call, side, &why);
                }
            }
            MediaEvent::Closed { stats, .. } => call.media.closed(core, relay, stats),
        }
        call::identity::tell(core, call);
        core.touch(key);
        self.retire(key);
    }

    fn on_recording(&mut self, event: recorder::Event) {
        let recorder::Event::Ended { recording, outcome } = event;
        let Some(key) = self.core.recordings.remove(&recording) else {
            return;
        };
        if let Some(call) = self.calls.get(&mut self.core, key) {
            recording::on_ended(&mut self.core, call, outcome);
        }
        self.core.touch(key);
        self.retire(key);
    }

    fn fire_wakes(&mut self) {
        while let Some(Reverse(wake)) = self.core.wakes.peek().copied() {
            if wake.at > self.core.clock.now {
                break;
            }
            self.core.wakes.pop();
            // None of these is for a call at rest.
            let Some(call) = self.calls.awake(wake.call) else {
                continue;
            };
            self.core.touch(wake.call);
            match wake.timer {
                CallTimer::Ring => hangup::on_ring_timeout(&mut self.core, call),
                CallTimer::MinimumDuration => minimum_duration::on_full(&mut self.core, call),
                CallTimer::Statistics => {
                    // The relay owes us numbers but the record must not wait for ever.
                    self.finish(wake.call);
                    continue;
                }
            }
            self.retire(wake.call);
        }
    }

    /// Lays calls to rest that nothing happens to.
    fn rest_calls(&mut self) {
        while let Some(session) = self.core.endpoint.next_woken() {
            // Its call is awake as a rule. Where it is not, it wakes, for both go to rest together.
            if let Some((key, _)) = self.core.sessions.get(&session).copied() {
                self.calls.get(&mut self.core, key);
            }
        }
        self.calls.on_time(&mut self.core);
    }

    fn hang_up_all(&mut self) {
        for key in self.calls.keys() {
            if let Some(call) = self.calls.get(&mut self.core, key) {
                let release = hangup::Release::by_switch(503, "Shutting down");
                hangup::release(&mut self.core, call, release, hangup::Said::Nothing);
            }
            self.core.touch(key);
            self.retire(key);
        }
    }

    /// Runs `f` on the call of a session. False when there is none any more.
    fn with_call(
        &mut self,
        session: SessionId,
        f: impl FnOnce(&mut Core, &mut Call, Side),
    ) -> bool {
        let Some((key, side)) = self.core.sessions.get(&session).copied() else {
            return false;
        };
        let Some(call) = self.calls.get(&mut self.core, key) else {
            return false;
        };
        f(&mut self.core, call, side);
        call::identity::tell(&mut self.core, call);
        self.core.touch(key);
        self.retire(key);
        true
    }

    /// Writes the record of a call that is over, has its statistics, and whose recording has ended.
    pub(crate) fn retire(&mut self, key: CallKey) {
        let core = &mut self.core;
        let done = self.calls.awake(key).is_some_and(|call| {
            call.stage == Stage::Released
                && call.media.is_closed()
                && recording::has_ended(core, call)
        });
        if done {
            self.finish(key);
        }
    }

    fn finish(&mut self, key: CallKey) {
        let Some(mut call) = self.calls.remove(&mut self.core, key) else {
            return;
        };
        if call.stage == Stage::Released {
            self.core.calls_released -= 1;
        }
        for relay in call.media.relays() {
            self.core.relays.remove(&relay);
        }
        // Without statistics the recording may not even know of its end.
        recording::has_ended(&mut self.core, &mut call);
        if let Some(recording) = recording::id(&call) {
            self.core.recordings.remove(&recording);
        }
        if call.media.is_transcoded() {
            self.core.transcoded_calls -= 1;
        }
        for session in [call.a.session, call.b.session].into_iter().flatten() {
            self.core.disown(session);
        }
        let parting = self.part_with(&mut call);
        self.core.record(call::hangup::cdr(call));
        self.journal.take_leave(&mut self.core, parting);
    }
}
