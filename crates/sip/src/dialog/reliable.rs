//! Reliable provisional responses of ours (RFC 3262 §3): one at a time, in order, repeated until PRACK.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::transaction::timers::TimerId;

/// The most provisionals that wait for the PRACK of an earlier one; further ones are dropped, for
/// ringing twice tells nobody more.
const MAX_QUEUED_PROVISIONALS: usize = 16;

/// One reliable provisional.
pub(crate) struct Provisional {
    pub(crate) rseq: u32,
    pub(crate) status: u16,
    pub(crate) bytes: Bytes,
    /// It carries a description, which a 2xx must not overtake.
    pub(crate) with_sdp: bool,
}

keep::keep!(struct Provisional { rseq, status, bytes, with_sdp });

/// The reliable provisionals of one INVITE that have no PRACK yet. The first one is on the wire.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Provisional>,
    pub(crate) timer: Option<TimerId>,
    pub(crate) interval: Duration,
    /// When the first one is given up.
    pub(crate) deadline: Option<Instant>,
    /// The number of the last one made; 0 before the first.
    last_rseq: u32,
}

// The first is sent again at once.
keep::keep!(struct Queue { waiting, last_rseq; timer: None, interval: Duration::ZERO, deadline: None });

impl Queue {
    /// The number for the next provisional. `start` is random, as §3 wants for the first.
    pub(crate) fn next_rseq(&mut self, start: u32) -> u32 {
        self.last_rseq = if self.last_rseq == 0 {
            (start & 0x3fff_ffff) | 1
        } else {
            self.last_rseq + 1
        };
        self.last_rseq
    }

    /// The number of the last one made; 0 before the first.
    pub(crate) fn last_rseq(&self) -> u32 {
        self.last_rseq
    }

    /// Whether another one may be made.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_QUEUED_PROVISIONALS
    }

    /// Adds one. True when it is to be sent now.
    pub(crate) fn push(&mut self, provisional: Provisional) -> bool {
        self.waiting.push_back(provisional);
        self.waiting.len() == 1
    }

    /// The one on the wire.
    pub(crate) fn first(&self) -> Option<&Provisional> {
        self.waiting.front()
    }

    /// Takes the one on the wire off if a PRACK for `rseq` is for it.
    pub(crate) fn acknowledge(&mut self, rseq: u32) -> bool {
        if self.waiting.front().is_some_and(|first| first.rseq == rseq) {
            self.waiting.pop_front();
            return true;
        }
        false
    }

    /// Whether a description is on its way or waiting: then a 2xx has to wait too (§3).
    pub(crate) fn holds_sdp(&self) -> bool {
        self.waiting.iter().any(|provisional| provisional.with_sdp)
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}
