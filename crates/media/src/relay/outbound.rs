//! What happens to media on their way out to one side: they are converted to what it understands, comfort noise fills
//! the pauses of the other side, and a ringing tone sounds while nothing comes from there.
//!
//! A stream with noise in it must look like one stream to its receiver: the noise goes on where the last packet
//! stood, in the same stream (SSRC), and when the far source speaks again its packets are renumbered to follow the
//! noise. Renumbering begins with the first noise and ends with the stream.

use std::time::{Duration, Instant};

use super::Datagram;
use super::conversion::Conversion;
use super::ringback::{Player, Ringback};
use super::transcoder::{Converted, TRANSCODED_PACKET_BYTES, Transcoder};
use crate::g711::{self, Law};
use crate::rtp::{self, HEADER_BYTES, Header};

/// Silence of the far source after which noise begins.
pub const COMFORT_NOISE_AFTER: Duration = Duration::from_millis(200);

/// One frame of audio.
pub const FRAME: Duration = Duration::from_millis(20);

const FRAME_SAMPLES: usize = 160;

/// Ticks of an 8 kHz clock in a millisecond.
const TICKS_PER_MS: u32 = 8;

/// Payload type of comfort noise at 8 kHz (RFC 3551 §6).
const COMFORT_NOISE: u8 = 13;

/// How quiet the noise is: -dBov, the one byte of a comfort noise packet (RFC 3389 §3).
const NOISE_LEVEL: u8 = 75;

/// Bytes of the longest packet of noise.
const NOISE_PACKET_BYTES: usize = HEADER_BYTES + FRAME_SAMPLES;

/// Bytes of the longest packet made here: a tone in Opus has as much room as what is transcoded.
pub(super) const FILLED_PACKET_BYTES: usize = TRANSCODED_PACKET_BYTES;

const _: () = assert!(FILLED_PACKET_BYTES >= NOISE_PACKET_BYTES);

/// What a side is sent while the other is silent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Noise {
    /// Comfort noise packets (RFC 3389), for who agreed to them. One describes the noise from there on, so a few a
    /// second are enough.
    Described,
    /// Frames of silence.
    Silence(Law),
}

keep::keep!(enum Noise { 0 = Described, 1 = Silence(law) });

impl Noise {
    fn interval(self) -> Duration {
        match self {
            Self::Described => COMFORT_NOISE_AFTER,
            Self::Silence(_) => FRAME,
        }
    }
}

/// What is done to packets on their way to one side.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    change: Change,
    /// Boxed, for most sides have none and ten thousand of them should lie close together.
    filler: Option<Box<Filler>>,
    /// As boxed as the filler.
    player: Option<Box<Player>>,
}

/// How packets are converted.
#[derive(Debug, Default)]
enum Change {
    /// Not at all.
    #[default]
    None,
    /// Frames of the other law of G.711, where they lie.
    Law(Law),
    /// Boxed: it is large, and most sides have none.
    Transcode(Box<Transcoder>),
}

#[derive(Debug)]
struct Filler {
    noise: Noise,
    /// The last packet that went out, noise or not.
    last: Last,
    /// The first packet is due then, if nothing comes before.
    due: Instant,
    /// What far packets of this stream are shifted by.
    sequence_shift: u16,
    timestamp_shift: u32,
    /// Noise has gone out since the last far packet.
    filled: bool,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    at: Instant,
}

impl Outbound {
    /// Begins, changes or ends conversion. What was numbered by us stays so to the end of the call: to its receiver it
    /// is one stream.
    pub(super) fn set_conversion(&mut self, conversion: Option<&Conversion>) {
        let before = match &self.change {
            Change::Transcode(transcoder) => Some(&**transcoder),
            Change::None | Change::Law(_) => None,
        };
        if before.map(Transcoder::conversion) == conversion && before.is_some() {
            return;
        }
        let transcoder = match (conversion, before) {
            (None, None) => {
                self.change = Change::None;
                return;
            }
            (None, Some(before)) => Transcoder::new(&before.conversion().passing(), Some(before)),
            (Some(conversion), before) => match conversion.law().filter(|_| before.is_none()) {
                Some(law) => {
                    self.change = Change::Law(law);
                    return;
                }
                None => Transcoder::new(conversion, before),
            },
        };
        self.change = transcoder.map_or(Change::None, |new| Change::Transcode(Box::new(new)));
    }

    /// What packets are converted with, if it takes more than another look-up of bytes.
    pub(super) fn transcoder(&self) -> Option<&Transcoder> {
        match &self.change {
            Change::Transcode(transcoder) => Some(transcoder),
            Change::None | Change::Law(_) => None,
        }
    }

    /// Begins or ends to fill pauses. `ssrc` names the stream if the far source has not sent one before.
    pub(super) fn set_noise(&mut self, now: Instant, noise: Option<Noise>, ssrc: u32) {
        match (&mut self.filler, noise) {
            (Some(filler), Some(noise)) => filler.noise = noise,
            (filler, None) => *filler = None,
            (filler @ None, Some(noise)) => {
                let last = Last {
                    sequence: ssrc as u16,
                    timestamp: ssrc.rotate_left(16),
                    ssrc,
                    at: now,
                };
                *filler = Some(Box::new(Filler {
                    noise,
                    last,
                    due: now + COMFORT_NOISE_AFTER,
                    sequence_shift: 0,
                    timestamp_shift: 0,
                    filled: false,
                }));
            }
        }
    }

    /// Begins, changes or ends a ringing tone, whose source has the name `ssrc`.
    pub(super) fn set_ringback(&mut self, now: Instant, ringback: Option<Ringback>, ssrc: u32) {
        match (&mut self.player, ringback) {
            (Some(player), Some(ringback)) => player.play(now, ringback),
            (Some(player), None) => player.stop(),
            (None, Some(ringback)) => self.player = Player::new(now, ringback, ssrc).map(Box::new),
            (None, None) => {}
        }
    }

    /// What the tone that is played costs.
    pub(super) fn ringback_cost(&self) -> u32 {
        self.player.as_ref().map_or(0, |player| player.cost())
    }

    /// Whether packets leave as they are, and nothing else does.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.change, Change::None) && !self.fills()
    }

    /// Whether pauses are filled, or a tone is played.
    pub(super) fn fills(&self) -> bool {
        self.filler.is_some() || self.player.as_ref().is_some_and(|player| player.plays())
    }

    /// A packet in the clear that is about to leave. False when nothing leaves in its place now; whether more than one
    /// does is told by [`more`](Self::more).
    pub(super) fn rewrite(&mut self, now: Instant, datagram: &mut Datagram<'_>) -> bool {
        if let Some(player) = &mut self.player {
            player.give_way(now);
        }
        match &mut self.change {
            Change::None => {}
            Change::Law(law) => {
                if let Ok(mut header) = Header::parse(datagram.bytes())
                    && Law::of(header.payload_type).is_some_and(|from| from != *law)
                    && recode(datagram.bytes_mut(), *law)
                {
                    header.payload_type = law.payload_type();
                    // Cannot fail: it was read a moment ago.
                    let _ = header.rewrite(datagram.bytes_mut());
                }
            }
            Change::Transcode(transcoder) => {
                let leaves = match transcoder.convert(datagram.bytes_mut()) {
                    Converted::Passes => true,
                    Converted::Absorbed => transcoder
                        .next()
                        .is_some_and(|packet| datagram.replace(packet)),
                };
                if !leaves {
                    return false;
                }
            }
        }
        self.number(now, datagram);
        true
    }

    /// The next packet that leaves after the one that was rewritten, if there is one.
    pub(super) fn more(&mut self, now: Instant, datagram: &mut Datagram<'_>) -> bool {
        let Change::Transcode(transcoder) = &mut self.change else {
            return false;
        };
        let leaves = transcoder
            .next()
            .is_some_and(|packet| datagram.replace(packet));
        if leaves {
            self.number(now, datagram);
        }
        leaves
    }

    /// Numbers a packet behind the noise that went before it.
    fn number(&mut self, now: Instant, datagram: &mut Datagram<'_>) {
        if let Some(filler) = &mut self.filler
            && let Ok(mut header) = Header::parse(datagram.bytes())
        {
            filler.renumber(now, &mut header);
            let _ = header.rewrite(datagram.bytes_mut());
        }
    }

    /// Writes the packet that is due into `buffer`, [`FILLED_PACKET_BYTES`] at least, if one is, and says how long it is.
    pub(super) fn fill(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        if let Some(player) = self.player.as_mut().filter(|player| player.plays()) {
            return player.fill(now, buffer);
        }
        self.filler.as_mut()?.fill(now, buffer)
    }
}

/// Recodes the samples of a packet; false when there is no making sense of it.
fn recode(packet: &mut [u8], law: Law) -> bool {
    let Ok(parsed) = rtp::Packet::parse(packet) else {
        return false;
    };
    let samples = parsed.payload.len();
    let start = parsed.payload.as_ptr() as usize - packet.as_ptr() as usize;
    law.recode(&mut packet[start..start + samples]);
    true
}

impl Filler {
    fn renumber(&mut self, now: Instant, header: &mut Header) {
        let begins = header.ssrc != self.last.ssrc;
        if begins {
            (self.sequence_shift, self.timestamp_shift) = (0, 0);
        } else if self.filled {
            self.sequence_shift = self
                .last
                .sequence
                .wrapping_add(1)
                .wrapping_sub(header.sequence);
            let timestamp = header.timestamp.wrapping_add(self.timestamp_shift);
            // A source that stopped its clock during the pause would go back in time.
            if !is_after(timestamp, self.last.timestamp) {
                self.timestamp_shift = self
                    .last
                    .timestamp
                    .wrapping_add(FRAME_SAMPLES as u32)
                    .wrapping_sub(header.timestamp);
            }
        }
        self.filled = false;
        header.sequence = header.sequence.wrapping_add(self.sequence_shift);
        header.timestamp = header.timestamp.wrapping_add(self.timestamp_shift);
        self.due = now + COMFORT_NOISE_AFTER;
        // One that was overtaken leaves the end of the stream where it is.
        let overtaken = header.sequence.wrapping_sub(self.last.sequence) > u16::MAX / 2;
        if begins || !overtaken {
            self.last = Last {
                sequence: header.sequence,
                timestamp: header.timestamp,
                ssrc: header.ssrc,
                at: now,
            };
        }
    }

    fn fill(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        if now < self.due {
            return None;
        }
        let passed_ms = now.saturating_duration_since(self.last.at).as_millis() as u32;
        let last = Last {
            sequence: self.last.sequence.wrapping_add(1),
            timestamp: self.last.timestamp.wrapping_add(passed_ms * TICKS_PER_MS),
            ssrc: self.last.ssrc,
            at: now,
        };
        let (payload_type, payload_bytes) = match self.noise {
            Noise::Described => (COMFORT_NOISE, 1),
            Noise::Silence(law) => (law.payload_type(), FRAME_SAMPLES),
        };
        let header = Header {
            marker: false,
            payload_type,
            sequence: last.sequence,
            timestamp: last.timestamp,
            ssrc: last.ssrc,
        };
        let length = HEADER_BYTES + payload_bytes;
        buffer[..HEADER_BYTES].copy_from_slice(&header.write());
        buffer[HEADER_BYTES..length].fill(match self.noise {
            Noise::Described => NOISE_LEVEL,
            Noise::Silence(law) => law.silence(),
        });
        // After a delay of ours: go on from here, no volley.
        self.due = (self.due + self.noise.interval()).max(now);
        self.last = last;
        self.filled = true;
        Some(length)
    }
}

/// Whether `late` is a later moment than `early` on a clock that wraps.
fn is_after(late: u32, early: u32) -> bool {
    let distance = late.wrapping_sub(early);
    distance != 0 && distance <= u32::MAX / 2
}

const _: () = assert!(g711::SAMPLE_RATE_HZ == TICKS_PER_MS * 1000);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Session;

    fn packet(sequence: u16, timestamp: u32, payload_type: u8) -> Vec<u8> {
        let header = Header {
            marker: false,
            payload_type,
            sequence,
            timestamp,
            ssrc: 7,
        };
        header.packet(&[g711::encode_mu(1000); 160])
    }

    fn pass(outbound: &mut Outbound, now: Instant, mut packet: Vec<u8>) -> Header {
        outbound.rewrite(now, &mut Datagram::whole(&mut packet));
        Header::parse(&packet).expect("still RTP")
    }

    fn filled(outbound: &mut Outbound, now: Instant) -> Option<(Header, usize)> {
        let mut buffer = [0; NOISE_PACKET_BYTES];
        let length = outbound.fill(now, &mut buffer)?;
        Some((Header::parse(&buffer[..length]).expect("RTP"), length))
    }

    #[test]
    fn the_other_law_is_recoded_and_everything_else_passes() {
        let now = Instant::now();
        let mut outbound = Outbound::default();
        let [both, a_law] = ["0 8 101", "8 101"].map(|formats| {
            let text = format!(
                "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP {formats}\n\
                 a=rtpmap:101 telephone-event/8000\n"
            );
            Session::parse(text.as_bytes()).expect("in order").media[0].clone()
        });
        outbound.set_conversion(Conversion::between(&both, None, &a_law).as_ref());
        let mut mu = packet(1, 160, 0);
        outbound.rewrite(now, &mut Datagram::whole(&mut mu));
        let parsed = rtp::Packet::parse(&mu).expect("RTP");
        assert_eq!((parsed.header.payload_type, parsed.header.sequence), (8, 1));
        let sample = g711::decode_a(parsed.payload[0]);
        assert!((900..1100).contains(&sample), "{sample}");

        let mut event = packet(2, 160, 101);
        let before = event.clone();
        outbound.rewrite(now, &mut Datagram::whole(&mut event));
        assert_eq!(event, before);
    }

    #[test]
    fn a_pause_is_filled_and_the_stream_goes_on_behind_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut outbound = Outbound::default();
        outbound.set_noise(start, Some(Noise::Silence(Law::Mu)), 99);
        assert_eq!(pass(&mut outbound, at(0), packet(10, 1600, 0)).sequence, 10);
        assert_eq!(filled(&mut outbound, at(199)), None);
        let (first, length) = filled(&mut outbound, at(200)).expect("due");
        assert_eq!((first.ssrc, first.sequence, first.timestamp), (7, 11, 3200));
        assert_eq!((first.payload_type, length), (0, NOISE_PACKET_BYTES));
        assert_eq!(filled(&mut outbound, at(210)), None);
        let (second, _) = filled(&mut outbound, at(220)).expect("due");
        assert_eq!((second.sequence, second.timestamp), (12, 3360));

        // The source stopped its clock: what it says next comes behind the noise all the same.
        let next = pass(&mut outbound, at(230), packet(11, 1760, 0));
        assert_eq!((next.sequence, next.timestamp), (13, 3520));
        let after = pass(&mut outbound, at(250), packet(12, 1920, 0));
        assert_eq!((after.sequence, after.timestamp), (14, 3680));
        assert_eq!(filled(&mut outbound, at(440)), None);
    }

    #[test]
    fn who_agreed_to_comfort_noise_gets_little_of_it() {
        let start = Instant::now();
        let mut outbound = Outbound::default();
        outbound.set_noise(start, Some(Noise::Described), 99);
        let packets: Vec<_> = (0..50)
            .filter_map(|frame| filled(&mut outbound, start + FRAME * frame))
            .collect();
        assert_eq!(packets.len(), 4);
        let (header, length) = packets[0];
        assert_eq!((header.ssrc, header.payload_type, length), (99, 13, 13));
    }
}
