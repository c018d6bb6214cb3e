//! A ringing tone of our own for one side, while the other says nothing.
//!
//! The tone is a source like any other, with a name (SSRC), sequence numbers and timestamps of its own (RFC 3550 §8):
//! when the far end is heard, its packets pass as they are, under its own name, and neither stream has a gap or a leap.
//! Whoever hears both hears one source fall silent and another begin, as with every fork that answers.
//!
//! The far end always goes first. The tone begins when nothing came from it for [`RINGBACK_AFTER`], falls silent with the
//! first packet that does come, and returns only after [`RINGBACK_RETURNS_AFTER`].

use std::time::{Duration, Instant};

use super::FRAME;
use super::conversion::Target;
use crate::codec::{Encoder, Format};
use crate::resample::LOW_HZ;
use crate::ringing_tones::{Ringing, RingingTone, SILENCE_MS_MAX};
use crate::rtp::{HEADER_BYTES, Header};
use crate::sdp::MediaLine;

/// Silence of the far end after which the tone begins. Who is about to send something is not drowned by a scrap of it.
pub const RINGBACK_AFTER: Duration = Duration::from_millis(200);

/// Silence of the far end after which the tone returns once the far end was heard: longer than that of any ringing tone,
/// for a far end that rings itself may well send nothing in the pauses of its tone.
pub const RINGBACK_RETURNS_AFTER: Duration = Duration::from_millis(SILENCE_MS_MAX as u64 + 1_000);

/// What all tones of one media thread may cost, in what one of G.711 costs; see [`Ringback::cost`]. At worst that is half
/// a processor.
pub(super) const RINGBACK_COST_MAX: u32 = 1_000;

/// Samples of the longest frame: 20 ms of G.722.
const FRAME_SAMPLES_MAX: usize = 320;

/// A ringing tone, and how its hearer wants it encoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ringback {
    tone: &'static RingingTone,
    target: Target,
}

// The tone by its name; the other process may have another idea of it.
impl keep::Keep for Ringback {
    fn keep(&self, out: &mut keep::Writer) {
        let Self { tone, target } = self;
        out.text(tone.country);
        target.keep(out);
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        let tone = RingingTone::of_country(input.text()?);
        Ok(Self {
            tone: tone.map_err(|_| keep::Damaged::Value("ringing tone"))?,
            target: Target::kept(input)?,
        })
    }
}

impl Ringback {
    /// For a side that understands `line`, under its own numbers. `None` where nothing in it is a format that we speak.
    pub fn new(tone: &'static RingingTone, line: &MediaLine) -> Option<Self> {
        let known: Vec<_> = line.codecs().collect();
        let target = Target::of(line, &known).filter(|_| line.is_active())?;
        Some(Self { tone, target })
    }

    /// What playing it costs, in what playing it in G.711 costs.
    fn cost(&self) -> u32 {
        match self.target.format {
            Format::Pcmu | Format::Pcma => 1,
            Format::G722 => 2,
            Format::Opus => 10,
        }
    }
}

/// Plays a tone. It outlives the tone, so that numbers of its stream are never used twice.
#[derive(Debug)]
pub(super) struct Player {
    ringback: Ringback,
    plays: bool,
    ringing: Ringing,
    encoder: Box<dyn Encoder>,
    frame_samples: usize,
    frame_ticks: u32,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    /// When the next frame is due, should the tone go on.
    next_at: Instant,
    /// The tone has to wait till then.
    waits_until: Instant,
    /// For how long the far end has to be silent before the tone sounds.
    patience: Duration,
    /// The last frame went out, and nothing else since.
    sounds: bool,
}

impl Player {
    /// A tone for a side that had none before, as the source `ssrc`. `None` where its encoder cannot be made.
    pub(super) fn new(now: Instant, ringback: Ringback, ssrc: u32) -> Option<Self> {
        let format = ringback.target.format;
        let rate = format.sample_rate_hz().unwrap_or(LOW_HZ);
        let parameters = ringback.target.parameters.as_deref();
        let per_frame = |rate: u32| rate / 1_000 * FRAME.as_millis() as u32;
        Some(Self {
            plays: true,
            ringing: ringback.tone.ringing(rate),
            encoder: format.encoder(rate, parameters).ok()?,
            frame_samples: per_frame(rate) as usize,
            frame_ticks: per_frame(format.clock_rate_hz()),
            sequence: ssrc as u16,
            timestamp: ssrc.rotate_left(16),
            ssrc,
            next_at: now,
            waits_until: now + RINGBACK_AFTER,
            patience: RINGBACK_AFTER,
            sounds: false,
            ringback,
        })
    }

    /// Plays this from now on, in the stream that there is.
    pub(super) fn play(&mut self, now: Instant, ringback: Ringback) {
        if self.plays && self.ringback == ringback {
            return;
        }
        let Some(mut fresh) = Self::new(now, ringback, self.ssrc) else {
            return;
        };
        fresh.sequence = self.sequence;
        fresh.timestamp = self.timestamp;
        fresh.next_at = self.next_at;
        if self.plays {
            // The far end speaks another codec by now; it has been silent for as long as before.
            (fresh.waits_until, fresh.patience) = (self.waits_until, self.patience);
        }
        *self = fresh;
    }

    pub(super) fn stop(&mut self) {
        self.plays = false;
        self.sounds = false;
    }

    pub(super) fn plays(&self) -> bool {
        self.plays
    }

    /// What it costs at the moment.
    pub(super) fn cost(&self) -> u32 {
        if self.plays { self.ringback.cost() } else { 0 }
    }

    /// The far end is heard.
    pub(super) fn give_way(&mut self, now: Instant) {
        self.waits_until = now + self.patience;
        self.sounds = false;
    }

    /// Writes the frame that is due into `buffer`, if one is, and says how long the packet is.
    pub(super) fn fill(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        // Who asks every 20 ms asks a little early now and then.
        if !self.plays || now < self.waits_until || now + FRAME / 2 < self.next_at {
            return None;
        }
        // What is missed is missed: time goes on, on the clock of the stream and in the cadence, and no volley follows.
        let late = now.saturating_duration_since(self.next_at).as_millis() / FRAME.as_millis();
        let missed = u32::try_from(late).unwrap_or(u32::MAX);
        self.timestamp = self
            .timestamp
            .wrapping_add(missed.wrapping_mul(self.frame_ticks));
        self.next_at += FRAME * missed;
        if self.sounds {
            self.ringing
                .leap(u64::from(missed) * self.frame_samples as u64);
        } else {
            self.ringing.restart();
        }
        let header = Header {
            marker: !self.sounds,
            payload_type: self.ringback.target.payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let mut samples = [0; FRAME_SAMPLES_MAX];
        let samples = &mut samples[..self.frame_samples];
        self.ringing.fill(samples);
        let (head, body) = buffer.split_at_mut(HEADER_BYTES);
        let bytes = self.encoder.encode(samples, body);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.frame_ticks);
        self.next_at += FRAME;
        self.sounds = true;
        self.patience = RINGBACK_RETURNS_AFTER;
        head.copy_from_slice(&header.write());
        // A frame that cannot be encoded is a loss to its receiver.
        Some(HEADER_BYTES + bytes.ok()?)
    }
}
