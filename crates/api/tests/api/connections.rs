//! Connections.

use bus::{Answer, Question};
use model::{Change, ConnectionKey, CountersNow};
use serde_json::{Value, json};

use crate::support::World;

const PBX: &str = "/domains/a.example/connections/sip%2A%40acme-pbx";

fn pbx() -> Value {
    json!({"domain": "a.example", "connection-orig-match-pattern": "sip*@acme-pbx"})
}

#[tokio::test]
async fn a_connection_from_birth_to_end() {
    let world = World::new().await;
    let mut body = pbx();
    body["limits-max-active-calls-orig"] = json!("7");
    body["minimum-call-duration-second"] = json!("1");
    body["connection-is-carrier-trunk"] = json!(true);
    body["connection-sip-get-new-dialog-destination-from"] = json!("yes");
    body["time-zone"] = json!("Asia/Calcutta");
    body["call-routing"] = json!({"any": "thing"});
    body["colour"] = json!("red");
    let got = world.post(&world.root, "/connections", body.clone()).await;
    assert_eq!(got.header("x-ignored-fields"), "colour");
    assert_eq!(got.expect(202), json!({"code": 202, "message": "Accepted"}));
    world
        .post(&world.root, "/connections", body)
        .await
        .refused(409);

    let read = world.get(&world.root, PBX).await.expect(200);
    assert_eq!(read.as_array().unwrap().len(), 1);
    let read = &read[0];
    assert_eq!(read["connection-term-match-pattern"], "sip*@acme-pbx");
    assert_eq!(read["limits-max-active-calls-orig"], 7);
    assert_eq!(read["minimum-call-duration-seconds"], 1);
    assert_eq!(read["connection-is-carrier-trunk"], "yes");
    assert_eq!(
        read["connection-sip-get-new-dialog-destination-from"],
        "default-ip"
    );
    assert_eq!(read["utc-offset"], "5.5");
    assert_eq!(read["last-modified-datetime"], "2026-01-02 03:04:05");
    assert_eq!(read["call-routing"], Value::Null);

    world
        .put(&world.root, PBX, json!({"description": "changed"}))
        .await
        .expect(202);
    let read = world.get(&world.root, PBX).await.expect(200);
    assert_eq!(
        (
            &read[0]["description"],
            &read[0]["limits-max-active-calls-orig"]
        ),
        (&json!("changed"), &json!(7))
    );
    // What is read back may be sent back.
    world
        .put(&world.root, PBX, read[0].clone())
        .await
        .expect(202);
    world
        .put(
            &world.root,
            PBX,
            json!({"connection-orig-match-pattern": "sip*@other"}),
        )
        .await
        .refused(400);
    world
        .put(&world.root, PBX, json!({"domain": "b.example"}))
        .await
        .refused(400);

    world.delete(&world.root, PBX).await.expect(202);
    world.get(&world.root, PBX).await.refused(404);
    world.put(&world.root, PBX, json!({})).await.refused(404);
    world.delete(&world.root, PBX).await.refused(404);
}

#[tokio::test]
async fn what_is_refused() {
    let world = World::new().await;
    let cases: &[(&str, Value, &str)] = &[
        (
            "connection-orig-match-pattern",
            json!("sip[12@x"),
            "closed with ]",
        ),
        (
            "connection-orig-match-pattern",
            json!(""),
            "must not be empty",
        ),
        ("connection-term-match-pattern", json!("["), "closed with ]"),
        ("limits-max-active-calls-orig", json!(-1), "from 0"),
        (
            "limits-max-active-calls-total",
            json!("many"),
            "whole number",
        ),
        (
            "connection-sip-transport-protocol",
            json!("SCTP"),
            "UDP, TCP, TLS",
        ),
        (
            "connection-audio-relay-enabled",
            json!("maybe"),
            "yes, optional, no",
        ),
        (
            "connection-sip-get-response-destination-from",
            json!("moon"),
            "default-ip",
        ),
        ("connection-address", json!("a b"), "SIP URI"),
        ("connection-address", json!("[::1"), "SIP URI"),
        (
            "connection-sip-registration-expires-datetime",
            json!("2025-05-19 02:41:1"),
            "YYYY-MM-DD",
        ),
        ("time-zone", json!("Mars/Olympus"), "time zone"),
        ("utc-offset", json!("99"), "hours"),
        ("dial-plan", json!("No Such Plan"), "no plan"),
        ("dial-policy", json!("Deny All"), "Permit All"),
        (
            "connection-linked-billing-user",
            json!("1000"),
            "does not exist",
        ),
        (
            "connection-linked-billing-user",
            json!("domain@b.example"),
            "another domain",
        ),
        (
            "connection-bind-to-alternate-interface-enabled",
            json!("yes"),
            "second address",
        ),
        (
            "connection-sip-authenticate-as-client-enabled",
            json!("yes"),
            "registration-username",
        ),
        ("description", json!("line\r\nVia: x"), "control character"),
        (
            "connection-translation-source-user",
            json!("a\u{0}b"),
            "control character",
        ),
        (
            "connection-custom-p-asserted-id-format",
            json!("x\ny"),
            "control character",
        ),
        ("domain", json!("nowhere"), "does not exist"),
        ("domain", json!("no where"), "characters of"),
        ("domain", json!("~"), "no domain of its own"),
    ];
    for (field, value, expected) in cases {
        let mut body = pbx();
        body[*field] = value.clone();
        let message = world
            .post(&world.root, "/connections", body)
            .await
            .refused(400);
        assert!(
            message.contains(expected),
            "{field}: {expected:?} missing in {message:?}"
        );
    }
    world
        .post(&world.root, "/connections", json!({"domain": "a.example"}))
        .await
        .refused(400);
    assert_eq!(
        world
            .get(&world.root, "/connections/count")
            .await
            .expect(200)["total"],
        0
    );
}

#[tokio::test]
async fn what_is_accepted() {
    let world = World::with(|config| config.has_alternate_interface = true).await;
    let body = json!({
        "domain": "a.example", "connection-orig-match-pattern": "sip:[*]6?[1-5]*@[2001:db8::1]",
        "connection-bind-to-alternate-interface-enabled": "yes", "dial-policy": "Permit All",
        "connection-linked-billing-user": "domain", "dial-plan": "Inbound DID", "connection-address": "[2001:db8::1]:5080",
        "connection-sip-authenticate-as-client-enabled": "yes", "connection-sip-registration-username": "u",
        "connection-sip-registration-password": "p", "connection-sip-registration-expires-datetime": "2025-05-19 02:41:11",
        "connection-system-a-assisted-id-format": "system-a-assisted-id-format", "synchronous": "yes"
    });
    world
        .post(&world.root, "/connections", body)
        .await
        .expect(202);
    let list = world
        .get(&world.root, "/domains/a.example/connections")
        .await
        .expect(200);
    assert_eq!(
        list[0]["connection-system-a-assisted-id-format"],
        "system-a-assisted-id-format"
    );
}

#[tokio::test]
async fn a_shared_connection_may_be_booked_to_any_tenant_that_exists() {
    let world = World::new().await;
    let with = |user: &str| {
        let pattern = format!("sip*@{}", user.replace('@', "-at-"));
        json!({"domain": "*", "connection-orig-match-pattern": pattern, "connection-linked-billing-user": user})
    };
    for user in ["domain", "domain@a.example"] {
        let made = world.post(&world.root, "/connections", with(user)).await;
        made.expect(202);
    }
    for user in ["domain@nowhere", "1000@a.example", "@a.example"] {
        let why = world
            .post(&world.root, "/connections", with(user))
            .await
            .refused(400);
        assert!(why.contains("does not exist"), "{user}: {why}");
    }
}

#[tokio::test]
async fn a_change_is_validated_as_a_whole() {
    let world = World::new().await;
    let mut body = pbx();
    body["connection-sip-registration-username"] = json!("u");
    body["connection-sip-registration-password"] = json!("p");
    body["connection-sip-authenticate-as-client-enabled"] = json!("yes");
    world
        .post(&world.root, "/connections", body)
        .await
        .expect(202);
    let message = world
        .put(
            &world.root,
            PBX,
            json!({"connection-sip-registration-password": ""}),
        )
        .await
        .refused(400);
    assert!(message.contains("authenticate-as-client"));
    world
        .put(&world.root, PBX, json!({"dial-plan": "gone"}))
        .await
        .refused(400);
}

#[tokio::test]
async fn who_may_write() {
    let world = World::new().await;
    world
        .post(&world.office_a, "/connections", pbx())
        .await
        .refused(403);
    world
        .post(&world.other_reseller, "/connections", pbx())
        .await
        .refused(403);
    let carrier = json!({"domain": "*", "connection-orig-match-pattern": "sip*@192.0.2.20", "connection-address": "192.0.2.20"});
    world
        .post(&world.reseller, "/connections", carrier.clone())
        .await
        .refused(403);
    world
        .post(&world.root, "/connections", carrier)
        .await
        .expect(202);
    world
        .post(&world.reseller, "/connections", pbx())
        .await
        .expect(202);

    let carrier = "/domains/*/connections/sip*@192.0.2.20";
    world.get(&world.reseller, carrier).await.expect(200);
    world.get(&world.office_a, carrier).await.refused(403);
    world
        .put(&world.reseller, carrier, json!({"description": "mine"}))
        .await
        .refused(403);
    world.delete(&world.reseller, carrier).await.refused(403);
    world
        .put(&world.root, carrier, json!({"description": "ours"}))
        .await
        .expect(202);

    let total = |key: &str, path: &str| {
        let (key, path) = (key.to_owned(), path.to_owned());
        let world = &world;
        async move {
            world.get(&key, &path).await.expect(200)["total"]
                .as_u64()
                .unwrap()
        }
    };
    assert_eq!(total(&world.root, "/connections/count").await, 2);
    assert_eq!(total(&world.reseller, "/connections/count").await, 2);
    assert_eq!(total(&world.other_reseller, "/connections/count").await, 1);
    assert_eq!(total(&world.office_a, "/connections/count").await, 1);
    assert_eq!(total(&world.office_b, "/connections/count").await, 0);
    assert_eq!(
        total(&world.root, "/connections/count?domain=a.example").await,
        1
    );
    assert_eq!(
        total(&world.root, "/connections/count?reseller=r1").await,
        1
    );
    assert_eq!(
        total(
            &world.root,
            "/connections/count?domain=a.example&reseller=r2"
        )
        .await,
        0
    );
    assert_eq!(
        total(&world.office_a, "/connections/count?domain=~").await,
        1
    );
    assert_eq!(
        total(&world.root, "/connections/count?route-chain=1").await,
        0
    );
    world
        .get(&world.office_a, "/connections?domain=b.example")
        .await
        .refused(403);
    world
        .get(&world.office_a, "/connections?reseller=r2")
        .await
        .refused(403);
    world.get(&world.user, "/connections").await.refused(403);
}

#[tokio::test]
async fn filters_take_patterns_and_uris() {
    let world = World::new().await;
    world
        .post(&world.root, "/connections", pbx())
        .await
        .expect(202);
    for (query, hits) in [
        ("device-sip-registration-uri=sip%2A%40acme-pbx", 1),
        ("device-sip-registration-uri=sip:1000@ACME-pbx", 1),
        ("device-sip-registration-uri=sip:1000@elsewhere", 0),
        (
            "termination-match=sip:13105550100@acme-pbx&device-sip-registration-uri=sip:1@acme-pbx",
            1,
        ),
        ("termination-match=nothing", 0),
        ("user-scope=Reseller", 1),
    ] {
        let list = world
            .get(&world.root, &format!("/connections?{query}"))
            .await
            .expect(200);
        assert_eq!(list.as_array().unwrap().len(), hits, "{query}");
        let count = world
            .get(&world.root, &format!("/connections/count?{query}"))
            .await
            .expect(200);
        assert_eq!(count["total"], hits, "{query}");
    }
}

#[tokio::test]
async fn a_path_to_nothing_is_not_an_empty_list() {
    let world = World::new().await;
    world
        .get(&world.root, "/domains/nowhere/connections")
        .await
        .refused(404);
    assert_eq!(
        world
            .get(&world.root, "/connections?domain=nowhere")
            .await
            .expect(200),
        json!([])
    );
    assert_eq!(
        world
            .get(&world.root, "/domains/*/connections")
            .await
            .expect(200),
        json!([])
    );
    assert_eq!(
        world
            .get(&world.office_b, "/domains/~/connections")
            .await
            .expect(200),
        json!([])
    );
}

#[tokio::test]
async fn passwords_are_shown_to_writers_one_by_one() {
    let world = World::new().await;
    let mut body = pbx();
    body["connection-sip-registration-password"] = json!("hunter2");
    world
        .post(&world.root, "/connections", body)
        .await
        .expect(202);
    for key in [&world.root, &world.reseller] {
        assert_eq!(
            world.get(key, PBX).await.expect(200)[0]["connection-sip-registration-password"],
            "hunter2"
        );
    }
    assert!(
        !world
            .get(&world.office_a, PBX)
            .await
            .expect(200)
            .to_string()
            .contains("hunter2")
    );
    for path in ["/connections", "/domains/a.example/connections"] {
        assert!(
            !world
                .get(&world.root, path)
                .await
                .expect(200)
                .to_string()
                .contains("hunter2")
        );
    }
}

#[tokio::test]
async fn the_answer_comes_after_the_switch_applied_the_change() {
    let world = World::new().await;
    let mut changes = world.bus.subscribe().unwrap();
    let post = world.post(&world.root, "/connections", pbx());
    tokio::pin!(post);
    let delivery = tokio::select! {
        _ = &mut post => panic!("answered before anybody applied the change"),
        delivery = changes.next() => delivery.unwrap(),
    };
    let key = ConnectionKey {
        domain: "a.example".into(),
        connection_orig_match_pattern: "sip*@acme-pbx".into(),
    };
    assert_eq!(delivery.change, Change::Connection(key));
    delivery.done();
    post.await.expect(202);
}

#[tokio::test]
async fn a_part_that_does_not_apply_a_change_is_reported() {
    let world = World::new().await;
    let mut changes = world.bus.subscribe().unwrap();
    let careless = async {
        drop(changes.next().await.unwrap());
        std::future::pending::<()>().await;
    };
    let message = tokio::select! {
        got = world.post(&world.root, "/connections", pbx()) => got.refused(503),
        () = careless => unreachable!(),
    };
    assert!(message.contains("stored"), "{message}");
    drop(changes);
    world.get(&world.root, PBX).await.expect(200);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_a_change_half_way() {
    let world = World::new().await;
    let mut changes = world.bus.subscribe().unwrap();
    {
        let post = world.post(&world.root, "/connections", pbx());
        tokio::pin!(post);
        let mut asked = false;
        // The first look that leaves the change under way is the last one.
        while !asked {
            tokio::select! {
                biased;
                _ = &mut post => panic!("answered before anybody applied the change"),
                () = tokio::task::yield_now() => {}
            }
            asked = world
                .store
                .read(|reader| {
                    reader.count::<model::Connection>(&store::ConnectionFilter::default())
                })
                .await
                .unwrap()
                == 1;
        }
    }
    let delivery = changes.next().await.unwrap();
    assert!(matches!(delivery.change, Change::Connection(_)));
    delivery.done();
}

/// As the switch reports it: a peer registered, and its registration ends then.
async fn registered(world: &World, at_ms: i64, expires_ms: i64) {
    let binding = model::Binding {
        contact: "sip:pbx@192.0.2.9:5070".into(),
        via: "192.0.2.9:5070".into(),
        transport: "UDP".into(),
        received: "192.0.2.9:5070".parse().unwrap(),
        interface: 0,
        stream: None,
        call_id: "c".into(),
        cseq: 1,
        registered_ms: at_ms,
        expires_ms,
    };
    let report = model::Registration {
        connection: ConnectionKey {
            domain: "a.example".into(),
            connection_orig_match_pattern: "sip*@acme-pbx".into(),
        },
        direction: model::RegistrationDirection::Inbound,
        at_ms,
        event: model::RegistrationEvent::Registered {
            expires_ms,
            binding: Some(binding),
            new: true,
        },
    };
    let kept = world
        .store
        .write(move |writer| writer.keep_registrations(&[report]))
        .await;
    kept.unwrap();
}

const REGISTERED: &str = "connection-sip-registration-datetime";
const ENDS: &str = "connection-sip-registration-expires-datetime";

#[tokio::test]
async fn registrations_are_shown_as_the_switch_keeps_them() {
    let world = World::new().await;
    let mut body = pbx();
    body[REGISTERED] = json!("2001-01-01 00:00:00");
    world
        .post(&world.root, "/connections", body)
        .await
        .expect(202);
    let before = &world.get(&world.root, PBX).await.expect(200)[0];
    assert_eq!(
        (&before[REGISTERED], &before[ENDS]),
        (&json!(""), &json!(""))
    );

    registered(&world, 1_900_000_000_000, 1_900_003_600_000).await;
    let of_domain = "/domains/a.example/connections";
    for path in [PBX, "/connections", of_domain] {
        let shown = &world.get(&world.root, path).await.expect(200)[0];
        assert_eq!(shown[REGISTERED], "2030-03-17 17:46:40", "{path}");
        assert_eq!(shown[ENDS], "2030-03-17 18:46:40", "{path}");
    }
}

#[tokio::test]
async fn writing_another_end_tells_the_switch_and_writing_the_same_one_does_not() {
    let world = World::new().await;
    world
        .post(&world.root, "/connections", pbx())
        .await
        .expect(202);
    registered(&world, 1_900_000_000_000, 1_900_003_600_000).await;
    let mut changes = world.bus.subscribe().unwrap();
    let (heard, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(delivery) = changes.next().await {
            heard.send(delivery.change.clone()).unwrap();
            delivery.done();
        }
    });
    let ends = |told: &mut tokio::sync::mpsc::UnboundedReceiver<Change>| {
        let mut ends = Vec::new();
        while let Ok(change) = told.try_recv() {
            if let Change::RegistrationEnds { unix_ms, .. } = change {
                ends.push(unix_ms);
            }
        }
        ends
    };
    // Read and written back: nothing was asked for.
    let mut record = world.get(&world.root, PBX).await.expect(200)[0].clone();
    world
        .put(&world.root, PBX, record.clone())
        .await
        .expect(202);
    assert_eq!(ends(&mut told), Vec::<i64>::new());

    record[ENDS] = json!("2031-01-01 00:00:00");
    world.put(&world.root, PBX, record).await.expect(202);
    assert_eq!(ends(&mut told), [1_924_992_000_000]);

    let body = json!({ENDS: "2020-01-01 00:00:00"});
    world.put(&world.root, PBX, body).await.expect(202);
    assert_eq!(ends(&mut told), [1_577_836_800_000]);
    let shown = &world.get(&world.root, PBX).await.expect(200)[0];
    assert_eq!(shown[REGISTERED], "2030-03-17 17:46:40");
    assert_eq!(shown[ENDS], "");

    let body = json!({ENDS: "2025-05-19 02:41:1"});
    let why = world.put(&world.root, PBX, body).await.refused(400);
    assert!(why.contains("YYYY-MM-DD"), "{why}");
}

#[tokio::test]
async fn live_counters_come_from_the_switch() {
    let world = World::new().await;
    world
        .post(&world.root, "/connections", pbx())
        .await
        .expect(202);
    let mut questions = world.bus.answer_questions().unwrap();
    let switch = tokio::spawn(async move {
        let asked = questions.next().await.unwrap();
        let Question::Counters(keys) = asked.question.clone() else {
            panic!("another question")
        };
        assert_eq!(keys.len(), 1);
        let now = CountersNow {
            orig_current: 3,
            term_current: 2,
            orig_since_startup: 10,
            term_since_startup: 20,
            max_this_month: 6,
            max_last_month: 7,
        };
        asked.answer(Answer::Counters(vec![now]));
    });
    let read = world.get(&world.root, PBX).await.expect(200);
    switch.await.unwrap();
    assert_eq!(read[0]["active-calls-orig-current"], 3);
    assert_eq!(read[0]["active-calls-term-since-startup"], 20);
    assert_eq!(read[0]["active-calls-max-this-month"], 6);
    assert_eq!(read[0]["active-calls-max-last-month"], 7);
}
