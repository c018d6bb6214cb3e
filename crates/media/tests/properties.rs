//! What must hold for any input: nothing panics, descriptions survive, counts add up, and a
//! stranger never takes a settled stream.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::relay::{
    Command, Datagram, Opening, RelayId, RelayTable, Side, SocketKey, Sockets, Traffic, Verdict,
};
use media::sdp::anchor::{LocalMedia, OriginState, anchored, passthrough};
use media::sdp::negotiate::make_answer;
use media::sdp::offer_answer::{answer_directions, answer_shape, next_offer_shape};
use media::sdp::{Codec, Session};
use media::{dtmf, rtcp, rtp};
use proptest::collection::vec;
use proptest::prelude::*;

const OURS: &str = "198.51.100.1";

/// Lines that occur in descriptions, in any order and with numbers of any size.
fn line() -> impl Strategy<Value = String> {
    let words = "[ -~]{0,24}";
    prop_oneof![
        Just("c=IN IP4 0.0.0.0".to_owned()),
        any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("c=IN IP4 {a}.{b}.{c}.{d}")),
        any::<u128>().prop_map(|bits| format!("c=IN IP6 {}", std::net::Ipv6Addr::from_bits(bits))),
        (any::<u16>(), vec(0..140_u8, 0..5)).prop_map(|(port, formats)| {
            let formats: Vec<_> = formats.iter().map(u8::to_string).collect();
            format!("m=audio {port} RTP/AVP {}", formats.join(" "))
        }),
        any::<u16>().prop_map(|port| format!("m=image {port} udptl t38")),
        any::<u16>().prop_map(|port| format!("m=video {port} RTP/SAVPF 96")),
        (0..130_u8, words, any::<u32>())
            .prop_map(|(kind, name, rate)| format!("a=rtpmap:{kind} {name}/{rate}")),
        (0..130_u8, words).prop_map(|(kind, text)| format!("a=fmtp:{kind} {text}")),
        any::<u32>().prop_map(|port| format!("a=rtcp:{port}")),
        prop_oneof![
            "sendrecv", "sendonly", "recvonly", "inactive", "rtcp-mux", "ice-lite"
        ]
        .prop_map(|name| format!("a={name}")),
        ("[a-z]", words).prop_map(|(letter, text)| format!("{letter}={text}")),
    ]
}

fn description() -> impl Strategy<Value = String> {
    vec(line(), 0..24)
        .prop_map(|lines| format!("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\n{}\n", lines.join("\n")))
}

/// Asks everything there is to ask.
fn read_all(session: &Session) {
    for index in 0..=session.media.len() {
        session.rtp_address(index);
        session.rtcp_address(index);
        session.effective_direction(index);
    }
    for media in &session.media {
        media.codecs().count();
        media.packet_time_ms();
        Traffic::of(media);
    }
    let _ = format!("{session:?}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(session) = Session::parse(&bytes) {
            read_all(&session);
        }
        let _ = rtp::Packet::parse(&bytes);
        let _ = rtcp::sender(&bytes);
        for packet in rtcp::packets(&bytes) {
            if let rtcp::Packet::Report { blocks, .. } = packet {
                rtcp::report_blocks(blocks).count();
            }
        }
        let _ = dtmf::Event::parse(&bytes);
    }

    #[test]
    fn what_was_read_prints_and_reads_the_same(text in description()) {
        if let Ok(session) = Session::parse(text.as_bytes()) {
            read_all(&session);
            let printed = session.to_bytes();
            prop_assert_eq!(Session::parse(&printed), Ok(session.clone()));
            prop_assert_eq!(next_offer_shape(&session, &session), Ok(()));
        }
    }

    #[test]
    fn what_was_anchored_leads_to_us(text in description()) {
        let Ok(session) = Session::parse(text.as_bytes()) else { return Ok(()) };
        let address = OURS.parse().expect("literal");
        let local: Vec<_> = (0..session.media.len())
            .map(|index| Some(LocalMedia::new(address, 30_000 + 2 * index as u16)))
            .collect();
        let mut state = OriginState::new(7, address);
        let anchored = anchored(&session, &local, &mut state);
        let anchored = Session::parse(&anchored).expect("we print what we can read");
        prop_assert_eq!(anchored.media.len(), session.media.len());
        for (index, media) in anchored.media.iter().enumerate() {
            let rtp_port = 30_000 + 2 * index as u16;
            prop_assert!(!media.is_active() || session.media[index].is_active());
            prop_assert_eq!(&media.formats, &session.media[index].formats);
            if media.is_active() {
                prop_assert_eq!(anchored.rtp_address(index), Some(SocketAddr::new(address, rtp_port)));
                prop_assert_eq!(anchored.rtcp_address(index), Some(SocketAddr::new(address, rtp_port + 1)));
                prop_assert_eq!(anchored.direction(index), session.effective_direction(index));
            }
        }
        passthrough(&session, &mut state);
    }

    #[test]
    fn our_answers_fit_any_offer(text in description()) {
        let Ok(offer) = Session::parse(text.as_bytes()) else { return Ok(()) };
        let address = OURS.parse().expect("literal");
        let local = LocalMedia::new(address, 30_000);
        let codecs = [Codec::PCMU, Codec::PCMA, Codec::telephone_event()];
        if let Ok(answer) = make_answer(&offer, local, &codecs, &mut OriginState::new(7, address)) {
            let answer = Session::parse(&answer).expect("we print what we can read");
            prop_assert_eq!(answer_shape(&offer, &answer), Ok(()));
            prop_assert_eq!(answer_directions(&offer, &answer), Ok(()));
        }
    }

    /// Losses, copies and exchanged neighbours, judged by a simple count of what was sent.
    #[test]
    fn received_and_lost_add_up(start: u16, fates in vec(0..10_u8, 2..400)) {
        let mut sent: Vec<u32> = Vec::new();
        for (number, fate) in (u32::from(start)..).zip(&fates) {
            match fate {
                0 => {}
                1 => sent.extend([number, number]),
                2 => {
                    let before_last = sent.len().saturating_sub(1);
                    sent.insert(before_last, number);
                }
                _ => sent.push(number),
            }
        }
        let unique: HashSet<_> = sent.iter().collect();
        let expected = match (sent.iter().min(), sent.iter().max()) {
            (Some(first), Some(last)) => u64::from(last - first) + 1 - unique.len() as u64,
            _ => 0,
        };
        let mut world = World::new();
        for number in &sent {
            world.send(A, 1, *number as u16);
        }
        let stats = world.table.stats(RELAY).expect("open").a;
        prop_assert_eq!(stats.packets, sent.len() as u64);
        prop_assert_eq!(stats.duplicates, (sent.len() - unique.len()) as u64);
        prop_assert_eq!(stats.lost, expected);
        prop_assert_eq!(stats.restarts, 0);
    }

    /// Once the announced far end has spoken, no other host is ever answered, whatever it sends
    /// and whenever, unless it knows the stream's SSRC and the far end is silent.
    #[test]
    fn a_stranger_never_takes_a_settled_stream(
        tries in vec((0..6_000_u64, 0..4_u8, 2..u32::MAX, any::<u16>()), 1..60),
    ) {
        let mut world = World::new();
        world.send(A, 1, 0);
        for (pause_ms, host, ssrc, sequence) in tries {
            world.now += Duration::from_millis(pause_ms);
            let source = format!("203.0.113.{host}:4000");
            prop_assert!(matches!(world.send(&source, ssrc, sequence), Verdict::Drop(_)));
            let answered_at_a = Verdict::Forward { out: SocketKey(0), to: addr(A) };
            prop_assert_eq!(world.receive(), answered_at_a);
        }
    }
}

const RELAY: RelayId = RelayId(1);
const A: &str = "192.0.2.10:4000";
const B: &str = "192.0.2.20:5000";

/// A relay between two announced far ends.
struct World {
    table: RelayTable,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut table = RelayTable::new(1, 4);
        let [a_rtp, a_rtcp, b_rtp, b_rtcp] = [0, 1, 2, 3].map(SocketKey);
        let opening = Opening {
            a: OURS.parse().expect("literal"),
            b: OURS.parse().expect("literal"),
            timeout: Duration::ZERO,
            traffic: Traffic::Rtp,
            sockets: Sockets {
                a_rtp,
                a_rtcp,
                b_rtp,
                b_rtcp,
            },
        };
        table.open(now, RELAY, opening).expect("room");
        for (side, address) in [(Side::A, A), (Side::B, B)] {
            let remote = Command::Remote {
                relay: RELAY,
                side,
                rtp: Some(addr(address)),
                rtcp: None,
                expect_media: true,
                strict: false,
            };
            table.handle(now, remote).expect("open");
        }
        Self { table, now }
    }

    fn send(&mut self, source: &str, ssrc: u32, sequence: u16) -> Verdict {
        let mut packet = packet(ssrc, sequence);
        let mut datagram = Datagram::whole(&mut packet);
        self.table
            .handle_packet(self.now, SocketKey(0), addr(source), &mut datagram)
    }

    fn receive(&mut self) -> Verdict {
        let mut packet = packet(99, 0);
        let mut datagram = Datagram::whole(&mut packet);
        self.table
            .handle_packet(self.now, SocketKey(2), addr(B), &mut datagram)
    }
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    rtp::Header {
        marker: false,
        payload_type: 0,
        sequence,
        timestamp: 0,
        ssrc,
    }
    .packet(&[0; 20])
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("literal")
}
