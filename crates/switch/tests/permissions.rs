//! Which destinations a dial policy lets a connection call.

use model::counters::ConnectionCounters;
use model::explain::{ExplainRequest, Explanation};
use model::{
    Connection, DialPlan, DialPolicy, DialPolicyKey, DialRule, DialRuleApplication, Permission,
    PermissionMode, RuleMatching,
};
use sip::endpoint::Interface;
use sip::transport::Transport;
use std::sync::Arc;
use switch::directory::{Directory, DirectoryChange, DomainPart};
use switch::plan::PlanContext;

const NORTH_AMERICA: &[(&str, PermissionMode)] = &[
    ("sip:1??????????@*", PermissionMode::Permit),
    ("sip:1900*@*", PermissionMode::Deny),
    ("sip:1809*@*", PermissionMode::Deny),
    ("sip:011*@*", PermissionMode::Deny),
];

/// Policies: owner, name, and lines of a pattern and what it says.
type Policies<'a> = [(&'a str, &'a str, &'a [(&'a str, PermissionMode)])];

/// What becomes of a call of a tenant's PBX under `policy`.
fn call(policy: &str, policies: &Policies<'_>, to: &str) -> Explanation {
    let mut directory = Directory::default();
    for domain in ["*", "d1"] {
        let connection = |name: &str| Connection {
            domain: domain.into(),
            connection_orig_match_pattern: format!("sip*@{name}"),
            connection_address: "192.0.2.99".into(),
            dial_policy: policy.into(),
            ..Connection::default()
        };
        let connections = match domain {
            "*" => vec![connection("carrier")],
            _ => vec![connection("pbx")],
        };
        let rule = DialRule {
            domain: domain.into(),
            dial_rule_dial_plan: domain.into(),
            matching: RuleMatching::to("*"),
            dial_rule_application: DialRuleApplication::ToConnection,
            dial_rule_translation_destination_user: "[*]".into(),
            dial_rule_translation_destination_host: "carrier".into(),
            ..DialRule::default()
        };
        let (mut part, problems) = DomainPart::build(
            domain,
            None,
            connections,
            vec![DialPlan::new(domain, domain, "")],
            vec![rule],
            |_| Arc::new(ConnectionCounters::default()),
        );
        assert!(problems.is_empty(), "{problems:?}");
        let own = policies.iter().filter(|(owner, ..)| *owner == domain);
        let records = own
            .clone()
            .map(|(owner, name, _)| DialPolicy::new(*owner, *name, ""));
        let lines = own.flat_map(|(owner, name, lines)| {
            let policy = DialPolicyKey::new(*owner, *name);
            lines.iter().map(move |(pattern, mode)| {
                Permission::new(&policy, *pattern, *mode, format!("reason of {pattern}"))
            })
        });
        let problems = part.add_policies(records.collect(), lines.collect());
        assert!(problems.is_empty(), "{problems:?}");
        directory.apply(DirectoryChange::Swap(Arc::new(part)));
    }
    let interfaces = [Interface {
        transport: Transport::Udp,
        local: "192.0.2.1:5060".parse().unwrap(),
        advertise: "192.0.2.1".into(),
        port: 5060,
        alternate: false,
    }];
    let request = ExplainRequest {
        from: "sip:100@pbx".into(),
        to: format!("sip:{to}@sbc"),
        ..ExplainRequest::default()
    };
    let context = PlanContext {
        unix_ms: 0,
        interfaces: &interfaces,
        ringback: None,
        hostname: "node1",
        draw: 0,
    };
    switch::explain(&directory, &request, context).unwrap()
}

fn refused(told: &Explanation) -> Option<u16> {
    told.refused_with
}

#[test]
fn the_most_specific_permission_decides() {
    let policies = [("d1", "P", NORTH_AMERICA)];
    for (to, status) in [
        ("13105550100", None),
        ("+13105550100", None),
        ("18095550100", Some(403)),
        ("19005550100", Some(403)),
        ("01149301234567", Some(403)),
        // Covered by no line at all.
        ("4930123456", Some(403)),
    ] {
        let told = call("P", &policies, to);
        assert_eq!(refused(&told), status, "{to}: {told:?}");
        if status.is_some() {
            assert_eq!(told.outcome, "The call is refused: Dial policy.");
        }
    }
}

#[test]
fn of_equal_permissions_the_denial_wins() {
    for order in [[0, 1], [1, 0]] {
        let lines = [
            ("sip:13?0*@*", PermissionMode::Permit),
            ("sip:131?*@*", PermissionMode::Deny),
        ];
        let lines = order.map(|index| lines[index]);
        let told = call("P", &[("d1", "P", &lines)], "13105550100");
        assert_eq!(refused(&told), Some(403));
    }
}

#[test]
fn no_policy_permits_and_a_policy_that_is_gone_does_not() {
    assert_eq!(refused(&call("", &[], "19005550100")), None);
    assert_eq!(refused(&call("Permit All", &[], "19005550100")), None);
    assert_eq!(refused(&call("Gone", &[], "13105550100")), Some(403));
    assert_eq!(
        refused(&call("P", &[("d1", "P", &[])], "13105550100")),
        Some(403),
        "an empty one permits nothing"
    );
}

#[test]
fn the_own_policy_goes_before_the_systems() {
    let all: &[_] = &[("*", PermissionMode::Permit)];
    let none: &[_] = &[("*", PermissionMode::Deny)];
    let both = [("*", "P", all), ("d1", "P", none)];
    assert_eq!(refused(&call("P", &both, "13105550100")), Some(403));
    assert_eq!(refused(&call("P", &[("*", "P", all)], "13105550100")), None);
}

#[test]
fn emergencies_always_pass() {
    let none: &[_] = &[("*", PermissionMode::Deny)];
    for number in ["911", "112", "933"] {
        let told = call("P", &[("d1", "P", none)], number);
        assert_eq!(refused(&told), None, "{number}");
    }
    assert_eq!(refused(&call("P", &[("d1", "P", none)], "9111")), Some(403));
}

#[test]
fn an_explanation_names_what_decided_and_what_lost() {
    let told = call("P", &[("d1", "P", NORTH_AMERICA)], "18095550100");
    let step = told
        .steps
        .iter()
        .find(|step| step.stage == "dial policy")
        .unwrap();
    assert_eq!(step.record.as_deref(), Some("permission d1/P sip:1809*@*"));
    assert_eq!(
        step.text,
        "sip:18095550100@carrier is denied by sip:1809*@*: reason of sip:1809*@*"
    );
    let other = &step.others[0];
    assert_eq!(other.record, "permission d1/P sip:1??????????@*");
    assert_eq!(
        other.why,
        "says permit, but is less specific, or as specific as a denial"
    );
}
