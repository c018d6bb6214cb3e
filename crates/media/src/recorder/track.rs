//! One side of a recording.

use super::coding::{Coding, Meaning};
use super::decoder::Narrow;
use super::placement::{Placement, SLIP_MAX_SAMPLES};
use super::reorder::{Reorder, Turn, Waiting};
use super::{SAMPLES_PER_MS, TrackCounts};
use crate::codec::Format;
use crate::rtp;

/// How long packets of a stream that was followed by another are taken for stragglers.
const STRAGGLERS_SAMPLES: i64 = 500 * SAMPLES_PER_MS;

/// One side: its streams, one after the other, and the samples that nobody took yet.
#[derive(Debug, Default)]
pub(super) struct Track {
    stream: Option<Stream>,
    /// The stream before, and until when packets of it are late ones.
    former: Option<(u32, i64)>,
    /// From `begins_at` on. Behind them is silence.
    samples: Vec<i16>,
    begins_at: i64,
    counts: TrackCounts,
}

/// One stream (SSRC).
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    reorder: Reorder,
    placement: Placement,
    decoder: Option<Narrow>,
}

impl Track {
    /// A packet that arrived.
    pub(super) fn hear(&mut self, at: i64, meaning: Meaning, packet: &rtp::Packet<'_>) {
        let rtp::Header { ssrc, sequence, .. } = packet.header;
        if self.is_straggler(at, ssrc) {
            self.counts.discarded += 1;
            return;
        }
        if self
            .stream
            .as_ref()
            .is_none_or(|stream| stream.ssrc != ssrc)
        {
            self.begin(at, ssrc);
        }
        let Some(mut turn) = self.turn(sequence) else {
            return;
        };
        if turn == Turn::Restart {
            self.settle_all();
            turn = self.turn(sequence).unwrap_or(Turn::Later);
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        match turn {
            Turn::Now => {
                stream.reorder.passed(sequence);
                self.play(at, meaning, packet.header.timestamp, packet.payload);
                self.settle(at);
            }
            Turn::Later | Turn::Restart => {
                stream.reorder.wait(at, meaning, packet);
                self.settle(at);
            }
            Turn::Never => self.counts.discarded += 1,
        }
    }

    /// Plays the packets that have waited long enough.
    pub(super) fn settle(&mut self, now: i64) {
        while let Some(waiting) = self.stream.as_mut().and_then(|it| it.reorder.due(now)) {
            self.play_waiting(&waiting);
        }
    }

    /// Plays all that wait.
    pub(super) fn settle_all(&mut self) {
        while let Some(waiting) = self.stream.as_mut().and_then(|it| it.reorder.rest()) {
            self.play_waiting(&waiting);
        }
    }

    /// The next `count` samples; where there are none, silence.
    pub(super) fn samples(&self, count: usize) -> impl Iterator<Item = i16> {
        let known = self.samples.iter().copied();
        known.chain(std::iter::repeat(0)).take(count)
    }

    /// The next `count` samples were taken.
    pub(super) fn forget(&mut self, count: usize) {
        self.samples.drain(..count.min(self.samples.len()));
        self.begins_at += count as i64;
    }

    /// Behind the last sample.
    pub(super) fn ends_at(&self) -> i64 {
        self.begins_at + self.samples.len() as i64
    }

    pub(super) fn counts(&self) -> TrackCounts {
        self.counts
    }

    fn is_straggler(&self, at: i64, ssrc: u32) -> bool {
        self.former
            .is_some_and(|(former, until)| ssrc == former && at < until)
    }

    fn turn(&self, sequence: u16) -> Option<Turn> {
        Some(self.stream.as_ref()?.reorder.turn(sequence))
    }

    fn begin(&mut self, at: i64, ssrc: u32) {
        self.settle_all();
        let stream = Stream {
            ssrc,
            reorder: Reorder::default(),
            placement: Placement::default(),
            decoder: None,
        };
        self.former = self
            .stream
            .replace(stream)
            .map(|former| (former.ssrc, at + STRAGGLERS_SAMPLES));
    }

    fn play_waiting(&mut self, waiting: &Waiting) {
        self.play(
            waiting.at,
            waiting.meaning,
            waiting.timestamp,
            &waiting.payload,
        );
    }

    /// Decodes a packet and puts its samples where they belong.
    fn play(&mut self, at: i64, meaning: Meaning, timestamp: u32, payload: &[u8]) {
        let free = self.ends_at();
        let Some(stream) = &mut self.stream else {
            return;
        };
        let format = match meaning.coding {
            Coding::Sound(format) => format,
            // They leave silence behind, on purpose.
            Coding::TelephoneEvent | Coding::ComfortNoise => return,
            Coding::Other => {
                self.counts.unknown += 1;
                return;
            }
        };
        if !stream.decodes(format) {
            stream.decoder = Narrow::new(format);
        }
        let Some(decoder) = &mut stream.decoder else {
            self.counts.unknown += 1;
            return;
        };
        let samples = decoder.decode(payload);
        if samples.is_empty() {
            self.counts.discarded += 1;
            return;
        }
        let placement = &mut stream.placement;
        match placement.place(at, timestamp, meaning.clock_rate_hz, free) {
            Some(position) => {
                self.counts.decoded += 1;
                put(&mut self.samples, position - self.begins_at, samples);
            }
            None => self.counts.discarded += 1,
        }
    }
}

impl Stream {
    fn decodes(&self, format: Format) -> bool {
        self.decoder
            .as_ref()
            .is_some_and(|decoder| decoder.format() == format)
    }
}

/// Puts samples at a place among those that nobody took yet. What lies before them was taken and stays as it was.
fn put(samples: &mut Vec<i16>, place: i64, fresh: &[i16]) {
    let skipped = place.min(0).unsigned_abs() as usize;
    let Some(fresh) = fresh.get(skipped..) else {
        return;
    };
    let from = place.max(0) as usize;
    let hole = from.saturating_sub(samples.len());
    // A hole that a slip has made goes on as it was before: silence would click.
    let filling = if hole <= SLIP_MAX_SAMPLES as usize {
        samples.last().copied().unwrap_or(0)
    } else {
        0
    };
    samples.resize(samples.len().max(from), filling);
    let overlap = (samples.len() - from).min(fresh.len());
    samples[from..from + overlap].copy_from_slice(&fresh[..overlap]);
    samples.extend_from_slice(&fresh[overlap..]);
}
