//! Packet indices: the sequence number with its rollover counter, and what was seen before (RFC 3711 §3.3).

/// Indices behind the highest that are still told apart: more than two seconds of audio.
const WINDOW: u64 = 128;

/// Highest index of an RTP packet: 32 bits of rollover counter, 16 of sequence number.
const INDEX_MAX: u64 = (1 << 48) - 1;

/// The highest index of a stream, and which of those just behind it were seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Seen {
    highest: u64,
    /// Bit n: the index n below the highest.
    window: u128,
}

impl Seen {
    /// The same stream, of which all but the highest index was forgotten.
    pub(super) fn at(index: u64) -> Self {
        Self {
            highest: index.min(INDEX_MAX),
            window: 1,
        }
    }

    /// The highest index, if there was any.
    pub(super) fn highest(&self) -> Option<u64> {
        (self.window != 0).then_some(self.highest)
    }

    /// The index of an RTP packet: the one nearest to the highest that has this sequence number. `None` beyond the
    /// last one, after which a key must not be used.
    pub(super) fn estimate(&self, sequence: u16) -> Option<u64> {
        if self.window == 0 {
            return Some(u64::from(sequence));
        }
        let highest = self.highest as u16;
        let rollover = self.highest >> 16;
        let forward = sequence.wrapping_sub(highest) < 1 << 15;
        let rollover = match (forward, sequence < highest) {
            (true, true) => rollover + 1,
            (false, false) if sequence != highest => rollover.checked_sub(1)?,
            _ => rollover,
        };
        let index = rollover << 16 | u64::from(sequence);
        (index <= INDEX_MAX).then_some(index)
    }

    /// Whether a packet of this index may be new.
    pub(super) fn is_new(&self, index: u64) -> bool {
        if self.window == 0 || index > self.highest {
            return true;
        }
        let behind = self.highest - index;
        behind < WINDOW && self.window >> behind & 1 == 0
    }

    /// Notes a packet that proved to be genuine.
    pub(super) fn note(&mut self, index: u64) {
        if self.window == 0 {
            (self.highest, self.window) = (index, 1);
        } else if index > self.highest {
            let step = index - self.highest;
            self.window = if step < WINDOW {
                self.window << step
            } else {
                0
            } | 1;
            self.highest = index;
        } else if self.highest - index < WINDOW {
            self.window |= 1 << (self.highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(indices: impl IntoIterator<Item = u64>) -> Seen {
        let mut seen = Seen::default();
        indices.into_iter().for_each(|index| seen.note(index));
        seen
    }

    #[test]
    fn sequence_numbers_roll_over_and_back() {
        let at_the_end = seen([65_535]);
        assert_eq!(at_the_end.estimate(0), Some(65_536));
        assert_eq!(at_the_end.estimate(65_534), Some(65_534));
        let behind = seen([65_535, 65_536]);
        assert_eq!(behind.estimate(65_534), Some(65_534));
        assert_eq!(behind.estimate(1), Some(65_537));
        // Nothing lies before the first packet's rollover.
        assert_eq!(seen([3]).estimate(65_535), None);
        assert_eq!(seen([INDEX_MAX]).estimate(0), None);
        assert_eq!(Seen::default().estimate(40_000), Some(40_000));
    }

    #[test]
    fn nothing_is_new_twice() {
        let mut seen = seen([1_000]);
        assert!(!seen.is_new(1_000) && seen.is_new(999) && seen.is_new(1_001));
        seen.note(1_002);
        assert!(seen.is_new(1_001) && !seen.is_new(1_000));
        seen.note(1_001);
        assert!(!seen.is_new(1_001));
        seen.note(1_002 + WINDOW);
        assert!(!seen.is_new(1_002), "too old to tell");
        assert!(seen.is_new(1_003));
        seen.note(1_000_000);
        assert!(seen.is_new(999_999) && !seen.is_new(1_002 + WINDOW));
    }
}
