//! Sources that try one name or password after another: after enough of it they are not answered for a while.
//!
//! A failure is a wrong password, or an INVITE or REGISTER that no connection matches. Failures count in a row: one
//! request that is accepted takes all of them back, so a peer of ours with a lame phone behind it is never meant. The
//! first time, a source is ignored for as long as the settings say; each further time doubles that.
//!
//! The source of a datagram can be forged, and whoever forges ours could have us ignore a peer. Therefore what came by
//! datagram never counts against streams from the same address, and an address that a record or a registration names
//! is never ignored at all.

use crate::directory::Directory;
use sip::endpoint::Flow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Sources that are watched at one time. When there are more, those that are not ignored are forgotten.
pub(crate) const MAX_SOURCES: usize = 16_384;

/// Failures that are further apart than this do not belong to one attempt.
const WINDOW: Duration = Duration::from_secs(60);

/// However often it is doubled, the time ends here, unless the settings ask for more.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long after its end a time is remembered, so that the next one is longer.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// When a source is ignored, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardConfig {
    /// Failures in a row after which a source is ignored; zero means never.
    pub failures: u32,
    /// How long it is ignored the first time.
    pub ignored: Duration,
}

impl Default for GuardConfig {
    /// Enough for somebody who types a password by hand, and hopeless for a program.
    fn default() -> Self {
        Self {
            failures: 20,
            ignored: Duration::from_secs(300),
        }
    }
}

/// A source is ignored from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ignored {
    /// Its address; of IPv6 the first 64 bits, for a client owns all that follow.
    pub source: IpAddr,
    /// Whether its streams are meant; else its datagrams.
    pub streams: bool,
    /// How long.
    pub time: Duration,
}

/// What one shard knows of its strangers.
#[derive(Debug)]
pub(crate) struct Guard {
    config: GuardConfig,
    sources: HashMap<(IpAddr, bool), Source>,
    /// Failures since the start.
    pub(crate) failures: u64,
    /// Messages not answered, since the start.
    pub(crate) unanswered: u64,
    /// Of the directory; with a new one, whoever is ignored may have become a peer.
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    failures: u32,
    last: Instant,
    ignored_until: Option<Instant>,
    /// How often it has been ignored.
    times: u32,
    generation: u64,
}

impl Guard {
    pub(crate) fn new(config: GuardConfig) -> Self {
        Self {
            config,
            sources: HashMap::new(),
            failures: 0,
            unanswered: 0,
            generation: 0,
        }
    }

    /// Sources that are ignored now.
    pub(crate) fn ignored(&self, now: Instant) -> usize {
        let is_ignored = |source: &&Source| source.ignored_until.is_some_and(|until| now < until);
        self.sources.values().filter(is_ignored).count()
    }

    /// The records have changed.
    pub(crate) fn on_change(&mut self) {
        self.generation += 1;
    }

    /// Whether what comes from there is not to be answered.
    pub(crate) fn ignores(&mut self, now: Instant, flow: Flow, directory: &Directory) -> bool {
        if self.sources.is_empty() {
            return false;
        }
        let key = key(flow);
        let Some(source) = self.sources.get_mut(&key) else {
            return false;
        };
        if source.ignored_until.is_none_or(|until| until <= now) {
            return false;
        }
        if source.generation != self.generation {
            source.generation = self.generation;
            if directory.is_address_of_a_peer(flow.remote.ip()) {
                self.sources.remove(&key);
                return false;
            }
        }
        true
    }

    /// Counts a failure. The first one that is too much says for how long the source is ignored.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        flow: Flow,
        directory: &Directory,
    ) -> Option<Ignored> {
        self.failures += 1;
        if self.config.failures == 0 {
            return None;
        }
        self.make_room(now);
        let (generation, key) = (self.generation, key(flow));
        let source = self.sources.entry(key).or_insert(Source {
            failures: 0,
            last: now,
            ignored_until: None,
            times: 0,
            generation,
        });
        if now.saturating_duration_since(source.last) > WINDOW {
            source.failures = 0;
        }
        source.last = now;
        source.failures += 1;
        if source.failures < self.config.failures {
            return None;
        }
        source.failures = 0;
        if directory.is_address_of_a_peer(flow.remote.ip()) {
            return None;
        }
        let longest = LONGEST.max(self.config.ignored);
        let doubled = 1_u32.checked_shl(source.times).unwrap_or(u32::MAX);
        let time = self.config.ignored.saturating_mul(doubled).min(longest);
        source.times = source.times.saturating_add(1);
        source.ignored_until = Some(now + time);
        source.generation = generation;
        Some(Ignored {
            source: key.0,
            streams: key.1,
            time,
        })
    }

    /// A request from there was accepted.
    pub(crate) fn succeeded(&mut self, flow: Flow) {
        if !self.sources.is_empty() {
            self.sources.remove(&key(flow));
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.sources.len() < MAX_SOURCES {
            return;
        }
        let recent = |source: &Source| match source.ignored_until {
            Some(until) => now < until + REMEMBERED,
            None => now < source.last + WINDOW,
        };
        self.sources.retain(|_, source| recent(source));
        if self.sources.len() >= MAX_SOURCES {
            self.sources
                .retain(|_, source| source.ignored_until.is_some_and(|until| now < until));
        }
        if self.sources.len() >= MAX_SOURCES {
            // A flood from as many networks: to answer some of it is better than to grow.
            self.sources.clear();
        }
    }
}

fn key(flow: Flow) -> (IpAddr, bool) {
    let network = match flow.remote.ip().to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
    };
    (network, flow.stream.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{DirectoryChange, DomainPart};
    use model::Connection;
    use model::counters::ConnectionCounters;
    use sip::endpoint::StreamId;
    use std::sync::Arc;

    const CONFIG: GuardConfig = GuardConfig {
        failures: 3,
        ignored: Duration::from_secs(10),
    };

    fn from(address: &str) -> Flow {
        Flow {
            interface: 0,
            remote: address.parse().unwrap(),
            stream: None,
        }
    }

    fn with_peer(address: &str) -> Directory {
        let peer = Connection {
            domain: "d1".into(),
            connection_orig_match_pattern: "sip*@peer".into(),
            connection_address: address.into(),
            ..Connection::default()
        };
        let counters = |_: &Connection| Arc::new(ConnectionCounters::default());
        let (part, problems) =
            DomainPart::build("d1", None, vec![peer], Vec::new(), Vec::new(), counters);
        assert!(problems.is_empty());
        let mut directory = Directory::default();
        directory.apply(DirectoryChange::Swap(Arc::new(part)));
        directory
    }

    fn fail(guard: &mut Guard, now: Instant, flow: Flow, directory: &Directory) -> Option<u64> {
        let told: Vec<_> = (0..CONFIG.failures)
            .filter_map(|_| guard.failed(now, flow, directory))
            .collect();
        assert!(told.len() <= 1);
        told.first().map(|ignored| ignored.time.as_secs())
    }

    #[test]
    fn each_time_is_twice_as_long_and_one_success_takes_all_back() {
        let (start, mut guard, nobody) = (Instant::now(), Guard::new(CONFIG), Directory::default());
        let flow = from("198.51.100.7:5060");
        let mut now = start;
        for seconds in [10, 20, 40] {
            assert!(!guard.ignores(now, flow, &nobody));
            assert_eq!(fail(&mut guard, now, flow, &nobody), Some(seconds));
            assert!(guard.ignores(now, from("198.51.100.7:9"), &nobody));
            assert!(!guard.ignores(now, from("198.51.100.8:5060"), &nobody));
            assert_eq!(guard.ignored(now), 1);
            now += Duration::from_secs(seconds);
        }
        assert!(guard.failed(now, flow, &nobody).is_none());
        guard.succeeded(flow);
        assert_eq!(fail(&mut guard, now, flow, &nobody), Some(10));
    }

    #[test]
    fn failures_far_apart_do_not_add_up() {
        let (mut now, mut guard, nobody) =
            (Instant::now(), Guard::new(CONFIG), Directory::default());
        for _ in 0..10 {
            assert!(
                guard
                    .failed(now, from("198.51.100.7:5060"), &nobody)
                    .is_none()
            );
            now += WINDOW + Duration::from_millis(1);
        }
    }

    #[test]
    fn what_came_by_datagram_does_not_count_against_streams() {
        let (now, mut guard, nobody) = (Instant::now(), Guard::new(CONFIG), Directory::default());
        let datagram = from("198.51.100.7:5060");
        let stream = Flow {
            stream: Some(StreamId(1)),
            ..datagram
        };
        fail(&mut guard, now, datagram, &nobody);
        assert!(guard.ignores(now, datagram, &nobody) && !guard.ignores(now, stream, &nobody));
        fail(&mut guard, now, stream, &nobody);
        assert!(guard.ignores(now, stream, &nobody));
    }

    #[test]
    fn the_address_of_a_peer_is_never_ignored_and_no_longer_once_it_is_one() {
        let (now, mut guard) = (Instant::now(), Guard::new(CONFIG));
        let (flow, peer) = (from("198.51.100.7:5060"), with_peer("198.51.100.7:5080"));
        assert_eq!(fail(&mut guard, now, flow, &peer), None);
        assert!(!guard.ignores(now, flow, &peer));
        fail(&mut guard, now, flow, &Directory::default());
        assert!(guard.ignores(now, flow, &Directory::default()));
        guard.on_change();
        assert!(!guard.ignores(now, flow, &peer));
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let (now, mut guard, nobody) = (Instant::now(), Guard::new(CONFIG), Directory::default());
        fail(&mut guard, now, from("[2001:db8::1]:5060"), &nobody);
        assert!(guard.ignores(now, from("[2001:db8::ffff]:5060"), &nobody));
        assert!(!guard.ignores(now, from("[2001:db8:0:1::1]:5060"), &nobody));
    }

    #[test]
    fn the_table_has_a_bound_and_zero_means_never() {
        let (now, nobody) = (Instant::now(), Directory::default());
        let mut guard = Guard::new(CONFIG);
        for n in 0..3 * MAX_SOURCES as u32 {
            let address = std::net::SocketAddr::new(IpAddr::from(n.to_be_bytes()), 5060);
            let flow = Flow {
                remote: address,
                ..from("0.0.0.0:0")
            };
            // Every other one gets itself ignored.
            for _ in 0..if n % 2 == 0 { CONFIG.failures } else { 1 } {
                guard.failed(now, flow, &nobody);
            }
            assert!(guard.sources.len() <= MAX_SOURCES);
        }
        let mut never = Guard::new(GuardConfig {
            failures: 0,
            ..CONFIG
        });
        for _ in 0..100 {
            assert!(
                never
                    .failed(now, from("198.51.100.7:5060"), &nobody)
                    .is_none()
            );
        }
        assert!(never.sources.is_empty() && never.failures == 100);
    }
}
