//! Who calls: what a carrier is believed, what others are, and what each connection is told.

mod wire;

use model::{Connection, DialRuleApplication};
use sip::message::{Message, Name};
use wire::Wire;

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
