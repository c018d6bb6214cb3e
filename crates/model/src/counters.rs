//! Calls up on a connection, counted and limited without a lock.
//!
//! A connection may carry calls of many domains, so its counters are the one thing that shards share.
//! Both directions live in one atomic word: that makes `limits-max-active-calls-total` exact however
//! many shards reserve at once.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Which way a call uses a connection, seen from the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallDirection {
    /// The peer called us.
    Orig,
    /// We called the peer.
    Term,
}

/// The three limits of a connection; zero means unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// `limits-max-active-calls-orig`
    pub orig: u32,
    /// `limits-max-active-calls-term`
    pub term: u32,
    /// `limits-max-active-calls-total`
    pub total: u32,
}

/// The limit that had no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReached {
    /// The contract field that says no.
    pub field: &'static str,
    /// Its value.
    pub limit: u32,
}

/// Live counters of one connection. They outlive changes of the record.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    /// Orig calls in the upper half, term calls in the lower.
    active: AtomicU64,
    orig_since_startup: AtomicU64,
    term_since_startup: AtomicU64,
    peak: AtomicU32,
}

/// A reading of the counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CountersNow {
    /// `active-calls-orig-current`
    pub orig_current: u32,
    /// `active-calls-term-current`
    pub term_current: u32,
    /// `active-calls-orig-since-startup`
    pub orig_since_startup: u64,
    /// `active-calls-term-since-startup`
    pub term_since_startup: u64,
    /// Most calls up at once since the process started.
    pub peak: u32,
}

impl ConnectionCounters {
    /// Takes one call's place, or says which limit is full. Every success is paid back by [`release`](Self::release).
    pub fn reserve(
        &self,
        direction: CallDirection,
        limits: CallLimits,
    ) -> Result<(), LimitReached> {
        let mut seen = self.active.load(Ordering::Relaxed);
        let next = loop {
            let (mut orig, mut term) = unpack(seen);
            match direction {
                CallDirection::Orig => orig += 1,
                CallDirection::Term => term += 1,
            }
            let full = |limit: u32, used: u32| limit != 0 && used > limit;
            let refused = |field, limit| Err(LimitReached { field, limit });
            if direction == CallDirection::Orig && full(limits.orig, orig) {
                return refused("limits-max-active-calls-orig", limits.orig);
            }
            if direction == CallDirection::Term && full(limits.term, term) {
                return refused("limits-max-active-calls-term", limits.term);
            }
            if full(limits.total, orig + term) {
                return refused("limits-max-active-calls-total", limits.total);
            }
            let next = pack(orig, term);
            match self.active.compare_exchange_weak(
                seen,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => break next,
                Err(now) => seen = now,
            }
        };
        let (orig, term) = unpack(next);
        self.peak.fetch_max(orig + term, Ordering::Relaxed);
        match direction {
            CallDirection::Orig => self.orig_since_startup.fetch_add(1, Ordering::Relaxed),
            CallDirection::Term => self.term_since_startup.fetch_add(1, Ordering::Relaxed),
        };
        Ok(())
    }

    /// Gives one call's place back.
    pub fn release(&self, direction: CallDirection) {
        let one = match direction {
            CallDirection::Orig => pack(1, 0),
            CallDirection::Term => pack(0, 1),
        };
        self.active.fetch_sub(one, Ordering::Relaxed);
    }

    /// The counters as they stand.
    pub fn now(&self) -> CountersNow {
        let (orig_current, term_current) = unpack(self.active.load(Ordering::Relaxed));
        CountersNow {
            orig_current,
            term_current,
            orig_since_startup: self.orig_since_startup.load(Ordering::Relaxed),
            term_since_startup: self.term_since_startup.load(Ordering::Relaxed),
            peak: self.peak.load(Ordering::Relaxed),
        }
    }
}

fn pack(orig: u32, term: u32) -> u64 {
    (u64::from(orig) << 32) | u64::from(term)
}

fn unpack(both: u64) -> (u32, u32) {
    ((both >> 32) as u32, both as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_counts_both_directions() {
        let counters = ConnectionCounters::default();
        let limits = CallLimits {
            orig: 0,
            term: 0,
            total: 2,
        };
        counters.reserve(CallDirection::Orig, limits).unwrap();
        counters.reserve(CallDirection::Term, limits).unwrap();
        let full = counters.reserve(CallDirection::Term, limits).unwrap_err();
        assert_eq!(full.field, "limits-max-active-calls-total");
        counters.release(CallDirection::Orig);
        counters.reserve(CallDirection::Term, limits).unwrap();
        assert_eq!(counters.now().term_current, 2);
        assert_eq!(counters.now().peak, 2);
    }

    #[test]
    fn exact_under_concurrency() {
        let counters = ConnectionCounters::default();
        let limits = CallLimits {
            orig: 5,
            term: 0,
            total: 0,
        };
        let passed: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..10)
                            .filter(|_| counters.reserve(CallDirection::Orig, limits).is_ok())
                            .count()
                    })
                })
                .collect();
            tries.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(passed, 5);
    }
}
