//! `connection-allow-mid-call-uri-updates-enabled`: who is told, on the wire, when somebody else speaks.

use crate::wire::{CARRIER, PBX, Wire, body};
use model::{Connection, DialRule, DialRuleApplication, Domain};
use sip::message::{Message, Name};

const ABLE: &str = "Supported: from-change\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";
const UPDATE_ALONE: &str = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";
const NEITHER: &str = "Allow: INVITE, ACK, BYE, CANCEL\r\n";

/// Both allow it, the carrier is one, and both are told by P-Asserted-Identity.
fn both(pbx: &mut Connection, carrier: &mut Connection) {
    pbx.connection_allow_mid_call_uri_updates_enabled = true;
    pbx.connection_custom_p_asserted_id_format = "passerted".into();
    carrier.connection_allow_mid_call_uri_updates_enabled = true;
    carrier.connection_is_carrier_trunk = true;
    carrier.connection_translation_source_user = "+[*]".into();
    carrier.connection_translation_source_host = "us.example".into();
}

fn wire(change: impl FnOnce(&mut Connection, &mut Connection)) -> Wire {
    Wire::new(|pbx, carrier| {
        both(pbx, carrier);
        change(pbx, carrier);
    })
}

fn from(message: &Message) -> String {
    let from = message.from();
    let name = from.display.as_deref().unwrap_or("");
    format!("{name} <{}>", from.uri)
}

fn asserted(message: &Message) -> &str {
    message.header(Name::PAssertedIdentity).unwrap_or("")
}

/// The UPDATEs and re-INVITEs that somebody got.
fn news(wire: &Wire, who: &str) -> Vec<Message> {
    let mut news = wire.got(who, "UPDATE");
    let invites = wire.got(who, "INVITE").into_iter();
    news.extend(invites.filter(|invite| invite.to().tag().is_some()));
    news
}

/// The PBX has transferred its side of the call to extension 1002.
const TRANSFERRED: &str = "From: \"Ann's deputy\" <sip:1002@pbx>;tag=ann\r\n";

#[test]
fn a_transfer_on_the_pbx_is_told_to_the_carrier_where_it_allows_that() {
    for allowed in [true, false] {
        let mut wire =
            wire(|_, carrier| carrier.connection_allow_mid_call_uri_updates_enabled = allowed);
        let (invite, ok) = wire.talk(ABLE, ABLE);
        assert_eq!(invite.has_token(Name::Supported, "from-change"), allowed);
        assert!(
            ok.has_token(Name::Supported, "from-change"),
            "its own field"
        );
        wire.ask(&ok, "UPDATE", TRANSFERRED);
        assert_eq!(wire.got(PBX, "200").len(), 2);
        let told = news(&wire, CARRIER);
        if !allowed {
            assert!(told.is_empty(), "{:#?}", wire.world.ladder());
            continue;
        }
        let [update] = told.as_slice() else {
            panic!("one, not {:#?}", wire.world.ladder());
        };
        assert_eq!(from(update), "Ann's deputy <sip:+1002@us.example>");
        assert_eq!(asserted(update), "\"Ann's deputy\" <sip:+1002@us.example>");
        assert_eq!(update.from().tag(), invite.from().tag());
        assert_eq!(update.call_id(), invite.call_id());
        wire.answer(update, 200, "", false);
        // It stays so for the rest of the dialog.
        wire.ask(&ok, "BYE", TRANSFERRED);
        let bye = wire.got(CARRIER, "BYE").pop().unwrap();
        assert_eq!(bye.from().uri.as_str(), "sip:+1002@us.example");
        let cdr = wire.cdr();
        assert!(
            cdr.decisions
                .iter()
                .any(|line| line.starts_with("mid-call identity: another speaks")),
            "{:?}",
            cdr.decisions
        );
        assert!(!cdr.orig.from_uri.contains("1002"), "as at setup");
    }
}

#[test]
fn a_pbx_is_not_believed_when_it_asserts_and_a_refresh_is_no_news() {
    let mut wire = wire(|_, _| ());
    let (_, ok) = wire.talk(ABLE, ABLE);
    wire.ask(
        &ok,
        "UPDATE",
        "P-Asserted-Identity: <sip:12025550143@pbx>\r\n",
    );
    wire.ask(&ok, "UPDATE", "");
    assert!(news(&wire, CARRIER).is_empty());
}

#[test]
fn another_than_the_one_that_was_called_answers() {
    let other = format!("{ABLE}P-Asserted-Identity: \"Bob\" <sip:+13105550199@carrier>\r\n");
    for (allowed, trusted) in [(true, true), (false, true), (true, false)] {
        let mut wire = wire(|pbx, carrier| {
            pbx.connection_allow_mid_call_uri_updates_enabled = allowed;
            carrier.connection_is_carrier_trunk = trusted;
        });
        wire.talk(ABLE, &other);
        let told = news(&wire, PBX);
        if !(allowed && trusted) {
            assert!(told.is_empty(), "{:#?}", wire.world.ladder());
            continue;
        }
        let [update] = told.as_slice() else {
            panic!("one, not {:#?}", wire.world.ladder());
        };
        assert_eq!(update.method().unwrap().as_str(), "UPDATE");
        assert_eq!(from(update), "Bob <sip:13105550199@192.0.2.1>");
        assert_eq!(asserted(update), "\"Bob\" <sip:13105550199@192.0.2.1>");
        assert_eq!(update.to().tag(), Some("ann"));
        wire.pbx_answers(update, 200, false);
        assert_eq!(news(&wire, PBX).len(), 1);
    }
}

#[test]
fn the_one_that_was_called_is_no_news() {
    let mut wire = wire(|_, _| ());
    let same = format!("{ABLE}P-Asserted-Identity: <sip:+2000@carrier>\r\n");
    wire.talk(ABLE, &same);
    assert!(news(&wire, PBX).is_empty());
}

#[test]
fn a_transfer_behind_the_carrier_is_told_with_its_privacy() {
    let mut wire = wire(|_, _| ());
    let (invite, ok) = wire.talk(ABLE, ABLE);
    let lines = "P-Asserted-Identity: \"Carol\" <sip:+13105550188@carrier>\r\n";
    wire.carrier_says(&invite, "UPDATE", 1, lines);
    let update = news(&wire, PBX).pop().unwrap();
    assert_eq!(from(&update), "Carol <sip:13105550188@192.0.2.1>");
    wire.pbx_answers(&update, 200, false);

    let lines = "P-Asserted-Identity: <sip:+13105550177@carrier>\r\nPrivacy: id\r\n";
    wire.carrier_says(&invite, "UPDATE", 2, lines);
    let update = news(&wire, PBX).pop().unwrap();
    assert_eq!(from(&update), "Anonymous <sip:anonymous@anonymous.invalid>");
    assert_eq!(update.header(Name::Privacy), Some("id"));
    assert_eq!(asserted(&update), "", "the PBX may not know");
    wire.pbx_answers(&update, 200, false);
    wire.ask(&ok, "BYE", "");
}

#[test]
fn without_update_a_reinvite_and_without_from_change_the_old_from() {
    for (able, method, renamed) in [
        (UPDATE_ALONE, "UPDATE", false),
        (NEITHER, "INVITE", false),
        (ABLE, "UPDATE", true),
    ] {
        let mut wire = wire(|_, _| ());
        let (invite, ok) = wire.talk(ABLE, able);
        wire.ask(&ok, "UPDATE", TRANSFERRED);
        let told = news(&wire, CARRIER);
        let [update] = told.as_slice() else {
            panic!("one, not {:#?}", wire.world.ladder());
        };
        assert_eq!(update.method().unwrap().as_str(), method);
        assert!(asserted(update).contains("+1002"));
        assert_eq!(update.from().uri != invite.from().uri, renamed);
        if method == "INVITE" {
            assert_eq!(update.body(), invite.body(), "nothing else changes");
            wire.answer(update, 200, able, true);
            assert_eq!(wire.got(CARRIER, "ACK").len(), 2);
        }
    }
}

#[test]
fn an_offer_goes_first_and_the_identity_follows() {
    for able in [ABLE, NEITHER] {
        let mut wire = wire(|_, _| ());
        let (_, ok) = wire.talk(ABLE, able);
        let hold = body(30_000).replace(
            "Content-Length",
            "Contact: <sip:ann@198.51.100.1:5060>\r\nContent-Length",
        );
        wire.ask(&ok, "INVITE", &format!("{TRANSFERRED}{hold}"));
        let told = news(&wire, CARRIER);
        assert_eq!(told.len(), 1, "{:#?}", wire.world.ladder());
        let offer = &told[0];
        assert_eq!(asserted(offer), "");
        wire.answer(offer, 200, able, true);
        let answered = wire.got(PBX, "200").pop().unwrap();
        assert_eq!(answered.cseq().to_string(), "2 INVITE");
        wire.ask(&answered, "ACK", TRANSFERRED);
        let told = news(&wire, CARRIER);
        assert_eq!(told.len(), 2, "{:#?}", wire.world.ladder());
        let told = told.iter().find(|it| !asserted(it).is_empty()).unwrap();
        assert!(asserted(told).contains("+1002"));
    }
}

#[test]
fn what_a_dial_rule_says_of_the_caller_stays() {
    let rules: [fn(&mut DialRule); 3] = [
        |rule| rule.dial_rule_translation_source_user = "12125550100".into(),
        |rule| {
            rule.dial_rule_application = DialRuleApplication::ToConnectionAddHeader;
            rule.dial_rule_parameter = "P-Asserted-Identity: <sip:0@us.example>".into();
        },
        |rule| rule.dial_rule_application = DialRuleApplication::ToConnectionBlockCallerId,
    ];
    for (index, change) in rules.into_iter().enumerate() {
        let mut wire = Wire::with(both, |_, rule| change(rule));
        let (_, ok) = wire.talk(ABLE, ABLE);
        wire.ask(&ok, "UPDATE", TRANSFERRED);
        let told = news(&wire, CARRIER);
        if index < 2 {
            assert!(told.is_empty(), "{index}");
            continue;
        }
        // Hidden, but a carrier has to know who it is.
        assert_eq!(
            from(&told[0]),
            "Anonymous <sip:anonymous@anonymous.invalid>"
        );
        assert!(asserted(&told[0]).contains("+1002"));
        assert_eq!(told[0].header(Name::Privacy), Some("id"));
    }
}

#[test]
fn another_extension_behind_the_same_number_is_no_news() {
    let number = |domain: &mut Domain, _: &mut DialRule| {
        domain.caller_id_number = "12125550100".into();
        domain.caller_id_name = "Acme".into();
    };
    let mut wire = Wire::with(both, number);
    let (invite, ok) = wire.talk(ABLE, ABLE);
    assert_eq!(from(&invite), "Acme <sip:+12125550100@us.example>");
    wire.ask(&ok, "UPDATE", TRANSFERRED);
    assert!(news(&wire, CARRIER).is_empty());
}

#[test]
fn a_connection_without_a_format_learns_by_from_alone() {
    for (able, told) in [(ABLE, 1), (UPDATE_ALONE, 0)] {
        let mut wire = wire(|pbx, _| pbx.connection_custom_p_asserted_id_format = "none".into());
        let (invite, _) = wire.talk(able, ABLE);
        let lines = "P-Asserted-Identity: \"Carol\" <sip:+13105550188@carrier>\r\n";
        wire.carrier_says(&invite, "UPDATE", 1, lines);
        assert_eq!(news(&wire, PBX).len(), told, "{:#?}", wire.world.ladder());
        for update in news(&wire, PBX) {
            assert_eq!(from(&update), "Carol <sip:13105550188@192.0.2.1>");
            assert_eq!(asserted(&update), "");
        }
    }
}
