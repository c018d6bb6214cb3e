//! One direction of a relay whose sides do not understand each other: payloads decoded, encoded anew, and put into
//! packets that look like one stream to their receiver.
//!
//! We are a translator in the sense of RFC 3550 §7.1. The name of the stream (SSRC) stays its sender's; sequence numbers
//! and timestamps are ours, for packets need not have the same length, nor clocks the same rate. Work is driven by
//! packets that come in: nothing is buffered beyond the part of a frame that waits for its rest.
//!
//! A packet that is missing is made up for, up to [`CONCEAL_MS_MAX`], and its replacement sent as soon as the next one
//! shows that it is missing. A longer gap, and one without a loss, is a pause: the timestamps leap over it. A packet that
//! comes behind its successor is too late.
//!
//! Setting up allocates; packets do not.

use super::conversion::{Conversion, Rule};
use crate::codec::{CodecError, Decoder, Encoder, Format};
use crate::dtmf::{EVENT_BYTES, Event};
use crate::resample::{HIGH_HZ, LOW_HZ, Resampler};
use crate::rtp::{self, HEADER_BYTES, Header};

/// The longest loss that is made up for. Nobody goes on saying the same for longer.
const CONCEAL_MS_MAX: i64 = 100;

/// The longest pause whose length is told to the receiver. A longer leap is a clock that was set.
const PAUSE_MS_MAX: i64 = 60_000;

/// Timestamps may be off by so much without meaning anything: rounding between clocks.
const SLIP_MS: i64 = 2;

/// How far behind the newest packet a straggler may be; beyond, the sender counts from anew.
const LATE_PACKETS_MAX: i16 = -100;
/// How far ahead of the newest packet the next one may be.
const LOST_PACKETS_MAX: i16 = 3_000;

/// Samples that one packet may hold: all that fits into an Ethernet frame as G.722, more than 120 ms of anything else.
const PACKET_SAMPLES_MAX: usize = 3_200;

/// Bytes of the longest payload we make: 60 ms of G.711. Opus is told to stay below.
const PAYLOAD_BYTES_MAX: usize = 480;

/// Bytes of the longest packet we make.
pub(super) const TRANSCODED_PACKET_BYTES: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;

/// Converts the packets of one side.
#[derive(Debug)]
pub(super) struct Transcoder {
    conversion: Conversion,
    sources: Vec<Source>,
    encoder: Box<dyn Encoder>,
    /// Samples of a packet that we make, and ticks that it lasts.
    frame_samples: usize,
    frame_ticks: u32,
    timeline: Timeline,
    /// A payload as it was decoded.
    decoded: Box<[i16]>,
    /// Samples for the encoder, of which the first `waiting` count.
    samples: Box<[i16]>,
    waiting: usize,
    /// The packet that was made last.
    packet: Box<[u8; TRANSCODED_PACKET_BYTES]>,
    /// Packets and payload bytes that went out, for reports.
    sent: Sent,
}

/// What a sender report says of what was sent (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sent {
    pub(super) packets: u32,
    pub(super) bytes: u32,
}

impl Sent {
    fn count(&mut self, bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes as u32);
    }
}

/// One format that comes in.
#[derive(Debug)]
struct Source {
    format: Format,
    decoder: Box<dyn Decoder>,
    resampler: Resampler,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Converted {
    /// It passes, rewritten where it stood.
    Passes,
    /// It is gone; what it became comes out of [`Transcoder::next`].
    Absorbed,
}

/// Where the stream stands, coming in and going out.
#[derive(Clone, Copy, Debug, Default)]
struct Timeline {
    begun: bool,
    ssrc: u32,
    /// The sequence number that comes in next.
    sequence_in: u16,
    /// The sequence number that goes out next.
    sequence_out: u16,
    /// Ticks per second coming in and going out.
    clocks: (u32, u32),
    /// A moment of the stream on both clocks.
    at_in: u32,
    at_out: u32,
    /// Timestamp of what goes out next.
    next_out: u32,
    /// `next_out` is where the last packet ended, to the sample.
    exact: bool,
    /// The next packet that goes out begins a talk spurt.
    marker: bool,
    /// The key press that is going on: its timestamp on either side.
    press: Option<(u32, u32)>,
}

impl Transcoder {
    /// A transcoder that goes on where `before` stood, if there was one. `None` where codecs cannot be made, which
    /// their own bounds forbid.
    pub(super) fn new(conversion: &Conversion, before: Option<&Self>) -> Option<Self> {
        let formats = || {
            conversion
                .rules
                .iter()
                .filter_map(|(_, rule)| rule.format())
        };
        let target = &conversion.target;
        let wide = formats().any(|format| format == Format::G722);
        let rate = match target.format.sample_rate_hz() {
            Some(rate) => rate,
            None if wide => HIGH_HZ,
            None => LOW_HZ,
        };
        let mut sources: Vec<Source> = Vec::new();
        for format in formats() {
            if sources.iter().all(|source| source.format != format) {
                sources.push(Source::new(format, rate).ok()?);
            }
        }
        let encoder = target.format.encoder(rate, target.parameters.as_deref());
        Some(Self {
            sources,
            encoder: encoder.ok()?,
            frame_samples: (rate * target.frame_ms / 1000) as usize,
            frame_ticks: target.format.clock_rate_hz() * target.frame_ms / 1000,
            timeline: before.map(|before| before.timeline).unwrap_or_default(),
            decoded: vec![0; PACKET_SAMPLES_MAX].into(),
            // A frame that was not full, a loss made up for, and a packet of twice as many samples.
            samples: vec![0; 2 * (PACKET_SAMPLES_MAX + PACKET_SAMPLES_MAX)].into(),
            waiting: 0,
            packet: Box::new([0; TRANSCODED_PACKET_BYTES]),
            sent: before.map(|before| before.sent).unwrap_or_default(),
            conversion: conversion.clone(),
        })
    }

    /// What it was made for.
    pub(super) fn conversion(&self) -> &Conversion {
        &self.conversion
    }

    /// Ticks per second of what goes out.
    pub(super) fn clock_rate_hz(&self) -> u32 {
        self.conversion.target.format.clock_rate_hz()
    }

    /// Takes a packet in the clear.
    pub(super) fn convert(&mut self, packet: &mut [u8]) -> Converted {
        let Ok(parsed) = rtp::Packet::parse(packet) else {
            return Converted::Absorbed;
        };
        let header = parsed.header;
        let Some(lost) = self.timeline.arrive(&header) else {
            return Converted::Absorbed;
        };
        match self.conversion.rule(header.payload_type) {
            Rule::Pass {
                payload_type,
                clock_hz,
            } => self.pass(header, payload_type, clock_hz, lost, packet),
            Rule::Event {
                payload_type,
                from_hz,
                to_hz,
            } => {
                let event =
                    Event::parse(parsed.payload).map(|event| event.on_clock(from_hz, to_hz));
                let start = parsed.payload.as_ptr() as usize - packet.as_ptr() as usize;
                match event {
                    Some(event) => {
                        packet[start..start + EVENT_BYTES].copy_from_slice(&event.write());
                        self.press(header, payload_type, packet)
                    }
                    None => Converted::Absorbed,
                }
            }
            Rule::Transcode(format) => {
                // A payload that makes no sense is as good as lost.
                let _ = self.transcode(header, format, parsed.payload, lost > 0);
                Converted::Absorbed
            }
            Rule::Drop => Converted::Absorbed,
        }
    }

    /// Whether a packet of this type is decoded.
    pub(super) fn transcodes(&self, payload_type: u8) -> bool {
        matches!(self.conversion.rule(payload_type), Rule::Transcode(_))
    }

    /// The next packet that is ready, if any.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        while self.waiting >= self.frame_samples {
            let (head, body) = self.packet.split_at_mut(HEADER_BYTES);
            let encoded = self
                .encoder
                .encode(&self.samples[..self.frame_samples], body);
            self.samples
                .copy_within(self.frame_samples..self.waiting, 0);
            self.waiting -= self.frame_samples;
            let marker = std::mem::take(&mut self.timeline.marker);
            let header = self
                .timeline
                .leave(self.conversion.target.payload_type, marker);
            self.timeline.next_out = self.timeline.next_out.wrapping_add(self.frame_ticks);
            // A frame that cannot be encoded is a loss to the receiver, which has means of its own against it.
            let Ok(bytes) = encoded else { continue };
            head.copy_from_slice(&header.write());
            self.sent.count(bytes);
            return Some(&self.packet[..HEADER_BYTES + bytes]);
        }
        None
    }

    /// A moment of the sender's clock on ours, and what has gone out, for a sender report. `None` while nothing has.
    pub(super) fn report(&self, timestamp: u32) -> Option<(u32, Sent)> {
        let timeline = &self.timeline;
        let out = timeline.map(timestamp, timeline.clocks);
        timeline.begun.then_some((out, self.sent))
    }

    /// A sequence number of ours as the sender counts, for a report that comes back: exact for a stream without losses
    /// whose packets keep their length, near enough for others.
    pub(super) fn sequence_back(&self, sequence: u32) -> u32 {
        let shift = self
            .timeline
            .sequence_in
            .wrapping_sub(self.timeline.sequence_out);
        let low = (sequence as u16).wrapping_add(shift);
        sequence & 0xffff_0000 | u32::from(low)
    }

    /// Jitter in ticks of ours as ticks of the sender's clock.
    pub(super) fn jitter_back(&self, ticks: u32) -> u32 {
        let (from, to) = self.timeline.clocks;
        match to {
            0 => ticks,
            _ => u32::try_from(u64::from(ticks) * u64::from(from) / u64::from(to))
                .unwrap_or(u32::MAX),
        }
    }

    fn pass(
        &mut self,
        header: Header,
        payload_type: u8,
        clock_hz: u32,
        lost: u16,
        packet: &mut [u8],
    ) -> Converted {
        let timeline = &mut self.timeline;
        let reached = timeline.reach(header.timestamp, (clock_hz, clock_hz));
        let leap = i64::from(reached.wrapping_sub(timeline.next_out).cast_signed());
        if !(0..=PAUSE_MS_MAX * i64::from(clock_hz / 1000)).contains(&leap) {
            // As below: its receiver does not go back in time.
            timeline.at_out = timeline.next_out;
        }
        timeline.next_out = timeline.at_out;
        // How long it lasts is not known here.
        timeline.exact = false;
        timeline.sequence_out = timeline.sequence_out.wrapping_add(lost);
        self.waiting = 0;
        let left = timeline.leave(payload_type, header.marker);
        self.rewrite(left, packet)
    }

    fn press(&mut self, header: Header, payload_type: u8, packet: &mut [u8]) -> Converted {
        let timeline = &mut self.timeline;
        let timestamp = match timeline.press {
            Some((come, go)) if come == header.timestamp => go,
            _ => {
                // When the press began is told by where the audio stood, whose clock the event's need not be.
                let go = timeline.next_out;
                timeline.press = Some((header.timestamp, go));
                go
            }
        };
        let left = Header {
            timestamp,
            ..timeline.leave(payload_type, header.marker)
        };
        self.rewrite(left, packet)
    }

    fn rewrite(&mut self, header: Header, packet: &mut [u8]) -> Converted {
        self.sent.count(packet.len() - HEADER_BYTES);
        match header.rewrite(packet) {
            true => Converted::Passes,
            false => Converted::Absorbed,
        }
    }

    fn transcode(
        &mut self,
        header: Header,
        format: Format,
        payload: &[u8],
        lost: bool,
    ) -> Result<(), CodecError> {
        let clock_out = self.clock_rate_hz();
        let Self {
            sources,
            encoder,
            timeline,
            decoded,
            samples,
            waiting,
            ..
        } = self;
        let source = sources.iter_mut().find(|source| source.format == format);
        let source = source.ok_or(CodecError::Malformed)?;
        let count = source.decoder.samples_in(payload)?;
        if count > decoded.len() {
            return Err(CodecError::NoRoom);
        }
        let per_ms = i64::from(clock_out / 1000);
        let rate = encoder.sample_rate_hz();
        let waiting_ticks = (*waiting as u64 * u64::from(clock_out) / u64::from(rate)) as u32;
        let expected = timeline.next_out.wrapping_add(waiting_ticks);
        let reached = timeline.reach(header.timestamp, (format.clock_rate_hz(), clock_out));
        let leap = i64::from(reached.wrapping_sub(expected).cast_signed());
        if timeline.exact && lost && (1..=CONCEAL_MS_MAX * per_ms).contains(&leap) {
            let rate = i64::from(source.decoder.sample_rate_hz());
            // In whole milliseconds: every codec can do that.
            let missing = (leap / per_ms * rate / 1000) as usize;
            let missing = &mut decoded[..missing];
            source.decoder.conceal(Some(payload), missing);
            *waiting += source.resampler.convert(missing, &mut samples[*waiting..]);
        } else if leap > PAUSE_MS_MAX * per_ms
            || leap < 0 && (!timeline.exact || leap < -SLIP_MS * per_ms)
        {
            // The sender set its clock. Its receiver must not go back in time.
            timeline.at_out = expected;
        } else if !timeline.exact || leap > SLIP_MS * per_ms {
            // A pause. What is left of the frame before it is too short to be missed.
            *waiting = 0;
            timeline.next_out = reached;
            timeline.marker = true;
        }
        timeline.exact = true;
        timeline.marker |= header.marker;
        let count = source.decoder.decode(payload, decoded)?;
        *waiting += source
            .resampler
            .convert(&decoded[..count], &mut samples[*waiting..]);
        Ok(())
    }
}

impl Rule {
    /// The format that is decoded.
    fn format(&self) -> Option<Format> {
        match self {
            Self::Transcode(format) => Some(*format),
            _ => None,
        }
    }
}

impl Source {
    fn new(format: Format, rate: u32) -> Result<Self, CodecError> {
        let decoder = format.decoder(rate)?;
        let resampler = Resampler::new(decoder.sample_rate_hz(), rate);
        Ok(Self {
            format,
            resampler: resampler.ok_or(CodecError::SampleRate)?,
            decoder,
        })
    }
}

impl Timeline {
    /// Counts a packet in: how many are missing before it; `None` for one that comes too late.
    fn arrive(&mut self, header: &Header) -> Option<u16> {
        if !self.begun || self.ssrc != header.ssrc {
            *self = Self {
                begun: true,
                ssrc: header.ssrc,
                sequence_in: header.sequence.wrapping_add(1),
                sequence_out: header.sequence,
                at_in: header.timestamp,
                at_out: header.timestamp,
                next_out: header.timestamp,
                marker: header.marker,
                ..Self::default()
            };
            return Some(0);
        }
        let ahead = header.sequence.wrapping_sub(self.sequence_in).cast_signed();
        if (LATE_PACKETS_MAX..0).contains(&ahead) {
            return None;
        }
        self.sequence_in = header.sequence.wrapping_add(1);
        if (0..LOST_PACKETS_MAX).contains(&ahead) {
            return Some(ahead.unsigned_abs());
        }
        // It counts from anew, and may have set its clock as well.
        self.at_in = header.timestamp;
        self.at_out = self.next_out;
        self.exact = false;
        Some(0)
    }

    /// Moves on to a timestamp that came in, and gives it on the clock that goes out.
    fn reach(&mut self, timestamp: u32, clocks: (u32, u32)) -> u32 {
        if self.clocks != clocks && self.clocks != (0, 0) {
            // Another clock has nothing to do with the one before: go on where we stand.
            self.at_in = timestamp;
            self.at_out = self.next_out;
            self.exact = false;
        }
        self.clocks = clocks;
        self.at_out = self.map(timestamp, clocks);
        self.at_in = timestamp;
        self.at_out
    }

    fn map(&self, timestamp: u32, (from, to): (u32, u32)) -> u32 {
        let passed = i64::from(timestamp.wrapping_sub(self.at_in).cast_signed());
        let passed = passed * i64::from(to) / i64::from(from.max(1));
        self.at_out.wrapping_add(passed as u32)
    }

    /// Counts a packet out. Its timestamp is that of what goes out next.
    fn leave(&mut self, payload_type: u8, marker: bool) -> Header {
        let sequence = self.sequence_out;
        self.sequence_out = sequence.wrapping_add(1);
        Header {
            marker,
            payload_type,
            sequence,
            timestamp: self.next_out,
            ssrc: self.ssrc,
        }
    }
}
