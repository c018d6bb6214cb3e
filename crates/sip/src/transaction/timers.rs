//! The timers of RFC 3261 and the table that runs them.
//!
//! The table is a heap that knows where each of its entries is: setting a timer far ahead and
//! cancelling it early (what nearly every SIP timer does) both stay near the leaves, and a cancelled
//! timer leaves nothing behind. So the table is as large as the number of *running* timers, which the
//! bounds on transactions and sessions limit in turn.

use std::time::{Duration, Instant};

use crate::arena::Key;

/// The base values from which all timers derive (RFC 3261 table 4).
#[derive(Clone, Debug)]
pub struct Timers {
    /// Round-trip estimate: the first retransmission interval. 500 ms unless told otherwise.
    pub t1: Duration,
    /// The longest retransmission interval of requests other than INVITE and of 2xx. 4 s.
    pub t2: Duration,
    /// How long a message may stay in the network. 5 s.
    pub t4: Duration,
    /// How long an INVITE waits for any response before the next hop is tried. 4 s.
    pub no_response: Duration,
    /// How long a look-up may take before it counts as failed. 10 s.
    pub lookup: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            no_response: Duration::from_secs(4),
            lookup: Duration::from_secs(10),
        }
    }
}

impl Timers {
    /// The same with no interval so short that a retransmission would be due at once, for ever.
    pub(crate) fn sane(mut self) -> Self {
        self.t1 = self.t1.max(MIN_INTERVAL);
        self.t2 = self.t2.max(self.t1);
        self
    }

    /// 64*T1: how long a transaction tries before it gives up (timers B, F, H, J, L, M).
    pub fn give_up(&self) -> Duration {
        self.t1 * 64
    }

    /// Timer D: how long a client absorbs retransmitted failures over UDP; at least 32 s.
    pub(crate) fn absorb_failures(&self) -> Duration {
        self.give_up().max(Duration::from_secs(32))
    }
}

/// The shortest retransmission interval that is accepted.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// Why a transaction wakes. The letters are those of RFC 3261 §17 and RFC 6026.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Letter {
    /// When the INVITE is sent again.
    A,
    /// When an INVITE without a final response is given up.
    B,
    /// When a failed INVITE client stops absorbing retransmitted failures.
    D,
    /// When another request is sent again.
    E,
    /// When another request without a final response is given up.
    F,
    /// When our failure response to an INVITE is sent again.
    G,
    /// When the ACK to our failure response is given up.
    H,
    /// When an acknowledged INVITE server stops absorbing ACKs.
    I,
    /// When a server transaction stops repeating its final response.
    J,
    /// When a completed client transaction stops absorbing responses.
    K,
    /// When an accepted INVITE server stops absorbing INVITEs (RFC 6026).
    L,
    /// When an accepted INVITE client stops taking further 2xx (RFC 6026).
    M,
    /// When nobody has said anything at all to our request and the next hop gets its chance.
    NoResponse,
    /// When the layer above has left a request unanswered for too long.
    Unanswered,
}

/// Why a session wakes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum SessionTimer {
    /// When an unacknowledged 2xx is sent again, or given up (RFC 3261 §13.3.1.4).
    Success,
    /// When an unacknowledged reliable provisional is sent again, or given up (RFC 3262 §3).
    Provisional,
    /// When a session is refreshed, or given up for want of a refresh (RFC 4028 §10).
    Refresh,
    /// When the peer is told who we are now, after something else was in the way (RFC 4916).
    Identity,
}

/// What a timer is about.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    Transaction(Key, Letter),
    Session(Key, SessionTimer),
    /// The look-up of one of our requests has taken too long.
    Lookup(Key),
}

/// A handle to one running timer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct TimerId {
    slot: u32,
    serial: u32,
}

struct Entry {
    serial: u32,
    /// Index in `heap`, or [`FREE`].
    position: u32,
    due: Due,
}

#[derive(Copy, Clone)]
struct Node {
    at: Instant,
    slot: u32,
}

const FREE: u32 = u32::MAX;
/// Children per node: four keep the tree flat and a family in one cache line.
const ARITY: usize = 4;

/// All running timers of one endpoint.
#[derive(Default)]
pub(crate) struct TimerTable {
    heap: Vec<Node>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    serial: u32,
}

impl TimerTable {
    /// Starts a timer.
    pub(crate) fn set(&mut self, at: Instant, due: Due) -> TimerId {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let position = self.heap.len();
        let entry = Entry {
            serial,
            position: position as u32,
            due,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.heap.push(Node { at, slot });
        self.rise(position);
        TimerId { slot, serial }
    }

    /// Stops the timer behind `id`, if it still runs, and forgets the handle.
    pub(crate) fn cancel(&mut self, id: &mut Option<TimerId>) {
        let Some(TimerId { slot, serial }) = id.take() else {
            return;
        };
        if let Some(entry) = self.entries.get(slot as usize)
            && entry.serial == serial
            && entry.position != FREE
        {
            self.remove(entry.position as usize);
        }
    }

    /// The instant of the soonest timer.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|node| node.at)
    }

    /// Takes the soonest timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let first = self.heap.first()?;
        if first.at > now {
            return None;
        }
        let due = self.entries[first.slot as usize].due;
        self.remove(0);
        Some(due)
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    fn remove(&mut self, position: usize) {
        let node = self.heap.swap_remove(position);
        self.entries[node.slot as usize].position = FREE;
        self.free.push(node.slot);
        if position < self.heap.len() {
            self.entries[self.heap[position].slot as usize].position = position as u32;
            self.sink(position);
            self.rise(position);
        }
    }

    fn rise(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if self.heap[parent].at <= self.heap[position].at {
                break;
            }
            self.swap(parent, position);
            position = parent;
        }
    }

    fn sink(&mut self, mut position: usize) {
        loop {
            let first = position * ARITY + 1;
            let last = (first + ARITY).min(self.heap.len());
            let Some(soonest) = (first..last).min_by_key(|&child| self.heap[child].at) else {
                break;
            };
            if self.heap[position].at <= self.heap[soonest].at {
                break;
            }
            self.swap(position, soonest);
            position = soonest;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.entries[self.heap[a].slot as usize].position = a as u32;
        self.entries[self.heap[b].slot as usize].position = b as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(n: u32) -> Due {
        Due::Lookup(Key {
            index: n,
            generation: 0,
        })
    }

    #[test]
    fn timers_fire_in_order_and_cancelled_ones_never() {
        let base = Instant::now();
        let mut table = TimerTable::default();
        let mut random = 7u64;
        let mut handles = Vec::new();
        for n in 0..500u32 {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let at = base + Duration::from_millis(random >> 54);
            handles.push((n, at, Some(table.set(at, due(n)))));
        }
        let mut expected = Vec::new();
        for (n, at, mut handle) in handles {
            if n % 3 == 0 {
                table.cancel(&mut handle);
            } else {
                expected.push((at, n));
            }
        }
        assert_eq!(table.len(), expected.len());
        expected.sort();
        let mut fired = Vec::new();
        while let Some(at) = table.next() {
            assert_eq!(table.pop_due(at - Duration::from_nanos(1)), None);
            match table.pop_due(at) {
                Some(Due::Lookup(key)) => fired.push((at, key.index)),
                other => panic!("unexpected {other:?}"),
            }
        }
        fired.sort();
        assert_eq!(fired, expected);
    }

    #[test]
    fn a_handle_of_a_fired_timer_cancels_nothing() {
        let base = Instant::now();
        let mut table = TimerTable::default();
        let mut old = Some(table.set(base, due(1)));
        assert_eq!(table.pop_due(base), Some(due(1)));
        table.set(base, due(2));
        table.cancel(&mut old);
        assert_eq!(table.pop_due(base), Some(due(2)));
    }
}
