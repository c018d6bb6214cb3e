//! Session timers and software names on both legs, as the records ask.

use crate::wire::{CARRIER, PBX, Wire};
use model::{Connection, SystemSwitch};
use sip::message::Name;

const PROMISE: &str = "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\n";
const ALLOWS: &str = "Allow: INVITE, UPDATE, BYE\r\nSession-Expires: 1800;refresher=uac\r\n";

fn off(pbx: &mut Connection, carrier: &mut Connection) {
    pbx.connection_sip_session_timer_enabled = SystemSwitch::No;
    carrier.connection_sip_session_timer_enabled = SystemSwitch::No;
}

#[test]
fn by_default_we_propose_half_an_hour_and_refresh() {
    let mut wire = Wire::new(|_, _| ());
    let (invite, ok) = wire.talk("", ALLOWS);
    assert_eq!(
        invite.header(Name::SessionExpires),
        Some("1800;refresher=uac")
    );
    assert_eq!(invite.header(Name::MinSe), Some("90"));
    assert_eq!(ok.header(Name::SessionExpires), Some("1800;refresher=uas"));
    wire.wait(900_500);
    let update = wire.got(CARRIER, "UPDATE").remove(0);
    assert!(update.body().is_empty());
    wire.answer(
        &update,
        200,
        "Session-Expires: 1800;refresher=uac\r\n",
        false,
    );
    // The PBX never said that it takes an UPDATE.
    let again = wire.got(PBX, "INVITE").remove(0);
    assert_eq!(again.body(), ok.body());
}

#[test]
fn a_carrier_that_died_ends_the_call() {
    let mut wire = Wire::new(off_for_pbx);
    wire.talk("", ALLOWS);
    wire.wait(935_000);
    assert_eq!(wire.got(PBX, "BYE").len(), 1);
    let bye = wire.got(PBX, "BYE").remove(0);
    assert!(bye.header(Name::Reason).is_some());
}

fn off_for_pbx(pbx: &mut Connection, _: &mut Connection) {
    pbx.connection_sip_session_timer_enabled = SystemSwitch::No;
}

#[test]
fn a_caller_that_breaks_its_promise_is_hung_up_on_both_sides() {
    for timers in [SystemSwitch::Yes, SystemSwitch::No] {
        let mut wire = Wire::new(|pbx, _| pbx.connection_sip_session_timer_enabled = timers);
        let (_, ok) = wire.talk(PROMISE, ALLOWS);
        assert_eq!(ok.header(Name::SessionExpires), Some("300;refresher=uac"));
        wire.wait(266_000);
        assert!(wire.got(CARRIER, "BYE").is_empty());
        wire.wait(3_000);
        assert_eq!(wire.got(CARRIER, "BYE").len(), 1);
        assert_eq!(wire.got(PBX, "BYE").len(), 1);
        wire.wait(40_000);
        assert_eq!(wire.cdr().release_text, "Orig: session expired");
    }
}

#[test]
fn off_means_that_nothing_is_said_and_nothing_required_is_taken() {
    let mut wire = Wire::new(off);
    let (invite, ok) = wire.talk("", "");
    for message in [&invite, &ok] {
        assert_eq!(message.header(Name::SessionExpires), None);
        assert!(!message.has_token(Name::Supported, "timer"));
    }
    let mut wire = Wire::new(off);
    wire.invite("2000", "Require: timer\r\n");
    let refused = wire.got(PBX, "420").remove(0);
    assert_eq!(refused.header(Name::Unsupported), Some("timer"));
    assert!(wire.got(CARRIER, "INVITE").is_empty());
}

#[test]
fn intervals_are_agreed_both_ways() {
    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "Supported: timer\r\nSession-Expires: 30\r\n");
    assert_eq!(
        wire.got(PBX, "422").remove(0).header(Name::MinSe),
        Some("90")
    );
    let written = wire.world.cdrs();
    assert!(
        written.is_empty(),
        "the attempt is yet to come: {written:?}"
    );

    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "");
    let invite = wire.at_carrier();
    wire.answer(&invite, 422, "Min-SE: 3600\r\n", false);
    let again = wire.at_carrier();
    assert_eq!(
        again.header(Name::SessionExpires),
        Some("3600;refresher=uac")
    );
}

#[test]
fn software_is_named_to_those_who_shall_know_it() {
    for shown in [true, false] {
        let mut wire = Wire::new(|pbx, carrier| {
            pbx.connection_include_server_header_enabled = shown;
            carrier.connection_include_server_header_enabled = shown;
        });
        let (invite, ok) = wire.talk("", "");
        wire.ask(&ok, "BYE", "");
        let bye = wire.got(CARRIER, "BYE").remove(0);
        let expected = shown.then_some(switch::SOFTWARE);
        assert_eq!(invite.header(Name::UserAgent), expected);
        assert_eq!(bye.header(Name::UserAgent), expected);
        for response in wire.got(PBX, "200") {
            assert_eq!(
                response.header(Name::Server),
                expected,
                "{}",
                response.cseq()
            );
        }
        let all = wire
            .world
            .messages()
            .iter()
            .filter(|sent| sent.from == simulator::world::SWITCH);
        let told = all.filter(|sent| String::from_utf8_lossy(&sent.bytes).contains("Strowger"));
        assert_eq!(told.count() > 0, shown);
    }
}
