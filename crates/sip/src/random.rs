//! Seeded randomness: tags, branches, cnonces and SRV weights, the same again for the same seed.

/// A small generator (splitmix64). Good enough for identifiers that must be unique and hard to
/// collide, **not** for keys: secrets come from the operating system.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose whole future is decided by `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the multiplication is at most bound / 2^64: nothing for SIP.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A token of `length` characters, lower-case letters and digits (36 possibilities each).
    pub fn token(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut token = String::with_capacity(length);
        while token.len() < length {
            // Twelve characters out of one word keep the bias below one in a million.
            let mut word = self.next_u64();
            for _ in 0..12.min(length - token.len()) {
                token.push(char::from(ALPHABET[(word % 36) as usize]));
                word /= 36;
            }
        }
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_everything() {
        let (mut one, mut same, mut other) = (Random::new(7), Random::new(7), Random::new(8));
        assert_eq!(one.token(20), same.token(20));
        assert_ne!(one.token(20), other.token(20));
    }

    #[test]
    fn tokens_have_the_length_and_alphabet_asked_for() {
        let mut random = Random::new(1);
        for length in [0, 1, 12, 13, 40] {
            let token = random.token(length);
            assert_eq!(token.len(), length);
            assert!(
                token
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            );
        }
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut random = Random::new(3);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[random.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(random.below(0), 0);
    }
}
