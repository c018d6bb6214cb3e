//! The table as a media thread uses it: one relay between two far ends, on simulated time.

mod loans;
mod recorded;
mod ringback;
mod transcoded;

use super::*;
use crate::dtmf;
use crate::relay::{Conversion, Payloads, Protection, SideKeys, StreamStats};
use crate::rtp::Header;
use crate::sdp::{MediaLine, Session};

const RELAY: RelayId = RelayId(1);
const A: &str = "198.51.100.1:4000";
const A_RTCP: &str = "198.51.100.1:4001";
const B: &str = "203.0.113.1:5000";
const B_RTCP: &str = "203.0.113.1:5001";
const STRANGER: &str = "192.0.2.66:6666";
const A_RTP_KEY: SocketKey = SocketKey(4);
const A_RTCP_KEY: SocketKey = SocketKey(5);
const B_RTP_KEY: SocketKey = SocketKey(8);
const B_RTCP_KEY: SocketKey = SocketKey(9);
const TIMEOUT: Duration = Duration::from_secs(30);

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("test address")
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 160;
    Header {
        marker: false,
        payload_type: 0,
        sequence,
        timestamp,
        ssrc,
    }
    .packet(&[0xff; 160])
}

/// An audio line with these formats; 96 is Opus, 101 and 110 are key presses at 8 and at 48 kHz.
fn line(formats: &str) -> MediaLine {
    let text = format!(
        "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP {formats}\n\
         a=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/8000\na=rtpmap:110 telephone-event/48000\n"
    );
    let session = Session::parse(text.as_bytes()).expect("in order");
    session.media[0].clone()
}

fn opening() -> Opening {
    let local = addr("192.0.2.1:0").ip();
    let sockets = Sockets {
        a_rtp: A_RTP_KEY,
        a_rtcp: A_RTCP_KEY,
        b_rtp: B_RTP_KEY,
        b_rtcp: B_RTCP_KEY,
    };
    Opening {
        a: local,
        b: local,
        timeout: TIMEOUT,
        traffic: Traffic::Rtp,
        sockets,
    }
}

/// A table with one relay between A and B, and a clock.
struct World {
    table: RelayTable,
    start: Instant,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with(opening())
    }

    fn with(opening: Opening) -> Self {
        let start = Instant::now();
        let mut world = Self {
            table: RelayTable::new(2, 16),
            start,
            now: start,
        };
        world
            .table
            .open(start, RELAY, opening)
            .expect("room for one");
        world.describe(Side::A, Some(A), true);
        world.describe(Side::B, Some(B), true);
        world
    }

    fn at_ms(&mut self, ms: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(ms);
        self
    }

    fn describe(&mut self, side: Side, rtp: Option<&str>, expect_media: bool) {
        let rtp = rtp.map(addr);
        self.command(Command::Remote {
            relay: RELAY,
            side,
            rtp,
            rtcp: None,
            expect_media,
            strict: false,
        });
    }

    fn command(&mut self, command: Command) -> Option<Event> {
        self.table
            .handle(self.now, command)
            .expect("a command that is in order")
    }

    fn packet(&mut self, key: SocketKey, source: &str, packet: &[u8]) -> Verdict {
        self.table.handle_packet(
            self.now,
            key,
            addr(source),
            &mut Datagram::whole(&mut packet.to_vec()),
        )
    }

    #[track_caller]
    fn forwards(&mut self, key: SocketKey, source: &str, packet: &[u8], out: SocketKey, to: &str) {
        assert_eq!(
            self.packet(key, source, packet),
            Verdict::Forward { out, to: addr(to) }
        );
    }

    #[track_caller]
    fn drops(&mut self, key: SocketKey, source: &str, packet: &[u8], why: DropReason) {
        assert_eq!(self.packet(key, source, packet), Verdict::Drop(why));
    }

    fn silences(&mut self) -> Vec<Silent> {
        let mut silences = Vec::new();
        self.table.tick(self.now, |event| {
            if let Event::Timeout { silent, .. } = event {
                silences.push(silent);
            }
        });
        silences
    }

    fn stats(&self) -> RelayStats {
        self.table.stats(RELAY).expect("still open")
    }
}

#[test]
fn media_and_reports_cross() {
    let mut world = World::new();
    world.forwards(A_RTP_KEY, A, &rtp(1, 1), B_RTP_KEY, B);
    world.forwards(B_RTP_KEY, B, &rtp(2, 1), A_RTP_KEY, A);
    let block = rtcp::ReportBlock {
        ssrc: 2,
        fraction_lost: 64,
        cumulative_lost: 5,
        highest_sequence: 20,
        jitter_ticks: 80,
    };
    world.forwards(
        A_RTCP_KEY,
        A_RTCP,
        &rtcp::receiver_report(1, block),
        B_RTCP_KEY,
        B_RTCP,
    );
    let stats = world.stats();
    assert_eq!(
        (stats.a.packets, stats.a.bytes, stats.b.packets),
        (1, 172, 1)
    );
    assert_eq!((stats.a.ssrc, stats.b.ssrc), (1, 2));
    let a_rtcp = stats.a_rtcp;
    assert_eq!(
        (
            a_rtcp.reports,
            a_rtcp.fraction_lost,
            a_rtcp.lost,
            a_rtcp.jitter_us
        ),
        (1, 64, 5, 10_000)
    );
}

#[test]
fn the_answer_goes_where_the_packets_come_from() {
    let mut world = World::new();
    world.describe(Side::A, Some("192.168.1.2:4000"), true);
    world.forwards(B_RTP_KEY, B, &rtp(2, 1), A_RTP_KEY, "192.168.1.2:4000");
    world.forwards(A_RTP_KEY, "198.51.100.9:61000", &rtp(1, 1), B_RTP_KEY, B);
    world.forwards(B_RTP_KEY, B, &rtp(2, 2), A_RTP_KEY, "198.51.100.9:61000");
    world.drops(A_RTP_KEY, STRANGER, &rtp(9, 1), DropReason::Stranger);
    assert_eq!(world.stats().a.dropped_source, 1);
    world.drops(
        A_RTCP_KEY,
        STRANGER,
        &[0x80, 201, 0, 1, 0, 0, 0, 9],
        DropReason::Stranger,
    );
    world.forwards(
        A_RTCP_KEY,
        "198.51.100.9:61001",
        &[0x80, 201, 0, 1, 0, 0, 0, 1],
        B_RTCP_KEY,
        B_RTCP,
    );
}

#[test]
fn reports_of_a_muted_side_still_pass() {
    let mut world = World::new();
    world.describe(Side::A, Some("192.168.1.2:4000"), true);
    world.forwards(A_RTP_KEY, "198.51.100.9:61000", &rtp(1, 1), B_RTP_KEY, B);
    let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
    world.forwards(
        A_RTCP_KEY,
        "198.51.100.9:61001",
        &report,
        B_RTCP_KEY,
        B_RTCP,
    );
    world.describe(Side::A, Some("0.0.0.0:4000"), false);
    world.drops(B_RTP_KEY, B, &rtp(2, 1), DropReason::NoDestination);
    world.forwards(
        A_RTCP_KEY,
        "198.51.100.9:61001",
        &report,
        B_RTCP_KEY,
        B_RTCP,
    );
}

#[test]
fn what_is_not_media_neither_passes_nor_settles() {
    let mut world = World::new();
    let stun = [
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    world.drops(
        A_RTP_KEY,
        STRANGER,
        &stun,
        DropReason::NotRtp(RtpError::Version),
    );
    world.drops(
        A_RTCP_KEY,
        A_RTCP,
        &rtp(1, 1),
        DropReason::NotRtcp(RtcpError::Type),
    );
    assert_eq!(world.stats().a.dropped_invalid, 1);
    world.forwards(B_RTP_KEY, B, &rtp(2, 1), A_RTP_KEY, A);
}

#[test]
fn fax_passes_unparsed() {
    let mut world = World::with(Opening {
        traffic: Traffic::Datagrams,
        ..opening()
    });
    world.forwards(A_RTP_KEY, A, &[0, 1, 2], B_RTP_KEY, B);
    world.drops(A_RTP_KEY, STRANGER, &[0, 1, 2], DropReason::Stranger);
    assert_eq!(
        world.stats().a,
        StreamStats {
            packets: 1,
            bytes: 3,
            dropped_source: 1,
            ..world.stats().a
        }
    );
}

#[test]
fn a_line_may_turn_from_audio_to_fax() {
    let mut world = World::new();
    world.drops(
        A_RTP_KEY,
        A,
        &[0, 1, 2],
        DropReason::NotRtp(RtpError::Truncated),
    );
    world.command(Command::Traffic {
        relay: RELAY,
        traffic: Traffic::Datagrams,
    });
    world.forwards(A_RTP_KEY, A, &[0, 1, 2], B_RTP_KEY, B);
}

#[test]
fn ipv4_and_ipv6_are_joined() {
    let b = addr("[2001:db8::1]:0").ip();
    let start = Instant::now();
    let mut table = RelayTable::new(1, 16);
    table
        .open(start, RELAY, Opening { b, ..opening() })
        .expect("room");
    let remote = |side, rtp| Command::Remote {
        relay: RELAY,
        side,
        rtp: Some(addr(rtp)),
        rtcp: None,
        expect_media: true,
        strict: false,
    };
    table
        .handle(start, remote(Side::A, A))
        .expect("IPv4 towards A");
    table
        .handle(start, remote(Side::B, "[2001:db8::2]:5000"))
        .expect("IPv6 towards B");
    assert_eq!(
        table.handle(start, remote(Side::B, B)),
        Err(CommandError::AddressFamily)
    );
    assert_eq!(
        table.handle(start, remote(Side::A, "239.0.0.1:4000")),
        Err(CommandError::NotUnicast)
    );
    let verdict = table.handle_packet(
        start,
        A_RTP_KEY,
        addr(A),
        &mut Datagram::whole(&mut rtp(1, 1)),
    );
    assert_eq!(
        verdict,
        Verdict::Forward {
            out: B_RTP_KEY,
            to: addr("[2001:db8::2]:5000")
        }
    );
}

#[test]
fn port_zero_is_no_destination() {
    let mut world = World::new();
    world.describe(Side::B, Some("203.0.113.1:0"), false);
    world.drops(A_RTP_KEY, A, &rtp(1, 1), DropReason::NoDestination);
}

#[test]
fn silence_is_reported_once_and_only_where_media_are_expected() {
    let mut world = World::new();
    world.at_ms(29_999);
    assert_eq!(world.silences(), []);
    world.packet(B_RTP_KEY, B, &rtp(2, 1));
    world.at_ms(30_000);
    assert_eq!(world.silences(), [Silent::A]);
    world.at_ms(31_000);
    assert_eq!(world.silences(), []);
    world.at_ms(60_000);
    assert_eq!(world.silences(), [Silent::Both]);
    world.packet(A_RTP_KEY, A, &rtp(1, 1));
    world.at_ms(89_999);
    assert_eq!(world.silences(), []);
    world.at_ms(90_000);
    assert_eq!(world.silences(), [Silent::Both]);
}

#[test]
fn a_held_side_may_be_silent() {
    let mut world = World::new();
    world.describe(Side::A, Some(A), false);
    world.describe(Side::B, Some(B), false);
    world.at_ms(3_600_000);
    assert_eq!(world.silences(), []);
    world.describe(Side::A, Some(A), true);
    world.at_ms(3_629_999);
    assert_eq!(world.silences(), []);
    world.at_ms(3_630_000);
    assert_eq!(world.silences(), [Silent::A]);
}

#[test]
fn refreshes_do_not_hide_silence_and_strangers_do_not_break_it() {
    let mut world = World::new();
    for second in 1..30 {
        world.at_ms(second * 1_000);
        world.describe(Side::A, Some(A), true);
        world.packet(B_RTP_KEY, B, &rtp(2, second as u16));
    }
    world.packet(A_RTP_KEY, A, &rtp(1, 1));
    world.at_ms(58_999);
    world.packet(A_RTP_KEY, STRANGER, &rtp(9, 1));
    world.packet(B_RTP_KEY, B, &rtp(2, 40));
    world.at_ms(59_000);
    assert_eq!(world.silences(), [Silent::A]);
}

#[test]
fn a_timeout_of_zero_never_comes() {
    let mut world = World::with(Opening {
        timeout: Duration::ZERO,
        ..opening()
    });
    world.at_ms(u64::from(u32::MAX));
    assert_eq!(world.silences(), []);
}

#[test]
fn reports_are_a_sign_of_life() {
    let mut world = World::new();
    world.at_ms(20_000);
    world.packet(A_RTCP_KEY, A_RTCP, &[0x80, 201, 0, 1, 0, 0, 0, 1]);
    world.at_ms(30_000);
    assert_eq!(world.silences(), [Silent::B]);
}

#[test]
fn key_presses_pass_and_are_counted() {
    let mut world = World::new();
    let sdp = "v=0\no=- 1 1 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.9\nt=0 0\n\
               m=audio 4000 RTP/AVP 0 96\na=rtpmap:96 telephone-event/8000\n";
    let sdp = Session::parse(sdp.as_bytes()).expect("a plain description");
    let payloads = Box::new(Payloads::of(&sdp.media[0]));
    world.command(Command::Payloads {
        relay: RELAY,
        side: Side::A,
        payloads,
    });
    let digit = dtmf::Digit::from_char('7').expect("a key");
    let mut sequence = 0;
    for timestamp in [800, 8_000] {
        for event in dtmf::press(digit, 800, 160) {
            sequence += 1;
            let header = Header {
                marker: false,
                payload_type: 96,
                sequence,
                timestamp,
                ssrc: 1,
            };
            world.forwards(A_RTP_KEY, A, &header.packet(&event.write()), B_RTP_KEY, B);
        }
    }
    let stats = world.stats().a;
    assert_eq!((stats.digits, stats.lost, stats.jitter_us), (2, 0, 0));
}

#[test]
fn statistics_tell_when_and_how() {
    let mut world = World::new();
    for (at_ms, sequence) in [(100, 1), (120, 2), (140, 4), (141, 3), (160, 4), (200, 7)] {
        world.at_ms(at_ms);
        world.packet(A_RTP_KEY, A, &rtp(1, sequence));
    }
    let stats = world.stats().a;
    assert_eq!(
        (
            stats.packets,
            stats.lost,
            stats.out_of_order,
            stats.duplicates
        ),
        (6, 2, 1, 1)
    );
    assert_eq!(
        (stats.first_at_ms, stats.last_at_ms),
        (Some(100), Some(200))
    );
}

#[test]
fn relays_in_a_circle_turn_at_a_bounded_pace() {
    let mut world = World::new();
    let forwarded = (0..20_000_u32)
        .filter(|number| {
            let packet = rtp(1, *number as u16 % 400);
            matches!(world.packet(A_RTP_KEY, A, &packet), Verdict::Forward { .. })
        })
        .count();
    assert_eq!(forwarded, 5_000);
    assert_eq!(world.stats().a.dropped_rate, 15_000);
    world.at_ms(1_000);
    world.forwards(A_RTP_KEY, A, &rtp(1, 401), B_RTP_KEY, B);
}

#[test]
fn a_closed_relay_lets_go_of_everything() {
    let mut world = World::new();
    world.packet(A_RTP_KEY, A, &rtp(1, 1));
    let Some(Event::Closed {
        relay: RELAY,
        stats,
    }) = world.command(Command::Close { relay: RELAY })
    else {
        panic!("not closed");
    };
    assert_eq!(stats.a.packets, 1);
    world.drops(A_RTP_KEY, A, &rtp(1, 2), DropReason::NoRelay);
    world.drops(SocketKey(9_999), A, &rtp(1, 2), DropReason::NoRelay);
    assert!(world.table.is_empty());
    let close = Command::Close { relay: RELAY };
    assert_eq!(
        world.table.handle(world.now, close),
        Err(CommandError::UnknownRelay)
    );
    world
        .table
        .open(world.now, RELAY, opening())
        .expect("sockets are free again");
    assert_eq!(world.stats(), RelayStats::default());
}

#[test]
fn what_cannot_be_opened_leaves_no_trace() {
    let mut world = World::new();
    let now = world.now;
    let mut refused = |relay, keys: [u32; 4]| {
        let [a_rtp, a_rtcp, b_rtp, b_rtcp] = keys.map(SocketKey);
        let sockets = Sockets {
            a_rtp,
            a_rtcp,
            b_rtp,
            b_rtcp,
        };
        world
            .table
            .open(
                now,
                RelayId(relay),
                Opening {
                    sockets,
                    ..opening()
                },
            )
            .err()
    };
    assert_eq!(refused(1, [0, 1, 2, 3]), Some(CommandError::AlreadyOpen));
    assert_eq!(refused(2, [0, 1, 2, 4]), Some(CommandError::SocketInUse));
    assert_eq!(refused(2, [0, 1, 2, 2]), Some(CommandError::SocketInUse));
    assert_eq!(
        refused(2, [0, 1, 2, 16]),
        Some(CommandError::SocketOutOfRange)
    );
    assert_eq!(refused(2, [0, 1, 2, 3]), None);
    assert_eq!(refused(3, [10, 11, 12, 13]), Some(CommandError::Full));
    assert_eq!(world.table.len(), 2);
}

#[test]
fn srtp_on_one_side_is_rtp_on_the_other() {
    use crate::srtp::{Context, KeySeed, KeySource, Suite};
    let mut source = KeySource::new(&KeySeed([9; 32]));
    let mut key = || source.key(Suite::Aes128CmSha1_80);
    let keys = SideKeys {
        receive: key(),
        send: key(),
    };
    let (mut phone_sends, mut phone_opens) =
        (Context::new(&keys.receive), Context::new(&keys.send));
    let mut world = World::new();
    let protect = Command::Protect {
        relay: RELAY,
        side: Side::A,
        protection: Protection::Keys(Box::new(keys)),
    };
    world.command(protect.clone());

    let with_room = |packet: &[u8]| {
        let mut buffer = vec![0; packet.len() + 20];
        buffer[..packet.len()].copy_from_slice(packet);
        buffer
    };
    for sequence in 1..=50 {
        let plain = rtp(1, sequence);
        let mut buffer = with_room(&plain);
        let mut datagram = Datagram::new(&mut buffer, plain.len());
        phone_sends.seal(&mut datagram).expect("sealed");
        let sealed = datagram.bytes().to_vec();
        let verdict = world
            .table
            .handle_packet(world.now, A_RTP_KEY, addr(A), &mut datagram);
        let to = addr(B);
        assert_eq!(verdict, Verdict::Forward { out: B_RTP_KEY, to });
        assert_eq!(datagram.bytes(), plain);
        let replay = DropReason::Protection(crate::srtp::SrtpError::Replayed);
        world.drops(A_RTP_KEY, A, &sealed, replay);

        let plain = rtp(2, sequence);
        let mut buffer = with_room(&plain);
        let mut datagram = Datagram::new(&mut buffer, plain.len());
        let verdict = world
            .table
            .handle_packet(world.now, B_RTP_KEY, addr(B), &mut datagram);
        let to = addr(A);
        assert_eq!(verdict, Verdict::Forward { out: A_RTP_KEY, to });
        assert_ne!(datagram.bytes(), plain);
        phone_opens.open(&mut datagram).expect("genuine");
        assert_eq!(datagram.bytes(), plain);
        // The same keys again, as in a session refresh, change nothing.
        world.command(protect.clone());
    }

    // Who has no key teaches the latch nothing, wherever it sends from.
    let forged = rtp(1, 51);
    let refused = DropReason::Protection(crate::srtp::SrtpError::NotAuthentic);
    world.drops(A_RTP_KEY, STRANGER, &forged, refused);
    assert_eq!(world.table.stats(RELAY).expect("open").a.dropped_source, 0);
}

#[test]
fn reports_are_opened_and_sealed_like_the_media() {
    use crate::srtp::{Context, KeySeed, KeySource, Suite};
    let mut source = KeySource::new(&KeySeed([9; 32]));
    let keys = SideKeys {
        receive: source.key(Suite::Aes128Gcm),
        send: source.key(Suite::Aes128Gcm),
    };
    let mut phone_sends = Context::new(&keys.receive);
    let mut world = World::new();
    world.command(Command::Protect {
        relay: RELAY,
        side: Side::A,
        protection: Protection::Keys(Box::new(keys)),
    });
    let mut plain = vec![0x80, 201, 0, 1];
    plain.extend_from_slice(&7_u32.to_be_bytes());
    let mut buffer = [0; 64];
    buffer[..plain.len()].copy_from_slice(&plain);
    let mut datagram = Datagram::new(&mut buffer, plain.len());
    phone_sends.seal_report(&mut datagram).expect("sealed");
    let verdict = world
        .table
        .handle_packet(world.now, A_RTCP_KEY, addr(A_RTCP), &mut datagram);
    let to = addr(B_RTCP);
    assert_eq!(
        verdict,
        Verdict::Forward {
            out: B_RTCP_KEY,
            to
        }
    );
    assert_eq!(datagram.bytes(), plain);
}

#[test]
fn noise_is_sent_where_it_was_asked_for() {
    use crate::g711::Law;
    use crate::relay::Noise;
    let mut world = World::new();
    assert!(!world.table.fills());
    world.command(Command::ComfortNoise {
        relay: RELAY,
        side: Side::B,
        noise: Some(Noise::Silence(Law::Mu)),
    });
    assert!(world.table.fills());
    world.forwards(A_RTP_KEY, A, &rtp(1, 1), B_RTP_KEY, B);
    let mut sent = Vec::new();
    for ms in (0..400).step_by(20) {
        let now = world.at_ms(ms).now;
        world
            .table
            .fill(now, |key, to, bytes| sent.push((key, to, bytes.len())));
    }
    assert_eq!(sent.len(), 10);
    assert!(
        sent.iter()
            .all(|packet| *packet == (B_RTP_KEY, addr(B), 172))
    );
    world.command(Command::ComfortNoise {
        relay: RELAY,
        side: Side::B,
        noise: None,
    });
    assert!(!world.table.fills());
}

#[test]
fn a_side_latched_once_moves_for_signalling_alone() {
    let mut world = World::new();
    world.command(Command::LatchOnce {
        relay: RELAY,
        side: Side::A,
    });
    let moved = "198.51.100.1:4444";
    world.forwards(A_RTP_KEY, A, &rtp(1, 1), B_RTP_KEY, B);
    world.drops(A_RTP_KEY, moved, &rtp(1, 2), DropReason::Stranger);
    world.describe(Side::A, Some(moved), true);
    world.forwards(A_RTP_KEY, moved, &rtp(1, 3), B_RTP_KEY, B);
}
