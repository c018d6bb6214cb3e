//! What one packet costs the relay: the decision alone, without the sockets around it.
//!
//! `cargo bench -p media --bench relay` prints nanoseconds per packet for a table of busy calls
//! whose packets arrive in an order that defeats the cache, as they do in life.

use std::f32::consts::TAU;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use media::codec::Format;
use media::relay::{
    Command, Conversion, Datagram, Opening, RelayId, RelayTable, Side, SocketKey, Sockets, Traffic,
    Verdict,
};
use media::rtp::Header;
use media::sdp::{MediaLine, Session};

const PACKETS: u32 = 4_000_000;
const PACKET_TIME: Duration = Duration::from_millis(20);

fn main() {
    for relays in [1, 100, 10_000] {
        let nanoseconds = relay(relays);
        println!("handle_packet, {relays:>6} relays: {nanoseconds:>7.1} ns per packet");
    }
    for (from, to) in TRANSCODED {
        let microseconds = transcoded(from, to);
        println!("{from:>5} to {to:<5} 20 ms, 100 relays: {microseconds:>7.1} us per packet");
    }
    println!(
        "Session::parse and to_bytes:    {:>7.1} ns per description",
        description()
    );
}

/// Nanoseconds per packet when every relay is busy in both directions.
fn relay(relays: u32) -> f64 {
    let start = Instant::now();
    let mut table = RelayTable::new(relays, relays * 4);
    for relay in 0..relays {
        open(&mut table, start, relay);
    }
    let mut packet = Header {
        marker: false,
        payload_type: 0,
        sequence: 0,
        timestamp: 0,
        ssrc: 0,
    }
    .packet(&[0; 160]);
    let streams = relays * 2;
    // A prime step visits all streams, and neighbours in time are far from each other in memory.
    let step = 7_919;

    let began = Instant::now();
    let mut forwarded = 0_u32;
    for number in 0..PACKETS {
        let round = number / streams;
        let stream = (u64::from(number) * step % u64::from(streams)) as u32;
        let (relay, side) = (stream / 2, stream % 2);
        let header = Header {
            marker: false,
            payload_type: 0,
            sequence: round as u16,
            timestamp: round.wrapping_mul(160),
            ssrc: stream,
        };
        packet[..12].copy_from_slice(&header.write());
        let now = start + PACKET_TIME * round;
        let verdict = table.handle_packet(
            now,
            SocketKey(relay * 4 + side * 2),
            far_end(relay, side),
            &mut Datagram::whole(&mut packet),
        );
        forwarded += u32::from(matches!(black_box(verdict), Verdict::Forward { .. }));
    }
    let elapsed = began.elapsed();
    assert_eq!(forwarded, PACKETS, "every packet was for somebody");
    elapsed.as_nanos() as f64 / f64::from(PACKETS)
}

fn open(table: &mut RelayTable, now: Instant, relay: u32) {
    let [a_rtp, a_rtcp, b_rtp, b_rtcp] = [0, 1, 2, 3].map(|socket| SocketKey(relay * 4 + socket));
    let opening = Opening {
        a: Ipv4Addr::LOCALHOST.into(),
        b: Ipv4Addr::LOCALHOST.into(),
        timeout: Duration::from_secs(300),
        traffic: Traffic::Rtp,
        sockets: Sockets {
            a_rtp,
            a_rtcp,
            b_rtp,
            b_rtcp,
        },
    };
    let id = RelayId(u64::from(relay));
    table
        .open(now, id, opening)
        .expect("the table was made for so many");
    for (side, number) in [(Side::A, 0), (Side::B, 1)] {
        let rtp = Some(far_end(relay, number));
        let remote = Command::Remote {
            relay: id,
            side,
            rtp,
            rtcp: None,
            expect_media: true,
            strict: false,
        };
        table.handle(now, remote).expect("just opened");
    }
}

fn far_end(relay: u32, side: u32) -> SocketAddr {
    let [_, high, middle, low] = relay.to_be_bytes();
    (Ipv4Addr::new(10 + side as u8, high, middle, low), 4_000).into()
}

/// Pairs that are measured: what transcoding costs is nearly all the encoder's.
const TRANSCODED: [(Format, Format); 6] = [
    (Format::Pcma, Format::Opus),
    (Format::Opus, Format::Pcma),
    (Format::G722, Format::Opus),
    (Format::Opus, Format::G722),
    (Format::Pcma, Format::G722),
    (Format::G722, Format::Pcma),
];

/// Microseconds per packet of something like speech, through relays that convert.
fn transcoded(from: Format, to: Format) -> f64 {
    const RELAYS: u32 = 100;
    const ROUNDS: u32 = 100;
    let start = Instant::now();
    let mut table = RelayTable::new(RELAYS, RELAYS * 4);
    let [sent, understood] = [from, to].map(line);
    let conversion = Conversion::between(&sent, None, &understood).map(Box::new);
    for relay in 0..RELAYS {
        open(&mut table, start, relay);
        let convert = Command::Convert {
            relay: RelayId(u64::from(relay)),
            side: Side::B,
            conversion: conversion.clone(),
        };
        table.handle(start, convert).expect("just opened");
    }
    let rate = from.sample_rate_hz().unwrap_or(16_000);
    let mut encoder = from.encoder(rate, None).expect("a rate it has");
    let payloads: Vec<Vec<u8>> = speech(rate, ROUNDS as usize)
        .iter()
        .map(|frame| {
            let mut payload = [0; 1_000];
            let bytes = encoder.encode(frame, &mut payload).expect("a frame");
            payload[..bytes].to_vec()
        })
        .collect();
    let payload_type = from.described().payload_type;
    let ticks = from.clock_rate_hz() / 50;
    let mut buffer = [0; 1_600];
    let mut forwarded = 0;
    let began = Instant::now();
    for (round, payload) in (0..ROUNDS).zip(&payloads) {
        for relay in 0..RELAYS {
            let header = Header {
                marker: false,
                payload_type,
                sequence: round as u16,
                timestamp: round * ticks,
                ssrc: relay,
            };
            let packet = header.packet(payload);
            buffer[..packet.len()].copy_from_slice(&packet);
            let mut datagram = Datagram::new(&mut buffer, packet.len());
            let now = start + PACKET_TIME * round;
            let verdict =
                table.handle_packet(now, SocketKey(relay * 4), far_end(relay, 0), &mut datagram);
            forwarded += u32::from(matches!(black_box(verdict), Verdict::Forward { .. }));
        }
    }
    let elapsed = began.elapsed();
    assert_eq!(forwarded, RELAYS * ROUNDS, "one packet for each");
    elapsed.as_micros() as f64 / f64::from(forwarded)
}

/// An audio line with one format.
fn line(format: Format) -> MediaLine {
    let codec = format.described();
    let text = format!(
        "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP {0}\na=rtpmap:{0} {1}/{2}{3}\n",
        codec.payload_type,
        codec.name,
        codec.clock_rate_hz,
        if codec.channels > 1 { "/2" } else { "" },
    );
    let session = Session::parse(text.as_bytes()).expect("in order");
    session.media[0].clone()
}

/// Frames of 20 ms: a voice of 120 Hz with its overtones that swells and falls four times a second, and a little breath.
fn speech(rate: u32, frames: usize) -> Vec<Vec<i16>> {
    let mut noise = 1_u32;
    let sample = |at: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let t = at as f32 / rate as f32;
        let swell = 0.5 + 0.5 * (t * 4.0 * TAU).sin();
        let voice: f32 = (1..16_u8)
            .map(|n| (t * 120.0 * f32::from(n) * TAU).sin() / f32::from(n))
            .sum();
        let breath = (noise >> 16) as f32 / 65_536.0 - 0.5;
        ((voice * 4_000.0 + breath * 1_500.0) * swell) as i16
    };
    let samples: Vec<i16> = (0..frames * rate as usize / 50).map(sample).collect();
    samples
        .chunks(rate as usize / 50)
        .map(<[i16]>::to_vec)
        .collect()
}

/// Nanoseconds to read and print a description of the usual size.
fn description() -> f64 {
    const ROUNDS: u32 = 100_000;
    let text = "v=0\r\no=- 3724394400 3724394405 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
        m=audio 49170 RTP/AVP 0 8 9 18 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:9 G722/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
    let began = Instant::now();
    for _ in 0..ROUNDS {
        let session = Session::parse(black_box(text.as_bytes())).expect("in order");
        black_box(session.to_bytes());
    }
    began.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}
