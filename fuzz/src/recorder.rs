//! What a recorder makes of packets that strangers can send: any order, any numbers, any payload in any codec. Whatever
//! comes, the recording is as long as it lasted, give or take what a network can hold back.

use std::time::{Duration, Instant};

use media::codec::Format;
use media::recorder::{Coding, Meaning, Recorder};
use media::relay::Side;

pub fn run(input: &[u8]) {
    let begun = Instant::now();
    let mut recorder = Recorder::new(begun);
    let (mut frames, mut taken, mut now) = (Vec::new(), 0, begun);
    let mut rest = input;
    // Three bytes say when, from whom and what; the fourth how long the packet is.
    while let [wait, who, what, length, tail @ ..] = rest {
        let (packet, next) = tail.split_at((*length as usize).min(tail.len()));
        rest = next;
        now += Duration::from_millis(u64::from(*wait));
        let from = if who & 1 == 0 { Side::A } else { Side::B };
        let coding = match what % 7 {
            0 => Coding::TelephoneEvent,
            1 => Coding::ComfortNoise,
            2 => Coding::Other,
            kind => Coding::Sound(Format::ALL[usize::from(kind) - 3]),
        };
        let clock_rate_hz = [8_000, 48_000, 1, u32::MAX][usize::from(who >> 1 & 3)];
        let meaning = Meaning {
            coding,
            clock_rate_hz,
        };
        recorder.hear(now, from, meaning, packet);
        recorder.take(now, &mut frames);
        taken += frames.len();
        frames.clear();
    }
    recorder.end(now);
    while recorder.take(now, &mut frames) {}
    taken += frames.len();
    let lasted = (now - begun).as_millis() as usize * 8;
    assert!(
        (lasted..=lasted + 20_000).contains(&taken),
        "{taken} of {lasted}"
    );
}
