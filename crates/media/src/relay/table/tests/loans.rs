//! Streams that are relayed elsewhere while nothing happens: what comes out and what is counted stays the same.

use proptest::prelude::*;

use super::super::super::loan::ORDINARY_PACKETS;
use super::*;
use crate::relay::{LOAN_MAX, Loan, Returned};

/// Who relays what is lent, by the one rule there is.
#[derive(Default)]
struct Elsewhere {
    lent: HashMap<u32, (Loan, Returned)>,
    relayed: u64,
}

impl Elsewhere {
    fn take(&mut self, loan: &Loan) -> Option<u32> {
        let nothing = Returned {
            packets: 0,
            bytes: 0,
            last_at: None,
            carried: loan.carried,
        };
        let before = self.lent.insert(loan.key.0, (*loan, nothing));
        assert!(before.is_none(), "lent twice");
        Some(loan.key.0)
    }

    /// Relays a packet if it is the next one of a stream.
    fn packet(
        &mut self,
        now: Instant,
        key: SocketKey,
        source: SocketAddr,
        packet: &[u8],
    ) -> Option<Verdict> {
        let (loan, returned) = self.lent.get_mut(&key.0)?;
        let header = Header::parse(packet).ok()?;
        let next = loan.next_sequence.wrapping_add(returned.packets as u16);
        let is_next = source == loan.source
            && (header.ssrc, header.payload_type) == (loan.ssrc, loan.payload_type)
            && header.sequence == next;
        if !is_next {
            return None;
        }
        let age = now - loan.opened_at;
        let carried = &mut returned.carried;
        if carried.second != age.as_secs() {
            (carried.second, carried.second_packets) = (age.as_secs(), 0);
        }
        carried.second_packets += 1;
        let ticks = age.as_micros() as u64 * u64::from(carried.clock_rate_hz) / 1_000_000;
        let transit = (ticks as u32).wrapping_sub(header.timestamp);
        let change = transit
            .wrapping_sub(carried.transit)
            .cast_signed()
            .unsigned_abs();
        carried.transit = transit;
        if change <= carried.clock_rate_hz {
            let jitter = carried.jitter_sixteenths;
            carried.jitter_sixteenths = jitter + change - (jitter + 8) / 16;
        }
        returned.packets += 1;
        returned.bytes += packet.len() as u64;
        returned.last_at = Some(now);
        self.relayed += 1;
        Some(Verdict::Forward {
            out: loan.out,
            to: loan.to,
        })
    }
}

/// A table that lends, as a media thread uses it.
struct Lender {
    world: World,
    elsewhere: Elsewhere,
}

impl Lender {
    fn new() -> Self {
        let mut world = World::new();
        world.table.want_loans();
        Self {
            world,
            elsewhere: Elsewhere::default(),
        }
    }

    fn give_back(&mut self, key: SocketKey) {
        let number = self.world.table.lent_by(key).expect("it is lent");
        let (_, returned) = self.elsewhere.lent.remove(&number).expect("we have it");
        self.world.table.give_back(key, &returned);
    }

    fn packet(&mut self, key: SocketKey, source: &str, packet: &[u8]) -> Verdict {
        let relayed = self
            .elsewhere
            .packet(self.world.now, key, addr(source), packet);
        if let Some(verdict) = relayed {
            return verdict;
        }
        if self.world.table.lent_by(key).is_some() {
            self.give_back(key);
        }
        let verdict = self.world.packet(key, source, packet);
        let elsewhere = &mut self.elsewhere;
        self.world
            .table
            .lend(self.world.now, |loan| elsewhere.take(loan));
        while let Some(stale) = self.world.table.next_stale() {
            if self.world.table.lent_by(stale).is_some() {
                self.give_back(stale);
            }
        }
        verdict
    }

    fn command(&mut self, command: Command) {
        let lent: Vec<_> = self.world.table.lent_of(command.relay()).collect();
        lent.into_iter().for_each(|key| self.give_back(key));
        self.world.command(command);
    }

    fn silences(&mut self) -> Vec<Silent> {
        for key in self.world.table.overdue(self.world.now) {
            self.give_back(key);
        }
        self.world.silences()
    }

    fn stats(&mut self) -> RelayStats {
        let lent: Vec<_> = self.world.table.all_lent().collect();
        assert_eq!(lent.len(), self.world.table.loans());
        lent.into_iter().for_each(|key| self.give_back(key));
        assert_eq!(self.world.table.loans(), 0);
        assert!(self.elsewhere.lent.is_empty());
        self.world.stats()
    }
}

fn payload(payload_type: u8, ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = rtp(ssrc, sequence);
    packet[1] = payload_type;
    packet
}

/// Both sides speak for so many packets, 20 ms apart.
fn speak(lender: &mut Lender, sequences: std::ops::Range<u16>) {
    for sequence in sequences {
        lender.world.now += Duration::from_millis(20);
        for (key, source, ssrc, out, to) in [
            (A_RTP_KEY, A, 1, B_RTP_KEY, B),
            (B_RTP_KEY, B, 2, A_RTP_KEY, A),
        ] {
            let verdict = lender.packet(key, source, &rtp(ssrc, sequence));
            assert_eq!(verdict, Verdict::Forward { out, to: addr(to) });
        }
    }
}

#[test]
fn an_ordinary_stream_is_lent_and_is_counted_all_the_same() {
    let mut lender = Lender::new();
    speak(&mut lender, 0..100);
    // The first packet begins the stream, the next ones show that it is ordinary.
    let here = u64::from(ORDINARY_PACKETS) + 1;
    assert_eq!(lender.elsewhere.relayed, 2 * (100 - here));
    assert_eq!(lender.world.table.loans(), 2);
    let stats = lender.stats();
    assert_eq!((stats.a.packets, stats.b.packets), (100, 100));
    assert_eq!(
        (stats.a.bytes, stats.a.lost, stats.a.jitter_us),
        (17_200, 0, 0)
    );
    assert_eq!(
        (stats.a.first_at_ms, stats.a.last_at_ms),
        (Some(20), Some(2_000))
    );
}

#[test]
fn a_command_ends_the_loan_before_it_is_obeyed() {
    let mut lender = Lender::new();
    speak(&mut lender, 0..20);
    lender.command(Command::Record {
        relay: RELAY,
        recording: Some(RecordingId(1)),
    });
    assert_eq!(lender.world.table.loans(), 0);
    let before = lender.elsewhere.relayed;
    speak(&mut lender, 20..60);
    assert_eq!(
        lender.elsewhere.relayed, before,
        "what is recorded is heard here"
    );
    lender.command(Command::Record {
        relay: RELAY,
        recording: None,
    });
    speak(&mut lender, 60..80);
    assert_eq!(lender.world.table.loans(), 2);
}

#[test]
fn what_is_sealed_converted_or_filled_is_not_lent() {
    let mut source = crate::srtp::KeySource::new(&crate::srtp::KeySeed([3; 32]));
    let suite = crate::srtp::Suite::ALL[0];
    let keys = SideKeys {
        receive: source.key(suite),
        send: source.key(suite),
    };
    for (what, command) in [
        (
            "sealed",
            Command::Protect {
                relay: RELAY,
                side: Side::B,
                protection: Protection::Keys(Box::new(keys)),
            },
        ),
        (
            "filled",
            Command::ComfortNoise {
                relay: RELAY,
                side: Side::B,
                noise: Some(crate::relay::Noise::Described),
            },
        ),
        (
            "of no kind",
            Command::Traffic {
                relay: RELAY,
                traffic: Traffic::Datagrams,
            },
        ),
    ] {
        let mut lender = Lender::new();
        lender.command(command);
        for sequence in 0..40 {
            lender.packet(A_RTP_KEY, A, &rtp(1, sequence));
        }
        assert_eq!(lender.elsewhere.relayed, 0, "{what}");
    }
}

#[test]
fn where_the_other_side_moves_the_stream_follows() {
    let mut lender = Lender::new();
    speak(&mut lender, 0..20);
    // Side B is behind a NAT that gives it another port.
    let moved = "203.0.113.1:5999";
    lender.packet(B_RTP_KEY, moved, &rtp(2, 20));
    let verdict = lender.packet(A_RTP_KEY, A, &rtp(1, 20));
    let to = addr(moved);
    assert_eq!(verdict, Verdict::Forward { out: B_RTP_KEY, to });
}

#[test]
fn a_source_that_was_heard_elsewhere_has_not_been_silent() {
    let mut lender = Lender::new();
    // More than it takes for the stream to go on from another host.
    speak(&mut lender, 0..150);
    let verdict = lender.packet(A_RTP_KEY, STRANGER, &rtp(1, 150));
    assert_eq!(verdict, Verdict::Drop(DropReason::Stranger));
}

#[test]
fn silence_is_noticed_of_streams_that_are_lent() {
    let mut lender = Lender::new();
    speak(&mut lender, 0..50);
    let spoken = lender.world.now;
    lender.world.now = spoken + TIMEOUT - Duration::from_millis(1);
    assert_eq!(lender.silences(), []);
    lender.world.now = spoken + TIMEOUT;
    assert_eq!(lender.silences(), [Silent::Both]);
}

#[test]
fn a_stream_is_not_lent_for_ever() {
    let mut lender = Lender::new();
    speak(&mut lender, 0..20);
    assert_eq!(lender.world.table.loans(), 2);
    lender.world.now += LOAN_MAX;
    assert_eq!(lender.silences(), []);
    assert_eq!(lender.world.table.loans(), 0);
}

#[test]
fn a_stream_that_nobody_wants_is_not_offered_all_the_time() {
    let mut world = World::new();
    world.table.want_loans();
    let mut offers = 0;
    for sequence in 0..600 {
        world.forwards(A_RTP_KEY, A, &rtp(1, sequence), B_RTP_KEY, B);
        world.table.lend(world.now, |_| {
            offers += 1;
            None
        });
    }
    assert_eq!(offers, 2);
}

#[test]
fn a_relay_that_closes_takes_its_loans_with_it() {
    let mut lender = Lender::new();
    speak(&mut lender, 0..20);
    lender.command(Command::Close { relay: RELAY });
    assert_eq!(lender.world.table.loans(), 0);
    assert_eq!(lender.world.table.lent_by(A_RTP_KEY), None);
}

/// What may happen to a stream.
#[derive(Clone, Debug)]
enum Happening {
    Next { after_us: u64, side: Side },
    Skip { side: Side, by: i16 },
    OtherStream { side: Side },
    Event { side: Side },
    Extension { side: Side },
    Stranger { side: Side },
    Moves { side: Side },
    Held,
    Look,
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::A), Just(Side::B)]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        60 => (0..60_000_u64, side()).prop_map(|(after_us, side)| Happening::Next { after_us, side }),
        2 => (side(), prop_oneof![-120..120_i16, any::<i16>()])
            .prop_map(|(side, by)| Happening::Skip { side, by }),
        1 => side().prop_map(|side| Happening::OtherStream { side }),
        1 => side().prop_map(|side| Happening::Event { side }),
        1 => side().prop_map(|side| Happening::Extension { side }),
        1 => side().prop_map(|side| Happening::Stranger { side }),
        1 => side().prop_map(|side| Happening::Moves { side }),
        1 => Just(Happening::Held),
        2 => Just(Happening::Look),
    ]
}

/// Two far ends.
struct Ends {
    ssrc: [u32; 2],
    sequence: [u16; 2],
    port: [u16; 2],
}

impl Ends {
    fn source(&self, side: Side) -> String {
        let host = ["198.51.100.1", "203.0.113.1"][side.index()];
        format!("{host}:{}", self.port[side.index()])
    }
}

proptest! {
    /// Whatever happens: the same packets go the same way, and the same is counted, to the last sixteenth of a tick.
    #[test]
    fn lending_changes_nothing(happenings in proptest::collection::vec(happening(), 1..600)) {
        let mut lender = Lender::new();
        let mut plain = World::new();
        let events = Box::new(Payloads::of(&line("0 101")));
        for side in [Side::A, Side::B] {
            let command = Command::Payloads { relay: RELAY, side, payloads: events.clone() };
            lender.command(command.clone());
            plain.command(command);
        }
        let mut ends = Ends { ssrc: [1, 2], sequence: [65_500, 7], port: [4000, 5000] };
        for happening in happenings {
            let (side, packet) = match happening {
                Happening::Next { after_us, side } => {
                    let pause = Duration::from_micros(after_us);
                    plain.now += pause;
                    lender.world.now += pause;
                    let at = side.index();
                    ends.sequence[at] = ends.sequence[at].wrapping_add(1);
                    (side, rtp(ends.ssrc[at], ends.sequence[at]))
                }
                Happening::Skip { side, by } => {
                    let at = side.index();
                    ends.sequence[at] = ends.sequence[at].wrapping_add_signed(by);
                    (side, rtp(ends.ssrc[at], ends.sequence[at]))
                }
                Happening::OtherStream { side } => {
                    let at = side.index();
                    ends.ssrc[at] += 2;
                    (side, rtp(ends.ssrc[at], ends.sequence[at]))
                }
                Happening::Event { side } => {
                    let at = side.index();
                    ends.sequence[at] = ends.sequence[at].wrapping_add(1);
                    (side, payload(101, ends.ssrc[at], ends.sequence[at]))
                }
                Happening::Extension { side } => {
                    let at = side.index();
                    ends.sequence[at] = ends.sequence[at].wrapping_add(1);
                    let mut packet = rtp(ends.ssrc[at], ends.sequence[at]);
                    packet[0] |= 1;
                    (side, packet)
                }
                Happening::Stranger { side } => {
                    let key = [A_RTP_KEY, B_RTP_KEY][side.index()];
                    let packet = rtp(77, 1);
                    prop_assert_eq!(lender.packet(key, STRANGER, &packet), plain.packet(key, STRANGER, &packet));
                    continue;
                }
                Happening::Moves { side } => {
                    ends.port[side.index()] += 2;
                    continue;
                }
                Happening::Held => {
                    for side in [Side::A, Side::B] {
                        let rtp = Some(addr([A, B][side.index()]));
                        let command = Command::Remote {
                            relay: RELAY, side, rtp, rtcp: None, expect_media: true, strict: false,
                        };
                        lender.command(command.clone());
                        plain.command(command);
                    }
                    continue;
                }
                Happening::Look => {
                    prop_assert_eq!(lender.silences(), plain.silences());
                    continue;
                }
            };
            let (key, source) = ([A_RTP_KEY, B_RTP_KEY][side.index()], ends.source(side));
            prop_assert_eq!(lender.packet(key, &source, &packet), plain.packet(key, &source, &packet));
        }
        prop_assert_eq!(lender.stats(), plain.stats());
    }
}
