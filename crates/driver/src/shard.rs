//! The loop of one shard: mail and datagrams in, [`Switch::handle`], [`Switch::poll`], effects out.
//!
//! There are no decisions here. Whoever wants to know what the switch does reads the `switch` crate; whoever wants to
//! know how it reaches the world reads [`Shard::perform`].
//!
//! # When something panics
//!
//! `handle` and `poll` run under `catch_unwind`. A panic is a bug of ours that one message uncovered. It is logged
//! with the head of that message and counted; the message is dropped, the call it belonged to may be left half done
//! until its timers end it, and all other calls go on. The loop around them is guarded in the same way. That is worse than no bug and better than losing every call.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use bytes::Bytes;
use media::relay::Command;
use sip::endpoint::{Flow, Input as SipInput};
use sip::message::ByteStr;
use sockets::{Poller, Ready, ReceiveBatch, SendBatch, UdpSocket};
use switch::{Clock, Ignored, Input, Output, RestoreReport, Switch};
use tokio::sync::oneshot;
use tracing::{debug, error, warn};

use crate::cdr::CdrQueue;
use crate::desk::MediaDesk;
use crate::dns::Dns;
use crate::flows::Flows;
use crate::journal::{JournalDesk, Replayed};
use crate::mailbox::Mailbox;
use crate::misbehaviours::MisbehaviourCounts;
use crate::pace::Pace;
use crate::reachability::ReachabilityQueue;
use crate::recorder::{RecorderDesk, RecorderQueue};
use crate::registrations::RegistrationQueue;
use crate::shards::{Mail, Shards};
use crate::tap::{Tap, Traced};
use crate::wire::MessageCounts;

/// Mail and datagrams that one turn takes before it sends what they caused and looks at the clock again.
const MAIL_PER_TURN: usize = 256;
const RECEIVE_BATCH: usize = 32;
const BATCHES_PER_TURN: usize = 8;

/// The largest datagram there is.
const DATAGRAM_BYTES: usize = 65_535;

/// Datagrams per `sendmmsg`.
const SEND_BATCH: usize = 64;

/// A datagram up to this length that is no message keeps a NAT binding open.
const KEEP_ALIVE_BYTES: usize = 4;

/// How often the gauges are brought up to date.
const GAUGES_EVERY: Duration = Duration::from_millis(250);

/// How long due timers may wait for others to be dealt with in one go. Every transaction ends with timers that nobody
/// waits for; one by one they would wake the thread several times for each call.
const TIMER_GRAIN: Duration = Duration::from_millis(5);

/// Up to so many sockets are read after a rest without asking first which of them have something: one that has nothing
/// costs as much as the question.
const SOCKETS_READ_UNASKED: usize = 2;

/// How soon to look again when the media thread or the recorder had no room.
const MEDIA_RETRY: Duration = Duration::from_millis(1);

/// The token of the mailbox; sockets have theirs from their interface.
const MAILBOX: u64 = u64::MAX;

/// Everything that a shard reaches by sending.
pub(crate) struct Outside {
    pub(crate) shards: Arc<Shards>,
    pub(crate) flows: Flows,
    pub(crate) dns: Dns,
    pub(crate) journal: JournalDesk,
    pub(crate) recorder: RecorderQueue,
    pub(crate) cdrs: CdrQueue,
    pub(crate) registrations: RegistrationQueue,
    pub(crate) reachability: ReachabilityQueue,
    pub(crate) tap: Tap,
}

/// Counts for the metrics.
#[derive(Default)]
pub(crate) struct ShardCounts {
    pub(crate) received: MessageCounts,
    pub(crate) sent: MessageCounts,
    pub(crate) misbehaved: MisbehaviourCounts,
    pub(crate) send_failures: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) calls: AtomicUsize,
    pub(crate) calls_resting: AtomicUsize,
    pub(crate) transcoded_calls: AtomicUsize,
    pub(crate) relays: AtomicUsize,
    pub(crate) sessions: AtomicUsize,
    pub(crate) transactions: AtomicUsize,
    pub(crate) calls_started: AtomicU64,
    pub(crate) calls_answered: AtomicU64,
    pub(crate) calls_refused: AtomicU64,
    pub(crate) challenges: AtomicU64,
    pub(crate) strangers: AtomicU64,
    pub(crate) sources_ignored: AtomicUsize,
    pub(crate) messages_ignored: AtomicU64,
    pub(crate) handovers: AtomicU64,
    pub(crate) registers_refused: AtomicU64,
    pub(crate) peers_registered: AtomicUsize,
    pub(crate) carriers_registered: AtomicUsize,
    pub(crate) carriers_failed: AtomicUsize,
    pub(crate) carriers_trying: AtomicUsize,
    /// In the order of [`model::ReachabilityState::ALL`].
    pub(crate) pinged: [AtomicUsize; 3],
    pub(crate) pings_sent: AtomicU64,
    pub(crate) pings_missed: AtomicU64,
    pub(crate) pairs_in_use: AtomicUsize,
    pub(crate) pairs_quiet: AtomicUsize,
    pub(crate) pairs_free: AtomicUsize,
}

/// What is left of a shard that has ended.
pub(crate) struct Remains {
    /// Calls that are over may still wait in it for the store to have their records.
    pub(crate) journal: JournalDesk,
    /// The pairs of media ports that calls hold or held until now, by the keys of their sockets.
    pub(crate) held_pairs: HashSet<u32>,
}

/// A message for a stream, and whom its far end has to be.
type ForStream = (Flow, Option<ByteStr>, Bytes);

/// One shard with everything it touches.
pub(crate) struct Shard {
    number: u16,
    switch: Switch,
    mailbox: Mailbox<Mail>,
    media: MediaDesk,
    recorder: RecorderDesk,
    outside: Outside,
    counts: Arc<ShardCounts>,
    /// By interface; streams have none.
    sockets: Vec<Option<UdpSocket>>,
    /// What this turn has to say, by interface. It waits until the journal has what it follows from.
    outbox: Vec<Vec<(SocketAddr, Bytes)>>,
    for_streams: Vec<ForStream>,
    poller: Poller,
    ready: Ready,
    /// Interfaces whose sockets have something to read.
    readable: Vec<usize>,
    received: ReceiveBatch,
    sending: SendBatch,
    /// Flows to which something could not be sent; the switch hears of them next.
    failed: Vec<Flow>,
    gauges_due: Instant,
    gauged: bool,
    /// Timers are not looked at before: see [`TIMER_GRAIN`].
    timers_rest_until: Instant,
    /// How long messages may gather before the next look.
    pace: Pace,
    /// Messages that this turn has taken from sockets, streams and other shards.
    heard: usize,
}

impl Shard {
    /// A shard that listens on `sockets`, one place per interface.
    pub(crate) fn new(
        number: u16,
        switch: Switch,
        mailbox: Mailbox<Mail>,
        media: MediaDesk,
        sockets: Vec<Option<UdpSocket>>,
        outside: Outside,
        counts: Arc<ShardCounts>,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(mailbox.waker(), MAILBOX)?;
        for (interface, socket) in sockets.iter().enumerate() {
            if let Some(socket) = socket {
                poller.add(socket, interface as u64)?;
            }
        }
        let now = Instant::now();
        Ok(Self {
            number,
            switch,
            mailbox,
            media,
            recorder: RecorderDesk::new(number, outside.recorder.clone()),
            outside,
            counts,
            outbox: sockets
                .iter()
                .map(|_| Vec::with_capacity(SEND_BATCH))
                .collect(),
            for_streams: Vec::new(),
            ready: Ready::new(sockets.len() + 1),
            readable: Vec::new(),
            sockets,
            poller,
            received: ReceiveBatch::new(RECEIVE_BATCH, DATAGRAM_BYTES),
            sending: SendBatch::new(SEND_BATCH),
            failed: Vec::new(),
            gauges_due: now,
            gauged: false,
            timers_rest_until: now,
            pace: Pace::default(),
            heard: 0,
        })
    }

    /// Starts the thread. It takes over the calls of the last run first, and says to `resumed` what became of them.
    pub(crate) fn spawn(
        self,
        calls: Replayed,
        resumed: oneshot::Sender<RestoreReport>,
    ) -> io::Result<thread::JoinHandle<Remains>> {
        let name = format!("shard-{}", self.number);
        thread::Builder::new()
            .name(name)
            .spawn(move || self.run(calls, resumed))
    }

    fn run(mut self, calls: Replayed, resumed: oneshot::Sender<RestoreReport>) -> Remains {
        let report = self.resume(&calls);
        drop(calls);
        // Whoever waited for this may have given up.
        let _ = resumed.send(report);
        let mut running = true;
        while running {
            running = catch_unwind(AssertUnwindSafe(|| self.turn())).unwrap_or_else(|_| {
                self.panicked(None);
                true
            });
        }
        self.media.stop();
        Remains {
            held_pairs: self.media.held(Instant::now()),
            journal: self.outside.journal,
        }
    }

    /// Takes over the calls that the last run left. Nothing else has been heard yet, whatever waits in the sockets.
    fn resume(&mut self, calls: &Replayed) -> RestoreReport {
        let clock = clock();
        let mut report = RestoreReport::default();
        if !calls.is_empty() {
            let entries = calls.iter().map(|(key, state)| (*key, &state[..]));
            match catch_unwind(AssertUnwindSafe(|| self.switch.restore(clock, entries))) {
                Ok(restored) => report = restored,
                Err(_) => self.panicked(None),
            }
            self.obey(clock, None);
        }
        self.media.all_are_back(clock.now);
        self.send();
        report
    }

    /// Mail, datagrams, timers; then everything that followed is sent, and the thread sleeps. `false` when told to
    /// stop.
    fn turn(&mut self) -> bool {
        let began = Instant::now();
        self.heard = 0;
        let running = self.read_mail();
        self.read_sockets();
        self.pace.looked(began, self.heard);
        self.fire_timers();
        self.send();
        self.report_failures();
        self.gauges();
        if running {
            self.sleep();
        }
        running
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        let due = self.switch.poll_timeout().is_some_and(|due| due <= now);
        if due && now >= self.timers_rest_until {
            self.timers_rest_until = now + TIMER_GRAIN;
            self.give(Input::Timeout);
        }
    }

    /// `false` when told to stop.
    fn read_mail(&mut self) -> bool {
        for _ in 0..MAIL_PER_TURN {
            let Some(mail) = self.mailbox.next() else {
                break;
            };
            match mail {
                Mail::Sip(input) => {
                    if let SipInput::Received { bytes, .. } = &input {
                        self.counts.received.count(bytes);
                    }
                    self.give(Input::Sip(input));
                }
                Mail::HandedOver { flow, bytes } => self.give(Input::HandedOver { flow, bytes }),
                Mail::Media(event) => {
                    self.media.heard(Instant::now(), &event);
                    self.give(Input::Media(event));
                }
                Mail::Recording(event) => self.give(Input::Recording(event)),
                Mail::Directory { changes, applied } => {
                    changes
                        .into_iter()
                        .for_each(|change| self.give(Input::Directory(change)));
                    // Whoever waited for this may have given up.
                    let _ = applied.send(());
                }
                Mail::Drain {
                    retry_after_seconds,
                } => self.give(Input::Drain {
                    retry_after_seconds,
                }),
                Mail::HangUpAll => self.give(Input::HangUpAll),
                Mail::Ask(answer) => answer(&self.switch, clock()),
                Mail::Stop => return false,
            }
        }
        true
    }

    /// Reads the sockets that were reported as ready.
    fn read_sockets(&mut self) {
        for interface in std::mem::take(&mut self.readable) {
            for _ in 0..BATCHES_PER_TURN {
                let Some(Some(socket)) = self.sockets.get(interface) else {
                    break;
                };
                // An error here is an earlier datagram's, bounced by its receiver; the kernel has cleared it now.
                let count = self.received.receive(socket).unwrap_or(0);
                let local = socket.local();
                let datagrams: Vec<_> = self
                    .received
                    .datagrams()
                    .map(|d| (d.source, Bytes::copy_from_slice(d.bytes)))
                    .collect();
                for (remote, bytes) in datagrams {
                    self.datagram(interface as u8, local, remote, bytes);
                }
                if count < RECEIVE_BATCH {
                    break;
                }
            }
        }
    }

    fn datagram(&mut self, interface: u8, local: SocketAddr, remote: SocketAddr, bytes: Bytes) {
        if bytes.len() <= KEEP_ALIVE_BYTES {
            return;
        }
        self.counts.received.count(&bytes);
        self.trace(true, local, remote, &bytes);
        let flow = Flow {
            interface,
            remote,
            stream: None,
        };
        self.give(Input::Sip(SipInput::Received { flow, bytes }));
    }

    /// Gives the switch one input and does everything that follows from it.
    fn give(&mut self, input: Input) {
        let message = match &input {
            Input::Sip(SipInput::Received { bytes, .. }) | Input::HandedOver { bytes, .. } => {
                Some(bytes.clone())
            }
            _ => None,
        };
        self.heard += usize::from(message.is_some());
        let clock = clock();
        self.handle(clock, input, message.as_ref());
        self.obey(clock, message.as_ref());
        if self
            .outbox
            .iter()
            .any(|waiting| waiting.len() >= SEND_BATCH)
        {
            self.send();
        }
    }

    fn handle(&mut self, clock: Clock, input: Input, message: Option<&Bytes>) {
        if catch_unwind(AssertUnwindSafe(|| self.switch.handle(clock, input))).is_err() {
            self.panicked(message);
        }
    }

    /// Does everything that the switch wants done, and tells it what came of that at once.
    fn obey(&mut self, clock: Clock, message: Option<&Bytes>) {
        let mut inputs = VecDeque::new();
        loop {
            loop {
                match catch_unwind(AssertUnwindSafe(|| self.switch.poll())) {
                    Ok(Some(output)) => inputs.extend(self.perform(clock.now, output)),
                    Ok(None) => break,
                    Err(_) => {
                        self.panicked(message);
                        break;
                    }
                }
            }
            let Some(input) = inputs.pop_front() else {
                return;
            };
            self.handle(clock, input, message);
        }
    }

    /// One arm per kind of effect. What comes back is an input that the effect caused at once.
    fn perform(&mut self, now: Instant, output: Output) -> Option<Input> {
        match output {
            Output::Transmit { flow, bytes, peer } => self.transmit(flow, peer, bytes),
            Output::Media(command) => {
                if matches!(command, Command::Reopen { .. }) {
                    self.media.catch_up();
                }
                return self.media.command(now, command).map(Input::Media);
            }
            Output::Recording(command) => {
                return self.recorder.command(command).map(Input::Recording);
            }
            Output::Lookup(question) => {
                if !self.outside.dns.ask(question.clone(), self.number) {
                    let result = Err(sip::resolve::LookupError::ServerFailure);
                    return Some(Input::Sip(SipInput::Answer { question, result }));
                }
            }
            Output::Cdr(cdr) => {
                if self.outside.cdrs.push(cdr) {
                    self.outside.journal.record_handed_out();
                }
            }
            Output::Forget { key } => self.outside.journal.forget(key),
            Output::Handover { shard, flow, bytes } => {
                self.outside
                    .shards
                    .try_send(usize::from(shard), Mail::HandedOver { flow, bytes });
            }
            Output::Registration(report) => self.outside.registrations.push(self.number, *report),
            Output::Reachability(report) => self.outside.reachability.push(self.number, *report),
            Output::Ignored(Ignored {
                source,
                streams,
                time,
            }) => {
                let over = if streams { "streams" } else { "datagrams" };
                let seconds = time.as_secs();
                warn!(%source, over, seconds, "a source tried too many names or passwords and is ignored");
            }
            Output::Misbehaved { flow, why } => {
                self.counts.misbehaved.count(&why);
                debug!(remote = %flow.remote, %why, "a peer broke the rules");
            }
        }
        None
    }

    fn transmit(&mut self, flow: Flow, peer: Option<ByteStr>, bytes: Bytes) {
        self.counts.sent.count(&bytes);
        let interface = usize::from(flow.interface);
        match self.sockets.get(interface).and_then(Option::as_ref) {
            Some(socket) => {
                self.trace(false, socket.local(), flow.remote, &bytes);
                self.outbox[interface].push((flow.remote, bytes));
            }
            None => self.for_streams.push((flow, peer, bytes)),
        }
    }

    /// Writes the journal, then sends what has gathered: nothing is said that a crash could make us forget.
    fn send(&mut self) {
        let journal = &mut self.outside.journal;
        let told = catch_unwind(AssertUnwindSafe(|| {
            self.switch.end_turn(|key, state| journal.keep(key, state))
        }));
        if told.is_err() {
            self.panicked(None);
        }
        self.obey(clock(), None);
        self.outside.journal.write(Instant::now());
        for (flow, peer, bytes) in self.for_streams.drain(..) {
            if !self.outside.flows.send(flow, peer, bytes, self.number) {
                self.failed.push(flow);
            }
        }
        for (interface, datagrams) in self.outbox.iter_mut().enumerate() {
            let Some(socket) = &self.sockets[interface] else {
                continue;
            };
            let datagrams: &mut Vec<_> = datagrams;
            self.sending.send(socket, datagrams, |index, error| {
                let remote = datagrams[index].0;
                debug!(%remote, %error, "a datagram could not be sent");
                self.failed.push(Flow {
                    interface: interface as u8,
                    remote,
                    stream: None,
                });
            });
            datagrams.clear();
        }
    }

    /// Tells the switch what could not be sent. What follows from that may fail again, and is told the next time.
    fn report_failures(&mut self) {
        for flow in std::mem::take(&mut self.failed) {
            self.counts.send_failures.fetch_add(1, Ordering::Relaxed);
            self.give(Input::Sip(SipInput::SendFailed { flow }));
        }
    }

    /// While messages flow, lets them gather until the next look is due; else waits for one, for mail or a timer.
    fn sleep(&mut self) {
        let flushed = [self.media.flush(), self.recorder.flush()];
        if !flushed.contains(&false) && !self.has_something_to_say() {
            let rest = self.pace.rest(Instant::now());
            if !rest.is_zero() {
                // Nothing ends this: what comes meanwhile is what is to gather. Nobody has to wake us either, as the
                // mailbox has not been told that we sleep.
                thread::sleep(rest);
                if self.sockets.iter().flatten().count() <= SOCKETS_READ_UNASKED {
                    self.readable.extend(0..self.sockets.len());
                    return;
                }
            }
        }
        let now = Instant::now();
        let mut timeout = self.switch.poll_timeout().map(|due| {
            due.max(self.timers_rest_until)
                .saturating_duration_since(now)
        });
        let shorten = |timeout: Option<Duration>, limit: Duration| {
            Some(timeout.map_or(limit, |t| t.min(limit)))
        };
        if flushed.contains(&false) {
            timeout = shorten(timeout, MEDIA_RETRY);
        }
        if let Some(due) = self.outside.journal.due_in(now) {
            timeout = shorten(timeout, due);
        }
        // Once more after the last change, so that an idle shard shows what it holds.
        if !self.gauged {
            timeout = shorten(timeout, GAUGES_EVERY);
        }
        if self.has_something_to_say() || !self.mailbox.may_sleep() {
            timeout = Some(Duration::ZERO);
        }
        if let Err(error) = self.poller.wait(&mut self.ready, timeout) {
            error!(shard = self.number, %error, "a shard cannot wait for its sockets");
            // Not a busy loop while the system is in trouble.
            thread::sleep(GAUGES_EVERY);
        }
        self.mailbox.awake();
        let sockets = self.ready.tokens().filter(|token| *token != MAILBOX);
        self.readable.extend(sockets.map(|token| token as usize));
    }

    /// The end of the turn has caused something that waits for the next.
    fn has_something_to_say(&self) -> bool {
        let unsent = self.outbox.iter().any(|waiting| !waiting.is_empty());
        unsent || !self.for_streams.is_empty() || !self.failed.is_empty()
    }

    /// Brings the gauges up to date, now and then: counting the calls takes a walk over them.
    fn gauges(&mut self) {
        let now = Instant::now();
        if now < self.gauges_due {
            self.gauged = false;
            return;
        }
        self.gauges_due = now + GAUGES_EVERY;
        self.gauged = true;
        let stats = self.switch.stats();
        let pairs = self.media.counts(now);
        let counts = &self.counts;
        let gauges = [
            (&counts.sources_ignored, stats.sources_ignored),
            (&counts.calls, stats.calls + stats.calls_released),
            (&counts.relays, stats.relays),
            (&counts.sessions, stats.sessions),
            (&counts.transactions, stats.transactions),
            (&counts.peers_registered, stats.peers_registered),
            (&counts.carriers_registered, stats.carriers_registered),
            (&counts.calls_resting, stats.calls_resting),
            (&counts.transcoded_calls, stats.transcoded_calls),
            (&counts.carriers_failed, stats.carriers_failed),
            (&counts.carriers_trying, stats.carriers_trying),
            (&counts.pinged[0], stats.pinged[0]),
            (&counts.pinged[1], stats.pinged[1]),
            (&counts.pinged[2], stats.pinged[2]),
            (&counts.pairs_in_use, pairs.in_use),
            (&counts.pairs_quiet, pairs.quiet),
            (&counts.pairs_free, pairs.free),
        ];
        for (gauge, value) in gauges {
            gauge.store(value, Ordering::Relaxed);
        }
        let counters = [
            (&counts.calls_started, stats.calls_started),
            (&counts.calls_answered, stats.calls_answered),
            (&counts.calls_refused, stats.calls_refused),
            (&counts.challenges, stats.challenges),
            (&counts.strangers, stats.strangers),
            (&counts.messages_ignored, stats.messages_ignored),
            (&counts.handovers, stats.handovers),
            (&counts.registers_refused, stats.registers_refused),
            (&counts.pings_sent, stats.pings_sent),
            (&counts.pings_missed, stats.pings_missed),
        ];
        for (counter, value) in counters {
            counter.store(value, Ordering::Relaxed);
        }
    }

    fn trace(&self, received: bool, local: SocketAddr, remote: SocketAddr, bytes: &Bytes) {
        self.outside.tap.offer(|| Traced {
            at: Instant::now(),
            received,
            local,
            remote,
            stream: false,
            bytes: bytes.clone(),
        });
    }

    /// See the module on panics. The head of a message may hold digest answers, which are no secrets, but its body
    /// may hold keys: only the head is logged, and no more of it than helps.
    fn panicked(&self, message: Option<&Bytes>) {
        self.counts.panics.fetch_add(1, Ordering::Relaxed);
        let head = message.map(|bytes| head(bytes)).unwrap_or_default();
        error!(
            shard = self.number,
            message = head,
            "call control panicked; the message is dropped"
        );
    }
}

/// The start line and the Call-ID of a message, for the log.
fn head(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(&message[..message.len().min(2048)]);
    let mut lines = text.lines();
    let start = lines.next().unwrap_or_default();
    let is_call_id = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("call-id") || name.eq_ignore_ascii_case("i")
    };
    let call_id = lines
        .take_while(|line| !line.is_empty())
        .find(is_call_id)
        .unwrap_or_default();
    format!("{start} | {call_id}")
}

/// Both clocks, now.
pub(crate) fn clock() -> Clock {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Clock {
        now: Instant::now(),
        unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_panic_names_the_call_and_shows_no_body() {
        let message = b"INVITE sip:a SIP/2.0\r\nFrom: <sip:b>\r\ni: 42@host\r\n\r\na=crypto:1 secret\r\nCall-ID: no\r\n";
        assert_eq!(head(message), "INVITE sip:a SIP/2.0 | i: 42@host");
        assert_eq!(head(b"\xff\r\n\r\nCall-ID: no"), "\u{fffd} | ");
    }
}
