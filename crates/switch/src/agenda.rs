//! What has to be done for connections again and again, each at its time, and not all at once.

use model::ConnectionKey;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// Connections with something to do for each, and when. `T` is what the work knows about a connection.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: Slab<Entry<T>>,
    /// By domain, then by orig pattern.
    by_domain: HashMap<String, HashMap<String, usize>>,
    wakes: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    serial: u64,
    /// The time between two turns.
    pace: Duration,
    /// When the next turn may begin.
    next_turn: Instant,
}

#[derive(Debug)]
struct Entry<T> {
    key: ConnectionKey,
    /// The wake-up that counts; earlier ones are void.
    wake: u64,
    /// It has its place in the queue of those that may begin.
    in_turn: bool,
    work: T,
}

impl<T> Agenda<T> {
    /// Nothing to do. No more than `turns_per_second` begin in a second.
    pub(crate) fn new(now: Instant, turns_per_second: u32) -> Self {
        Self {
            entries: Slab::new(),
            by_domain: HashMap::new(),
            wakes: BinaryHeap::new(),
            serial: 0,
            pace: Duration::from_secs(1) / turns_per_second.max(1),
            next_turn: now,
        }
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The slots of all connections.
    pub(crate) fn slots(&self) -> Vec<usize> {
        self.entries.iter().map(|(slot, _)| slot).collect()
    }

    /// The slots of a domain's connections.
    pub(crate) fn slots_of(&self, domain: &str) -> Vec<usize> {
        let of_domain = self.by_domain.get(domain);
        of_domain
            .into_iter()
            .flat_map(HashMap::values)
            .copied()
            .collect()
    }

    /// What is known about each connection.
    pub(crate) fn works(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| &entry.work)
    }

    /// What is known about the connection with this key.
    pub(crate) fn of(&self, key: &ConnectionKey) -> Option<&T> {
        let of_domain = self.by_domain.get(&key.domain)?;
        let slot = of_domain.get(&key.connection_orig_match_pattern)?;
        self.entries.get(*slot).map(|entry| &entry.work)
    }

    /// The connection of a slot, and what is known about it.
    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<(&ConnectionKey, &mut T)> {
        let entry = self.entries.get_mut(slot)?;
        Some((&entry.key, &mut entry.work))
    }

    /// Adds a connection, without a time yet.
    pub(crate) fn insert(&mut self, key: ConnectionKey, work: T) -> usize {
        let slot = self.entries.insert(Entry {
            key: key.clone(),
            wake: 0,
            in_turn: false,
            work,
        });
        self.by_domain
            .entry(key.domain)
            .or_default()
            .insert(key.connection_orig_match_pattern, slot);
        slot
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, slot: usize) -> Option<(ConnectionKey, T)> {
        let entry = self.entries.try_remove(slot)?;
        if let Some(of_domain) = self.by_domain.get_mut(&entry.key.domain) {
            of_domain.remove(&entry.key.connection_orig_match_pattern);
            if of_domain.is_empty() {
                self.by_domain.remove(&entry.key.domain);
            }
        }
        Some((entry.key, entry.work))
    }

    /// Something is to be done for a connection then, and not at the time said before.
    pub(crate) fn wake_at(&mut self, slot: usize, at: Instant) {
        if let Some(entry) = self.entries.get_mut(slot) {
            self.serial += 1;
            entry.wake = self.serial;
            self.wakes.push(Reverse((at, self.serial, slot)));
        }
    }

    /// When [`next_due`](Self::next_due) has something to say.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.wakes.peek().map(|wake| wake.0.0)
    }

    /// The next connection whose time has come.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<usize> {
        while let Some(Reverse((at, wake, slot))) = self.wakes.peek().copied() {
            if at > now {
                return None;
            }
            self.wakes.pop();
            if self
                .entries
                .get(slot)
                .is_some_and(|entry| entry.wake == wake)
            {
                return Some(slot);
            }
        }
        None
    }

    /// Whether it is the connection's turn now. If not, it wakes again when those that came before have had theirs.
    pub(crate) fn take_turn(&mut self, slot: usize, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(slot) else {
            return false;
        };
        if std::mem::take(&mut entry.in_turn) {
            return true;
        }
        let start = self.next_turn.max(now);
        self.next_turn = start + self.pace;
        if start > now {
            entry.in_turn = true;
            self.wake_at(slot, start);
            return false;
        }
        true
    }

    /// Whoever waited waits for ever.
    pub(crate) fn forget_times(&mut self) {
        self.wakes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pattern: &str) -> ConnectionKey {
        ConnectionKey {
            domain: "d1".into(),
            connection_orig_match_pattern: pattern.into(),
        }
    }

    #[test]
    fn only_the_last_time_counts_and_a_connection_that_is_gone_has_none() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut agenda = Agenda::new(now, 10);
        let (a, b) = (agenda.insert(key("a"), ()), agenda.insert(key("b"), ()));
        agenda.wake_at(a, at(1));
        agenda.wake_at(a, at(3));
        agenda.wake_at(b, at(2));
        assert_eq!(agenda.next_due(at(1)), None);
        assert_eq!(agenda.next_due(at(2)), Some(b));
        assert!(agenda.remove(a).is_some());
        assert_eq!(agenda.next_due(at(9)), None);
        assert_eq!(
            (agenda.poll_timeout(), agenda.slots_of("d1")),
            (None, vec![b])
        );
    }

    #[test]
    fn turns_keep_their_distance() {
        let now = Instant::now();
        let mut agenda = Agenda::new(now, 10);
        let slots: Vec<usize> = ["a", "b", "c"]
            .map(|name| agenda.insert(key(name), ()))
            .into();
        let first: Vec<bool> = slots
            .iter()
            .map(|slot| agenda.take_turn(*slot, now))
            .collect();
        assert_eq!(first, [true, false, false]);
        let later = now + Duration::from_millis(100);
        assert_eq!(agenda.next_due(later), Some(slots[1]));
        assert!(agenda.take_turn(slots[1], later));
        assert_eq!(agenda.next_due(later), None, "the third waits longer");
        let later = now + Duration::from_millis(200);
        assert_eq!(agenda.next_due(later), Some(slots[2]));
    }
}
