//! Which rules the calls of a connection meet, which connection gets them, and what it writes into the INVITE.

use crate::wire::{PBX, Wire};
use model::{Connection, DialRule, Domain};
use sip::message::Name;

const NUMBER: &str = "13105550100";

/// Request-URI, To and From of the INVITE at the carrier.
fn written(change: impl FnOnce(&mut Connection)) -> [String; 3] {
    let mut wire = Wire::new(|_, carrier| change(carrier));
    wire.invite(NUMBER, "");
    let invite = wire.at_carrier();
    let from = invite.header(Name::From).unwrap();
    [
        invite.uri().unwrap().to_string(),
        invite.header(Name::To).unwrap().to_owned(),
        from.split(";tag=").next().unwrap().to_owned(),
    ]
}

#[test]
fn without_translations_numbers_stay_and_hosts_are_the_peers_and_ours() {
    assert_eq!(
        written(|_| ()),
        [
            "sip:13105550100@198.51.100.2:5060",
            "<sip:13105550100@198.51.100.2:5060>",
            "\"Ann\" <sip:1001@192.0.2.1>"
        ]
    );
}

#[test]
fn each_translation_writes_its_own_part() {
    let plain = written(|_| ());
    let [uri, to, from] = plain.each_ref().map(String::as_str);
    let check = |expected: [&str; 3], change: fn(&mut Connection)| {
        assert_eq!(written(change), expected);
    };
    // An empty To has the host of the Request-URI, whatever wrote that.
    check(
        [
            "sip:13105550100@sbc.example",
            "<sip:13105550100@sbc.example>",
            from,
        ],
        |carrier| carrier.connection_translation_request_host = "sbc.example".into(),
    );
    check(
        ["sip:+13105550100@198.51.100.2:5060", to, from],
        |carrier| {
            carrier.connection_translation_request_user = "+[*]".into();
        },
    );
    check(
        [uri, "<sip:13105550100@carrier.example>", from],
        |carrier| {
            carrier.connection_translation_destination_host = "carrier.example".into();
        },
    );
    check(
        [uri, "<sip:0013105550100@198.51.100.2:5060>", from],
        |carrier| {
            carrier.connection_translation_destination_user = "00[*]".into();
        },
    );
    check([uri, to, "\"Ann\" <sip:1001@us.example>"], |carrier| {
        carrier.connection_translation_source_host = "us.example".into();
    });
    check([uri, to, "\"Ann\" <sip:001@192.0.2.1>"], |carrier| {
        carrier.connection_translation_source_user = "[!*]".into();
    });
}

/// Whether a call to this number reaches the carrier; else what its caller is told.
fn reaches(wire: &mut Wire, number: &str) -> Result<(), String> {
    wire.invite(number, "");
    let called = wire.got(crate::wire::CARRIER, "INVITE");
    if called
        .iter()
        .any(|invite| invite.uri().unwrap().user() == Some(number))
    {
        return Ok(());
    }
    let refused = wire.got(PBX, "404");
    Err(refused[0].status().unwrap().to_string())
}

#[test]
fn the_term_pattern_chooses_the_destinations_and_is_the_orig_pattern_where_none_is_given() {
    assert_eq!(reaches(&mut Wire::new(|_, _| ()), "4930123456"), Ok(()));

    let some_numbers = |_: &mut Connection, carrier: &mut Connection| {
        carrier.connection_term_match_pattern = "sip:1*@carrier".into();
    };
    assert_eq!(reaches(&mut Wire::new(some_numbers), NUMBER), Ok(()));
    let refused = reaches(&mut Wire::new(some_numbers), "4930123456");
    assert_eq!(refused, Err("404".into()));

    let mut other_name = Wire::with(
        |_, carrier| carrier.connection_term_match_pattern = "sip:*@gateway".into(),
        |_, rule| rule.dial_rule_translation_destination_host = "gateway".into(),
    );
    assert_eq!(reaches(&mut other_name, NUMBER), Ok(()));
}

#[test]
fn a_connection_names_the_plan_of_its_calls() {
    let of_sales = |_: &mut Domain, rule: &mut DialRule| rule.dial_rule_dial_plan = "sales".into();
    let named = |pbx: &mut Connection, _: &mut Connection| pbx.dial_plan = "sales".into();
    assert_eq!(reaches(&mut Wire::with(named, of_sales), NUMBER), Ok(()));
    // Without a name the plan is the domain's own, which is empty here.
    let refused = reaches(&mut Wire::with(|_, _| (), of_sales), NUMBER);
    assert_eq!(refused, Err("404".into()));
}

/// Whether a rule for 07:00 to 07:30 takes a call. It is noon in UTC.
fn early(change: impl FnOnce(&mut Connection), domain_zone: &str) -> bool {
    let mut wire = Wire::with(
        |pbx, _| change(pbx),
        |domain, rule| {
            domain.time_zone = domain_zone.into();
            rule.matching.start_time = "07:00".into();
            rule.matching.end_time = "07:30".into();
        },
    );
    reaches(&mut wire, NUMBER).is_ok()
}

#[test]
fn times_of_rules_are_read_in_the_zone_of_the_connection() {
    assert!(early(|pbx| pbx.time_zone = "US/Eastern".into(), "UTC"));
    assert!(!early(
        |pbx| pbx.time_zone = "US/Pacific".into(),
        "US/Eastern"
    ));
    assert!(early(|_| (), "US/Eastern"), "it has none of its own");
}

#[test]
fn an_offset_stands_for_a_zone_that_has_no_name() {
    assert!(early(|pbx| pbx.utc_offset = "-5".into(), "UTC"));
    assert!(early(|pbx| pbx.utc_offset = "-4:45".into(), "UTC"));
    assert!(!early(|pbx| pbx.utc_offset = "-5.5".into(), "US/Eastern"));
    let both = |pbx: &mut Connection| {
        pbx.time_zone = "US/Eastern".into();
        pbx.utc_offset = "3".into();
    };
    assert!(early(both, "UTC"), "a zone goes before an offset");
}
