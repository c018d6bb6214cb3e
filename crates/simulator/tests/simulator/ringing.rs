//! What a caller gets before the answer.

use crate::wire::{PBX, Wire};
use model::RemoteRingback;
use sip::message::{Message, Name};

fn has_media(message: &Message) -> bool {
    !message.body().is_empty()
}

#[test]
fn early_media_pass_where_nobody_objects() {
    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "");
    assert!(
        wire.got(PBX, "180").is_empty(),
        "nobody rings before the carrier says so"
    );
    let invite = wire.at_carrier();
    wire.answer(&invite, 180, "", true);
    wire.answer(&invite, 183, "", true);
    assert!(has_media(&wire.got(PBX, "180")[0]));
    assert!(has_media(&wire.got(PBX, "183")[0]));
}

#[test]
fn ringback_hides_the_delay_after_dialling() {
    for caller_asks in [true, false] {
        let mut wire = Wire::new(|pbx, carrier| {
            let asked = if caller_asks { pbx } else { carrier };
            asked.connection_hide_post_dial_delay_with_ringback_enabled = true;
        });
        wire.invite("2000", "");
        let rings = wire.got(PBX, "180");
        assert_eq!(rings.len(), 1, "without a word of the carrier");
        assert!(!has_media(&rings[0]));
        let invite = wire.at_carrier();
        wire.answer(&invite, 486, "", false);
        assert_eq!(wire.got(PBX, "486").len(), 1);
        assert_eq!(wire.cdr().ringing_ms, None, "nobody rang in truth");
    }
}

#[test]
fn local_only_takes_early_media_away() {
    let mut wire = Wire::new(|_, carrier| {
        carrier.connection_remote_ringback_handling = RemoteRingback::LocalOnly;
    });
    wire.invite("2000", "");
    let invite = wire.at_carrier();
    wire.answer(&invite, 183, "", true);
    assert!(wire.got(PBX, "183").is_empty());
    let rings = wire.got(PBX, "180");
    assert_eq!(rings.len(), 1);
    assert!(!has_media(&rings[0]));
    wire.answer(&invite, 200, "", true);
    assert!(has_media(&wire.got(PBX, "200")[0]));
}

#[test]
fn an_answer_that_came_early_and_reliably_is_in_the_200() {
    let mut wire = Wire::new(|_, carrier| {
        carrier.connection_remote_ringback_handling = RemoteRingback::LocalOnly;
    });
    wire.invite("2000", "Supported: 100rel\r\n");
    let invite = wire.at_carrier();
    wire.answer(&invite, 183, "Require: 100rel\r\nRSeq: 1\r\n", true);
    let prack = wire.got(crate::wire::CARRIER, "PRACK").remove(0);
    wire.answer(&prack, 200, "", false);
    let ring = wire.got(PBX, "180").remove(0);
    assert!(!has_media(&ring));
    wire.ask(
        &ring,
        "PRACK",
        &format!(
            "RAck: {} 1 INVITE\r\n",
            ring.header(Name::RSeq).unwrap_or("0")
        ),
    );
    wire.answer(&invite, 200, "", false);
    let answered = wire.got(PBX, "200");
    assert!(answered.iter().any(has_media), "{:#?}", wire.world.ladder());
}

#[test]
fn no_ringback_says_nothing_before_the_answer() {
    let mut wire = Wire::new(|pbx, carrier| {
        pbx.connection_hide_post_dial_delay_with_ringback_enabled = true;
        carrier.connection_remote_ringback_handling = RemoteRingback::NoRingback;
    });
    wire.invite("2000", "");
    let invite = wire.at_carrier();
    wire.answer(&invite, 180, "", false);
    wire.answer(&invite, 183, "", true);
    assert!(wire.got(PBX, "180").is_empty() && wire.got(PBX, "183").is_empty());
    assert_eq!(wire.got(PBX, "100").len(), 1);
    wire.answer(&invite, 200, "", true);
    assert!(has_media(&wire.got(PBX, "200")[0]));
}

#[test]
fn a_180_without_description_and_a_183_with_it() {
    let bare = |_: &mut model::Connection, carrier: &mut model::Connection| {
        carrier.connection_block_media_in_sip_180_ringing = true;
    };
    let mut wire = Wire::new(bare);
    wire.invite("2000", "");
    let invite = wire.at_carrier();
    wire.answer(&invite, 180, "", true);
    wire.answer(&invite, 183, "", true);
    assert!(!has_media(&wire.got(PBX, "180")[0]));
    assert!(has_media(&wire.got(PBX, "183")[0]));

    // Reliable, so it must not get lost: it moves.
    let mut wire = Wire::new(bare);
    wire.invite("2000", "Supported: 100rel\r\n");
    let invite = wire.at_carrier();
    wire.answer(&invite, 180, "Require: 100rel\r\nRSeq: 1\r\n", true);
    let moved = &wire.got(PBX, "183")[0];
    assert!(has_media(moved) && moved.has_token(Name::Require, "100rel"));
    wire.ask(
        moved,
        "PRACK",
        &format!("RAck: {} 1 INVITE\r\n", moved.header(Name::RSeq).unwrap()),
    );
    assert!(!has_media(&wire.got(PBX, "180")[0]));
}
