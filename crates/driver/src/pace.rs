//! How often a shard looks for messages while they flow.
//!
//! A shard that sleeps until a message comes is woken for nearly each of the seven that a call sends it, and wakes the
//! receivers of its answers as often. Each time costs a wait, a receiving and a sending system call and a write of the
//! journal for one message. So a look that has found something is followed by the next [`PACE`] after it, and what came
//! meanwhile is dealt with in one go. When a look finds nothing, the shard waits until something comes: the first
//! message after a pause is answered at once, and an idle shard costs nothing.
//!
//! The price is delay: a message waits [`PACE`] at most. Where many come the looks are closer together, for then waiting
//! saves nothing: see [`MESSAGES_PER_LOOK`]. Mail of other threads waits as long, timers too.

use std::time::{Duration, Instant};

/// The time from the beginning of a look that found messages to the next. Half a millisecond gathers nothing at 500
/// calls a second and costs a timer for each look; twice as much would save little more and begin to add up over the
/// messages of a call's setup.
const PACE: Duration = Duration::from_millis(2);

/// A look that finds more than this many messages is followed by the next one sooner, in proportion. To deal with so
/// many takes about as long as [`PACE`]: with more, looks follow each other without a rest.
const MESSAGES_PER_LOOK: usize = 64;

/// When the next look is due.
#[derive(Default)]
pub(crate) struct Pace {
    next_look: Option<Instant>,
}

impl Pace {
    /// The look that began at `began` has found so many messages.
    pub(crate) fn looked(&mut self, began: Instant, messages: usize) {
        self.next_look = (messages > 0).then(|| began + pace(messages));
    }

    /// How long messages are to gather from now on; zero when nothing is to be waited for.
    pub(crate) fn rest(&self, now: Instant) -> Duration {
        self.next_look
            .map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }
}

fn pace(messages: usize) -> Duration {
    let share = MESSAGES_PER_LOOK as f64 / messages.max(MESSAGES_PER_LOOK) as f64;
    PACE.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_after_a_pause_is_not_kept_waiting() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.rest(now), Duration::ZERO);
        pace.looked(now, 3);
        assert_eq!(pace.rest(now), PACE);
        pace.looked(now + PACE, 0);
        assert_eq!(pace.rest(now + PACE), Duration::ZERO);
    }

    #[test]
    fn the_time_that_a_look_takes_is_part_of_the_pace() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.looked(now, 3);
        assert_eq!(pace.rest(now + PACE / 4), PACE * 3 / 4);
        assert_eq!(pace.rest(now + PACE * 2), Duration::ZERO);
    }

    #[test]
    fn looks_that_find_many_messages_follow_each_other_sooner() {
        assert_eq!(pace(1), PACE);
        assert_eq!(pace(MESSAGES_PER_LOOK), PACE);
        assert_eq!(pace(MESSAGES_PER_LOOK * 4), PACE / 4);
    }
}
