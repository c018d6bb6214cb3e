use super::program::{PASS, REDIRECT};
use super::trial::{Trial, frame};
use super::*;

const PORTS: RangeInclusive<u16> = 20_000..=20_019;

/// The program, where this process may load one.
fn fast_path() -> Option<FastPath> {
    match FastPath::load(PORTS) {
        Ok(fast_path) => Some(fast_path),
        Err(why) if matches!(why.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
            eprintln!("SKIPPED: no program can be loaded here: {why}");
            None
        }
        Err(why) => panic!("the program is refused: {why}"),
    }
}

/// A lent stream and what comes of its packets.
struct Story {
    fast_path: FastPath,
    trial: Trial,
}

impl Story {
    fn begin() -> Option<Self> {
        let (fast_path, trial) = (fast_path()?, Trial::new(20_004));
        assert!(fast_path.lend(&trial.stream));
        Some(Self { fast_path, trial })
    }

    fn run(&self, packet: &[u8]) -> (i32, Vec<u8>) {
        self.fast_path.program.test_run(packet).expect("a run")
    }

    #[track_caller]
    fn is_relayed(&self, sequence: u16) {
        let (verdict, packet) = self.run(&self.trial.packet(sequence));
        assert_eq!(verdict, REDIRECT, "{sequence}");
        assert_eq!(packet, self.trial.relayed(sequence));
    }

    #[track_caller]
    fn passes(&self, packet: &[u8]) {
        assert_eq!(self.run(packet), (PASS, packet.to_vec()));
    }

    fn arriving(&self, rtp: &[u8]) -> Vec<u8> {
        let Lent { source, local, .. } = self.trial.stream;
        frame(source, local, (0, 61), rtp)
    }

    fn returned(&self) -> Returned {
        let port = self.trial.stream.local.port();
        self.fast_path.take_back(port).expect("a stream")
    }
}

#[test]
fn the_trial_passes() {
    if let Some(fast_path) = fast_path() {
        fast_path.try_out().expect("a trial");
    }
}

#[test]
fn what_comes_next_is_relayed_and_counted() {
    let Some(story) = Story::begin() else { return };
    let before = Instant::now();
    for sequence in 700..750 {
        story.is_relayed(sequence);
    }
    let returned = story.returned();
    assert_eq!((returned.packets, returned.bytes), (50, 50 * 172));
    assert_eq!(returned.state.second_packets, 50);
    let last = returned.last_at.expect("a packet came");
    // Both clocks are read one after the other once.
    assert!(last + Duration::from_millis(1) >= before && last <= Instant::now());
    // Nothing is relayed any more.
    story.passes(&story.trial.packet(750));
}

#[test]
fn the_number_wraps() {
    let Some(fast_path) = fast_path() else { return };
    let mut trial = Trial::new(20_000);
    trial.stream.next_sequence = 65_534;
    assert!(fast_path.lend(&trial.stream));
    let story = Story { fast_path, trial };
    [65_534, 65_535, 0, 1]
        .into_iter()
        .for_each(|sequence| story.is_relayed(sequence));
    assert_eq!(story.returned().packets, 4);
}

#[test]
fn whatever_is_unusual_about_a_stream_gives_it_back() {
    type Rtp = fn(&Trial) -> Vec<u8>;
    let unusual: [(&str, Rtp); 6] = [
        ("a gap", |trial| trial.rtp(702)),
        ("a copy", |trial| trial.rtp(700)),
        ("one that was overtaken", |trial| trial.rtp(699)),
        ("another SSRC", |trial| {
            let mut rtp = trial.rtp(701);
            rtp[11] ^= 1;
            rtp
        }),
        ("another payload type", |trial| {
            let mut rtp = trial.rtp(701);
            rtp[1] = 101;
            rtp
        }),
        ("RTCP", |trial| {
            let mut rtp = trial.rtp(701);
            rtp[1] = 200;
            rtp
        }),
    ];
    for (what, rtp) in unusual {
        let Some(story) = Story::begin() else { return };
        story.is_relayed(700);
        story.passes(&story.arriving(&rtp(&story.trial)));
        // The stream is the relay's now, even if the next packet is as it should be.
        story.passes(&story.trial.packet(701));
        assert_eq!(story.returned().packets, 1, "{what}");
    }
}

#[test]
fn what_is_not_of_the_stream_passes_and_the_stream_goes_on() {
    let Some(story) = Story::begin() else { return };
    let Lent { source, local, .. } = story.trial.stream;
    let rtp = story.trial.rtp(700);
    let elsewhere = |ip: u8, port: u16| SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, ip), port);
    for (from, to) in [
        (elsewhere(9, source.port()), local),
        (elsewhere(2, source.port() + 1), local),
        (source, elsewhere(9, local.port())),
        (source, elsewhere(1, local.port() + 1)),
        (source, elsewhere(1, 19_998)),
        (source, elsewhere(1, 20_020)),
        (source, elsewhere(1, 20_006)),
    ] {
        story.passes(&frame(from, to, (0, 61), &rtp));
    }
    let mut extended = rtp.clone();
    extended[0] |= 0x10;
    let mut contributed = rtp.clone();
    contributed[0] |= 1;
    let mut of_version_1 = rtp.clone();
    of_version_1[0] = 0x40;
    for odd in [
        &extended[..],
        &contributed,
        &of_version_1,
        &rtp[..11],
        &[0; 1_401],
        &[],
    ] {
        story.passes(&story.arriving(odd));
    }
    let whole = story.trial.packet(700);
    let changed = |at: usize, value: u8| {
        let mut packet = whole.clone();
        packet[at] = value;
        packet
    };
    let (options, more_fragments, fragment, tcp) = (
        changed(14, 0x46),
        changed(20, 0x20),
        changed(21, 1),
        changed(23, 6),
    );
    let (short_udp, long_udp) = (changed(39, 100), changed(39, 255));
    for odd in [options, more_fragments, fragment, tcp, short_udp, long_udp] {
        story.passes(&odd);
    }
    story.is_relayed(700);
    assert_eq!(story.returned().packets, 1);
}

#[test]
fn a_packet_without_checksum_stays_without() {
    let Some(story) = Story::begin() else { return };
    let without = |mut packet: Vec<u8>| {
        packet[40..42].fill(0);
        packet
    };
    let (verdict, packet) = story.run(&without(story.trial.packet(700)));
    assert_eq!(
        (verdict, packet),
        (REDIRECT, without(story.trial.relayed(700)))
    );
}

#[test]
fn padding_and_the_marker_do_not_matter() {
    let Some(story) = Story::begin() else { return };
    let mut rtp = story.trial.rtp(700);
    rtp[0] |= 0x20;
    rtp[1] |= 0x80;
    let (verdict, packet) = story.run(&story.arriving(&rtp));
    assert_eq!((verdict, &packet[42..]), (REDIRECT, &rtp[..]));
}

#[test]
fn more_packets_than_any_stream_has_are_the_relays_to_refuse() {
    let Some(fast_path) = fast_path() else { return };
    let mut trial = Trial::new(20_004);
    // However long the test takes, the second has to stay the same: one that never ends, far away.
    trial.stream.opened_at = Instant::now();
    trial.stream.state.second_packets = 4_999;
    assert!(fast_path.lend(&trial.stream));
    let story = Story { fast_path, trial };
    story.is_relayed(700);
    let (verdict, _) = story.run(&story.trial.packet(701));
    let returned = story.returned();
    let same_second = returned.state.second == 0;
    assert_eq!(verdict, if same_second { PASS } else { REDIRECT });
}

#[test]
fn a_cell_is_lent_once() {
    let Some(story) = Story::begin() else { return };
    assert!(!story.fast_path.lend(&story.trial.stream));
    story.returned();
    assert!(story.fast_path.lend(&story.trial.stream));
    for port in [19_998, 20_001, 20_020] {
        let mut stream = story.trial.stream;
        stream.local.set_port(port);
        assert!(!story.fast_path.lend(&stream), "{port}");
        assert_eq!(story.fast_path.take_back(port), None);
    }
}

#[test]
fn another_clock_says_the_same() {
    let clock = Clock::now();
    for at in [
        clock.instant + Duration::from_secs(7),
        clock.instant - Duration::from_millis(3),
    ] {
        assert_eq!(clock.instant(clock.kernel_ns(at)), at);
    }
}

/// RFC 3550 §A.8 by the book, for a packet that came `age` after the relay was opened.
fn jitter(state: LentState, age: Duration, timestamp: u32) -> LentState {
    let ticks = age.as_micros() as u64 * u64::from(state.clock_rate_hz) / 1_000_000;
    let transit = (ticks as u32).wrapping_sub(timestamp);
    let change = transit.wrapping_sub(state.transit).cast_signed();
    let change = change.unsigned_abs();
    let before = state.jitter_sixteenths;
    LentState {
        transit,
        // More than a second is another clock, not jitter.
        jitter_sixteenths: match change > state.clock_rate_hz {
            true => before,
            false => before + change - (before + 8) / 16,
        },
        ..state
    }
}

#[test]
fn jitter_is_measured_to_the_last_sixteenth() {
    let Some(fast_path) = fast_path() else { return };
    for clock_rate_hz in [8_000, 16_000, 48_000, 90_000] {
        let mut trial = Trial::new(20_004);
        trial.stream.state.clock_rate_hz = clock_rate_hz;
        trial.stream.opened_at = fast_path.clock.instant;
        let mut timestamp = 3_999_999_000_u32;
        // Steps of a sender whose clock jumps about, back and forth and out of bounds.
        for step in [
            160,
            0,
            1_000,
            7,
            u32::MAX - 90,
            200_000,
            40,
            3_000_000_000,
            640,
            1,
        ] {
            timestamp = timestamp.wrapping_add(step);
            assert!(fast_path.lend(&trial.stream));
            let mut rtp = trial.rtp(trial.stream.next_sequence);
            rtp[4..8].copy_from_slice(&timestamp.to_be_bytes());
            let Lent { source, local, .. } = trial.stream;
            let (verdict, _) = fast_path
                .program
                .test_run(&frame(source, local, (0, 61), &rtp))
                .expect("a run");
            assert_eq!(verdict, REDIRECT);
            let returned = fast_path.take_back(local.port()).expect("a stream");
            let age = returned.last_at.expect("it came") - trial.stream.opened_at;
            let expected = jitter(trial.stream.state, age, timestamp);
            let state = LentState {
                second: returned.state.second,
                second_packets: returned.state.second_packets,
                ..expected
            };
            assert_eq!(returned.state, state, "{clock_rate_hz} Hz, {step}");
            trial.stream.state = returned.state;
            trial.stream.next_sequence += 1;
        }
    }
}
