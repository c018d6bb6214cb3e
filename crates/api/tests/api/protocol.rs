//! What holds for every operation: credentials, methods, bodies, limits, headers.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use api::{MAX_BODY_BYTES, keys, limits};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Method, Request, header};
use bus::{Answer, Question};
use model::{ExplainRequest, Explanation, Scope};
use serde_json::json;

use crate::support::{PREFIX, World, request};

#[tokio::test]
async fn version_and_document() {
    let world = World::new().await;
    let version = world.get(&world.user, "/version").await;
    assert_eq!(version.header("cache-control"), "no-store");
    assert_eq!(
        version.expect(200),
        json!({"apiversion": "45.0.0", "hostname": "switch1", "current-time": "2026-01-02T03:04:05+00:00"})
    );
    assert_eq!(
        world.get("", "/openapi.json").await.expect(200)["openapi"],
        "3.1.0"
    );
    for (path, kind) in [
        ("/docs", "text/html"),
        ("/docs/docs.js", "text/javascript"),
        ("/docs/docs.css", "text/css"),
    ] {
        let page = world
            .send(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert!(page.status.is_success() && page.header("content-type").starts_with(kind));
        assert!(
            page.header("content-security-policy")
                .starts_with("default-src 'self'")
        );
    }
}

#[tokio::test]
async fn credentials() {
    let world = World::new().await;
    let unknown = keys::generate(Scope::SuperUser).key;
    for wrong in ["", "nonsense", unknown.as_str()] {
        let got = world.get(wrong, "/domains").await;
        let challenge = if wrong.is_empty() {
            "Bearer"
        } else {
            "Bearer error=\"invalid_token\""
        };
        assert_eq!(got.header("www-authenticate"), challenge);
        got.refused(401);
    }
    let mut twice = request(Method::GET, "/domains", &world.root, None);
    twice
        .headers_mut()
        .append(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    world.send(twice).await.refused(401);
    // Another text of the same public part is another key.
    let mut other = world.root.clone();
    other.replace_range(20..21, if &other[20..21] == "a" { "b" } else { "a" });
    let fixed = format!("{}{:08x}", &other[..52], crc(&other[4..52]));
    world.get(&fixed, "/domains").await.refused(401);
}

/// CRC-32 as zlib has it, bit by bit.
fn crc(text: &str) -> u32 {
    !text.bytes().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 1 {
                sum >> 1 ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    })
}

#[tokio::test]
async fn an_address_with_many_wrong_keys_waits() {
    let world = World::new().await;
    for _ in 0..limits::MAX_FAILURES {
        world.get("wrong", "/version").await.refused(401);
    }
    let got = world.get("wrong", "/version").await;
    assert_eq!(
        got.header("retry-after"),
        limits::FAILURE_WINDOW_SECONDS.to_string()
    );
    got.refused(429);
    // Neither a good key nor another address has to wait with it.
    world.get(&world.root, "/version").await.expect(200);
    let mut elsewhere = request(Method::GET, "/version", "wrong", None);
    let address = SocketAddr::from(([198, 51, 100, 1], 1));
    elsewhere.extensions_mut().insert(ConnectInfo(address));
    world.send(elsewhere).await.refused(401);
}

#[tokio::test]
async fn a_key_has_a_rate() {
    let world = World::with(|config| {
        config.requests_per_second = NonZeroU32::MIN;
        config.request_burst = NonZeroU32::new(2).unwrap();
    })
    .await;
    world.get(&world.root, "/version").await.expect(200);
    world.get(&world.root, "/version").await.expect(200);
    let got = world.get(&world.root, "/version").await;
    assert!(got.header("retry-after").parse::<u64>().unwrap() >= 1);
    got.refused(429);
    world.get(&world.reseller, "/version").await.expect(200);
}

#[tokio::test]
async fn paths_and_methods() {
    let world = World::new().await;
    for path in [
        "",
        "/",
        "/nothing",
        "/domains/a/b/c/d",
        "/domains/",
        "/connections/x",
    ] {
        world.get(&world.root, path).await.refused(404);
    }
    let got = world.delete(&world.root, "/domains").await;
    assert_eq!(got.header("allow"), "GET, POST");
    got.refused(405);
    let got = world
        .post(&world.root, "/domains/a.example/connections/x", json!({}))
        .await;
    assert_eq!(got.header("allow"), "DELETE, GET, PUT");
    got.refused(405);
    world
        .post("", "/openapi.json", json!({}))
        .await
        .refused(405);
    world
        .get(&world.root, "/domains/a.example/connections/%ff")
        .await
        .refused(400);
    world
        .get(&world.root, "/domains/a.example/connections/%00")
        .await
        .refused(400);
}

#[tokio::test]
async fn bodies() {
    let world = World::new().await;
    let send = |kind: &'static str, body: Vec<u8>| {
        let request = Request::post(format!("{PREFIX}/domains"))
            .header(header::AUTHORIZATION, format!("Bearer {}", world.root));
        let request = if kind.is_empty() {
            request
        } else {
            request.header(header::CONTENT_TYPE, kind)
        };
        world.send(request.body(Body::from(body)).unwrap())
    };
    let json = "application/json";
    send("text/plain", b"{}".to_vec()).await.refused(415);
    send("application/x-www-form-urlencoded", b"domain=d".to_vec())
        .await
        .refused(415);
    send(json, vec![b' '; MAX_BODY_BYTES + 1])
        .await
        .refused(413);
    let deep = format!("{{\"domain\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000)).into_bytes();
    let wrong: Vec<Vec<u8>> = vec![
        vec![],
        b"[]".to_vec(),
        b"null".to_vec(),
        b"\"x\"".to_vec(),
        b"{".to_vec(),
        b"{}{}".to_vec(),
        deep,
        b"{\"domain\":\"d1\",\"domain\":\"d1\",\"reseller\":\"r\"}".to_vec(),
        b"{\"domain\":\"\xff\"}".to_vec(),
        b"{\"domain\":\"d\\u0000\",\"reseller\":\"r\"}".to_vec(),
        b"{\"domain\":{},\"reseller\":[]}".to_vec(),
        b"{\"domain\":1e999,\"reseller\":\"r\"}".to_vec(),
    ];
    for body in wrong {
        send(json, body).await.refused(400);
    }
    send(
        "application/json; charset=utf-8",
        br#"{"domain":"d1","reseller":"r1"}"#.to_vec(),
    )
    .await
    .expect(202);
    send("", br#"{"domain":"d2","reseller":"r1"}"#.to_vec())
        .await
        .expect(202);
}

#[tokio::test]
async fn strict_handling() {
    let world = World::new().await;
    let strict = |body| {
        let mut request = request(Method::PUT, "/domains/a.example", &world.root, Some(body));
        request
            .headers_mut()
            .insert("prefer", HeaderValue::from_static("handling=strict"));
        world.send(request)
    };
    let got = strict(json!({"discription": "x"})).await;
    assert_eq!(got.header("preference-applied"), "handling=strict");
    let message = got.refused(400);
    assert!(message.contains("did you mean description?"), "{message}");
    let got = strict(json!({"description": "x"})).await;
    assert_eq!(got.header("preference-applied"), "handling=strict");
    got.expect(202);
}

#[tokio::test]
async fn explanations_come_from_the_switch() {
    let world = World::new().await;
    let ask = |key: &str, query: &str| {
        let request = Request::get(format!("/strowger/v1/explain?{query}"))
            .header(header::AUTHORIZATION, format!("Bearer {key}"));
        world.send(request.body(Body::empty()).unwrap())
    };
    let query = "from=sip:1@a&to=sip:2@b&source-ip=192.0.2.1";
    ask(&world.reseller, query).await.refused(403);
    ask(&world.root, "from=sip:1@a&source-ip=x")
        .await
        .refused(400);
    ask(&world.root, query).await.refused(503);
    let mut questions = world.bus.answer_questions().unwrap();
    let switch = tokio::spawn(async move {
        let asked = questions.next().await.unwrap();
        let wanted = ExplainRequest {
            from: "sip:1@a".into(),
            to: "sip:2@b".into(),
            connection: None,
            source_ip: Some("192.0.2.1".into()),
        };
        assert_eq!(asked.question, Question::Explain(wanted));
        asked.answer(Answer::Explain(Box::new(Explanation {
            outcome: "nowhere".into(),
            refused_with: Some(404),
            ..Explanation::default()
        })));
    });
    let got = ask(&world.root, query).await.expect(200);
    switch.await.unwrap();
    assert_eq!(
        (&got["outcome"], &got["refused-with"]),
        (&json!("nowhere"), &json!(404))
    );
}
