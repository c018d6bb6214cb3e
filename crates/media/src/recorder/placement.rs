//! Where on the time line the packets of one stream belong.
//!
//! The first packet stands where it arrived, the others where their timestamps say, whatever the network did to them. The
//! sender's clock is not ours, though, and the first packet may have been slow. So the *lag* is watched, how much later
//! than its place a packet arrives: the least lag of some seconds is that of a packet the network did not delay, and
//! should be zero. Where it is not, places slip by a sample or a few per packet, which nobody hears.
//!
//! A clock that jumps, or stands still while its owner is silent, is set anew: from there on packets stand where they
//! arrive again.

use super::{HOLD_SAMPLES, SAMPLE_RATE_HZ, SAMPLES_PER_MS};

/// Lag beyond which a clock has stood still. A packet with more would find its place taken already, as silence.
const LAG_MAX_SAMPLES: i64 = 400 * SAMPLES_PER_MS;

// Between its arrival and its turn a packet may have waited for others.
const _: () = assert!(LAG_MAX_SAMPLES + 60 * SAMPLES_PER_MS < HOLD_SAMPLES);

/// How far ahead of its arrival a packet may stand: the audio that a network held back and delivered at once.
const AHEAD_MAX_SAMPLES: i64 = 2_000 * SAMPLES_PER_MS;

/// Packets over which the least lag is looked for: five seconds of the usual ones.
const WINDOW_PACKETS: u32 = 250;

/// Lag that is let be.
const LAG_TOLERATED_SAMPLES: i64 = 10 * SAMPLES_PER_MS;

/// Samples that one packet slips at most: a millisecond.
pub(super) const SLIP_MAX_SAMPLES: i64 = SAMPLES_PER_MS;

/// Packets over which a large lag is spread.
const SLIP_PACKETS: i64 = 64;

/// The clock of a stream against the time line.
#[derive(Debug, Default)]
pub(super) struct Placement {
    last: Option<Last>,
    /// Least lag of this window, and the packets in it.
    least_lag: Option<i64>,
    packets: u32,
    /// What the places still have to slip by.
    slip: i64,
}

/// The packet before.
#[derive(Clone, Copy, Debug)]
struct Last {
    timestamp: u32,
    clock_rate_hz: u32,
    position: i64,
}

impl Placement {
    /// The place of a packet that arrived `at`; `free` is the end of what stands there already. `None` when there is no
    /// place for it: nobody speaks that fast.
    pub(super) fn place(
        &mut self,
        at: i64,
        timestamp: u32,
        clock_rate_hz: u32,
        free: i64,
    ) -> Option<i64> {
        let told = self
            .last
            .filter(|last| last.clock_rate_hz == clock_rate_hz)
            .map(|last| last.after(timestamp))
            .filter(|position| (-AHEAD_MAX_SAMPLES..=LAG_MAX_SAMPLES).contains(&(at - position)));
        let position = match told {
            Some(position) => self.slipped(at, position),
            None => {
                self.least_lag = None;
                (self.packets, self.slip) = (0, 0);
                at.max(free)
            }
        };
        if position - at > AHEAD_MAX_SAMPLES {
            return None;
        }
        self.last = Some(Last {
            timestamp,
            clock_rate_hz,
            position,
        });
        Some(position)
    }

    /// Watches the lag, and slips while there is one to make good for.
    fn slipped(&mut self, at: i64, position: i64) -> i64 {
        if self.slip != 0 {
            let step = (self.slip / SLIP_PACKETS).clamp(-SLIP_MAX_SAMPLES, SLIP_MAX_SAMPLES);
            let step = if step == 0 { self.slip.signum() } else { step };
            self.slip -= step;
            return position + step;
        }
        let lag = at - position;
        let least = *self
            .least_lag
            .insert(self.least_lag.map_or(lag, |least| least.min(lag)));
        self.packets += 1;
        if self.packets >= WINDOW_PACKETS {
            if least.abs() > LAG_TOLERATED_SAMPLES {
                self.slip = least;
            }
            self.least_lag = None;
            self.packets = 0;
        }
        position
    }
}

impl Last {
    fn after(&self, timestamp: u32) -> i64 {
        let ticks = i64::from(timestamp.wrapping_sub(self.timestamp) as i32);
        self.position + ticks * i64::from(SAMPLE_RATE_HZ) / i64::from(self.clock_rate_hz.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 8_000;

    fn ms(milliseconds: i64) -> i64 {
        milliseconds * SAMPLES_PER_MS
    }

    /// Places packets of 20 ms; `delay_ms` says how late each arrives.
    fn places(packets: u32, rate: u32, delay_ms: impl Fn(u32) -> i64) -> Vec<i64> {
        let mut placement = Placement::default();
        let mut free = 0;
        (0..packets)
            .map(|number| {
                let at = ms(i64::from(number) * 20 + delay_ms(number));
                let place = placement.place(at, number * rate / 50, rate, free);
                free = place.expect("a place") + ms(20);
                free - ms(20)
            })
            .collect()
    }

    #[test]
    fn what_the_network_did_is_undone() {
        let places = places(100, RATE, |number| i64::from(number * 7 % 50));
        for (number, place) in (0..).zip(places) {
            assert_eq!(place, ms(20 * number));
        }
    }

    #[test]
    fn timestamps_of_any_clock_are_understood_and_wrap() {
        let opus = places(100, 48_000, |_| 0);
        assert_eq!(opus[99], ms(99 * 20));
        let mut placement = Placement::default();
        assert_eq!(placement.place(0, u32::MAX - 79, RATE, 0), Some(0));
        assert_eq!(placement.place(ms(20), 80, RATE, ms(20)), Some(ms(20)));
    }

    #[test]
    fn a_slow_first_packet_is_made_good_for() {
        let places = places(1_000, RATE, |number| if number == 0 { 200 } else { 5 });
        assert_eq!(places[1], ms(220), "at first all stand behind it");
        let last = places[999] - ms(999 * 20 + 5);
        assert!(last.abs() <= LAG_TOLERATED_SAMPLES, "{last} samples off");
        let steps = places.windows(2).map(|pair| pair[1] - pair[0] - ms(20));
        assert!(steps.into_iter().all(|step| step.abs() <= SLIP_MAX_SAMPLES));
    }

    #[test]
    fn a_clock_that_runs_wrong_is_followed_for_an_hour() {
        // A sender whose 20 ms are 19.996: 200 millionths fast, twice what a cheap crystal does.
        for millionths in [200, -200] {
            let mut placement = Placement::default();
            let (mut free, mut worst) = (0, 0_i64);
            for number in 0..180_000_i64 {
                let at = ms(number * 20) - number * 160 * millionths / 1_000_000;
                let place = placement.place(at, number as u32 * 160, RATE, free);
                free = place.expect("a place") + 160;
                worst = worst.max((at - (free - 160)).abs());
            }
            assert!(worst < ms(25), "{worst} samples off");
        }
    }

    #[test]
    fn a_pause_that_the_clock_counts_stays_a_pause() {
        let mut placement = Placement::default();
        placement.place(0, 0, RATE, 0);
        assert_eq!(
            placement.place(ms(9_000), 72_000, RATE, 160),
            Some(ms(9_000))
        );
    }

    #[test]
    fn a_clock_that_stood_still_or_jumped_is_set_anew() {
        for next in [160, 999_999, u32::MAX / 2] {
            let mut placement = Placement::default();
            placement.place(0, 0, RATE, 0);
            assert_eq!(placement.place(ms(9_000), next, RATE, 160), Some(ms(9_000)));
        }
    }

    #[test]
    fn nobody_speaks_faster_than_time_passes() {
        let mut placement = Placement::default();
        let mut free = 0;
        let placed = (0..10_000_u32).filter(|number| {
            let place = placement.place(0, number * 160, RATE, free);
            free = place.map_or(free, |place| place + 160);
            place.is_some()
        });
        assert_eq!(placed.count(), 101);
    }
}
