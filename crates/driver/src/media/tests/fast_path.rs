//! The kernel's way and the process's way, packet by packet: the same comes out, and the same is counted.

use std::io;

use media::relay::{Payloads, StreamStats};
use media::sdp::Session;
use sockets::FastPath;

use super::*;

/// Two far ends, and the relay between them.
struct Call {
    world: World,
    /// Where each side sends to, and its socket.
    doors: [SocketAddr; 2],
    ends: [StdSocket; 2],
    lends: bool,
}

fn at(side: Side) -> usize {
    usize::from(side == Side::B)
}

/// A media thread with the fast path over loopback, where this process may have one.
fn fast_world() -> Option<World> {
    let range = World::PORTS;
    match FastPath::start(range.first..=range.last, true) {
        Ok(fast_path) => Some(World::make(
            MediaWays {
                engine: MediaEngine::best(),
                fast_path: Some(Arc::new(fast_path)),
            },
            Inheritance::default(),
        )),
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: the kernel lets this process load no program: {why}");
            None
        }
        Err(why) => panic!("the fast path does not start: {why}"),
    }
}

impl Call {
    fn new(mut world: World, lends: bool) -> Self {
        let (to_a, to_b) = world.open(RELAY);
        let ((alice, alice_at), (bob, bob_at)) = (phone(), phone());
        let text = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
        let line = Session::parse(text.as_bytes()).expect("in order").media[0].clone();
        for (side, far) in [(Side::A, alice_at), (Side::B, bob_at)] {
            let payloads = Box::new(Payloads::of(&line));
            let command = Command::Payloads {
                relay: RELAY,
                side,
                payloads,
            };
            world.desk.command(Instant::now(), command);
            world.remote(side, far);
        }
        Self {
            world,
            doors: [to_a, to_b],
            ends: [alice, bob],
            lends,
        }
    }

    /// Sends a packet and waits until it comes out at the other side, as it went in.
    fn passes(&self, side: Side, packet: &[u8]) {
        let (from, to) = (at(side), at(side.other()));
        self.ends[from]
            .send_to(packet, self.doors[from])
            .expect("send");
        assert_eq!(receive(&self.ends[to]), (packet.to_vec(), self.doors[to]));
    }

    /// Waits until so many streams are lent, where any are: a packet that is sent as soon as the last one came out is
    /// there before its stream is lent, which no phone does.
    fn wait_until_lent(&self, streams: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let lent = &self.world.counts.lent_streams;
        while self.lends && lent.load(Ordering::Relaxed) < streams {
            assert!(Instant::now() < deadline, "no stream was lent");
            thread::yield_now();
        }
    }

    /// Sends a packet that is to go nowhere.
    fn is_refused(&self, from: &StdSocket, side: Side, packet: &[u8]) {
        from.send_to(packet, self.doors[at(side)]).expect("send");
    }

    /// Ends the call; what was counted, but for times, which differ.
    fn close(mut self) -> ([StreamStats; 2], u64) {
        let close = Command::Close { relay: RELAY };
        self.world.desk.command(Instant::now(), close);
        let Event::Closed { stats, .. } = self.world.event() else {
            panic!("the relay closes with its statistics");
        };
        let counted = [stats.a, stats.b].map(|stats| {
            assert!(stats.first_at_ms <= stats.last_at_ms);
            StreamStats {
                first_at_ms: None,
                last_at_ms: None,
                jitter_us: 0,
                ..stats
            }
        });
        for end in &self.ends {
            end.set_nonblocking(true).expect("set");
            let more = end.recv(&mut [0; 2048]);
            assert!(more.is_err(), "nothing comes twice, nor from a stranger");
        }
        let kernel = self.world.counts.kernel_packets.load(Ordering::Relaxed);
        (counted, kernel)
    }
}

/// Everything that may happen to a stream of a call.
fn happenings(call: &mut Call) {
    // In order, both ways; the numbers wrap.
    for sequence in 0..60 {
        if sequence == 20 {
            call.wait_until_lent(2);
        }
        call.passes(Side::A, &rtp(1, 65_500_u16.wrapping_add(sequence)));
        call.passes(Side::B, &rtp(2, sequence));
    }
    // A gap, one that was overtaken, a copy.
    for sequence in [60, 63, 62, 62, 64, 61, 65] {
        call.passes(Side::B, &rtp(2, sequence));
    }
    let speak = |call: &Call, ssrc, from: u16, packets| {
        for sequence in from..from + packets {
            // More than it takes to be thought ordinary again.
            if sequence == from + 15 {
                call.wait_until_lent(1);
            }
            call.passes(Side::B, &rtp(ssrc, sequence));
        }
    };
    speak(call, 2, 66, 30);
    // A key is pressed: the events have numbers of the same row.
    for (sequence, last) in [(96, 0), (97, 0), (98, 0x80), (99, 0x80)] {
        let mut press = rtp(2, sequence);
        press[1] = 101;
        press.truncate(12);
        press.extend([5, last | 10, 3, 0x20]);
        call.passes(Side::B, &press);
    }
    speak(call, 2, 100, 30);
    // A header with an extension, padding, a marker, a packet too short to be RTP.
    let mut extended = rtp(2, 130);
    extended[0] |= 0x10;
    extended[12..16].copy_from_slice(&[0, 0, 0, 1]);
    call.passes(Side::B, &extended);
    speak(call, 2, 131, 20);
    let mut padded = rtp(2, 151);
    padded[0] |= 0x20;
    *padded.last_mut().expect("bytes") = 4;
    call.passes(Side::B, &padded);
    let mut marked = rtp(2, 152);
    marked[1] |= 0x80;
    call.passes(Side::B, &marked);
    call.is_refused(&call.ends[1], Side::B, &[0x80, 0, 1]);
    // A stranger with the stream's name, and one with another.
    let (stranger, _) = phone();
    call.is_refused(&stranger, Side::B, &rtp(77, 153));
    speak(call, 2, 153, 20);
    // Another stream, then numbers from anew.
    speak(call, 9, 5_000, 30);
    speak(call, 9, 40_000, 30);
    // The far end moves to another port; what it is sent follows.
    let (moved, moved_at) = phone();
    call.ends[1] = moved;
    speak(call, 9, 40_030, 20);
    call.world.remote(Side::B, moved_at);
    for sequence in 60..90 {
        call.passes(Side::A, &rtp(1, 65_500_u16.wrapping_add(sequence)));
    }
}

#[test]
fn both_ways_say_and_count_the_same() {
    let Some(fast) = fast_world() else { return };
    let mut fast = Call::new(fast, true);
    let mut plain = Call::new(World::new(), false);
    happenings(&mut fast);
    happenings(&mut plain);
    let (by_kernel, relayed) = fast.close();
    let (by_process, none) = plain.close();
    assert_eq!(by_kernel, by_process);
    assert_eq!(none, 0);
    assert!(relayed > 100, "the kernel relayed only {relayed} packets");
}

#[test]
fn a_stream_that_the_kernel_has_comes_back_when_the_thread_ends() {
    let Some(world) = fast_world() else { return };
    let call = Call::new(world, true);
    for sequence in 0..15 {
        call.passes(Side::A, &rtp(1, sequence));
    }
    call.wait_until_lent(1);
    for sequence in 15..40 {
        call.passes(Side::A, &rtp(1, sequence));
    }
    let Call {
        mut world,
        doors,
        ends,
        ..
    } = call;
    let left = world.end();
    let relayed = world.counts.kernel_packets.load(Ordering::Relaxed);
    assert!(relayed >= 25, "the kernel relayed only {relayed} packets");
    // Now it waits in its socket, for whoever opens the relay again.
    ends[0].send_to(&rtp(1, 40), doors[0]).expect("send");
    let Some(socket) = left.datagram(doors[0]) else {
        panic!("the socket is left");
    };
    let mut batch = sockets::ReceiveBatch::new(1, 2048);
    let mut seen = Vec::new();
    while seen.is_empty() {
        batch.receive(&socket).expect("receive");
        seen.extend(batch.datagrams().map(|datagram| datagram.bytes.to_vec()));
    }
    assert_eq!(seen, [rtp(1, 40)]);
}
