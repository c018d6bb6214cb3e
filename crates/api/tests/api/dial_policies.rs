//! Dial policies and their permissions.

use model::Permission;
use serde_json::{Value, json};

use crate::support::World;

const OF_A: &str = "/domains/a.example/dialpolicy/Local";

async fn policy_of_a(world: &World) {
    let body = json!({"dialpolicy": "Local", "domain": "a.example", "description": "near by"});
    world
        .post(&world.reseller, "/dialpolicy", body)
        .await
        .expect(202);
}

fn permission(pattern: &str, mode: &str) -> Value {
    json!({"permission-match": pattern, "permission-mode": mode, "permission-reason": "r", "synchronous": "yes"})
}

#[tokio::test]
async fn a_policy_from_birth_to_end() {
    let world = World::new().await;
    let body = json!({"dialpolicy": "Local", "domain": "a.example", "description": "near by", "synchronous": "yes"});
    let made = world
        .post(&world.reseller, "/dialpolicy", body.clone())
        .await
        .expect(200);
    assert_eq!(
        made,
        json!({"dialpolicy": "Local", "domain": "a.example", "description": "near by"})
    );
    world
        .post(&world.reseller, "/dialpolicy", body)
        .await
        .refused(409);
    assert_eq!(world.get(&world.office_a, OF_A).await.expect(200), made);
    assert_eq!(
        world
            .get(&world.office_a, "/dialpolicy/Local")
            .await
            .expect(200),
        made,
        "the key's own tenant is meant"
    );
    world
        .put(&world.reseller, OF_A, json!({"description": "new"}))
        .await
        .expect(202);
    let read = world.get(&world.office_a, OF_A).await.expect(200);
    assert_eq!(read["description"], "new");
    world.put(&world.reseller, OF_A, read).await.expect(202);
    world
        .put(&world.reseller, OF_A, json!({"dialpolicy": "Other"}))
        .await
        .refused(400);
    world.delete(&world.reseller, OF_A).await.expect(202);
    world.get(&world.office_a, OF_A).await.refused(404);
    world.delete(&world.reseller, OF_A).await.refused(404);
}

#[tokio::test]
async fn who_may_see_and_write_policies() {
    let world = World::new().await;
    policy_of_a(&world).await;
    let names = |list: Value| -> Vec<String> {
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|policy| policy["dialpolicy"].as_str().unwrap().to_owned())
            .collect()
    };
    let list = |key: String| {
        let world = &world;
        async move { names(world.get(&key, "/dialpolicy").await.expect(200)) }
    };
    assert_eq!(
        list(world.root.clone()).await,
        ["US and Canada", "Local"],
        "one is shipped"
    );
    assert_eq!(
        list(world.reseller.clone()).await,
        ["Local", "US and Canada"]
    );
    assert_eq!(list(world.other_reseller.clone()).await, ["US and Canada"]);
    assert_eq!(list(world.office_a.clone()).await, ["Local"]);
    assert!(list(world.office_b.clone()).await.is_empty());

    world.get(&world.office_b, OF_A).await.refused(403);
    world.delete(&world.office_a, OF_A).await.refused(403);
    world.delete(&world.other_reseller, OF_A).await.refused(403);
    world.get(&world.user, OF_A).await.refused(403);

    // Without a tenant in the path a key of no tenant means the system's.
    let shipped = "/dialpolicy/US%20and%20Canada";
    assert_eq!(
        world.get(&world.root, shipped).await.expect(200)["domain"],
        "*"
    );
    world.get(&world.reseller, shipped).await.expect(200);
    world.delete(&world.reseller, shipped).await.refused(403);
    let system = json!({"dialpolicy": "S", "domain": "*", "description": ""});
    world
        .post(&world.reseller, "/dialpolicy", system.clone())
        .await
        .refused(403);
    world
        .post(&world.root, "/dialpolicy", system)
        .await
        .expect(202);
    let nowhere = json!({"dialpolicy": "S", "domain": "nobody.example", "description": ""});
    world
        .post(&world.root, "/dialpolicy", nowhere)
        .await
        .refused(400);
    for name in ["Permit All", "*", " x", ""] {
        let body = json!({"dialpolicy": name, "domain": "a.example", "description": ""});
        world
            .post(&world.root, "/dialpolicy", body)
            .await
            .refused(400);
    }
}

#[tokio::test]
async fn a_permission_from_birth_to_end() {
    let world = World::new().await;
    policy_of_a(&world).await;
    let all = format!("{OF_A}/permission");
    let made = world
        .post(&world.reseller, &all, permission("sip:1900*@*", "Deny"))
        .await
        .expect(200);
    assert_eq!(made["permission-id"], Permission::id_of("sip:1900*@*"));
    assert_eq!(made["permission-mode"], "deny");
    assert_eq!(made["dialpolicy"], "Local");
    assert_eq!(made["created-datetime"], "2026-01-02 03:04:05");
    let mut body = permission("sip:1900*@*", "permit");
    world
        .post(&world.reseller, &all, body.clone())
        .await
        .refused(409);
    body["permission-match"] = json!("sip:[1@*");
    world.post(&world.reseller, &all, body).await.refused(400);
    world
        .post(&world.reseller, &all, permission("sip:1*@*", "maybe"))
        .await
        .refused(400);
    let mut quiet = permission("sip:1*@*", "permit");
    quiet["synchronous"] = json!("no");
    world.post(&world.reseller, &all, quiet).await.expect(202);
    let list = world.get(&world.office_a, &all).await.expect(200);
    assert_eq!(list.as_array().map(Vec::len), Some(2));

    let one = format!("{all}/{}", made["permission-id"].as_str().unwrap());
    assert_eq!(world.get(&world.office_a, &one).await.expect(200), made);
    let own = format!(
        "/dialpolicy/Local/permission/{}",
        made["permission-id"].as_str().unwrap()
    );
    assert_eq!(world.get(&world.office_a, &own).await.expect(200), made);
    let change = json!({"permission-mode": "permit", "permission-reason": "agreed"});
    world
        .put(&world.reseller, &one, change.clone())
        .await
        .expect(202);
    assert_eq!(
        world.get(&world.office_a, &one).await.expect(200)["permission-reason"],
        "agreed"
    );
    world
        .put(
            &world.reseller,
            &one,
            json!({"permission-match": "sip:1901*@*"}),
        )
        .await
        .refused(400);
    world.put(&world.office_a, &one, change).await.refused(403);
    world.delete(&world.reseller, &one).await.expect(202);
    world.get(&world.office_a, &one).await.refused(404);
    world
        .get(&world.office_a, &format!("{all}/%25%25"))
        .await
        .refused(404);
    world
        .post(
            &world.reseller,
            "/domains/a.example/dialpolicy/None/permission",
            permission("sip:1*@*", "deny"),
        )
        .await
        .refused(404);

    // The policy takes its permissions along.
    world.delete(&world.reseller, OF_A).await.expect(202);
    policy_of_a(&world).await;
    assert_eq!(
        world.get(&world.office_a, &all).await.expect(200),
        json!([])
    );
}

#[tokio::test]
async fn connections_and_domains_name_policies_that_exist() {
    let world = World::new().await;
    policy_of_a(&world).await;
    let connection = |domain: &str, policy: &str| {
        json!({"domain": domain, "connection-orig-match-pattern": format!("sip*@{policy}").replace(' ', "-"),
            "connection-address": "192.0.2.1", "dial-policy": policy})
    };
    for policy in ["Local", "US and Canada", "Permit All", ""] {
        world
            .post(&world.root, "/connections", connection("a.example", policy))
            .await
            .expect(202);
    }
    for (domain, policy) in [
        ("a.example", "None"),
        ("b.example", "Local"),
        ("*", "Local"),
    ] {
        world
            .post(&world.root, "/connections", connection(domain, policy))
            .await
            .refused(400);
    }
    let domain = "/domains/a.example";
    for (policy, status) in [("Local", 202), ("US and Canada", 202)] {
        world
            .put(&world.root, domain, json!({"dial-policy": policy}))
            .await
            .expect(status);
    }
    world
        .put(&world.root, domain, json!({"dial-policy": "None"}))
        .await
        .refused(400);
}
