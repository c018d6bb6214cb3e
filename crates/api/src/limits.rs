//! How often one may ask, and how often one may be wrong.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use crate::errors::ApiError;

/// Requests per second one key may make over a longer time.
pub const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(500).expect("not zero");
/// Requests one key may make at once after a pause.
pub const REQUEST_BURST: NonZeroU32 = NonZeroU32::new(2_000).expect("not zero");
/// Wrong credentials one address may show within [`FAILURE_WINDOW_SECONDS`].
pub const MAX_FAILURES: u32 = 60;
/// Time in which failures are counted, and for which further ones are then turned away, in seconds.
pub const FAILURE_WINDOW_SECONDS: u64 = 60;
/// Keys and addresses that are remembered; older ones make room.
const MAX_TRACKED: usize = 20_000;

/// Requests per key.
pub(crate) struct KeyRate {
    limiter: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
}

impl KeyRate {
    /// A limit of `per_second` with a burst.
    pub(crate) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self {
            limiter: DefaultKeyedRateLimiter::keyed(quota),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one request of a key, or says when to come back.
    pub(crate) fn check(&self, key_id: &str) -> Result<(), ApiError> {
        // Only existing keys get here, so the table is as large as the number of keys in use.
        if self.limiter.len() > MAX_TRACKED {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(&key_id.to_owned())
            .map_err(|not_until| {
                let wait = not_until.wait_time_from(self.clock.now());
                ApiError::too_many(
                    "This key makes requests faster than allowed.",
                    wait.as_secs() + 1,
                )
            })
    }
}

/// Wrong credentials per address. A good key is served whatever its address did before: many clients may share
/// one, behind a proxy or a translator, and keys cannot be guessed. An IPv6 client owns a whole network, so /64 counts as one address.
#[derive(Default)]
pub(crate) struct Failures {
    seen: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Clone, Copy)]
struct Window {
    started_ms: i64,
    count: u32,
}

const WINDOW_MS: i64 = FAILURE_WINDOW_SECONDS as i64 * 1_000;

impl Failures {
    /// Counts a wrong credential; refuses when there were too many.
    pub(crate) fn count(&self, address: IpAddr, now_ms: i64) -> Result<(), ApiError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_TRACKED {
            seen.retain(|_, window| now_ms < window.started_ms + WINDOW_MS);
            if seen.len() >= MAX_TRACKED {
                // A flood from many networks: forgetting all of them is better than growing.
                seen.clear();
            }
        }
        let fresh = Window {
            started_ms: now_ms,
            count: 0,
        };
        let window = seen.entry(network(address)).or_insert(fresh);
        // A clock that was set back would otherwise leave a window that lasts for as long.
        if !(window.started_ms..window.started_ms + WINDOW_MS).contains(&now_ms) {
            *window = fresh;
        }
        window.count = window.count.saturating_add(1);
        if window.count <= MAX_FAILURES {
            return Ok(());
        }
        let left_ms = window.started_ms + WINDOW_MS - now_ms;
        Err(ApiError::too_many(
            "Too many wrong credentials came from this address.",
            left_ms.unsigned_abs().div_ceil(1_000),
        ))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_wrong_too_often_waits() {
        let failures = Failures::default();
        let address = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        for _ in 0..MAX_FAILURES {
            failures.count(address, 5).unwrap();
        }
        assert_eq!(failures.count(neighbour, 6).unwrap_err().status, 429);
        failures.count("192.0.2.1".parse().unwrap(), 6).unwrap();
        failures.count(address, 5 + WINDOW_MS).unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        let failures = Failures::default();
        for n in 0..2 * MAX_TRACKED as u32 {
            let _ = failures.count(IpAddr::from(n.to_be_bytes()), 0);
        }
        assert!(failures.seen.lock().unwrap().len() <= MAX_TRACKED);
    }

    #[test]
    fn the_greatest_rate_is_none() {
        let rate = KeyRate::new(NonZeroU32::MAX, NonZeroU32::MAX);
        assert!((0..10_000).all(|_| rate.check("a").is_ok()));
    }

    #[test]
    fn keys_have_a_rate_each() {
        let one = NonZeroU32::MIN;
        let rate = KeyRate::new(one, NonZeroU32::new(2).unwrap());
        assert!(rate.check("a").is_ok() && rate.check("a").is_ok());
        assert_eq!(rate.check("a").unwrap_err().status, 429);
        assert!(rate.check("b").is_ok());
    }
}
