//! Takes text as a challenge to answer and as an answer to verify.

use std::time::Instant;

use sip::auth::{Authenticator, Credentials, Verdict, answer};
use sip::message::header::challenge::Challenge;
use sip::message::header::credentials::DigestCredentials;

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let me = Credentials {
        username: "bob".into(),
        password: "zanzibar".into(),
        realm: None,
    };
    if let Some(value) = answer(
        [text].into_iter(),
        &me,
        "INVITE",
        "sip:x",
        b"body",
        1,
        "cnonce",
    ) {
        assert!(!value.contains(['\r', '\n']));
        let answer = DigestCredentials::parse(&value).expect("what we print");
        // The challenge was not ours: a right password does not make its nonce good.
        let mut server = Authenticator::new([7; 32]);
        let realm = &answer.realm;
        let verdict = server.verify(
            Instant::now(),
            "INVITE",
            &value,
            b"body",
            realm,
            "bob",
            &me.password,
        );
        assert_ne!(verdict, Verdict::Ok);
    }
    let mut server = Authenticator::new([7; 32]);
    let verdict = server.verify(
        Instant::now(),
        "INVITE",
        text,
        b"",
        "realm",
        "bob",
        &me.password,
    );
    assert_ne!(verdict, Verdict::Ok);
    for parsed in [Challenge::parse(text)].into_iter().flatten() {
        assert!(!parsed.to_string().contains(['\r', '\n']));
    }
}
