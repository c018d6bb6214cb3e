//! What happens to a datagram between two addresses.

use sip::random::Random;
use std::time::Duration;

/// How bad a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Lost, out of a thousand.
    pub lost_per_mille: u16,
    /// Delivered twice, out of a thousand.
    pub repeated_per_mille: u16,
    /// Shortest time on the way.
    pub delay_min: Duration,
    /// Longest time on the way; datagrams overtake each other within the difference.
    pub delay_max: Duration,
}

impl Weather {
    /// Nothing is lost and everything arrives in order.
    pub const FAIR: Self = Self {
        lost_per_mille: 0,
        repeated_per_mille: 0,
        delay_min: Duration::from_millis(5),
        delay_max: Duration::from_millis(5),
    };

    /// A network of some badness, up to every fifth datagram lost.
    pub fn of_seed(random: &mut Random) -> Self {
        let delay_min = Duration::from_millis(random.below(60));
        Self {
            lost_per_mille: random.below(200) as u16,
            repeated_per_mille: random.below(100) as u16,
            delay_min,
            delay_max: delay_min + Duration::from_millis(random.below(400)),
        }
    }

    /// How long each copy of a datagram is on its way: none when it is lost, two when it is repeated.
    pub fn fate(&self, random: &mut Random) -> impl Iterator<Item = Duration> + use<> {
        let copies = if random.below(1000) < u64::from(self.lost_per_mille) {
            0
        } else if random.below(1000) < u64::from(self.repeated_per_mille) {
            2
        } else {
            1
        };
        let spread = (self.delay_max - self.delay_min).as_micros() as u64;
        let delays: [Duration; 2] = std::array::from_fn(|_| {
            self.delay_min
                + Duration::from_micros(if spread == 0 { 0 } else { random.below(spread) })
        });
        delays.into_iter().take(copies)
    }
}
