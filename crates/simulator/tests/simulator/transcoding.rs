//! Calls between sides without a common codec: what each of them is offered and answered, and what the relay is told.

use crate::records::{fair_world, phone, put_tenant, rule, trunk};
use media::relay::{Command, Side};
use media::sdp::{Codec, Session};
use model::{AudioRelay, Connection, EncryptedAudio};
use simulator::phone::{PhoneEvent, WhenCalled};
use simulator::world::{Action, SWITCH, TRANSCODED_CALLS, World};
use sip::message::Method;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const PBX: &str = "198.51.100.1:5060";
const CARRIER: &str = "198.51.100.2:5060";
/// Called with 3 in front; everything else goes to the carrier.
const OTHER: &str = "198.51.100.3:5060";

/// Calls from phones of a PBX to phones of a carrier, each side with codecs of its own.
struct Calls {
    world: World,
    caller: usize,
}

impl Calls {
    fn new(
        caller: &[Codec],
        called: &[Codec],
        change: impl FnOnce(&mut Connection, &mut Connection),
    ) -> Self {
        let mut calls = Self::between(caller, called, change);
        calls.plan(1, Action::Call(format!("sip:2000@{SWITCH}")));
        calls.plan(10, Action::HangUp);
        calls
    }

    fn between(
        caller: &[Codec],
        called: &[Codec],
        change: impl FnOnce(&mut Connection, &mut Connection),
    ) -> Self {
        let mut world = fair_world(11, 100);
        let (mut pbx, mut carrier) = (trunk("d1", "pbx", PBX), trunk("d1", "carrier", CARRIER));
        change(&mut pbx, &mut carrier);
        let rules = vec![rule("*", "carrier"), rule("3*", "other")];
        let connections = vec![pbx, carrier, trunk("d1", "other", OTHER)];
        put_tenant(&mut world, connections, rules, |_| Arc::default());
        let mut calls = Self { world, caller: 0 };
        calls.caller = calls.phone(PBX, "pbx", WhenCalled::RingForever, caller);
        calls.phone(
            CARRIER,
            "carrier",
            WhenCalled::Answer(Duration::from_secs(1)),
            called,
        );
        calls
    }

    fn phone(
        &mut self,
        address: &str,
        domain: &str,
        when_called: WhenCalled,
        codecs: &[Codec],
    ) -> usize {
        let sip: SocketAddr = address.parse().unwrap();
        let phone = self.world.add(phone(sip, domain, 40_000, when_called));
        self.world.speak(phone, codecs);
        phone
    }

    fn plan(&mut self, seconds: u64, action: Action) {
        let caller = self.caller;
        self.world
            .plan(Duration::from_secs(seconds), caller, action);
    }

    fn run(mut self) -> Self {
        assert!(self.world.run(Duration::from_secs(600)), "comes to rest");
        self
    }

    /// Formats of every description that was sent there in a request or a 200, in order.
    fn told(&self, address: &str, request: bool) -> Vec<String> {
        let address: SocketAddr = address.parse().unwrap();
        let sent = self.world.messages().iter();
        let mut told: Vec<String> = Vec::new();
        for message in sent
            .filter(|sent| sent.to == address)
            .filter_map(|sent| sent.message())
        {
            let wanted = match request {
                true => message.method() == Some(&Method::Invite),
                false => message.status() == Some(200),
            };
            if wanted && let Ok(session) = Session::parse(message.body()) {
                let formats = session.media[0].formats.join(" ");
                // Over UDP anything may be said twice.
                if told.last() != Some(&formats) {
                    told.push(formats);
                }
            }
        }
        told
    }

    fn offered_to_carrier(&self) -> Vec<String> {
        self.told(CARRIER, true)
    }

    fn answered_to_pbx(&self) -> Vec<String> {
        self.told(PBX, false)
    }

    fn final_status(&self) -> u16 {
        self.world.cdrs()[0].release_status
    }

    fn was_answered(&self) -> bool {
        self.world
            .events()
            .contains(&(self.caller, PhoneEvent::Answered))
    }

    /// For each order to convert: towards which side, and whether it begins or ends.
    fn conversions(&self) -> Vec<(Side, bool)> {
        let commands = self.world.orders().iter();
        let conversions = commands.filter_map(|command| match command {
            Command::Convert {
                side, conversion, ..
            } => Some((*side, conversion.is_some())),
            _ => None,
        });
        conversions.collect()
    }
}

fn events() -> Codec {
    Codec::telephone_event()
}

#[test]
fn who_shares_a_codec_is_offered_nothing_more() {
    let calls = Calls::new(
        &[Codec::PCMA, events()],
        &[Codec::opus(), Codec::G722, Codec::PCMA, events()],
        |_, _| {},
    );
    let calls = calls.run();
    assert_eq!(calls.offered_to_carrier(), ["8 101"]);
    assert_eq!(calls.answered_to_pbx(), ["8 101"]);
    assert_eq!(calls.conversions(), []);
    let media = calls.world.cdrs()[0].media.clone().expect("relayed");
    assert_eq!(media.from_orig.codec.as_deref(), Some("PCMA/8000"));
    assert_eq!(media.from_term.codec.as_deref(), Some("PCMA/8000"));
}

#[test]
fn who_has_none_of_them_is_offered_what_we_can_make() {
    for (called, number, name) in [
        (Codec::opus(), "111", "opus/48000"),
        (Codec::G722, "9", "G722/8000"),
        (Codec::PCMU, "0", "PCMU/8000"),
    ] {
        let calls = Calls::new(&[Codec::PCMA, events()], &[called, events()], |_, _| {});
        let calls = calls.run();
        assert!(calls.was_answered());
        assert_eq!(calls.offered_to_carrier(), ["8 101", "8 101 0 9 111"]);
        // The caller keeps its own.
        assert_eq!(calls.answered_to_pbx(), ["8 101"], "{number}");
        assert_eq!(calls.conversions(), [(Side::B, true), (Side::A, true)]);
        let cdr = &calls.world.cdrs()[0];
        let media = cdr.media.clone().expect("relayed");
        assert_eq!(media.from_orig.codec.as_deref(), Some("PCMA/8000"));
        assert_eq!(media.from_term.codec.as_deref(), Some(name));
        let trail = cdr.decisions.join("\n");
        assert!(
            trail.contains("488: offered again, with codecs that we convert to"),
            "{trail}"
        );
        assert!(
            calls
                .world
                .stats()
                .iter()
                .all(|shard| shard.transcoded_calls == 0)
        );
    }
}

#[test]
fn high_fidelity_is_offered_high_fidelity_first() {
    let fast_events = Codec {
        payload_type: 110,
        clock_rate_hz: 48_000,
        ..events()
    };
    let calls = Calls::new(
        &[Codec::opus(), fast_events],
        &[Codec::PCMU, events()],
        |_, _| {},
    );
    let calls = calls.run();
    assert_eq!(calls.offered_to_carrier(), ["111 110", "111 110 9 0 8 101"]);
    // Key presses are on the clock of its codec again.
    assert_eq!(calls.answered_to_pbx(), ["111 110"]);
    let answer = calls.world.messages().iter().find_map(|sent| {
        let message = sent.message().filter(|_| sent.to == PBX.parse().unwrap())?;
        let session = Session::parse(message.body()).ok()?;
        (message.status() == Some(200)).then(|| session.media[0].codec(111))
    });
    let parameters = answer.expect("an answer").parameters;
    assert_eq!(
        parameters.as_deref(),
        Some("maxplaybackrate=16000;useinbandfec=1")
    );
}

#[test]
fn what_we_cannot_make_is_refused_as_before() {
    let g729 = Codec {
        payload_type: 18,
        name: "G729".into(),
        ..Codec::PCMU
    };
    let never = |pbx: &mut Connection, _: &mut Connection| {
        pbx.connection_audio_relay_enabled = AudioRelay::Never;
    };
    for (calls, offers) in [
        // The offer cannot be converted.
        (
            Calls::new(std::slice::from_ref(&g729), &[Codec::PCMU], |_, _| {}),
            1,
        ),
        // Nobody has what it could become.
        (
            Calls::new(&[Codec::PCMU], std::slice::from_ref(&g729), |_, _| {}),
            2,
        ),
        // The media do not pass us.
        (Calls::new(&[Codec::PCMU], &[Codec::opus()], never), 1),
    ] {
        let calls = calls.run();
        assert!(!calls.was_answered());
        assert_eq!(calls.final_status(), 488);
        assert_eq!(calls.offered_to_carrier().len(), offers);
        assert_eq!(calls.world.open_relays(), 0);
    }
}

#[test]
fn the_relay_joins_where_it_was_not_needed_before() {
    let optional = |pbx: &mut Connection, carrier: &mut Connection| {
        pbx.connection_audio_relay_enabled = AudioRelay::None;
        carrier.connection_audio_relay_enabled = AudioRelay::None;
    };
    let shares = Calls::new(&[Codec::PCMA], &[Codec::PCMA], optional).run();
    assert_eq!(shares.world.orders().len(), 0);
    let calls = Calls::new(&[Codec::PCMA], &[Codec::opus()], optional).run();
    assert!(calls.was_answered());
    assert_eq!(calls.offered_to_carrier(), ["8", "8 0 9 111"]);
    assert_eq!(calls.conversions(), [(Side::B, true), (Side::A, true)]);
}

#[test]
fn pcmu_only_becomes_whatever_the_other_side_has() {
    // Towards a caller without PCMU, at once.
    for caller in [Codec::G722, Codec::opus()] {
        let own = caller.payload_type.to_string();
        let calls = Calls::new(
            &[caller, events()],
            &[Codec::PCMU, events()],
            |_, carrier| {
                carrier.connection_pcmu_only_enabled = true;
            },
        );
        let calls = calls.run();
        assert!(calls.was_answered());
        assert_eq!(calls.offered_to_carrier(), ["0 101"]);
        assert_eq!(calls.answered_to_pbx(), [format!("{own} 101")]);
        assert_eq!(calls.conversions(), [(Side::B, true), (Side::A, true)]);
    }
    // Towards a called side without PCMU and PCMA, once it has said so.
    let calls = Calls::new(
        &[Codec::PCMU, events()],
        &[Codec::opus(), events()],
        |pbx, _| {
            pbx.connection_pcmu_only_enabled = true;
        },
    );
    let calls = calls.run();
    assert!(calls.was_answered());
    assert_eq!(calls.offered_to_carrier(), ["0 8 101", "0 101 8 9 111"]);
    assert_eq!(calls.answered_to_pbx(), ["0 101"]);
}

#[test]
fn hold_and_resume_stay_converted_without_another_refusal() {
    let mut calls = Calls::new(&[Codec::PCMA], &[Codec::opus()], |_, _| {});
    calls.plan(4, Action::Hold);
    calls.plan(6, Action::Resume);
    let calls = calls.run();
    let done = PhoneEvent::OfferDone { status: 200 };
    let held = calls
        .world
        .events()
        .iter()
        .filter(|(phone, event)| *phone == calls.caller && *event == done);
    assert_eq!(held.count(), 2);
    assert_eq!(calls.offered_to_carrier(), ["8", "8 0 9 111"]);
    assert_eq!(calls.conversions(), [(Side::B, true), (Side::A, true)]);
}

#[test]
fn a_later_offer_may_begin_and_end_conversion() {
    let mut calls = Calls::new(&[Codec::PCMA], &[Codec::PCMA, Codec::opus()], |_, _| {});
    calls.world.run(Duration::from_secs(4));
    // The caller has given up the codec that both had; then it takes it back.
    for (seconds, codec) in [(5, Codec::G722), (7, Codec::PCMA)] {
        calls.world.speak(calls.caller, &[codec]);
        calls.plan(seconds, Action::Hold);
        calls.world.run(Duration::from_secs(seconds + 1));
    }
    let calls = calls.run();
    assert_eq!(calls.offered_to_carrier(), ["8", "9 111 0 8", "8"]);
    assert_eq!(
        calls.conversions(),
        [
            (Side::B, true),
            (Side::A, true),
            (Side::B, false),
            (Side::A, false)
        ]
    );
}

#[test]
fn an_offer_that_cannot_be_repeated_has_everything_at_once() {
    let mut calls = Calls::between(
        &[Codec::PCMA, events()],
        &[Codec::opus(), events()],
        |_, _| {},
    );
    calls.plan(1, Action::CallWithoutOffer(format!("sip:2000@{SWITCH}")));
    calls.plan(10, Action::HangUp);
    let calls = calls.run();
    assert!(calls.was_answered());
    // The offer of the called side reaches the caller in a 200, and its answer the called side in an ACK.
    assert_eq!(calls.answered_to_pbx(), ["111 101 9 0 8"]);
    assert_eq!(calls.conversions(), [(Side::A, true), (Side::B, true)]);
}

#[test]
fn encryption_and_conversion_go_together() {
    let offer = "m=audio {port} RTP/SAVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n\
                 a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n";
    let mut calls = Calls::new(&[], &[Codec::opus(), events()], |pbx, _| {
        pbx.connection_require_encrypted_audio_enabled = EncryptedAudio::Yes;
    });
    calls.world.describe_as(calls.caller, offer);
    let calls = calls.run();
    assert!(calls.was_answered());
    assert_eq!(calls.offered_to_carrier(), ["8 101", "8 101 0 9 111"]);
    assert_eq!(calls.answered_to_pbx(), ["8 101"]);
}

#[test]
fn only_so_many_calls_are_converted() {
    assert_eq!(TRANSCODED_CALLS, 1);
    let mut calls = Calls::between(&[Codec::PCMA], &[Codec::opus()], |_, _| {});
    let second = calls.phone(
        "198.51.100.4:5060",
        "pbx",
        WhenCalled::RingForever,
        &[Codec::PCMA],
    );
    calls.phone(
        OTHER,
        "other",
        WhenCalled::Answer(Duration::from_secs(1)),
        &[Codec::opus()],
    );
    calls.plan(1, Action::Call(format!("sip:2000@{SWITCH}")));
    calls.plan(20, Action::HangUp);
    // While the first one talks there is no place for another, and then there is.
    for (seconds, action) in [
        (5, Action::Call(format!("sip:3000@{SWITCH}"))),
        (25, Action::Call(format!("sip:3000@{SWITCH}"))),
        (30, Action::HangUp),
    ] {
        calls
            .world
            .plan(Duration::from_secs(seconds), second, action);
    }
    let calls = calls.run();
    let heard = |phone: usize| {
        let events = calls
            .world
            .events()
            .iter()
            .filter(move |(who, _)| *who == phone);
        let told = events.map(|(_, event)| event.clone());
        told.filter(|event| matches!(event, PhoneEvent::Answered | PhoneEvent::Failed { .. }))
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(calls.caller), [PhoneEvent::Answered]);
    assert_eq!(
        heard(second),
        [PhoneEvent::Failed { status: 488 }, PhoneEvent::Answered]
    );
    let places = calls
        .world
        .stats()
        .iter()
        .map(|shard| shard.transcoded_calls)
        .sum::<usize>();
    assert_eq!(places, 0, "every place is given back");
}
