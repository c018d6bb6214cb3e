//! Answers, for as long as they are true.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sip::resolve::{LookupError, Question, Record};

use super::Found;

/// Answers kept at one time.
const ENTRIES_MAX: usize = 10_000;

/// The least and the most that a time to live counts. The least keeps a zero from becoming a question per call; the
/// most keeps a slip of the pen in some zone from lasting for days.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(3600);

/// How long "there is no such name" counts at most (RFC 2308 §5 advises hours; a trunk being set up cannot wait).
const NOT_FOUND_MAX: Duration = Duration::from_secs(60);

/// How long a failing server is left alone (RFC 2308 §7 allows up to five minutes).
const FAILURE_KEPT: Duration = Duration::from_secs(2);

/// How long an answer is used beyond its time while the servers fail (RFC 8767 §5 suggests one to three days), and how
/// often they are asked again meanwhile.
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);
const STALE_RETRY: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Default)]
pub(super) struct Cache {
    answers: HashMap<Question, Answer>,
}

struct Answer {
    result: Result<Vec<Record>, LookupError>,
    until: Instant,
    /// Since when it is used beyond its time.
    stale_since: Option<Instant>,
}

/// What the cache has to say.
#[derive(Debug, PartialEq)]
pub(super) enum Known<'a> {
    /// It is true.
    Fresh(&'a Result<Vec<Record>, LookupError>),
    /// It was true before the servers began to fail; they should be asked again, and nobody should wait for that.
    Stale(&'a Result<Vec<Record>, LookupError>),
    /// Nothing.
    Nothing,
}

impl Cache {
    /// The answer, if there is one that still holds, or has to.
    pub(super) fn get(&self, now: Instant, question: &Question) -> Known<'_> {
        match self.answers.get(question) {
            Some(answer) if now < answer.until => Known::Fresh(&answer.result),
            Some(answer) if answer.stale_since.is_some() && answer.may_be_stale(now) => {
                Known::Stale(&answer.result)
            }
            _ => Known::Nothing,
        }
    }

    /// Keeps what was found, and says what holds now: while servers fail, that is what they said last. When there is no
    /// room, answers that have expired go, then whatever comes first.
    pub(super) fn put(
        &mut self,
        now: Instant,
        question: Question,
        found: Found,
    ) -> Result<Vec<Record>, LookupError> {
        if is_failure(&found.result)
            && let Some(last) = self.answers.get_mut(&question)
            && !is_failure(&last.result)
            && last.may_be_stale(now)
        {
            last.stale_since.get_or_insert(now);
            last.until = now + STALE_RETRY;
            return last.result.clone();
        }
        if self.answers.len() >= ENTRIES_MAX && !self.answers.contains_key(&question) {
            self.answers.retain(|_, answer| now < answer.until);
            if self.answers.len() >= ENTRIES_MAX {
                let some = self.answers.keys().next().cloned();
                some.map(|some| self.answers.remove(&some));
            }
        }
        let kept = match found.result {
            Ok(_) => found.ttl.clamp(TTL_MIN, TTL_MAX),
            Err(LookupError::NotFound) => found.ttl.clamp(TTL_MIN, NOT_FOUND_MAX),
            Err(LookupError::ServerFailure | LookupError::Timeout) => FAILURE_KEPT,
        };
        let answer = Answer {
            result: found.result.clone(),
            until: now + kept,
            stale_since: None,
        };
        self.answers.insert(question, answer);
        found.result
    }
}

impl Answer {
    fn may_be_stale(&self, now: Instant) -> bool {
        let since = self.stale_since.unwrap_or(self.until);
        now < since + STALE_MAX
    }
}

/// Whether it says nothing about the name, only about the servers.
fn is_failure(result: &Result<Vec<Record>, LookupError>) -> bool {
    matches!(
        result,
        Err(LookupError::ServerFailure | LookupError::Timeout)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::resolve::Kind;
    use std::net::Ipv4Addr;

    fn question(name: impl Into<String>) -> Question {
        Question {
            kind: Kind::A,
            name: name.into(),
        }
    }

    fn found(ttl_seconds: u64) -> Found {
        Found {
            result: Ok(vec![Record::A(Ipv4Addr::LOCALHOST)]),
            ttl: Duration::from_secs(ttl_seconds),
        }
    }

    fn failed() -> Found {
        Found {
            result: Err(LookupError::Timeout),
            ttl: Duration::ZERO,
        }
    }

    #[test]
    fn an_answer_holds_for_its_time_to_live_and_no_longer() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        let _ = cache.put(start, question("a"), found(30));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(matches!(cache.get(at(29), &question("a")), Known::Fresh(_)));
        assert_eq!(cache.get(at(30), &question("a")), Known::Nothing);
        assert_eq!(cache.get(at(0), &question("b")), Known::Nothing);
    }

    #[test]
    fn bad_news_is_kept_for_less_time_than_good_news() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        for (name, error, kept) in [
            ("a", LookupError::NotFound, NOT_FOUND_MAX),
            ("b", LookupError::Timeout, FAILURE_KEPT),
        ] {
            let bad = Found {
                result: Err(error),
                ttl: TTL_MAX,
            };
            assert_eq!(cache.put(start, question(name), bad), Err(error));
            let (question, known) = (question(name), Err(error));
            assert_eq!(cache.get(start, &question), Known::Fresh(&known));
            assert_eq!(cache.get(start + kept, &question), Known::Nothing);
        }
    }

    #[test]
    fn while_servers_fail_what_they_said_last_stays_in_use() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        let good = cache.put(start, question("a"), found(30));
        let mut now = start + Duration::from_secs(30);
        assert_eq!(cache.put(now, question("a"), failed()), good);
        assert_eq!(cache.get(now, &question("a")), Known::Fresh(&good));
        while now < start + STALE_MAX {
            now += STALE_RETRY;
            assert_eq!(cache.get(now, &question("a")), Known::Stale(&good));
            assert_eq!(cache.put(now, question("a"), failed()), good);
        }
        // After a day it is more likely wrong than right.
        now += STALE_RETRY + Duration::from_secs(30);
        assert_eq!(cache.get(now, &question("a")), Known::Nothing);
        assert!(cache.put(now, question("a"), failed()).is_err());
        // One good answer, and all begins anew.
        let _ = cache.put(now, question("a"), found(30));
        now += Duration::from_secs(30);
        assert_eq!(cache.get(now, &question("a")), Known::Nothing);
        assert_eq!(cache.put(now, question("a"), failed()), good);
    }

    #[test]
    fn the_cache_has_a_bound() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        for n in 0..ENTRIES_MAX + 10 {
            let _ = cache.put(start, question(n.to_string()), found(30));
        }
        assert_eq!(cache.answers.len(), ENTRIES_MAX);
        let later = start + Duration::from_secs(31);
        let _ = cache.put(later, question("new"), found(30));
        assert_eq!(cache.answers.len(), 1);
    }
}
