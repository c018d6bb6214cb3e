//! `connection-record-all-calls-enabled`, seen by the far ends, the recorder and the call's record.

use crate::wire::{CARRIER, PBX, Wire, body_with};
use model::{AudioRelay, CdrRecording, Connection};
use simulator::recorder::{Mood, Recording};
use sip::message::Message;
use std::time::Duration;

fn records(connection: &mut Connection) {
    connection.connection_record_all_calls_enabled = true;
}

fn recordings(wire: &Wire) -> Vec<Recording> {
    assert_eq!(wire.world.recorder().faults(), [""; 0]);
    wire.world.recorder().recordings().cloned().collect()
}

fn recorded(wire: &Wire) -> CdrRecording {
    wire.cdr().recording.clone().expect("a recording")
}

/// Where the audio of a description goes.
fn audio_address(message: &Message) -> String {
    let body = String::from_utf8_lossy(message.body()).into_owned();
    let host = body.lines().find_map(|line| line.strip_prefix("c=IN IP4 "));
    host.expect("an address").to_owned()
}

/// A call of ten seconds, answered after the second that it takes to be sent.
fn ten_seconds(wire: &mut Wire) -> (Message, Message) {
    let (invite, ok) = wire.talk("", "");
    wire.wait(10_000);
    wire.ask(&ok, "BYE", "");
    let bye = wire.got(CARRIER, "BYE").pop().expect("hung up");
    wire.answer(&bye, 200, "", false);
    wire.wait(1_000);
    (invite, ok)
}

#[test]
fn an_answered_call_is_recorded_whichever_side_asks() {
    for caller in [true, false] {
        let mut wire = Wire::new(|pbx, carrier| records(if caller { pbx } else { carrier }));
        ten_seconds(&mut wire);
        let recordings = recordings(&wire);
        assert_eq!(recordings.len(), 1);
        assert_eq!(recordings[0].relays.len(), 1, "one file, one relay");
        let cdr = wire.cdr();
        let recorded = recorded(&wire);
        let path = format!("d1/2026-11-20/{}.wav", cdr.id);
        assert_eq!(recordings[0].path, path);
        assert_eq!(recorded.path, Some(format!("recordings/{path}")));
        assert_eq!(recorded.owner, "domain@d1");
        assert_eq!(recorded.failure, None);
        assert_eq!(recorded.duration_ms as i64, cdr.talk_ms());
    }
}

#[test]
fn nobody_asks_and_nothing_is_recorded() {
    let mut wire = Wire::new(|_, _| ());
    ten_seconds(&mut wire);
    assert!(recordings(&wire).is_empty());
    assert_eq!(wire.cdr().recording, None);
}

#[test]
fn a_call_that_is_not_answered_is_not_recorded() {
    let mut wire = Wire::new(|pbx, _| records(pbx));
    wire.invite("2000", "");
    let invite = wire.at_carrier();
    wire.answer(&invite, 183, "", true);
    wire.answer(&invite, 486, "", false);
    wire.wait(1_000);
    assert!(recordings(&wire).is_empty());
    assert_eq!(wire.cdr().recording, None);
}

#[test]
fn recording_needs_the_relay_even_where_there_is_to_be_none() {
    for relay in [AudioRelay::Never, AudioRelay::None] {
        let both = |pbx: &mut Connection, carrier: &mut Connection| {
            pbx.connection_audio_relay_enabled = relay;
            carrier.connection_audio_relay_enabled = relay;
        };
        let mut plain = Wire::new(both);
        let (invite, ok) = ten_seconds(&mut plain);
        let ends = [audio_address(&invite), audio_address(&ok)];
        assert_eq!(ends, ["198.51.100.9", "198.51.100.9"], "{relay:?}");

        let mut wire = Wire::new(|pbx, carrier| {
            both(pbx, carrier);
            records(carrier);
        });
        let (invite, ok) = ten_seconds(&mut wire);
        let ends = [audio_address(&invite), audio_address(&ok)];
        assert_eq!(ends, ["192.0.2.1", "192.0.2.1"], "{relay:?}");
        assert_eq!(recordings(&wire).len(), 1);
    }
}

#[test]
fn it_belongs_to_the_linked_billing_user() {
    let mut wire = Wire::new(|pbx, carrier| {
        records(carrier);
        pbx.connection_linked_billing_user = "1001".into();
        carrier.connection_linked_billing_user = "2002@other.example".into();
    });
    ten_seconds(&mut wire);
    let recorded = recorded(&wire);
    assert_eq!(recorded.owner, "2002@other.example");
    let path = recorded.path.expect("a file");
    assert!(
        path.starts_with("recordings/other.example/2026-11-20/"),
        "{path}"
    );

    let mut wire = Wire::new(|pbx, carrier| {
        records(pbx);
        records(carrier);
        pbx.connection_linked_billing_user = "1001".into();
    });
    ten_seconds(&mut wire);
    assert_eq!(
        self::recorded(&wire).owner,
        "1001@d1",
        "the side that called goes first"
    );
}

#[test]
fn a_renewed_session_goes_into_the_same_file() {
    let mut wire = Wire::new(|pbx, _| records(pbx));
    let (_, ok) = wire.talk("", "");
    wire.wait(1_000);
    // The caller holds: the same lines, nothing to be sent.
    wire.invite_again(&ok, 30_000, "a=inactive\r\n");
    let again = wire.at_carrier();
    wire.answer(&again, 200, "", true);
    let ok = wire.got(PBX, "200").pop().expect("agreed");
    wire.ask(&ok, "ACK", "");
    wire.wait(2_000);
    wire.ask(&ok, "BYE", "");
    wire.wait(1_000);
    let recordings = recordings(&wire);
    assert_eq!(recordings.len(), 1);
    assert_eq!(recordings[0].relays.len(), 1);
    assert!(recorded(&wire).duration_ms >= 3_000);
}

#[test]
fn audio_that_moves_to_another_line_is_followed() {
    let mut wire = Wire::new(|pbx, _| records(pbx));
    let (_, ok) = wire.talk("", "");
    let second = |port: u16| format!("m=audio {port} RTP/AVP 0\r\n");
    wire.invite_again(&ok, 0, &second(30_002));
    let again = wire.at_carrier();
    assert_eq!(
        recordings(&wire)[0].relays.len(),
        1,
        "not before it is agreed"
    );
    wire.answer_with(&again, 200, "", &body_with(0, &second(40_002)));
    let ok = wire.got(PBX, "200").pop().expect("agreed");
    wire.ask(&ok, "ACK", "");
    wire.wait(1_000);
    let during = recordings(&wire);
    assert_eq!((during.len(), during[0].relays.len()), (1, 2));
    assert_eq!(during[0].heard, Some(during[0].relays[1]));
    wire.ask(&ok, "BYE", "");
    wire.wait(1_000);
    assert_eq!(recorded(&wire).failure, None);
}

#[test]
fn what_cannot_be_recorded_goes_on_without_and_says_why() {
    let mut wire = Wire::new(|pbx, _| records(pbx));
    wire.world.recorder_mut().mood = Mood::Refuses("less than 1024 MiB are free".into());
    let (_, ok) = ten_seconds(&mut wire);
    assert_eq!(ok.status(), Some(200));
    assert_eq!(wire.cdr().talk_ms() / 1_000, 10);
    let expected = CdrRecording {
        path: None,
        owner: "domain@d1".into(),
        duration_ms: 0,
        failure: Some("less than 1024 MiB are free".into()),
    };
    assert_eq!(recorded(&wire), expected);
}

#[test]
fn a_disk_that_fills_up_ends_the_recording_and_not_the_call() {
    let mut wire = Wire::new(|pbx, _| records(pbx));
    let (_, ok) = wire.talk("", "");
    wire.wait(4_000);
    wire.world.fail_recordings("no space left on the disk");
    assert_eq!(recordings(&wire)[0].heard, None, "the relay is told");
    wire.wait(4_000);
    assert!(wire.got(CARRIER, "BYE").is_empty());
    wire.ask(&ok, "BYE", "");
    wire.wait(1_000);
    let recorded = recorded(&wire);
    assert_eq!(
        recorded.failure.as_deref(),
        Some("no space left on the disk")
    );
    assert!(
        (4_000..5_000).contains(&recorded.duration_ms),
        "{recorded:?}"
    );
    assert!(recorded.path.is_some());
    assert!(wire.cdr().talk_ms() > 8_000);
}

#[test]
fn a_recorder_that_hangs_does_not_keep_the_record_back_for_ever() {
    let mut wire = Wire::new(|pbx, _| records(pbx));
    wire.world.recorder_mut().mood = Mood::Hangs;
    let (_, ok) = wire.talk("", "");
    wire.wait(1_000);
    wire.ask(&ok, "BYE", "");
    wire.wait(1_000);
    assert!(wire.world.cdrs().is_empty());
    wire.wait(1_000 * switch::STATISTICS_WAIT_SECONDS);
    let recorded = recorded(&wire);
    assert!(recorded.path.is_some());
    assert_eq!(
        recorded.failure.as_deref(),
        Some("the recorder did not report in time")
    );
    assert!(wire.world.run(Duration::from_secs(600)));
    let left: usize = wire
        .world
        .stats()
        .iter()
        .map(|stats| stats.recordings)
        .sum();
    assert_eq!(left, 0);
}

#[test]
fn the_trail_names_the_connection_that_asks() {
    let mut wire = Wire::new(|_, carrier| records(carrier));
    ten_seconds(&mut wire);
    let decisions = wire.cdr().decisions.join("\n");
    assert!(
        decisions.contains("recording") && decisions.contains("sip*@carrier"),
        "{decisions}"
    );
}
