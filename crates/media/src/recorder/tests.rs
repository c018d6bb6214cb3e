//! Whole recordings of streams that met all kinds of weather.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::codec::Format;
use crate::g711;
use crate::rtp::Header;

const MU: Meaning = Meaning {
    coding: Coding::Sound(Format::Pcmu),
    clock_rate_hz: 8_000,
};
const FRAME_MS: u64 = 20;
const FRAME: usize = 160;

/// Packet number `number` of a stream that says `value` in all its samples.
fn packet(ssrc: u32, number: u16, value: i16) -> Vec<u8> {
    let header = Header {
        marker: false,
        payload_type: 0,
        sequence: number.wrapping_add(65_000),
        timestamp: (u32::from(number) * FRAME as u32).wrapping_sub(10_000),
        ssrc,
    };
    header.packet(&[g711::encode_mu(value); FRAME])
}

/// What the recorder is told: milliseconds, side, meaning, packet. Time passes as told, and goes on for `rest_ms`.
fn record(heard: &[(u64, Side, Meaning, Vec<u8>)], rest_ms: u64) -> (Vec<[i16; 2]>, Recorder) {
    let begun = Instant::now();
    let at = |ms| begun + Duration::from_millis(ms);
    let mut recorder = Recorder::new(begun);
    let mut frames = Vec::new();
    let mut now_ms = 0;
    for (at_ms, side, meaning, packet) in heard {
        while now_ms < *at_ms {
            now_ms += 10;
            while recorder.take(at(now_ms), &mut frames) {}
        }
        recorder.hear(at(*at_ms), *side, *meaning, packet);
    }
    let end = at(now_ms + rest_ms);
    recorder.end(end);
    while recorder.take(end, &mut frames) {}
    (frames, recorder)
}

/// The left channel in frames of 20 ms: the value of those that say one thing, `None` for others.
fn said(frames: &[[i16; 2]]) -> Vec<Option<i16>> {
    let one = |frame: &[[i16; 2]]| {
        let first = frame[0][0];
        frame
            .iter()
            .all(|[left, _]| *left == first)
            .then_some(first)
    };
    frames.chunks_exact(FRAME).map(one).collect()
}

/// A value that survives µ-law.
fn value(number: u16) -> i16 {
    g711::decode_mu(g711::encode_mu(1_000 + 500 * (number % 50) as i16))
}

fn stream(numbers: impl IntoIterator<Item = (u64, u16)>) -> Vec<(u64, Side, Meaning, Vec<u8>)> {
    let one = |(at_ms, number)| (at_ms, Side::A, MU, packet(7, number, value(number)));
    numbers.into_iter().map(one).collect()
}

fn steady(count: u16) -> impl Iterator<Item = (u64, u16)> {
    (0..count).map(|number| (u64::from(number) * FRAME_MS, number))
}

#[test]
fn a_steady_stream_is_recorded_sample_by_sample() {
    let (frames, recorder) = record(&stream(steady(200)), FRAME_MS);
    let expected: Vec<_> = (0..200).map(|number| Some(value(number))).collect();
    assert_eq!(said(&frames), expected);
    assert!(frames.iter().all(|[_, right]| *right == 0));
    assert_eq!(recorder.counts(Side::A).decoded, 200);
    assert_eq!(recorder.taken(), Duration::from_secs(4));
}

#[test]
fn both_sides_share_one_time_line() {
    // The called side begins to speak a second later, with numbers of its own.
    let left = steady(100).map(|(ms, number)| (ms, Side::A, MU, packet(7, number, 1_000)));
    let right =
        steady(50).map(|(ms, number)| (ms + 1_000, Side::B, MU, packet(8, number + 900, -1_000)));
    let mut heard: Vec<_> = left.chain(right).collect();
    heard.sort_by_key(|(ms, ..)| *ms);
    let (frames, _) = record(&heard, FRAME_MS);
    let one = g711::decode_mu(g711::encode_mu(1_000));
    assert_eq!(frames.len(), 16_000);
    assert!(frames[..8_000].iter().all(|frame| *frame == [one, 0]));
    assert!(frames[8_000..].iter().all(|frame| *frame == [one, -one]));
}

#[test]
fn lost_packets_are_silence_where_they_were() {
    let heard = stream(steady(100).filter(|(_, number)| !matches!(number, 30 | 50..=59)));
    let (frames, _) = record(&heard, FRAME_MS);
    for (number, said) in (0..).zip(said(&frames)) {
        let expected = if matches!(number, 30 | 50..=59) {
            0
        } else {
            value(number)
        };
        assert_eq!(said, Some(expected), "frame {number}");
    }
}

#[test]
fn order_copies_and_jitter_leave_no_trace() {
    let delayed = steady(200).map(|(ms, number)| (ms + u64::from(number) * 37 % 90, number));
    let mut heard: Vec<_> = delayed
        .flat_map(|(ms, number)| [(ms, number), (ms + 30, number)])
        .collect();
    heard.sort();
    let (frames, recorder) = record(&stream(heard), FRAME_MS);
    let first = said(&frames)
        .iter()
        .position(|said| *said == Some(value(0)));
    assert_eq!(first, Some(0));
    for number in 0..200 {
        assert_eq!(
            said(&frames)[usize::from(number)],
            Some(value(number)),
            "frame {number}"
        );
    }
    assert_eq!(
        recorder.counts(Side::A),
        TrackCounts {
            decoded: 200,
            unknown: 0,
            discarded: 200
        }
    );
}

#[test]
fn a_pause_without_packets_keeps_its_length() {
    let heard = stream(steady(300).filter(|(_, number)| !(50..250).contains(number)));
    let (frames, _) = record(&heard, FRAME_MS);
    let said = said(&frames);
    assert_eq!(said.len(), 300);
    assert!(said[50..250].iter().all(|said| *said == Some(0)));
    assert_eq!(said[250], Some(value(250)));
}

#[test]
fn another_stream_of_the_same_side_follows_and_stragglers_of_the_first_do_not_disturb() {
    let mut heard = stream(steady(50));
    for number in 0..50_u16 {
        let ms = 1_000 + u64::from(number) * FRAME_MS;
        heard.push((
            ms,
            Side::A,
            MU,
            packet(99, number.wrapping_add(40_000), -4_000),
        ));
        if number == 1 {
            heard.push((ms, Side::A, MU, packet(7, 50, 30_000)));
        }
    }
    let (frames, recorder) = record(&heard, FRAME_MS);
    let said = said(&frames);
    let second = g711::decode_mu(g711::encode_mu(-4_000));
    assert_eq!(said.len(), 100);
    assert!(
        said[50..].iter().all(|said| *said == Some(second)),
        "{said:?}"
    );
    assert_eq!(recorder.counts(Side::A).discarded, 1);
}

#[test]
fn key_presses_and_comfort_noise_are_silence() {
    let mut heard = stream(steady(10));
    let event = Meaning {
        coding: Coding::TelephoneEvent,
        ..MU
    };
    let noise = Meaning {
        coding: Coding::ComfortNoise,
        ..MU
    };
    for number in 10..20_u16 {
        let meaning = if number < 15 { event } else { noise };
        let ms = u64::from(number) * FRAME_MS;
        heard.push((ms, Side::A, meaning, packet(7, number, 30_000)));
    }
    heard.extend(stream(steady(30).skip(20)));
    let (frames, recorder) = record(&heard, FRAME_MS);
    let said = said(&frames);
    assert!(said[10..20].iter().all(|said| *said == Some(0)));
    assert_eq!(said[20], Some(value(20)));
    assert_eq!(
        recorder.counts(Side::A),
        TrackCounts {
            decoded: 20,
            unknown: 0,
            discarded: 0
        }
    );
}

#[test]
fn a_codec_nobody_knows_is_counted() {
    let meaning = Meaning {
        coding: Coding::Other,
        ..MU
    };
    let heard: Vec<_> = steady(10)
        .map(|(ms, number)| (ms, Side::B, meaning, packet(7, number, 9)))
        .collect();
    let (frames, recorder) = record(&heard, FRAME_MS);
    assert!(frames.iter().all(|frame| *frame == [0, 0]));
    assert_eq!(recorder.counts(Side::B).unknown, 10);
}

#[test]
fn both_laws_in_one_stream() {
    let mut heard = stream(steady(10));
    for number in 10..20_u16 {
        let mut bytes = packet(7, number, 0);
        bytes[12..].fill(g711::encode_a(-3_000));
        let meaning = Meaning {
            coding: Coding::Sound(Format::Pcma),
            ..MU
        };
        heard.push((u64::from(number) * FRAME_MS, Side::A, meaning, bytes));
    }
    let (frames, _) = record(&heard, FRAME_MS);
    let said = said(&frames);
    assert_eq!(said[9], Some(value(9)));
    assert_eq!(said[10], Some(g711::decode_a(g711::encode_a(-3_000))));
}

#[test]
fn audio_that_the_network_held_back_is_not_lost() {
    // A second and a half of nothing, then all of it at once, then as if nothing had happened.
    let heard = stream(steady(300).map(|(ms, number)| match number {
        100..175 => (3_500, number),
        _ => (ms, number),
    }));
    let (frames, recorder) = record(&heard, 2_000);
    assert_eq!(recorder.counts(Side::A).decoded, 300);
    // It stands where it arrived, and what follows stands behind it.
    for (number, said) in (100..175).zip(&said(&frames)[175..]) {
        assert_eq!(*said, Some(value(number)), "frame {number}");
    }
}

#[test]
fn an_end_comes_at_its_time_whatever_was_heard() {
    let begun = Instant::now();
    let mut recorder = Recorder::new(begun);
    let mut frames = Vec::new();
    let end = begun + Duration::from_secs(25);
    recorder.end(end);
    assert!(recorder.take(end, &mut frames), "ten seconds at a time");
    assert_eq!(frames.len(), 80_000);
    while recorder.take(end, &mut frames) {}
    assert_eq!(frames.len(), 200_000);
    assert!(!recorder.take(end, &mut frames));
}

#[test]
fn what_is_not_rtp_is_nothing() {
    let heard = [
        (0, Side::A, MU, vec![1, 2, 3]),
        (5, Side::B, MU, Vec::new()),
    ];
    let (frames, _) = record(&heard, 100);
    assert!(frames.iter().all(|frame| *frame == [0, 0]));
}

/// A packet of anybody: when, what its header says, how long, what it is.
fn anything() -> impl Strategy<Value = (u64, u8, u16, u32, usize, u8)> {
    (
        0..5_000_u64,
        0..3_u8,
        any::<u16>(),
        any::<u32>(),
        0..2_000_usize,
        0..7_u8,
    )
}

proptest! {
    /// Whatever is sent, the recording is as long as it lasted and no longer than two seconds more, and what is held in
    /// memory has a bound.
    #[test]
    fn nothing_that_is_sent_makes_it_grow(mut packets in vec(anything(), 0..200)) {
        packets.sort_by_key(|(ms, ..)| *ms);
        let begun = Instant::now();
        let mut recorder = Recorder::new(begun);
        let mut frames = Vec::new();
        for (ms, ssrc, sequence, timestamp, length, coding) in packets {
            let header = Header {
                marker: false,
                payload_type: 0,
                sequence,
                timestamp,
                ssrc: u32::from(ssrc),
            };
            let coding = [
                Coding::Sound(Format::Pcmu),
                Coding::Sound(Format::Pcma),
                Coding::Sound(Format::G722),
                Coding::Sound(Format::Opus),
                Coding::TelephoneEvent,
                Coding::ComfortNoise,
                Coding::Other,
            ][usize::from(coding)];
            let meaning = Meaning { coding, clock_rate_hz: [8_000, 48_000, 1][usize::from(ssrc)] };
            let at = begun + Duration::from_millis(ms);
            while recorder.take(at, &mut frames) {}
            recorder.hear(at, Side::A, meaning, &header.packet(&vec![3; length]));
            let held = recorder.tracks[0].ends_at() - recorder.taken;
            prop_assert!(held < 4 * i64::from(SAMPLE_RATE_HZ), "{held} samples held");
        }
        let end = begun + Duration::from_millis(5_000);
        recorder.end(end);
        while recorder.take(end, &mut frames) {}
        prop_assert!((40_000..=40_000 + 16_000 + 1_500).contains(&frames.len()), "{}", frames.len());
    }

    /// Packets that arrive in any order within fifty milliseconds, some of them twice, are recorded as if they had come
    /// in order.
    #[test]
    fn disorder_is_invisible(delays in vec((0..50_u64, any::<bool>()), 100)) {
        let mut arrivals: Vec<_> = delays
            .iter()
            .zip(steady(100))
            .flat_map(|((delay, twice), (ms, number))| {
                let once = (ms + 50 + delay, number);
                [Some(once), twice.then_some((once.0 + 7, number))]
            })
            .flatten()
            .collect();
        arrivals.sort();
        let (frames, recorder) = record(&stream(arrivals), FRAME_MS);
        prop_assert_eq!(recorder.counts(Side::A).decoded, 100);
        let first = frames.iter().position(|[left, _]| *left != 0).expect("something is heard");
        for (number, said) in (0..100).zip(said(&frames[first..])) {
            prop_assert_eq!(said, Some(value(number)), "frame {}", number);
        }
    }
}
