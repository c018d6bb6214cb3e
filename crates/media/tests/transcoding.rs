//! Whatever a sender does to its sequence numbers, clocks and payloads: what leaves a relay that transcodes is one
//! stream, with numbers that follow each other and a clock that never goes back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::codec::Format;
use media::relay::{
    Command, Conversion, Datagram, Opening, RelayId, RelayTable, Side, SocketKey, Sockets, Traffic,
    Verdict,
};
use media::rtp::Header;
use media::sdp::{MediaLine, Session};
use media::tone::Sine;
use proptest::collection::vec;
use proptest::prelude::*;

const RELAY: RelayId = RelayId(1);

/// An audio line; 96 is Opus, 101 and 110 are key presses at 8 and at 48 kHz.
fn line(formats: &str, ptime: u32) -> MediaLine {
    let text = format!(
        "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP {formats}\n\
         a=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/8000\na=rtpmap:110 telephone-event/48000\n\
         a=ptime:{ptime}\n"
    );
    let session = Session::parse(text.as_bytes()).expect("in order");
    session.media[0].clone()
}

/// What the next packet of a sender does.
#[derive(Clone, Debug)]
enum Step {
    /// Goes on, `packets` of audio later.
    Audio { skipped: u16, silent: u32 },
    /// Repeats or overtakes.
    Old(u16),
    /// Presses a key.
    Event(Vec<u8>),
    /// Comfort noise.
    Noise,
    /// Anything in the place of audio.
    Garbage(Vec<u8>),
    /// Sets its clock.
    Clock(u32),
    /// Counts from anew.
    Count(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (prop_oneof![8 => Just(0_u16), 1 => 0..6_u16, 1 => 0..4_000_u16],
              prop_oneof![8 => Just(0_u32), 1 => 0..50_000_u32])
            .prop_map(|(skipped, silent)| Step::Audio { skipped, silent }),
        1 => (0..20_u16).prop_map(Step::Old),
        1 => vec(any::<u8>(), 0..8).prop_map(Step::Event),
        1 => Just(Step::Noise),
        1 => vec(any::<u8>(), 0..1_500).prop_map(Step::Garbage),
        1 => any::<u32>().prop_map(Step::Clock),
        1 => any::<u16>().prop_map(Step::Count),
    ]
}

fn opened(conversion: Option<Conversion>) -> (RelayTable, Instant) {
    let mut table = RelayTable::new(1, 4);
    let now = Instant::now();
    let [a_rtp, a_rtcp, b_rtp, b_rtcp] = [0, 1, 2, 3].map(SocketKey);
    let local = "192.0.2.1".parse().expect("an address");
    let opening = Opening {
        a: local,
        b: local,
        timeout: Duration::ZERO,
        traffic: Traffic::Rtp,
        sockets: Sockets {
            a_rtp,
            a_rtcp,
            b_rtp,
            b_rtcp,
        },
    };
    table.open(now, RELAY, opening).expect("room for one");
    for (side, address) in [(Side::A, "192.0.2.10:4000"), (Side::B, "192.0.2.20:4000")] {
        let remote = Command::Remote {
            relay: RELAY,
            side,
            rtp: address.parse().ok(),
            rtcp: None,
            expect_media: true,
            strict: false,
        };
        table.handle(now, remote).expect("just opened");
    }
    let convert = Command::Convert {
        relay: RELAY,
        side: Side::B,
        conversion: conversion.map(Box::new),
    };
    table.handle(now, convert).expect("just opened");
    (table, now)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn one_stream_leaves_whatever_comes(
        from in prop_oneof![Just(("0", Format::Pcmu, 0)), Just(("9", Format::G722, 9)), Just(("96", Format::Opus, 96))],
        to in prop_oneof![Just("8 101"), Just("9 13"), Just("96 110"), Just("96 101")],
        ptime in prop_oneof![Just(10_u32), Just(20), Just(30), Just(60), Just(7), Just(500)],
        steps in vec(step(), 1..60),
    ) {
        let (sent, format, number) = from;
        let conversion = Conversion::between(&line(&format!("{sent} 13 101"), 20), None, &line(to, ptime));
        // From law to law nothing is numbered by us.
        prop_assume!(conversion.is_some() && (sent, to) != ("0", "8 101"));
        let (mut table, start) = opened(conversion);
        let rate = format.sample_rate_hz().unwrap_or(16_000);
        let mut encoder = format.encoder(rate, None).expect("known");
        let mut samples = vec![0; rate as usize / 50];
        Sine::new(440.0, rate, 0.3).fill(&mut samples);
        let mut payload = [0; 400];
        let source: SocketAddr = "192.0.2.10:4000".parse().expect("an address");
        let mut at = Header { marker: false, payload_type: number, sequence: 65_530, timestamp: u32::MAX - 500, ssrc: 7 };
        let ticks = format.clock_rate_hz() / 50;
        let mut out: Vec<Header> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let now = start + Duration::from_millis(20) * index as u32;
            let mut this = at;
            let mut audio = |payload: &mut [u8]| encoder.encode(&samples, payload).expect("a frame");
            let packet = match step {
                Step::Audio { skipped, silent } => {
                    at.sequence = at.sequence.wrapping_add(*skipped);
                    at.timestamp = at.timestamp.wrapping_add(u32::from(*skipped) * ticks + silent);
                    this = at;
                    let bytes = audio(&mut payload);
                    at.timestamp = at.timestamp.wrapping_add(ticks);
                    payload[..bytes].to_vec()
                }
                Step::Old(behind) => {
                    this.sequence = this.sequence.wrapping_sub(*behind + 1);
                    at.sequence = at.sequence.wrapping_sub(1);
                    vec![0xff; 160]
                }
                Step::Event(bytes) => { this.payload_type = 101; bytes.clone() }
                Step::Noise => { this.payload_type = 13; vec![70] }
                Step::Garbage(bytes) => bytes.clone(),
                Step::Clock(timestamp) => { at.timestamp = *timestamp; this = at; vec![0xff; 160] }
                Step::Count(sequence) => { at.sequence = *sequence; this = at; vec![0xff; 160] }
            };
            at.sequence = at.sequence.wrapping_add(1);
            let mut buffer = this.packet(&packet);
            let length = buffer.len();
            buffer.resize(1_600, 0);
            let mut datagram = Datagram::new(&mut buffer, length);
            if let Verdict::Forward { .. } = table.handle_packet(now, SocketKey(0), source, &mut datagram) {
                out.push(Header::parse(datagram.bytes()).expect("RTP"));
            }
            table.empty(|_, _, packet| out.push(Header::parse(packet).expect("RTP")));
        }
        for pair in out.windows(2) {
            let step = pair[1].sequence.wrapping_sub(pair[0].sequence);
            // What passes as it is shows its losses.
            let passes = to.starts_with(sent) || pair[1].payload_type == 13;
            prop_assert!(step == 1 || passes && step.cast_signed() > 0, "{:?}", pair);
            prop_assert_eq!(pair[1].ssrc, 7);
        }
        // A key press keeps the timestamp of its beginning (RFC 4733 §2.2.1).
        let audio: Vec<_> = out.iter().filter(|one| ![101, 110].contains(&one.payload_type)).collect();
        for pair in audio.windows(2) {
            let forward = pair[1].timestamp.wrapping_sub(pair[0].timestamp).cast_signed();
            prop_assert!(forward >= 0, "{:?}", pair);
        }
        prop_assert!(table.stats(RELAY).expect("open").a.transcoded <= steps.len() as u64);
    }
}
