//! The ringing tones of the world: what a caller is used to hear while a telephone rings, by country.
//!
//! Frequencies and cadences are those that administrations have told the ITU (ITU-T E.180 supplement 2). Where a country
//! has several, the one of its public network today is taken. A tone that is modulated is written as what it then
//! consists of: its carrier and a weaker neighbour on either side.
//!
//! Levels are ours, for hardly anybody declares one. ITU-T E.180 wants -10 dBm0 in all, and North America, whose tone
//! has two parts of -19 dBm0, less.

use std::fmt;

use crate::tone::Sine;

/// The ringing tone of a country.
#[derive(Debug, Eq, PartialEq)]
pub struct RingingTone {
    /// Two letters of ISO 3166, small; `itu` for what E.180 recommends to countries that have the choice.
    pub country: &'static str,
    /// Sines that sound at the same time.
    pub parts: &'static [Part],
    /// Milliseconds of tone and of silence in turn, over and over.
    pub cadence_ms: &'static [u16],
}

/// One sine of a tone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Its pitch.
    pub frequency_hz: u16,
    /// How loud it is while it sounds.
    pub level_dbm0: i8,
}

/// The longest silence within a tone, in milliseconds.
pub const SILENCE_MS_MAX: u16 = 5_000;

/// What G.711 can say at most, as the level of a sine.
const FULL_SCALE_DBM0: f32 = 3.17;

const fn part(frequency_hz: u16, level_dbm0: i8) -> Part {
    Part {
        frequency_hz,
        level_dbm0,
    }
}

const HZ_400: &[Part] = &[part(400, -10)];
const HZ_420: &[Part] = &[part(420, -10)];
const HZ_425: &[Part] = &[part(425, -10)];
const HZ_440: &[Part] = &[part(440, -10)];
const HZ_450: &[Part] = &[part(450, -10)];
/// North America, and who took its tone over.
const HZ_440_480: &[Part] = &[part(440, -19), part(480, -19)];
const HZ_425_480: &[Part] = &[part(425, -13), part(480, -13)];
/// Britain, and who took its tone over.
const HZ_400_450: &[Part] = &[part(400, -13), part(450, -13)];
const HZ_400_BY_16: &[Part] = &[part(384, -18), part(400, -12), part(416, -18)];
const HZ_400_BY_25: &[Part] = &[part(375, -18), part(400, -12), part(425, -18)];
const HZ_400_BY_33: &[Part] = &[part(367, -18), part(400, -12), part(433, -18)];
const HZ_425_BY_24: &[Part] = &[part(401, -18), part(425, -12), part(449, -18)];

const LONG: &[u16] = &[2_000, 4_000];
const ONE_IN_FIVE: &[u16] = &[1_000, 4_000];
const ONE_IN_SIX: &[u16] = &[1_000, 5_000];
const ONE_IN_FOUR: &[u16] = &[1_000, 3_000];
const ONE_IN_THREE: &[u16] = &[1_000, 2_000];
/// Twice shortly, as British bells ring.
const DOUBLE: &[u16] = &[400, 200, 400, 2_000];

/// Every tone, by country.
pub static RINGING_TONES: [RingingTone; 53] = [
    tone("ae", HZ_400_450, DOUBLE),
    tone("ar", HZ_425, &[1_000, 4_500]),
    tone("at", HZ_420, ONE_IN_SIX),
    tone("au", HZ_400_450, DOUBLE),
    tone("be", HZ_425, ONE_IN_FOUR),
    tone("bg", HZ_425, ONE_IN_FIVE),
    tone("br", HZ_425, ONE_IN_FIVE),
    tone("ca", HZ_440_480, LONG),
    tone("ch", HZ_425, ONE_IN_FIVE),
    tone("cl", HZ_400, ONE_IN_FOUR),
    tone("cn", HZ_450, ONE_IN_FIVE),
    tone("co", HZ_425, ONE_IN_FIVE),
    tone("cz", HZ_425, ONE_IN_FIVE),
    tone("de", HZ_425, ONE_IN_FIVE),
    tone("dk", HZ_425, ONE_IN_FIVE),
    tone("ee", HZ_425, ONE_IN_FIVE),
    tone("es", HZ_425, &[1_500, 3_000]),
    tone("fi", HZ_425, ONE_IN_FIVE),
    tone("fr", HZ_440, &[1_500, 3_500]),
    tone("gb", HZ_400_450, DOUBLE),
    tone("gr", HZ_425, ONE_IN_FIVE),
    tone("hk", HZ_440_480, &[400, 200, 400, 3_000]),
    tone("hr", HZ_425, ONE_IN_FIVE),
    tone("hu", HZ_425, &[1_250, 3_750]),
    tone("id", HZ_425, ONE_IN_FIVE),
    tone("ie", HZ_400_450, DOUBLE),
    tone("il", HZ_400, ONE_IN_FOUR),
    tone("in", HZ_400_BY_25, DOUBLE),
    tone("it", HZ_425, ONE_IN_FIVE),
    tone("itu", HZ_425, ONE_IN_FIVE),
    tone("jp", HZ_400_BY_16, ONE_IN_THREE),
    tone("kr", HZ_440_480, ONE_IN_THREE),
    tone("lt", HZ_425, ONE_IN_FIVE),
    tone("mx", HZ_425, ONE_IN_FIVE),
    tone("my", HZ_425, DOUBLE),
    tone("nl", HZ_425, ONE_IN_FIVE),
    tone("no", HZ_425, ONE_IN_FIVE),
    tone("nz", HZ_400_450, DOUBLE),
    tone("ph", HZ_425_480, ONE_IN_FIVE),
    tone("pl", HZ_425, ONE_IN_FIVE),
    tone("pt", HZ_425, ONE_IN_SIX),
    tone("ro", HZ_450, ONE_IN_FIVE),
    tone("ru", HZ_425, ONE_IN_FIVE),
    tone("se", HZ_425, ONE_IN_SIX),
    tone("sg", HZ_425_BY_24, DOUBLE),
    tone("si", HZ_425, ONE_IN_FIVE),
    tone("sk", HZ_425, ONE_IN_FIVE),
    tone("th", HZ_400, ONE_IN_FIVE),
    tone("tr", HZ_450, LONG),
    tone("tw", HZ_440_480, ONE_IN_THREE),
    tone("us", HZ_440_480, LONG),
    tone("ve", HZ_425, ONE_IN_FIVE),
    tone("za", HZ_400_BY_33, DOUBLE),
];

const fn tone(
    country: &'static str,
    parts: &'static [Part],
    cadence_ms: &'static [u16],
) -> RingingTone {
    RingingTone {
        country,
        parts,
        cadence_ms,
    }
}

impl RingingTone {
    /// The tone of a country, whatever the case of its letters.
    ///
    /// # Errors
    /// The country is not in the table.
    pub fn of_country(country: &str) -> Result<&'static Self, UnknownCountry> {
        RINGING_TONES
            .iter()
            .find(|tone| tone.country.eq_ignore_ascii_case(country))
            .ok_or_else(|| UnknownCountry(country.to_owned()))
    }

    /// The tone from its beginning, as samples.
    pub fn ringing(&'static self, sample_rate_hz: u32) -> Ringing {
        let sine = |part: &Part| {
            let amplitude = 10_f32.powf((f32::from(part.level_dbm0) - FULL_SCALE_DBM0) / 20.0);
            Sine::new(f32::from(part.frequency_hz), sample_rate_hz, amplitude)
        };
        Ringing {
            sines: self.parts.iter().map(sine).collect(),
            cadence_ms: self.cadence_ms,
            sample_rate_hz,
            at: 0,
        }
    }
}

/// As `de, 425 Hz`.
impl fmt::Display for RingingTone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.country)?;
        for (number, part) in self.parts.iter().enumerate() {
            let joint = if number == 0 { ", " } else { " + " };
            write!(f, "{joint}{}", part.frequency_hz)?;
        }
        f.write_str(" Hz")
    }
}

/// There is no ringing tone of this country here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownCountry(pub String);

impl fmt::Display for UnknownCountry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}; known are ", self.0)?;
        for (number, tone) in RINGING_TONES.iter().enumerate() {
            let joint = if number == 0 { "" } else { ", " };
            write!(f, "{joint}{}", tone.country)?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownCountry {}

/// A ringing tone that sounds. Setting it up allocates; going on does not.
#[derive(Clone, Debug)]
pub struct Ringing {
    sines: Vec<Sine>,
    cadence_ms: &'static [u16],
    sample_rate_hz: u32,
    /// Samples since the cadence began.
    at: u32,
}

impl Ringing {
    /// Fills `samples` with what comes next.
    pub fn fill(&mut self, mut samples: &mut [i16]) {
        while !samples.is_empty() {
            let (sounds, left) = self.stretch();
            let count = samples.len().min(left as usize);
            let (now, later) = std::mem::take(&mut samples).split_at_mut(count);
            for slot in now {
                let sines = self.sines.iter_mut().filter(|_| sounds);
                let sum: i32 = sines.filter_map(Sine::next).map(i32::from).sum();
                *slot = sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            }
            self.leap(count as u64);
            samples = later;
        }
    }

    /// Lets time pass without a sound.
    pub fn leap(&mut self, samples: u64) {
        let cycle = u64::from(self.cycle()).max(1);
        self.at = ((u64::from(self.at) + samples) % cycle) as u32;
    }

    /// Begins anew.
    pub fn restart(&mut self) {
        self.at = 0;
    }

    fn cycle(&self) -> u32 {
        self.cadence_ms.iter().map(|ms| self.samples(*ms)).sum()
    }

    fn samples(&self, ms: u16) -> u32 {
        u32::from(ms) * self.sample_rate_hz / 1_000
    }

    /// Whether it sounds now, and for how many samples it goes on like that.
    fn stretch(&self) -> (bool, u32) {
        let mut end = 0;
        for (number, ms) in self.cadence_ms.iter().enumerate() {
            end += self.samples(*ms);
            if self.at < end {
                return (number % 2 == 0, end - self.at);
            }
        }
        (false, u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::tone_share;

    /// Whether each step of 20 ms within two rounds of the cadence sounds.
    fn steps(tone: &'static RingingTone, rate: u32) -> Vec<bool> {
        let rounds: u32 = 2 * tone.cadence_ms.iter().copied().map(u32::from).sum::<u32>();
        let mut ringing = tone.ringing(rate);
        let mut samples = vec![0; rate as usize / 50];
        (0..rounds / 20)
            .map(|_| {
                ringing.fill(&mut samples);
                samples.iter().any(|sample| sample.unsigned_abs() > 100)
            })
            .collect()
    }

    #[test]
    fn countries_are_in_order_and_once() {
        assert!(
            RINGING_TONES
                .windows(2)
                .all(|pair| pair[0].country < pair[1].country)
        );
        for tone in &RINGING_TONES {
            assert_eq!(RingingTone::of_country(tone.country), Ok(tone));
            assert!(matches!(tone.cadence_ms.len(), 2 | 4), "{tone}");
            let silences = tone.cadence_ms.iter().skip(1).step_by(2);
            assert!(silences.max() <= Some(&SILENCE_MS_MAX), "{tone}");
        }
    }

    #[test]
    fn every_tone_keeps_its_cadence_at_every_rate() {
        for tone in &RINGING_TONES {
            for rate in [8_000, 16_000] {
                let mut expected = Vec::new();
                let mut at_ms = 0_u32;
                let stretches: Vec<u32> = tone.cadence_ms.iter().map(|ms| u32::from(*ms)).collect();
                let round: u32 = stretches.iter().sum();
                while at_ms < 2 * round {
                    let mut within = at_ms % round;
                    let mut sounds = true;
                    for stretch in &stretches {
                        if within < *stretch {
                            break;
                        }
                        within -= stretch;
                        sounds = !sounds;
                    }
                    expected.push(sounds);
                    at_ms += 20;
                }
                let heard = steps(tone, rate);
                // A stretch need not end with a step: where it ends within one, the step sounds.
                let wrong = heard
                    .iter()
                    .zip(&expected)
                    .filter(|(one, other)| one != other);
                let most = tone.cadence_ms.iter().filter(|ms| **ms % 20 != 0).count();
                assert!(wrong.count() <= 2 * most, "{tone} at {rate} Hz");
            }
        }
    }

    #[test]
    fn every_frequency_is_there_at_its_level() {
        for tone in &RINGING_TONES {
            let mut samples = vec![0; usize::from(tone.cadence_ms[0]) * 8];
            tone.ringing(8_000).fill(&mut samples);
            let power = |level: i8| 10_f32.powf(f32::from(level) / 10.0);
            let all: f32 = tone.parts.iter().map(|part| power(part.level_dbm0)).sum();
            for part in tone.parts {
                let share = tone_share(&samples, part.frequency_hz.into(), 8_000);
                let expected = power(part.level_dbm0) / all;
                assert!((share - expected).abs() < 0.1, "{tone}: {share}");
            }
            let square: f64 = samples.iter().map(|one| f64::from(*one).powi(2)).sum();
            // The square of the mean amplitude against a sine of full scale.
            let level = 10.0 * (2.0 * square / samples.len() as f64 / 32_767_f64.powi(2)).log10();
            let level = level + f64::from(FULL_SCALE_DBM0);
            assert!(
                (level - 10.0 * f64::from(all).log10()).abs() < 0.5,
                "{tone}: {level}"
            );
            assert!((-16.5..=-9.0).contains(&level), "{tone}: {level} dBm0");
        }
    }

    #[test]
    fn an_unknown_country_is_told_the_known_ones() {
        assert_eq!(
            RingingTone::of_country("DE").map(|tone| tone.country),
            Ok("de")
        );
        let error = RingingTone::of_country("xx")
            .expect_err("nowhere")
            .to_string();
        assert!(
            error.contains("\"xx\"") && error.contains("gb, gr"),
            "{error}"
        );
    }
}
