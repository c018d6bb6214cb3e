//! API keys.

use api::keys;
use serde_json::{Value, json};

use crate::support::World;

fn office(domain: &str) -> Value {
    json!({"description": "Used by the billing system", "domain": domain, "reseller": "r1", "user-scope": "Office Manager"})
}

#[tokio::test]
async fn a_key_from_birth_to_revocation() {
    let world = World::new().await;
    let mut body = office("a.example");
    body["allowed-models"] = json!(["domain", "apikey"]);
    let made = world.post(&world.root, "/apikeys", body).await.expect(200);
    let key = made["key"].as_str().unwrap();
    assert_eq!(keys::key_id(key), made["key-id"].as_str());
    assert_eq!(made["created-datetime"], "2026-01-02T03:04:05+00:00");

    let own = world.get(key, "/apikeys/~").await.expect(200);
    assert!(own.get("key").is_none());
    assert_eq!(
        (&own["user-scope"], &own["readonly"]),
        (&json!("Office Manager"), &json!("no"))
    );
    world.get(key, "/domains/~").await.expect(200);
    world.get(key, "/connections").await.refused(403);

    let path = format!("/apikeys/{}", made["key-id"].as_str().unwrap());
    let listed = world.get(&world.root, &path).await.expect(200);
    assert_eq!(listed[0]["allowed-models"], json!(["domain", "apikey"]));
    let changed = json!({"description": "Used by nobody now", "ip-address": "10.0.0.0/8"});
    world.put(&world.root, &path, changed).await.expect(202);
    world.get(key, "/domains/~").await.refused(403);
    world
        .put(&world.root, &path, json!({"ip-address": ""}))
        .await
        .expect(202);
    world
        .put(&world.root, &path, json!({"user-scope": "Reseller"}))
        .await
        .refused(400);
    world
        .put(&world.root, &path, json!({"readonly": "yes"}))
        .await
        .refused(400);

    world.delete(&world.root, &path).await.expect(202);
    world.get(key, "/apikeys/~").await.refused(401);
    world.get(&world.root, &path).await.refused(404);
    world.delete(&world.root, &path).await.refused(404);
    world.put(&world.root, &path, json!({})).await.refused(404);
}

#[tokio::test]
async fn nobody_makes_an_equal_or_higher_key() {
    let world = World::new().await;
    let scope = |scope: &str, domain: &str, reseller: &str| json!({"description": "a key for a test", "user-scope": scope, "domain": domain, "reseller": reseller, "user": "1000"});
    world
        .post(&world.root, "/apikeys", scope("Super User", "*", "*"))
        .await
        .refused(403);
    world
        .post(&world.root, "/apikeys", scope("Reseller", "*", "r2"))
        .await
        .expect(200);
    world
        .post(&world.root, "/apikeys", scope("Reseller", "*", "*"))
        .await
        .refused(400);
    world
        .post(&world.root, "/apikeys", scope("Office Manager", "*", "*"))
        .await
        .refused(400);
    world
        .post(
            &world.root,
            "/apikeys",
            scope("Office Manager", "nowhere", "*"),
        )
        .await
        .refused(400);
    world
        .post(
            &world.root,
            "/apikeys",
            scope("Office Manager", "a.example", "r2"),
        )
        .await
        .refused(400);
    world
        .post(&world.root, "/apikeys", scope("Emperor", "*", "*"))
        .await
        .refused(400);
    world
        .post(&world.reseller, "/apikeys", scope("Reseller", "*", "r1"))
        .await
        .refused(403);
    world
        .post(&world.reseller, "/apikeys", scope("Reseller", "*", "r2"))
        .await
        .refused(403);
    world
        .post(&world.reseller, "/apikeys", scope("Super User", "*", "*"))
        .await
        .refused(403);
    world
        .post(
            &world.reseller,
            "/apikeys",
            scope("Office Manager", "c.example", "r2"),
        )
        .await
        .refused(403);
    world
        .post(
            &world.reseller,
            "/apikeys",
            scope("Office Manager", "a.example", "~"),
        )
        .await
        .expect(200);
    world
        .post(
            &world.office_a,
            "/apikeys",
            scope("Office Manager", "~", "*"),
        )
        .await
        .refused(403);
    world
        .post(
            &world.office_a,
            "/apikeys",
            scope("Basic User", "b.example", "*"),
        )
        .await
        .refused(403);
    let made = world
        .post(&world.office_a, "/apikeys", scope("Basic User", "~", "*"))
        .await
        .expect(200);
    assert_eq!(
        (&made["domain"], &made["reseller"]),
        (&json!("a.example"), &json!("r1"))
    );
    let without_user = json!({"description": "a key for a test", "user-scope": "Basic User", "domain": "~", "reseller": "*"});
    assert!(
        world
            .post(&world.office_a, "/apikeys", without_user)
            .await
            .refused(400)
            .contains("user: is required")
    );
}

#[tokio::test]
async fn a_scope_left_out_fits_the_reach() {
    let world = World::new().await;
    let body = json!({"description": "a key for a test", "domain": "a.example", "reseller": "r1"});
    let made = world.post(&world.root, "/apikeys", body).await.expect(200);
    assert_eq!(made["user-scope"], "Office Manager");
    let body = json!({"description": "a key for a test", "domain": "*", "reseller": "r1"});
    assert_eq!(
        world.post(&world.root, "/apikeys", body).await.expect(200)["user-scope"],
        "Reseller"
    );
    let body = json!({"description": "a key for a test", "domain": "*", "reseller": "*"});
    world.post(&world.root, "/apikeys", body).await.refused(400);
}

#[tokio::test]
async fn wrong_bodies() {
    let world = World::new().await;
    let body = json!({"description": "short", "domain": "a b", "ip-address": "10.0.0.0/99,x", "allowed-models": ["domain", "moon"]});
    let message = world.post(&world.root, "/apikeys", body).await.refused(400);
    for part in [
        "description",
        "at least 12",
        "domain",
        "10.0.0.0/99",
        "moon",
        "reseller: is required",
    ] {
        assert!(message.contains(part), "{part} missing in {message}");
    }
}

#[tokio::test]
async fn managing_keys_needs_the_right_to() {
    let world = World::new().await;
    let key = world.limited(|key| key.can_create_keys = false).await;
    world
        .post(&key, "/apikeys", office("a.example"))
        .await
        .refused(403);
    let own = world.get(&key, "/apikeys/~").await.expect(200);
    let path = format!("/apikeys/{}", own["key-id"].as_str().unwrap());
    for path in [path.as_str(), "/apikeys/~"] {
        world.delete(&key, path).await.refused(403);
        world.put(&key, path, json!({})).await.refused(403);
    }
    world
        .delete(&world.office_a, "/apikeys/~")
        .await
        .expect(202);
    world.get(&world.office_a, "/apikeys/~").await.refused(401);
}

#[tokio::test]
async fn limits_of_a_key_hold() {
    let world = World::new().await;
    let readonly = world.limited(|key| key.readonly = true).await;
    world.get(&readonly, "/domains/~").await.expect(200);
    world
        .put(&readonly, "/domains/~", json!({"description": "x"}))
        .await
        .refused(403);
    world
        .delete(&readonly, "/domains/a.example/dialplans/a.example")
        .await
        .refused(403);

    let elsewhere = world
        .limited(|key| key.ip_address = "198.51.100.0/24,2001:db8::/32".into())
        .await;
    world.get(&elsewhere, "/domains/~").await.refused(403);
    let here = world
        .limited(|key| key.ip_address = "192.0.2.0/24".into())
        .await;
    world.get(&here, "/domains/~").await.expect(200);

    let narrow = world
        .limited(|key| {
            key.can_create_keys = true;
            key.allowed_models = model::AllowedModels::Many(vec!["apikey".into(), "domain".into()]);
        })
        .await;
    let wider = json!({"description": "a key for a test", "domain": "~", "reseller": "~", "user": "1", "user-scope": "Basic User"});
    world
        .post(&narrow, "/apikeys", wider.clone())
        .await
        .refused(403);
    let mut same = wider;
    same["allowed-models"] = json!("domain");
    world.post(&narrow, "/apikeys", same).await.expect(200);
}

#[tokio::test]
async fn lists_show_oneself_and_lower_keys() {
    let world = World::new().await;
    let ids = |list: Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|key| key["key-id"].as_str().unwrap().to_owned())
            .collect()
    };
    let id = |key: &str| keys::key_id(key).unwrap().to_owned();
    assert_eq!(
        ids(world.get(&world.root, "/apikeys").await.expect(200)).len(),
        6
    );
    assert_eq!(
        ids(world.get(&world.reseller, "/apikeys").await.expect(200)),
        [
            id(&world.reseller),
            id(&world.office_a),
            id(&world.office_b),
            id(&world.user)
        ]
    );
    assert_eq!(
        ids(world.get(&world.office_a, "/apikeys").await.expect(200)),
        [id(&world.office_a), id(&world.user)]
    );
    assert_eq!(
        ids(world.get(&world.user, "/apikeys").await.expect(200)),
        [id(&world.user)]
    );
    let foreign = world
        .get(
            &world.office_a,
            &format!("/apikeys/{}", id(&world.office_b)),
        )
        .await
        .refused(404);
    assert_eq!(
        world
            .get(&world.office_a, "/apikeys/nsd_nowhere0")
            .await
            .refused(404),
        foreign
    );
    world
        .delete(&world.office_a, &format!("/apikeys/{}", id(&world.root)))
        .await
        .refused(404);
}

#[tokio::test]
async fn last_use_is_kept_to_the_hour() {
    let world = World::new().await;
    world.get(&world.office_a, "/version").await.expect(200);
    let path = format!("/apikeys/{}", keys::key_id(&world.office_a).unwrap());
    for _ in 0..1_000 {
        let read = world.get(&world.root, &path).await.expect(200);
        if read[0]["lastused-datetime"] == "2026-01-02T03:00:00+00:00" {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the hour was never stored");
}
