//! Packets between sides that have no codec in common.

use super::*;
use crate::codec::{Decoder, Format};
use crate::rtp::{self, Packet};
use crate::srtp::{Context, KeySeed, KeySource, Suite};
use crate::tone::{Sine, tone_share};

/// Side A speaks one format, side B another.
struct Call {
    world: World,
    /// Packets that came out, each with its socket.
    out: Vec<(SocketKey, Vec<u8>)>,
}

impl Call {
    fn new(a: &str, b: &str) -> Self {
        let mut world = World::new();
        let (a, b) = (line(a), line(b));
        for (side, sent, understood) in [(Side::B, &a, &b), (Side::A, &b, &a)] {
            let conversion = Conversion::between(sent, None, understood).map(Box::new);
            world.command(Command::Convert {
                relay: RELAY,
                side,
                conversion,
            });
            world.command(Command::Payloads {
                relay: RELAY,
                side: side.other(),
                payloads: Box::new(Payloads::of(sent)),
            });
        }
        Self {
            world,
            out: Vec::new(),
        }
    }

    /// A packet of one side arrives; what leaves is kept.
    fn arrive(&mut self, key: SocketKey, source: &str, packet: &[u8]) -> Verdict {
        let mut buffer = packet.to_vec();
        buffer.resize(1_600, 0);
        let mut datagram = Datagram::new(&mut buffer, packet.len());
        let world = &mut self.world;
        let verdict = world
            .table
            .handle_packet(world.now, key, addr(source), &mut datagram);
        if let Verdict::Forward { out, .. } = verdict {
            self.out.push((out, datagram.bytes().to_vec()));
        }
        let out = &mut self.out;
        world
            .table
            .empty(|key, _, packet| out.push((key, packet.to_vec())));
        verdict
    }

    fn a_sends(&mut self, header: Header, payload: &[u8]) -> Verdict {
        self.arrive(A_RTP_KEY, A, &header.packet(payload))
    }

    fn b_sends(&mut self, header: Header, payload: &[u8]) -> Verdict {
        self.arrive(B_RTP_KEY, B, &header.packet(payload))
    }

    fn headers(&self) -> Vec<Header> {
        let headers = self.out.iter().map(|(_, packet)| Header::parse(packet));
        headers.map(|header| header.expect("RTP")).collect()
    }

    /// What a decoder makes of all packets with this number.
    fn heard(&self, decoder: &mut dyn Decoder, payload_type: u8) -> Vec<i16> {
        let mut all = Vec::new();
        for (_, packet) in &self.out {
            let packet = Packet::parse(packet).expect("RTP");
            if packet.header.payload_type == payload_type {
                let mut samples = [0; 5_760];
                let count = decoder
                    .decode(packet.payload, &mut samples)
                    .expect("in order");
                all.extend_from_slice(&samples[..count]);
            }
        }
        all
    }
}

fn header(payload_type: u8, number: u16, ticks: u32) -> Header {
    Header {
        marker: number == 0,
        payload_type,
        // Both wrap on their way.
        sequence: number.wrapping_sub(10),
        timestamp: (u32::from(number) * ticks).wrapping_sub(3_000),
        ssrc: 7,
    }
}

/// Frames of a tone as payloads of a format.
fn tone(format: Format, rate: u32, frame_ms: u32, frames: usize) -> Vec<Vec<u8>> {
    let mut encoder = format.encoder(rate, None).expect("known");
    let mut sine = Sine::new(440.0, rate, 0.3);
    let mut samples = vec![0; (rate * frame_ms / 1000) as usize];
    let mut payload = [0; 1_000];
    let payloads = (0..frames).map(|_| {
        sine.fill(&mut samples);
        let bytes = encoder.encode(&samples, &mut payload).expect("a frame");
        payload[..bytes].to_vec()
    });
    payloads.collect()
}

#[test]
fn a_tone_goes_through_every_pair_on_the_clock_of_its_receiver() {
    let formats = [
        ("0", Format::Pcmu, 0, 8_000),
        ("8", Format::Pcma, 8, 8_000),
        ("9", Format::G722, 9, 16_000),
        ("96", Format::Opus, 96, 16_000),
    ];
    for (from_line, from, from_type, from_rate) in formats {
        for (to_line, to, to_type, to_rate) in formats {
            if from == to {
                continue;
            }
            let mut call = Call::new(from_line, to_line);
            let ticks = from.clock_rate_hz() / 50;
            for (number, payload) in tone(from, from_rate, 20, 100).iter().enumerate() {
                call.a_sends(header(from_type, number as u16, ticks), payload);
            }
            let headers = call.headers();
            assert_eq!(headers.len(), 100, "{from} to {to}");
            assert!(call.out.iter().all(|(key, _)| *key == B_RTP_KEY));
            for pair in headers.windows(2) {
                assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
                let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
                assert_eq!(step, to.clock_rate_hz() / 50, "{from} to {to}");
                assert_eq!(
                    (pair[1].marker, pair[1].payload_type, pair[1].ssrc),
                    (false, to_type, 7)
                );
            }
            let heard = call.heard(&mut *to.decoder(to_rate).expect("known"), to_type);
            let share = tone_share(&heard[to_rate as usize / 5..], 440.0, to_rate);
            assert!(share > 0.95, "{from} to {to}: {share}");
            let stats = call.world.stats();
            let law = |format| matches!(format, Format::Pcmu | Format::Pcma);
            // From law to law it takes a look-up, which is not counted.
            let expected = if law(from) && law(to) { 0 } else { 100 };
            assert_eq!((stats.a.transcoded, stats.b.transcoded), (expected, 0));
            assert_eq!(call.world.table.transcoded(), expected);
        }
    }
}

#[test]
fn both_directions_at_once() {
    let mut call = Call::new("8 101", "96 101");
    let (law, opus) = (
        tone(Format::Pcma, 8_000, 20, 50),
        tone(Format::Opus, 8_000, 20, 50),
    );
    for number in 0..50 {
        call.a_sends(header(8, number, 160), &law[usize::from(number)]);
        call.b_sends(header(96, number, 960), &opus[usize::from(number)]);
    }
    for (format, number, key) in [(Format::Opus, 96, B_RTP_KEY), (Format::Pcma, 8, A_RTP_KEY)] {
        assert_eq!(call.out.iter().filter(|(out, _)| *out == key).count(), 50);
        let heard = call.heard(&mut *format.decoder(8_000).expect("known"), number);
        assert!(tone_share(&heard[800..], 440.0, 8_000) > 0.95, "{format}");
    }
}

#[test]
fn packets_of_other_lengths_are_cut_and_joined() {
    for (frame_ms, ptime, expected) in [
        (10, 20, 50),
        (30, 20, 150),
        (20, 60, 33),
        (60, 10, 600),
        (120, 20, 600),
    ] {
        let mut call = Call::new("8", "9");
        let (sent, mut understood) = (line("8"), line("9"));
        understood.lines.push(crate::sdp::Line::attribute(
            "ptime",
            Some(&ptime.to_string()),
        ));
        call.world.command(Command::Convert {
            relay: RELAY,
            side: Side::B,
            conversion: Conversion::between(&sent, None, &understood).map(Box::new),
        });
        let payloads = tone(Format::Pcma, 8_000, frame_ms, 100);
        for (number, payload) in payloads.iter().enumerate() {
            call.a_sends(header(8, number as u16, frame_ms * 8), payload);
        }
        let headers = call.headers();
        assert_eq!(headers.len(), expected, "{frame_ms} ms to {ptime} ms");
        for pair in headers.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), ptime * 8);
        }
        let heard = call.heard(&mut *Format::G722.decoder(16_000).expect("known"), 9);
        assert!(
            tone_share(&heard[4_000..], 440.0, 16_000) > 0.95,
            "{frame_ms} ms to {ptime} ms"
        );
    }
}

#[test]
fn a_lost_packet_is_made_up_for_and_a_late_one_is_too_late() {
    let mut call = Call::new("8", "96");
    let payloads = tone(Format::Pcma, 8_000, 20, 100);
    for number in (0..100).filter(|number| number % 10 != 5) {
        let verdict = call.a_sends(header(8, number, 160), &payloads[usize::from(number)]);
        assert!(matches!(verdict, Verdict::Forward { .. }));
        if number % 10 == 6 {
            let late = call.a_sends(
                header(8, number - 1, 160),
                &payloads[usize::from(number) - 1],
            );
            assert_eq!(late, Verdict::Keep);
        }
    }
    let headers = call.headers();
    assert_eq!(headers.len(), 100);
    for pair in headers.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 960);
    }
    let heard = call.heard(&mut *Format::Opus.decoder(8_000).expect("known"), 96);
    assert!(tone_share(&heard[1_600..], 440.0, 8_000) > 0.8);
}

#[test]
fn a_pause_and_a_long_loss_leap() {
    let mut call = Call::new("8", "96");
    let payload = &tone(Format::Pcma, 8_000, 20, 1)[0];
    let mut at = header(8, 0, 160);
    call.a_sends(at, payload);
    // Half a second of silence that is not sent.
    at.marker = false;
    at.sequence = at.sequence.wrapping_add(1);
    at.timestamp = at.timestamp.wrapping_add(4_160);
    call.a_sends(at, payload);
    // Half a second that is lost.
    at.sequence = at.sequence.wrapping_add(26);
    at.timestamp = at.timestamp.wrapping_add(4_160);
    call.a_sends(at, payload);
    // A sender whose clock went back.
    at.sequence = at.sequence.wrapping_add(1);
    at.timestamp = at.timestamp.wrapping_sub(100_000);
    call.a_sends(at, payload);
    let headers = call.headers();
    let steps: Vec<_> = headers
        .windows(2)
        .map(|pair| {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            (
                pair[1].timestamp.wrapping_sub(pair[0].timestamp),
                pair[1].marker,
            )
        })
        .collect();
    assert_eq!(steps, [(24_960, true), (24_960, true), (960, false)]);
}

#[test]
fn key_presses_pass_on_the_clock_of_the_receiver() {
    for (to, number, step) in [
        ("96 110", 110, 960_u16),
        ("96 101", 101, 160),
        ("9 101", 101, 160),
    ] {
        let mut call = Call::new("8 101", to);
        let payloads = tone(Format::Pcma, 8_000, 20, 40);
        for number in 0..10 {
            call.a_sends(header(8, number, 160), &payloads[usize::from(number)]);
        }
        let digit = dtmf::Digit::from_char('5').expect("a key");
        let pressed_at = header(8, 10, 160).timestamp;
        for (count, event) in dtmf::press(digit, 800, 160).enumerate() {
            let mut at = header(101, 10 + count as u16, 160);
            at.timestamp = pressed_at;
            at.marker = count == 0;
            let verdict = call.a_sends(at, &event.write());
            assert!(matches!(verdict, Verdict::Forward { .. }));
        }
        // Four updates, the end three times: seven packets in the time of five.
        let mut after = header(8, 17, 160);
        after.timestamp = pressed_at.wrapping_add(800);
        call.a_sends(after, &payloads[11]);

        let headers = call.headers();
        let clock = if to.starts_with("96") { 960 } else { 160 };
        for pair in headers.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "{to}");
        }
        let (last, presses, next) = (headers[9], &headers[10..17], headers[17]);
        assert!(presses.iter().all(|at| at.payload_type == number));
        assert!(
            presses
                .iter()
                .all(|at| at.timestamp == last.timestamp.wrapping_add(clock)),
            "{to}"
        );
        assert!(presses[0].marker && !presses[1].marker);
        assert_eq!(
            next.timestamp,
            last.timestamp.wrapping_add(clock * 6),
            "{to}"
        );
        assert!(next.marker);
        let durations: Vec<_> = call.out[10..17]
            .iter()
            .map(|(_, packet)| {
                let packet = Packet::parse(packet).expect("RTP");
                let event = dtmf::Event::parse(packet.payload).expect("an event");
                assert_eq!(event.digit(), Some(digit));
                (event.duration_ticks / step, event.end)
            })
            .collect();
        let ends = [(5, true); 3];
        let expected: Vec<_> = [1, 2, 3, 4]
            .map(|n| (n, false))
            .into_iter()
            .chain(ends)
            .collect();
        assert_eq!(durations, expected, "{to}");
        assert_eq!(call.world.stats().a.digits, 1);
    }
}

#[test]
fn what_the_receiver_understands_passes_between_what_it_does_not() {
    // B may send either; A knows one.
    let mut call = Call::new("8", "96 8");
    call.world.command(Command::Convert {
        relay: RELAY,
        side: Side::A,
        conversion: Conversion::between(&line("96 8"), None, &line("8")).map(Box::new),
    });
    let (law, opus) = (
        tone(Format::Pcma, 8_000, 20, 20),
        tone(Format::Opus, 8_000, 20, 20),
    );
    for number in 0..20_u16 {
        let mut at = header(if number < 10 { 96 } else { 8 }, number, 0);
        at.timestamp = u32::from(number) * if number < 10 { 960 } else { 160 };
        let payload = if number < 10 { &opus } else { &law };
        call.b_sends(at, &payload[usize::from(number)]);
    }
    let headers = call.headers();
    assert_eq!(headers.len(), 20);
    for pair in headers.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 160);
        assert_eq!(pair[1].payload_type, 8);
    }
    let heard = call.heard(&mut *Format::Pcma.decoder(8_000).expect("known"), 8);
    assert!(tone_share(&heard[1_600..], 440.0, 8_000) > 0.9);
}

#[test]
fn a_stream_that_is_no_longer_converted_goes_on_without_a_leap() {
    let mut call = Call::new("8", "9");
    let payloads = tone(Format::Pcma, 8_000, 20, 30);
    for number in 0..10 {
        // One of them is lost, so that numbers differ from now on.
        if number != 4 {
            call.a_sends(header(8, number, 160), &payloads[usize::from(number)]);
        }
    }
    call.world.command(Command::Convert {
        relay: RELAY,
        side: Side::B,
        conversion: None,
    });
    for number in 10..20 {
        call.a_sends(header(8, number, 160), &payloads[usize::from(number)]);
    }
    let back = Conversion::between(&line("8"), None, &line("9"));
    for _ in 0..2 {
        call.world.command(Command::Convert {
            relay: RELAY,
            side: Side::B,
            conversion: back.clone().map(Box::new),
        });
    }
    for number in 20..30 {
        call.a_sends(header(8, number, 160), &payloads[usize::from(number)]);
    }
    let headers = call.headers();
    assert_eq!(headers.len(), 30);
    let types: Vec<_> = headers.iter().map(|header| header.payload_type).collect();
    assert_eq!((types[9], types[10], types[19], types[20]), (9, 8, 8, 9));
    for pair in headers.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 160);
    }
    assert_eq!(call.out[10].1[rtp::HEADER_BYTES..], payloads[10]);
}

#[test]
fn both_sides_may_be_sealed() {
    let mut call = Call::new("8", "96");
    let mut keys = KeySource::new(&KeySeed([3; 32]));
    let [from_a, to_a, from_b, to_b] = [0; 4].map(|_| keys.key(Suite::Aes128CmSha1_80));
    for (side, receive, send) in [(Side::A, &from_a, &to_a), (Side::B, &from_b, &to_b)] {
        let keys = SideKeys {
            receive: receive.clone(),
            send: send.clone(),
        };
        call.world.command(Command::Protect {
            relay: RELAY,
            side,
            protection: Protection::Keys(Box::new(keys)),
        });
    }
    let mut sender = Context::new(&from_a);
    for (number, payload) in tone(Format::Pcma, 8_000, 20, 50).iter().enumerate() {
        let mut buffer = header(8, number as u16, 160).packet(payload);
        let length = buffer.len();
        buffer.resize(length + OVERHEAD_BYTES_MAX, 0);
        let mut datagram = Datagram::new(&mut buffer, length);
        sender.seal(&mut datagram).expect("room");
        let sealed = datagram.bytes().to_vec();
        call.arrive(A_RTP_KEY, A, &sealed);
    }
    let mut receiver = Context::new(&to_b);
    assert_eq!(call.out.len(), 50);
    for (_, packet) in &mut call.out {
        let mut datagram = Datagram::whole(packet);
        receiver.open(&mut datagram).expect("sealed for B");
        let length = datagram.length();
        packet.truncate(length);
    }
    let heard = call.heard(&mut *Format::Opus.decoder(8_000).expect("known"), 96);
    assert!(tone_share(&heard[800..], 440.0, 8_000) > 0.95);
}

#[test]
fn reports_speak_of_what_was_sent() {
    let mut call = Call::new("8", "96");
    let payloads = tone(Format::Pcma, 8_000, 20, 10);
    for number in 0..10 {
        call.a_sends(header(8, number, 160), &payloads[usize::from(number)]);
    }
    let last = *call.headers().last().expect("ten");
    let bytes: usize = call
        .out
        .iter()
        .map(|(_, packet)| packet.len() - rtp::HEADER_BYTES)
        .sum();
    // A's sender report, 10 ms after its last packet.
    let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2];
    let moment = header(8, 9, 160).timestamp.wrapping_add(80);
    for word in [moment, 10, 1_600] {
        report.extend_from_slice(&word.to_be_bytes());
    }
    call.out.clear();
    call.arrive(A_RTCP_KEY, A_RTCP, &report);
    let (key, passed) = &call.out[0];
    assert_eq!(*key, B_RTCP_KEY);
    let word = |at: usize| {
        u32::from_be_bytes([passed[at], passed[at + 1], passed[at + 2], passed[at + 3]])
    };
    assert_eq!(word(16), last.timestamp.wrapping_add(480));
    assert_eq!((word(20), word(24)), (10, bytes as u32));
    assert_eq!(
        passed[8..16],
        report[8..16],
        "the wall clock is the sender's"
    );

    // B's judgement of A's stream, in ticks of Opus.
    let block = rtcp::ReportBlock {
        ssrc: 7,
        fraction_lost: 3,
        cumulative_lost: 1,
        highest_sequence: u32::from(last.sequence),
        jitter_ticks: 960,
    };
    call.out.clear();
    call.arrive(B_RTCP_KEY, B_RTCP, &rtcp::receiver_report(9, block));
    let (key, passed) = &call.out[0];
    assert_eq!(*key, A_RTCP_KEY);
    let Some(rtcp::Packet::Report { blocks, .. }) = rtcp::packets(passed).next() else {
        panic!("no report");
    };
    let judged = rtcp::report_blocks(blocks).next().expect("one block");
    let expected = rtcp::ReportBlock {
        jitter_ticks: 160,
        highest_sequence: u32::from(header(8, 9, 160).sequence),
        ..block
    };
    assert_eq!(judged, expected);
    assert_eq!(call.world.stats().b_rtcp.jitter_us, 20_000);
}

#[test]
fn nonsense_is_kept_to_ourselves() {
    let mut call = Call::new("96", "8");
    let payload = &tone(Format::Opus, 8_000, 20, 1)[0];
    call.a_sends(header(96, 0, 960), payload);
    // Not Opus, and nothing at all.
    assert_eq!(
        call.a_sends(header(96, 1, 960), &[0xff, 0x00]),
        Verdict::Keep
    );
    assert_eq!(call.a_sends(header(96, 2, 960), &[]), Verdict::Keep);
    // It goes on behind them, as behind a loss.
    call.a_sends(header(96, 3, 960), payload);
    let headers = call.headers();
    assert!(headers.len() >= 2);
    let all = headers
        .last()
        .expect("some")
        .timestamp
        .wrapping_sub(headers[0].timestamp);
    assert_eq!(all, 480);
}

#[test]
fn what_is_said_while_there_are_no_keys_is_not_heard_late() {
    let mut call = Call::new("8", "9");
    let protect = |protection| Command::Protect {
        relay: RELAY,
        side: Side::B,
        protection,
    };
    call.world.command(protect(Protection::Pending));
    // Each is three of those that B is sent.
    let long = tone(Format::Pcma, 8_000, 60, 91);
    for number in 0..90 {
        let verdict = call.a_sends(header(8, number, 480), &long[usize::from(number)]);
        assert_eq!(verdict, Verdict::Drop(DropReason::NoKeys));
    }
    let mut keys = KeySource::new(&KeySeed([4; 32]));
    let [receive, send] = [0; 2].map(|_| keys.key(Suite::Aes128CmSha1_80));
    let keys = Box::new(SideKeys { receive, send });
    call.world.command(protect(Protection::Keys(keys)));
    call.a_sends(header(8, 90, 480), &long[90]);
    assert_eq!(call.headers().len(), 3);
    assert_eq!(call.world.stats().a.transcoded, 1);
}

#[test]
fn a_long_packet_that_passes_is_not_lost_behind_others() {
    let mut call = Call::new("8", "96 8");
    call.world.command(Command::Convert {
        relay: RELAY,
        side: Side::A,
        conversion: Conversion::between(&line("96 8"), None, &line("8")).map(Box::new),
    });
    let opus = tone(Format::Opus, 8_000, 60, 1);
    let long = [0xd5; 1_200];
    let world = &mut call.world;
    // Both in one turn of the thread: two of three short packets still wait when the long one comes.
    for packet in [
        header(96, 0, 2_880).packet(&opus[0]),
        header(8, 1, 480).packet(&long),
    ] {
        let mut buffer = packet.clone();
        buffer.resize(1_600, 0);
        let mut datagram = Datagram::new(&mut buffer, packet.len());
        let verdict = world
            .table
            .handle_packet(world.now, B_RTP_KEY, addr(B), &mut datagram);
        if let Verdict::Forward { out, .. } = verdict {
            call.out.push((out, datagram.bytes().to_vec()));
        }
    }
    let out = &mut call.out;
    world
        .table
        .empty(|key, _, packet| out.push((key, packet.to_vec())));
    let lengths: Vec<_> = call.out.iter().map(|(_, packet)| packet.len()).collect();
    assert_eq!(lengths, [172, 172, 172, 1_212]);
}
