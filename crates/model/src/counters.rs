//! Calls up on a connection and in a domain, counted and limited without a lock.
//!
//! A connection may carry calls of many domains, and calls from a connection of all belong to a domain that no shard
//! could know beforehand: their counters are the one thing that shards share. What is limited together lives in one
//! atomic word, both directions of a connection, all calls of a domain and those with the outside: that makes
//! `limits-max-active-calls-total` exact however many shards reserve at once. So do a month and its maximum: a new
//! month cannot take over the maximum of the old.

use crate::ConnectionKey;
use crate::datetime::Month;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    /// Number of the latest month that was seen in the upper half, the most calls at once in it in the lower.
    this_month: AtomicU64,
    /// The same for the latest month before.
    last_month: AtomicU64,
    /// Raised with every new maximum.
    news: Arc<AtomicBool>,
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
    /// `active-calls-max-this-month`
    pub max_this_month: u32,
    /// `active-calls-max-last-month`
    pub max_last_month: u32,
}

/// What outlives the process: the most calls at once on a connection in a month and in the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallMaxima {
    /// The connection.
    pub connection: ConnectionKey,
    /// The month that is meant by "this".
    pub month: Month,
    /// `active-calls-max-this-month` in that month.
    pub this_month: u32,
    /// `active-calls-max-last-month` in that month.
    pub last_month: u32,
}

impl ConnectionCounters {
    /// Counters that raise `news` with every new maximum. Many may share it, so that whoever keeps their maxima need
    /// not look at all of them to find the few that have changed.
    pub fn with_news(news: Arc<AtomicBool>) -> Self {
        Self {
            news,
            ..Self::default()
        }
    }

    /// Takes one call's place, or says which limit is full. Every success is paid back by [`release`](Self::release).
    pub fn reserve(
        &self,
        direction: CallDirection,
        limits: CallLimits,
        month: Month,
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
        self.note(month, orig + term);
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

    /// Lets a month begin, if it has not yet: with the calls that are up, even if none comes or goes.
    pub fn begin(&self, month: Month) {
        let (orig, term) = self.current();
        self.note(month, orig + term);
    }

    /// Puts maxima of an earlier run back: those of a month and of the one before it.
    pub fn restore(&self, month: Month, max_this_month: u32, max_last_month: u32) {
        let before = month.number().saturating_sub(1);
        let last = pack(before, max_last_month);
        self.last_month.fetch_max(last, Ordering::Relaxed);
        self.note(month, max_this_month);
    }

    /// So many calls are up in this month.
    fn note(&self, month: Month, calls: u32) {
        let mut seen = self.this_month.load(Ordering::Relaxed);
        loop {
            let (known, most) = unpack(seen);
            // A clock that was set back does not bring an old month back.
            let next = if month.number() > known {
                pack(month.number(), calls)
            } else {
                pack(known, most.max(calls))
            };
            if next == seen {
                return;
            }
            let swapped = self.this_month.compare_exchange_weak(
                seen,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => {
                    if month.number() > known {
                        // Later months are greater words, so that the order of two such moves does not matter.
                        self.last_month.fetch_max(seen, Ordering::Relaxed);
                    }
                    // Behind the words that it speaks of.
                    self.news.store(true, Ordering::Release);
                    return;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Calls that are up: from the peer, and to it.
    pub fn current(&self) -> (u32, u32) {
        unpack(self.active.load(Ordering::Relaxed))
    }

    /// The counters as they stand in a month.
    pub fn now(&self, month: Month) -> CountersNow {
        self.begin(month);
        let (orig_current, term_current) = self.current();
        let (this_month, max_this_month) = unpack(self.this_month.load(Ordering::Relaxed));
        let (last_month, max_last_month) = unpack(self.last_month.load(Ordering::Relaxed));
        let is_last = last_month + 1 == this_month;
        CountersNow {
            orig_current,
            term_current,
            orig_since_startup: self.orig_since_startup.load(Ordering::Relaxed),
            term_since_startup: self.term_since_startup.load(Ordering::Relaxed),
            max_this_month,
            max_last_month: if is_last { max_last_month } else { 0 },
        }
    }
}

/// The two limits of a domain; zero means unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DomainLimits {
    /// `limits-max-active-calls-total`
    pub total: u32,
    /// `limits-max-active-calls-offnet`
    pub offnet: u32,
}

/// Live counters of one domain. They outlive changes of the record.
#[derive(Debug, Default)]
pub struct DomainCounters {
    /// All calls in the upper half, those of them with the outside in the lower.
    active: AtomicU64,
}

/// A reading of a domain's counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DomainCalls {
    /// `active-calls-total-current`
    pub total: u32,
    /// `active-calls-offnet-current`
    pub offnet: u32,
}

impl DomainCounters {
    /// Takes one call's place, or says which limit is full. Every success is paid back by
    /// [`release`](Self::release).
    pub fn reserve(&self, offnet: bool, limits: DomainLimits) -> Result<(), LimitReached> {
        self.add(1, u32::from(offnet), limits)
    }

    /// A call that has a place turns to the outside, where that has room.
    pub fn reserve_offnet(&self, limits: DomainLimits) -> Result<(), LimitReached> {
        self.add(0, 1, limits)
    }

    fn add(&self, calls: u32, outside: u32, limits: DomainLimits) -> Result<(), LimitReached> {
        let mut seen = self.active.load(Ordering::Relaxed);
        loop {
            let (total, offnet) = unpack(seen);
            let (total, offnet) = (total + calls, offnet + outside);
            let full = |more: u32, limit: u32, used: u32| more != 0 && limit != 0 && used > limit;
            let refused = |field, limit| Err(LimitReached { field, limit });
            if full(calls, limits.total, total) {
                return refused("limits-max-active-calls-total", limits.total);
            }
            if full(outside, limits.offnet, offnet) {
                return refused("limits-max-active-calls-offnet", limits.offnet);
            }
            let next = pack(total, offnet);
            match self.active.compare_exchange_weak(
                seen,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(now) => seen = now,
            }
        }
    }

    /// Gives one call's place back.
    pub fn release(&self, offnet: bool) {
        let one = pack(1, u32::from(offnet));
        self.active.fetch_sub(one, Ordering::Relaxed);
    }

    /// A call that keeps its place is with the outside no more.
    pub fn release_offnet(&self) {
        self.active.fetch_sub(pack(0, 1), Ordering::Relaxed);
    }

    /// Calls that are up.
    pub fn now(&self) -> DomainCalls {
        let (total, offnet) = unpack(self.active.load(Ordering::Relaxed));
        DomainCalls { total, offnet }
    }
}

fn pack(upper: u32, lower: u32) -> u64 {
    (u64::from(upper) << 32) | u64::from(lower)
}

fn unpack(both: u64) -> (u32, u32) {
    ((both >> 32) as u32, both as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAY: Month = Month::from_number(676);
    const JUNE: Month = Month::from_number(677);
    const JULY: Month = Month::from_number(678);

    #[test]
    fn total_counts_both_directions() {
        let counters = ConnectionCounters::default();
        let limits = CallLimits {
            orig: 0,
            term: 0,
            total: 2,
        };
        counters.reserve(CallDirection::Orig, limits, MAY).unwrap();
        counters.reserve(CallDirection::Term, limits, MAY).unwrap();
        let full = counters
            .reserve(CallDirection::Term, limits, MAY)
            .unwrap_err();
        assert_eq!(full.field, "limits-max-active-calls-total");
        counters.release(CallDirection::Orig);
        counters.reserve(CallDirection::Term, limits, MAY).unwrap();
        assert_eq!(counters.now(MAY).term_current, 2);
        assert_eq!(counters.now(MAY).max_this_month, 2);
    }

    #[test]
    fn each_month_has_its_own_maximum() {
        let maxima = |counters: &ConnectionCounters, month| {
            let now = counters.now(month);
            (now.max_this_month, now.max_last_month)
        };
        let no_limits = CallLimits::default();
        let counters = ConnectionCounters::default();
        let begin = |month| {
            counters
                .reserve(CallDirection::Orig, no_limits, month)
                .unwrap();
        };
        for _ in 0..3 {
            begin(MAY);
        }
        counters.release(CallDirection::Orig);
        assert_eq!(maxima(&counters, MAY), (3, 0));
        // Two calls last into June; one of them ends, another begins.
        counters.begin(JUNE);
        counters.release(CallDirection::Orig);
        begin(JUNE);
        assert_eq!(maxima(&counters, JUNE), (2, 3));
        // The clock is set back, and what is counted is counted now.
        begin(MAY);
        assert_eq!(maxima(&counters, JUNE), (3, 3));
        for _ in 0..3 {
            counters.release(CallDirection::Orig);
        }
        assert_eq!(maxima(&counters, JULY), (0, 3));
        let a_year_later = Month::from_number(JULY.number() + 12);
        assert_eq!(maxima(&counters, a_year_later), (0, 0));
    }

    #[test]
    fn maxima_of_an_earlier_run_are_taken_up() {
        let counters = ConnectionCounters::default();
        counters.restore(MAY, 7, 9);
        counters
            .reserve(CallDirection::Term, CallLimits::default(), MAY)
            .unwrap();
        let now = counters.now(MAY);
        assert_eq!((now.term_since_startup, now.term_current), (1, 1));
        assert_eq!((now.max_this_month, now.max_last_month), (7, 9));
        let counters = ConnectionCounters::default();
        counters.restore(MAY, 7, 9);
        let now = counters.now(JUNE);
        assert_eq!((now.max_this_month, now.max_last_month), (0, 7));
    }

    #[test]
    fn a_domain_counts_all_calls_and_those_with_the_outside() {
        let counters = DomainCounters::default();
        let limits = DomainLimits {
            total: 3,
            offnet: 1,
        };
        counters.reserve(true, limits).unwrap();
        let full = counters.reserve(true, limits).unwrap_err();
        assert_eq!(
            (full.field, full.limit),
            ("limits-max-active-calls-offnet", 1)
        );
        counters.reserve(false, limits).unwrap();
        assert!(counters.reserve_offnet(limits).is_err());
        counters.release(true);
        counters.reserve_offnet(limits).unwrap();
        counters.release_offnet();
        counters.reserve(true, limits).unwrap();
        counters.reserve(false, limits).unwrap();
        let full = counters.reserve(false, limits).unwrap_err();
        assert_eq!(
            (full.field, full.limit),
            ("limits-max-active-calls-total", 3)
        );
        let now = counters.now();
        assert_eq!((now.total, now.offnet), (3, 1));
        // A limit that was lowered stops no call that has its place from moving on.
        let lowered = DomainLimits {
            total: 1,
            offnet: 2,
        };
        counters.reserve_offnet(lowered).unwrap();
    }

    #[test]
    fn limits_of_a_domain_are_exact_under_concurrency() {
        let counters = DomainCounters::default();
        let limits = DomainLimits {
            total: 9,
            offnet: 5,
        };
        let passed: Vec<usize> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|n| {
                    let counters = &counters;
                    scope.spawn(move || {
                        (0..10)
                            .filter(|_| counters.reserve(n % 2 == 0, limits).is_ok())
                            .count()
                    })
                })
                .collect();
            tries.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let outside: usize = passed.iter().step_by(2).sum();
        assert!(outside <= 5, "{passed:?}");
        assert_eq!(passed.iter().sum::<usize>(), 9, "{passed:?}");
        let now = counters.now();
        assert_eq!((now.total as usize, now.offnet as usize), (9, outside));
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
                            .filter(|_| counters.reserve(CallDirection::Orig, limits, MAY).is_ok())
                            .count()
                    })
                })
                .collect();
            tries.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(passed, 5);
    }
}
