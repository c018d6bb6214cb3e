//! Ringing tones of our own, as the caller hears them.

use super::*;
use crate::codec::Format;
use crate::relay::{RINGBACK_AFTER, RINGBACK_RETURNS_AFTER, Ringback};
use crate::ringing_tones::RingingTone;
use crate::rtp::Packet;
use crate::srtp::{Context, KeySeed, KeySource, Suite};
use crate::tone::tone_share;

/// What went to side A, with the millisecond it was sent in.
type Heard = Vec<(u64, Vec<u8>)>;

fn ringback(country: &str, formats: &str) -> Option<Box<Ringback>> {
    let tone = RingingTone::of_country(country).expect("in the table");
    Ringback::new(tone, &line(formats)).map(Box::new)
}

impl World {
    fn ring(&mut self, ringback: Option<Box<Ringback>>) {
        let (relay, side) = (RELAY, Side::A);
        self.command(Command::Ringback {
            relay,
            side,
            ringback,
        });
    }

    /// Lets time pass as the media thread does, from one millisecond to another.
    fn listen(&mut self, from_ms: u64, to_ms: u64) -> Heard {
        let mut heard = Heard::new();
        for ms in (from_ms..to_ms).step_by(20) {
            let now = self.at_ms(ms).now;
            self.table.fill(now, |key, to, packet| {
                assert_eq!((key, to), (A_RTP_KEY, addr(A)));
                heard.push((ms, packet.to_vec()));
            });
        }
        heard
    }
}

fn headers(heard: &Heard) -> Vec<Header> {
    let headers = heard.iter().map(|(_, packet)| Header::parse(packet));
    headers.map(|header| header.expect("RTP")).collect()
}

/// Every packet follows the one before.
fn assert_one_stream(heard: &Heard, ticks: u32) {
    for pair in headers(heard).windows(2) {
        assert_eq!(pair[0].ssrc, pair[1].ssrc);
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(ticks));
    }
}

#[test]
fn the_tone_sounds_in_the_codec_of_its_hearer_and_keeps_its_cadence() {
    for (formats, format, number, rate) in [
        ("0 8", Format::Pcmu, 0, 8_000),
        ("8 0 101", Format::Pcma, 8, 8_000),
        ("9", Format::G722, 9, 16_000),
        ("96 101", Format::Opus, 96, 8_000),
        // What we do not speak is passed over.
        ("18 8", Format::Pcma, 8, 8_000),
    ] {
        let mut world = World::new();
        world.ring(ringback("us", formats));
        let heard = world.listen(0, 12_200);
        assert_eq!(heard.len(), 600, "{format}");
        assert_eq!(heard[0].0, RINGBACK_AFTER.as_millis() as u64);
        assert_one_stream(&heard, format.clock_rate_hz() / 50);
        let headers = headers(&heard);
        assert!(headers.iter().all(|header| header.payload_type == number));
        assert!(headers[0].marker && !headers[1..].iter().any(|header| header.marker));

        let mut decoder = format.decoder(rate).expect("known");
        let mut samples = Vec::new();
        for (_, packet) in &heard {
            let mut frame = [0; 960];
            let payload = Packet::parse(packet).expect("RTP").payload;
            let count = decoder.decode(payload, &mut frame).expect("in order");
            samples.extend_from_slice(&frame[..count]);
        }
        let second = rate as usize;
        for (from, to, sounds) in [(0, 2, true), (2, 6, false), (6, 8, true), (8, 12, false)] {
            // Codecs need a moment, and have a delay of their own.
            let heard = &samples[from * second + second / 20..to * second - second / 20];
            let (mut loud, mut quiet) = (0.0_f32, 0);
            for frequency in [440.0, 480.0] {
                let share = tone_share(heard, frequency, rate);
                loud += share;
                assert!(
                    !sounds || share > 0.4,
                    "{format}: {frequency} Hz has {share}"
                );
            }
            quiet += heard
                .iter()
                .filter(|sample| sample.unsigned_abs() < 50)
                .count();
            assert!(sounds == (loud > 0.9), "{format} at {from} s: {loud}");
            assert!(
                sounds || quiet == heard.len(),
                "{format} at {from} s is not silent"
            );
        }
    }
}

#[test]
fn nothing_is_played_to_who_speaks_nothing_that_we_do() {
    assert_eq!(ringback("de", "18 101"), None);
}

#[test]
fn the_far_end_is_heard_at_once_and_untouched() {
    let mut world = World::new();
    world.ring(ringback("de", "0"));
    let before = world.listen(0, 1_000);
    assert_eq!(before.len(), 40);
    let packet = rtp(7, 1);
    let mut arrived = packet.clone();
    let now = world.at_ms(1_000).now;
    let mut datagram = Datagram::whole(&mut arrived);
    let verdict = world
        .table
        .handle_packet(now, B_RTP_KEY, addr(B), &mut datagram);
    let (out, to) = (A_RTP_KEY, addr(A));
    assert_eq!(verdict, Verdict::Forward { out, to });
    assert_eq!(arrived, packet, "as it was sent");
    assert_ne!(headers(&before)[0].ssrc, 7, "two sources have two names");

    // Its pauses belong to it, for as long as a ringing tone may be silent.
    let back = 1_000 + RINGBACK_RETURNS_AFTER.as_millis() as u64;
    assert_eq!(world.listen(1_000, back), Heard::new());
    let after = world.listen(back, back + 100);
    assert_eq!(after[0].0, back);
    let (last, first) = (headers(&before)[39], headers(&after)[0]);
    assert_eq!(first.sequence, last.sequence.wrapping_add(1));
    let passed_ms = (back - before[39].0) as u32;
    assert_eq!(first.timestamp, last.timestamp.wrapping_add(passed_ms * 8));
    assert!(first.marker);
    assert_one_stream(&after, 160);
}

#[test]
fn who_speaks_in_time_is_never_covered() {
    let mut world = World::new();
    world.ring(ringback("de", "0"));
    for number in 0..100 {
        let from = u64::from(number) * 100;
        world.at_ms(from);
        world.forwards(B_RTP_KEY, B, &rtp(7, number), A_RTP_KEY, A);
        assert_eq!(world.listen(from, from + 100), Heard::new());
    }
    assert_eq!(world.listen(10_000, 10_100), Heard::new());
    // It has not rung yet, so it need not wait for the pauses of another tone.
    assert_eq!(world.listen(10_100, 10_200).len(), 5);
}

#[test]
fn the_end_is_at_once_and_another_tone_goes_on_with_the_numbers() {
    let mut world = World::new();
    world.ring(ringback("gb", "8"));
    assert!(world.table.fills());
    let first = world.listen(0, 500);
    world.ring(None);
    assert!(!world.table.fills());
    assert_eq!(world.listen(500, 1_000), Heard::new());
    world.ring(ringback("gb", "8"));
    let second = world.listen(1_000, 1_400);
    let (last, next) = (headers(&first)[14], headers(&second)[0]);
    assert_eq!(
        (next.ssrc, next.sequence),
        (last.ssrc, last.sequence.wrapping_add(1))
    );
    assert!(next.marker);
    // Said again, it changes nothing; in another codec the same stream goes on.
    world.ring(ringback("gb", "8"));
    let same = world.listen(1_400, 1_440);
    world.ring(ringback("gb", "0"));
    let other = world.listen(1_440, 1_500);
    let all: Heard = second.into_iter().chain(same).chain(other).collect();
    assert_one_stream(&all, 160);
    let types: Vec<u8> = headers(&all)
        .iter()
        .map(|header| header.payload_type)
        .collect();
    assert!(types.ends_with(&[8, 0, 0, 0]), "{types:?}");
    world.command(Command::Close { relay: RELAY });
    assert!(!world.table.fills());
}

#[test]
fn a_thread_that_is_late_leaves_frames_out() {
    let mut world = World::new();
    world.ring(ringback("de", "0"));
    let before = world.listen(0, 300);
    let after = world.listen(390, 500);
    let (last, first) = (headers(&before)[4], headers(&after)[0]);
    assert_eq!(first.sequence, last.sequence.wrapping_add(1));
    assert_eq!(first.timestamp, last.timestamp.wrapping_add(5 * 160));
    assert_eq!(after.len(), 6, "and there is no volley");
    assert_one_stream(&after, 160);
}

#[test]
fn a_side_with_keys_hears_the_tone_sealed_and_one_without_yet_nothing() {
    let mut source = KeySource::new(&KeySeed([7; 32]));
    let [receive, send] = [(); 2].map(|()| source.key(Suite::Aes128CmSha1_80));
    let mut world = World::new();
    let protect = |protection| Command::Protect {
        relay: RELAY,
        side: Side::A,
        protection,
    };
    world.command(protect(Protection::Pending));
    world.ring(ringback("de", "0"));
    assert_eq!(world.listen(0, 600), Heard::new());
    let keys = SideKeys {
        receive,
        send: send.clone(),
    };
    world.command(protect(Protection::Keys(Box::new(keys))));
    let heard = world.listen(600, 1_000);
    assert_eq!(heard.len(), 20);
    let mut context = Context::new(&send);
    let mut samples = Vec::new();
    for (_, mut packet) in heard {
        let mut datagram = Datagram::whole(&mut packet);
        context.open(&mut datagram).expect("sealed with this key");
        let packet = Packet::parse(datagram.bytes()).expect("RTP");
        samples.extend(
            packet
                .payload
                .iter()
                .map(|byte| crate::g711::decode_mu(*byte)),
        );
    }
    assert!(tone_share(&samples, 425.0, 8_000) > 0.95);
}

#[test]
fn more_tones_than_there_is_time_for_are_not_played() {
    let mut table = RelayTable::new(102, 408);
    let now = Instant::now();
    for number in 0..102_u32 {
        let relay = RelayId(number.into());
        let keys = [0, 1, 2, 3].map(|place| SocketKey(4 * number + place));
        let [a_rtp, a_rtcp, b_rtp, b_rtcp] = keys;
        let sockets = Sockets {
            a_rtp,
            a_rtcp,
            b_rtp,
            b_rtcp,
        };
        let opening = Opening {
            sockets,
            ..opening()
        };
        table.open(now, relay, opening).expect("room");
    }
    let ring = |number, formats: Option<&str>| Command::Ringback {
        relay: RelayId(number),
        side: Side::A,
        ringback: formats.and_then(|formats| ringback("us", formats)),
    };
    for number in 0..100 {
        assert_eq!(table.handle(now, ring(number, Some("96"))), Ok(None));
    }
    let refused = Err(CommandError::TooManyTones);
    assert_eq!(table.handle(now, ring(100, Some("0"))), refused);
    assert_eq!(table.handle(now, ring(3, None)), Ok(None));
    assert_eq!(table.handle(now, ring(100, Some("0"))), Ok(None));
}
