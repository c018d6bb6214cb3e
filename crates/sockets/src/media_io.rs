//! Media: thousands of sockets with one packet each.
//!
//! A stream brings one packet per socket every 20 ms, so a batch *per socket* finds one packet and saves nothing.
//! What can be saved is waking up: a thread that sleeps until a packet comes is woken for nearly every one, and the
//! wake-up costs the sender's context as much as ours. [`MediaIo`] therefore runs at a pace of its own. While packets
//! flow it looks once every [`MEDIA_PACE`], finds all sockets that became ready meanwhile, and drains them in one go; when
//! a look finds nothing it blocks until something comes, so that an idle thread costs nothing.
//!
//! The price is delay: a packet waits for the next look, [`MEDIA_PACE`] at most and half of it on average.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::{Poller, Ready, ReceiveBatch, UdpSocket, Waker};

/// The longest datagram that passes; a longer one is dropped, not cut. Media stays below an Ethernet frame.
pub const MEDIA_PACKET_BYTES: usize = 1600;

/// The longest time for which a ready packet waits for the next look.
pub const MEDIA_PACE: Duration = Duration::from_millis(3);

/// Sockets that one system call reports as ready.
const READY_SOCKETS: usize = 256;

/// Rounds that one turn makes at most, so that a flood cannot keep commands waiting.
const ROUNDS: usize = 32;

/// The token of the waker; sockets have theirs from their key.
const WAKER: u64 = u64::MAX;

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
    poller: Poller,
    waker: Waker,
    sockets: Vec<Option<UdpSocket>>,
    ready: Ready,
    packet: ReceiveBatch,
    /// When the last look found something; the next waits until [`MEDIA_PACE`] after it.
    busy_since: Option<Instant>,
    /// The last turn left packets waiting for a wake-up's sake. The next one does not, so that wake-ups cannot starve
    /// packets.
    yielded: bool,
}

impl MediaIo {
    /// No sockets yet. `waker` ends a [`MediaIo::turn`] early.
    pub fn new(waker: Waker) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&waker, WAKER)?;
        Ok(Self {
            poller,
            waker,
            sockets: Vec::new(),
            ready: Ready::new(READY_SOCKETS),
            packet: ReceiveBatch::new(1, MEDIA_PACKET_BYTES),
            busy_since: None,
            yielded: false,
        })
    }

    /// Takes `socket` over under the number `key`. Keys index a table, so they should be dense.
    pub fn add(&mut self, key: u32, socket: UdpSocket) -> io::Result<()> {
        let index = key as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        self.poller.add(&socket, u64::from(key))?;
        self.sockets[index] = Some(socket);
        Ok(())
    }

    /// Gives the socket `key` back.
    pub fn remove(&mut self, key: u32) -> Option<UdpSocket> {
        let socket = self.sockets.get_mut(key as usize)?.take()?;
        // Fails only for a descriptor that is not in the set, and then nothing is left to do.
        let _ = self.poller.remove(&socket);
        Some(socket)
    }

    /// Gives all sockets back with their keys, and with what waits in them.
    pub fn into_sockets(self) -> impl Iterator<Item = (u32, UdpSocket)> {
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
        for _ in 0..ROUNDS {
            self.poller.wait(&mut self.ready, wait)?;
            wait = Some(Duration::ZERO);
            if may_yield && turn.received == 0 && self.ready.tokens().any(|token| token == WAKER) {
                self.yielded = self.ready.tokens().any(|token| token != WAKER);
                return Ok(self.give_way(turn));
            }
            let before = turn.received;
            let clock = Clocks::now();
            for token in self.ready.tokens() {
                if token == WAKER {
                    self.waker.reset();
                    turn.woken = true;
                    continue;
                }
                let key = token as u32;
                let Some(Some(socket)) = self.sockets.get(key as usize) else {
                    continue;
                };
                // An error here is an earlier packet's, bounced by its receiver; the kernel has cleared it now.
                if self.packet.receive(socket).is_err() {
                    continue;
                }
                self.packet.for_each(|arrived| {
                    turn.received += 1;
                    if arrived.truncated {
                        turn.oversized += 1;
                        return;
                    }
                    let mut packet = Packet {
                        socket: key,
                        source: arrived.source,
                        at: clock.instant(arrived.at),
                        length: arrived.length,
                        buffer: arrived.buffer,
                    };
                    let Some(onward) = decide(&mut packet) else {
                        return;
                    };
                    let out = self
                        .sockets
                        .get(onward.socket as usize)
                        .and_then(Option::as_ref);
                    match out.map(|out| {
                        let bytes = &packet.buffer[..packet.length.min(packet.buffer.len())];
                        out.send_to(bytes, onward.to)
                    }) {
                        Some(Ok(_)) => turn.sent += 1,
                        _ => turn.failed += 1,
                    }
                });
            }
            // One packet per socket and round: a socket that has another says so again, which is cheaper than asking
            // every socket twice.
            if turn.received == before {
                break;
            }
        }
        self.busy_since = (turn.received > 0).then(Instant::now);
        Ok(turn)
    }

    /// Sleeps until the next look is due. Only the waker ends the sleep: packets that come meanwhile are what we wait
    /// to gather.
    fn pace(&mut self, timeout: Option<Duration>) -> io::Result<Pause> {
        let Some(since) = self.busy_since else {
            return Ok(Pause::Over(timeout));
        };
        let rest = MEDIA_PACE.saturating_sub(since.elapsed());
        let sleep = timeout.map_or(rest, |timeout| rest.min(timeout));
        if !sleep.is_zero() && self.waker.wait(sleep)? {
            return Ok(Pause::Woken);
        }
        self.busy_since = None;
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
    use crate::UdpOptions;

    fn socket() -> UdpSocket {
        let any = "127.0.0.1:0".parse().expect("test address");
        UdpSocket::bind(any, UdpOptions::default()).expect("bind")
    }

    fn collect(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let poller = Poller::new().expect("poller");
        poller.add(socket, 0).expect("add");
        let mut batch = ReceiveBatch::new(8, 64);
        let mut ready = Ready::new(1);
        let mut packets = Vec::new();
        while packets.len() < count {
            poller
                .wait(&mut ready, Some(Duration::from_secs(5)))
                .expect("wait");
            assert!(
                batch.receive(socket).expect("receive") > 0,
                "nothing came in five seconds"
            );
            packets.extend(batch.datagrams().map(|d| d.bytes.to_vec()));
        }
        packets
    }

    #[test]
    fn packets_go_where_the_decision_says_and_may_be_rewritten() {
        let mut io = MediaIo::new(Waker::new().expect("waker")).expect("media io");
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
                    packet.buffer[1] = 0xff;
                    Some(Onward {
                        socket: 1,
                        to: to_bob,
                    })
                })
                .expect("turn");
            assert_eq!(turn.received, turn.sent);
            total += turn.received;
        }
        let expected: Vec<_> = (0..20u8).map(|n| vec![n, 0xff]).collect();
        assert_eq!(collect(&bob, 20), expected);
    }

    #[test]
    fn a_turn_ends_when_woken_and_when_its_time_is_up() {
        let waker = Waker::new().expect("waker");
        let mut io = MediaIo::new(waker.clone()).expect("media io");
        waker.wake();
        assert!(io.turn(None, |_| None).expect("turn").woken);
        let turn = io
            .turn(Some(Duration::from_millis(1)), |_| None)
            .expect("turn");
        assert_eq!(turn, Turn::default());
    }

    #[test]
    fn a_packet_tells_when_it_came_not_when_we_looked() {
        let any = "127.0.0.1:0".parse().expect("test address");
        let options = UdpOptions {
            arrival_times: true,
            ..UdpOptions::default()
        };
        let left = UdpSocket::bind(any, options).expect("bind");
        let (alice, to_left) = (socket(), left.local());
        let mut io = MediaIo::new(Waker::new().expect("waker")).expect("media io");
        io.add(0, left).expect("add");
        alice.send_to(b"packet", to_left).expect("send");
        let sent = Instant::now();
        // Long beside what a busy machine takes between two lines of this test, and still believed.
        let late = ARRIVAL_AGE_MAX * 6 / 10;
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
        assert!(
            at < Some(sent + late / 2),
            "the packet seems to have come when we looked"
        );
    }

    #[test]
    fn a_wake_up_goes_before_packets_but_not_for_ever() {
        let waker = Waker::new().expect("waker");
        let mut io = MediaIo::new(waker.clone()).expect("media io");
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
    }

    #[test]
    fn an_oversized_packet_is_dropped_and_a_removed_socket_is_silent() {
        let waker = Waker::new().expect("waker");
        let mut io = MediaIo::new(waker.clone()).expect("media io");
        let (left, alice) = (socket(), socket());
        let to_left = left.local();
        io.add(0, left).expect("add");
        alice
            .send_to(&[0; MEDIA_PACKET_BYTES + 1], to_left)
            .expect("send");
        let turn = io
            .turn(None, |_| panic!("an oversized packet reached the decision"))
            .expect("turn");
        assert_eq!((turn.received, turn.oversized), (1, 1));

        let left = io.remove(0).expect("the socket comes back");
        assert!(io.is_empty());
        alice.send_to(b"late", left.local()).expect("send");
        waker.wake();
        assert_eq!(io.turn(None, |_| None).expect("turn").received, 0);
    }
}
