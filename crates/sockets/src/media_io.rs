//! Media: thousands of sockets with one packet each.
//!
//! A stream brings one packet per socket every 20 ms, so a batch *per socket* finds one packet and saves nothing.
//! Two things can be saved. The first is waking up: a thread that sleeps until a packet comes is woken for nearly every
//! one, and the wake-up costs the sender's context as much as ours. [`MediaIo`] therefore runs at a pace of its own.
//! While packets flow it looks once every [`MEDIA_PACE`], finds all sockets that became ready meanwhile, and drains them
//! in one go; when a look finds nothing it blocks until something comes, so that an idle thread costs nothing.
//!
//! The price is delay: a packet waits for the next look, [`MEDIA_PACE`] at most and half of it on average. What comes
//! evenly leaves unevenly by as much, which is less than the packet time that every receiver has to bridge anyway.
//! Where many packets come the looks are closer together, for then waiting saves nothing: see [`PACKETS_PER_LOOK`].
//!
//! The second is entering the kernel, twice for every packet. The engine [`ring`] shares that among all packets of a
//! look; where it does not work there is [`polled`].

mod polled;
mod ring;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use self::polled::Polled;
use self::ring::Ring;
use crate::{Datagram, ReceiveBatch, UdpOptions, UdpSocket, Waker};

/// The longest datagram that passes; a longer one is dropped, not cut. Media stays below an Ethernet frame.
pub const MEDIA_PACKET_BYTES: usize = 1600;

/// The longest time for which a ready packet waits for the next look.
pub const MEDIA_PACE: Duration = Duration::from_millis(3);

/// A look that finds more than this many packets is followed by the next one sooner, in proportion: by then the price of
/// a wake-up is spread so thin that waiting for more saves nothing and only delays.
pub const PACKETS_PER_LOOK: u64 = 64;

/// The shortest time between two looks.
const PACE_MIN: Duration = Duration::from_micros(500);

/// Packets that one turn takes at most, about, so that a flood cannot keep commands waiting.
const PACKETS_PER_TURN: u64 = 8192;

/// How long the try-out of an engine waits for its packet.
const TRY_OUT_MAX: Duration = Duration::from_secs(1);

/// How packets get into the process and out of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MediaEngine {
    /// io_uring: many packets for one system call. Linux 6.1 or later, and not everywhere in containers.
    Ring,
    /// epoll: two system calls for every packet.
    Polled,
}

impl MediaEngine {
    /// The name that the kernel's documentation has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "io_uring",
            Self::Polled => "epoll",
        }
    }

    /// The best engine that works here. Sends a packet through it, once for the life of the process.
    pub fn best() -> Self {
        match Self::ring_works() {
            Ok(()) => Self::Ring,
            Err(_) => Self::Polled,
        }
    }

    /// Whether [`MediaEngine::Ring`] works here, and if not, why.
    pub fn ring_works() -> Result<(), &'static str> {
        static WORKS: OnceLock<Result<(), String>> = OnceLock::new();
        // In a thread that ends with it: the kernel interrupts who made a ring once more, some time after it was closed.
        let tried = || std::thread::spawn(|| try_out(Self::Ring)).join();
        let works = WORKS.get_or_init(|| match tried() {
            Ok(tried) => tried.map_err(|error| error.to_string()),
            Err(_) => Err("the try-out panicked".to_owned()),
        });
        works.as_ref().copied().map_err(String::as_str)
    }
}

/// A packet to be decided about.
#[derive(Debug)]
pub struct Packet<'a> {
    /// Key of the socket it came in on.
    pub socket: u32,
    /// Who sent it.
    pub source: SocketAddr,
    /// When it arrived. For a socket bound with [`UdpOptions::arrival_times`](crate::UdpOptions::arrival_times) that
    /// is when the kernel had it, however long it waited for us to look; for others, when we looked.
    pub at: Instant,
    /// The packet in its buffer; what lies behind `length` is room for it to grow.
    pub buffer: &'a mut [u8],
    /// Bytes of the packet.
    pub length: usize,
}

/// Where a packet goes from here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Onward {
    /// Key of the socket that sends it.
    pub socket: u32,
    /// To whom.
    pub to: SocketAddr,
}

/// What one [`MediaIo::turn`] did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Turn {
    /// The waker was used.
    pub woken: bool,
    /// Packets that came in.
    pub received: u64,
    /// Of these, packets that were too long and thrown away.
    pub oversized: u64,
    /// Packets that went out.
    pub sent: u64,
    /// Packets that the network refused.
    pub failed: u64,
}

/// Many UDP sockets, each known by a small number, relayed with few system calls and no allocation per packet.
pub struct MediaIo {
    // Before the sockets that it receives from.
    engine: Engine,
    waker: Waker,
    sockets: Vec<Option<UdpSocket>>,
    /// The last look found something; the next is due then.
    next_look: Option<Instant>,
    /// The last turn left packets waiting for a wake-up's sake. The next one does not, so that wake-ups cannot starve
    /// packets.
    yielded: bool,
}

/// Boxed where it is large.
enum Engine {
    Ring(Box<Ring>),
    Polled(Polled),
}

impl MediaIo {
    /// No sockets yet. `waker` ends a [`MediaIo::turn`] early. Only the thread that makes it can use it.
    pub fn new(engine: MediaEngine, waker: Waker) -> io::Result<Self> {
        let engine = match engine {
            MediaEngine::Ring => Engine::Ring(Box::new(Ring::new(waker.clone())?)),
            MediaEngine::Polled => Engine::Polled(Polled::new(&waker)?),
        };
        Ok(Self {
            engine,
            waker,
            sockets: Vec::new(),
            next_look: None,
            yielded: false,
        })
    }

    /// Takes `socket` over under the number `key`, which nobody else has. Keys index a table, so they should be
    /// dense.
    pub fn add(&mut self, key: u32, socket: UdpSocket) -> io::Result<()> {
        let index = key as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        if self.sockets[index].is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match &mut self.engine {
            Engine::Ring(ring) => ring.add(key, &socket),
            Engine::Polled(polled) => polled.add(key, &socket)?,
        }
        self.sockets[index] = Some(socket);
        Ok(())
    }

    /// The address that the socket `key` is bound to.
    pub fn local(&self, key: u32) -> Option<SocketAddr> {
        let socket = self.sockets.get(key as usize).and_then(Option::as_ref);
        socket.map(UdpSocket::local)
    }

    /// Gives the socket `key` back.
    pub fn remove(&mut self, key: u32) -> Option<UdpSocket> {
        let socket = self.sockets.get_mut(key as usize)?.take()?;
        match &mut self.engine {
            Engine::Ring(ring) => ring.remove(key, &self.sockets),
            Engine::Polled(polled) => polled.remove(&socket),
        }
        Some(socket)
    }

    /// Gives all sockets back with their keys, and with what waits in them.
    pub fn into_sockets(self) -> impl Iterator<Item = (u32, UdpSocket)> {
        // Who takes from them, ends first.
        drop(self.engine);
        let sockets = (0..).zip(self.sockets);
        sockets.filter_map(|(key, socket)| Some((key, socket?)))
    }

    /// Sends a packet of our own from the socket `key`.
    pub fn send(&self, key: u32, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let socket = self.sockets.get(key as usize).and_then(Option::as_ref);
        let socket = socket.ok_or(io::ErrorKind::NotFound)?;
        socket.send_to(bytes, to).map(|_| ())
    }

    /// How many sockets there are.
    pub fn len(&self) -> usize {
        self.sockets.iter().flatten().count()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for packets, the waker or `timeout` (`None` = for ever), then takes every packet that waits and sends
    /// it where `decide` says, `None` meaning nowhere. `decide` may rewrite the packet.
    ///
    /// When woken it returns without looking at packets: what a command says about a stream has to be known before
    /// the stream's first packet is decided about.
    pub fn turn(
        &mut self,
        timeout: Option<Duration>,
        mut decide: impl FnMut(&mut Packet<'_>) -> Option<Onward>,
    ) -> io::Result<Turn> {
        let mut turn = Turn::default();
        let may_yield = !std::mem::take(&mut self.yielded);
        let mut wait = match self.pace(timeout)? {
            Pause::Over(wait) => wait,
            Pause::Woken => return Ok(self.give_way(turn)),
        };
        while turn.received < PACKETS_PER_TURN {
            self.engine.wait(&self.sockets, wait)?;
            wait = Some(Duration::ZERO);
            if self.engine.is_woken() {
                if may_yield && turn.received == 0 {
                    self.yielded = self.engine.has_packets();
                    return Ok(self.give_way(turn));
                }
                self.waker.reset();
                turn.woken = true;
            }
            let before = turn.received;
            self.engine.relay(&self.sockets, &mut turn, &mut decide);
            if turn.received == before {
                break;
            }
        }
        self.engine.finish(&self.sockets, &mut turn);
        self.next_look = (turn.received > 0).then(|| Instant::now() + pace(turn.received));
        Ok(turn)
    }

    /// Sleeps until the next look is due. Only the waker ends the sleep: packets that come meanwhile are what we wait
    /// to gather.
    fn pace(&mut self, timeout: Option<Duration>) -> io::Result<Pause> {
        let Some(due) = self.next_look else {
            return Ok(Pause::Over(timeout));
        };
        let rest = due.saturating_duration_since(Instant::now());
        let sleep = timeout.map_or(rest, |timeout| rest.min(timeout));
        if !sleep.is_zero() && self.waker.wait(sleep)? {
            return Ok(Pause::Woken);
        }
        self.next_look = None;
        Ok(Pause::Over(
            timeout.map(|timeout| timeout.saturating_sub(sleep)),
        ))
    }

    fn give_way(&self, mut turn: Turn) -> Turn {
        self.waker.reset();
        turn.woken = true;
        turn
    }
}

impl Engine {
    fn wait(&mut self, sockets: &[Option<UdpSocket>], timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.wait(sockets, timeout),
            Self::Polled(polled) => polled.wait(timeout),
        }
    }

    fn is_woken(&self) -> bool {
        match self {
            Self::Ring(ring) => ring.is_woken(),
            Self::Polled(polled) => polled.is_woken(),
        }
    }

    fn has_packets(&self) -> bool {
        match self {
            Self::Ring(ring) => ring.has_packets(),
            Self::Polled(polled) => polled.has_packets(),
        }
    }

    fn relay(
        &mut self,
        sockets: &[Option<UdpSocket>],
        turn: &mut Turn,
        decide: &mut impl FnMut(&mut Packet<'_>) -> Option<Onward>,
    ) {
        match self {
            Self::Ring(ring) => ring.relay(sockets, turn, decide),
            Self::Polled(polled) => polled.relay(sockets, turn, decide),
        }
    }

    /// Sees to it that what was relayed has left.
    fn finish(&mut self, sockets: &[Option<UdpSocket>], turn: &mut Turn) {
        if let Self::Ring(ring) = self {
            ring.flush(sockets);
            let failed = ring.take_failed();
            turn.sent = turn.sent.saturating_sub(failed);
            turn.failed += failed;
        }
    }
}

/// The time from a look that found so many packets to the next.
fn pace(received: u64) -> Duration {
    let share = PACKETS_PER_LOOK as f64 / received.max(PACKETS_PER_LOOK) as f64;
    MEDIA_PACE.mul_f64(share).max(PACE_MIN)
}

/// Sends a packet through an engine.
fn try_out(engine: MediaEngine) -> io::Result<()> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = UdpOptions {
        arrival_times: true,
        ..UdpOptions::default()
    };
    let (relay, far) = (
        UdpSocket::bind(any, options)?,
        UdpSocket::bind(any, options)?,
    );
    let (near, from) = (relay.local(), far.local());
    let mut io = MediaIo::new(engine, Waker::new()?)?;
    io.add(0, relay)?;
    far.send_to(b"out", near)?;
    let deadline = Instant::now() + TRY_OUT_MAX;
    let mut back = ReceiveBatch::new(1, 8);
    let mut seen = false;
    while Instant::now() < deadline {
        io.turn(Some(TRY_OUT_MAX), |packet| {
            seen |= packet.source == from && packet.buffer[..packet.length] == *b"out";
            packet.buffer[..4].copy_from_slice(b"back");
            packet.length = 4;
            Some(Onward {
                socket: 0,
                to: packet.source,
            })
        })?;
        if seen && back.receive(&far)? == 1 {
            let whole =
                |datagram: Datagram<'_>| datagram.source == near && datagram.bytes == b"back";
            return match back.datagrams().all(whole) {
                true => Ok(()),
                false => Err(io::Error::other("a packet was mangled")),
            };
        }
    }
    Err(io::Error::other("a packet did not come through"))
}

/// Both clocks, read at the same moment: the kernel's times are by the wall clock, ours are not.
#[derive(Clone, Copy)]
struct Clocks {
    instant: Instant,
    wall: SystemTime,
}

/// An older arrival is not believed: somebody has set the wall clock meanwhile.
const ARRIVAL_AGE_MAX: Duration = Duration::from_secs(1);

impl Clocks {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn instant(self, arrival: Option<SystemTime>) -> Instant {
        let age = arrival.and_then(|arrival| self.wall.duration_since(arrival).ok());
        let age = age
            .filter(|age| *age <= ARRIVAL_AGE_MAX)
            .unwrap_or_default();
        self.instant.checked_sub(age).unwrap_or(self.instant)
    }
}

/// How a pause between two looks ended.
enum Pause {
    /// In time; the look may block for so long.
    Over(Option<Duration>),
    /// By the waker.
    Woken,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Poller, Ready};

    fn socket() -> UdpSocket {
        let any = "127.0.0.1:0".parse().expect("test address");
        UdpSocket::bind(any, UdpOptions::default()).expect("bind")
    }

    /// The same for each engine that works here.
    fn with_each_engine(test: impl Fn(MediaEngine)) {
        test(MediaEngine::Polled);
        match MediaEngine::ring_works() {
            Ok(()) => test(MediaEngine::Ring),
            Err(why) => eprintln!("SKIPPED for io_uring, which does not work here: {why}"),
        }
    }

    fn media_io(engine: MediaEngine, waker: &Waker) -> MediaIo {
        MediaIo::new(engine, waker.clone()).expect("media io")
    }

    fn collect(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let poller = Poller::new().expect("poller");
        poller.add(socket, 0).expect("add");
        let mut batch = ReceiveBatch::new(8, 64);
        let mut ready = Ready::new(1);
        let mut packets = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while packets.len() < count {
            assert!(Instant::now() < deadline, "nothing came in five seconds");
            // It may be interrupted.
            poller
                .wait(&mut ready, Some(Duration::from_secs(5)))
                .expect("wait");
            batch.receive(socket).expect("receive");
            packets.extend(batch.datagrams().map(|d| d.bytes.to_vec()));
        }
        packets
    }

    #[test]
    fn packets_go_where_the_decision_says_and_may_be_rewritten() {
        with_each_engine(|engine| {
            let mut io = media_io(engine, &Waker::new().expect("waker"));
            let (left, right, alice, bob) = (socket(), socket(), socket(), socket());
            let (to_left, to_bob) = (left.local(), bob.local());
            io.add(0, left).expect("add");
            io.add(1, right).expect("add");
            for n in 0..20u8 {
                alice.send_to(&[n, 0], to_left).expect("send");
            }
            let mut total = 0;
            while total < 20 {
                let turn = io
                    .turn(None, |packet| {
                        assert_eq!((packet.socket, packet.source), (0, alice.local()));
                        assert_eq!(packet.length, 2);
                        packet.buffer[1] = 0xff;
                        packet.buffer[2] = packet.buffer[0];
                        packet.length = 3;
                        Some(Onward {
                            socket: 1,
                            to: to_bob,
                        })
                    })
                    .expect("turn");
                assert_eq!(turn.received, turn.sent);
                total += turn.received;
            }
            let expected: Vec<_> = (0..20u8).map(|n| vec![n, 0xff, n]).collect();
            assert_eq!(collect(&bob, 20), expected);
        });
    }

    #[test]
    fn more_packets_than_there_are_buffers_keep_their_order() {
        const STREAMS: usize = 30;
        const PACKETS: u16 = 60;
        with_each_engine(|engine| {
            let mut io = media_io(engine, &Waker::new().expect("waker"));
            let far: Vec<_> = (0..STREAMS).map(|_| socket()).collect();
            for (key, far) in far.iter().enumerate() {
                let near = socket();
                for n in 0..PACKETS {
                    far.send_to(&n.to_be_bytes(), near.local()).expect("send");
                }
                io.add(key as u32, near).expect("add");
            }
            let mut next = [0; STREAMS];
            let mut received = 0;
            while received < STREAMS as u64 * u64::from(PACKETS) {
                let turn = io
                    .turn(None, |packet| {
                        let key = packet.socket as usize;
                        assert_eq!(packet.source, far[key].local());
                        assert_eq!(packet.buffer[..2], u16::to_be_bytes(next[key]));
                        next[key] += 1;
                        Some(Onward {
                            socket: packet.socket,
                            to: packet.source,
                        })
                    })
                    .expect("turn");
                assert_eq!((turn.received, turn.failed), (turn.sent, 0));
                received += turn.received;
            }
            let expected: Vec<_> = (0..PACKETS).map(|n| n.to_be_bytes().to_vec()).collect();
            for far in &far {
                assert_eq!(collect(far, PACKETS.into()), expected);
            }
        });
    }

    /// More sockets than requests fit into one call, and more packets than there are buffers.
    #[test]
    fn a_flood_on_very_many_sockets_is_taken_and_ends() {
        const STREAMS: usize = 1_200;
        const PACKETS: u8 = 3;
        crate::raise_open_files().expect("enough of them");
        with_each_engine(|engine| {
            let mut io = media_io(engine, &Waker::new().expect("waker"));
            let far = socket();
            let near: Vec<_> = (0..STREAMS).map(|_| socket()).collect();
            let to: Vec<_> = near.iter().map(UdpSocket::local).collect();
            for (key, near) in near.into_iter().enumerate() {
                io.add(key as u32, near).expect("add");
            }
            for _ in 0..2 {
                for n in 0..PACKETS {
                    for to in &to {
                        far.send_to(&[n], *to).expect("send");
                    }
                }
                let mut next = [0; STREAMS];
                while next.iter().any(|next| *next < PACKETS) {
                    io.turn(None, |packet| {
                        let next = &mut next[packet.socket as usize];
                        assert_eq!(packet.buffer[0], *next);
                        *next += 1;
                        None
                    })
                    .expect("turn");
                }
            }
        });
    }

    #[test]
    fn a_packet_that_the_network_refuses_is_counted_and_stops_no_other() {
        with_each_engine(|engine| {
            let mut io = media_io(engine, &Waker::new().expect("waker"));
            let (left, alice) = (socket(), socket());
            let to_left = left.local();
            io.add(0, left).expect("add");
            for n in 0..3u8 {
                alice.send_to(&[n], to_left).expect("send");
            }
            let other_family: SocketAddr = "[::1]:9".parse().expect("address");
            let mut total = Turn::default();
            while total.received < 3 {
                let turn = io
                    .turn(None, |packet| {
                        let refused = packet.buffer[0] == 1;
                        Some(Onward {
                            socket: 0,
                            to: if refused { other_family } else { packet.source },
                        })
                    })
                    .expect("turn");
                total.received += turn.received;
                total.sent += turn.sent;
                total.failed += turn.failed;
            }
            assert_eq!((total.sent, total.failed), (2, 1));
            assert_eq!(collect(&alice, 2), [[0], [2]]);
        });
    }

    #[test]
    fn a_decision_that_panics_costs_its_packet_alone() {
        with_each_engine(|engine| {
            let mut io = media_io(engine, &Waker::new().expect("waker"));
            let (left, alice) = (socket(), socket());
            let to_left = left.local();
            io.add(0, left).expect("add");
            for n in 0..4u8 {
                alice.send_to(&[n], to_left).expect("send");
            }
            let mut seen = 0;
            while seen < 4 {
                let turn = std::panic::AssertUnwindSafe(|| {
                    io.turn(None, |packet| {
                        seen += 1;
                        // Not a panic that prints: it is wanted.
                        if packet.buffer[0] == 1 {
                            std::panic::resume_unwind(Box::new(()));
                        }
                        Some(Onward {
                            socket: 0,
                            to: packet.source,
                        })
                    })
                });
                let _ = std::panic::catch_unwind(turn);
            }
            // What was queued before the panic leaves with the next look.
            io.turn(Some(Duration::ZERO), |_| None).expect("turn");
            assert_eq!(collect(&alice, 3), [[0], [2], [3]]);
        });
    }

    #[test]
    fn a_turn_ends_when_woken_and_when_its_time_is_up() {
        with_each_engine(|engine| {
            let waker = Waker::new().expect("waker");
            let mut io = media_io(engine, &waker);
            waker.wake();
            assert!(io.turn(None, |_| None).expect("turn").woken);
            let turn = io
                .turn(Some(Duration::from_millis(1)), |_| None)
                .expect("turn");
            assert_eq!(turn, Turn::default());

            let other = waker.clone();
            let thread = std::thread::spawn(move || other.wake());
            assert!(io.turn(None, |_| None).expect("turn").woken);
            thread.join().expect("join");
        });
    }

    #[test]
    fn a_packet_tells_when_it_came_not_when_we_looked() {
        let any = "127.0.0.1:0".parse().expect("test address");
        let options = UdpOptions {
            arrival_times: true,
            ..UdpOptions::default()
        };
        with_each_engine(|engine| {
            let left = UdpSocket::bind(any, options).expect("bind");
            let (alice, to_left) = (socket(), left.local());
            let mut io = media_io(engine, &Waker::new().expect("waker"));
            io.add(0, left).expect("add");
            // The kernel begins to note times a moment after it is asked to, and until then gives that of the
            // look; a stall of the machine hides an arrival too. Both pass, a time that is never noted does not.
            let late = Duration::from_millis(100);
            let told = (0..50).any(|_| {
                alice.send_to(b"packet", to_left).expect("send");
                let sent = Instant::now();
                while sent.elapsed() < late {
                    std::thread::yield_now();
                }
                let mut at = None;
                while at.is_none() {
                    io.turn(None, |packet| {
                        at = Some(packet.at);
                        None
                    })
                    .expect("turn");
                }
                at < Some(sent + late / 2)
            });
            assert!(told, "the packet seems to have come when we looked");
        });
    }

    #[test]
    fn a_wake_up_goes_before_packets_but_not_for_ever() {
        with_each_engine(|engine| {
            let waker = Waker::new().expect("waker");
            let mut io = media_io(engine, &waker);
            let (left, alice) = (socket(), socket());
            let to_left = left.local();
            io.add(0, left).expect("add");
            for _ in 0..3 {
                // An idle turn in between changes nothing.
                waker.wake();
                assert!(io.turn(None, |_| None).expect("turn").woken);
                alice.send_to(b"packet", to_left).expect("send");
                waker.wake();
                let first = io.turn(None, |_| None).expect("turn");
                assert_eq!((first.woken, first.received), (true, 0));
                waker.wake();
                let mut received = 0;
                while received == 0 {
                    received = io.turn(None, |_| None).expect("turn").received;
                }
            }
        });
    }

    #[test]
    fn an_oversized_packet_is_dropped() {
        with_each_engine(|engine| {
            let mut io = media_io(engine, &Waker::new().expect("waker"));
            let (left, alice) = (socket(), socket());
            let to_left = left.local();
            io.add(0, left).expect("add");
            for bytes in [MEDIA_PACKET_BYTES + 1, 9_000, MEDIA_PACKET_BYTES] {
                alice.send_to(&vec![7; bytes], to_left).expect("send");
            }
            let (mut total, mut passed) = (Turn::default(), 0);
            while total.received < 3 {
                let turn = io
                    .turn(None, |packet| {
                        assert_eq!(packet.length, MEDIA_PACKET_BYTES);
                        passed += 1;
                        None
                    })
                    .expect("turn");
                total.received += turn.received;
                total.oversized += turn.oversized;
            }
            assert_eq!((total.oversized, passed), (2, 1));
        });
    }

    #[test]
    fn a_removed_socket_keeps_its_packets_and_its_key_is_free() {
        with_each_engine(|engine| {
            let mut io = media_io(engine, &Waker::new().expect("waker"));
            let alice = socket();
            for _ in 0..3 {
                let near = socket();
                let to_near = near.local();
                io.add(0, near).expect("add");
                assert!(io.add(0, socket()).is_err(), "the key is taken");
                alice.send_to(b"early", to_near).expect("send");
                let mut early = 0;
                while early == 0 {
                    early = io.turn(None, |_| None).expect("turn").received;
                }
                let near = io.remove(0).expect("the socket comes back");
                assert!(io.is_empty());
                alice.send_to(b"late", to_near).expect("send");
                let turn = io.turn(Some(Duration::ZERO), |_| None).expect("turn");
                assert_eq!(turn.received, 0);
                assert_eq!(collect(&near, 1), [b"late"]);
                drop(near);
                UdpSocket::bind(to_near, UdpOptions::default()).expect("the port is free at once");
            }
        });
    }

    #[test]
    fn sockets_that_are_given_back_have_all_that_was_not_relayed() {
        with_each_engine(|engine| {
            let mut io = media_io(engine, &Waker::new().expect("waker"));
            let (near, alice) = (socket(), socket());
            let to_near = near.local();
            io.add(0, near).expect("add");
            alice.send_to(b"1", to_near).expect("send");
            let mut relayed = 0;
            while relayed == 0 {
                relayed = io.turn(None, |_| None).expect("turn").received;
            }
            for packet in [b"2", b"3"] {
                alice.send_to(packet, to_near).expect("send");
            }
            let (_, near) = io.into_sockets().next().expect("a socket");
            alice.send_to(b"4", to_near).expect("send");
            assert_eq!(collect(&near, 3), [b"2", b"3", b"4"]);
        });
    }

    #[test]
    fn looks_are_closer_together_where_many_packets_come() {
        assert_eq!(pace(1), MEDIA_PACE);
        assert_eq!(pace(PACKETS_PER_LOOK), MEDIA_PACE);
        assert_eq!(pace(PACKETS_PER_LOOK * 2), MEDIA_PACE / 2);
        assert_eq!(pace(PACKETS_PER_TURN), PACE_MIN);
    }
}
