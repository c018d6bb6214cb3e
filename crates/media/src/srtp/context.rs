//! Everything that goes one way under one master key.

use std::fmt;

use super::index::Seen;
use super::seal::{Place, Sealer};
use super::{MasterKey, OVERHEAD_BYTES_MAX, Suite};
use crate::relay::Datagram;
use crate::rtp;

/// Streams (SSRCs) a context follows at once. A sender has one, or two while it changes; when there are more, the one
/// that was used least recently is forgotten.
const STREAMS_MAX: usize = 8;

/// Bytes of the part of a report that stays in the clear.
const RTCP_CLEAR_BYTES: usize = 8;

/// Bytes of the index behind a report, with the bit that says it is encrypted.
const RTCP_INDEX_BYTES: usize = 4;

const ENCRYPTED: u32 = 1 << 31;

/// Packets after which it is time to note how far a stream has come. A quarter of the sequence numbers: with a few
/// seconds of packets on top, the nearest index is still the right one.
pub const PROGRESS_STEP: u64 = 1 << 14;

/// Reports that nobody sends in so many packets, which are half a minute at least.
const REPORTS_PER_STEP: u64 = 1 << 10;

/// Why a packet was neither sealed nor opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SrtpError {
    /// It is too short, or its header makes no sense.
    Malformed,
    /// It was not sealed with this key, or was changed on its way.
    NotAuthentic,
    /// It was seen before, or is too old to tell.
    Replayed,
    /// Its buffer has no room for the tag.
    NoRoom,
    /// The key has sealed as many packets as it may.
    KeyWornOut,
}

impl fmt::Display for SrtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a sealed packet",
            Self::NotAuthentic => "not sealed with the key agreed on",
            Self::Replayed => "received before",
            Self::NoRoom => "no room for the tag",
            Self::KeyWornOut => "the key has been used up",
        })
    }
}

impl std::error::Error for SrtpError {}

/// Seals or opens; one for each direction.
pub struct Context {
    suite: Suite,
    rtp: Sealer,
    rtcp: Sealer,
    /// The most recently used first.
    streams: Vec<Stream>,
    /// Index of the next report to be sealed.
    report_index: u32,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    packets: Seen,
    reports: Seen,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Derives the session keys.
    pub fn new(master: &MasterKey) -> Self {
        Self {
            suite: master.suite(),
            rtp: Sealer::rtp(master),
            rtcp: Sealer::rtcp(master),
            streams: Vec::with_capacity(STREAMS_MAX),
            report_index: 0,
        }
    }

    /// What it seals or opens with.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The stream that was used last, and how far it has come.
    pub fn progress(&self) -> Option<(u32, u64)> {
        let latest = self.streams.first()?;
        Some((latest.ssrc, latest.packets.highest()?))
    }

    /// Goes on with a stream of an earlier context of the same key, which had come about as far: the sequence numbers
    /// alone do not tell how often they rolled over. Its reports begin at a number that it has not used either, for
    /// nobody sends as many reports as that in so many packets.
    pub fn resume(&mut self, ssrc: u32, index: u64) {
        self.stream(ssrc).packets = Seen::at(index);
        let part = (index / PROGRESS_STEP + 1) * REPORTS_PER_STEP;
        let reports = u32::try_from(part)
            .unwrap_or(ENCRYPTED - 1)
            .min(ENCRYPTED - 1);
        self.report_index = self.report_index.max(reports);
    }

    /// Seals an RTP packet.
    pub fn seal(&mut self, datagram: &mut Datagram<'_>) -> Result<(), SrtpError> {
        let (header, payload_at) = rtp_head(datagram.bytes())?;
        let stream = self.stream(header.ssrc);
        let index = stream
            .packets
            .estimate(header.sequence)
            .ok_or(SrtpError::KeyWornOut)?;
        // The same index sealed twice would lay two texts bare.
        if !stream.packets.is_new(index) {
            return Err(SrtpError::Replayed);
        }
        let place = Place {
            ssrc: header.ssrc,
            index,
        };
        let (length, tag_bytes) = (datagram.length(), self.rtp.tag_bytes);
        let buffer = datagram.with_room(tag_bytes).ok_or(SrtpError::NoRoom)?;
        let (packet, tag) = buffer.split_at_mut(length);
        if self.rtp.is_galois() {
            let (aad, text) = packet.split_at_mut(payload_at);
            let sealed = self.rtp.seal_galois(self.rtp.rtp_nonce(&place), aad, text);
            tag.copy_from_slice(&sealed.ok_or(SrtpError::Malformed)?);
        } else {
            self.rtp.apply_counter(&place, &mut packet[payload_at..]);
            self.rtp.write_tag(packet, &rollover(index), tag);
        }
        datagram.set_length(length + tag_bytes);
        self.stream(header.ssrc).packets.note(index);
        Ok(())
    }

    /// Opens an RTP packet.
    pub fn open(&mut self, datagram: &mut Datagram<'_>) -> Result<(), SrtpError> {
        let tag_bytes = self.rtp.tag_bytes;
        let length = datagram.length();
        let body = length.checked_sub(tag_bytes).ok_or(SrtpError::Malformed)?;
        let (header, payload_at) = rtp_head(&datagram.bytes()[..body])?;
        let seen = self
            .known(header.ssrc)
            .map_or(Seen::default(), |stream| stream.packets);
        let index = seen.estimate(header.sequence).ok_or(SrtpError::Replayed)?;
        if !seen.is_new(index) {
            return Err(SrtpError::Replayed);
        }
        let place = Place {
            ssrc: header.ssrc,
            index,
        };
        let (packet, tag) = datagram.bytes_mut().split_at_mut(body);
        if self.rtp.is_galois() {
            let (aad, text) = packet.split_at_mut(payload_at);
            let nonce = self.rtp.rtp_nonce(&place);
            if !self.rtp.open_galois(nonce, aad, text, tag) {
                return Err(SrtpError::NotAuthentic);
            }
        } else {
            if !self.rtp.check_tag(packet, &rollover(index), tag) {
                return Err(SrtpError::NotAuthentic);
            }
            self.rtp.apply_counter(&place, &mut packet[payload_at..]);
        }
        datagram.set_length(body);
        self.stream(header.ssrc).packets.note(index);
        Ok(())
    }

    /// Seals a compound of reports.
    pub fn seal_report(&mut self, datagram: &mut Datagram<'_>) -> Result<(), SrtpError> {
        let ssrc = report_sender(datagram.bytes())?;
        // RFC 3711 §3.2.1: counted up before each report.
        let index = self.report_index + 1;
        if index >= ENCRYPTED {
            return Err(SrtpError::KeyWornOut);
        }
        let place = Place {
            ssrc,
            index: u64::from(index),
        };
        let word = (index | ENCRYPTED).to_be_bytes();
        let (length, tag_bytes) = (datagram.length(), self.rtcp.tag_bytes);
        let sealed_length = length + RTCP_INDEX_BYTES + tag_bytes;
        debug_assert!(sealed_length - length <= OVERHEAD_BYTES_MAX);
        let buffer = datagram
            .with_room(RTCP_INDEX_BYTES + tag_bytes)
            .ok_or(SrtpError::NoRoom)?;
        let (packet, rest) = buffer.split_at_mut(length);
        if self.rtcp.is_galois() {
            // RFC 7714 §9.2: the index stands behind the tag and is covered by it.
            let (clear, text) = packet.split_at_mut(RTCP_CLEAR_BYTES);
            let aad = report_aad(clear, word);
            let nonce = self.rtcp.rtcp_nonce(&place);
            let tag = self.rtcp.seal_galois(nonce, &aad, text);
            rest[..tag_bytes].copy_from_slice(&tag.ok_or(SrtpError::Malformed)?);
            rest[tag_bytes..].copy_from_slice(&word);
        } else {
            self.rtcp
                .apply_counter(&place, &mut packet[RTCP_CLEAR_BYTES..]);
            rest[..RTCP_INDEX_BYTES].copy_from_slice(&word);
            self.rtcp
                .write_tag(packet, &word, &mut rest[RTCP_INDEX_BYTES..]);
        }
        datagram.set_length(sealed_length);
        self.report_index = index;
        Ok(())
    }

    /// Opens a compound of reports.
    pub fn open_report(&mut self, datagram: &mut Datagram<'_>) -> Result<(), SrtpError> {
        let tag_bytes = self.rtcp.tag_bytes;
        let length = datagram.length();
        let body = length
            .checked_sub(tag_bytes + RTCP_INDEX_BYTES)
            .filter(|body| *body >= RTCP_CLEAR_BYTES)
            .ok_or(SrtpError::Malformed)?;
        let ssrc = report_sender(datagram.bytes())?;
        let galois = self.rtcp.is_galois();
        let word_at = if galois { body + tag_bytes } else { body };
        let (packet, rest) = datagram.bytes_mut().split_at_mut(body);
        let mut word = [0; RTCP_INDEX_BYTES];
        word.copy_from_slice(&rest[word_at - body..][..RTCP_INDEX_BYTES]);
        let marked = u32::from_be_bytes(word);
        if marked & ENCRYPTED == 0 {
            // Nobody agreed to reports in the clear.
            return Err(SrtpError::NotAuthentic);
        }
        let index = u64::from(marked & !ENCRYPTED);
        let seen = self
            .known(ssrc)
            .map_or(Seen::default(), |stream| stream.reports);
        if !seen.is_new(index) {
            return Err(SrtpError::Replayed);
        }
        let place = Place { ssrc, index };
        if galois {
            let (clear, text) = packet.split_at_mut(RTCP_CLEAR_BYTES);
            let aad = report_aad(clear, word);
            let nonce = self.rtcp.rtcp_nonce(&place);
            if !self.rtcp.open_galois(nonce, &aad, text, &rest[..tag_bytes]) {
                return Err(SrtpError::NotAuthentic);
            }
        } else {
            if !self
                .rtcp
                .check_tag(packet, &word, &rest[RTCP_INDEX_BYTES..])
            {
                return Err(SrtpError::NotAuthentic);
            }
            self.rtcp
                .apply_counter(&place, &mut packet[RTCP_CLEAR_BYTES..]);
        }
        datagram.set_length(body);
        self.stream(ssrc).reports.note(index);
        Ok(())
    }

    fn known(&self, ssrc: u32) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.ssrc == ssrc)
    }

    /// The state of a stream, moved to the front.
    fn stream(&mut self, ssrc: u32) -> &mut Stream {
        let known = self.streams.iter().position(|stream| stream.ssrc == ssrc);
        let at = known.unwrap_or_else(|| {
            if self.streams.len() == STREAMS_MAX {
                self.streams.pop();
            }
            self.streams.push(Stream {
                ssrc,
                packets: Seen::default(),
                reports: Seen::default(),
            });
            self.streams.len() - 1
        });
        self.streams[..=at].rotate_right(1);
        &mut self.streams[0]
    }
}

/// Header and where the payload begins.
fn rtp_head(packet: &[u8]) -> Result<(rtp::Header, usize), SrtpError> {
    rtp::Header::parse_with_payload(packet).map_err(|_| SrtpError::Malformed)
}

fn report_sender(packet: &[u8]) -> Result<u32, SrtpError> {
    let clear: &[u8; RTCP_CLEAR_BYTES] = packet.first_chunk().ok_or(SrtpError::Malformed)?;
    if clear[0] >> 6 != 2 {
        return Err(SrtpError::Malformed);
    }
    Ok(u32::from_be_bytes([clear[4], clear[5], clear[6], clear[7]]))
}

fn report_aad(
    clear: &[u8],
    word: [u8; RTCP_INDEX_BYTES],
) -> [u8; RTCP_CLEAR_BYTES + RTCP_INDEX_BYTES] {
    let mut aad = [0; RTCP_CLEAR_BYTES + RTCP_INDEX_BYTES];
    aad[..RTCP_CLEAR_BYTES].copy_from_slice(clear);
    aad[RTCP_CLEAR_BYTES..].copy_from_slice(&word);
    aad
}

fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// Bytes from hexadecimal digits, for test vectors.
#[cfg(test)]
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::{KeySeed, KeySource};

    const KEY: &str = "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6";

    fn context(suite: Suite, material: &str) -> Context {
        Context::new(&MasterKey::new(suite, &hex(material)).expect("of the right length"))
    }

    /// Runs `work` on a packet with room behind it and returns what became of it.
    fn worked(
        packet: &[u8],
        work: impl FnOnce(&mut Datagram<'_>) -> Result<(), SrtpError>,
    ) -> Result<Vec<u8>, SrtpError> {
        let mut buffer = [0; 256];
        buffer[..packet.len()].copy_from_slice(packet);
        let mut datagram = Datagram::new(&mut buffer, packet.len());
        work(&mut datagram)?;
        Ok(datagram.bytes().to_vec())
    }

    fn packet(sequence: u16) -> Vec<u8> {
        let header = rtp::Header {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc: 7,
        };
        header.packet(&[0xab; 160])
    }

    fn report() -> Vec<u8> {
        let mut report = hex("81c8000b cafebabe");
        report.extend_from_slice(&[0xab; 16]);
        report
    }

    #[test]
    fn a_successor_goes_on_behind_a_rollover() {
        for suite in [Suite::Aes128CmSha1_80, Suite::Aes256Gcm] {
            let key = KeySource::new(&KeySeed([9; 32])).key(suite);
            let (mut sender, mut receiver) = (Context::new(&key), Context::new(&key));
            let mut told = None;
            let mut reports = Vec::new();
            for number in 65_000..70_000_u32 {
                let sealed = worked(&packet(number as u16), |it| sender.seal(it)).unwrap();
                worked(&sealed, |it| receiver.open(it)).unwrap();
                if u64::from(number) % PROGRESS_STEP == 0 {
                    told = sender.progress();
                    reports.push(worked(&report(), |it| sender.seal_report(it)).unwrap());
                }
            }
            assert_eq!(told, Some((7, 4 * PROGRESS_STEP)));
            let (ssrc, index) = told.unwrap();
            let (mut sender, mut other) = (Context::new(&key), Context::new(&key));
            sender.resume(ssrc, index);
            other.resume(ssrc, index);
            for number in 70_250..70_300_u32 {
                let plain = packet(number as u16);
                let sealed = worked(&plain, |it| sender.seal(it)).unwrap();
                assert_eq!(
                    worked(&sealed, |it| receiver.open(it)),
                    Ok(plain.clone()),
                    "{suite:?}"
                );
                assert_eq!(worked(&sealed, |it| other.open(it)), Ok(plain));
            }
            // Who knows nothing of the rollover opens nothing.
            let sealed = worked(&packet(5_000), |it| sender.seal(it)).unwrap();
            assert!(worked(&sealed, |it| Context::new(&key).open(it)).is_err());
            let again = worked(&report(), |it| sender.seal_report(it)).unwrap();
            assert!(!reports.contains(&again), "no number of a report twice");
        }
    }

    #[test]
    fn a_known_packet_is_sealed_as_others_seal_it() {
        let plain = hex("800f1234 decafbad cafebabe abababab abababab abababab abababab");
        let sealed = hex(
            "800f1234 decafbad cafebabe 4e55dc4c e79978d8 8ca4d215 949d2402 b78d6acc 99ea179b 8dbb",
        );
        let suite = Suite::Aes128CmSha1_80;
        let ours = worked(&plain, |packet| context(suite, KEY).seal(packet));
        assert_eq!(ours.as_ref(), Ok(&sealed));
        let opened = worked(&sealed, |packet| context(suite, KEY).open(packet));
        assert_eq!(opened, Ok(plain));
    }

    #[test]
    fn a_known_report_is_sealed_as_others_seal_it() {
        let sealed = hex(
            "81c8000b cafebabe 7128035b e487b9bd bef89041 f977a5a8 80000001 993e08cd 54d6c123 0798",
        );
        let suite = Suite::Aes128CmSha1_80;
        let ours = worked(&report(), |packet| context(suite, KEY).seal_report(packet));
        assert_eq!(ours.as_ref(), Ok(&sealed));
        let opened = worked(&sealed, |packet| context(suite, KEY).open_report(packet));
        assert_eq!(opened, Ok(report()));
    }

    #[test]
    fn galois_mode_is_that_of_rfc_7714_section_16_1_1() {
        let mut key = [0; 16];
        key.copy_from_slice(&hex("000102030405060708090a0b0c0d0e0f"));
        let mut salt = [0; 12];
        salt.copy_from_slice(&hex("517569642070726f2071756f"));
        let mut context = context(Suite::Aes128Gcm, &"00".repeat(28));
        context.rtp = Sealer::galois_of_session_key(&key, &salt);
        let plain = hex(
            "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573",
        );
        let sealed = hex(
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833 899d7f27 beb16a91 52cf765e e4390cce",
        );
        let ours = worked(&plain, |packet| context.seal(packet));
        assert_eq!(ours, Ok(sealed));
    }

    #[test]
    fn every_suite_opens_what_it_sealed_and_nothing_else() {
        let mut source = KeySource::new(&KeySeed([3; 32]));
        for suite in Suite::ALL {
            let key = source.key(suite);
            let (mut sender, mut receiver) = (Context::new(&key), Context::new(&key));
            let sealed = worked(&packet(1), |packet| sender.seal(packet)).expect("sealed");
            assert_eq!(sealed.len(), packet(1).len() + suite.rtp_tag_bytes());
            assert_ne!(sealed[12..172], packet(1)[12..]);
            for at in [1, 20, sealed.len() - 1] {
                let mut forged = sealed.clone();
                forged[at] ^= 1;
                let opened = worked(&forged, |packet| receiver.open(packet));
                assert_eq!(opened, Err(SrtpError::NotAuthentic), "{suite:?} byte {at}");
            }
            assert_eq!(
                worked(&sealed, |packet| receiver.open(packet)),
                Ok(packet(1))
            );
            let again = worked(&sealed, |packet| receiver.open(packet));
            assert_eq!(again, Err(SrtpError::Replayed));

            let sealed = worked(&report(), |packet| sender.seal_report(packet)).expect("sealed");
            let mut forged = sealed.clone();
            forged[10] ^= 1;
            let opened = worked(&forged, |packet| receiver.open_report(packet));
            assert_eq!(opened, Err(SrtpError::NotAuthentic));
            let opened = worked(&sealed, |packet| receiver.open_report(packet));
            assert_eq!(opened, Ok(report()));
            let again = worked(&sealed, |packet| receiver.open_report(packet));
            assert_eq!(again, Err(SrtpError::Replayed));

            let mut stranger = Context::new(&source.key(suite));
            let sealed = worked(&packet(2), |packet| sender.seal(packet)).expect("sealed");
            let opened = worked(&sealed, |packet| stranger.open(packet));
            assert_eq!(opened, Err(SrtpError::NotAuthentic));
        }
    }

    #[test]
    fn a_stream_rolls_over_with_losses_and_in_disorder() {
        let key = KeySource::new(&KeySeed([4; 32])).key(Suite::Aes128CmSha1_32);
        let (mut sender, mut receiver) = (Context::new(&key), Context::new(&key));
        for sequence in [
            65_530, 65_533, 65_535, 65_534, 2, 1, 30_000, 60_000, 20, 20_000,
        ] {
            let sealed = worked(&packet(sequence), |packet| sender.seal(packet)).expect("sealed");
            let opened = worked(&sealed, |packet| receiver.open(packet));
            assert_eq!(opened, Ok(packet(sequence)), "{sequence}");
        }
    }

    #[test]
    fn an_index_is_never_used_twice_and_noise_is_no_packet() {
        let key = KeySource::new(&KeySeed([5; 32])).key(Suite::Aes128CmSha1_80);
        let mut context = Context::new(&key);
        assert!(worked(&packet(9), |packet| context.seal(packet)).is_ok());
        let again = worked(&packet(9), |packet| context.seal(packet));
        assert_eq!(again, Err(SrtpError::Replayed));
        for length in 0..30 {
            let opened = worked(&[0x80; 30][..length], |packet| context.open(packet));
            assert!(opened.is_err());
            let opened = worked(&[0x80; 30][..length], |packet| context.open_report(packet));
            assert!(opened.is_err());
        }
        let mut full = packet(10);
        let sealed = context.seal(&mut Datagram::whole(&mut full));
        assert_eq!(sealed, Err(SrtpError::NoRoom));
    }

    #[test]
    fn streams_come_and_go_and_keys_are_not_shown() {
        let key = KeySource::new(&KeySeed([6; 32])).key(Suite::Aes256Gcm);
        let mut context = Context::new(&key);
        for ssrc in 0..100 {
            let header = rtp::Header {
                marker: false,
                payload_type: 0,
                sequence: 1,
                timestamp: 0,
                ssrc,
            };
            assert!(worked(&header.packet(&[1; 20]), |packet| context.seal(packet)).is_ok());
        }
        assert_eq!(context.streams.len(), STREAMS_MAX);
        let shown = format!("{context:?} {key:?}");
        assert_eq!(
            shown,
            "Context { suite: Aes256Gcm, .. } MasterKey { suite: Aes256Gcm, .. }"
        );
    }

    #[test]
    fn no_key_comes_twice() {
        let mut source = KeySource::new(&KeySeed([7; 32]));
        let keys: Vec<_> = (0..100)
            .map(|_| source.key(Suite::Aes128CmSha1_80))
            .collect();
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key));
        }
    }
}
