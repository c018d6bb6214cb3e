//! The file of a recording: RIFF WAVE, PCM of 16 bits, two channels, 8 kHz.
//!
//! PCM rather than µ-law, which would be half as long: both laws of G.711 become PCM without a loss but not each other,
//! wider codecs lose less, and there is no program or language that does not read it, while many fail with µ-law. An
//! hour takes 115 MB.
//!
//! A header says how much follows it. Whoever writes a file writes the header anew each time it has grown, after what
//! it has grown by: then it is a whole recording at any moment, also for whoever finds it after a crash.

use super::SAMPLE_RATE_HZ;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 44;

/// Bytes of one frame: a sample for the left and one for the right.
pub const FRAME_BYTES: usize = 4;

/// Frames that the 32 bits of the header can count: 37 hours.
pub const FRAMES_MAX: u64 = (u32::MAX as u64 - HEADER_BYTES as u64) / FRAME_BYTES as u64;

const CHANNELS: u16 = 2;
const BITS: u16 = 16;
const PCM: u16 = 1;

/// The header of a file with so many frames.
pub fn header(frames: u64) -> [u8; HEADER_BYTES] {
    let data_bytes = frames.min(FRAMES_MAX) as u32 * FRAME_BYTES as u32;
    let mut header = [0; HEADER_BYTES];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        header[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    put(&(data_bytes + HEADER_BYTES as u32 - 8).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16_u32.to_le_bytes());
    put(&PCM.to_le_bytes());
    put(&CHANNELS.to_le_bytes());
    put(&SAMPLE_RATE_HZ.to_le_bytes());
    put(&(SAMPLE_RATE_HZ * FRAME_BYTES as u32).to_le_bytes());
    put(&(FRAME_BYTES as u16).to_le_bytes());
    put(&BITS.to_le_bytes());
    put(b"data");
    put(&data_bytes.to_le_bytes());
    header
}

/// Appends frames as they stand in the file.
pub fn append(frames: &[[i16; 2]], bytes: &mut Vec<u8>) {
    bytes.reserve(frames.len() * FRAME_BYTES);
    for sample in frames.as_flattened() {
        bytes.extend_from_slice(&sample.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_follows() {
        let header = header(8_000);
        assert_eq!(&header[..4], b"RIFF");
        assert_eq!(&header[4..8], 32_036_u32.to_le_bytes());
        assert_eq!(&header[8..16], b"WAVEfmt ");
        assert_eq!(&header[36..40], b"data");
        assert_eq!(&header[40..], 32_000_u32.to_le_bytes());
        let mut bytes = Vec::new();
        append(&[[1, -2], [3, 4]], &mut bytes);
        assert_eq!(bytes, [1, 0, 0xfe, 0xff, 3, 0, 4, 0]);
    }

    #[test]
    fn the_length_never_wraps() {
        let most = header(FRAMES_MAX);
        assert_eq!(header(u64::MAX), most);
        assert_ne!(header(FRAMES_MAX - 1), most);
    }
}
