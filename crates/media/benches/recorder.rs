//! What recording costs: the thread that relays, which hands a copy over, and the one that makes a stream of it.
//!
//! `cargo bench -p media --bench recorder` prints nanoseconds per packet of 20 ms. A recorded call has a hundred of them
//! a second.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use media::codec::Format;
use media::recorder::{Coding, Meaning, Recorder, RecordingId, wav};
use media::relay::{
    Command, Datagram, Heard, Opening, RelayId, RelayTable, Side, SocketKey, Sockets, Traffic,
};
use media::rtp::Header;
use media::tone::Sine;

const PACKETS: u32 = 2_000_000;
const PACKET_TIME: Duration = Duration::from_millis(20);

/// A recorder is asked for what is ready twice a second.
const PACKETS_PER_TAKE: u32 = 25;

fn main() {
    for (what, recorded) in [("not recorded", false), ("recorded", true)] {
        println!(
            "relaying, {what:<12}: {:>7.1} ns per packet",
            relay(recorded)
        );
    }
    for format in Format::ALL {
        println!(
            "recording {format:<5}      : {:>7.1} ns per packet",
            record(format)
        );
    }
}

fn header(number: u32, ticks: u32) -> Header {
    Header {
        marker: false,
        payload_type: 0,
        sequence: number as u16,
        timestamp: number.wrapping_mul(ticks),
        ssrc: 7,
    }
}

/// One relay in one direction; the copies are thrown away.
fn relay(recorded: bool) -> f64 {
    let start = Instant::now();
    let far = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 4_000));
    let mut table = RelayTable::new(1, 4);
    let [a_rtp, a_rtcp, b_rtp, b_rtcp] = [0, 1, 2, 3].map(SocketKey);
    let relay = RelayId(1);
    let opening = Opening {
        a: Ipv4Addr::LOCALHOST.into(),
        b: Ipv4Addr::LOCALHOST.into(),
        timeout: Duration::ZERO,
        traffic: Traffic::Rtp,
        sockets: Sockets {
            a_rtp,
            a_rtcp,
            b_rtp,
            b_rtcp,
        },
    };
    table.open(start, relay, opening).expect("room for one");
    let remotes = [Side::A, Side::B].map(|side| Command::Remote {
        relay,
        side,
        rtp: Some(far),
        rtcp: None,
        expect_media: true,
        strict: false,
    });
    let recording = recorded.then_some(RecordingId(1));
    let commands = remotes
        .into_iter()
        .chain([Command::Record { relay, recording }]);
    for command in commands {
        table.handle(start, command).expect("just opened");
    }
    let mut packet = header(0, 160).packet(&[0; 160]);
    let mut copies: Vec<Box<[u8]>> = Vec::with_capacity(1_024);
    let began = Instant::now();
    for number in 0..PACKETS {
        packet[..12].copy_from_slice(&header(number, 160).write());
        let now = start + PACKET_TIME * number;
        let mut hear = |heard: Heard<'_>| copies.push(heard.packet.into());
        let mut datagram = Datagram::whole(&mut packet);
        black_box(table.handle_packet_heard(now, a_rtp, far, &mut datagram, &mut hear));
        if copies.len() == copies.capacity() {
            copies.clear();
        }
    }
    began.elapsed().as_nanos() as f64 / f64::from(PACKETS)
}

/// One side of one recording, with what is ready turned into bytes of a file.
fn record(format: Format) -> f64 {
    let packets = PACKETS / 20;
    let mut encoder = format.encoder(8_000, None).expect("an encoder");
    let rate = encoder.sample_rate_hz();
    let second: Vec<i16> = Sine::new(440.0, rate, 0.5).take(rate as usize).collect();
    let payloads: Vec<_> = second
        .chunks(rate as usize / 50)
        .map(|frame| {
            let mut payload = vec![0; 1_500];
            let bytes = encoder.encode(frame, &mut payload).expect("encoded");
            payload.truncate(bytes);
            payload
        })
        .collect();
    let meaning = Meaning {
        coding: Coding::Sound(format),
        clock_rate_hz: format.clock_rate_hz(),
    };
    let start = Instant::now();
    let mut recorder = Recorder::new(start);
    let (mut frames, mut bytes) = (Vec::new(), Vec::new());
    let packets_made: Vec<_> = (0..packets)
        .map(|number| {
            let payload = &payloads[number as usize % payloads.len()];
            header(number, format.clock_rate_hz() / 50).packet(payload)
        })
        .collect();
    let began = Instant::now();
    for (number, packet) in (0..).zip(&packets_made) {
        let now = start + PACKET_TIME * number;
        recorder.hear(now, Side::A, meaning, packet);
        if number % PACKETS_PER_TAKE == 0 {
            recorder.take(now, &mut frames);
            wav::append(&frames, &mut bytes);
            black_box(&bytes);
            frames.clear();
            bytes.clear();
        }
    }
    began.elapsed().as_nanos() as f64 / f64::from(packets)
}
