//! How it stands with the peers of connections.

use axum::body::Body;
use axum::http::{Request, header};
use bus::{Answer, Question};
use model::{
    Binding, OptionsState, OutboundState, PeerState, ReachabilityState, RegistrationOutcome,
};
use serde_json::{Value, json};

use crate::support::{Got, World};

const CARRIER: &str = "/domains/a.example/connections/sip%2A%40carrier/state";
const ALL: &str = "/domains/a.example/connections/state";
/// 2030-03-17 17:46:40 UTC.
const THEN_MS: i64 = 1_900_000_000_000;

async fn get(world: &World, key: &str, path: &str) -> Got {
    let request = Request::get(format!("/strowger/v1{path}"))
        .header(header::AUTHORIZATION, format!("Bearer {key}"));
    world.send(request.body(Body::empty()).unwrap()).await
}

/// Two connections of a tenant, and one of the system.
async fn world() -> World {
    let world = World::new().await;
    for (domain, name) in [("a.example", "carrier"), ("a.example", "pbx"), ("*", "all")] {
        let pattern = format!("sip*@{name}");
        let body = json!({"domain": domain, "connection-orig-match-pattern": pattern});
        world
            .post(&world.root, "/connections", body)
            .await
            .expect(202);
    }
    world
}

/// A switch that knows something of `carrier` and of `pbx`.
fn answer(world: &World) {
    let mut questions = world.bus.answer_questions().unwrap();
    tokio::spawn(async move {
        while let Some(asked) = questions.next().await {
            let Question::Peers(keys) = asked.question.clone() else {
                continue;
            };
            let state = |pattern: &str| match pattern {
                "sip*@carrier" => PeerState {
                    outbound: Some(OutboundState {
                        expires_ms: None,
                        last: Some(RegistrationOutcome {
                            status: 403,
                            reason: "Bill unpaid".into(),
                            at_ms: THEN_MS,
                        }),
                        failures: 2,
                        next_ms: Some(THEN_MS + 60_000),
                    }),
                    options: Some(OptionsState {
                        state: ReachabilityState::Down,
                        since_ms: THEN_MS,
                        status: None,
                    }),
                    inbound: None,
                },
                "sip*@pbx" => PeerState {
                    inbound: Some(Binding {
                        contact: "sip:line1@10.0.0.5:5070".into(),
                        via: "10.0.0.5:5070".into(),
                        transport: "UDP".into(),
                        received: "203.0.113.9:41000".parse().unwrap(),
                        interface: 0,
                        stream: None,
                        call_id: "c".into(),
                        cseq: 1,
                        registered_ms: THEN_MS,
                        expires_ms: THEN_MS + 3_600_000,
                    }),
                    ..PeerState::default()
                },
                _ => PeerState::default(),
            };
            let states = keys
                .iter()
                .map(|key| state(&key.connection_orig_match_pattern));
            let states = states.collect();
            asked.answer(Answer::Peers(states));
        }
    });
}

#[tokio::test]
async fn registrations_and_reachability_come_from_the_switch() {
    let world = world().await;
    answer(&world);
    let read = get(&world, &world.office_a, CARRIER).await.expect(200);
    for (field, value) in [
        ("domain", json!("a.example")),
        ("connection-orig-match-pattern", json!("sip*@carrier")),
        ("registration-outbound-state", json!("failed")),
        ("registration-outbound-last-status", json!(403)),
        ("registration-outbound-last-reason", json!("Bill unpaid")),
        (
            "registration-outbound-last-datetime",
            json!("2030-03-17 17:46:40"),
        ),
        (
            "registration-outbound-next-datetime",
            json!("2030-03-17 17:47:40"),
        ),
        ("registration-outbound-expires-datetime", Value::Null),
        ("registration-outbound-failures-count", json!(2)),
        ("registration-inbound-state", json!("none")),
        ("registration-inbound-contact", Value::Null),
        ("options-state", json!("down")),
        ("options-since-datetime", json!("2030-03-17 17:46:40")),
        ("options-last-status", Value::Null),
    ] {
        assert_eq!(read[field], value, "{field}");
    }
    let all = get(&world, &world.office_a, ALL).await.expect(200);
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(all[0], read);
    for (field, value) in [
        ("registration-outbound-state", json!("none")),
        ("registration-inbound-state", json!("registered")),
        (
            "registration-inbound-contact",
            json!("sip:line1@10.0.0.5:5070"),
        ),
        ("registration-inbound-source", json!("203.0.113.9:41000")),
        ("registration-inbound-transport", json!("UDP")),
        (
            "registration-inbound-datetime",
            json!("2030-03-17 17:46:40"),
        ),
        (
            "registration-inbound-expires-datetime",
            json!("2030-03-17 18:46:40"),
        ),
        ("options-state", json!("not-asked")),
    ] {
        assert_eq!(all[1][field], value, "{field}");
    }
    let page = get(&world, &world.office_a, &format!("{ALL}?start=1&limit=1")).await;
    assert_eq!(page.expect(200), json!([all[1]]));
}

#[tokio::test]
async fn states_are_shown_to_those_who_see_the_connection() {
    let world = world().await;
    answer(&world);
    for path in [CARRIER, ALL] {
        get(&world, &world.office_b, path).await.refused(403);
        get(&world, &world.user, path).await.refused(403);
        get(&world, &world.other_reseller, path).await.refused(403);
        get(&world, "", path).await.refused(401);
        get(&world, &world.reseller, path).await.expect(200);
    }
    let gone = "/domains/a.example/connections/sip%2A%40gone/state";
    get(&world, &world.office_a, gone).await.refused(404);
    let system = "/domains/*/connections/sip%2A%40all/state";
    get(&world, &world.office_a, system).await.refused(403);
    let state = get(&world, &world.reseller, system).await.expect(200);
    assert_eq!(state["registration-outbound-state"], "none");
}

#[tokio::test]
async fn without_a_switch_there_is_no_state_to_show() {
    let world = world().await;
    for path in [CARRIER, ALL] {
        get(&world, &world.office_a, path).await.refused(503);
    }
}
