//! What a recorder is handed.

use super::*;
use crate::codec::Format;
use crate::recorder::{Coding, Meaning};
use crate::srtp::{Context, KeySeed, KeySource, Suite};

const RECORDING: RecordingId = RecordingId(77);

/// Sides, meanings and packets that the recorder was handed for one packet that arrived.
fn heard(
    world: &mut World,
    key: SocketKey,
    source: &str,
    packet: &[u8],
) -> Vec<(Side, Meaning, Vec<u8>)> {
    let mut heard = Vec::new();
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + OVERHEAD_BYTES_MAX, 0);
    let mut datagram = Datagram::new(&mut buffer, packet.len());
    world.table.handle_packet_heard(
        world.now,
        key,
        addr(source),
        &mut datagram,
        &mut |one: Heard<'_>| {
            assert_eq!(one.recording, RECORDING);
            heard.push((one.from, one.meaning, one.packet.to_vec()));
        },
    );
    heard
}

fn record(world: &mut World, recording: Option<RecordingId>) {
    world.command(Command::Record {
        relay: RELAY,
        recording,
    });
}

#[test]
fn both_sides_are_handed_over_while_the_relay_is_recorded() {
    let mut world = World::new();
    assert!(heard(&mut world, A_RTP_KEY, A, &rtp(7, 1)).is_empty());
    record(&mut world, Some(RECORDING));
    let mu = Meaning {
        coding: Coding::Sound(Format::Pcmu),
        clock_rate_hz: 8_000,
    };
    let from_a = heard(&mut world, A_RTP_KEY, A, &rtp(7, 2));
    assert_eq!(from_a, [(Side::A, mu, rtp(7, 2))]);
    let from_b = heard(&mut world, B_RTP_KEY, B, &rtp(8, 1));
    assert_eq!(from_b, [(Side::B, mu, rtp(8, 1))]);
    record(&mut world, None);
    assert!(heard(&mut world, A_RTP_KEY, A, &rtp(7, 3)).is_empty());
}

#[test]
fn strangers_and_reports_are_not_recorded() {
    let mut world = World::new();
    record(&mut world, Some(RECORDING));
    heard(&mut world, A_RTP_KEY, A, &rtp(7, 1));
    assert!(heard(&mut world, A_RTP_KEY, STRANGER, &rtp(9, 2)).is_empty());
    assert!(heard(&mut world, A_RTP_KEY, A, b"not RTP at all").is_empty());
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    assert!(heard(&mut world, A_RTCP_KEY, A_RTCP, &report).is_empty());
}

#[test]
fn what_is_said_to_a_side_on_hold_is_recorded_all_the_same() {
    let mut world = World::new();
    record(&mut world, Some(RECORDING));
    world.describe(Side::B, None, false);
    assert_eq!(heard(&mut world, A_RTP_KEY, A, &rtp(7, 1)).len(), 1);
}

#[test]
fn fax_is_not_recorded() {
    let mut world = World::new();
    record(&mut world, Some(RECORDING));
    world.command(Command::Traffic {
        relay: RELAY,
        traffic: Traffic::Datagrams,
    });
    assert!(heard(&mut world, A_RTP_KEY, A, b"\x00\x01\x05fax").is_empty());
}

#[test]
fn payload_types_mean_what_was_agreed() {
    let mut world = World::new();
    record(&mut world, Some(RECORDING));
    let description = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n\
        m=audio 4000 RTP/AVP 0 8 96 101\na=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/8000\n";
    let session = Session::parse(description.as_bytes()).expect("in order");
    world.command(Command::Payloads {
        relay: RELAY,
        side: Side::A,
        payloads: Box::new(Payloads::of(&session.media[0])),
    });
    for (payload_type, coding, clock_rate_hz) in [
        (8, Coding::Sound(Format::Pcma), 8_000),
        (96, Coding::Sound(Format::Opus), 48_000),
        (101, Coding::TelephoneEvent, 8_000),
        (97, Coding::Other, 8_000),
    ] {
        let mut packet = rtp(7, u16::from(payload_type));
        packet[1] = payload_type;
        let meaning = Meaning {
            coding,
            clock_rate_hz,
        };
        let heard = heard(&mut world, A_RTP_KEY, A, &packet);
        assert_eq!(heard, [(Side::A, meaning, packet)]);
    }
}

#[test]
fn a_sealed_packet_is_recorded_open_and_in_its_own_law() {
    let mut world = World::new();
    record(&mut world, Some(RECORDING));
    let mut keys = KeySource::new(&KeySeed([1; 32]));
    let [receive, send] = [0, 1].map(|_| keys.key(Suite::Aes128CmSha1_80));
    let mut sender = Context::new(&receive);
    world.command(Command::Protect {
        relay: RELAY,
        side: Side::A,
        protection: Protection::Keys(Box::new(SideKeys { receive, send })),
    });
    let conversion = Conversion::between(&line("0"), None, &line("8"));
    world.command(Command::Convert {
        relay: RELAY,
        side: Side::B,
        conversion: conversion.map(Box::new),
    });
    let clear = rtp(7, 1);
    let mut buffer = clear.clone();
    buffer.resize(clear.len() + OVERHEAD_BYTES_MAX, 0);
    let mut datagram = Datagram::new(&mut buffer, clear.len());
    sender.seal(&mut datagram).expect("room to grow");
    let sealed = datagram.bytes().to_vec();
    assert_ne!(sealed, clear);
    let heard_open = heard(&mut world, A_RTP_KEY, A, &sealed);
    assert_eq!(heard_open.len(), 1);
    assert_eq!(heard_open[0].2, clear);
    // The same packet again is not genuine, so nobody hears it.
    assert!(heard(&mut world, A_RTP_KEY, A, &sealed).is_empty());
}
