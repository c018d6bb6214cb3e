//! What a caller gets before the answer.

use crate::wire::{CARRIER, PBX, Wire};
use media::g711;
use media::relay::{
    Command, Datagram, Opening, RINGBACK_AFTER, RelayTable, SocketKey, Sockets, Verdict,
};
use media::rtp::{Header, Packet};
use media::tone::tone_share;
use model::{AudioRelay, Connection, RemoteRingback};
use simulator::world::RINGBACK_COUNTRY;
use sip::message::{Message, Name};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

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

/// Where both far ends of a [`Wire`] have their audio.
const AUDIO: &str = "198.51.100.9";

/// The caller's ear: a relay that does what the switch tells the media thread, and what comes out of it for the PBX.
struct Ear {
    table: RelayTable,
    now: Instant,
    /// Orders of the switch that were obeyed.
    obeyed: usize,
    sent: u16,
}

impl Ear {
    const CALLER: SocketKey = SocketKey(0);
    const CALLED: SocketKey = SocketKey(2);

    fn new() -> Self {
        Self {
            table: RelayTable::new(1, 4),
            now: Instant::now(),
            obeyed: 0,
            sent: 0,
        }
    }

    fn obey(&mut self, wire: &Wire) {
        for command in &wire.world.orders()[self.obeyed..] {
            match command.clone() {
                Command::Open {
                    relay,
                    a,
                    b,
                    timeout,
                    traffic,
                } => {
                    let sockets = Sockets {
                        a_rtp: Self::CALLER,
                        a_rtcp: SocketKey(1),
                        b_rtp: Self::CALLED,
                        b_rtcp: SocketKey(3),
                    };
                    let opening = Opening {
                        a,
                        b,
                        timeout,
                        traffic,
                        sockets,
                    };
                    self.table.open(self.now, relay, opening).expect("room");
                }
                command => {
                    self.table.handle(self.now, command).expect("in order");
                }
            }
        }
        self.obeyed = wire.world.orders().len();
    }

    /// What the caller hears for so long that the called side did not send.
    fn listen(&mut self, wire: &Wire, milliseconds: u64) -> Vec<i16> {
        self.obey(wire);
        let mut samples = Vec::new();
        for _ in 0..milliseconds / 20 {
            self.table.fill(self.now, |key, to, packet| {
                let caller = SocketAddr::new(AUDIO.parse().unwrap(), 30_000);
                assert_eq!((key, to), (Self::CALLER, caller));
                let packet = Packet::parse(packet).expect("RTP");
                assert_eq!(packet.header.payload_type, g711::PCMU);
                samples.extend(packet.payload.iter().map(|byte| g711::decode_mu(*byte)));
            });
            self.now += Duration::from_millis(20);
        }
        samples
    }

    /// A frame of the called side; whether the caller hears it as it was sent.
    fn hears_called_side(&mut self, wire: &Wire) -> bool {
        self.obey(wire);
        self.sent += 1;
        let header = Header {
            marker: self.sent == 1,
            payload_type: g711::PCMU,
            sequence: self.sent,
            timestamp: u32::from(self.sent) * 160,
            ssrc: 7,
        };
        let sent = header.packet(&[0x55; 160]);
        let mut packet = sent.clone();
        let source = SocketAddr::new(AUDIO.parse().unwrap(), 40_000);
        let verdict = self.table.handle_packet(
            self.now,
            Self::CALLED,
            source,
            &mut Datagram::whole(&mut packet),
        );
        matches!(verdict, Verdict::Forward { out, .. } if out == Self::CALLER) && packet == sent
    }

    #[track_caller]
    fn hears_tone(&mut self, wire: &Wire) {
        assert_eq!(RINGBACK_COUNTRY, "de");
        let heard = self.listen(wire, 800);
        assert!(heard.len() >= 8 * 500, "{} samples", heard.len());
        assert!(tone_share(&heard, 425.0, 8_000) > 0.95);
    }

    #[track_caller]
    fn hears_nothing(&mut self, wire: &Wire, milliseconds: u64) {
        let heard = self.listen(wire, milliseconds);
        assert!(heard.is_empty(), "{} samples", heard.len());
    }
}

/// A call of the PBX whose carrier answers with these statuses, each with a description or without one.
fn ringing(
    change: impl FnOnce(&mut Connection, &mut Connection),
    answers: &[(u16, bool)],
) -> (Wire, Message, Ear) {
    let mut wire = Wire::new(change);
    wire.invite("2000", "");
    let invite = wire.at_carrier();
    for (status, media) in answers {
        wire.answer(&invite, *status, "", *media);
    }
    (wire, invite, Ear::new())
}

#[test]
fn a_caller_that_listens_to_silence_hears_the_tone_up_to_the_answer() {
    let (mut wire, invite, mut ear) = ringing(|_, _| (), &[(183, true)]);
    for _ in 0..50 {
        assert!(ear.hears_called_side(&wire));
        ear.hears_nothing(&wire, 20);
    }
    // It has played what it had to play, and rings.
    wire.answer(&invite, 180, "", false);
    ear.hears_tone(&wire);
    wire.answer(&invite, 200, "", true);
    ear.hears_nothing(&wire, 20);
    assert!(ear.hears_called_side(&wire));
    ear.hears_nothing(&wire, 8_000);
    let ok = wire.got(PBX, "200").remove(0);
    wire.ask(&ok, "ACK", "");
    wire.carrier_asks(&invite, "BYE", 1);
    let bye = wire.got(PBX, "BYE").remove(0);
    wire.pbx_answers(&bye, 200, false);
    wire.wait(1_000);
    let told = &wire.cdr().decisions;
    let told = told.iter().filter(|line| line.starts_with("ringing: "));
    assert_eq!(
        told.collect::<Vec<_>>(),
        ["ringing: the caller hears our tone (de, 425 Hz) where the called side is silent"]
    );
}

#[test]
fn early_media_that_come_after_all_end_the_tone_at_once() {
    let (wire, _, mut ear) = ringing(|_, _| (), &[(183, true), (180, false)]);
    ear.hears_tone(&wire);
    assert!(ear.hears_called_side(&wire));
    ear.hears_nothing(&wire, 5_000);
}

#[test]
fn a_call_that_fails_takes_its_tone_along() {
    let (mut wire, invite, mut ear) = ringing(|_, _| (), &[(183, true), (180, false)]);
    ear.hears_tone(&wire);
    wire.answer(&invite, 486, "", false);
    ear.hears_nothing(&wire, 8_000);
    assert!(!ear.table.fills());
}

#[test]
fn who_hides_the_delay_fills_early_media_that_are_long_in_coming() {
    for caller_asks in [true, false] {
        let asks = |pbx: &mut Connection, carrier: &mut Connection| {
            let asked = if caller_asks { pbx } else { carrier };
            asked.connection_hide_post_dial_delay_with_ringback_enabled = true;
        };
        let (wire, _, mut ear) = ringing(asks, &[(183, true)]);
        ear.hears_tone(&wire);
        assert!(ear.hears_called_side(&wire));
        ear.hears_nothing(&wire, 5_000);
    }
    assert!(
        RINGBACK_AFTER < Duration::from_secs(1),
        "or nobody would hear it"
    );
}

#[test]
fn nobody_is_rung_to_who_makes_a_tone_of_its_own_or_is_to_hear_nothing() {
    type Change = fn(&mut Connection, &mut Connection);
    let as_usual: Change = |_, _| ();
    let local_only: Change = |_, carrier| {
        carrier.connection_remote_ringback_handling = RemoteRingback::LocalOnly;
        carrier.connection_hide_post_dial_delay_with_ringback_enabled = true;
    };
    let nothing: Change = |pbx, carrier| {
        pbx.connection_hide_post_dial_delay_with_ringback_enabled = true;
        carrier.connection_remote_ringback_handling = RemoteRingback::NoRingback;
    };
    let hides: Change = |pbx, _| pbx.connection_hide_post_dial_delay_with_ringback_enabled = true;
    let direct: Change = |pbx, _| pbx.connection_audio_relay_enabled = AudioRelay::Never;
    for (change, answers) in [
        // Without a description a 180 makes the phone ring.
        (as_usual, [(180_u16, false)].as_slice()),
        (hides, &[(180, false)]),
        // Whoever describes media is going to play them.
        (as_usual, &[(183, true)]),
        (as_usual, &[(180, true)]),
        (local_only, &[(183, true), (180, false)]),
        (nothing, &[(183, true), (180, false)]),
        (direct, &[(183, true), (180, false)]),
    ] {
        let (wire, _, mut ear) = ringing(change, answers);
        ear.hears_nothing(&wire, 8_000);
    }
}

#[test]
fn a_caller_that_does_not_listen_hears_no_tone() {
    let mut wire = Wire::new(|_, _| ());
    wire.invite_with("2000", &crate::wire::body_with(30_000, "a=sendonly\r\n"));
    let invite = wire.at_carrier();
    wire.answer(&invite, 183, "", true);
    wire.answer(&invite, 180, "", false);
    Ear::new().hears_nothing(&wire, 8_000);
}

#[test]
fn an_answer_by_prack_tells_in_which_codec_to_ring() {
    let mut wire = Wire::new(|_, _| ());
    let lines = "Supported: 100rel\r\n";
    wire.invite_with("2000", &format!("{lines}Content-Length: 0\r\n\r\n"));
    let invite = wire.at_carrier();
    wire.answer(&invite, 183, "Require: 100rel\r\nRSeq: 1\r\n", true);
    let early = wire.got(PBX, "183").remove(0);
    let mut ear = Ear::new();
    wire.answer(&invite, 180, "", false);
    ear.hears_nothing(&wire, 8_000);
    let rack = early.header(Name::RSeq).unwrap();
    let answer = crate::wire::body(30_000);
    wire.ask(
        &early,
        "PRACK",
        &format!("RAck: {rack} 1 INVITE\r\n{answer}"),
    );
    assert_eq!(wire.got(CARRIER, "PRACK").len(), 1);
    ear.hears_tone(&wire);
}
