//! Packets of one stream back in their order.
//!
//! A packet that was overtaken is waited for, but not for long; then the gap is taken for a loss. The first packets of a
//! stream wait as well, for they may have overtaken some.

use super::SAMPLES_PER_MS;
use super::coding::Meaning;
use crate::rtp;

/// How long a missing packet is waited for.
const WAIT_SAMPLES: i64 = 60 * SAMPLES_PER_MS;

/// Packets that wait at most.
const WAITING_MAX: usize = 16;

/// Largest gap taken for loss; beyond it the sender counts from anew.
const DROPOUT_PACKETS_MAX: i16 = 3_000;

/// How far behind the newest packet a straggler may be.
const MISORDER_PACKETS_MAX: i16 = -100;

/// A packet that waits for others.
#[derive(Debug)]
pub(super) struct Waiting {
    /// When it arrived.
    pub(super) at: i64,
    pub(super) meaning: Meaning,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) payload: Vec<u8>,
}

/// The order of one stream.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    /// The number that is due; none before the first packet, and after a jump.
    next: Option<u16>,
    waiting: Vec<Waiting>,
}

/// What to do with a packet that has arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// It is the one that is due.
    Now,
    /// Others come before it.
    Later,
    /// It came before, or too late.
    Never,
    /// The sender counts from anew: what waits goes first, then this is asked again.
    Restart,
}

impl Reorder {
    /// Looks at the number of a packet.
    pub(super) fn turn(&self, sequence: u16) -> Turn {
        if self.waiting.iter().any(|other| other.sequence == sequence) {
            return Turn::Never;
        }
        let reference = self.next.or_else(|| Some(self.waiting.first()?.sequence));
        let Some(reference) = reference else {
            return Turn::Later;
        };
        let ahead = distance(reference, sequence);
        match ahead {
            0 if self.next.is_some() => Turn::Now,
            0..=DROPOUT_PACKETS_MAX => Turn::Later,
            MISORDER_PACKETS_MAX..0 if self.next.is_none() => Turn::Later,
            MISORDER_PACKETS_MAX..0 => Turn::Never,
            _ => Turn::Restart,
        }
    }

    /// The packet that was due has had its turn.
    pub(super) fn passed(&mut self, sequence: u16) {
        self.next = Some(sequence.wrapping_add(1));
    }

    /// Lets a packet wait.
    pub(super) fn wait(&mut self, at: i64, meaning: Meaning, packet: &rtp::Packet<'_>) {
        self.waiting.push(Waiting {
            at,
            meaning,
            sequence: packet.header.sequence,
            timestamp: packet.header.timestamp,
            payload: packet.payload.to_vec(),
        });
    }

    /// The next packet whose turn it is at a moment.
    pub(super) fn due(&mut self, now: i64) -> Option<Waiting> {
        let patient = self.waiting.len() < WAITING_MAX
            && self
                .waiting
                .iter()
                .all(|waiting| now - waiting.at < WAIT_SAMPLES);
        let first = self.first()?;
        if patient && self.next != Some(self.waiting[first].sequence) {
            return None;
        }
        Some(self.release(first))
    }

    /// The next packet, whoever is missing before it. Without any, the order begins anew.
    pub(super) fn rest(&mut self) -> Option<Waiting> {
        let Some(first) = self.first() else {
            self.next = None;
            return None;
        };
        Some(self.release(first))
    }

    fn release(&mut self, index: usize) -> Waiting {
        let waiting = self.waiting.swap_remove(index);
        self.passed(waiting.sequence);
        waiting
    }

    /// Index of the waiting packet with the lowest number.
    fn first(&self) -> Option<usize> {
        let reference = self.next.or_else(|| Some(self.waiting.first()?.sequence))?;
        (0..self.waiting.len())
            .min_by_key(|index| distance(reference, self.waiting[*index].sequence))
    }
}

/// How far `to` is ahead of `from`, on numbers that wrap.
fn distance(from: u16, to: u16) -> i16 {
    to.wrapping_sub(from) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Format;
    use crate::recorder::Coding;
    use crate::rtp::{Header, Packet};

    const MEANING: Meaning = Meaning {
        coding: Coding::Sound(Format::Pcmu),
        clock_rate_hz: 8_000,
    };

    /// Hands packets in, one every 20 ms, and says in which order they came out.
    fn order(sequences: &[u16]) -> Vec<u16> {
        let mut reorder = Reorder::default();
        let mut out = Vec::new();
        for (index, sequence) in sequences.iter().enumerate() {
            let at = index as i64 * 20 * SAMPLES_PER_MS;
            let packet = Packet {
                header: Header {
                    marker: false,
                    payload_type: 0,
                    sequence: *sequence,
                    timestamp: 0,
                    ssrc: 1,
                },
                payload: &[],
            };
            let mut turn = reorder.turn(*sequence);
            if turn == Turn::Restart {
                out.extend(std::iter::from_fn(|| reorder.rest()).map(|waiting| waiting.sequence));
                turn = reorder.turn(*sequence);
            }
            match turn {
                Turn::Now => {
                    reorder.passed(*sequence);
                    out.push(*sequence);
                }
                Turn::Later => reorder.wait(at, MEANING, &packet),
                Turn::Never | Turn::Restart => {}
            }
            out.extend(std::iter::from_fn(|| reorder.due(at)).map(|waiting| waiting.sequence));
        }
        out.extend(std::iter::from_fn(|| reorder.rest()).map(|waiting| waiting.sequence));
        out
    }

    #[test]
    fn the_overtaken_are_waited_for_and_copies_are_not() {
        assert_eq!(order(&[1, 2, 3, 4]), [1, 2, 3, 4]);
        assert_eq!(order(&[2, 1, 3, 4, 6, 5, 7]), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(order(&[1, 2, 2, 3, 1, 3, 4]), [1, 2, 3, 4]);
        assert_eq!(order(&[65_534, 65_535, 1, 0, 2]), [65_534, 65_535, 0, 1, 2]);
    }

    #[test]
    fn a_loss_is_not_waited_for_for_ever() {
        assert_eq!(
            order(&[1, 2, 3, 4, 6, 7, 8, 9, 5]),
            [1, 2, 3, 4, 6, 7, 8, 9]
        );
    }

    #[test]
    fn a_sender_may_count_from_anew() {
        assert_eq!(
            order(&[1, 2, 3, 4, 9_000, 9_001]),
            [1, 2, 3, 4, 9_000, 9_001]
        );
        assert_eq!(
            order(&[9_000, 9_001, 9_002, 9_003, 10, 11]),
            [9_000, 9_001, 9_002, 9_003, 10, 11]
        );
    }

    #[test]
    fn not_many_wait() {
        let mut sequences = vec![1, 2, 3, 4];
        sequences.extend(6..60);
        assert_eq!(order(&sequences).len(), sequences.len());
    }
}
