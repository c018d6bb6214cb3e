//! Dial plans and their rules.

use model::RuleMatching;
use serde_json::{Value, json};

use crate::support::World;

const RULES: &str = "/domains/a.example/dialplans/a.example/dialrules";

fn rule(to: &str) -> Value {
    json!({"dial-rule-matching-to-uri": to, "dial-rule-translation-destination-user": "2000", "synchronous": "yes"})
}

#[tokio::test]
async fn a_rule_from_birth_to_end() {
    let world = World::new().await;
    let mut body = rule("sip:611@*");
    body["dial-rule-application"] = json!("To-Callqueue");
    body["dial-rule-matching-day-of-week"] = json!(3);
    let made = world
        .post(&world.office_a, RULES, body.clone())
        .await
        .expect(200);
    assert_eq!(made["dial-rule-application"], "to-callqueue");
    assert_eq!(
        (&made["domain"], &made["dial-rule-dial-plan"]),
        (&json!("a.example"), &json!("a.example"))
    );
    world.post(&world.office_a, RULES, body).await.refused(409);
    assert_eq!(
        world
            .get(&world.office_a, &format!("{RULES}/count"))
            .await
            .expect(200)["total"],
        2
    );

    let one = format!("{RULES}/{}", made["dialrule"].as_str().unwrap());
    assert_eq!(world.get(&world.office_a, &one).await.expect(200), made);
    world
        .put(
            &world.office_a,
            &one,
            json!({"enable": "no", "from_name": "611 - [*]", "plan_description": "x"}),
        )
        .await
        .expect(202);
    let read = world.get(&world.office_a, &one).await.expect(200);
    assert_eq!(read["enabled"], "no");
    assert_eq!(read["dial-rule-translation-source-name"], "611 - [*]");
    assert_eq!(read["dial-rule-description"], "x");
    assert_eq!(read["dial-rule-application"], "to-callqueue");
    world.put(&world.office_a, &one, read).await.expect(202);
    world
        .put(
            &world.office_a,
            &one,
            json!({"dial-rule-matching-to-uri": "sip:612@*"}),
        )
        .await
        .refused(400);
    world
        .put(&world.office_a, &one, json!({"dow": "4"}))
        .await
        .refused(400);
    world
        .put(
            &world.office_a,
            &one,
            json!({"dialrule": RuleMatching::to("sip:1@*").id()}),
        )
        .await
        .refused(400);

    world.delete(&world.office_a, &one).await.expect(202);
    world.get(&world.office_a, &one).await.refused(404);
    world.delete(&world.office_a, &one).await.refused(404);
    world
        .put(&world.office_a, &one, json!({}))
        .await
        .refused(404);
}

#[tokio::test]
async fn version_1_names_are_understood() {
    let world = World::new().await;
    let body = json!({
        "matchrule": "sip:1310*@*", "match_from": "*", "dow": "[1-5]", "valid_from": "2026-01-01", "valid_to": "2026-12-31",
        "tod_from": "08:00", "tod_to": "17:30", "responder": "sip:start@to-connection", "parameter": "", "to_scheme": "[*]",
        "to_user": "1[*]", "to_host": "acme-pbx", "from_name": "[*]", "from_scheme": "sip", "from_user": "[*]",
        "from_host": "<OwnDomain>", "plan_description": "v1", "enable": 1, "synchronous": true
    });
    let made = world.post(&world.root, RULES, body).await;
    assert_eq!(made.header("x-ignored-fields"), "");
    let made = made.expect(200);
    assert_eq!(made["dial-rule-application"], "to-connection");
    assert_eq!(made["dial-rule-translation-source-scheme"], "sip:");
    assert_eq!(made["dial-rule-matching-end-time"], "17:30");
    assert_eq!(made["enabled"], "yes");
}

#[tokio::test]
async fn ids_in_any_base64() {
    let world = World::new().await;
    world
        .post(&world.root, RULES, rule("sip:~?>~?>@*"))
        .await
        .expect(200);
    let url = RuleMatching::to("sip:~?>~?>@*").id();
    let plain = url.replace('-', "%2B").replace('_', "%2F");
    assert_ne!(url, plain);
    for id in [
        url.clone(),
        format!("{url}%3D%3D"),
        plain.clone(),
        plain + "=",
    ] {
        world
            .get(&world.root, &format!("{RULES}/{id}"))
            .await
            .expect(200);
    }
    for id in ["x", "%25%25", "Knx8"] {
        world
            .get(&world.root, &format!("{RULES}/{id}"))
            .await
            .refused(404);
    }
    // A short id stands for a rule without further conditions.
    world
        .post(&world.root, RULES, rule("sip:611@*"))
        .await
        .expect(200);
    world
        .get(&world.root, &format!("{RULES}/c2lwOjYxMUAq"))
        .await
        .expect(200);
}

#[tokio::test]
async fn what_is_refused() {
    let world = World::new().await;
    let cases: &[(&str, Value, &str)] = &[
        (
            "dial-rule-matching-to-uri",
            json!("sip:[1@*"),
            "closed with ]",
        ),
        ("dial-rule-matching-to-uri", json!("a||b"), "separates"),
        ("dial-rule-matching-from-uri", json!("["), "closed with ]"),
        ("dial-rule-matching-day-of-week", json!("[1-9]"), "Sunday"),
        (
            "dial-rule-matching-start-date",
            json!("2026-13-01"),
            "YYYY-MM-DD",
        ),
        ("dial-rule-matching-end-time", json!("24:00"), "HH:MM"),
        ("dial-rule-translation-source-scheme", json!("tel:"), "sip:"),
        ("enabled", json!("perhaps"), "yes or no"),
        (
            "dial-rule-parameter",
            json!("x\r\nVia: y"),
            "control character",
        ),
        ("dial-rule-dial-plan", json!("other"), "of the path"),
        ("domain", json!("b.example"), "of the path"),
    ];
    for (field, value, expected) in cases {
        let mut body = rule("sip:1@*");
        body[*field] = value.clone();
        let message = world.post(&world.root, RULES, body).await.refused(400);
        assert!(
            message.contains(expected),
            "{field}: {expected:?} missing in {message:?}"
        );
    }
    let mut header = rule("sip:1@*");
    header["dial-rule-application"] = json!("to-user-add-header");
    header["dial-rule-parameter"] = json!("Via: x");
    assert!(
        world
            .post(&world.root, RULES, header)
            .await
            .refused(400)
            .contains("must not write")
    );
    let mut dates = rule("sip:1@*");
    dates["valid_from"] = json!("2026-02-01");
    dates["valid_to"] = json!("2026-01-01");
    assert!(
        world
            .post(&world.root, RULES, dates)
            .await
            .refused(400)
            .contains("before the first day")
    );
    world
        .post(
            &world.root,
            RULES,
            json!({"dial-rule-matching-to-uri": "*"}),
        )
        .await
        .refused(400);
    let nowhere = "/domains/a.example/dialplans/none/dialrules";
    world
        .post(&world.root, nowhere, rule("sip:1@*"))
        .await
        .refused(404);
    world.get(&world.root, nowhere).await.refused(404);
    world
        .get(&world.root, &format!("{nowhere}/count"))
        .await
        .refused(404);
}

#[tokio::test]
async fn plans() {
    let world = World::new().await;
    let night = json!({"dial-rule-dial-plan": "Night shift", "dial-rule-description": "At night"});
    world
        .post(&world.office_a, "/domains/~/dialplans", night.clone())
        .await
        .expect(202);
    world
        .post(
            &world.office_a,
            "/domains/a.example/dialplans",
            night.clone(),
        )
        .await
        .refused(409);
    world
        .post(&world.root, "/domains/nowhere/dialplans", night.clone())
        .await
        .refused(404);
    world
        .post(&world.office_a, "/domains/b.example/dialplans", night)
        .await
        .refused(403);
    let mut anywhere =
        json!({"domain": "*", "dial-rule-dial-plan": "Everybody", "dial-rule-description": ""});
    world
        .post(&world.office_a, "/dialplans", anywhere.clone())
        .await
        .refused(403);
    world
        .post(&world.reseller, "/dialplans", anywhere.clone())
        .await
        .refused(403);
    world
        .post(&world.root, "/dialplans", anywhere.clone())
        .await
        .expect(202);
    world
        .post(&world.root, "/dialplans", anywhere.clone())
        .await
        .refused(409);
    anywhere["domain"] = json!("nowhere");
    world
        .post(&world.root, "/dialplans", anywhere.clone())
        .await
        .refused(400);
    anywhere["dial-rule-dial-plan"] = json!("<a>");
    world
        .post(&world.root, "/dialplans", anywhere)
        .await
        .refused(400);

    let names = |list: Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|plan| plan["dial-rule-dial-plan"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(world.get(&world.office_a, "/dialplans").await.expect(200)),
        ["a.example", "Night shift"]
    );
    assert!(
        names(world.get(&world.reseller, "/dialplans").await.expect(200))
            .contains(&"Everybody".to_owned())
    );
    assert!(
        names(world.get(&world.root, "/dialplans").await.expect(200))
            .contains(&"c.example".to_owned())
    );

    let path = "/domains/a.example/dialplans/Night%20shift";
    world
        .put(
            &world.office_a,
            path,
            json!({"dial-rule-description": "Later"}),
        )
        .await
        .expect(202);
    world
        .put(
            &world.office_a,
            path,
            json!({"dial-rule-description": "x", "dial-rule-dial-plan": "y"}),
        )
        .await
        .refused(400);
    world
        .put(&world.office_a, path, json!({}))
        .await
        .refused(400);
    world.delete(&world.office_a, path).await.expect(202);
    world.delete(&world.office_a, path).await.refused(404);
    world
        .put(&world.office_a, path, json!({"dial-rule-description": "x"}))
        .await
        .refused(404);
}

#[tokio::test]
async fn plans_of_the_system_are_read_by_resellers_and_written_by_super_users() {
    let world = World::new().await;
    let rules = "/domains/*/dialplans/DID%20Table/dialrules";
    world.get(&world.office_a, rules).await.refused(403);
    world.get(&world.reseller, rules).await.expect(200);
    world
        .post(&world.reseller, rules, rule("sip:13105550100@*"))
        .await
        .refused(403);
    world
        .post(&world.root, rules, rule("sip:13105550100@*"))
        .await
        .expect(200);
    world
        .delete(&world.reseller, "/domains/*/dialplans/DID%20Table")
        .await
        .refused(403);
}
