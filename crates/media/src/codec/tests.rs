//! Codecs against other implementations, and each behind each.

use super::*;
use crate::resample::Resampler;
use crate::tone::{Sine, tone_share};

/// A signal of integers alone, so that others can make the same: triangles of changing pitch in noise, a pause, and
/// squares of full scale, 16 000 samples to a round.
fn signal(samples: usize) -> Vec<i16> {
    let mut state = 1_u32;
    let sample = |at: i32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = ((state >> 16) as i32 - 32_768).div_euclid(16);
        let period = 20 + at / 1_600 % 60;
        let place = at % period;
        let triangle = (((2 * place - period).abs() * 2 - period) * 12_000).div_euclid(period);
        let sample = match at % 16_000 {
            14_000.. if at / 9 % 2 == 1 => 32_767,
            14_000.. => -32_768,
            13_000.. => 0,
            _ => triangle + noise,
        };
        sample.clamp(-32_768, 32_767) as i16
    };
    (0..samples as i32).map(sample).collect()
}

/// FNV-1a: enough to say "the same" of a long list.
fn fingerprint(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn pcm_fingerprint(samples: &[i16]) -> u64 {
    fingerprint(samples.iter().flat_map(|sample| sample.to_le_bytes()))
}

fn decode_all(decoder: &mut dyn Decoder, payloads: &[Vec<u8>]) -> Vec<i16> {
    let mut all = Vec::new();
    let mut samples = [0; 5_760];
    for payload in payloads {
        let count = decoder.decode(payload, &mut samples).expect("in order");
        assert_eq!(decoder.samples_in(payload), Ok(count));
        all.extend_from_slice(&samples[..count]);
    }
    all
}

fn encode_all(encoder: &mut dyn Encoder, samples: &[i16], frame_ms: usize) -> Vec<Vec<u8>> {
    let frame = encoder.sample_rate_hz() as usize * frame_ms / 1000;
    let mut payload = [0; 1_500];
    let frames = samples.chunks_exact(frame);
    frames
        .map(|frame| {
            let bytes = encoder.encode(frame, &mut payload).expect("a frame");
            payload[..bytes].to_vec()
        })
        .collect()
}

// The expected values of the next two are those of spandsp 0.0.6.

#[test]
fn g722_encodes_bit_by_bit_like_another() {
    let codes: Vec<u8> =
        encode_all(&mut g722::G722Encoder::default(), &signal(32_000), 20).concat();
    let expected = [
        146, 32, 132, 32, 134, 32, 160, 180, 29, 144, 137, 14, 153, 181, 46, 41,
    ];
    assert_eq!(codes[..16], expected);
    assert_eq!(fingerprint(codes), 0xb62e_3288_f912_5e97);
}

#[test]
fn g722_decodes_bit_by_bit_like_another() {
    let codes = encode_all(&mut g722::G722Encoder::default(), &signal(32_000), 20);
    let heard = decode_all(&mut g722::G722Decoder::default(), &codes);
    let expected = [7355, 9620, 10418, 8094, 5737, 3505, 1526, 938];
    assert_eq!(heard[40..48], expected);
    // Only so far: at full scale the other one wraps round where the Recommendation limits.
    assert_eq!(pcm_fingerprint(&heard[..14_000]), 0x175b_1f9a_ab58_e6c0);

    // And what no encoder would send.
    let mut state = 1_u32;
    let random: Vec<u8> = (0..160)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let heard = decode_all(&mut g722::G722Decoder::default(), &[random]);
    assert_eq!(heard[40..48], [56, 6, 15, 54, -185, -503, -143, 468]);
    assert_eq!(pcm_fingerprint(&heard[..200]), 0xd04f_4a84_752c_4f48);
}

/// Packets of libopus 1.3.1, and the fingerprint of what it made of them itself.
const OPUS_NARROW: [&str; 3] = [
    "08833f0fc3654169827af13d85c28c51a71c32affc0033ffa978fa7403d5e7190c87f0ed9481fa641710e8d40a9c8f3c19caa080",
    "08ae61fe23c18fe71ba9219eb90a0e22a116c2b1c6816f2c89d402e78273ff37d1b696592e6d78c6a020e2a41b00399f54374e2eb327e4b69b2c805b87b4a11fa9abe692de0b80",
    "08ae90564b6b8b4d3e9f15997f53cc757f8457c5b8822d6d9670e22e816f78b7dacefb2b0a75d5990e5e8a1a883ea9bc79aafaeecafc618656ab4300eee5a7aca354febf70",
];
const OPUS_WIDE: [&str; 3] = [
    "4884273d0cbc09af3d1e878fdd29aec0546f062507306525c0f212437f7776e0662556023f08891ff81eafeb53185185a643f010",
    "48b602b242ef04f05c131906641d300bc9182f0968606952d5a433d0c86d859d5f751fe30d71baab6a48158ef9f536de775f963e630c9349f0fe6e7a7473ca87a43117ce1ccd5f0c1c",
    "48b602b242120554e2be728b2905e936b559b83a1a9bd56ca955f65e6563b1abbfe7e9baceb840a6cdf3e663406e5f58d8c7a056ca3a48659f160d3eead46ff0da7757007c40",
];

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}

#[test]
fn opus_decodes_bit_by_bit_like_the_reference() {
    for (rate, packets, expected) in [
        (8_000, OPUS_NARROW, 0x7f83_b82b_af6b_6689),
        (16_000, OPUS_WIDE, 0xf178_5ba8_40ff_9546),
    ] {
        let packets = packets.map(unhex);
        let mut decoder = Format::Opus.decoder(rate).expect("a rate of Opus");
        let heard = decode_all(&mut *decoder, &packets);
        assert_eq!(pcm_fingerprint(&heard), expected, "{rate} Hz");
    }
}

/// The rate at which two formats meet.
fn rate_between(from: Format, to: Format) -> [u32; 2] {
    let (a, b) = (from.sample_rate_hz(), to.sample_rate_hz());
    [a.or(b).unwrap_or(16_000), b.or(a).unwrap_or(16_000)]
}

#[test]
fn a_tone_survives_every_pair() {
    for from in Format::ALL {
        for to in Format::ALL {
            for frame_ms in [10, 20, 60] {
                let [near, far] = rate_between(from, to);
                let tone: Vec<i16> = Sine::new(440.0, near, 0.3).take(near as usize).collect();
                let sent = encode_all(
                    &mut *from.encoder(near, None).expect("known"),
                    &tone,
                    frame_ms,
                );
                let between = decode_all(&mut *from.decoder(near).expect("known"), &sent);
                let mut converted = vec![0; between.len() * 2];
                let mut resampler = Resampler::new(near, far).expect("known");
                let count = resampler.convert(&between, &mut converted);
                let passed = encode_all(
                    &mut *to.encoder(far, None).expect("known"),
                    &converted[..count],
                    frame_ms,
                );
                let heard = decode_all(&mut *to.decoder(far).expect("known"), &passed);
                let settled = &heard[far as usize / 4..];
                let share = tone_share(settled, 440.0, far);
                // 0.95 is a signal-to-noise ratio of 13 dB: Opus keeps what is heard of a tone, not its form.
                assert!(share > 0.95, "{from} to {to}, {frame_ms} ms: {share}");
                let loudest = settled.iter().map(|sample| sample.unsigned_abs()).max();
                let loudest = f32::from(loudest.unwrap_or(0)) / 32_767.0;
                assert!((0.24..0.38).contains(&loudest), "{from} to {to}: {loudest}");
            }
        }
    }
}

#[test]
fn each_format_keeps_its_promise_of_noise() {
    for (format, rate, share_min) in [
        (Format::Pcmu, 8_000, 0.999),
        (Format::Pcma, 8_000, 0.999),
        (Format::G722, 16_000, 0.999),
        (Format::Opus, 8_000, 0.98),
        (Format::Opus, 16_000, 0.98),
    ] {
        let tone = Sine::new(1_000.0, rate, 0.25).zip(Sine::new(440.0, rate, 0.25));
        let tones: Vec<i16> = tone.map(|(a, b)| a + b).take(rate as usize).collect();
        let sent = encode_all(&mut *format.encoder(rate, None).expect("known"), &tones, 20);
        let heard = decode_all(&mut *format.decoder(rate).expect("known"), &sent);
        let settled = &heard[rate as usize / 2..];
        let share: f32 = [440.0, 1_000.0]
            .map(|hz| tone_share(settled, hz, rate))
            .iter()
            .sum();
        assert!(share > share_min, "{format} at {rate} Hz: {share}");
    }
}

#[test]
fn a_lost_packet_is_bridged_in_every_format() {
    for format in Format::ALL {
        let rate = format.sample_rate_hz().unwrap_or(8_000);
        let tone: Vec<i16> = Sine::new(440.0, rate, 0.3).take(rate as usize).collect();
        let parameters = Some("useinbandfec=1");
        let sent = encode_all(
            &mut *format.encoder(rate, parameters).expect("known"),
            &tone,
            20,
        );
        let mut decoder = format.decoder(rate).expect("known");
        let mut heard = Vec::new();
        let mut samples = [0; 960];
        let frame = rate as usize / 50;
        for (number, payload) in sent.iter().enumerate() {
            // One in ten is lost.
            if number % 10 == 9 {
                decoder.conceal(
                    sent.get(number + 1).map(Vec::as_slice),
                    &mut samples[..frame],
                );
                heard.extend_from_slice(&samples[..frame]);
            } else {
                let count = decoder.decode(payload, &mut samples).expect("in order");
                heard.extend_from_slice(&samples[..count]);
            }
        }
        // A phase that slips at each loss narrows the share of a whole second, so it is looked for piece by piece.
        let pieces = heard[rate as usize / 4..].chunks_exact(frame * 2);
        let shares: Vec<f32> = pieces.map(|piece| tone_share(piece, 440.0, rate)).collect();
        let mean = shares.iter().sum::<f32>() / shares.len() as f32;
        assert!(mean > 0.8, "{format}: {mean}, {shares:?}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    for format in Format::ALL {
        let rate = format.sample_rate_hz().unwrap_or(16_000);
        let frame = vec![0; rate as usize / 50];
        let mut encoder = format.encoder(rate, None).expect("known");
        assert_eq!(
            encoder.encode(&frame, &mut []),
            Err(CodecError::NoRoom),
            "{format}"
        );
        let mut payload = [0; 400];
        let bytes = encoder.encode(&frame, &mut payload).expect("a frame");
        let mut decoder = format.decoder(rate).expect("known");
        let short = decoder.decode(&payload[..bytes], &mut [0; 7]);
        assert_eq!(short, Err(CodecError::NoRoom), "{format}");
    }
    let mut opus = Format::Opus.encoder(8_000, None).expect("known");
    assert_eq!(
        opus.encode(&[0; 161], &mut [0; 400]),
        Err(CodecError::FrameSize)
    );
    let mut g722 = Format::G722.encoder(16_000, None).expect("known");
    assert_eq!(
        g722.encode(&[0; 161], &mut [0; 400]),
        Err(CodecError::FrameSize)
    );
}

#[test]
fn formats_are_found_by_name() {
    for format in Format::ALL {
        let mut codec = format.described();
        assert_eq!(Format::of(&codec), Some(format));
        assert_eq!(codec.clock_rate_hz, format.clock_rate_hz());
        codec.payload_type = 100;
        assert_eq!(
            Format::of(&codec),
            Some(format),
            "the number is nobody's business"
        );
        codec.clock_rate_hz = 44_100;
        assert_eq!(Format::of(&codec), None);
    }
    assert_eq!(Format::of(&sdp::Codec::telephone_event()), None);
}
