//! The media thread of one shard: sockets on one side, [`RelayTable`] on the other, and no decisions in between.
//!
//! The shard binds ports and hands the sockets over; from then on they live here. Packets are received and sent
//! without allocating; commands come through a mailbox, events go back through the shard's.

mod lender;
mod ways;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{io, thread};

use media::dtls::Endpoint;
use media::relay::{
    Command, Datagram, DropReason, Event, FRAME, Heard, Opening, RelayId, RelayTable, SocketKey,
    Verdict,
};
use media::srtp::KeySeed;
use sockets::{MediaIo, Onward, UdpOptions, UdpSocket};
use tracing::{error, warn};

use crate::mailbox::{self, Mailbox, Refused, Sender};
use crate::recorder::RecorderQueue;
use crate::shards::Mail;
use lender::Lender;
pub use ways::MediaFastPath;
pub(crate) use ways::MediaWays;

/// Commands waiting for the media thread.
const MEDIA_QUEUE: usize = 4096;

/// How often silent streams are looked for.
const TICK: Duration = Duration::from_secs(1);

/// Differentiated services code point of media: expedited forwarding (RFC 3246).
const MEDIA_DSCP: u8 = 46;

/// What the kernel keeps of one stream while we do not look: seconds of audio.
const MEDIA_BUFFER_BYTES: usize = 128 * 1024;

/// What a media thread is told.
#[derive(Debug)]
pub(crate) enum MediaMail {
    /// Two new sockets.
    Adopt(NewPair),
    /// The sockets of all relays that have come back, at once: what waits in one leaves by another.
    AdoptAll(Vec<NewPair>),
    /// The sockets `rtp_key` and `rtp_key + 1` are needed no more.
    Release { rtp_key: u32 },
    /// A relay whose sockets it has.
    Open { relay: RelayId, opening: Opening },
    /// Anything else for an open relay.
    Command(Command),
    /// End.
    Stop,
}

/// What a media thread leaves: its sockets, by the numbers they were known by.
pub(crate) type Sockets = Vec<(u32, UdpSocket)>;

/// Two sockets, to be known as `rtp_key` and `rtp_key + 1`.
#[derive(Debug)]
pub(crate) struct NewPair {
    pub(crate) rtp_key: u32,
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
}

/// Counts for the metrics.
#[derive(Default)]
pub(crate) struct MediaCounts {
    pub(crate) relays: AtomicUsize,
    pub(crate) forwarded_packets: AtomicU64,
    pub(crate) forwarded_bytes: AtomicU64,
    /// Of the forwarded packets those that the kernel has relayed by itself, as far as their streams have come back.
    pub(crate) kernel_packets: AtomicU64,
    /// Streams that the kernel has now.
    pub(crate) lent_streams: AtomicUsize,
    /// Packets dropped, by reason: see [`DROP_REASONS`].
    pub(crate) dropped: [AtomicU64; DROP_REASONS.len()],
    /// Packets decoded and encoded anew.
    pub(crate) transcoded: AtomicU64,
    /// Packets of ours that filled pauses, with noise or a tone.
    pub(crate) filled: AtomicU64,
    /// Handshakes (DTLS) that gave keys, and that came to nothing.
    pub(crate) handshakes_done: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    /// Packets that the network refused to take.
    pub(crate) unsent: AtomicU64,
    pub(crate) panics: AtomicU64,
}

/// Names of the places in [`MediaCounts::dropped`].
pub(crate) const DROP_REASONS: [&str; 11] = [
    "no_relay",
    "unannounced",
    "stranger",
    "not_rtp",
    "not_rtcp",
    "no_destination",
    "oversized",
    "too_fast",
    "protection",
    "no_keys",
    "handshake",
];
const OVERSIZED: usize = 6;

fn reason(why: DropReason) -> usize {
    match why {
        DropReason::NoRelay => 0,
        DropReason::Unannounced => 1,
        DropReason::Stranger => 2,
        DropReason::NotRtp(_) => 3,
        DropReason::NotRtcp(_) => 4,
        DropReason::NoDestination => 5,
        DropReason::TooFast => 7,
        DropReason::Protection(_) => 8,
        DropReason::NoKeys => 9,
        DropReason::Handshake => 10,
    }
}

/// Binds a socket for media.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let options = UdpOptions {
        receive_buffer_bytes: Some(MEDIA_BUFFER_BYTES),
        dscp: Some(MEDIA_DSCP),
        // We look at a pace of our own; jitter has to be measured by when packets came.
        arrival_times: true,
        ..UdpOptions::default()
    };
    UdpSocket::bind(address, options)
}

/// Starts the thread of shard `number` with room for `pairs` pairs of ports; packets pass by `ways`, it shakes hands as
/// `endpoint` and reports to `shard`.
pub(crate) fn start(
    number: u16,
    ways: MediaWays,
    pairs: usize,
    endpoint: Endpoint,
    shard: Sender<Mail>,
    recorder: RecorderQueue,
    counts: Arc<MediaCounts>,
) -> io::Result<(Sender<MediaMail>, thread::JoinHandle<Sockets>)> {
    let (sender, mailbox) = mailbox::mailbox(MEDIA_QUEUE)?;
    // A relay takes two pairs, a pair has two sockets.
    let relays = u32::try_from(pairs.div_ceil(2)).unwrap_or(u32::MAX);
    let sockets = u32::try_from(pairs * 2).unwrap_or(u32::MAX);
    let mut table = RelayTable::new(relays, sockets);
    table.set_endpoint(endpoint, &KeySeed(rand::random()));
    let MediaWays { engine, fast_path } = ways;
    if fast_path.is_some() {
        table.want_loans();
    }
    let (ready, started) = mpsc::sync_channel(1);
    // The engine belongs to the thread that makes it.
    let run = move || match MediaIo::new(engine, mailbox.waker().clone()) {
        Ok(io) => {
            let _ = ready.send(Ok(()));
            let thread = MediaThread {
                lender: fast_path.map(|fast_path| Lender::new(fast_path, Arc::clone(&counts))),
                io,
                mailbox,
                table,
                shard,
                recorder,
                unsaid: VecDeque::new(),
                counts,
                next_tick: Instant::now() + TICK,
                next_frame: Instant::now(),
            };
            thread.run()
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            Vec::new()
        }
    };
    let name = format!("media-{number}");
    let handle = thread::Builder::new().name(name).spawn(run)?;
    started.recv().map_err(io::Error::other)??;
    Ok((sender, handle))
}

struct MediaThread {
    io: MediaIo,
    mailbox: Mailbox<MediaMail>,
    table: RelayTable,
    /// Where the kernel relays some streams by itself.
    lender: Option<Lender>,
    shard: Sender<Mail>,
    recorder: RecorderQueue,
    /// Events for which the shard had no room. No more than relays are open, a few each.
    unsaid: VecDeque<Event>,
    counts: Arc<MediaCounts>,
    next_tick: Instant,
    /// When pauses are filled next, if any are.
    next_frame: Instant,
}

impl MediaThread {
    /// Runs until told to stop; all its sockets.
    fn run(mut self) -> Sockets {
        loop {
            // A bug that a packet or a command uncovers costs that packet or command, not all calls.
            match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    self.counts.panics.fetch_add(1, Ordering::Relaxed);
                    error!("a media thread panicked and goes on");
                }
            }
        }
        if let Some(lender) = &self.lender {
            lender.take_back_all(&mut self.table);
        }
        // What was taken from a socket cannot be given back with it.
        let _ = catch_unwind(AssertUnwindSafe(|| self.relay(Some(Duration::ZERO))));
        self.io.into_sockets().collect()
    }

    /// Commands, packets, time. `false` when told to stop.
    fn turn(&mut self) -> bool {
        while let Some(mail) = self.mailbox.next() {
            match mail {
                MediaMail::Adopt(pair) => self.adopt(pair),
                MediaMail::AdoptAll(pairs) => pairs.into_iter().for_each(|pair| self.adopt(pair)),
                MediaMail::Release { rtp_key } => {
                    self.io.remove(rtp_key);
                    self.io.remove(rtp_key + 1);
                }
                MediaMail::Open { relay, opening } => self.open(relay, opening),
                MediaMail::Command(command) => self.command(command),
                MediaMail::Stop => return false,
            }
        }
        self.counts
            .relays
            .store(self.table.len(), Ordering::Relaxed);
        self.tick();
        self.fill();
        self.shake();
        self.say();
        let timeout = match self.mailbox.may_sleep() {
            true => self.patience(),
            false => Some(Duration::ZERO),
        };
        let relayed = self.relay(timeout);
        if let Some(lender) = &self.lender {
            lender.take_back_stale(&mut self.table);
            lender.lend(&mut self.table, &self.io);
        }
        self.mailbox.awake();
        if let Err(error) = relayed {
            error!(%error, "a media thread cannot wait for packets");
            // Not a busy loop while the system is in trouble.
            thread::sleep(TICK);
        }
        true
    }

    /// How long to wait when no packet comes: for ever when there is nothing to look after.
    fn patience(&self) -> Option<Duration> {
        if self.table.is_empty() && self.unsaid.is_empty() {
            return None;
        }
        let now = Instant::now();
        let frame = self.table.fills().then_some(self.next_frame);
        let due = [frame, self.table.shakes_at(now)].into_iter().flatten();
        let soonest = due.fold(self.next_tick, Instant::min);
        Some(soonest.saturating_duration_since(now))
    }

    fn relay(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let (table, counts, recorder) = (&mut self.table, &self.counts, &self.recorder);
        let lender = self.lender.as_ref();
        let mut bytes = 0;
        let turn = self.io.turn(timeout, |packet| {
            let key = SocketKey(packet.socket);
            if let Some(lender) = lender {
                lender.take_back(table, key);
            }
            let mut datagram = Datagram::new(packet.buffer, packet.length);
            let at = packet.at;
            let mut hear = |heard: Heard<'_>| recorder.hear(at, heard);
            let verdict =
                table.handle_packet_heard(at, key, packet.source, &mut datagram, &mut hear);
            packet.length = datagram.length();
            match verdict {
                Verdict::Forward { out, to } => {
                    bytes += packet.length as u64;
                    Some(Onward { socket: out.0, to })
                }
                Verdict::Taken | Verdict::Keep => None,
                Verdict::Drop(why) => {
                    counts.dropped[reason(why)].fetch_add(1, Ordering::Relaxed);
                    None
                }
            }
        })?;
        counts
            .forwarded_packets
            .fetch_add(turn.sent, Ordering::Relaxed);
        counts.forwarded_bytes.fetch_add(bytes, Ordering::Relaxed);
        counts.unsent.fetch_add(turn.failed, Ordering::Relaxed);
        counts.dropped[OVERSIZED].fetch_add(turn.oversized, Ordering::Relaxed);
        self.empty();
        Ok(())
    }

    /// Sends what packets of this turn became beyond what answered them.
    fn empty(&mut self) {
        let (io, counts) = (&self.io, &self.counts);
        self.table.empty(|key, to, packet| {
            if io.send(key.0, to, packet).is_ok() {
                counts.forwarded_packets.fetch_add(1, Ordering::Relaxed);
                let bytes = packet.len() as u64;
                counts.forwarded_bytes.fetch_add(bytes, Ordering::Relaxed);
            } else {
                counts.unsent.fetch_add(1, Ordering::Relaxed);
            }
        });
        counts
            .transcoded
            .store(self.table.transcoded(), Ordering::Relaxed);
    }

    fn adopt(&mut self, pair: NewPair) {
        let NewPair { rtp_key, rtp, rtcp } = pair;
        for (key, socket) in [(rtp_key, rtp), (rtp_key + 1, rtcp)] {
            if let Err(error) = self.io.add(key, socket) {
                error!(%error, "a media socket cannot be watched; its relay will be silent");
            }
        }
    }

    fn open(&mut self, relay: RelayId, opening: Opening) {
        if let Err(error) = self.table.open(Instant::now(), relay, opening) {
            let why = error.to_string();
            self.unsaid.push_back(Event::OpenFailed { relay, why });
        }
    }

    fn command(&mut self, command: Command) {
        if let Some(lender) = &self.lender {
            for key in self.table.lent_of(command.relay()) {
                lender.take_back(&mut self.table, key);
            }
        }
        match self.table.handle(Instant::now(), command) {
            Ok(event) => self.unsaid.extend(event),
            Err(error) => warn!(%error, "a media command had no effect"),
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            if let Some(lender) = &self.lender {
                lender.take_back_overdue(&mut self.table, now);
            }
            let unsaid = &mut self.unsaid;
            self.table.tick(now, |event| unsaid.push_back(event));
        }
    }

    /// Fills pauses with noise or a ringing tone, frame by frame, where a relay is asked to.
    fn fill(&mut self) {
        let now = Instant::now();
        if !self.table.fills() || now < self.next_frame {
            return;
        }
        // Behind time, a frame is skipped, not made up for.
        self.next_frame = (self.next_frame + FRAME).max(now);
        let (io, counts) = (&self.io, &self.counts);
        self.table.fill(now, |key, to, bytes| {
            let counter = match io.send(key.0, to, bytes) {
                Ok(()) => &counts.filled,
                Err(_) => &counts.unsent,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// Goes on with handshakes, by one step: the sockets are not to wait for more.
    fn shake(&mut self) {
        let now = Instant::now();
        if self.table.shakes_at(now).is_none_or(|at| now < at) {
            return;
        }
        let (io, counts, unsaid) = (&self.io, &self.counts, &mut self.unsaid);
        let send = |key: SocketKey, to, bytes: &[u8]| {
            if io.send(key.0, to, bytes).is_err() {
                counts.unsent.fetch_add(1, Ordering::Relaxed);
            }
        };
        let report = |event: Event| {
            let counter = match event {
                Event::Secured { .. } => &counts.handshakes_done,
                _ => &counts.handshakes_failed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            unsaid.push_back(event);
        };
        self.table.shake(now, send, report);
    }

    /// Tells the shard what it has room for; the rest waits for the next turn.
    fn say(&mut self) {
        while let Some(event) = self.unsaid.pop_front() {
            if let Err(Refused::Full(Mail::Media(event))) = self.shard.try_send(Mail::Media(event))
            {
                self.unsaid.push_front(event);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
