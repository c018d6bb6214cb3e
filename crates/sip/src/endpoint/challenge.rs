//! Challenges to our requests: 401 and 407 are answered with credentials (RFC 3261 §22).

use std::time::Instant;

use crate::arena::Key;
use crate::auth;
use crate::endpoint::{Endpoint, Flow};
use crate::message::{Message, Name};

/// How often one request may be sent again because of a challenge: once with credentials, and for
/// nonces that went stale meanwhile.
const MAX_AUTH_ROUNDS: u8 = 3;

impl Endpoint {
    /// Sends the request once more with an answer to the challenge; false when there is none to give.
    pub(super) fn answer_challenge(
        &mut self,
        now: Instant,
        id: Key,
        response: &Message,
        flow: Flow,
    ) -> bool {
        let (challenge, answer) = match response.status() {
            Some(401) => (Name::WwwAuthenticate, Name::Authorization),
            _ => (Name::ProxyAuthenticate, Name::ProxyAuthorization),
        };
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return false;
        };
        let Some(credentials) = exchange.credentials.clone() else {
            return false;
        };
        let stale = response.headers(challenge).any(is_stale);
        if exchange.auth_rounds >= MAX_AUTH_ROUNDS || (exchange.auth_rounds > 0 && !stale) {
            return false;
        }
        let cnonce = self.random.token(16);
        let Some(value) = auth::answer(
            response.headers(challenge),
            &credentials,
            exchange.draft.method.as_str(),
            exchange.draft.uri.as_str(),
            &exchange.draft.body,
            1,
            &cnonce,
        ) else {
            return false;
        };
        exchange.auth_rounds += 1;
        let mut headers = exchange
            .plain
            .get_or_insert_with(|| exchange.draft.headers.clone())
            .clone();
        headers.push_name(answer, &value);
        exchange.draft.headers = headers;
        exchange.authorization = Some((answer, value));
        let session = exchange.purpose.session();
        exchange.draft.cseq = match session.and_then(|session| self.sessions.get_mut(session)) {
            Some(session) => session.next_cseq(),
            None => exchange.draft.cseq + 1,
        };
        self.send_to(now, id, flow);
        true
    }
}

/// Whether a challenge says that only the nonce was too old (RFC 7616 §3.3).
fn is_stale(challenge: &str) -> bool {
    challenge.split(',').any(|part| {
        let Some((name, value)) = part.split_once('=') else {
            return false;
        };
        name.trim()
            .rsplit(' ')
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("stale"))
            && value.trim().trim_matches('"').eq_ignore_ascii_case("true")
    })
}
