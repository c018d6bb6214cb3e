//! Domains.

use bus::{Answer, Question};
use model::DomainCalls;
use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn a_tenant_from_birth_to_end() {
    let world = World::new().await;
    let body = json!({"domain": "d1", "reseller": "r1", "description": "First", "area-code": "858", "language": "es_MX",
        "caller-id-number": 8585550100u64, "synchronous": "yes", "time-zone": "US/Pacific"});
    let made = world
        .post(&world.root, "/domains", body.clone())
        .await
        .expect(200);
    assert_eq!(
        (
            &made["area-code"],
            &made["language-token"],
            &made["dial-plan"]
        ),
        (&json!(858), &json!("es_MX"), &json!("d1"))
    );
    assert!(made.get("synchronous").is_none());
    world.post(&world.root, "/domains", body).await.refused(409);

    world
        .post(
            &world.root,
            "/domains",
            json!({"domain": "D1", "reseller": "r1"}),
        )
        .await
        .refused(409);

    // Its plan came with it, and hands calls on.
    let rules = world
        .get(&world.root, "/domains/d1/dialplans/d1/dialrules")
        .await
        .expect(200);
    assert_eq!(rules[0]["dial-rule-application"], "<Cloud PBX Features>");

    assert_eq!(
        world
            .get(&world.root, "/domains/d1/count")
            .await
            .expect(200),
        json!({"total": 1})
    );
    assert_eq!(
        world.get(&world.root, "/domains/count").await.expect(200),
        json!({"total": 4})
    );
    world
        .put(
            &world.root,
            "/domains/d1",
            json!({"description": "Changed", "domain": "d1"}),
        )
        .await
        .expect(202);
    let read = world.get(&world.root, "/domains/d1").await.expect(200);
    assert_eq!(
        (&read["description"], &read["area-code"]),
        (&json!("Changed"), &json!(858))
    );
    world
        .put(&world.root, "/domains/d1", json!({"domain": "d2"}))
        .await
        .refused(400);
    world
        .get(&world.root, "/domains/d1/billing")
        .await
        .expect(200);

    world.delete(&world.root, "/domains/d1").await.expect(202);
    world.get(&world.root, "/domains/d1").await.refused(404);
    let missing = world
        .get(&world.root, "/domains/d1/count")
        .await
        .expect(404);
    assert_eq!(missing["error"], missing["message"]);
    world.delete(&world.root, "/domains/d1").await.refused(404);
    world
        .put(&world.root, "/domains/d1", json!({}))
        .await
        .refused(404);
}

#[tokio::test]
async fn wrong_bodies() {
    let world = World::new().await;
    let message = world
        .post(&world.root, "/domains", json!({"domain": "a b", "area-code": 99, "time-zone": "Mars/Olympus", "domain-type": "Hotel"}))
        .await
        .refused(400);
    for part in [
        "domain: \"a b\"",
        "area-code: 99",
        "100 to 999",
        "Mars/Olympus",
        "Standard, Residential, Hospitality",
        "reseller: is required",
    ] {
        assert!(message.contains(part), "{part} missing in {message}");
    }
    for name in ["*", "~", "count", "", "a/b"] {
        world
            .post(
                &world.root,
                "/domains",
                json!({"domain": name, "reseller": "r1"}),
            )
            .await
            .refused(400);
    }
    world
        .post(
            &world.root,
            "/domains",
            json!({"domain": "d1", "reseller": "*"}),
        )
        .await
        .refused(400);
}

#[tokio::test]
async fn lists_are_cut_to_what_one_may_see() {
    let world = World::new().await;
    let names = |value: serde_json::Value| -> Vec<String> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d["domain"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(world.get(&world.root, "/domains").await.expect(200)),
        ["a.example", "b.example", "c.example"]
    );
    assert_eq!(
        names(
            world
                .get(&world.root, "/domains?start=1&limit=1")
                .await
                .expect(200)
        ),
        ["b.example"]
    );
    assert_eq!(
        names(world.get(&world.reseller, "/domains").await.expect(200)),
        ["a.example", "b.example"]
    );
    assert_eq!(
        names(world.get(&world.office_b, "/domains").await.expect(200)),
        ["b.example"]
    );
    assert_eq!(
        world
            .get(&world.other_reseller, "/domains/count")
            .await
            .expect(200),
        json!({"total": 1})
    );
    for query in [
        "limit=0",
        "limit=1001",
        "start=-1",
        "limit=x",
        "start=1&start=2",
    ] {
        world
            .get(&world.root, &format!("/domains?{query}"))
            .await
            .refused(400);
    }
}

#[tokio::test]
async fn own_and_foreign_tenants() {
    let world = World::new().await;
    assert_eq!(
        world.get(&world.user, "/domains/~").await.expect(200)["domain"],
        "a.example"
    );
    world
        .get(&world.office_a, "/domains/a.example")
        .await
        .expect(200);
    world.get(&world.root, "/domains/~").await.refused(400);
    world.get(&world.root, "/domains/*").await.refused(400);
    let foreign = world
        .get(&world.office_a, "/domains/c.example")
        .await
        .refused(403);
    let absent = world
        .get(&world.office_a, "/domains/nowhere")
        .await
        .refused(403);
    assert_eq!(foreign, absent);
    assert_eq!(
        world
            .get(&world.reseller, "/domains/c.example")
            .await
            .refused(403),
        absent
    );
    assert_eq!(
        world
            .get(&world.reseller, "/domains/nowhere")
            .await
            .refused(403),
        absent
    );

    world
        .post(
            &world.reseller,
            "/domains",
            json!({"domain": "d1", "reseller": "~"}),
        )
        .await
        .expect(202);
    assert_eq!(
        world.get(&world.reseller, "/domains/d1").await.expect(200)["reseller"],
        "r1"
    );
    world
        .post(
            &world.reseller,
            "/domains",
            json!({"domain": "d2", "reseller": "r2"}),
        )
        .await
        .refused(403);
    world
        .put(&world.reseller, "/domains/d1", json!({"reseller": "r2"}))
        .await
        .refused(403);
    world
        .post(
            &world.office_a,
            "/domains",
            json!({"domain": "d3", "reseller": "r1"}),
        )
        .await
        .refused(403);
    world
        .delete(&world.office_a, "/domains/a.example")
        .await
        .refused(403);
}

#[tokio::test]
async fn a_tenant_does_not_raise_its_own_limits() {
    let world = World::new().await;
    let path = "/domains/a.example";
    world
        .put(
            &world.office_a,
            path,
            json!({"limits-max-active-calls-total": 500}),
        )
        .await
        .refused(403);
    world
        .put(&world.office_a, path, json!({"reseller": "r2"}))
        .await
        .refused(403);
    // What is read back may be sent back.
    let read = world.get(&world.office_a, path).await.expect(200);
    world.put(&world.office_a, path, read).await.expect(202);
    world
        .put(&world.office_a, path, json!({"caller-id-name": "A"}))
        .await
        .expect(202);
    world
        .put(
            &world.reseller,
            path,
            json!({"limits-max-active-calls-total": 500}),
        )
        .await
        .expect(202);
}

#[tokio::test]
async fn the_mail_password_is_shown_to_those_who_set_it() {
    let world = World::new().await;
    let path = "/domains/a.example";
    world
        .put(
            &world.office_a,
            path,
            json!({"email-send-smtp-password": "hunter2"}),
        )
        .await
        .expect(202);
    assert_eq!(
        world.get(&world.office_a, path).await.expect(200)["email-send-smtp-password"],
        "hunter2"
    );
    assert!(
        world
            .get(&world.user, path)
            .await
            .expect(200)
            .get("email-send-smtp-password")
            .is_none()
    );
    assert!(
        !world
            .get(&world.root, "/domains")
            .await
            .expect(200)
            .to_string()
            .contains("hunter2")
    );
    world
        .put(
            &world.office_a,
            path,
            json!({"email-send-smtp-password": null}),
        )
        .await
        .expect(202);
    assert!(
        world.get(&world.office_a, path).await.expect(200)["email-send-smtp-password"].is_null()
    );
}

#[tokio::test]
async fn calls_that_are_up_come_from_the_switch() {
    let world = World::new().await;
    let mut questions = world.bus.answer_questions().unwrap();
    let switch = tokio::spawn(async move {
        while let Some(asked) = questions.next().await {
            let Question::DomainCalls(domains) = asked.question.clone() else {
                panic!("another question")
            };
            let calls = domains.iter().map(|name| match name.as_str() {
                "a.example" => DomainCalls {
                    total: 5,
                    offnet: 3,
                },
                _ => DomainCalls::default(),
            });
            let calls = calls.collect();
            asked.answer(Answer::DomainCalls(calls));
        }
    });
    let read = world
        .get(&world.office_a, "/domains/a.example")
        .await
        .expect(200);
    let listed = world.get(&world.office_a, "/domains").await.expect(200);
    for shown in [&read, &listed[0]] {
        assert_eq!(shown["active-calls-total-current"], 5);
        assert_eq!(shown["active-calls-against-license-count"], 5);
        assert_eq!(shown["active-calls-offnet-current"], 3);
    }
    switch.abort();
}
