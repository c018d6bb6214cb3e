//! Which streams somebody else relays: see [`super::super::loan`].

use std::net::SocketAddr;
use std::time::Instant;

use super::super::latch::Acceptance;
use super::super::loan::{Lent, Loan, Returned};
use super::super::stream::Stream;
use super::super::{RelayId, Side, SocketKey, Traffic};
use super::{Carries, Relay, RelayTable, ends};

/// What has to be done about loans since the last time.
#[derive(Debug, Default)]
pub(super) struct Loans {
    /// Whether there is anybody to lend to.
    wanted: bool,
    /// Streams that may be lent: slot and side that sends.
    ready: Vec<(u32, Side)>,
    /// Streams that are lent with a destination that is not true any more.
    stale: Vec<SocketKey>,
    /// Streams that are lent.
    out: usize,
}

impl Loans {
    /// Takes notice of a packet that was let in.
    pub(super) fn note(&mut self, slot: u32, side: Side, relay: &Relay, acceptance: Acceptance) {
        if !self.wanted {
            return;
        }
        if acceptance != Acceptance::Steady && relay.streams[side.other().index()].lent.is_some() {
            // What goes to this side goes elsewhere now.
            self.stale
                .push(relay.sockets.by(side.other(), Carries::Media));
        }
        if relay.streams[side.index()].may_be_lent() {
            self.ready.push((slot, side));
        }
    }
}

impl RelayTable {
    /// From now on streams may be [lent](Self::lend).
    pub fn want_loans(&mut self) {
        self.loans.wanted = true;
    }

    /// Streams that are lent now.
    pub fn loans(&self) -> usize {
        self.loans.out
    }

    /// Offers the streams that have become fit for it; `give` says by which number the stream is known from now on, or
    /// that it is not wanted. To be called when all packets that were there have been decided about.
    pub fn lend(&mut self, now: Instant, mut give: impl FnMut(&Loan) -> Option<u32>) {
        while let Some((slot, side)) = self.loans.ready.pop() {
            let Some(relay) = &mut self.relays[slot as usize] else {
                continue;
            };
            if !relay.streams[side.index()].may_be_lent() {
                continue;
            }
            match relay.loan(side).and_then(|loan| give(&loan)) {
                Some(number) => {
                    relay.streams[side.index()].lent = Some(Lent::new(number, now));
                    self.loans.out += 1;
                }
                None => relay.streams[side.index()].is_refused(),
            }
        }
    }

    /// The number of the stream that arrives on this socket, if it is lent. Before the table is asked about a packet of it,
    /// it has to be [given back](Self::give_back).
    pub fn lent_by(&self, key: SocketKey) -> Option<u32> {
        let place = self.sockets.get(key.0 as usize).copied().flatten()?;
        if place.carries != Carries::Media {
            return None;
        }
        let relay = self.relays[place.slot as usize].as_ref()?;
        relay.streams[place.side.index()]
            .lent
            .map(|lent| lent.number)
    }

    /// Sockets of a relay whose streams are lent. Before it obeys a command they have to be given back.
    pub fn lent_of(&self, relay: RelayId) -> impl Iterator<Item = SocketKey> + use<> {
        let slot = self.slots.get(&relay).copied();
        let relay = slot.and_then(|slot| self.relays[slot as usize].as_deref());
        relay.map(Relay::lent).into_iter().flatten().flatten()
    }

    /// Sockets of all streams that are lent.
    pub fn all_lent(&self) -> impl Iterator<Item = SocketKey> {
        self.relays
            .iter()
            .flatten()
            .flat_map(|relay| relay.lent().into_iter().flatten())
    }

    /// A socket whose stream has to be given back, because its packets would go where nobody is any more.
    pub fn next_stale(&mut self) -> Option<SocketKey> {
        self.loans.stale.pop()
    }

    /// Sockets of streams that have been lent for long, or of which it has to be known whether they are silent. To be asked
    /// before every [`tick`](Self::tick).
    pub fn overdue(&self, now: Instant) -> Vec<SocketKey> {
        let mut overdue = Vec::new();
        if self.loans.out == 0 {
            return overdue;
        }
        for relay in self.relays.iter().flatten() {
            for side in [Side::A, Side::B] {
                let stream = &relay.streams[side.index()];
                let silent = !relay.timeout.is_zero() && stream.is_silent(now, relay.timeout);
                if stream
                    .lent
                    .is_some_and(|lent| lent.is_overdue(now) || silent)
                {
                    overdue.push(relay.sockets.by(side, Carries::Media));
                }
            }
        }
        overdue
    }

    /// A relay is told something: what was not to be lent before may be now.
    pub(super) fn reconsider(&mut self, relay: RelayId) {
        let slot = self.slots.get(&relay).copied();
        if let Some(relay) = slot.and_then(|slot| self.relays[slot as usize].as_mut()) {
            relay.streams.iter_mut().for_each(Stream::reconsider);
        }
    }

    /// A stream is ours again: what came meanwhile counts as if it had come here.
    pub fn give_back(&mut self, key: SocketKey, returned: &Returned) {
        let place = self.sockets.get(key.0 as usize).copied().flatten();
        let Some(place) = place.filter(|place| place.carries == Carries::Media) else {
            return;
        };
        let Some(relay) = &mut self.relays[place.slot as usize] else {
            return;
        };
        let stream = &mut relay.streams[place.side.index()];
        if stream.lent.is_some() {
            self.loans.out -= 1;
            stream.absorb(relay.opened_at, returned);
        }
    }
}

impl Relay {
    fn lent(&self) -> [Option<SocketKey>; 2] {
        [Side::A, Side::B].map(|side| {
            let lent = self.streams[side.index()].lent;
            lent.map(|_| self.sockets.by(side, Carries::Media))
        })
    }

    /// What one side sends, if it passes unchanged and unheard.
    fn loan(&mut self, side: Side) -> Option<Loan> {
        let (key, out) = (
            self.sockets.by(side, Carries::Media),
            self.sockets.by(side.other(), Carries::Media),
        );
        let (from, towards) = ends(&mut self.streams, side);
        let plain = self.traffic == Traffic::Rtp
            && self.recording.is_none()
            && from.cover.is_clear()
            && towards.cover.is_clear()
            && towards.outbound.is_plain();
        let source = from.rtp.settled_source().filter(|_| plain)?;
        let to = towards.rtp.destination()?;
        let (ssrc, payload_type, next_sequence, carried) = from.next()?;
        let same_family = matches!(
            (source, to),
            (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_))
        );
        same_family.then_some(Loan {
            key,
            source,
            out,
            to,
            ssrc,
            payload_type,
            next_sequence,
            opened_at: self.opened_at,
            carried,
        })
    }
}
