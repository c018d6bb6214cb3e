//! Recording a call: the packets of both sides in, one stereo stream out.
//!
//! The left channel is side A, the leg that called in; the right one is side B. Both share one time line that begins
//! with the recording: what is said at the same moment is heard at the same moment.
//!
//! | file | what it knows |
//! |---|---|
//! | `reorder.rs` | sequence numbers: order, copies, losses, a sender that counts from anew |
//! | `placement.rs` | timestamps: where on the time line a packet belongs, and clocks that do not agree |
//! | `track.rs` | one side: both of the above, a decoder, and the samples that are not taken yet |
//! | `coding.rs`, `decoder.rs` | what a payload is, and its samples |
//! | `wav.rs` | the file that such a stream becomes |
//! | `command.rs` | what call control says to whoever writes files, and hears back |
//!
//! What is missing is silence: lost packets, pauses of a sender that does not send them, comfort noise, and a side that
//! is held. Key presses that travel as events (RFC 4733) are silence too, which keeps card numbers out of recordings.
//!
//! ```
//! # use std::time::{Duration, Instant};
//! # use media::recorder::*;
//! # use media::{codec::Format, g711, relay::Side, rtp::Header};
//! # let begun = Instant::now();
//! # let header = Header { marker: false, payload_type: 0, sequence: 1, timestamp: 160, ssrc: 7 };
//! # let packet = header.packet(&[g711::encode_mu(1000); 160]);
//! let mut recorder = Recorder::new(begun);
//! let meaning = Meaning { coding: Coding::Sound(Format::Pcmu), clock_rate_hz: 8_000 };
//! recorder.hear(begun, Side::A, meaning, &packet);
//!
//! let mut frames = Vec::new();
//! recorder.end(begun + Duration::from_millis(40));
//! while recorder.take(begun + Duration::from_millis(40), &mut frames) {}
//! assert_eq!(frames.len(), 320);
//! assert_eq!((frames[0], frames[160]), ([988, 0], [0, 0]));
//! ```

mod coding;
mod command;
mod decoder;
mod placement;
mod reorder;
mod track;
pub mod wav;

#[cfg(test)]
mod tests;

pub use coding::{Coding, Meaning};
pub use command::{Command, Event, Outcome, RecordingId};

use std::time::{Duration, Instant};

use self::track::Track;
use crate::relay::Side;
use crate::rtp;

/// Samples per second and channel of a recording: what the telephone network carries. Wider codecs are narrowed.
pub const SAMPLE_RATE_HZ: u32 = 8_000;

/// How long samples stay here before they are handed out, so that packets which come late still find their place.
/// A crash of whoever writes the file costs this and what it had not written yet.
pub const HOLD: Duration = Duration::from_millis(500);

/// Positions on the time line are samples since the beginning.
const SAMPLES_PER_MS: i64 = SAMPLE_RATE_HZ as i64 / 1_000;

const HOLD_SAMPLES: i64 = HOLD.as_millis() as i64 * SAMPLES_PER_MS;

/// Frames handed out at once, ten seconds: after a long delay there is much to hand out, and memory has a bound.
const TAKE_FRAMES_MAX: i64 = 10 * SAMPLE_RATE_HZ as i64;

/// What a recorder made of the packets of one side.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TrackCounts {
    /// Packets whose audio is in the recording.
    pub decoded: u64,
    /// Packets in a codec that the recorder cannot decode; they are silence.
    pub unknown: u64,
    /// Packets thrown away: copies, and those that came too late or faster than anybody speaks.
    pub discarded: u64,
}

/// Makes one stereo stream of two sides.
#[derive(Debug)]
pub struct Recorder {
    begun: Instant,
    /// Side A, side B.
    tracks: [Track; 2],
    /// Frames handed out.
    taken: i64,
    /// Where the recording ends, once it does.
    ends_at: Option<i64>,
}

impl Recorder {
    /// A recording that begins at a moment.
    pub fn new(begun: Instant) -> Self {
        Self {
            begun,
            tracks: [Track::default(), Track::default()],
            taken: 0,
            ends_at: None,
        }
    }

    /// A packet in the clear that arrived from one side. Whatever makes no sense is ignored.
    pub fn hear(&mut self, at: Instant, from: Side, meaning: Meaning, packet: &[u8]) {
        if let Ok(packet) = rtp::Packet::parse(packet) {
            let at = self.position(at);
            self.tracks[from.index()].hear(at, meaning, &packet);
        }
    }

    /// Appends what can be handed out at a moment, left and right sample by sample. True when there is more: it is to
    /// be called again.
    pub fn take(&mut self, now: Instant, frames: &mut Vec<[i16; 2]>) -> bool {
        let now = self.position(now);
        let ready = match self.ends_at {
            Some(end) => end,
            None => {
                self.tracks.iter_mut().for_each(|track| track.settle(now));
                now - HOLD_SAMPLES
            }
        };
        let until = ready.min(self.taken + TAKE_FRAMES_MAX);
        let count = (until - self.taken).max(0) as usize;
        let [left, right] = &mut self.tracks;
        frames.extend(
            left.samples(count)
                .zip(right.samples(count))
                .map(<[i16; 2]>::from),
        );
        self.tracks.iter_mut().for_each(|track| track.forget(count));
        self.taken += count as i64;
        self.taken < ready
    }

    /// Ends the recording: all that is left can be [taken](Self::take) now.
    pub fn end(&mut self, now: Instant) {
        let now = self.position(now);
        self.tracks.iter_mut().for_each(Track::settle_all);
        let heard = self.tracks.iter().map(Track::ends_at).max();
        self.ends_at = Some(now.max(heard.unwrap_or_default()).max(self.taken));
    }

    /// How much was handed out.
    pub fn taken(&self) -> Duration {
        Duration::from_micros(self.taken as u64 * 1_000_000 / u64::from(SAMPLE_RATE_HZ))
    }

    /// What became of the packets of one side.
    pub fn counts(&self, side: Side) -> TrackCounts {
        self.tracks[side.index()].counts()
    }

    fn position(&self, at: Instant) -> i64 {
        let microseconds = at.saturating_duration_since(self.begun).as_micros() as i64;
        microseconds * SAMPLES_PER_MS / 1_000
    }
}
