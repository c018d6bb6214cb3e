//! Loss, order and jitter of one RTP stream, after RFC 3550 appendices A.1, A.3 and A.8.

use super::loan::Carried;
use crate::rtp::Header;

/// Largest gap taken for loss; beyond it the sender is suspected to count from anew.
const DROPOUT_PACKETS_MAX: u16 = 3_000;
/// How far behind the newest packet a straggler may be.
const MISORDER_PACKETS_MAX: u16 = 100;
/// How many sequence numbers are remembered to tell a straggler from a copy.
const WINDOW_PACKETS: u16 = u128::BITS as u16;

// Every straggler falls into the window, so it is always known whether it is a copy.
const _: () = assert!(MISORDER_PACKETS_MAX < WINDOW_PACKETS);

/// What one packet was in the run of its stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Arrival {
    /// New, possibly after a gap.
    InOrder,
    /// New, behind a later one.
    OutOfOrder,
    /// Seen before.
    Duplicate,
    /// So far off that it either is garbage or the first of a new count; the next packet tells.
    Suspect,
    /// The packet that proved the sender counts from anew, or speaks under another SSRC.
    Restart,
}

/// The state of one direction. A new SSRC, and a sender that restarts its count, begin a new run;
/// what the old run lost stays lost.
///
/// One run at a time: a sender that interleaves two streams on one port (video with retransmissions
/// under an SSRC of their own) shows as restarts, and its losses are counted low.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reception {
    run: Option<Run>,
    lost_before: u64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    ssrc: u32,
    /// Extended sequence numbers: wraps in the upper half. The count starts one wrap up, so that a
    /// straggler from before the first packet does not go below zero.
    first: u64,
    newest: u64,
    /// Bit n: `newest - n` has arrived.
    window: u128,
    received: u64,
    /// The number that would confirm a restart.
    suspect_next: Option<u16>,
    jitter: Jitter,
}

impl Reception {
    /// Counts a packet that arrived `at_us` after some fixed instant.
    ///
    /// `clock_rate_hz` is that of its payload type; `None` leaves jitter alone, which is right for
    /// packets whose timestamp is not their sampling instant (telephone events).
    pub(super) fn observe(
        &mut self,
        at_us: u64,
        header: &Header,
        clock_rate_hz: Option<u32>,
    ) -> Arrival {
        let arrival = match &mut self.run {
            Some(run) if run.ssrc == header.ssrc => run.place(header.sequence),
            Some(_) => Arrival::Restart,
            None => {
                self.run = Some(Run::new(header, 1));
                Arrival::InOrder
            }
        };
        if arrival == Arrival::Restart {
            self.restart(header);
        }
        if let (Arrival::InOrder | Arrival::OutOfOrder | Arrival::Restart, Some(rate), Some(run)) =
            (arrival, clock_rate_hz, &mut self.run)
        {
            run.jitter.observe(at_us, header.timestamp, rate);
        }
        arrival
    }

    /// Whether a packet is just the one that comes next.
    pub(super) fn is_next(&self, header: &Header) -> bool {
        self.run.as_ref().is_some_and(|run| {
            run.ssrc == header.ssrc && header.sequence == (run.newest as u16).wrapping_add(1)
        })
    }

    /// SSRC and number of the next packet, and what goes on with it.
    pub(super) fn next(&self) -> Option<(u32, u16, Carried)> {
        let Run {
            ssrc,
            newest,
            jitter,
            ..
        } = self.run?;
        let carried = Carried {
            clock_rate_hz: jitter.clock_rate_hz,
            transit: jitter.last_transit,
            jitter_sixteenths: jitter.sixteenths,
            ..Carried::default()
        };
        Some((ssrc, (newest as u16).wrapping_add(1), carried))
    }

    /// So many packets came elsewhere, each of them the next one.
    pub(super) fn absorb(&mut self, packets: u64, carried: &Carried) {
        let Some(run) = self.run.as_mut().filter(|_| packets > 0) else {
            return;
        };
        let shift = u32::try_from(packets).unwrap_or(u32::MAX);
        let all = u128::MAX;
        run.newest += packets;
        run.window = run
            .window
            .checked_shl(shift)
            .map_or(all, |window| window | !all.unbounded_shl(shift));
        run.received += packets;
        run.suspect_next = None;
        run.jitter.last_transit = carried.transit;
        run.jitter.sixteenths = carried.jitter_sixteenths;
    }

    /// Packets that never arrived, over all runs.
    pub(super) fn lost(&self) -> u64 {
        self.lost_before + self.run.as_ref().map_or(0, Run::lost)
    }

    /// Jitter of the current run in microseconds.
    pub(super) fn jitter_us(&self) -> u32 {
        self.run.as_ref().map_or(0, |run| run.jitter.microseconds())
    }

    fn restart(&mut self, header: &Header) {
        self.lost_before = self.lost();
        // A restarted count was confirmed by its second packet: the first belongs to the new run.
        let same_stream = self.run.as_ref().is_some_and(|run| run.ssrc == header.ssrc);
        self.run = Some(Run::new(header, if same_stream { 2 } else { 1 }));
    }
}

impl Run {
    fn new(header: &Header, received: u64) -> Self {
        let newest = 1 << 16 | u64::from(header.sequence);
        Self {
            ssrc: header.ssrc,
            first: newest + 1 - received,
            newest,
            window: (1 << received) - 1,
            received,
            suspect_next: None,
            jitter: Jitter::default(),
        }
    }

    fn place(&mut self, sequence: u16) -> Arrival {
        let ahead = sequence.wrapping_sub(self.newest as u16);
        let behind = 0_u16.wrapping_sub(ahead);
        if (1..DROPOUT_PACKETS_MAX).contains(&ahead) {
            self.newest += u64::from(ahead);
            self.window = self.window.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.received += 1;
            self.suspect_next = None;
            Arrival::InOrder
        } else if behind <= MISORDER_PACKETS_MAX {
            let bit = 1 << behind;
            if self.window & bit != 0 {
                return Arrival::Duplicate;
            }
            self.window |= bit;
            self.first = self.first.min(self.newest - u64::from(behind));
            self.received += 1;
            Arrival::OutOfOrder
        } else if self.suspect_next == Some(sequence) {
            Arrival::Restart
        } else {
            self.suspect_next = Some(sequence.wrapping_add(1));
            Arrival::Suspect
        }
    }

    fn lost(&self) -> u64 {
        (self.newest - self.first + 1).saturating_sub(self.received)
    }
}

/// The running estimate of RFC 3550 §A.8, kept in sixteenths of a tick.
#[derive(Clone, Copy, Debug, Default)]
struct Jitter {
    clock_rate_hz: u32,
    last_transit: u32,
    sixteenths: u32,
}

impl Jitter {
    fn observe(&mut self, at_us: u64, timestamp: u32, clock_rate_hz: u32) {
        let arrival_ticks = (u128::from(at_us) * u128::from(clock_rate_hz) / 1_000_000) as u32;
        let transit = arrival_ticks.wrapping_sub(timestamp);
        // Another clock makes the two transits incomparable: measure from here.
        if self.clock_rate_hz != clock_rate_hz {
            let sixteenths = ticks_to_us(self.sixteenths, self.clock_rate_hz);
            let rescaled = u64::from(sixteenths) * u64::from(clock_rate_hz) / 1_000_000;
            *self = Self {
                clock_rate_hz,
                last_transit: transit,
                sixteenths: clamp(rescaled),
            };
            return;
        }
        let change = transit
            .wrapping_sub(self.last_transit)
            .cast_signed()
            .unsigned_abs();
        self.last_transit = transit;
        // A sender whose timestamps leap (a new talk spurt from another clock, a resumed hold) has
        // not become jittery by minutes; more than a second is a new base.
        if change > clock_rate_hz {
            return;
        }
        let smoothed =
            u64::from(self.sixteenths) + u64::from(change) - (u64::from(self.sixteenths) + 8) / 16;
        self.sixteenths = clamp(smoothed);
    }

    fn microseconds(&self) -> u32 {
        ticks_to_us(self.sixteenths, self.clock_rate_hz) / 16
    }
}

/// Converts ticks of a clock to microseconds; zero for a clock not yet known.
pub(super) fn ticks_to_us(ticks: u32, clock_rate_hz: u32) -> u32 {
    clamp(
        (u64::from(ticks) * 1_000_000)
            .checked_div(u64::from(clock_rate_hz))
            .unwrap_or(0),
    )
}

fn clamp(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::Arrival::{Duplicate, InOrder, OutOfOrder, Restart, Suspect};
    use super::*;

    const RATE_HZ: u32 = 8_000;
    const PACKET_US: u64 = 20_000;

    fn header(ssrc: u32, sequence: u16) -> Header {
        let timestamp = u32::from(sequence).wrapping_mul(160);
        Header {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp,
            ssrc,
        }
    }

    #[track_caller]
    fn check(sequences: &[u16], expected: &[Arrival], lost: u64) {
        let mut reception = Reception::default();
        let arrivals: Vec<_> = sequences
            .iter()
            .map(|sequence| reception.observe(0, &header(1, *sequence), None))
            .collect();
        assert_eq!(arrivals, expected);
        assert_eq!(reception.lost(), lost);
    }

    #[test]
    fn order_loss_and_copies() {
        check(&[10, 11, 12], &[InOrder, InOrder, InOrder], 0);
        check(&[10, 13], &[InOrder, InOrder], 2);
        check(&[10, 12, 11], &[InOrder, InOrder, OutOfOrder], 0);
        check(
            &[10, 12, 11, 11, 12],
            &[InOrder, InOrder, OutOfOrder, Duplicate, Duplicate],
            0,
        );
        check(&[10, 9, 9], &[InOrder, OutOfOrder, Duplicate], 0);
        check(&[10, 7], &[InOrder, OutOfOrder], 2);
    }

    #[test]
    fn the_count_wraps() {
        check(&[65_534, 65_535, 0, 1], &[InOrder; 4], 0);
        check(&[65_534, 1], &[InOrder; 2], 2);
        check(&[65_535, 1, 0], &[InOrder, InOrder, OutOfOrder], 0);
        check(&[0, 65_535], &[InOrder, OutOfOrder], 0);
    }

    #[test]
    fn several_wraps_lose_nothing() {
        let mut reception = Reception::default();
        for number in 0..200_000_u32 {
            assert_eq!(
                reception.observe(0, &header(1, number as u16), None),
                InOrder
            );
        }
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn a_leap_is_a_restart_only_when_it_goes_on() {
        check(&[10, 30_000, 11], &[InOrder, Suspect, InOrder], 0);
        check(
            &[10, 12, 30_000, 30_001, 30_003],
            &[InOrder, InOrder, Suspect, Restart, InOrder],
            2,
        );
        check(&[30_000, 5, 6, 7], &[InOrder, Suspect, Restart, InOrder], 0);
    }

    #[test]
    fn a_straggler_at_the_edge_is_told_from_a_copy() {
        let mut reception = Reception::default();
        for sequence in (1_000..1_200).filter(|sequence| *sequence != 1_100) {
            reception.observe(0, &header(1, sequence), None);
        }
        assert_eq!(reception.lost(), 1);
        assert_eq!(reception.observe(0, &header(1, 1_099), None), Duplicate);
        assert_eq!(reception.observe(0, &header(1, 1_100), None), OutOfOrder);
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn another_stream_keeps_what_the_first_one_lost() {
        let mut reception = Reception::default();
        for (ssrc, sequence, expected) in [
            (1, 10, InOrder),
            (1, 12, InOrder),
            (2, 60_000, Restart),
            (2, 60_001, InOrder),
            (2, 60_004, InOrder),
        ] {
            assert_eq!(
                reception.observe(0, &header(ssrc, sequence), None),
                expected
            );
        }
        assert_eq!(reception.lost(), 3);
    }

    #[test]
    fn an_even_stream_has_no_jitter() {
        let mut reception = Reception::default();
        for number in 0..500_u16 {
            reception.observe(
                u64::from(number) * PACKET_US,
                &header(1, number),
                Some(RATE_HZ),
            );
        }
        assert_eq!(reception.jitter_us(), 0);
    }

    #[test]
    fn jitter_approaches_the_mean_deviation() {
        let mut reception = Reception::default();
        for number in 0..500_u16 {
            // Every other packet 10 ms late: each transit differs from the last by 10 ms.
            let late_us = u64::from(number % 2) * 10_000;
            reception.observe(
                u64::from(number) * PACKET_US + late_us,
                &header(1, number),
                Some(RATE_HZ),
            );
        }
        assert!(
            (9_000..=10_000).contains(&reception.jitter_us()),
            "{}",
            reception.jitter_us()
        );
    }

    #[test]
    fn a_leap_of_timestamps_is_not_jitter() {
        let mut reception = Reception::default();
        for number in 0..100_u16 {
            let mut header = header(1, number);
            if number >= 50 {
                header.timestamp = header.timestamp.wrapping_add(1_000_000);
            }
            reception.observe(u64::from(number) * PACKET_US, &header, Some(RATE_HZ));
        }
        assert_eq!(reception.jitter_us(), 0);
    }
}
