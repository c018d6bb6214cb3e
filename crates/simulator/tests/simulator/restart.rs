//! Calls that outlive the process of the switch, message by message.

use crate::wire::{CARRIER, PBX, Wire};
use media::relay::{Command, Event, Side};
use media::sdp::Session;
use model::ReleaseSide;
use proptest::prelude::*;
use simulator::world::{Death, SWITCH};
use sip::message::{Message, Name};
use std::time::Duration;

const DEAD: Duration = Duration::from_secs(2);

/// The process is killed and replaced.
fn restart(wire: &mut Wire) {
    let now = wire.world.elapsed();
    wire.world.kill(now, Death::Idle, DEAD);
    wire.wait(2_500);
}

#[track_caller]
fn resumed(wire: &Wire, calls: usize) {
    let report = wire.world.restored().last().expect("a restart");
    assert_eq!((report.resumed, report.unreadable.len()), (calls, 0));
}

/// How often this was sent there since the start, with repetitions.
fn times(wire: &Wire, who: &str, what: &str) -> usize {
    let who = who.parse().unwrap();
    let messages = wire.world.messages().iter();
    messages
        .filter(|sent| sent.to == who && sent.bytes.starts_with(what.as_bytes()))
        .count()
}

/// Everything is over: one record, and nothing left of the call.
#[track_caller]
fn ended(wire: &mut Wire, text: &str) {
    wire.wait(70_000);
    assert_eq!(wire.cdr().release_text, text);
    let stats = wire.world.stats()[0];
    assert_eq!(
        (
            stats.calls,
            stats.relays,
            stats.sessions,
            stats.transactions
        ),
        (0, 0, 0, 0)
    );
    assert_eq!((wire.world.open_relays(), wire.world.journal()), (0, 0));
}

fn version(message: &Message) -> u64 {
    let session = Session::parse(message.body()).expect("a description");
    let origin = session.origin().expect("an origin");
    origin.version.parse().expect("a number")
}

#[test]
fn either_side_hangs_up_a_call_that_was_answered_before() {
    for by_caller in [true, false] {
        let mut wire = Wire::new(|_, _| ());
        let (invite, ok) = wire.talk("", "");
        wire.wait(10_000);
        restart(&mut wire);
        resumed(&wire, 1);
        wire.wait(10_000);
        if by_caller {
            wire.ask(&ok, "BYE", "");
            let bye = wire.got(CARRIER, "BYE").remove(0);
            assert_eq!(bye.to().tag(), Some("carrier"));
            assert!(bye.cseq().number > invite.cseq().number);
            wire.answer(&bye, 200, "", false);
            ended(&mut wire, "Orig: Bye");
        } else {
            wire.carrier_asks(&invite, "BYE", 1);
            let bye = wire.got(PBX, "BYE").remove(0);
            assert_eq!(bye.from().tag(), ok.to().tag());
            wire.pbx_answers(&bye, 200, false);
            ended(&mut wire, "Term: Bye");
        }
        let cdr = wire.cdr();
        assert!(
            (22_000..24_000).contains(&cdr.talk_ms()),
            "{}",
            cdr.talk_ms()
        );
        assert!(
            cdr.decisions
                .contains(&"restart: the call went on".to_owned())
        );
    }
}

#[test]
fn relays_come_back_on_their_ports_and_hear_the_last_words_again() {
    let mut wire = Wire::new(|pbx, _| pbx.connection_prevent_rtp_port_change_enabled = true);
    let (_, ok) = wire.talk("", "");
    let port = Session::parse(ok.body()).unwrap().media[0].port;
    let before: Vec<Command> = wire.world.orders().to_vec();
    restart(&mut wire);
    let after = &wire.world.orders()[before.len()..];
    let Command::Reopen { a, b, .. } = &after[0] else {
        panic!("{after:?}");
    };
    assert_eq!((a.port(), b.port()), (port, port + 2));
    // Whatever lasted, each kind once and in its last form.
    for command in &after[1..] {
        assert!(
            command.is_lasting() && before.contains(command),
            "{command:?}"
        );
    }
    for side in [Side::A, Side::B] {
        let is_remote =
            |command: &&Command| matches!(command, Command::Remote { side: of, .. } if *of == side);
        let last = before.iter().rev().find(is_remote);
        assert_eq!(after.iter().find(is_remote), last);
    }
    assert!(
        after
            .iter()
            .any(|it| matches!(it, Command::LatchOnce { side: Side::A, .. }))
    );
}

#[test]
fn how_far_sealed_streams_have_come_is_told_again() {
    let mut wire = Wire::new(|_, _| ());
    wire.talk("", "");
    let relay = match wire.world.orders().first() {
        Some(Command::Open { relay, .. }) => *relay,
        other => panic!("{other:?}"),
    };
    let (side, ssrc) = (Side::B, 7);
    for (sent, index) in [(true, 1 << 14), (false, 1 << 15), (true, 1 << 16)] {
        let event = Event::Progress {
            relay,
            side,
            sent,
            ssrc,
            index,
        };
        wire.world.media_says(0, event);
    }
    restart(&mut wire);
    let is_resume = |command: &&Command| matches!(command, Command::Resume { .. });
    let resumed: Vec<Command> = wire
        .world
        .orders()
        .iter()
        .filter(is_resume)
        .cloned()
        .collect();
    let resume = |sent, index| Command::Resume {
        relay,
        side,
        sent,
        ssrc,
        index,
    };
    assert_eq!(resumed, [resume(false, 1 << 15), resume(true, 1 << 16)]);
}

#[test]
fn an_answer_after_the_restart_completes_a_ringing_call() {
    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "");
    let invite = wire.at_carrier();
    wire.answer(&invite, 180, "", false);
    restart(&mut wire);
    resumed(&wire, 1);
    assert_eq!(times(&wire, CARRIER, "INVITE"), 1, "it has the INVITE");
    wire.answer(&invite, 200, "", true);
    assert_eq!(wire.got(CARRIER, "ACK").len(), 1);
    let ok = wire.got(PBX, "200").remove(0);
    assert_eq!(ok.to().tag(), wire.got(PBX, "180")[0].to().tag());
    wire.ask(&ok, "ACK", "");
    wire.ask(&ok, "BYE", "");
    let bye = wire.got(CARRIER, "BYE").remove(0);
    wire.answer(&bye, 200, "", false);
    ended(&mut wire, "Orig: Bye");
}

#[test]
fn an_invite_that_nobody_has_answered_is_sent_again_on_its_branch() {
    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "");
    restart(&mut wire);
    assert!(times(&wire, CARRIER, "INVITE") > 1);
    assert_eq!(wire.got(CARRIER, "INVITE").len(), 1, "to the letter");
    let invite = wire.at_carrier();
    wire.answer(&invite, 486, "", false);
    assert_eq!(wire.got(PBX, "486").len(), 1);
    wire.ask(&wire.got(PBX, "486")[0].clone(), "ACK", "");
    ended(&mut wire, "Term: Indeed");
}

#[test]
fn a_caller_may_give_up_after_the_restart() {
    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "");
    let invite = wire.at_carrier();
    wire.answer(&invite, 180, "", false);
    restart(&mut wire);
    let cancel = format!(
        "CANCEL sip:2000@{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {PBX};branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: \"Ann\" <sip:1001@pbx>;tag=ann\r\nTo: <sip:2000@{SWITCH}>\r\nCall-ID: of-ann\r\n\
         CSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n"
    );
    wire.world.say(PBX.parse().unwrap(), cancel);
    wire.wait(200);
    assert_eq!(wire.got(PBX, "487").len(), 1);
    let cancel = wire.got(CARRIER, "CANCEL").remove(0);
    assert_eq!(cancel.via().branch, invite.via().branch);
    wire.answer(&cancel, 200, "", false);
    wire.answer(&invite, 487, "", false);
    ended(&mut wire, "Orig: Cancel");
}

#[test]
fn a_repeated_invite_is_no_second_call() {
    for answered in [false, true] {
        let mut wire = Wire::new(|_, _| ());
        let first = wire.world.messages().len();
        if answered {
            wire.talk("", "");
        } else {
            wire.invite("2000", "");
            wire.answer(&wire.at_carrier(), 180, "", false);
        }
        let repeated = wire.world.messages()[first].clone();
        restart(&mut wire);
        let (trying, invites) = (
            times(&wire, PBX, "SIP/2.0 100"),
            times(&wire, CARRIER, "INVITE"),
        );
        wire.world.say(repeated.from, repeated.bytes);
        wire.wait(200);
        assert_eq!(times(&wire, CARRIER, "INVITE"), invites);
        let again = usize::from(!answered);
        assert_eq!(times(&wire, PBX, "SIP/2.0 100"), trying + again);
        assert_eq!(wire.world.stats()[0].calls, 1);
    }
}

#[test]
fn an_answer_is_repeated_until_its_ack_comes() {
    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "");
    wire.answer(&wire.at_carrier(), 200, "", true);
    let before = times(&wire, PBX, "SIP/2.0 200");
    restart(&mut wire);
    assert!(times(&wire, PBX, "SIP/2.0 200") > before);
    let ok = wire.got(PBX, "200");
    assert_eq!(ok.len(), 1, "to the letter");
    wire.ask(&ok[0], "ACK", "");
    let acknowledged = times(&wire, PBX, "SIP/2.0 200");
    wire.wait(10_000);
    assert_eq!(times(&wire, PBX, "SIP/2.0 200"), acknowledged);
    wire.ask(&ok[0], "BYE", "");
    wire.answer(&wire.got(CARRIER, "BYE")[0].clone(), 200, "", false);
    ended(&mut wire, "Orig: Bye");
}

#[test]
fn a_repeated_answer_of_the_called_side_gets_its_ack_again() {
    let mut wire = Wire::new(|_, _| ());
    let (invite, _) = wire.talk("", "");
    restart(&mut wire);
    let before = times(&wire, CARRIER, "ACK");
    wire.answer(&invite, 200, "", true);
    assert_eq!(times(&wire, CARRIER, "ACK"), before + 1);
    let acks = wire.got(CARRIER, "ACK");
    assert!(
        acks.iter()
            .all(|ack| ack.cseq().number == invite.cseq().number)
    );
    assert_eq!(wire.got(CARRIER, "BYE").len(), 0);
}

#[test]
fn a_bye_is_repeated_and_a_refusal_too() {
    let mut wire = Wire::new(|_, _| ());
    let (_, ok) = wire.talk("", "");
    wire.ask(&ok, "BYE", "");
    assert_eq!(wire.world.cdrs().len(), 1);
    let before = times(&wire, CARRIER, "BYE");
    restart(&mut wire);
    assert!(times(&wire, CARRIER, "BYE") > before);
    let bye = wire.got(CARRIER, "BYE").pop().unwrap();
    wire.answer(&bye, 200, "", false);
    ended(&mut wire, "Orig: Bye");

    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "");
    wire.answer(&wire.at_carrier(), 486, "", false);
    let before = times(&wire, PBX, "SIP/2.0 486");
    restart(&mut wire);
    assert!(times(&wire, PBX, "SIP/2.0 486") > before);
    assert_eq!(wire.got(PBX, "486").len(), 1, "to the letter");
    ended(&mut wire, "Term: Indeed");
}

#[test]
fn hold_after_the_restart_goes_on_counting() {
    let mut wire = Wire::new(|_, _| ());
    let (invite, ok) = wire.talk("", "");
    restart(&mut wire);
    wire.invite_again(&ok, 30_000, "a=sendonly\r\n");
    let offer = wire.at_carrier();
    assert_eq!(offer.to().tag(), Some("carrier"));
    assert_eq!(version(&offer), version(&invite) + 1);
    let ids = [&offer, &invite].map(|message| {
        let session = Session::parse(message.body()).unwrap();
        session.origin().unwrap().session_id.to_owned()
    });
    assert_eq!(ids[0], ids[1]);
    assert!(offer.cseq().number > invite.cseq().number);
    wire.answer(&offer, 200, "", true);
    assert_eq!(wire.got(PBX, "200").len(), 2);
}

#[test]
fn a_hold_that_was_under_way_is_answered() {
    let mut wire = Wire::new(|_, _| ());
    let (_, ok) = wire.talk("", "");
    wire.invite_again(&ok, 30_000, "a=sendonly\r\n");
    let offer = wire.at_carrier();
    restart(&mut wire);
    wire.answer(&offer, 200, "", true);
    let acks = wire.got(CARRIER, "ACK");
    assert_eq!(acks.last().unwrap().cseq().number, offer.cseq().number);
    assert_eq!(wire.got(PBX, "200").len(), 2);
}

#[test]
fn a_session_is_refreshed_at_the_time_that_was_agreed() {
    let allows = "Allow: INVITE, UPDATE, BYE\r\nSession-Expires: 1800;refresher=uac\r\n";
    let mut wire = Wire::new(|_, _| ());
    wire.talk("", allows);
    wire.wait(600_000);
    restart(&mut wire);
    wire.wait(290_000);
    assert!(wire.got(CARRIER, "UPDATE").is_empty());
    wire.wait(10_000);
    assert_eq!(wire.got(CARRIER, "UPDATE").len(), 1);
    // Nobody answers it, and the session ends when it was to end.
    ended_by(&mut wire, "Term: no response");
}

#[track_caller]
fn ended_by(wire: &mut Wire, text: &str) {
    wire.wait(100_000);
    assert_eq!(wire.cdr().release_text, text);
}

#[test]
fn places_are_taken_again_and_given_back() {
    let mut wire = Wire::new(|pbx, _| pbx.limits_max_active_calls_orig = 1);
    let (_, ok) = wire.talk("", "");
    restart(&mut wire);
    wire.world.say(
        PBX.parse().unwrap(),
        format!(
            "INVITE sip:2001@{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {PBX};branch=z9hG4bKx\r\nMax-Forwards: 70\r\n\
             From: <sip:1002@pbx>;tag=bea\r\nTo: <sip:2001@{SWITCH}>\r\nCall-ID: of-bea\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:bea@{PBX}>\r\nContent-Length: 0\r\n\r\n"
        ),
    );
    wire.wait(200);
    assert_eq!(wire.got(PBX, "503").len(), 1);
    wire.ask(&ok, "BYE", "");
    wire.wait(40_000);
    let stats = wire.world.stats()[0];
    assert_eq!(stats.calls, 0);
    wire.invite("2002", "");
    assert_eq!(wire.got(CARRIER, "INVITE").len(), 2, "there is a place");
}

#[test]
fn a_leg_that_outlasts_its_caller_lasts_no_longer() {
    let mut wire = Wire::new(|_, carrier| {
        carrier.connection_enforce_minimum_duration_enabled = true;
        carrier.minimum_call_duration_seconds = 10;
    });
    let (_, ok) = wire.talk("", "");
    wire.ask(&ok, "BYE", "");
    restart(&mut wire);
    resumed(&wire, 1);
    wire.wait(5_000);
    assert!(wire.got(CARRIER, "BYE").is_empty());
    wire.wait(4_000);
    let bye = wire.got(CARRIER, "BYE").remove(0);
    wire.answer(&bye, 200, "", false);
    ended(&mut wire, "Orig: Bye");
    assert_eq!(wire.cdr().release_side, ReleaseSide::Orig);
}

#[test]
fn a_recording_goes_on_in_another_file() {
    let mut wire = Wire::new(|pbx, _| pbx.connection_record_all_calls_enabled = true);
    let (_, ok) = wire.talk("", "");
    restart(&mut wire);
    wire.wait(3_000);
    wire.ask(&ok, "BYE", "");
    wire.answer(&wire.got(CARRIER, "BYE")[0].clone(), 200, "", false);
    ended(&mut wire, "Orig: Bye");
    let recorder = wire.world.recorder();
    assert_eq!(recorder.faults(), [""; 0]);
    let paths: Vec<String> = recorder.recordings().map(|it| it.path.clone()).collect();
    let recording = wire.cdr().recording.clone().expect("a recording");
    assert_eq!(paths.len(), 2);
    assert_eq!(recording.path, Some(format!("recordings/{}", paths[1])));
    assert!(paths[1].ends_with("-2.wav"), "{paths:?}");
    let why = recording.failure.expect("not all of it is there");
    assert!(why.contains(&paths[0]) && why.contains("part 2"), "{why}");
}

#[test]
fn a_call_whose_keys_ended_with_the_process_is_hung_up_on_both_sides() {
    let fingerprint = simulator::world::dtls_fingerprint();
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n\
         m=audio 40000 UDP/TLS/RTP/SAVP 0\r\na=setup:active\r\na=fingerprint:{fingerprint}\r\n"
    );
    let content = format!(
        "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    let mut wire = Wire::new(|_, _| ());
    let (invite, ok) = wire.talk("", "");
    // The carrier moves its media under DTLS within the call.
    let text = format!(
        "INVITE sip:{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {CARRIER};branch=z9hG4bKd\r\nMax-Forwards: 70\r\n\
         From: {};tag=carrier\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 7 INVITE\r\nContact: <sip:bob@{CARRIER}>\r\n{content}",
        invite.header(Name::To).unwrap(),
        invite.header(Name::From).unwrap(),
        invite.call_id(),
    );
    wire.world.say(CARRIER.parse().unwrap(), text);
    wire.wait(200);
    let offer = wire.got(PBX, "INVITE").remove(0);
    wire.pbx_answers(&offer, 200, true);
    assert_eq!(wire.got(CARRIER, "200").len(), 1);
    wire.carrier_says(&invite, "ACK", 7, "");
    restart(&mut wire);
    resumed(&wire, 0);
    for who in [PBX, CARRIER] {
        assert_eq!(wire.got(who, "BYE").len(), 1, "{who}");
    }
    let _ = ok;
    ended(
        &mut wire,
        "Restart: media sealed by DTLS-SRTP end with the process",
    );
    assert!(wire.cdr().answered_ms.is_some());
}

#[test]
fn a_reliable_response_is_repeated_until_its_prack_comes() {
    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "Supported: 100rel\r\n");
    let invite = wire.at_carrier();
    wire.answer(&invite, 183, "Require: 100rel\r\nRSeq: 9\r\n", true);
    let prack = wire.got(CARRIER, "PRACK").remove(0);
    let before = times(&wire, PBX, "SIP/2.0 183");
    restart(&mut wire);
    assert!(times(&wire, PBX, "SIP/2.0 183") > before);
    assert_eq!(wire.got(PBX, "183").len(), 1, "to the letter");
    let again = wire.got(CARRIER, "PRACK").pop().unwrap();
    assert_eq!(again.header(Name::RAck), prack.header(Name::RAck));
    assert!(again.cseq().number > prack.cseq().number);
    wire.answer(&again, 200, "", false);
    let progress = wire.got(PBX, "183").remove(0);
    let rack = format!(
        "RAck: {} 1 INVITE\r\n",
        progress.header(Name::RSeq).unwrap()
    );
    wire.ask(&progress, "PRACK", &rack);
    wire.answer(&invite, 200, "", false);
    let ok = wire.got(PBX, "200");
    assert_eq!(ok.last().unwrap().cseq().number, 1, "and then the answer");
}

#[test]
fn a_damaged_entry_leaves_a_record_if_that_can_be_read() {
    // The form is not known any more.
    let mut wire = Wire::new(|_, _| ());
    wire.talk("", "");
    wire.world.entries_mut().for_each(|entry| entry[0] = 99);
    restart(&mut wire);
    let report = &wire.world.restored()[0];
    assert_eq!((report.resumed, report.unreadable.len()), (0, 1));
    assert_eq!((wire.world.cdrs().len(), wire.world.journal()), (0, 0));

    // Its end is missing.
    let mut wire = Wire::new(|_, _| ());
    wire.talk("", "");
    wire.world.entries_mut().for_each(|entry| {
        entry.pop();
    });
    restart(&mut wire);
    assert_eq!(wire.world.restored()[0].unreadable.len(), 1);
    let cdr = wire.cdr();
    assert_eq!(
        cdr.release_text,
        "Restart: the journal of the call is damaged"
    );
    assert!(cdr.answered_ms.is_some() && cdr.ended_ms > cdr.started_ms);
    assert_eq!(wire.world.journal(), 0);
}

/// Entries of a call that rings, that is up, and that is being hung up.
fn entries() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut take = |wire: &mut Wire| all.extend(wire.world.entries_mut().map(|it| it.clone()));
    let records = |pbx: &mut model::Connection| pbx.connection_record_all_calls_enabled = true;
    let mut wire = Wire::new(|pbx, _| records(pbx));
    wire.invite("2000", "Supported: 100rel\r\n");
    let invite = wire.at_carrier();
    take(&mut wire);
    wire.answer(&invite, 183, "Require: 100rel\r\nRSeq: 9\r\n", true);
    take(&mut wire);
    let mut wire = Wire::new(|pbx, _| records(pbx));
    let (_, ok) = wire.talk("", "Session-Expires: 1800;refresher=uac\r\n");
    take(&mut wire);
    wire.invite_again(&ok, 30_000, "a=sendonly\r\n");
    take(&mut wire);
    wire.ask(&ok, "BYE", "");
    take(&mut wire);
    assert!(all.len() >= 5);
    all
}

/// A switch that finds this in its journal lives on, until whatever it made of it is over.
fn survives(entry: &[u8]) {
    let mut wire = Wire::new(|_, _| ());
    wire.invite("2000", "");
    wire.answer(&wire.at_carrier(), 180, "", false);
    wire.world
        .entries_mut()
        .for_each(|kept| entry.clone_into(kept));
    restart(&mut wire);
    wire.wait(400_000);
}

#[test]
fn no_change_of_a_byte_makes_it_stumble() {
    for entry in entries() {
        for at in (0..entry.len()).step_by(3) {
            let mut changed = entry.clone();
            changed[at] = changed[at].wrapping_add(1 + at as u8 % 7 * 36);
            survives(&changed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_it_stumble(mut bytes in prop::collection::vec(any::<u8>(), 0..600), known in any::<bool>()) {
        if known && !bytes.is_empty() {
            bytes[0] = 1;
        }
        survives(&bytes);
    }
}
