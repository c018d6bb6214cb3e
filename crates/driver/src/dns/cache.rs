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

/// See the module.
#[derive(Default)]
pub(super) struct Cache {
    answers: HashMap<Question, Answer>,
}

struct Answer {
    result: Result<Vec<Record>, LookupError>,
    until: Instant,
}

impl Cache {
    /// The answer, if there is one that still holds.
    pub(super) fn get(
        &self,
        now: Instant,
        question: &Question,
    ) -> Option<&Result<Vec<Record>, LookupError>> {
        self.answers
            .get(question)
            .filter(|answer| now < answer.until)
            .map(|answer| &answer.result)
    }

    /// Keeps an answer. When there is no room, those that have expired go, then whatever comes first.
    pub(super) fn put(&mut self, now: Instant, question: Question, found: Found) {
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
            result: found.result,
            until: now + kept,
        };
        self.answers.insert(question, answer);
    }
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

    #[test]
    fn an_answer_holds_for_its_time_to_live_and_no_longer() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        cache.put(start, question("a"), found(30));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(cache.get(at(29), &question("a")).is_some());
        assert!(cache.get(at(30), &question("a")).is_none());
        assert!(cache.get(at(0), &question("b")).is_none());
    }

    #[test]
    fn bad_news_is_kept_for_less_time_than_good_news() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        for (error, kept) in [
            (LookupError::NotFound, NOT_FOUND_MAX),
            (LookupError::Timeout, FAILURE_KEPT),
        ] {
            let bad = Found {
                result: Err(error),
                ttl: TTL_MAX,
            };
            cache.put(start, question("a"), bad);
            assert_eq!(cache.get(start, &question("a")), Some(&Err(error)));
            assert!(cache.get(start + kept, &question("a")).is_none());
        }
    }

    #[test]
    fn the_cache_has_a_bound() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        for n in 0..ENTRIES_MAX + 10 {
            cache.put(start, question(n.to_string()), found(30));
        }
        assert_eq!(cache.answers.len(), ENTRIES_MAX);
        let later = start + Duration::from_secs(31);
        cache.put(later, question("new"), found(30));
        assert_eq!(cache.answers.len(), 1);
    }
}
