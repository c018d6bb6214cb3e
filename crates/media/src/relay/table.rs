//! All relays of one media thread.

mod handshakes;
mod loans;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use self::handshakes::Handshakes;
use self::loans::Loans;
use super::latch::Acceptance;
use super::outbound::FILLED_PACKET_BYTES;
use super::outbox::Outbox;
use super::ringback::RINGBACK_COST_MAX;
use super::stream::Stream;
use super::transcoder::TRANSCODED_PACKET_BYTES;
use super::{
    Command, CommandError, Datagram, Event, Heard, Opening, Protection, RelayId, RelayStats, Side,
    Silent, SocketKey, Sockets, Traffic,
};
use crate::recorder::RecordingId;
use crate::rtcp::{self, RtcpError};
use crate::rtp::RtpError;
use crate::srtp::{OVERHEAD_BYTES_MAX, SrtpError};

/// What to do with a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Send it, as it now is, from another socket.
    Forward {
        /// The socket to send from.
        out: SocketKey,
        /// Where to.
        to: SocketAddr,
    },
    /// It was taken in, and [`RelayTable::shake`] has something to do.
    Taken,
    /// Nothing leaves in its place now. What does later comes out of [`RelayTable::empty`].
    Keep,
    /// Forget it.
    Drop(DropReason),
}

/// Why a packet goes nowhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DropReason {
    /// The socket belongs to no relay: what is left of a call that ended.
    NoRelay,
    /// The side has not been described yet, or refused the stream.
    Unannounced,
    /// Not from where this side's packets come; see [`super::latch`].
    Stranger,
    /// Not RTP where RTP belongs.
    NotRtp(RtpError),
    /// Not RTCP where RTCP belongs.
    NotRtcp(RtcpError),
    /// Not sealed with the key agreed on, or not to be sealed.
    Protection(SrtpError),
    /// For one of the two sides there are no keys yet.
    NoKeys,
    /// Of a handshake, and nobody waits for it or has room for it.
    Handshake,
    /// More packets per second than any stream has.
    TooFast,
    /// Accepted, but the other side has no address, or is held in the manner of RFC 2543.
    NoDestination,
}

/// Decides and counts for up to a fixed number of relays. Deciding about a packet is two look-ups
/// by index and allocates nothing. What a relay takes, it takes when it is opened: most nodes have
/// ports for far more calls than they carry.
#[derive(Debug)]
pub struct RelayTable {
    /// By socket key: whose it is.
    sockets: Vec<Option<Place>>,
    relays: Vec<Option<Box<Relay>>>,
    free: Vec<u32>,
    /// For commands only; packets find their relay by socket.
    slots: HashMap<RelayId, u32>,
    /// Relays that fill pauses with noise, or play a tone.
    filling: Vec<u32>,
    handshakes: Handshakes,
    outbox: Outbox,
    loans: Loans,
    transcoded: u64,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    side: Side,
    carries: Carries,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Carries {
    Media,
    Reports,
}

/// What a packet is that was let in.
enum Admitted {
    Media(Acceptance),
    Report,
}

#[derive(Debug)]
struct Relay {
    id: RelayId,
    opened_at: Instant,
    timeout: Duration,
    traffic: Traffic,
    /// Of which family our addresses are, by side.
    is_ipv4: [bool; 2],
    sockets: Sockets,
    streams: [Stream; 2],
    recording: Option<RecordingId>,
}

/// Every relayed call has one, and allocators of today deal in steps of an eighth to a quarter: the next one up would be
/// 1536 bytes.
const RELAY_BYTES_MAX: usize = 1280;

const _: () = assert!(size_of::<Relay>() <= RELAY_BYTES_MAX);

impl RelayTable {
    /// A table for at most `relays_max` relays and socket keys below `sockets_max`.
    pub fn new(relays_max: u32, sockets_max: u32) -> Self {
        Self {
            sockets: vec![None; sockets_max as usize],
            relays: (0..relays_max).map(|_| None).collect(),
            free: (0..relays_max).rev().collect(),
            slots: HashMap::with_capacity(relays_max as usize),
            filling: Vec::new(),
            handshakes: Handshakes::default(),
            outbox: Outbox::new(),
            loans: Loans::default(),
            transcoded: 0,
        }
    }

    /// Open relays.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no relay is open.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes bound sockets into service for a new relay.
    pub fn open(
        &mut self,
        now: Instant,
        relay: RelayId,
        opening: Opening,
    ) -> Result<(), CommandError> {
        if self.slots.contains_key(&relay) {
            return Err(CommandError::AlreadyOpen);
        }
        let places = opening.sockets.places();
        for (at, (key, ..)) in places.iter().enumerate() {
            let place = self
                .sockets
                .get(key.0 as usize)
                .ok_or(CommandError::SocketOutOfRange)?;
            let repeated = places[..at].iter().any(|(other, ..)| other == key);
            if place.is_some() || repeated {
                return Err(CommandError::SocketInUse);
            }
        }
        let slot = self.free.pop().ok_or(CommandError::Full)?;

        for (key, side, carries) in places {
            self.sockets[key.0 as usize] = Some(Place {
                slot,
                side,
                carries,
            });
        }
        self.slots.insert(relay, slot);
        self.relays[slot as usize] = Some(Box::new(Relay {
            id: relay,
            opened_at: now,
            timeout: opening.timeout,
            traffic: opening.traffic,
            is_ipv4: [opening.a, opening.b].map(|local| local.is_ipv4()),
            sockets: opening.sockets,
            streams: [Stream::new(), Stream::new()],
            recording: None,
        }));
        Ok(())
    }

    /// Obeys a command to an open relay. [`Command::Close`] gives [`Event::Closed`]; its sockets
    /// may serve another relay at once, but what is still on the way to them should be drained
    /// first.
    pub fn handle(
        &mut self,
        now: Instant,
        command: Command,
    ) -> Result<Option<Event>, CommandError> {
        self.reconsider(command.relay());
        match command {
            Command::Open { .. } | Command::Reopen { .. } => {
                return Err(CommandError::NeedsSockets);
            }
            Command::Remote {
                relay,
                side,
                rtp,
                rtcp,
                expect_media,
                strict,
            } => {
                // Nobody listens on port zero; it is how descriptions say no.
                let [rtp, rtcp] =
                    [rtp, rtcp].map(|remote| remote.filter(|remote| remote.port() != 0));
                let relay = self.relay_mut(relay)?;
                relay.check_remote(side, rtp)?;
                relay.check_remote(side, rtcp)?;
                let stream = &mut relay.streams[side.index()];
                stream.rtp.announce(now, rtp, strict);
                stream
                    .rtcp
                    .announce(now, rtcp.or_else(|| rtp.and_then(port_above)), strict);
                stream.expect(now, expect_media);
            }
            Command::Relatch { relay, side } => {
                let stream = &mut self.relay_mut(relay)?.streams[side.index()];
                stream.rtp.relatch();
                stream.rtcp.relatch();
            }
            Command::LatchOnce { relay, side } => {
                let stream = &mut self.relay_mut(relay)?.streams[side.index()];
                stream.rtp.settle_once();
                stream.rtcp.settle_once();
            }
            Command::Protect {
                relay,
                side,
                protection,
            } => {
                if matches!(protection, Protection::Dtls(_)) && !self.handshakes.possible() {
                    return Err(CommandError::NoCertificate);
                }
                self.relay_mut(relay)?.streams[side.index()]
                    .cover
                    .set(protection);
                self.note_shaking(now, relay, side);
            }
            Command::Resume {
                relay,
                side,
                sent,
                ssrc,
                index,
            } => self.relay_mut(relay)?.streams[side.index()]
                .cover
                .resume(sent, ssrc, index),
            Command::Hurry { relay, side } => {
                let stream = &mut self.relay_mut(relay)?.streams[side.index()];
                if let Some(shake) = stream.cover.shake() {
                    shake.hurry(now);
                }
                self.note_shaking(now, relay, side);
            }
            Command::Multiplex {
                relay,
                side,
                shared,
            } => self.relay_mut(relay)?.streams[side.index()].multiplexed = shared,
            Command::Convert {
                relay,
                side,
                conversion,
            } => {
                self.relay_mut(relay)?.streams[side.index()]
                    .outbound
                    .set_conversion(conversion.as_deref());
            }
            Command::ComfortNoise { relay, side, noise } => {
                let ssrc = own_ssrc(relay, side, Source::Noise);
                self.relay_mut(relay)?.streams[side.index()]
                    .outbound
                    .set_noise(now, noise, ssrc);
                self.note_filling(relay);
            }
            Command::Ringback {
                relay,
                side,
                ringback,
            } => {
                if ringback.is_some() && self.ringback_cost() >= RINGBACK_COST_MAX {
                    return Err(CommandError::TooManyTones);
                }
                let ssrc = own_ssrc(relay, side, Source::Ringback);
                self.relay_mut(relay)?.streams[side.index()]
                    .outbound
                    .set_ringback(now, ringback.map(|ringback| *ringback), ssrc);
                self.note_filling(relay);
            }
            Command::Traffic { relay, traffic } => self.relay_mut(relay)?.traffic = traffic,
            Command::Payloads {
                relay,
                side,
                payloads,
            } => {
                self.relay_mut(relay)?.streams[side.index()].set_payloads(*payloads);
            }
            Command::Record { relay, recording } => self.relay_mut(relay)?.recording = recording,
            Command::Close { relay } => {
                let stats = Box::new(self.close(relay)?);
                return Ok(Some(Event::Closed { relay, stats }));
            }
        }
        Ok(None)
    }

    /// Decides about a packet that arrived on `key` from `source`.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        key: SocketKey,
        source: SocketAddr,
        datagram: &mut Datagram<'_>,
    ) -> Verdict {
        self.handle_packet_heard(now, key, source, datagram, &mut |_| {})
    }

    /// As [`RelayTable::handle_packet`]. What was accepted on a relay that is recorded goes to `hear` before anything is
    /// done to it, also where the other side is not to get it.
    pub fn handle_packet_heard(
        &mut self,
        now: Instant,
        key: SocketKey,
        source: SocketAddr,
        datagram: &mut Datagram<'_>,
        hear: &mut impl FnMut(Heard<'_>),
    ) -> Verdict {
        let place = self.sockets.get(key.0 as usize).copied().flatten();
        let Some(Place {
            slot,
            side,
            carries,
        }) = place
        else {
            return Verdict::Drop(DropReason::NoRelay);
        };
        let Some(relay) = &mut self.relays[slot as usize] else {
            return Verdict::Drop(DropReason::NoRelay);
        };
        if relay.is_handshake(side, datagram.bytes()) {
            let queued = relay.queue_handshake(now, side, carries, source, datagram.bytes());
            return match queued {
                Ok(first) => {
                    self.handshakes.queued(slot, side, carries, first);
                    Verdict::Taken
                }
                Err(why) => Verdict::Drop(why),
            };
        }
        let passed = relay
            .admit(now, side, carries, source, datagram, hear)
            .and_then(|kind| match kind {
                Admitted::Media(acceptance) => {
                    self.loans.note(slot, side, relay, acceptance);
                    relay.pass(now, side, datagram, &mut self.outbox, &mut self.transcoded)
                }
                Admitted::Report => relay.pass_report(side, datagram).map(Some),
            });
        match passed {
            Ok(Some((out, to))) => Verdict::Forward { out, to },
            Ok(None) => Verdict::Keep,
            Err(why) => Verdict::Drop(why),
        }
    }

    /// Hands over what became of packets beyond what [`RelayTable::handle_packet`] said, socket, destination and bytes.
    /// To be called after every batch of packets.
    pub fn empty(&mut self, send: impl FnMut(SocketKey, SocketAddr, &[u8])) {
        self.outbox.empty(send);
    }

    /// Packets that were decoded and encoded anew since the beginning.
    pub fn transcoded(&self) -> u64 {
        self.transcoded
    }

    /// Reports sides that have fallen silent, and how far sealed streams have come. Looks at every relay, so once a second is enough.
    pub fn tick(&mut self, now: Instant, mut report: impl FnMut(Event)) {
        for relay in self.relays.iter_mut().flatten() {
            relay.expire_handshakes(now);
            for side in [Side::A, Side::B] {
                for (sent, ssrc, index) in relay.streams[side.index()].cover.progress() {
                    report(Event::Progress {
                        relay: relay.id,
                        side,
                        sent,
                        ssrc,
                        index,
                    });
                }
            }
            if let Some(silent) = relay.newly_silent(now) {
                report(Event::Timeout {
                    relay: relay.id,
                    silent,
                });
            }
        }
    }

    /// Whether pauses of some relay are filled or a tone is played, and [`RelayTable::fill`] is to be called every
    /// [`super::FRAME`].
    pub fn fills(&self) -> bool {
        !self.filling.is_empty()
    }

    /// Fills pauses and plays tones: hands every packet that is due, its socket and its destination to `send`.
    pub fn fill(&mut self, now: Instant, mut send: impl FnMut(SocketKey, SocketAddr, &[u8])) {
        for slot in &self.filling {
            if let Some(relay) = &mut self.relays[*slot as usize] {
                relay.fill(now, &mut send);
            }
        }
    }

    /// What a relay counted so far.
    pub fn stats(&self, relay: RelayId) -> Option<RelayStats> {
        let slot = *self.slots.get(&relay)?;
        self.relays[slot as usize]
            .as_ref()
            .map(|relay| relay.stats())
    }

    /// The sockets of a relay.
    pub fn sockets(&self, relay: RelayId) -> Option<Sockets> {
        let slot = *self.slots.get(&relay)?;
        self.relays[slot as usize]
            .as_ref()
            .map(|relay| relay.sockets)
    }

    fn close(&mut self, relay: RelayId) -> Result<RelayStats, CommandError> {
        let slot = self
            .slots
            .remove(&relay)
            .ok_or(CommandError::UnknownRelay)?;
        let closed = self.relays[slot as usize]
            .take()
            .ok_or(CommandError::UnknownRelay)?;
        self.free.push(slot);
        self.filling.retain(|filling| *filling != slot);
        self.handshakes.forget(slot);
        for (key, ..) in closed.sockets.places() {
            self.sockets[key.0 as usize] = None;
        }
        Ok(closed.stats())
    }

    /// What all tones that are played cost. Only relays that fill something can play one.
    fn ringback_cost(&self) -> u32 {
        let filling = self.filling.iter();
        let relays = filling.filter_map(|slot| self.relays[*slot as usize].as_ref());
        let streams = relays.flat_map(|relay| &relay.streams);
        streams.map(|stream| stream.outbound.ringback_cost()).sum()
    }

    fn note_filling(&mut self, relay: RelayId) {
        let Some(slot) = self.slots.get(&relay).copied() else {
            return;
        };
        self.filling.retain(|filling| *filling != slot);
        let fills = self.relays[slot as usize]
            .as_ref()
            .is_some_and(|relay| relay.streams.iter().any(|stream| stream.outbound.fills()));
        if fills {
            self.filling.push(slot);
        }
    }

    fn relay_mut(&mut self, relay: RelayId) -> Result<&mut Relay, CommandError> {
        let slot = *self.slots.get(&relay).ok_or(CommandError::UnknownRelay)?;
        self.relays[slot as usize]
            .as_deref_mut()
            .ok_or(CommandError::UnknownRelay)
    }
}

impl Relay {
    /// Opens, judges and counts what one side sent, and tells what it is.
    fn admit(
        &mut self,
        now: Instant,
        side: Side,
        carries: Carries,
        source: SocketAddr,
        datagram: &mut Datagram<'_>,
        hear: &mut impl FnMut(Heard<'_>),
    ) -> Result<Admitted, DropReason> {
        let opened = self.traffic == Traffic::Rtp;
        let (from, towards) = ends(&mut self.streams, side);
        let port = carries;
        let kind = match port {
            Carries::Media if from.multiplexed && rtcp::is_rtcp(datagram.bytes()) => {
                Carries::Reports
            }
            port => port,
        };
        match kind {
            Carries::Media => {
                if opened {
                    from.open(datagram)?;
                }
                let acceptance =
                    from.receive(now, self.opened_at, source, datagram.bytes(), self.traffic)?;
                if let Some(recording) = self.recording.filter(|_| opened) {
                    hear(Heard {
                        recording,
                        from: side,
                        meaning: from.meaning(datagram.bytes()),
                        packet: datagram.bytes(),
                    });
                }
                Ok(Admitted::Media(acceptance))
            }
            Carries::Reports => {
                if opened {
                    from.open_report(port, datagram)?;
                }
                // What it judges is the other side's stream as it left us.
                let judged_clock_rate_hz = match from.outbound.transcoder() {
                    Some(transcoder) => transcoder.clock_rate_hz(),
                    None => towards.clock_rate_hz(),
                };
                let (at, traffic) = (self.opened_at, self.traffic);
                from.receive_report(
                    now,
                    at,
                    source,
                    datagram.bytes(),
                    traffic,
                    judged_clock_rate_hz,
                )?;
                Ok(Admitted::Report)
            }
        }
    }

    /// Sends media of one side on: from which socket, and where to. `None` when nothing leaves now.
    fn pass(
        &mut self,
        now: Instant,
        side: Side,
        datagram: &mut Datagram<'_>,
        outbox: &mut Outbox,
        transcoded: &mut u64,
    ) -> Result<Option<(SocketKey, SocketAddr)>, DropReason> {
        let out = self.sockets.by(side.other(), Carries::Media);
        let opened = self.traffic == Traffic::Rtp;
        let (from, towards) = ends(&mut self.streams, side);
        let to = towards.rtp.destination().ok_or(DropReason::NoDestination)?;
        if !opened {
            return Ok(Some((out, to)));
        }
        let Some(transcoder) = towards.outbound.transcoder() else {
            towards.outbound.rewrite(now, datagram);
            towards.cover.seal(datagram)?;
            return Ok(Some((out, to)));
        };
        // First of all, for what is decoded now leaves now: kept until there are keys, it would be heard late and in haste.
        towards.cover.has_keys()?;
        if transcoder.transcodes(datagram.bytes()[1] & 0x7f) {
            from.count_transcoded();
            *transcoded += 1;
        }
        let mut leaves = towards.outbound.rewrite(now, datagram);
        if leaves {
            towards.cover.seal(datagram)?;
            // Packets of earlier ones go first.
            if !outbox.is_empty() {
                leaves = !outbox.push(out, to, datagram.bytes());
            }
        }
        let mut buffer = [0; TRANSCODED_PACKET_BYTES + OVERHEAD_BYTES_MAX];
        let mut more = Datagram::new(&mut buffer, 0);
        while towards.outbound.more(now, &mut more) {
            towards.cover.seal(&mut more)?;
            outbox.push(out, to, more.bytes());
        }
        Ok(leaves.then_some((out, to)))
    }

    /// Sends reports of one side on.
    fn pass_report(
        &mut self,
        side: Side,
        datagram: &mut Datagram<'_>,
    ) -> Result<(SocketKey, SocketAddr), DropReason> {
        let opened = self.traffic == Traffic::Rtp;
        let (from, towards) = ends(&mut self.streams, side);
        let to = towards
            .report_destination()
            .ok_or(DropReason::NoDestination)?;
        let by = towards.report_port();
        if opened {
            translate(datagram.bytes_mut(), from, towards);
            towards.cover.seal_report(by, datagram)?;
        }
        Ok((self.sockets.by(side.other(), by), to))
    }

    fn fill(&mut self, now: Instant, send: &mut impl FnMut(SocketKey, SocketAddr, &[u8])) {
        if self.traffic != Traffic::Rtp {
            return;
        }
        for side in [Side::A, Side::B] {
            let stream = &mut self.streams[side.index()];
            let Some(to) = stream.rtp.destination() else {
                continue;
            };
            let mut buffer = [0; FILLED_PACKET_BYTES + OVERHEAD_BYTES_MAX];
            let Some(length) = stream.outbound.fill(now, &mut buffer) else {
                continue;
            };
            let mut datagram = Datagram::new(&mut buffer, length);
            if stream.cover.seal(&mut datagram).is_ok() {
                send(self.sockets.by(side, Carries::Media), to, datagram.bytes());
            }
        }
    }

    fn newly_silent(&mut self, now: Instant) -> Option<Silent> {
        if self.timeout.is_zero() {
            return None;
        }
        let [a_silent, b_silent] = [0, 1].map(|at| self.streams[at].is_silent(now, self.timeout));
        let a_news = a_silent && self.streams[0].report_silence();
        let b_news = b_silent && self.streams[1].report_silence();
        match (a_silent, b_silent) {
            _ if !a_news && !b_news => None,
            (true, true) => Some(Silent::Both),
            (true, false) => Some(Silent::A),
            (false, _) => Some(Silent::B),
        }
    }

    fn stats(&self) -> RelayStats {
        let [(a, a_rtcp), (b, b_rtcp)] = [0, 1].map(|at| self.streams[at].stats());
        let [a_seal, b_seal] = [0, 1].map(|at| self.streams[at].cover.seal_in_use());
        RelayStats {
            a,
            b,
            a_rtcp,
            b_rtcp,
            a_seal,
            b_seal,
        }
    }

    /// Whether we can, and are willing to, send to an announced address. A description that names
    /// a group or a network would make us its loudspeaker.
    fn check_remote(&self, side: Side, remote: Option<SocketAddr>) -> Result<(), CommandError> {
        let Some(remote) = remote else { return Ok(()) };
        if remote.is_ipv4() != self.is_ipv4[side.index()] {
            return Err(CommandError::AddressFamily);
        }
        let to_many = match remote.ip() {
            IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_multicast(),
        };
        if to_many {
            Err(CommandError::NotUnicast)
        } else {
            Ok(())
        }
    }
}

impl Sockets {
    fn places(&self) -> [(SocketKey, Side, Carries); 4] {
        [
            (self.a_rtp, Side::A, Carries::Media),
            (self.a_rtcp, Side::A, Carries::Reports),
            (self.b_rtp, Side::B, Carries::Media),
            (self.b_rtcp, Side::B, Carries::Reports),
        ]
    }

    /// The socket towards a side that carries this.
    fn by(&self, side: Side, carries: Carries) -> SocketKey {
        match (side, carries) {
            (Side::A, Carries::Media) => self.a_rtp,
            (Side::A, Carries::Reports) => self.a_rtcp,
            (Side::B, Carries::Media) => self.b_rtp,
            (Side::B, Carries::Reports) => self.b_rtcp,
        }
    }
}

/// Streams of our own.
#[derive(Clone, Copy)]
enum Source {
    Noise = 0,
    Ringback = 2,
}

/// The name (SSRC) of a stream of our own. It need not be secret, only unlike those of the far ends and of each other.
fn own_ssrc(relay: RelayId, side: Side, source: Source) -> u32 {
    (relay.0 as u32).wrapping_mul(0x9e37_79b9) ^ side.index() as u32 ^ source as u32
}

/// The side that sends and the one that is to get it.
fn ends(streams: &mut [Stream; 2], side: Side) -> (&mut Stream, &mut Stream) {
    let [a, b] = streams;
    match side {
        Side::A => (a, b),
        Side::B => (b, a),
    }
}

/// Makes reports of one side true for the other, where what passes between them is converted.
fn translate(compound: &mut [u8], from: &Stream, towards: &Stream) {
    if let Some(transcoder) = towards.outbound.transcoder() {
        rtcp::rewrite_senders(compound, |sender| {
            let (timestamp, sent) = transcoder.report(sender.timestamp)?;
            Some(rtcp::SenderInfo {
                timestamp,
                packets: sent.packets,
                bytes: sent.bytes,
            })
        });
    }
    if let Some(transcoder) = from.outbound.transcoder() {
        rtcp::rewrite_blocks(compound, |block| rtcp::ReportBlock {
            highest_sequence: transcoder.sequence_back(block.highest_sequence),
            jitter_ticks: transcoder.jitter_back(block.jitter_ticks),
            ..block
        });
    }
}

/// Where RTCP goes when nothing else is said (RFC 3550 §11).
fn port_above(rtp: SocketAddr) -> Option<SocketAddr> {
    rtp.port()
        .checked_add(1)
        .map(|port| SocketAddr::new(rtp.ip(), port))
}
