//! Routes and the connections they lead to.

use model::RouteMatching;
use serde_json::{Value, json};

use crate::support::World;

fn route(destination: &str) -> Value {
    json!({"route-destination-match-pattern": destination, "description": "d", "route-method": "fixed"})
}

fn way(host: &str) -> Value {
    json!({"route-connection-translation-destination-user": "[*]", "route-connection-translation-destination-host": host})
}

#[tokio::test]
async fn a_route_from_birth_to_end() {
    let world = World::new().await;
    world
        .post(&world.root, "/routes", route("sip:1??????????@*"))
        .await
        .expect(202);
    world
        .post(&world.root, "/routes", route("sip:1??????????@*"))
        .await
        .refused(409);
    let mut other = route("sip:1??????????@*");
    other["route-class"] = json!(2);
    other["route-match-server-hostname"] = json!("core1.example.com");
    world.post(&world.root, "/routes", other).await.expect(202);
    let list = world.get(&world.root, "/routes").await.expect(200);
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 2);
    let id = RouteMatching::to("sip:1??????????@*").id();
    assert_eq!(list[0]["route-id"], *id);
    assert_eq!(list[0]["route-source-match-pattern"], "*");
    assert_eq!(list[0]["route-is-enabled"], "yes");
    let of_class = world
        .get(&world.root, "/routes?route-class=2")
        .await
        .expect(200);
    assert_eq!(of_class, json!([list[1]]));
    for (query, total) in [
        ("", 2),
        (
            "?forward_request_matchrule=sip:1%3F%3F%3F%3F%3F%3F%3F%3F%3F%3F@*",
            2,
        ),
        ("?forward_request_matchrule=sip:2*@*", 0),
        ("?route-source-match-pattern=*", 2),
    ] {
        let path = format!("/routes/count{query}");
        assert_eq!(
            world.get(&world.root, &path).await.expect(200)["total"],
            total,
            "{query}"
        );
    }

    let one = format!("/routes/{id}");
    let change =
        json!({"description": "x", "route-method": "Percentage", "route-is-enabled": "no"});
    world.put(&world.root, &one, change).await.expect(202);
    let read = world.get(&world.root, "/routes").await.expect(200)[0].clone();
    assert_eq!(read["route-method"], "percentage");
    assert_eq!(read["route-is-enabled"], "no");
    world.put(&world.root, &one, read).await.expect(202);
    world
        .put(&world.root, &one, json!({"route-class": "7"}))
        .await
        .refused(400);
    world.delete(&world.root, &one).await.expect(202);
    world.delete(&world.root, &one).await.refused(404);
    world.put(&world.root, &one, json!({})).await.refused(404);
    world.delete(&world.root, "/routes/%25").await.refused(404);
}

#[tokio::test]
async fn connections_of_a_route() {
    let world = World::new().await;
    world
        .post(&world.root, "/routes", route("sip:1*@*"))
        .await
        .expect(202);
    let all = format!("/routes/{}/routecon", RouteMatching::to("sip:1*@*").id());
    world
        .post(&world.root, &all, way("a.carrier.example"))
        .await
        .expect(202);
    let mut second = way("b.carrier.example");
    second["route-connection-integer-cost"] = json!(0.001);
    second["route-connection-integer-percentage"] = json!("30");
    second["route-connection-translation-destination-user"] = json!("1234[*]");
    second["route-connection-ordinal-index"] = json!(5);
    world
        .post(&world.root, &all, second.clone())
        .await
        .expect(202);
    world.post(&world.root, &all, second).await.refused(409);
    world
        .post(&world.root, &all, way("c.carrier.example"))
        .await
        .expect(202);
    let list = world.get(&world.root, &all).await.expect(200);
    let indexes: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|way| way["route-connection-ordinal-index"].as_i64().unwrap())
        .collect();
    assert_eq!(indexes, [1, 2, 5], "the next free index is taken");
    assert_eq!(list[2]["route-connection-integer-cost"], 0.001);
    assert_eq!(list[2]["route-connection-integer-percentage"], 30);
    assert_eq!(list[0]["route-connection-integer-percentage"], 50);
    assert_eq!(list[0]["route-destination-match-pattern"], "sip:1*@*");
    for (query, total) in [
        ("", 3),
        ("?route-destination-match-pattern=sip:1*@*", 3),
        ("?route-destination-match-pattern=sip:2*@*", 0),
    ] {
        let path = format!("/routecon/count{query}");
        assert_eq!(
            world.get(&world.root, &path).await.expect(200)["total"],
            total
        );
    }

    let five = format!("{all}/5");
    world
        .put(
            &world.root,
            &five,
            json!({"route-connection-integer-cost": 2}),
        )
        .await
        .expect(202);
    let list = world.get(&world.root, &all).await.expect(200);
    assert_eq!(list[2]["route-connection-integer-cost"], 2.0);
    for bad in [
        json!({"route-connection-integer-cost": -1}),
        json!({"route-connection-integer-cost": "NaN"}),
        json!({"route-connection-translation-destination-host": ""}),
        json!({"route-connection-ordinal-index": 6}),
    ] {
        world.put(&world.root, &five, bad).await.refused(400);
    }
    world.delete(&world.root, &five).await.expect(202);
    world.delete(&world.root, &five).await.refused(404);
    world.put(&world.root, &five, json!({})).await.refused(404);
    world
        .get(&world.root, "/routes/bm9uZQ/routecon")
        .await
        .refused(404);
    world
        .post(&world.root, "/routes/bm9uZQ/routecon", way("x"))
        .await
        .refused(404);
}

#[tokio::test]
async fn routes_belong_to_the_system() {
    let world = World::new().await;
    world
        .post(&world.root, "/routes", route("sip:1*@*"))
        .await
        .expect(202);
    world.get(&world.reseller, "/routes").await.expect(200);
    world.get(&world.office_a, "/routes").await.refused(403);
    let id = RouteMatching::to("sip:1*@*").id();
    world
        .post(&world.reseller, "/routes", route("sip:2*@*"))
        .await
        .refused(403);
    world
        .delete(&world.reseller, &format!("/routes/{id}"))
        .await
        .refused(403);
    world
        .post(&world.reseller, &format!("/routes/{id}/routecon"), way("x"))
        .await
        .refused(403);
}

#[tokio::test]
async fn a_list_of_connections_by_the_route_that_leads_to_them() {
    let world = World::new().await;
    for (orig, term) in [
        ("sip*@a", "sip:*@a.carrier.example"),
        ("sip*@b", "sip:1*@b.carrier.example"),
        ("sip*@c", "sip:*@c.carrier.example"),
    ] {
        let body = json!({"domain": "*", "connection-orig-match-pattern": orig, "connection-term-match-pattern": term,
            "connection-address": "192.0.2.1"});
        world
            .post(&world.root, "/connections", body)
            .await
            .expect(202);
    }
    world
        .post(&world.root, "/routes", route("sip:1*@*"))
        .await
        .expect(202);
    let id = RouteMatching::to("sip:1*@*").id();
    for host in ["a.carrier.example", "b.carrier.example"] {
        world
            .post(&world.root, &format!("/routes/{id}/routecon"), way(host))
            .await
            .expect(202);
    }
    let total = |id: &str| {
        let (world, path) = (&world, format!("/connections/count?route-chain={id}"));
        async move { world.get(&world.root, &path).await.expect(200)["total"].clone() }
    };
    assert_eq!(total(&id).await, 2);
    assert_eq!(total("bm9uZQ").await, 0);
}
