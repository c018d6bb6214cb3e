//! Where calls go, by the records alone. Each test says what it checks; `Records` builds the directory.

use media::ringing_tones::RingingTone;
use model::counters::ConnectionCounters;
use model::explain::ExplainRequest;
use model::{
    Connection, DialPlan, DialRule, DialRuleApplication, Domain, MatchingHeader, RuleMatching,
    SipTransport,
};
use sip::endpoint::Interface;
use sip::message::{ByteStr, NameAddr, Uri};
use sip::transport::Transport;
use std::sync::Arc;
use switch::directory::{Directory, DirectoryChange, DomainPart};
use switch::plan::{PlanContext, Refusal, Routed, route};
use switch::source::{Attempt, SourceVerdict, identify};
use switch::trail::Trail;

/// 2026-11-20 12:00 UTC, a Friday.
const FRIDAY_NOON_MS: i64 = 1_795_176_000_000;

#[derive(Default)]
struct Records {
    connections: Vec<Connection>,
    rules: Vec<DialRule>,
    domains: Vec<Domain>,
}

impl Records {
    fn connection(
        mut self,
        domain: &str,
        orig: &str,
        change: impl FnOnce(&mut Connection),
    ) -> Self {
        let mut connection = Connection {
            domain: domain.into(),
            connection_orig_match_pattern: orig.into(),
            connection_address: "192.0.2.99".into(),
            ..Connection::default()
        };
        change(&mut connection);
        self.connections.push(connection);
        self
    }

    fn rule(
        mut self,
        domain: &str,
        plan: &str,
        to: &str,
        change: impl FnOnce(&mut DialRule),
    ) -> Self {
        let mut rule = DialRule {
            domain: domain.into(),
            dial_rule_dial_plan: plan.into(),
            matching: RuleMatching::to(to),
            dial_rule_application: DialRuleApplication::ToConnection,
            ..DialRule::default()
        };
        change(&mut rule);
        self.rules.push(rule);
        self
    }

    fn directory(self) -> Directory {
        let mut names: Vec<String> = self.connections.iter().map(|c| c.domain.clone()).collect();
        names.extend(self.rules.iter().map(|rule| rule.domain.clone()));
        names.sort();
        names.dedup();
        let mut directory = Directory::default();
        for name in names {
            let own = |domain: &String| *domain == name;
            let connections = self
                .connections
                .iter()
                .filter(|c| own(&c.domain))
                .cloned()
                .collect();
            let rules: Vec<DialRule> = self
                .rules
                .iter()
                .filter(|rule| own(&rule.domain))
                .cloned()
                .collect();
            let plans = rules
                .iter()
                .map(|rule| DialPlan::new(name.clone(), rule.dial_rule_dial_plan.clone(), ""));
            let domain = self.domains.iter().find(|d| own(&d.domain)).cloned();
            let (part, problems) = DomainPart::build(
                &name,
                domain,
                connections,
                plans.collect(),
                rules.clone(),
                |_| Arc::new(ConnectionCounters::default()),
            );
            assert!(problems.is_empty(), "{problems:?}");
            directory.apply(DirectoryChange::Swap(Arc::new(part)));
        }
        directory
    }
}

fn uri(text: &str) -> Uri {
    Uri::parse(&ByteStr::copy(text)).unwrap()
}

fn attempt(from: &str, to: &str) -> Attempt {
    Attempt {
        from: NameAddr::new(Some("Ann"), uri(from)),
        to: NameAddr::new(None, uri(to)),
        request_uri: uri(to),
        contact: Some(uri("sip:contact@203.0.113.5")),
        claims: Default::default(),
        source_ip: Some("203.0.113.5".parse().unwrap()),
    }
}

fn interfaces() -> Vec<Interface> {
    [
        ("192.0.2.1:5060", "192.0.2.1"),
        ("[2001:db8::1]:5060", "[2001:db8::1]"),
    ]
    .into_iter()
    .flat_map(|(local, advertise)| {
        [Transport::Udp, Transport::Tcp].map(|transport| Interface {
            transport,
            local: local.parse().unwrap(),
            advertise: advertise.into(),
            port: 5060,
            alternate: false,
        })
    })
    .collect()
}

fn routed(directory: &Directory, from: &str, to: &str) -> Routed {
    let attempt = attempt(from, to);
    let source = identify(directory, &attempt)
        .connection
        .expect("a connection calls");
    let context = PlanContext {
        unix_ms: FRIDAY_NOON_MS,
        interfaces: &interfaces(),
        ringback: None,
        hostname: "node1",
        draw: 0,
    };
    route(directory, &source, &attempt, context, &mut Trail::brief())
}

/// The request line, To and From a call gets, or its refusal.
fn written(directory: &Directory, from: &str, to: &str) -> Result<[String; 3], Refusal> {
    routed(directory, from, to).result.map(|plan| {
        let plan = &plan.candidates[0];
        [
            plan.request_uri.to_string(),
            plan.to.to_string(),
            plan.from.to_string(),
        ]
    })
}

/// Which connection is the caller, by its orig pattern.
fn caller(directory: &Directory, attempt: &Attempt) -> Option<String> {
    identify(directory, attempt)
        .connection
        .map(|c| c.record.connection_orig_match_pattern.clone())
}

fn pbx_and_carrier() -> Records {
    Records::default()
        .connection("d1", "sip*@acme-pbx", |c| {
            c.connection_address = "192.0.2.50:5070".into()
        })
        .connection("*", "sip*@carrier", |c| {
            c.connection_address = "198.51.100.9".into()
        })
}

const PBX: &str = "sip:1001@acme-pbx";

#[test]
fn the_host_of_a_pattern_names_the_peer_before_its_user() {
    let directory = Records::default()
        .connection("d1", "sip:1310*@*", |_| ())
        .connection("d1", "sip*@acme-pbx", |_| ())
        .connection("*", "*", |_| ())
        .directory();
    let found = |from: &str| caller(&directory, &attempt(from, "sip:1@x"));
    assert_eq!(
        found("sip:13105550100@acme-pbx").as_deref(),
        Some("sip*@acme-pbx")
    );
    assert_eq!(
        found("sip:13105550100@other").as_deref(),
        Some("sip:1310*@*")
    );
    assert_eq!(found("sip:7@other").as_deref(), Some("*"));
}

#[test]
fn between_equals_the_own_domain_wins_and_then_the_older() {
    let directory = Records::default()
        .connection("*", "sip*@acme-pbx", |_| ())
        .connection("d1", "sip*@acme-pbx", |_| ())
        .directory();
    let found = identify(&directory, &attempt(PBX, "sip:1@x"));
    assert_eq!(found.connection.unwrap().record.domain, "d1");
    assert_eq!(found.others[0].1, SourceVerdict::LessSpecific);
}

#[test]
fn each_connection_is_tested_by_the_header_it_names() {
    for (header, pattern) in [
        (MatchingHeader::From, "sip*@acme-pbx"),
        (MatchingHeader::To, "sip:2000@*"),
        (MatchingHeader::Request, "sip:2000@sbc"),
        (MatchingHeader::Contact, "sip:contact@203.0.113.5"),
    ] {
        let with = |header| {
            Records::default()
                .connection("d1", pattern, |c| {
                    c.connection_check_orig_matching_sip_header = header
                })
                .directory()
        };
        let attempt = attempt(PBX, "sip:2000@sbc");
        assert_eq!(
            caller(&with(header), &attempt).as_deref(),
            Some(pattern),
            "{header}"
        );
        let other = if header == MatchingHeader::Contact {
            MatchingHeader::From
        } else {
            MatchingHeader::Contact
        };
        assert_eq!(
            caller(&with(other), &attempt),
            None,
            "{pattern} tested by {other}"
        );
    }
}

#[test]
fn the_source_address_is_checked_where_asked_for() {
    let with = |address: &str| {
        Records::default()
            .connection("d1", "sip*@acme-pbx", |c| {
                c.connection_source_ip_checking_enabled = true;
                c.connection_address = address.into();
            })
            .directory()
    };
    let attempt = attempt(PBX, "sip:1@x");
    assert!(
        caller(&with("203.0.113.5:5099"), &attempt).is_some(),
        "the port does not count"
    );
    assert!(identify(&with("203.0.113.6"), &attempt).stopped_by_source());
    assert!(identify(&with(""), &attempt).stopped_by_source());

    let mut named = with("pbx.acme.example");
    assert!(
        identify(&named, &attempt).stopped_by_source(),
        "not resolved yet"
    );
    let addresses = Arc::from(["203.0.113.5".parse().unwrap()]);
    named.apply(DirectoryChange::Addresses {
        host: "pbx.acme.example".into(),
        addresses,
    });
    assert!(caller(&named, &attempt).is_some());
}

#[test]
fn a_disabled_connection_does_not_call() {
    let directory = Records::default()
        .connection("d1", "sip*@acme-pbx", |c| c.connection_orig_enabled = false)
        .directory();
    let found = identify(&directory, &attempt(PBX, "sip:1@x"));
    assert!(found.connection.is_none());
    assert_eq!(found.others[0].1, SourceVerdict::Disabled);
}

#[test]
fn the_example_of_an_outbound_carrier() {
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "sip:1??????????@*", |rule| {
            rule.dial_rule_translation_destination_host = "a.carrier.example".into();
        })
        .connection("*", "sip*@a.carrier.example", |c| {
            c.connection_address = "a.carrier.example".into();
            c.connection_translation_request_user = "+[*]".into();
            c.connection_translation_destination_user = "+[*]".into();
            c.connection_translation_source_user = "+[*]".into();
            c.connection_translation_source_host = "sip.us.example".into();
        })
        .directory();
    assert_eq!(
        written(
            &directory,
            "sip:12125550111@acme-pbx",
            "sip:13105550100@sbc"
        )
        .unwrap(),
        [
            "sip:+13105550100@a.carrier.example",
            "<sip:+13105550100@a.carrier.example>",
            "\"Ann\" <sip:+12125550111@sip.us.example>",
        ]
    );
}

#[test]
fn empty_translations_have_their_defaults() {
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_translation_destination_host = "carrier".into()
        })
        .directory();
    assert_eq!(
        written(&directory, PBX, "sip:2000@sbc").unwrap(),
        [
            "sip:2000@198.51.100.9",
            "<sip:2000@198.51.100.9>",
            "\"Ann\" <sip:1001@192.0.2.1>"
        ]
    );
}

#[test]
fn two_quotes_are_an_empty_translation() {
    let directory = pbx_and_carrier()
        .connection("*", "sip*@quoted", |c| {
            c.connection_translation_request_user = "''".into();
            c.connection_translation_destination_host = "''".into();
        })
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_translation_destination_host = "quoted".into()
        })
        .directory();
    assert_eq!(
        written(&directory, PBX, "sip:2000@sbc").unwrap()[0],
        "sip:2000@192.0.2.99"
    );
}

#[test]
fn tokens_name_domain_and_address() {
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_translation_destination_host = "carrier".into();
            rule.dial_rule_translation_source_user = "main".into();
            rule.dial_rule_translation_source_host = "<OwnDomain>".into();
            rule.dial_rule_translation_source_name = "<Null>".into();
        })
        .connection("*", "sip*@carrier2", |_| ())
        .directory();
    let from = &written(&directory, PBX, "sip:2000@sbc").unwrap()[2];
    // The rule's host is what `[*]` would give; an empty source host is our own address.
    assert_eq!(from, "<sip:main@192.0.2.1>");
}

#[test]
fn the_most_specific_rule_takes_the_call() {
    let host = |name: &str| {
        let name = name.to_owned();
        move |rule: &mut DialRule| rule.dial_rule_translation_destination_host = name
    };
    let mut records = pbx_and_carrier();
    for name in ["exact", "prefix", "shape", "domain", "any"] {
        records = records.connection("d1", &format!("sip*@{name}"), |_| ());
    }
    let directory = records
        .rule("d1", "d1", "*", host("any"))
        .rule("d1", "d1", "sip:*@sbc", host("domain"))
        .rule("d1", "d1", "sip:1??????????@*", host("shape"))
        .rule("d1", "d1", "sip:1310*@*", host("prefix"))
        .rule("d1", "d1", "sip:13105551234@*", host("exact"))
        .directory();
    for (number, expected) in [
        ("13105551234@sbc", "exact"),
        ("13105551235@sbc", "prefix"),
        ("12125551234@sbc", "shape"),
        ("+13105551234@sbc", "exact"),
        ("99@sbc", "domain"),
        ("99@elsewhere", "any"),
    ] {
        let plan = routed(&directory, PBX, &format!("sip:{number}"))
            .result
            .unwrap();
        let plan = &plan.candidates[0];
        assert_eq!(plan.target.orig.literal_host(), Some(expected), "{number}");
    }
}

#[test]
fn a_rule_for_the_caller_beats_one_for_all() {
    let directory = pbx_and_carrier()
        .connection("d1", "sip*@chief", |_| ())
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_translation_destination_host = "carrier".into()
        })
        .rule("d1", "d1", "*", |rule| {
            rule.matching.from_uri = "sip:1001@d1".into();
            rule.dial_rule_translation_destination_host = "chief".into();
        })
        .directory();
    let target = |from: &str| {
        routed(&directory, from, "sip:5@sbc")
            .result
            .unwrap()
            .candidates[0]
            .target
            .label()
    };
    assert_eq!(target("sip:1001@acme-pbx"), "connection d1/sip*@chief");
    assert_eq!(target("sip:1002@acme-pbx"), "connection */sip*@carrier");
}

#[test]
fn disabled_rules_and_rules_of_another_time_are_passed_over() {
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "sip:5@*", |rule| {
            rule.enabled = false;
            rule.dial_rule_application = DialRuleApplication::Hangup;
        })
        .rule("d1", "d1", "sip:[5]@*", |rule| {
            rule.matching.day_of_week = "6".into();
            rule.dial_rule_application = DialRuleApplication::Hangup;
        })
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_translation_destination_host = "carrier".into()
        })
        .directory();
    assert!(written(&directory, PBX, "sip:5@sbc").is_ok());
}

#[test]
fn times_are_those_of_the_connections_zone() {
    let with = |zone: &str| {
        pbx_and_carrier()
            .connection("d1", "sip*@far-pbx", |c| c.time_zone = zone.into())
            .rule("d1", "d1", "*", |rule| {
                rule.matching.start_time = "07:00".into();
                rule.matching.end_time = "07:30".into();
                rule.dial_rule_translation_destination_host = "carrier".into();
            })
            .directory()
    };
    assert!(
        written(&with("US/Eastern"), "sip:1@far-pbx", "sip:5@sbc").is_ok(),
        "noon UTC is 7:00 in New York"
    );
    assert!(written(&with("UTC"), "sip:1@far-pbx", "sip:5@sbc").is_err());
}

#[test]
fn plans_chain_with_what_the_rule_wrote() {
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "sip:9*@*", |rule| {
            rule.dial_rule_application = DialRuleApplication::chain("Outside");
            rule.dial_rule_translation_destination_user = "[!*]".into();
        })
        .rule("*", "Outside", "sip:123@*", |rule| {
            rule.dial_rule_translation_destination_host = "carrier".into()
        })
        .directory();
    assert_eq!(
        written(&directory, PBX, "sip:9123@sbc").unwrap()[0],
        "sip:123@198.51.100.9"
    );
}

#[test]
fn a_circle_of_plans_is_a_loop() {
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_application = DialRuleApplication::chain("d1")
        })
        .directory();
    assert_eq!(
        written(&directory, PBX, "sip:1@sbc").unwrap_err().status,
        482
    );
}

#[test]
fn refusals_have_their_status() {
    let hangup = |parameter: &str| {
        let parameter = parameter.to_owned();
        move |rule: &mut DialRule| {
            rule.dial_rule_application = DialRuleApplication::Hangup;
            rule.dial_rule_parameter = parameter;
        }
    };
    let application =
        |application| move |rule: &mut DialRule| rule.dial_rule_application = application;
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "1", hangup(""))
        .rule("d1", "d1", "2", hangup("486"))
        .rule("d1", "d1", "3", hangup("nonsense"))
        .rule(
            "d1",
            "d1",
            "4",
            application(DialRuleApplication::AvailableNumber),
        )
        .rule("d1", "d1", "5", application(DialRuleApplication::ToUser))
        .rule(
            "d1",
            "d1",
            "6",
            application(DialRuleApplication::Other("sip:start@nowhere".into())),
        )
        .rule(
            "d1",
            "d1",
            "7",
            application(DialRuleApplication::chain("Missing")),
        )
        .rule("d1", "d1", "8", |rule| {
            rule.dial_rule_translation_destination_host = "nobody".into()
        })
        .directory();
    for (number, status) in [
        (1, 403),
        (2, 486),
        (3, 603),
        (4, 404),
        (5, 404),
        (6, 501),
        (7, 404),
        (8, 404),
        (9, 404),
    ] {
        let refusal = written(&directory, PBX, &format!("sip:{number}@sbc")).unwrap_err();
        assert_eq!(refusal.status, status, "{number}: {}", refusal.text);
    }
}

#[test]
fn a_plan_may_say_what_becomes_of_the_unknown() {
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "sip:5@*", |_| ())
        .rule("d1", "d1", "ToUserNotFound", |rule| {
            rule.dial_rule_translation_destination_host = "carrier".into()
        })
        .directory();
    assert!(written(&directory, PBX, "sip:77@sbc").is_ok());
}

#[test]
fn a_locked_domain_calls_nobody_and_is_called_by_nobody_but_for_emergencies() {
    let directory = |locked| {
        let mut records = pbx_and_carrier()
            .connection("*", "sip*@192.0.2.20", |c| c.dial_plan = "Numbers".into())
            .rule("*", "Numbers", "sip:13105550100@*", |rule| {
                rule.dial_rule_translation_destination_host = "acme-pbx".into()
            })
            .rule("d1", "d1", "*", |rule| {
                rule.dial_rule_translation_destination_user = "[*]".into();
                rule.dial_rule_translation_destination_host = "carrier".into()
            });
        records.domains.push(Domain {
            domain: "d1".into(),
            is_domain_locked: locked,
            ..Domain::default()
        });
        records.directory()
    };
    let calls = [
        (PBX, "sip:13105550199@sbc"),
        ("sip:12125550111@192.0.2.20", "sip:13105550100@sbc"),
    ];
    for (from, to) in calls {
        assert!(written(&directory(false), from, to).is_ok(), "{to}");
        let refusal = written(&directory(true), from, to).unwrap_err();
        assert_eq!((refusal.status, &*refusal.text), (403, "Domain locked"));
    }
    assert!(written(&directory(true), PBX, "sip:911@sbc").is_ok());
}

#[test]
fn a_tenants_connection_is_out_of_reach_for_other_tenants() {
    let directory = pbx_and_carrier()
        .connection("d2", "sip*@secret-pbx", |_| ())
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_translation_destination_host = "secret-pbx".into()
        })
        .directory();
    assert_eq!(
        written(&directory, PBX, "sip:1@sbc").unwrap_err().status,
        404
    );
}

#[test]
fn a_carrier_reaches_the_pbx_that_a_number_names_and_the_call_is_the_tenants() {
    let directory = pbx_and_carrier()
        .connection("*", "sip*@192.0.2.20", |c| {
            c.dial_plan = "Numbers".into();
            c.connection_is_carrier_trunk = true;
        })
        .connection("d3", "sip*@*", |_| ())
        .rule("*", "Numbers", "sip:13105550100@*", |rule| {
            rule.dial_rule_translation_destination_host = "acme-pbx".into()
        })
        .rule("*", "Numbers", "sip:13105550101@*", |rule| {
            rule.dial_rule_translation_destination_host = "nobody".into()
        })
        .directory();
    let to_pbx = routed(
        &directory,
        "sip:+12125550111@192.0.2.20",
        "sip:+13105550100@sbc",
    );
    assert_eq!(to_pbx.domain, "d1");
    let plan = to_pbx.result.unwrap().candidates.remove(0);
    assert_eq!(
        plan.request_uri.as_str(),
        "sip:13105550100@192.0.2.50:5070",
        "a carrier's + is dropped"
    );
    assert_eq!(plan.from.uri.user(), Some("12125550111"));
    // A tenant's catch-all must not swallow what carriers bring.
    assert!(
        routed(&directory, "sip:1@192.0.2.20", "sip:13105550101@sbc")
            .result
            .is_err()
    );
}

#[test]
fn the_call_never_goes_back_where_it_came_from() {
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_translation_destination_host = "acme-pbx".into()
        })
        .directory();
    assert_eq!(
        written(&directory, PBX, "sip:1@sbc").unwrap_err().text,
        "No Connection"
    );
}

#[test]
fn a_target_that_takes_no_calls_is_passed_over() {
    let directory = Records::default()
        .connection("d1", "sip*@acme-pbx", |_| ())
        .connection("*", "sip*@gateway", |c| c.connection_term_enabled = false)
        .connection("*", "sip*@gate*", |c| {
            c.connection_address = "198.51.100.10".into()
        })
        .connection("*", "sip:*@gateway", |c| {
            c.connection_address = String::new()
        })
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_translation_destination_host = "gateway".into()
        })
        .directory();
    assert_eq!(
        written(&directory, PBX, "sip:1@sbc").unwrap()[0],
        "sip:1@198.51.100.10"
    );
}

#[test]
fn transport_and_family_choose_our_address() {
    let directory = pbx_and_carrier()
        .connection("*", "sip*@tcp", |c| {
            c.connection_sip_transport_protocol = SipTransport::Tcp
        })
        .connection("*", "sip*@six", |c| {
            c.connection_address = "[2001:db8::9]:5062".into()
        })
        .connection("*", "sip*@tls", |c| {
            c.connection_sip_transport_protocol = SipTransport::Tls
        })
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_translation_destination_host = "[*]".into()
        })
        .directory();
    let plan = |host: &str| {
        let routed = routed(&directory, PBX, &format!("sip:1@{host}"));
        routed.result.map(|mut plan| plan.candidates.remove(0))
    };
    assert_eq!(
        (
            plan("tcp").unwrap().transport,
            plan("tcp").unwrap().interface
        ),
        (Transport::Tcp, 1)
    );
    let six = plan("six").unwrap();
    assert_eq!(six.interface, 2);
    assert_eq!(six.request_uri.as_str(), "sip:1@[2001:db8::9]:5062");
    assert_eq!(six.from.uri.host(), "[2001:db8::1]");
    assert_eq!(plan("tls").unwrap_err().status, 503);
}

#[test]
fn a_blocked_caller_is_anonymous() {
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_application = DialRuleApplication::ToConnectionBlockCallerId;
            rule.dial_rule_translation_destination_host = "carrier".into();
        })
        .directory();
    let plan = routed(&directory, PBX, "sip:1@sbc")
        .result
        .unwrap()
        .candidates
        .remove(0);
    assert_eq!(
        plan.from.to_string(),
        "\"Anonymous\" <sip:anonymous@anonymous.invalid>"
    );
    assert_eq!(plan.headers, [("Privacy".to_owned(), "id".to_owned())]);
}

#[test]
fn a_rule_adds_its_header_but_none_that_routing_depends_on() {
    let with = |parameter: &str| {
        let parameter = parameter.to_owned();
        pbx_and_carrier()
            .rule("d1", "d1", "*", |rule| {
                rule.dial_rule_application = DialRuleApplication::ToConnectionAddHeader;
                rule.dial_rule_parameter = parameter;
                rule.dial_rule_translation_destination_host = "carrier".into();
            })
            .directory()
    };
    let headers = |parameter: &str| {
        routed(&with(parameter), PBX, "sip:7@sbc")
            .result
            .unwrap()
            .candidates
            .remove(0)
            .headers
    };
    assert_eq!(
        headers("P-Charge-Info: <LT>sip:[*]@<AppIP><GT>"),
        [("P-Charge-Info".to_owned(), "<sip:7@192.0.2.1>".to_owned())]
    );
    assert_eq!(headers("Via: SIP/2.0/UDP evil"), []);
    assert_eq!(headers("no header"), []);
}

#[test]
fn a_change_of_one_domain_leaves_the_others() {
    let mut directory = pbx_and_carrier().directory();
    let part = |connections| {
        let (part, _) = DomainPart::build("d1", None, connections, Vec::new(), Vec::new(), |_| {
            Arc::default()
        });
        DirectoryChange::Swap(Arc::new(part))
    };
    directory.apply(part(vec![Connection {
        domain: "d1".into(),
        connection_orig_match_pattern: "sip*@new-pbx".into(),
        ..Connection::default()
    }]));
    assert_eq!(caller(&directory, &attempt(PBX, "sip:1@x")), None);
    assert!(caller(&directory, &attempt("sip:1@new-pbx", "sip:1@x")).is_some());
    assert!(caller(&directory, &attempt("sip:1@carrier", "sip:1@x")).is_some());
    directory.apply(DirectoryChange::Remove("d1".into()));
    assert_eq!(directory.connection_count(), 1);
}

#[test]
fn an_explanation_names_winner_losers_and_outcome() {
    let directory = pbx_and_carrier()
        .rule("d1", "d1", "*", |rule| {
            rule.dial_rule_application = DialRuleApplication::Hangup
        })
        .rule("d1", "d1", "sip:1*@*", |rule| {
            rule.dial_rule_translation_destination_host = "carrier".into()
        })
        .directory();
    let request = ExplainRequest {
        from: PBX.into(),
        to: "sip:13105550100@sbc".into(),
        ..ExplainRequest::default()
    };
    let context = PlanContext {
        unix_ms: FRIDAY_NOON_MS,
        interfaces: &interfaces(),
        ringback: RingingTone::of_country("us").ok(),
        hostname: "node1",
        draw: 0,
    };
    let told = switch::explain(&directory, &request, context).unwrap();
    let stages: Vec<&str> = told.steps.iter().map(|step| step.stage.as_str()).collect();
    assert_eq!(
        stages,
        [
            "source",
            "dial plan",
            "dial rule",
            "translate called",
            "target",
            "write",
            "media",
            "ringing"
        ]
    );
    assert_eq!(
        told.steps[7].text,
        "early media are heard; our tone (us, 440 + 480 Hz) where a 180 without media follows them"
    );
    assert_eq!(
        told.steps[0].record.as_deref(),
        Some("connection d1/sip*@acme-pbx")
    );
    let loser = &told.steps[2].others[0];
    assert_eq!(
        (loser.record.as_str(), loser.why.as_str()),
        ("dial rule d1/d1 *", "matches too, but less specifically")
    );
    assert_eq!(
        told.request[0],
        "INVITE sip:13105550100@198.51.100.9 SIP/2.0"
    );
    assert_eq!(told.next_hop.as_deref(), Some("198.51.100.9 over UDP"));

    let nobody = ExplainRequest {
        from: "sip:x@unknown".into(),
        to: "sip:1@y".into(),
        ..ExplainRequest::default()
    };
    assert_eq!(
        switch::explain(&directory, &nobody, context)
            .unwrap()
            .refused_with,
        Some(403)
    );
    let bad = ExplainRequest {
        from: "::".into(),
        to: "sip:1@y".into(),
        ..ExplainRequest::default()
    };
    assert_eq!(
        switch::explain(&directory, &bad, context)
            .unwrap_err()
            .field,
        "from"
    );
    let assumed = ExplainRequest {
        connection: Some("sip*@carrier".into()),
        ..nobody
    };
    assert_eq!(
        switch::explain(&directory, &assumed, context)
            .unwrap()
            .refused_with,
        Some(404)
    );
}

#[test]
fn ten_thousand_numbers_are_found_by_index() {
    let mut records = pbx_and_carrier();
    for number in 0..10_000 {
        records = records.rule("d1", "d1", &format!("sip:1310{number:07}@*"), |rule| {
            rule.dial_rule_translation_destination_user = "main".into();
            rule.dial_rule_translation_destination_host = "carrier".into();
        });
    }
    let directory = records.directory();
    assert_eq!(
        written(&directory, PBX, "sip:13100009999@sbc").unwrap()[0],
        "sip:main@198.51.100.9"
    );
}
