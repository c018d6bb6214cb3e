//! Tenants do not see each other.
//!
//! Everything of `b.example` holds a marker. Whatever the Office Manager of `a.example` asks, no answer holds
//! the marker, nothing of `b.example` changes, and an existing name and a missing one give the same answer.

use axum::http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{World, request};

const MARKER: &str = "zanzibar";

async fn world() -> World {
    let world = World::new().await;
    let b = "/domains/b.example";
    world
        .put(
            &world.root,
            b,
            json!({"description": MARKER, "email-send-smtp-password": MARKER}),
        )
        .await
        .expect(202);
    world
        .post(
            &world.root,
            "/connections",
            json!({"domain": "b.example", "connection-orig-match-pattern": "sip*@pbx", "description": MARKER,
                   "connection-sip-registration-password": MARKER, "connection-address": format!("{MARKER}.example")}),
        )
        .await
        .expect(202);
    world
        .post(
            &world.root,
            &format!("{b}/dialplans"),
            json!({"dial-rule-dial-plan": "plan", "dial-rule-description": MARKER}),
        )
        .await
        .expect(202);
    let rule =
        json!({"dial-rule-matching-to-uri": "*", "dial-rule-translation-destination-user": MARKER});
    world
        .post(&world.root, &format!("{b}/dialplans/plan/dialrules"), rule)
        .await
        .expect(202);
    world
}

/// Everything of `b.example`, as the Super User sees it.
async fn all_of_b(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "",
        "/connections",
        "/connections/sip*@pbx",
        "/dialplans/plan/dialrules",
        "/dialplans/b.example/dialrules",
    ] {
        all.push(
            world
                .get(&world.root, &format!("/domains/b.example{path}"))
                .await
                .expect(200),
        );
    }
    all
}

fn path() -> impl Strategy<Value = String> {
    let domain = prop_oneof![
        Just("b.example"),
        Just("B.EXAMPLE"),
        Just("b%2Eexample"),
        Just("*"),
        Just("~"),
        Just("%7E"),
        Just("%2A"),
        Just("nowhere"),
        Just("b.example%20"),
        Just("a.example%2F..%2Fb.example"),
        Just("b.example%00"),
        Just("%25"),
    ];
    let rest = prop_oneof![
        Just(""),
        Just("/billing"),
        Just("/count"),
        Just("/connections"),
        Just("/connections/sip*@pbx"),
        Just("/connections/x"),
        Just("/dialplans"),
        Just("/dialplans/plan"),
        Just("/dialplans/plan/dialrules"),
        Just("/dialplans/plan/dialrules/count"),
        Just("/dialplans/plan/dialrules/Knx8Knx8Knx8Knx8Knx8Knx8Kg"),
    ];
    prop_oneof![
        (domain, rest).prop_map(|(domain, rest)| format!("/domains/{domain}{rest}")),
        prop_oneof![
            Just("/domains"),
            Just("/domains/count"),
            Just("/connections"),
            Just("/connections/count"),
            Just("/dialplans"),
            Just("/connections?domain=b.example"),
            Just("/connections?domain=*"),
            Just("/connections?reseller=r1"),
            Just("/connections?device-sip-registration-uri=sip:1@pbx"),
            Just("/apikeys"),
            Just("/connections/count?domain=b.example"),
            Just("/domains/~/connections?reseller=r1"),
            Just("/domains?start=0&limit=1000"),
        ]
        .prop_map(str::to_owned),
    ]
}

fn body() -> impl Strategy<Value = Value> {
    let domain = prop_oneof![
        Just("b.example"),
        Just("*"),
        Just("~"),
        Just("a.example"),
        Just("nowhere")
    ];
    let owner = prop_oneof![Just("r1"), Just("r2"), Just("*"), Just("~")];
    (domain, owner, any::<bool>()).prop_map(|(domain, reseller, synchronous)| {
        json!({
            "domain": domain, "reseller": reseller, "synchronous": synchronous, "description": "taken over by a",
            "connection-orig-match-pattern": "sip*@pbx", "dial-rule-dial-plan": "plan", "dial-rule-description": "taken over",
            "dial-rule-matching-to-uri": "sip:1@*", "dial-rule-translation-destination-user": "1", "user-scope": "Basic User",
            "user": "1000"
        })
    })
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![4 => Just(Method::GET), 1 => Just(Method::POST), 1 => Just(Method::PUT), 1 => Just(Method::DELETE)]
}

#[test]
fn no_request_of_one_tenant_reveals_or_changes_another() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (world, before) = runtime.block_on(async {
        let world = world().await;
        let before = all_of_b(&world).await;
        (world, before)
    });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 600,
        ..ProptestConfig::default()
    });
    runner
        .run(&(method(), path(), body()), |(method, path, body)| {
            let sent = (method != Method::GET && method != Method::DELETE).then_some(body);
            let got =
                runtime.block_on(world.send(request(method.clone(), &path, &world.office_a, sent)));
            let text = format!("{:?} {}", got.headers, got.body);
            prop_assert!(!text.contains(MARKER), "{} {}: {}", method, path, text);
            prop_assert!(got.status.as_u16() < 500, "{} {}: {}", method, path, text);
            Ok(())
        })
        .unwrap();
    runtime.block_on(async {
        assert_eq!(all_of_b(&world).await, before);
    });
}

#[tokio::test]
async fn a_foreign_name_and_a_missing_one_look_the_same() {
    let world = world().await;
    for rest in [
        "",
        "/billing",
        "/count",
        "/connections",
        "/connections/sip*@pbx",
        "/dialplans/plan/dialrules",
        "/dialplans/plan/dialrules/count",
        "/dialplans/plan/dialrules/Knx8Knx8Knx8Knx8Knx8Knx8Kg",
    ] {
        for key in [&world.office_a, &world.other_reseller] {
            let foreign = world.get(key, &format!("/domains/b.example{rest}")).await;
            let missing = world.get(key, &format!("/domains/nowhere{rest}")).await;
            assert_eq!(
                (foreign.status, foreign.headers, foreign.body),
                (missing.status, missing.headers, missing.body),
                "{rest}"
            );
        }
    }
}

#[tokio::test]
async fn a_tenant_that_changes_hands_changes_reach_at_once() {
    let world = World::new().await;
    world
        .get(&world.reseller, "/domains/a.example")
        .await
        .expect(200);
    world
        .put(&world.root, "/domains/a.example", json!({"reseller": "r2"}))
        .await
        .expect(202);
    world
        .get(&world.reseller, "/domains/a.example")
        .await
        .refused(403);
    world
        .get(&world.other_reseller, "/domains/a.example")
        .await
        .expect(200);
}
