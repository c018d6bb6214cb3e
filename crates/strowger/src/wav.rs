//! Sixteen-bit PCM in a WAV file, two channels: what each side of the demo heard.

use std::io::Write;
use std::path::Path;

/// Samples per second and channel, as G.711 has them.
const RATE_HZ: u32 = 8_000;
const CHANNELS: u16 = 2;
const BYTES_PER_SAMPLE: u16 = 2;

/// Writes `left` and `right` beside each other; the shorter one ends in silence.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_stereo(path: &Path, left: &[i16], right: &[i16]) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    file.write_all(&stereo(left, right))?;
    file.flush()
}

fn stereo(left: &[i16], right: &[i16]) -> Vec<u8> {
    let frames = left.len().max(right.len());
    let block_bytes = CHANNELS * BYTES_PER_SAMPLE;
    let data_bytes = (frames * usize::from(block_bytes)) as u32;
    let mut bytes = Vec::with_capacity(44 + data_bytes as usize);
    bytes.extend(b"RIFF");
    bytes.extend((36 + data_bytes).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(CHANNELS.to_le_bytes());
    bytes.extend(RATE_HZ.to_le_bytes());
    bytes.extend((RATE_HZ * u32::from(block_bytes)).to_le_bytes());
    bytes.extend(block_bytes.to_le_bytes());
    bytes.extend((8 * BYTES_PER_SAMPLE).to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(data_bytes.to_le_bytes());
    for frame in 0..frames {
        for channel in [left, right] {
            bytes.extend(
                channel
                    .get(frame)
                    .copied()
                    .unwrap_or_default()
                    .to_le_bytes(),
            );
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_what_follows() {
        let bytes = stereo(&[1, -2], &[3]);
        assert_eq!(bytes.len(), 44 + 8);
        assert_eq!(&bytes[40..44], &8_u32.to_le_bytes());
        assert_eq!(&bytes[44..], &[1, 0, 3, 0, 0xfe, 0xff, 0, 0]);
    }
}
