//! Every field of a connection that acts on calls is seen in their explanation: with another value it reads differently.

use model::explain::{ExplainRequest, Explanation};
use model::{
    Binding, Connection, DialPlan, DialPolicy, DialRule, DialRuleApplication, Domain, Permission,
    PermissionMode, RuleMatching,
};
use serde_json::{Value, json};
use sip::endpoint::Interface;
use sip::transport::Transport;
use std::collections::BTreeSet;
use std::sync::Arc;
use switch::plan::PlanContext;
use switch::{Directory, DirectoryChange, DomainPart};

/// 2026-11-20 12:00 UTC, a Friday.
const FRIDAY_NOON_MS: i64 = 1_795_176_000_000;

/// Fields that no explanation speaks of, and why.
const NOT_EXPLAINED: &[(&str, &str)] = &[
    ("description", "is for people"),
    ("call-routing", "has no meaning"),
    ("connection-system-a-assisted-id-format", "has no effect"),
    ("connection-sip-registration-password", "is a secret"),
    ("last-modified-datetime", "is about the record"),
    (
        "connection-sip-registration-datetime",
        "is past; that a peer is registered is told with its end",
    ),
    ("active-calls-max-last-month", "is past"),
    ("active-calls-max-this-month", "is past"),
    (
        "active-calls-orig-current",
        "is told where there is a limit, from the live counters",
    ),
    (
        "active-calls-term-current",
        "is told where there is a limit, from the live counters",
    ),
    ("active-calls-orig-since-startup", "is past"),
    ("active-calls-term-since-startup", "is past"),
    (
        "connection-sip-registration-expires-datetime",
        "is told of the registration itself",
    ),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Whose {
    /// The connection that calls.
    Pbx,
    /// The connection that is called.
    Carrier,
}
use Whose::{Carrier, Pbx};

/// Whose field is changed, which, and to what. What else has to be so for the field to matter stands behind.
fn changes() -> Vec<(Whose, &'static str, Value, Value)> {
    let one = |whose, field, value| (whose, field, value, json!({}));
    let client = json!({
        "connection-sip-authenticate-as-client-enabled": "yes", "connection-sip-registration-username": "u",
    });
    vec![
        one(
            Pbx,
            "connection-orig-match-pattern",
            json!("sip*@elsewhere"),
        ),
        one(Pbx, "domain", json!("*")),
        one(Pbx, "connection-orig-enabled", json!("no")),
        one(
            Pbx,
            "connection-check-orig-matching-sip-header",
            json!("to"),
        ),
        one(Pbx, "connection-source-ip-checking-enabled", json!("yes")),
        one(
            Pbx,
            "connection-require-sip-authentication-enabled",
            json!("yes"),
        ),
        one(Pbx, "dial-plan", json!("other")),
        one(Pbx, "dial-policy", json!("strict")),
        one(Pbx, "connection-linked-billing-user", json!("1000")),
        one(Pbx, "connection-is-carrier-trunk", json!("yes")),
        one(Pbx, "limits-max-active-calls-orig", json!(7)),
        one(Pbx, "time-zone", json!("US/Eastern")),
        one(Pbx, "utc-offset", json!("-5")),
        one(
            Pbx,
            "connection-sip-get-response-destination-from",
            json!("contact-header"),
        ),
        one(
            Carrier,
            "connection-term-match-pattern",
            json!("sip:2*@carrier"),
        ),
        one(Carrier, "connection-term-enabled", json!("no")),
        one(Carrier, "connection-address", json!("198.51.100.99")),
        one(Carrier, "limits-max-active-calls-term", json!(7)),
        one(Carrier, "limits-max-active-calls-total", json!(7)),
        one(
            Carrier,
            "connection-translation-request-user",
            json!("+[*]"),
        ),
        one(
            Carrier,
            "connection-translation-request-host",
            json!("x.example"),
        ),
        one(
            Carrier,
            "connection-translation-destination-user",
            json!("+[*]"),
        ),
        one(
            Carrier,
            "connection-translation-destination-host",
            json!("x.example"),
        ),
        one(Carrier, "connection-translation-source-user", json!("+[*]")),
        one(
            Carrier,
            "connection-translation-source-host",
            json!("x.example"),
        ),
        one(Carrier, "connection-sip-transport-protocol", json!("TCP")),
        one(
            Carrier,
            "connection-bind-to-alternate-interface-enabled",
            json!("yes"),
        ),
        one(
            Carrier,
            "connection-sip-get-new-dialog-destination-from",
            json!("contact-header"),
        ),
        one(
            Carrier,
            "connection-sip-authenticate-as-client-enabled",
            json!("yes"),
        ),
        (
            Carrier,
            "connection-sip-registration-username",
            json!("v"),
            client.clone(),
        ),
        (
            Carrier,
            "connection-sip-registration-realm",
            json!("r"),
            client,
        ),
        one(
            Carrier,
            "connection-custom-p-asserted-id-format",
            json!("passerted"),
        ),
        one(
            Carrier,
            "connection-include-server-header-enabled",
            json!("yes"),
        ),
        one(
            Carrier,
            "connection-allow-mid-call-uri-updates-enabled",
            json!("yes"),
        ),
        one(Carrier, "connection-sip-session-timer-enabled", json!("no")),
        one(Carrier, "connection-audio-relay-enabled", json!("no")),
        one(Carrier, "connection-pcmu-only-enabled", json!("yes")),
        one(
            Carrier,
            "connection-block-video-in-sdp-enabled",
            json!("yes"),
        ),
        one(
            Carrier,
            "connection-require-encrypted-audio-enabled",
            json!("optional"),
        ),
        one(
            Carrier,
            "connection-relay-comfort-noise-enabled",
            json!("yes"),
        ),
        one(
            Carrier,
            "connection-prevent-rtp-port-change-enabled",
            json!("yes"),
        ),
        one(Carrier, "connection-record-all-calls-enabled", json!("yes")),
        one(
            Carrier,
            "connection-hide-post-dial-delay-with-ringback-enabled",
            json!("yes"),
        ),
        one(
            Carrier,
            "connection-remote-ringback-handling",
            json!("local-only"),
        ),
        one(
            Carrier,
            "connection-block-media-in-sip-180-ringing",
            json!("yes"),
        ),
        one(Carrier, "minimum-call-duration-seconds", json!(30)),
        one(
            Carrier,
            "connection-enforce-minimum-duration-enabled",
            json!("yes"),
        ),
    ]
}

fn changed(record: &Connection, fields: &Value) -> Connection {
    let mut json = serde_json::to_value(record).unwrap();
    for (field, value) in fields.as_object().unwrap() {
        json[field] = value.clone();
    }
    serde_json::from_value(json).unwrap()
}

fn rule(plan: &str, to: &str, change: impl FnOnce(&mut DialRule)) -> DialRule {
    let mut rule = DialRule {
        domain: "d1".into(),
        dial_rule_dial_plan: plan.into(),
        matching: RuleMatching::to(to),
        dial_rule_application: DialRuleApplication::ToConnection,
        dial_rule_translation_destination_host: "carrier".into(),
        ..DialRule::default()
    };
    change(&mut rule);
    rule
}

/// What is said of a call from one to the other.
fn explained(pbx: &Connection, carrier: &Connection) -> Explanation {
    let domain = Domain {
        domain: "d1".into(),
        caller_id_number: "18585550100".into(),
        ..Domain::default()
    };
    let rules = vec![
        rule("d1", "*", |_| ()),
        // Taken early in the morning, wherever that is.
        rule("d1", "*", |rule| {
            rule.matching.start_time = "07:00".into();
            rule.matching.end_time = "07:30".into();
            rule.dial_rule_translation_source_name = "Early".into();
        }),
        rule("other", "*", |rule| {
            rule.dial_rule_translation_source_name = "Other".into()
        }),
    ];
    let plans = ["d1", "other"].map(|plan| DialPlan::new("d1", plan, ""));
    let mut directory = Directory::default();
    for owner in ["d1", "*"] {
        let connections = [pbx, carrier].map(Clone::clone);
        let own = connections.into_iter().filter(|it| it.domain == owner);
        let is_d1 = owner == "d1";
        let (mut part, problems) = DomainPart::build(
            owner,
            is_d1.then(|| domain.clone()),
            own.collect(),
            if is_d1 { plans.to_vec() } else { Vec::new() },
            if is_d1 { rules.clone() } else { Vec::new() },
            |_| Arc::default(),
        );
        assert!(problems.is_empty(), "{problems:?}");
        if is_d1 {
            let policy = DialPolicy::new("d1", "strict", "");
            let deny = Permission::new(&policy.key(), "*", PermissionMode::Deny, "");
            let problems = part.add_policies(vec![policy], vec![deny]);
            assert!(problems.is_empty(), "{problems:?}");
        }
        directory.apply(DirectoryChange::Swap(Arc::new(part)));
    }
    let binding = Binding {
        contact: "sip:line1@10.0.0.5:5070".into(),
        via: "10.0.0.6:5080".into(),
        transport: "UDP".into(),
        received: "203.0.113.9:40000".parse().unwrap(),
        interface: 0,
        stream: None,
        call_id: "c".into(),
        cseq: 1,
        registered_ms: FRIDAY_NOON_MS,
        expires_ms: FRIDAY_NOON_MS + 3_600_000,
    };
    directory.apply(DirectoryChange::Binding {
        connection: carrier.key(),
        binding: Some(Arc::new(binding)),
    });
    let interface = |transport, local: &'static str, alternate| Interface {
        transport,
        local: local.parse().unwrap(),
        advertise: local.split(':').next().unwrap().into(),
        port: 5060,
        alternate,
    };
    let context = PlanContext {
        unix_ms: FRIDAY_NOON_MS,
        interfaces: &[
            interface(Transport::Udp, "192.0.2.1:5060", false),
            interface(Transport::Tcp, "192.0.2.1:5060", false),
            interface(Transport::Udp, "192.0.2.2:5060", true),
        ],
        ringback: None,
        hostname: "node1",
        draw: 0,
    };
    let request = ExplainRequest {
        from: "sip:+12125550111@pbx".into(),
        to: "sip:13105550100@sbc".into(),
        source_ip: Some("203.0.113.5".into()),
        ..ExplainRequest::default()
    };
    switch::explain(&directory, &request, context).unwrap()
}

#[test]
fn each_field_that_acts_changes_the_explanation() {
    let pbx = Connection {
        domain: "d1".into(),
        connection_orig_match_pattern: "sip*@pbx".into(),
        connection_address: "203.0.113.5".into(),
        ..Connection::default()
    };
    let carrier = Connection {
        domain: "d1".into(),
        connection_orig_match_pattern: "sip*@carrier".into(),
        connection_address: "198.51.100.2".into(),
        ..Connection::default()
    };
    let mut silent = Vec::new();
    let mut seen = BTreeSet::new();
    for (whose, field, value, with) in changes() {
        seen.insert(field.to_owned());
        let of = |record: &Connection, own: bool, fields: &Value| {
            if own {
                changed(record, fields)
            } else {
                record.clone()
            }
        };
        let told = |extra: &Value| {
            let (pbx, carrier) = (
                of(&pbx, whose == Pbx, &with),
                of(&carrier, whose == Carrier, &with),
            );
            let (pbx, carrier) = (
                of(&pbx, whose == Pbx, extra),
                of(&carrier, whose == Carrier, extra),
            );
            explained(&pbx, &carrier)
        };
        let mut extra = json!({});
        extra[field] = value;
        if told(&extra) == told(&json!({})) {
            silent.push(field);
        }
    }
    assert!(silent.is_empty(), "no word of {silent:?}");

    let record = serde_json::to_value(&carrier).unwrap();
    let mut all: BTreeSet<String> = record.as_object().unwrap().keys().cloned().collect();
    all.insert("connection-system-a-assisted-id-format".into());
    let excused = NOT_EXPLAINED.iter().map(|(field, _)| (*field).to_owned());
    let known: BTreeSet<String> = seen.into_iter().chain(excused).collect();
    assert_eq!(known, all, "fields that nobody thought of");
}
