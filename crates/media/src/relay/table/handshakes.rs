//! The handshakes of all relays of one media thread; see [`super::super::shake`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Carries, DropReason, Relay, RelayTable};
use crate::dtls::{self, Endpoint};
use crate::relay::shake::{Means, Outcome};
use crate::relay::{Event, RelayId, Side, SocketKey, Traffic};
use crate::srtp::KeySeed;

/// How often unfinished handshakes are looked at. They wait several times as long before they send anything again.
const LOOK: Duration = Duration::from_millis(50);

/// Who has something to do.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    means: Option<Means>,
    /// Ports with datagrams that wait, each once.
    ready: VecDeque<(u32, Side, Carries)>,
    watch: Watch,
}

/// Sides to which something is due by time.
#[derive(Debug, Default)]
struct Watch {
    sides: Vec<(u32, Side)>,
    next_look: Option<Instant>,
}

impl Handshakes {
    /// Whether there is a certificate to shake hands with.
    pub(super) fn possible(&self) -> bool {
        self.means.is_some()
    }

    pub(super) fn queued(&mut self, slot: u32, side: Side, on: Carries, first: bool) {
        let place = (slot, side, on);
        // The queue of a handshake that began anew was emptied while it stood here.
        if first && !self.ready.contains(&place) {
            self.ready.push_back(place);
        }
    }

    pub(super) fn forget(&mut self, slot: u32) {
        self.ready.retain(|(ready, ..)| *ready != slot);
        self.watch.sides.retain(|(watched, _)| *watched != slot);
    }
}

impl RelayTable {
    /// Who we are in handshakes, and what their secrets begin with: bytes of the operating system's generator, others in
    /// each table. Without both, no handshake is possible.
    pub fn set_endpoint(&mut self, endpoint: Endpoint, seed: &KeySeed) {
        self.handshakes.means = Some(Means::new(endpoint, seed));
    }

    /// When [`RelayTable::shake`] wants to be called: at once while datagrams wait, never while there is no handshake.
    pub fn shakes_at(&self, now: Instant) -> Option<Instant> {
        if !self.handshakes.ready.is_empty() {
            return Some(now);
        }
        let watch = &self.handshakes.watch;
        watch.next_look.filter(|_| !watch.sides.is_empty())
    }

    /// Works on the handshakes: on one of the datagrams that wait, and on everything that is due by time. What has to be
    /// sent goes to `send`, what came of it to `report`.
    pub fn shake(
        &mut self,
        now: Instant,
        mut send: impl FnMut(SocketKey, SocketAddr, &[u8]),
        mut report: impl FnMut(Event),
    ) {
        let Handshakes {
            means: Some(means),
            ready,
            watch,
        } = &mut self.handshakes
        else {
            return;
        };
        if let Some((slot, side, on)) = ready.pop_front()
            && let Some(relay) = &mut self.relays[slot as usize]
        {
            let (event, more) = relay.work_on(now, means, side, on, &mut send);
            if more {
                ready.push_back((slot, side, on));
            }
            event.map(&mut report);
            watch.note(now, (slot, side), relay.wakes(side));
        }
        if watch.is_due(now) {
            watch.sides.retain(|(slot, side)| {
                let Some(relay) = &mut self.relays[*slot as usize] else {
                    return false;
                };
                relay
                    .look_after(now, means, *side, &mut send)
                    .map(&mut report);
                relay.wakes(*side)
            });
        }
    }

    /// Notes whether something is due by time to a side.
    pub(super) fn note_shaking(&mut self, now: Instant, relay: RelayId, side: Side) {
        if let Some(slot) = self.slots.get(&relay).copied()
            && let Some(relay) = &mut self.relays[slot as usize]
        {
            let wakes = relay.wakes(side);
            self.handshakes.watch.note(now, (slot, side), wakes);
        }
    }
}

impl Watch {
    fn note(&mut self, now: Instant, place: (u32, Side), wakes: bool) {
        if wakes && !self.sides.contains(&place) {
            // Nobody looked while there was nothing to look at.
            if self.sides.is_empty() {
                self.next_look = Some(now);
            }
            self.sides.push(place);
        }
    }

    /// Whether it is time for a look, which then is the last for a while.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = !self.sides.is_empty() && self.next_look.is_none_or(|next| next <= now);
        if due {
            self.next_look = Some(now + LOOK);
        }
        due
    }
}

impl Relay {
    /// Whether a packet is of a handshake: on a side that has any, told by its first byte.
    pub(super) fn is_handshake(&mut self, side: Side, packet: &[u8]) -> bool {
        self.traffic == Traffic::Rtp
            && self.streams[side.index()].cover.shake().is_some()
            && dtls::is_dtls(packet)
    }

    /// Keeps a datagram of a handshake. `true` when its port had none.
    pub(super) fn queue_handshake(
        &mut self,
        now: Instant,
        side: Side,
        on: Carries,
        source: SocketAddr,
        packet: &[u8],
    ) -> Result<bool, DropReason> {
        let stream = &mut self.streams[side.index()];
        let nearness = stream.nearness(on, source)?;
        let shake = stream.cover.shake().ok_or(DropReason::Handshake)?;
        shake.queue(now, on, source, nearness, packet)
    }

    fn work_on(
        &mut self,
        now: Instant,
        means: &mut Means,
        side: Side,
        on: Carries,
        send: &mut impl FnMut(SocketKey, SocketAddr, &[u8]),
    ) -> (Option<Event>, bool) {
        let key = self.sockets.by(side, on);
        let Some(shake) = self.streams[side.index()].cover.shake() else {
            return (None, false);
        };
        let mut send = |to, bytes: &[u8]| send(key, to, bytes);
        let (outcome, more) = shake.take(now, means, on, &mut send);
        (outcome.map(|outcome| self.settle(now, side, outcome)), more)
    }

    fn look_after(
        &mut self,
        now: Instant,
        means: &mut Means,
        side: Side,
        send: &mut impl FnMut(SocketKey, SocketAddr, &[u8]),
    ) -> Option<Event> {
        let sockets = self.sockets;
        let stream = &mut self.streams[side.index()];
        let media = (Carries::Media, stream.rtp.destination());
        let reports = (Carries::Reports, stream.rtcp.destination());
        let ports: &[_] = match stream.multiplexed {
            true => &[media],
            false => &[media, reports],
        };
        let mut send = |on, to, bytes: &[u8]| send(sockets.by(side, on), to, bytes);
        let outcome = stream.cover.shake()?.look(now, means, ports, &mut send)?;
        Some(self.settle(now, side, outcome))
    }

    /// What came of a handshake counts for the stream.
    fn settle(&mut self, now: Instant, side: Side, outcome: Outcome) -> Event {
        let relay = self.id;
        match outcome {
            Outcome::Secured { source, suite } => {
                self.streams[side.index()].rtp.settle(now, source);
                Event::Secured { relay, side, suite }
            }
            Outcome::Failed(why) => Event::HandshakeFailed { relay, side, why },
        }
    }

    fn wakes(&mut self, side: Side) -> bool {
        let shake = self.streams[side.index()].cover.shake();
        shake.is_some_and(|shake| shake.wakes())
    }

    pub(super) fn expire_handshakes(&mut self, now: Instant) {
        for stream in &mut self.streams {
            if let Some(shake) = stream.cover.shake() {
                shake.expire(now);
            }
        }
    }
}
