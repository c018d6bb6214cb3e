//! How a message finds its server transaction (RFC 3261 §17.2.3).
//!
//! Responses need no table: the branch they bring back is ours and names the transaction
//! ([`crate::token`]). Requests bring a branch of the peer's making; its fingerprint is the key. The
//! fingerprint has 128 bits and is keyed with a secret of this process, so it is as good as the text
//! it stands for, and neither allocates nor lets a peer choose collisions.

use crate::message::{Message, Method};

/// What RFC 3261 branches begin with (§8.1.1.7).
pub(crate) const MAGIC_COOKIE: &str = "z9hG4bK";

/// The key of a server transaction.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ServerKey(u64, u64);

/// The key under which a request that came twice on different ways is recognised (§8.2.2.2).
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct MergeKey(u64, u64);

impl ServerKey {
    /// The key of the transaction that `request` opens, repeats or, being an ACK, acknowledges.
    pub(crate) fn of(secret: u64, request: &Message) -> Self {
        let method = match request.method() {
            Some(Method::Ack) => "INVITE",
            Some(other) => other.as_str(),
            None => "",
        };
        Self::with_method(secret, request, method)
    }

    /// The key of the INVITE transaction that the CANCEL `request` is about (§9.2).
    pub(crate) fn of_cancelled(secret: u64, request: &Message) -> Self {
        Self::with_method(secret, request, "INVITE")
    }

    fn with_method(secret: u64, request: &Message, method: &str) -> Self {
        let via = request.via();
        let port = via.port.unwrap_or(0).to_le_bytes();
        let branch = via.branch.as_deref().unwrap_or("");
        let mut print = Fingerprint::new(secret);
        print.add(method.as_bytes());
        print.add(via.host.as_bytes());
        print.add(&port);
        print.add(branch.as_bytes());
        if !branch.starts_with(MAGIC_COOKIE) {
            // RFC 2543 peers: their branch, if any, is not unique. The To tag stays out, for an ACK
            // carries one that its INVITE lacked; the rest tells transactions apart well enough.
            print.add(request.uri_text().as_bytes());
            print.add(request.from().tag().unwrap_or("").as_bytes());
            print.add(request.call_id().as_bytes());
            print.add(&request.cseq().number.to_le_bytes());
        }
        let (a, b) = print.finish();
        Self(a, b)
    }
}

impl MergeKey {
    /// The key of an out-of-dialog request: From tag, Call-ID and CSeq.
    pub(crate) fn of(secret: u64, request: &Message) -> Self {
        let mut print = Fingerprint::new(secret);
        print.add(request.from().tag().unwrap_or("").as_bytes());
        print.add(request.call_id().as_bytes());
        print.add(&request.cseq().number.to_le_bytes());
        print.add(request.method().map_or("", Method::as_str).as_bytes());
        let (a, b) = print.finish();
        Self(a, b)
    }
}

/// A tag for a response that leaves no state behind: repeated requests must get the same one
/// (RFC 3261 §8.2.7).
pub(crate) fn stateless_tag(secret: u64, request: &Message) -> String {
    let mut print = Fingerprint::new(secret);
    print.add(request.call_id().as_bytes());
    print.add(request.via().branch.as_deref().unwrap_or("").as_bytes());
    print.add(&request.cseq().number.to_le_bytes());
    let (a, b) = print.finish();
    format!("x{:016x}", a ^ b.rotate_left(32))
}

/// Two multiply-and-fold hashes with different secrets, fed eight bytes at a time.
struct Fingerprint {
    a: u64,
    b: u64,
    secret: u64,
}

/// Odd constants with well mixed bits (the golden ratio and the square root of two).
const MIX_A: u64 = 0x9E37_79B9_7F4A_7C15;
const MIX_B: u64 = 0x6A09_E667_F3BC_C909;

impl Fingerprint {
    fn new(secret: u64) -> Self {
        Self {
            a: secret ^ MIX_A,
            b: secret.rotate_left(29) ^ MIX_B,
            secret,
        }
    }

    /// Adds one field. Its length goes in too, so fields cannot flow into each other.
    fn add(&mut self, field: &[u8]) {
        self.word(field.len() as u64 ^ 0xFF00_0000_0000_0000);
        let mut words = field.chunks_exact(8);
        for word in &mut words {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            self.word(u64::from_le_bytes(bytes));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(bytes));
        }
    }

    fn word(&mut self, word: u64) {
        self.a = fold(self.a ^ word, MIX_A ^ self.secret);
        self.b = fold(
            self.b.rotate_left(17) ^ word,
            MIX_B ^ self.secret.rotate_left(32),
        ) ^ self.a;
    }

    fn finish(self) -> (u64, u64) {
        (fold(self.a, MIX_B), fold(self.b, MIX_A))
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b | 1);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn request(method: &str, branch: &str, to_tag: &str, cseq: u32) -> Message {
        let text = format!(
            "{method} sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060{branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:a@192.0.2.1>;tag=f\r\nTo: <sip:b@192.0.2.2>{to_tag}\r\nCall-ID: c@192.0.2.1\r\n\
             CSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).expect("a valid request")
    }

    #[test]
    fn an_ack_and_a_cancel_find_the_invite() {
        for branch in [";branch=z9hG4bK1", ";branch=1", ""] {
            let invite = ServerKey::of(1, &request("INVITE", branch, "", 1));
            assert_eq!(
                invite,
                ServerKey::of(1, &request("ACK", branch, ";tag=t", 1)),
                "{branch}"
            );
            assert_eq!(
                invite,
                ServerKey::of_cancelled(1, &request("CANCEL", branch, "", 1)),
                "{branch}"
            );
            assert_ne!(
                invite,
                ServerKey::of(1, &request("CANCEL", branch, "", 1)),
                "{branch}"
            );
        }
    }

    #[test]
    fn without_the_cookie_the_cseq_tells_transactions_apart() {
        let one = |branch, cseq| ServerKey::of(1, &request("OPTIONS", branch, "", cseq));
        assert_ne!(one("", 1), one("", 2));
        assert_eq!(one(";branch=z9hG4bKx", 1), one(";branch=z9hG4bKx", 2));
        assert_ne!(one(";branch=z9hG4bKx", 1), one(";branch=z9hG4bKy", 1));
    }
}
