//! What one packet costs the relay: the decision alone, without the sockets around it.
//!
//! `cargo bench -p media --bench relay` prints nanoseconds per packet for a table of busy calls
//! whose packets arrive in an order that defeats the cache, as they do in life.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use media::relay::{
    Command, Datagram, Opening, RelayId, RelayTable, Side, SocketKey, Sockets, Traffic, Verdict,
};
use media::rtp::Header;
use media::sdp::Session;

const PACKETS: u32 = 4_000_000;
const PACKET_TIME: Duration = Duration::from_millis(20);

fn main() {
    for relays in [1, 100, 10_000] {
        let nanoseconds = relay(relays);
        println!("handle_packet, {relays:>6} relays: {nanoseconds:>7.1} ns per packet");
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
