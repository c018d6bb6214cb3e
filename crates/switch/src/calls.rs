//! The calls of a shard, awake and at rest.
//!
//! A call to which nothing happens is laid to rest after a while (`call/rest.rs`) and woken by whoever asks for it, so
//! that only this file knows which calls rest.

use crate::call::rest::Resting;
use crate::call::{Call, CallKey};
use crate::core::Core;
use keep::{Base, Writer};
use slab::Slab;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long after it began or woke a call is laid to rest in a switch that serves, if nothing is under way in it then: when
/// the last transactions of its setup are over (timers H and L of RFC 3261 and RFC 6026), so that shorter calls are never
/// packed up for nothing.
pub const REST_AFTER: Duration = Duration::from_secs(33);

/// How much later than due a call may be laid to rest: a switch with nothing else to do wakes up once for many of them.
const SLACK: Duration = Duration::from_secs(1);

/// How many are looked at in one turn: after a restart all are due at the same moment, and packing up a call takes some
/// microseconds in which nobody is heard.
const RESTS_PER_TURN: usize = 100;

/// The calls of a shard.
pub(crate) struct Calls {
    slots: Slab<Slot>,
    /// Who may be laid to rest when. For each call that is awake there is one entry.
    due: VecDeque<Due>,
    /// From a call's beginning, or its waking, until that may be.
    rest_after: Duration,
    writer: Writer,
    resting: usize,
    rests: u64,
}

#[derive(Debug)]
enum Slot {
    Awake(Box<Call>),
    Resting(Box<Resting>),
}

struct Due {
    at: Instant,
    call: CallKey,
}

impl Slot {
    fn key(&self) -> CallKey {
        match self {
            Self::Awake(call) => call.key,
            Self::Resting(resting) => resting.key,
        }
    }
}

impl Calls {
    /// No calls. Each is laid to rest when nothing is under way in it, but not before `rest_after` has passed since it
    /// began or woke.
    pub(crate) fn new(base: Base, rest_after: Duration) -> Self {
        Self {
            slots: Slab::new(),
            due: VecDeque::new(),
            rest_after,
            // Moments are not converted by it.
            writer: Writer::new(base),
            resting: 0,
            rests: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many are at rest.
    pub(crate) fn resting(&self) -> usize {
        self.resting
    }

    /// How often a call was laid to rest, since the start.
    pub(crate) fn rests(&self) -> u64 {
        self.rests
    }

    /// The slot of the next call.
    pub(crate) fn vacant_key(&self) -> usize {
        self.slots.vacant_key()
    }

    pub(crate) fn keys(&self) -> Vec<CallKey> {
        self.slots.iter().map(|(_, slot)| slot.key()).collect()
    }

    pub(crate) fn insert(&mut self, now: Instant, call: Call) {
        self.schedule(now, call.key);
        self.slots.insert(Slot::Awake(Box::new(call)));
    }

    /// A call that is not over, woken if it was at rest.
    pub(crate) fn get(&mut self, core: &mut Core, key: CallKey) -> Option<&mut Call> {
        let slot = self.slots.get_mut(key.slot)?;
        if slot.key() != key {
            return None;
        }
        if let Slot::Resting(resting) = slot {
            let call = resting.wake(core, self.writer.base());
            debug_assert!(call.is_ok(), "a call at rest is one");
            *slot = Slot::Awake(Box::new(call.ok()?));
            self.resting -= 1;
            self.schedule(core.clock.now, key);
        }
        self.awake(key)
    }

    /// A call that is not at rest.
    pub(crate) fn awake(&mut self, key: CallKey) -> Option<&mut Call> {
        match self.slots.get_mut(key.slot)? {
            Slot::Awake(call) if call.key == key => Some(call),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, core: &mut Core, key: CallKey) -> Option<Call> {
        self.get(core, key)?;
        match self.slots.remove(key.slot) {
            Slot::Awake(call) => Some(*call),
            Slot::Resting(_) => None,
        }
    }

    fn schedule(&mut self, now: Instant, call: CallKey) {
        self.due.push_back(Due {
            at: now + self.rest_after,
            call,
        });
    }

    /// When calls may be laid to rest that are not.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.front().map(|due| due.at + SLACK)
    }

    /// Lays to rest whoever may be.
    pub(crate) fn on_time(&mut self, core: &mut Core) {
        let now = core.clock.now;
        // Each once, for those that are not laid to rest stand in line again.
        for _ in 0..self.due.len().min(RESTS_PER_TURN) {
            let Some(due) = self.due.pop_front_if(|due| due.at <= now) else {
                return;
            };
            let Some(slot) = self.slots.get_mut(due.call.slot) else {
                continue;
            };
            let Slot::Awake(call) = slot else { continue };
            if call.key != due.call {
                continue;
            }
            match call.rest(core, &mut self.writer) {
                Some(resting) => {
                    *slot = Slot::Resting(Box::new(resting));
                    self.resting += 1;
                    self.rests += 1;
                }
                None => self.schedule(now, due.call),
            }
        }
    }
}
