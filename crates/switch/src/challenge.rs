//! Digest challenges for connections that must prove who they are.
//!
//! `connection-require-sip-authentication-enabled` asks for it; username, password and realm are the
//! connection's registration credentials. An INVITE is challenged with 407, everything else with 401
//! (RFC 3261 §22.2, §22.3). The third wrong answer in a row is a 403: a peer that keeps trying learns
//! nothing more.

use crate::core::Core;
use crate::directory::Connection;
use crate::switch::Output;
use sip::auth::{Authenticator, Secret, Verdict, Wrong};
use sip::endpoint::Flow;
use sip::message::header::challenge::Algorithm;
use sip::message::{Message, Method, Name, ResponseDraft};
use sip::random::Random;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

/// Wrong answers after which a call attempt is refused for good.
pub(crate) const MAX_FAILURES: u8 = 3;

/// Call-IDs whose failures are remembered; the oldest is forgotten first.
pub(crate) const MAX_REMEMBERED: usize = 4096;

/// The name under which strangers are checked; no connection with a password has an empty one.
const NOBODY: &str = "";

/// What became of a request that has to prove its origin.
#[derive(Debug)]
pub(crate) enum Proof {
    /// It did.
    Accepted,
    /// It did not: send this challenge.
    Challenge {
        /// The challenge.
        draft: Box<ResponseDraft>,
        /// Whether it tried, and was wrong.
        wrong: bool,
    },
    /// It failed too often; the text says how.
    Refused(String),
}

/// Challenges and checks the requests of one shard.
pub(crate) struct Gatekeeper {
    authenticator: Authenticator,
    /// By fingerprint of the Call-ID: a peer may make those as long as it likes.
    failures: HashMap<u64, u8>,
    order: VecDeque<u64>,
    /// Keys the fingerprints, so that nobody can make a Call-ID that passes for another.
    secret: u64,
}

impl Gatekeeper {
    /// A gatekeeper that offers these algorithms, its nonces sealed with a key drawn from `random`.
    pub(crate) fn new(random: &mut Random, algorithms: Vec<Algorithm>) -> Self {
        let mut key = [0; 32];
        for chunk in key.chunks_exact_mut(8) {
            chunk.copy_from_slice(&random.next_u64().to_le_bytes());
        }
        Self {
            authenticator: Authenticator::new(key).offering(algorithms),
            failures: HashMap::new(),
            order: VecDeque::new(),
            secret: random.next_u64(),
        }
    }

    /// Checks a request of a connection.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        connection: &Connection,
        request: &Message,
    ) -> Proof {
        let record = &connection.record;
        let username = &record.connection_sip_registration_username;
        let password = Secret::new(record.connection_sip_registration_password.reveal());
        self.check_against(now, connection.realm(), username, &password, request)
    }

    /// Checks a request of nobody we know: it fails as one of ours with a wrong password would, step by step, so that
    /// trying tells nobody which names there are.
    pub(crate) fn check_of_stranger(
        &mut self,
        now: Instant,
        realm: &str,
        request: &Message,
    ) -> Proof {
        let password = Secret::new(self.secret.to_string());
        self.check_against(now, realm, NOBODY, &password, request)
    }

    fn check_against(
        &mut self,
        now: Instant,
        realm: &str,
        username: &str,
        password: &Secret,
        request: &Message,
    ) -> Proof {
        let method = request.method().unwrap_or(&Method::Invite);
        let proxy = *method == Method::Invite;
        let (credentials, challenge) = if proxy {
            (Name::ProxyAuthorization, Name::ProxyAuthenticate)
        } else {
            (Name::Authorization, Name::WwwAuthenticate)
        };
        // Some peers answer a 407 in Authorization; RFC 3261 §22.3 means the other header, the digest is the same.
        let offered = request
            .headers(credentials)
            .chain(request.headers(Name::Authorization).filter(|_| proxy));
        let (mut stale, mut wrong) = (false, None);
        for value in offered {
            let verdict = self.authenticator.verify(
                now,
                method.as_str(),
                value,
                request.body(),
                realm,
                username,
                password,
            );
            match verdict {
                Verdict::Ok if username != NOBODY => {
                    self.forget(request.call_id());
                    return Proof::Accepted;
                }
                Verdict::Stale => stale = true,
                Verdict::Wrong(why) => wrong = Some(why),
                Verdict::Ok | Verdict::Unusable => {}
            }
        }
        if let Some(why) = wrong
            && self.count_failure(request.call_id()) >= MAX_FAILURES
        {
            self.forget(request.call_id());
            let what = match why {
                Wrong::Realm => "realm",
                Wrong::Username => "username",
                Wrong::Password => "password",
            };
            return Proof::Refused(format!("Authentication failed: wrong {what}"));
        }
        let mut draft = ResponseDraft::new(if proxy { 407 } else { 401 });
        for value in self.authenticator.challenge(now, realm, stale) {
            draft.headers.push_name(challenge, value);
        }
        Proof::Challenge {
            draft: Box::new(draft),
            wrong: wrong.is_some(),
        }
    }

    fn count_failure(&mut self, call_id: &str) -> u8 {
        let call = self.fingerprint(call_id);
        if let Some(count) = self.failures.get_mut(&call) {
            *count = count.saturating_add(1);
            return *count;
        }
        if self.order.len() >= MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.failures.remove(&oldest);
        }
        self.order.push_back(call);
        self.failures.insert(call, 1);
        1
    }

    fn forget(&mut self, call_id: &str) {
        let call = self.fingerprint(call_id);
        if self.failures.remove(&call).is_some() {
            self.order.retain(|other| *other != call);
        }
    }

    fn fingerprint(&self, call_id: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.secret, call_id).hash(&mut hasher);
        hasher.finish()
    }
}

impl Core {
    /// A request failed to say whom it is from. What has to be told of that is told.
    pub(crate) fn distrust(&mut self, flow: Flow) {
        let ignored = self.guard.failed(self.clock.now, flow, &self.directory);
        if let Some(ignored) = ignored {
            self.push(Output::Ignored(ignored));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::auth::ALGORITHMS;

    #[test]
    fn failures_are_counted_by_call_and_the_oldest_forgotten() {
        let mut gatekeeper = Gatekeeper::new(&mut Random::new(1), ALGORITHMS.to_vec());
        assert_eq!(gatekeeper.count_failure("a"), 1);
        assert_eq!(gatekeeper.count_failure("b"), 1);
        assert_eq!(gatekeeper.count_failure("a"), 2);
        gatekeeper.forget("a");
        assert_eq!(gatekeeper.count_failure("a"), 1);
        for call in 0..2 * MAX_REMEMBERED {
            gatekeeper.count_failure(&call.to_string());
        }
        assert_eq!(gatekeeper.failures.len(), MAX_REMEMBERED);
        assert_eq!(gatekeeper.order.len(), MAX_REMEMBERED);
        assert_eq!(gatekeeper.count_failure("b"), 1);
    }
}
