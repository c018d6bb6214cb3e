//! Real packets through a real media thread, by way of the desk that gives it its ports.

mod fast_path;

use std::net::{IpAddr, Ipv4Addr, UdpSocket as StdSocket};

use media::relay::{Side, Traffic};
use sockets::MediaEngine;
use tokio::sync::mpsc;

use super::*;
use crate::desk::MediaDesk;
use crate::inheritance::Inheritance;
use crate::ports::PortRange;
use crate::recorder::{Copied, RecorderCounts};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const RELAY: RelayId = RelayId(7);
/// Packets that wait for a recorder which never comes.
const COPIES: usize = 20;

/// The shard's side of one media thread.
struct World {
    desk: MediaDesk,
    mailbox: Mailbox<Mail>,
    counts: Arc<MediaCounts>,
    thread: Option<thread::JoinHandle<Sockets>>,
    /// Packets on their way to the recorder.
    copies: mpsc::Receiver<Copied>,
    recorder_counts: Arc<RecorderCounts>,
}

impl World {
    const PORTS: PortRange = PortRange {
        first: 34_000,
        last: 35_999,
    };

    fn new() -> Self {
        Self::with(MediaEngine::best())
    }

    fn with(engine: MediaEngine) -> Self {
        Self::make(in_process(engine), Inheritance::default())
    }

    /// With sockets that an earlier process left.
    fn after(inheritance: Inheritance) -> Self {
        Self::make(in_process(MediaEngine::best()), inheritance)
    }

    fn make(ways: MediaWays, inheritance: Inheritance) -> Self {
        let (shard, mailbox) = mailbox::mailbox(64).expect("mailbox");
        let counts = Arc::new(MediaCounts::default());
        let (recorder, copies, recorder_counts) = RecorderQueue::unread(COPIES);
        let range = Self::PORTS;
        let endpoint = crate::certificate::endpoint().expect("a certificate");
        let (commands, thread) = start(
            0,
            ways,
            range.pairs(),
            endpoint,
            shard,
            recorder,
            Arc::clone(&counts),
        )
        .expect("start");
        Self {
            desk: MediaDesk::new(
                range,
                Duration::from_secs(5),
                commands,
                Arc::new(inheritance),
            ),
            mailbox,
            counts,
            thread: Some(thread),
            copies,
            recorder_counts,
        }
    }

    /// Opens the relay and says where its two sides listen.
    fn open(&mut self, relay: RelayId) -> (SocketAddr, SocketAddr) {
        let open = Command::Open {
            relay,
            a: LOCAL,
            b: LOCAL,
            timeout: Duration::ZERO,
            traffic: Traffic::Rtp,
        };
        match self.desk.command(Instant::now(), open) {
            Some(Event::Opened {
                relay: opened,
                a_port,
                b_port,
            }) if opened == relay => ((LOCAL, a_port).into(), (LOCAL, b_port).into()),
            other => panic!("not opened: {other:?}"),
        }
    }

    fn remote(&mut self, side: Side, far: SocketAddr) {
        let remote = Command::Remote {
            relay: RELAY,
            side,
            rtp: Some(far),
            rtcp: None,
            expect_media: true,
            strict: false,
        };
        assert_eq!(self.desk.command(Instant::now(), remote), None);
    }

    fn event(&mut self) -> Event {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.mailbox.next() {
                Some(Mail::Media(event)) => {
                    self.desk.heard(Instant::now(), &event);
                    return event;
                }
                Some(_) => panic!("mail of another kind"),
                None => thread::yield_now(),
            }
            assert!(Instant::now() < deadline, "no event came");
        }
    }
}

impl World {
    /// Ends, and leaves the sockets of calls with what waits in them.
    fn end(&mut self) -> Inheritance {
        self.desk.stop();
        let thread = self.thread.take().expect("runs");
        let sockets = thread.join().expect("ends");
        let held = self.desk.held(Instant::now());
        let held = sockets
            .into_iter()
            .filter(|(key, _)| held.contains(&(key & !1)));
        Inheritance::of(held.map(|(_, socket)| socket.into()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

fn in_process(engine: MediaEngine) -> MediaWays {
    MediaWays {
        engine,
        fast_path: None,
    }
}

/// A far end.
fn phone() -> (StdSocket, SocketAddr) {
    let socket = StdSocket::bind((LOCAL, 0)).expect("bind");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("timeout");
    let address = socket.local_addr().expect("local");
    (socket, address)
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xd5; 160]);
    packet
}

fn receive(socket: &StdSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (count, source) = socket.recv_from(&mut buffer).expect("a packet");
    (buffer[..count].to_vec(), source)
}

#[test]
fn packets_go_both_ways_from_the_ports_that_were_announced_by_every_engine() {
    for engine in [MediaEngine::Polled, MediaEngine::best()] {
        let mut world = World::with(engine);
        let (to_a, to_b) = world.open(RELAY);
        let ((alice, alice_at), (bob, bob_at)) = (phone(), phone());
        world.remote(Side::A, alice_at);
        world.remote(Side::B, bob_at);
        for sequence in 0..50 {
            alice.send_to(&rtp(1, sequence), to_a).expect("send");
            bob.send_to(&rtp(2, sequence), to_b).expect("send");
        }
        for sequence in 0..50 {
            assert_eq!(receive(&bob), (rtp(1, sequence), to_b));
            assert_eq!(receive(&alice), (rtp(2, sequence), to_a));
        }
        world
            .desk
            .command(Instant::now(), Command::Close { relay: RELAY });
        let Event::Closed { stats, .. } = world.event() else {
            panic!("the relay closes with its statistics");
        };
        assert_eq!((stats.a.packets, stats.b.packets), (50, 50));
        assert_eq!((stats.a.bytes, stats.a.lost), (50 * 172, 0));
        assert_eq!(world.desk.counts(Instant::now()).quiet, 2);
    }
}

#[test]
fn a_relay_comes_back_on_its_ports_with_what_waits_in_them() {
    let mut world = World::new();
    let (to_a, to_b) = world.open(RELAY);
    let over = RelayId(8);
    let (resting, _) = world.open(over);
    let close = Command::Close { relay: over };
    world.desk.command(Instant::now(), close);
    assert!(matches!(world.event(), Event::Closed { .. }));
    let left = world.end();
    drop(world);

    let ((alice, alice_at), (bob, bob_at)) = (phone(), phone());
    for sequence in 0..20 {
        alice.send_to(&rtp(1, sequence), to_a).expect("send");
        bob.send_to(&rtp(2, sequence), to_b).expect("send");
    }
    let (late, _) = phone();
    late.send_to(&rtp(3, 0), resting).expect("send");
    let mut world = World::after(left);
    let now = Instant::now();
    let reopen = Command::Reopen {
        relay: RELAY,
        a: to_a,
        b: to_b,
        timeout: Duration::ZERO,
        traffic: Traffic::Rtp,
    };
    let opened = Event::Opened {
        relay: RELAY,
        a_port: to_a.port(),
        b_port: to_b.port(),
    };
    assert_eq!(world.desk.command(now, reopen.clone()), Some(opened));
    world.remote(Side::A, alice_at);
    world.remote(Side::B, bob_at);
    world.desk.all_are_back(now);
    for sequence in 0..20 {
        assert_eq!(receive(&bob), (rtp(1, sequence), to_b));
        assert_eq!(receive(&alice), (rtp(2, sequence), to_a));
    }
    let counts = world.desk.counts(now);
    assert_eq!(
        (counts.in_use, counts.quiet),
        (2, 2),
        "what rested rests on"
    );

    // The same ports are not to be had twice, nor from another program.
    let failed = world.desk.command(
        now,
        Command::Reopen {
            relay: over,
            a: resting,
            b: to_b,
            timeout: Duration::ZERO,
            traffic: Traffic::Rtp,
        },
    );
    assert!(matches!(failed, Some(Event::OpenFailed { relay, .. }) if relay == over));
}

#[test]
fn a_phone_behind_nat_is_answered_where_it_really_is() {
    let mut world = World::new();
    let (to_a, to_b) = world.open(RELAY);
    let ((alice, _), (bob, bob_at)) = (phone(), phone());
    // What Alice's SDP said leads nowhere.
    let (_behind_nat, described) = phone();
    world.remote(Side::A, described);
    world.remote(Side::B, bob_at);
    alice.send_to(&rtp(1, 0), to_a).expect("send");
    assert_eq!(receive(&bob).0, rtp(1, 0));
    bob.send_to(&rtp(2, 0), to_b).expect("send");
    assert_eq!(receive(&alice), (rtp(2, 0), to_a));

    // A stranger who finds the port is neither forwarded nor answered.
    let (stranger, _) = phone();
    stranger.send_to(&rtp(3, 0), to_a).expect("send");
    alice.send_to(&rtp(1, 1), to_a).expect("send");
    assert_eq!(receive(&bob).0, rtp(1, 1));
    bob.send_to(&rtp(2, 1), to_b).expect("send");
    assert_eq!(receive(&alice).0, rtp(2, 1));
}

#[test]
fn packets_for_a_relay_that_is_gone_are_thrown_away() {
    let mut world = World::new();
    let (to_a, _) = world.open(RELAY);
    world
        .desk
        .command(Instant::now(), Command::Close { relay: RELAY });
    assert!(matches!(world.event(), Event::Closed { .. }));
    let (late, _) = phone();
    late.send_to(&rtp(1, 0), to_a).expect("send");
    let deadline = Instant::now() + Duration::from_secs(10);
    while world.counts.dropped[reason(DropReason::NoRelay)].load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < deadline, "the packet was not seen");
        thread::yield_now();
    }
    // While these ports rest, another call gets others.
    let (elsewhere, _) = world.open(RelayId(8));
    assert_ne!(elsewhere, to_a);
}

#[test]
fn a_packet_is_held_back_for_no_longer_than_the_pace() {
    let mut world = World::new();
    let (to_a, _) = world.open(RELAY);
    let ((alice, alice_at), (bob, bob_at)) = (phone(), phone());
    world.remote(Side::A, alice_at);
    world.remote(Side::B, bob_at);
    let mut delays = Vec::new();
    // Each is sent right after a look and waits for the next one. Not the worst of them, nor the median: this machine
    // may be busy with something else, and where it is busy for long, it gets more rounds.
    let prompt = (0..50).any(|_| {
        delays = (0..100)
            .map(|sequence| {
                let sent = Instant::now();
                alice.send_to(&rtp(1, sequence), to_a).expect("send");
                receive(&bob);
                sent.elapsed()
            })
            .collect();
        delays.sort();
        delays[10] <= sockets::MEDIA_PACE + Duration::from_millis(1)
    });
    assert!(prompt, "{delays:?}");
}

#[test]
fn srtp_from_one_phone_is_rtp_for_the_other() {
    use ::media::relay::{Datagram, Protection, SideKeys};
    use ::media::srtp::{Context, KeySeed, KeySource, Suite};
    let mut source = KeySource::new(&KeySeed([1; 32]));
    for suite in [Suite::Aes128CmSha1_80, Suite::Aes256Gcm] {
        let keys = SideKeys {
            receive: source.key(suite),
            send: source.key(suite),
        };
        let (mut seals, mut opens) = (Context::new(&keys.receive), Context::new(&keys.send));
        let mut world = World::new();
        let (to_a, to_b) = world.open(RELAY);
        let ((alice, alice_at), (bob, bob_at)) = (phone(), phone());
        let protect = Command::Protect {
            relay: RELAY,
            side: Side::A,
            protection: Protection::Keys(Box::new(keys)),
        };
        assert_eq!(world.desk.command(Instant::now(), protect), None);
        world.remote(Side::A, alice_at);
        world.remote(Side::B, bob_at);
        // A packet in the clear on the sealed side is nobody's.
        alice.send_to(&rtp(1, 9_999), to_a).expect("send");
        for sequence in 0..50 {
            let mut buffer = [0; 256];
            let plain = rtp(1, sequence);
            buffer[..plain.len()].copy_from_slice(&plain);
            let mut datagram = Datagram::new(&mut buffer, plain.len());
            seals.seal(&mut datagram).expect("sealed");
            alice.send_to(datagram.bytes(), to_a).expect("send");
            assert_eq!(receive(&bob), (plain, to_b));

            bob.send_to(&rtp(2, sequence), to_b).expect("send");
            let (mut sealed, from) = receive(&alice);
            assert_eq!(from, to_a);
            assert_ne!(sealed[12..172], rtp(2, sequence)[12..]);
            let mut datagram = Datagram::whole(&mut sealed);
            opens.open(&mut datagram).expect("genuine");
            assert_eq!(datagram.bytes(), rtp(2, sequence));
        }
        let dropped = &world.counts.dropped[OVERSIZED + 2];
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_pause_is_filled_at_the_pace_of_speech_and_numbered_through() {
    use ::media::g711::Law;
    use ::media::relay::Noise;
    let mut world = World::new();
    let (to_a, _) = world.open(RELAY);
    let ((alice, alice_at), (bob, bob_at)) = (phone(), phone());
    world.remote(Side::A, alice_at);
    world.remote(Side::B, bob_at);
    let fill = Command::ComfortNoise {
        relay: RELAY,
        side: Side::B,
        noise: Some(Noise::Silence(Law::Mu)),
    };
    world.desk.command(Instant::now(), fill);
    // The patience begins when the packet comes to the relay: before bob has it, however late he looks.
    let began = Instant::now();
    alice.send_to(&rtp(1, 10), to_a).expect("send");
    assert_eq!(receive(&bob).0, rtp(1, 10));
    let filled: Vec<_> = (0..10).map(|_| receive(&bob).0).collect();
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(340),
        "200 ms of patience, then nine frames: {took:?}"
    );
    for (after, packet) in filled.iter().enumerate() {
        let header = ::media::rtp::Header::parse(packet).expect("RTP");
        let expected = (1, 0, 11 + after as u16);
        assert_eq!(
            (header.ssrc, header.payload_type, header.sequence),
            expected
        );
        assert!(packet[12..].iter().all(|code| *code == 0xff));
    }
    // What the source says next comes behind the noise.
    alice.send_to(&rtp(1, 11), to_a).expect("send");
    let mut last = filled.len() as u16 + 10;
    loop {
        let (packet, _) = receive(&bob);
        let header = ::media::rtp::Header::parse(&packet).expect("RTP");
        assert_eq!(header.sequence, last + 1);
        last = header.sequence;
        if packet[12] != 0xff {
            break;
        }
    }
}

#[test]
fn frames_are_recoded_for_who_knows_the_other_law_only() {
    use ::media::g711::{decode_mu, encode_a};
    let mut world = World::new();
    let (to_a, _) = world.open(RELAY);
    let ((alice, alice_at), (bob, bob_at)) = (phone(), phone());
    world.remote(Side::A, alice_at);
    world.remote(Side::B, bob_at);
    let convert = Command::Convert {
        relay: RELAY,
        side: Side::B,
        conversion: conversion("0", "8"),
    };
    world.desk.command(Instant::now(), convert);
    alice.send_to(&rtp(1, 1), to_a).expect("send");
    let (packet, _) = receive(&bob);
    assert_eq!((packet.len(), packet[1]), (172, 8));
    assert!(
        packet[12..]
            .iter()
            .all(|code| *code == encode_a(decode_mu(0xd5)))
    );
}

#[test]
fn a_recorded_relay_hands_copies_over_and_waits_for_nobody() {
    use ::media::recorder::RecordingId;
    let mut world = World::new();
    let (to_a, to_b) = world.open(RELAY);
    let ((alice, alice_at), (bob, bob_at)) = (phone(), phone());
    world.remote(Side::A, alice_at);
    world.remote(Side::B, bob_at);
    alice.send_to(&rtp(1, 0), to_a).expect("send");
    assert_eq!(receive(&bob), (rtp(1, 0), to_b));
    assert!(world.copies.try_recv().is_err(), "nobody records yet");
    let record = Command::Record {
        relay: RELAY,
        recording: Some(RecordingId(3)),
    };
    world.desk.command(Instant::now(), record);
    let before = Instant::now();
    let pass = |number| {
        alice.send_to(&rtp(1, number), to_a).expect("send");
        assert_eq!(receive(&bob), (rtp(1, number), to_b));
    };
    // The command does not come the way packets come: it is there when something is copied.
    let begun = (1..=1_000).find_map(|number| {
        pass(number);
        Some((number, world.copies.try_recv().ok()?))
    });
    let mut taken = vec![begun.expect("a copy")];
    let first = taken[0].0;
    (first + 1..=first + 50).for_each(pass);
    taken.extend((first + 1..).map_while(|number| Some((number, world.copies.try_recv().ok()?))));
    assert_eq!(taken.len(), 1 + COPIES, "the rest found no room");
    for (number, copied) in taken {
        assert_eq!((copied.recording, copied.from), (RecordingId(3), Side::A));
        assert_eq!(&*copied.packet, rtp(1, number));
        assert!(copied.at >= before, "when it arrived");
    }
    let lost = world.recorder_counts.lost.load(Ordering::Relaxed);
    assert_eq!(lost, 50 - COPIES as u64);
}

/// What packets need between a sender that was given one format and a receiver that has another.
fn conversion(sent: &str, understood: &str) -> Option<Box<::media::relay::Conversion>> {
    let [sent, understood] = [sent, understood].map(|formats| {
        let text = format!(
            "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP {formats}\n\
             a=rtpmap:96 opus/48000/2\n"
        );
        let session = ::media::sdp::Session::parse(text.as_bytes());
        session.expect("in order").media[0].clone()
    });
    ::media::relay::Conversion::between(&sent, None, &understood).map(Box::new)
}

#[test]
fn one_packet_may_become_several_and_their_order_stays() {
    use ::media::codec::Format;
    let mut world = World::new();
    let (to_a, _) = world.open(RELAY);
    let ((alice, alice_at), (bob, bob_at)) = (phone(), phone());
    world.remote(Side::A, alice_at);
    world.remote(Side::B, bob_at);
    let convert = Command::Convert {
        relay: RELAY,
        side: Side::B,
        conversion: conversion("8", "96"),
    };
    world.desk.command(Instant::now(), convert);
    // Packets of 60 ms become three of 20 ms each.
    for number in 0..4_u16 {
        let header = ::media::rtp::Header {
            marker: false,
            payload_type: 8,
            sequence: number,
            timestamp: u32::from(number) * 480,
            ssrc: 1,
        };
        alice
            .send_to(&header.packet(&[0xd5; 480]), to_a)
            .expect("send");
    }
    let decoder = Format::Opus.decoder(8_000).expect("a rate of Opus");
    for number in 0..12_u16 {
        let (packet, _) = receive(&bob);
        let packet = ::media::rtp::Packet::parse(&packet).expect("RTP");
        assert_eq!(
            (packet.header.payload_type, packet.header.sequence),
            (96, number)
        );
        assert_eq!(packet.header.timestamp, u32::from(number) * 960);
        assert_eq!(decoder.samples_in(packet.payload), Ok(160));
    }
}
