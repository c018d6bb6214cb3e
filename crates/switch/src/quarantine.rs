//! Connections that failed again and again are put aside for a while, so that calls do not wait for them.
//!
//! While one is aside, it is asked with OPTIONS; any sign of life brings it back at once. Each shard keeps its own
//! account: it is a matter of seconds, and what one shard does not know yet costs one call a few seconds.

use crate::core::Core;
use crate::options;
use model::ConnectionKey;
use sip::event::RequestId;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Failures within [`WINDOW`] that put a connection aside.
pub(crate) const FAILURES: usize = 3;
/// How long a failure counts.
pub(crate) const WINDOW: Duration = Duration::from_secs(30);
/// How long a connection is left aside when nothing brings it back before.
pub(crate) const ASIDE: Duration = Duration::from_secs(30);
/// How long after it was put aside, and after each question, it is asked.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// Connections that are kept in mind; beyond that the oldest failure is forgotten.
pub(crate) const MAX_KEPT: usize = 10_000;

/// The connections of a shard that failed of late.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    records: HashMap<ConnectionKey, Failures>,
    probes: HashMap<RequestId, ConnectionKey>,
    /// What is to be looked at when, oldest first: all waits are equally long.
    due: VecDeque<(Instant, ConnectionKey)>,
}

#[derive(Debug, Default)]
struct Failures {
    at: VecDeque<Instant>,
    aside_until: Option<Instant>,
}

impl Quarantine {
    /// Notes a failure. True when it puts the connection aside.
    pub(crate) fn failed(&mut self, now: Instant, key: &ConnectionKey) -> bool {
        if self.records.len() >= MAX_KEPT && !self.records.contains_key(key) {
            self.records.retain(|_, record| record.counts(now));
            if self.records.len() >= MAX_KEPT {
                return false;
            }
        }
        let record = self.records.entry(key.clone()).or_default();
        if record.aside_until.is_some_and(|until| until > now) {
            return false;
        }
        record.at.push_back(now);
        while record.at.len() > FAILURES || record.at.front().is_some_and(|at| now - *at > WINDOW) {
            record.at.pop_front();
        }
        if record.at.len() < FAILURES {
            return false;
        }
        record.at.clear();
        record.aside_until = Some(now + ASIDE);
        // One that an answer brought back may still wait for its next question.
        if !self.due.iter().any(|(_, other)| other == key) {
            self.due.push_back((now + PROBE_INTERVAL, key.clone()));
        }
        true
    }

    /// Whether a connection is aside.
    pub(crate) fn holds(&self, now: Instant, key: &ConnectionKey) -> bool {
        self.records
            .get(key)
            .and_then(|record| record.aside_until)
            .is_some_and(|until| until > now)
    }

    /// When [`Quarantine::next_probe`] has something to say.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    /// The next connection that is to be asked now.
    pub(crate) fn next_probe(&mut self, now: Instant) -> Option<ConnectionKey> {
        while self.due.front().is_some_and(|(at, _)| *at <= now) {
            let (_, key) = self.due.pop_front()?;
            if self.holds(now, &key) {
                self.due.push_back((now + PROBE_INTERVAL, key.clone()));
                return Some(key);
            }
            if self
                .records
                .get(&key)
                .is_some_and(|record| !record.counts(now))
            {
                self.records.remove(&key);
            }
        }
        None
    }

    /// A question is on its way.
    pub(crate) fn asked(&mut self, request: RequestId, key: ConnectionKey) {
        self.probes.insert(request, key);
    }

    /// An answer came, or none did. True when the request was one of ours.
    pub(crate) fn answered(&mut self, request: RequestId, status: u16, came: bool) -> bool {
        let Some(key) = self.probes.remove(&request) else {
            return false;
        };
        if options::is_life(status, came) {
            self.records.remove(&key);
        }
        true
    }
}

impl Failures {
    fn counts(&self, now: Instant) -> bool {
        self.aside_until.is_some_and(|until| until > now)
            || self.at.back().is_some_and(|at| now - *at <= WINDOW)
    }
}

/// Asks the connections that are aside and whose turn it is.
pub(crate) fn on_time(core: &mut Core) {
    while let Some(key) = core.quarantine.next_probe(core.clock.now) {
        let connection = core.directory.connection(&key).cloned();
        if let Some(request) = connection.and_then(|connection| options::ask(core, &connection)) {
            core.quarantine.asked(request, key);
        }
    }
}

/// Takes the outcome of a request. False when it was none of ours.
pub(crate) fn on_response(core: &mut Core, request: RequestId, status: u16, came: bool) -> bool {
    core.quarantine.answered(request, status, came)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ConnectionKey {
        ConnectionKey {
            domain: "*".into(),
            connection_orig_match_pattern: "sip*@a".into(),
        }
    }

    #[test]
    fn three_failures_in_half_a_minute_put_a_connection_aside() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut quarantine = Quarantine::default();
        assert!(!quarantine.failed(at(0), &key()));
        assert!(!quarantine.failed(at(20), &key()));
        assert!(!quarantine.failed(at(40), &key()), "the first is too old");
        assert!(!quarantine.holds(at(40), &key()));
        assert!(quarantine.failed(at(45), &key()));
        assert!(quarantine.holds(at(74), &key()));
        assert!(!quarantine.holds(at(75), &key()), "it comes back by itself");
        assert_eq!(quarantine.next_probe(at(54)), None);
        assert_eq!(quarantine.next_probe(at(55)), Some(key()));
        assert_eq!(quarantine.next_probe(at(55)), None);
        assert_eq!(quarantine.next_probe(at(65)), Some(key()));
        assert_eq!(quarantine.next_probe(at(75)), None);
        assert_eq!(quarantine.poll_timeout(), None, "nothing is left");
        assert!(quarantine.records.is_empty());
    }
}
