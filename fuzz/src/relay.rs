//! Any packets at any sockets of a relay, from a handful of sources at any pace.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::relay::{
    Command, Datagram, Opening, RelayId, RelayTable, Side, SocketKey, Sockets, Traffic,
};

const RELAY: RelayId = RelayId(1);

pub fn run(bytes: &[u8]) {
    let mut now = Instant::now();
    let mut table = RelayTable::new(1, 4);
    open(&mut table, now);
    // Each step: socket, source, pause, length, then so many bytes of packet.
    let mut rest = bytes;
    while let Some(([socket, source, pause, length], tail)) = rest.split_first_chunk::<4>() {
        let (packet, tail) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = tail;
        now += Duration::from_millis(u64::from(*pause) * 10);
        match socket {
            0..=3 => {
                // With the room to grow that a socket's buffer has.
                let mut buffer = [packet, &[0; 64]].concat();
                let mut datagram = Datagram::new(&mut buffer, packet.len());
                let key = SocketKey(u32::from(*socket));
                table.handle_packet(now, key, address(*source), &mut datagram);
            }
            4 => describe(&mut table, now, Side::A, *source),
            5 => describe(&mut table, now, Side::B, *source),
            6 => table.tick(now, drop),
            _ => {
                let traffic =
                    [Traffic::Rtp, Traffic::Srtp, Traffic::Datagrams][usize::from(*source % 3)];
                table
                    .handle(
                        now,
                        Command::Traffic {
                            relay: RELAY,
                            traffic,
                        },
                    )
                    .expect("open");
            }
        }
    }
    table
        .handle(now, Command::Close { relay: RELAY })
        .expect("open");
}

fn open(table: &mut RelayTable, now: Instant) {
    let [a_rtp, a_rtcp, b_rtp, b_rtcp] = [0, 1, 2, 3].map(SocketKey);
    let opening = Opening {
        a: [127, 0, 0, 1].into(),
        b: [127, 0, 0, 1].into(),
        timeout: Duration::from_secs(1),
        traffic: Traffic::Rtp,
        sockets: Sockets {
            a_rtp,
            a_rtcp,
            b_rtp,
            b_rtcp,
        },
    };
    table.open(now, RELAY, opening).expect("room for one");
    describe(table, now, Side::A, 1);
    describe(table, now, Side::B, 2);
}

fn describe(table: &mut RelayTable, now: Instant, side: Side, source: u8) {
    let remote = Command::Remote {
        relay: RELAY,
        side,
        rtp: (source != 0).then(|| address(source)),
        rtcp: None,
        expect_media: source.is_multiple_of(2),
        strict: source > 200,
    };
    table
        .handle(now, remote)
        .expect("a single host of the right family");
}

fn address(number: u8) -> SocketAddr {
    ([10, 0, 0, number & 0x0f], 4_000 + u16::from(number >> 4)).into()
}
