//! Who calls: what a carrier is believed, what others are, and what each connection is told.

use crate::wire::Wire;
use model::{Connection, DialPlan, DialRule, DialRuleApplication, NUMBER_PLAN, RuleMatching};
use sip::message::{Message, Name};
use std::sync::Arc;
use switch::directory::SYSTEM;
use switch::{DirectoryChange, DomainPart};

const FROM_NOBODY: &str = "From: \"Anonymous\" <sip:anonymous@pbx>;tag=ann\r\n";
const ASSERTED: &str = "P-Asserted-Identity: \"Ann\" <sip:+12125550111@pbx>\r\n";
const PRIVATE: &str = "Privacy: id\r\n";

fn carriers(pbx: &mut Connection, carrier: &mut Connection) {
    pbx.connection_is_carrier_trunk = true;
    carrier.connection_is_carrier_trunk = true;
}

/// The INVITE at the carrier for one from the PBX with these lines.
fn passed(wire: &mut Wire, lines: &str) -> Message {
    wire.invite("2000", lines);
    wire.at_carrier()
}

fn identities(message: &Message) -> Vec<String> {
    [
        Name::From,
        Name::PAssertedIdentity,
        Name::RemotePartyId,
        Name::Privacy,
    ]
    .into_iter()
    .flat_map(|name| {
        message.headers(name).map(move |value| {
            let value = value.split(";tag=").next().unwrap_or(value);
            format!("{}: {value}", name.as_str())
        })
    })
    .collect()
}

#[test]
fn a_carrier_says_who_calls_and_its_privacy_is_kept() {
    let mut wire = Wire::new(carriers);
    let invite = passed(&mut wire, &[FROM_NOBODY, ASSERTED].concat());
    assert_eq!(
        identities(&invite),
        [
            "From: \"Ann\" <sip:12125550111@192.0.2.1>",
            "P-Asserted-Identity: \"Ann\" <sip:12125550111@192.0.2.1>"
        ]
    );

    let mut wire = Wire::new(carriers);
    let invite = passed(&mut wire, &[FROM_NOBODY, ASSERTED, PRIVATE].concat());
    assert_eq!(
        identities(&invite),
        [
            "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>",
            "P-Asserted-Identity: \"Ann\" <sip:12125550111@192.0.2.1>",
            "Privacy: id"
        ]
    );
    wire.answer(&invite, 486, "", false);
    wire.wait(6_000);
    let cdr = wire.cdr();
    assert_eq!(
        cdr.orig.from_uri, "sip:+12125550111@pbx",
        "the record knows"
    );
    assert_eq!(
        cdr.term.as_ref().unwrap().from_uri,
        "sip:anonymous@anonymous.invalid"
    );

    // A customer's PBX is told nothing of a hidden caller.
    let mut wire = Wire::new(|pbx, customer| {
        pbx.connection_is_carrier_trunk = true;
        customer.connection_custom_p_asserted_id_format = "passerted".into();
    });
    let invite = passed(&mut wire, &[FROM_NOBODY, ASSERTED, PRIVATE].concat());
    assert_eq!(
        identities(&invite),
        [
            "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>",
            "Privacy: id"
        ]
    );
}

#[test]
fn remote_party_id_counts_where_nothing_is_asserted() {
    let mut wire = Wire::new(carriers);
    let party = "Remote-Party-ID: <sip:+12125550122@pbx>;party=calling;privacy=full\r\n";
    let invite = passed(&mut wire, &[FROM_NOBODY, party].concat());
    assert_eq!(
        identities(&invite),
        [
            "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>",
            "P-Asserted-Identity: <sip:12125550122@192.0.2.1>",
            "Privacy: id"
        ]
    );
}

#[test]
fn others_are_taken_by_their_from_alone() {
    let mut wire = Wire::new(|_, carrier| carrier.connection_is_carrier_trunk = true);
    let invite = passed(&mut wire, &[ASSERTED, PRIVATE].concat());
    assert_eq!(
        identities(&invite),
        [
            "From: \"Ann\" <sip:1001@192.0.2.1>",
            "P-Asserted-Identity: \"Ann\" <sip:1001@192.0.2.1>"
        ]
    );
}

#[test]
fn formats_decide_what_is_written() {
    let cases: [(&str, &[&str]); 5] = [
        ("", &[]),
        (
            "passerted",
            &["P-Asserted-Identity: \"Ann\" <sip:+1001@us.example>"],
        ),
        (
            "rpid",
            &[
                "Remote-Party-ID: \"Ann\" <sip:+1001@us.example>;party=calling;screen=yes;privacy=off",
            ],
        ),
        (
            "sip:+[*]@<AppIP>",
            &["P-Asserted-Identity: \"Ann\" <sip:+1001@192.0.2.1>"],
        ),
        (
            "8005550100",
            &["P-Asserted-Identity: <sip:8005550100@us.example>"],
        ),
    ];
    for (format, expected) in cases {
        let mut wire = Wire::new(|_, carrier| {
            carrier.connection_custom_p_asserted_id_format = format.into();
            carrier.connection_system_a_assisted_id_format = Some("rpid".into());
            carrier.connection_translation_source_user = "+[*]".into();
            carrier.connection_translation_source_host = "us.example".into();
        });
        let invite = passed(&mut wire, "");
        assert_eq!(identities(&invite)[1..], *expected, "{format:?}");
    }
}

#[test]
fn a_blocked_caller_is_nobody_except_in_an_emergency() {
    for (to, hidden) in [("2000", true), ("911", false)] {
        let mut wire = Wire::with(
            |_, carrier| carrier.connection_is_carrier_trunk = true,
            |_, rule| {
                rule.dial_rule_application = DialRuleApplication::ToConnectionBlockCallerId;
            },
        );
        wire.invite(to, "");
        let invite = wire.at_carrier();
        assert_eq!(
            invite.from().uri.user() == Some("anonymous"),
            hidden,
            "{to}"
        );
        assert_eq!(invite.header(Name::Privacy).is_some(), hidden);
        assert!(invite.header(Name::PAssertedIdentity).is_some());
    }
}

/// The system's number plan with one number, delivered to this host.
fn number_plan(number: &str, host: &str) -> DirectoryChange {
    let rule = DialRule {
        domain: SYSTEM.into(),
        dial_rule_dial_plan: NUMBER_PLAN.into(),
        matching: RuleMatching::to(format!("sip:{number}@*")),
        dial_rule_application: DialRuleApplication::ToConnection,
        dial_rule_translation_destination_host: host.into(),
        ..DialRule::default()
    };
    let plan = DialPlan::new(SYSTEM, NUMBER_PLAN, "");
    let (part, problems) = DomainPart::build(SYSTEM, None, vec![], vec![plan], vec![rule], |_| {
        Arc::default()
    });
    assert!(problems.is_empty(), "{problems:?}");
    DirectoryChange::Swap(Arc::new(part))
}

#[test]
fn a_number_that_is_not_the_domains_is_replaced() {
    let with_number = |carrier: bool| {
        Wire::with(
            move |_, other| other.connection_is_carrier_trunk = carrier,
            |domain, _| {
                domain.caller_id_name = "Acme".into();
                domain.caller_id_number = "18585550100".into();
            },
        )
    };
    let own = "From: \"Ann\" <sip:+18585550100@pbx>;tag=ann\r\n";
    let foreign = "From: \"Ann\" <sip:12125550199@pbx>;tag=ann\r\n";
    let forwarded = "Diversion: <sip:18585550100@pbx>;reason=no-answer\r\n";
    let from = |invite: &Message| invite.from().uri.user().map(str::to_owned);

    let mut wire = with_number(true);
    let invite = passed(&mut wire, foreign);
    assert_eq!(from(&invite).as_deref(), Some("18585550100"));
    assert_eq!(invite.from().display.as_deref(), Some("Acme"));
    wire.answer(&invite, 486, "", false);
    wire.wait(6_000);
    assert_eq!(
        wire.cdr().orig.from_uri,
        "sip:12125550199@pbx",
        "the record keeps it"
    );

    let invite = passed(&mut with_number(true), own);
    assert_eq!(from(&invite).as_deref(), Some("+18585550100"));
    // A number that the number plan delivers to the PBX, or to its domain, is the domain's too.
    for (host, number, shown) in [
        ("pbx", "+12125550199", "+12125550199"),
        ("d1", "12125550199", "12125550199"),
        ("elsewhere", "12125550199", "18585550100"),
        ("pbx", "12125550198", "18585550100"),
    ] {
        let mut wire = with_number(true);
        wire.world.change(&number_plan("12125550199", host));
        let from_number = format!("From: <sip:{number}@pbx>;tag=ann\r\n");
        let invite = passed(&mut wire, &from_number);
        assert_eq!(from(&invite).as_deref(), Some(shown), "{host}");
    }
    // Forwarded by one of its numbers: the original caller stays, and the carrier learns who forwarded.
    let invite = passed(&mut with_number(true), &[foreign, forwarded].concat());
    assert_eq!(from(&invite).as_deref(), Some("12125550199"));
    assert_eq!(
        invite.header(Name::Diversion),
        Some("<sip:18585550100@pbx>;reason=no-answer")
    );
    // Within the tenant, extensions are extensions.
    let invite = passed(&mut with_number(false), "");
    assert_eq!(from(&invite).as_deref(), Some("1001"));
}

#[test]
fn nothing_else_tells_who_hides() {
    let personal = "Subject: Ann calling\r\nOrganization: Ann Ltd.\r\nReply-To: <sip:1001@pbx>\r\n\
                    Call-Info: <http://pbx.example/ann>;purpose=info\r\nX-Account: 7\r\n";
    let names = [
        "Subject",
        "Organization",
        "Reply-To",
        "Call-Info",
        "X-Account",
    ];
    let carried = |lines: &str| {
        let mut wire = Wire::new(carriers);
        let invite = passed(&mut wire, &[lines, personal].concat());
        names.map(|name| invite.header_by_text(name).is_some())
    };
    assert_eq!(carried(""), [true; 5]);
    assert_eq!(carried(PRIVATE), [false, false, false, false, true]);
}

#[test]
fn a_fixed_number_is_the_trunks_own_and_stands_for_hidden_callers_too() {
    let mut wire = Wire::new(|pbx, customer| {
        pbx.connection_is_carrier_trunk = true;
        customer.connection_custom_p_asserted_id_format = "8005550100".into();
    });
    let invite = passed(&mut wire, &[ASSERTED, PRIVATE].concat());
    let asserted = invite.header(Name::PAssertedIdentity);
    assert_eq!(asserted, Some("<sip:8005550100@192.0.2.1>"));
    assert_eq!(invite.from().uri.user(), Some("anonymous"));

    let mut wire = Wire::new(|pbx, carrier| {
        carriers(pbx, carrier);
        carrier.connection_custom_p_asserted_id_format = "rpid".into();
    });
    let invite = passed(&mut wire, &[ASSERTED, PRIVATE].concat());
    let party = invite.header(Name::RemotePartyId).unwrap();
    assert!(
        party.ends_with(";party=calling;screen=yes;privacy=full"),
        "{party}"
    );
    assert!(party.contains("12125550111"));
}

#[test]
fn a_plus_is_dropped_from_what_a_carrier_says_and_stays_elsewhere() {
    let from = |is_carrier: bool, lines: &str| {
        let mut wire = Wire::new(|pbx, _| pbx.connection_is_carrier_trunk = is_carrier);
        wire.invite("+13105550100", lines);
        let invite = wire.at_carrier();
        let user = |uri: &sip::message::Uri| uri.user().unwrap_or_default().to_owned();
        [
            user(invite.uri().unwrap()),
            user(&invite.to().uri),
            user(&invite.from().uri),
        ]
    };
    let called = "From: <sip:+12125550111@pbx>;tag=ann\r\n";
    assert_eq!(
        from(true, called),
        ["13105550100", "13105550100", "12125550111"]
    );
    assert_eq!(
        from(true, ASSERTED)[2],
        "12125550111",
        "of P-Asserted-Identity too"
    );
    assert_eq!(
        from(false, called),
        ["+13105550100", "+13105550100", "+12125550111"]
    );
}

#[test]
fn who_forwarded_a_call_is_told_and_its_privacy_is_kept() {
    let history = "History-Info: <sip:18585550100@pbx>;index=1, <sip:2000@sbc;cause=302?Privacy=history>;index=1.1;mp=1\r\n";
    let told = |is_carrier: bool, lines: &str| {
        let mut wire = Wire::new(|_, carrier| carrier.connection_is_carrier_trunk = is_carrier);
        let invite = passed(&mut wire, lines);
        let of = |name: Name| invite.values(name).map(str::to_owned).collect::<Vec<_>>();
        (of(Name::Diversion), of(Name::HistoryInfo))
    };
    let (diversion, entries) = told(true, history);
    assert_eq!(
        diversion,
        ["<sip:18585550100@pbx>;reason=unconditional;counter=1"]
    );
    assert_eq!(
        entries[1],
        "<sip:2000@sbc;cause=302?Privacy=history>;index=1.1;mp=1"
    );
    assert_eq!(
        entries[2],
        "<sip:2000@198.51.100.2:5060>;index=1.1.1;rc=1.1"
    );
    let (diversion, entries) = told(false, history);
    assert_eq!(diversion.len(), 1);
    assert_eq!(
        entries[1],
        "\"Anonymous\" <sip:anonymous@anonymous.invalid>;index=1.1;mp=1"
    );
    let (diversion, entries) = told(false, "Diversion: <sip:18585550100@pbx>;privacy=full\r\n");
    assert_eq!(
        diversion,
        ["\"Anonymous\" <sip:anonymous@anonymous.invalid>;privacy=full"]
    );
    assert!(entries.is_empty(), "no history is made up");
}
