use super::*;

const REALM: &str = "pbx.example.com";

fn bob() -> Credentials {
    Credentials {
        username: "bob".into(),
        password: "zanzibar".into(),
        realm: None,
    }
}

struct Pair {
    server: Authenticator,
    now: Instant,
    cnonces: u32,
}

impl Pair {
    fn new() -> Self {
        Self {
            server: Authenticator::new([7; 32]),
            now: Instant::now(),
            cnonces: 0,
        }
    }

    fn challenge(&mut self) -> Vec<String> {
        self.server.challenge(self.now, REALM, false)
    }

    fn answer(&mut self, challenges: &[String], nonce_count: u32) -> String {
        self.cnonces += 1;
        let cnonce = format!("c{}", self.cnonces);
        let challenges = challenges.iter().map(String::as_str);
        answer(
            challenges,
            &bob(),
            "REGISTER",
            "sip:pbx.example.com",
            b"body",
            nonce_count,
            &cnonce,
        )
        .unwrap()
    }

    fn verify(&mut self, authorization: &str) -> Verdict {
        self.verify_as("REGISTER", authorization, b"body")
    }

    fn verify_as(&mut self, method: &str, authorization: &str, body: &[u8]) -> Verdict {
        self.server.verify(
            self.now,
            method,
            authorization,
            body,
            REALM,
            "bob",
            &"zanzibar".into(),
        )
    }
}

/// RFC 7616 §3.9.1.
#[test]
fn published_vectors() {
    let challenges = ["SHA-256", "MD5"].map(|algorithm| {
        format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        )
    });
    let mufasa = Credentials {
        username: "Mufasa".into(),
        password: "Circle of Life".into(),
        realm: Some("http-auth@example.org".into()),
    };
    let responses = challenges.map(|challenge| {
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let value = answer(
            [&*challenge].into_iter(),
            &mufasa,
            "GET",
            "/dir/index.html",
            b"",
            1,
            cnonce,
        )
        .unwrap();
        let answer = DigestCredentials::parse(&value).unwrap();
        assert_eq!(
            answer.opaque.as_deref(),
            Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS")
        );
        answer.response
    });
    assert_eq!(
        responses,
        [
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            "8ca523f5e9506fed4657c9700eebdbec"
        ]
    );
}

/// RFC 2617 §3.5, and the same without qop as RFC 2069 hashes it.
#[test]
fn older_vectors() {
    let password = Secret::new("Circle Of Life");
    let mut hashed = Hashed {
        algorithm: Algorithm::Md5,
        username: "Mufasa",
        realm: "testrealm@host.com",
        password: &password,
        method: "GET",
        uri: "/dir/index.html",
        nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        body: b"",
        qop: None,
    };
    assert_eq!(hashed.response(), "670fd8c2df070c60b045671b8b24ff02");
    let values = QopValues {
        qop: Qop::Auth,
        cnonce: "0a4f113b".into(),
        nonce_count: 1,
    };
    hashed.qop = Some(&values);
    assert_eq!(hashed.response(), "6629fae49393a05397450978507c4ef1");
}

/// RFC 4231 §4.3, whose key is shorter; a padded key gives the same result.
#[test]
fn hmac_vector() {
    let mut key = [0; 32];
    key[..4].copy_from_slice(b"Jefe");
    let tag = hmac_sha256(&key, &[b"what do ya want ", b"for nothing?"]);
    assert_eq!(
        hex(&tag),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn the_widest_known_is_offered_first_and_the_strongest_answered() {
    let mut pair = Pair::new();
    let challenges = pair.challenge();
    let algorithms: Vec<_> = challenges
        .iter()
        .map(|text| Challenge::parse(text).unwrap().algorithm)
        .collect();
    assert_eq!(algorithms, [Some(Algorithm::Md5), Some(Algorithm::Sha256)]);
    let reversed: Vec<_> = challenges.iter().rev().cloned().collect();
    for order in [challenges, reversed] {
        let value = pair.answer(&order, 1);
        assert_eq!(
            DigestCredentials::parse(&value).unwrap().algorithm,
            Some(Algorithm::Sha256)
        );
    }
    let md5 = pair.challenge().split_off(1);
    let value = pair.answer(&md5, 1);
    assert_eq!(pair.verify(&value), Verdict::Ok);
}

#[test]
fn an_algorithm_that_is_not_offered_is_not_accepted() {
    for (kept, refused) in [(0, 1), (1, 0)] {
        let mut pair = Pair::new();
        let both = pair.challenge();
        pair.server = Authenticator::new([7; 32]).offering(vec![ALGORITHMS[kept]]);
        let offered = pair.challenge();
        assert_eq!(offered.len(), 1);
        assert!(
            offered[0].contains(ALGORITHMS[kept].as_str()),
            "{offered:?}"
        );
        let other = pair.answer(&both[refused..=refused], 1);
        assert_eq!(pair.verify(&other), Verdict::Unusable);
        let answer = pair.answer(&offered, 1);
        assert_eq!(pair.verify(&answer), Verdict::Ok);
    }
}

#[test]
fn what_cannot_be_answered_is_passed_over() {
    let attempt = |challenges: &[&str], realm: Option<&str>| {
        let credentials = Credentials {
            realm: realm.map(str::to_owned),
            ..bob()
        };
        answer(
            challenges.iter().copied(),
            &credentials,
            "INVITE",
            "sip:x",
            b"",
            1,
            "c",
        )
    };
    assert_eq!(
        attempt(&["Basic realm=\"x\"", "Digest nonce=\"n\""], None),
        None
    );
    assert_eq!(
        attempt(&["Digest realm=r,nonce=n,algorithm=SHA-9"], None),
        None
    );
    assert_eq!(
        attempt(&["Digest realm=r,nonce=n,qop=\"future\""], None),
        None
    );
    assert_eq!(
        attempt(&["Digest realm=r,nonce=n,algorithm=MD5-sess"], None),
        None
    );
    assert_eq!(attempt(&["Digest realm=r,nonce=n"], Some("other")), None);
    assert!(
        attempt(&["Digest realm=r,nonce=n"], Some("r")).is_some_and(|value| !value.contains("qop"))
    );
    assert!(
        attempt(&["Digest realm=r,nonce=n,qop=auth-int"], None)
            .is_some_and(|value| value.contains("qop=auth-int"))
    );
}

#[test]
fn all_forms_of_answers_are_verified() {
    let mut pair = Pair::new();
    for (from, to) in [
        ("SHA-256", "SHA-256"),
        ("SHA-256", "SHA-256-sess"),
        ("qop=\"auth\"", "qop=\"auth-int\""),
        ("qop=\"auth\"", "qop=\"auth,auth-int\""),
        (", qop=\"auth\"", ""),
    ] {
        let challenge = pair.challenge()[1].replace(from, to);
        let value = pair.answer(&[challenge], 1);
        assert_eq!(pair.verify(&value), Verdict::Ok, "{value}");
    }
}

#[test]
fn a_protected_body_counts() {
    let mut pair = Pair::new();
    let challenge = pair.challenge()[1].replace("\"auth\"", "\"auth-int\"");
    let value = pair.answer(&[challenge], 1);
    assert_eq!(
        pair.verify_as("REGISTER", &value, b"other"),
        Verdict::Wrong(Wrong::Password)
    );
    assert_eq!(pair.verify_as("REGISTER", &value, b"body"), Verdict::Ok);
}

#[test]
fn wrong_answers_are_told_apart() {
    let mut pair = Pair::new();
    let challenges = pair.challenge();
    let value = pair.answer(&challenges, 1);
    assert_eq!(
        pair.verify_as("INVITE", &value, b""),
        Verdict::Wrong(Wrong::Password)
    );
    assert_eq!(
        pair.verify(&value.replace("\"bob\"", "\"eve\"")),
        Verdict::Wrong(Wrong::Username)
    );
    assert_eq!(
        pair.verify(&value.replace(REALM, "elsewhere")),
        Verdict::Wrong(Wrong::Realm)
    );
    assert_eq!(
        pair.verify(&value.replace("response=\"", "response=\"0")),
        Verdict::Wrong(Wrong::Password)
    );
    assert_eq!(
        pair.verify(&value.replace("SHA-256", "SHA-9")),
        Verdict::Unusable
    );
    assert_eq!(
        pair.verify("NoOneKnowsThisScheme opaque-data=here"),
        Verdict::Unusable
    );
    assert_eq!(pair.verify(""), Verdict::Unusable);
    let now = pair.now;
    let other = pair.server.verify(
        now,
        "REGISTER",
        &value,
        b"body",
        REALM,
        "bob",
        &"wrong".into(),
    );
    assert_eq!(other, Verdict::Wrong(Wrong::Password));
    assert_eq!(pair.verify(&value), Verdict::Ok);
}

#[test]
fn nonces_age_and_cannot_be_forged() {
    let mut pair = Pair::new();
    let challenges = pair.challenge();
    let value = pair.answer(&challenges, 1);
    pair.now += Duration::from_millis(NONCE_LIFETIME_SECONDS * 1000 - 1);
    assert_eq!(pair.verify(&value), Verdict::Ok);
    let late = pair.answer(&challenges, 2);
    pair.now += Duration::from_millis(1);
    assert_eq!(pair.verify(&late), Verdict::Stale);
    assert!(pair.server.used.is_empty());

    // The password is right, but the nonce is not one of ours, or one for another realm.
    let forged = Challenge::parse(&challenges[0]).unwrap();
    let elsewhere = pair.server.challenge(pair.now, "elsewhere", false);
    let elsewhere = Challenge::parse(&elsewhere[0]).unwrap().nonce;
    for nonce in [elsewhere, "é".repeat(30), "0".repeat(56), String::new()] {
        let challenge = Challenge {
            nonce,
            ..forged.clone()
        }
        .to_string();
        let value = pair.answer(&[challenge], 1);
        assert_eq!(pair.verify(&value), Verdict::Stale);
    }
    let other_server = Authenticator::new([8; 32]).challenge(pair.now, REALM, true);
    assert!(other_server[0].contains("stale=true"));
    let value = pair.answer(&other_server, 1);
    assert_eq!(pair.verify(&value), Verdict::Stale);
}

#[test]
fn nonce_counts_cannot_be_replayed() {
    let mut pair = Pair::new();
    let challenges = pair.challenge();
    let [first, second, fifth] = [1, 2, 5].map(|count| pair.answer(&challenges, count));
    assert_eq!(pair.verify(&first), Verdict::Ok);
    assert_eq!(pair.verify(&first), Verdict::Stale);
    assert_eq!(pair.verify(&fifth), Verdict::Ok);
    // A count that was skipped is gone: requests may be lost, answers must not come back later.
    assert_eq!(pair.verify(&second), Verdict::Stale);
    let zero = pair.answer(&challenges, 0);
    assert_eq!(pair.verify(&zero), Verdict::Stale);

    let old = pair.challenge()[0].replace(", qop=\"auth\"", "");
    let value = pair.answer(&[old], 1);
    assert_eq!(pair.verify(&value), Verdict::Ok);
    assert_eq!(pair.verify(&value), Verdict::Stale);
}

#[test]
fn the_memory_of_used_nonces_is_bounded() {
    let mut pair = Pair::new();
    let first = pair.challenge();
    let value = pair.answer(&first, 1);
    assert_eq!(pair.verify(&value), Verdict::Ok);
    let unused = pair.challenge();
    for _ in 0..USED_NONCES_MAX {
        pair.server.serial += 1;
        let (now, serial) = (pair.now, pair.server.serial);
        assert!(pair.server.spend(now, 0, serial, None));
    }
    assert_eq!(pair.server.used.len(), USED_NONCES_MAX);
    // The forgotten one cannot be replayed; a younger one that was never used still counts.
    assert_eq!(pair.verify(&value), Verdict::Stale);
    let value = pair.answer(&unused, 1);
    assert_eq!(pair.verify(&value), Verdict::Ok);
}

#[test]
fn debugging_shows_no_secret() {
    let text = format!("{:?} {:?}", bob(), Authenticator::new([0x5a; 32]));
    assert!(text.contains("bob") && !text.contains("zanzibar") && !text.contains("90"));
}
