//! The id of a dial rule: its seven matching fields joined by `||`, in base64.
//!
//! Written with the URL alphabet and without padding, so that it fits into a path; read in either
//! alphabet, with or without padding, because clients compute it themselves.

use crate::dial_rule::RuleMatching;

const SEPARATOR: &str = "||";
const URL_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The id of the fields.
pub(crate) fn encode(matching: &RuleMatching) -> String {
    let fields = [
        &*matching.to_uri,
        &*matching.from_uri,
        &*matching.day_of_week,
        &*matching.start_date,
        &*matching.end_date,
        &*matching.start_time,
        &*matching.end_time,
    ];
    encode_bytes(fields.join(SEPARATOR).as_bytes())
}

/// The fields of an id. Fewer than seven are filled up with `*`: short ids stand in old samples.
pub(crate) fn decode(id: &str) -> Option<RuleMatching> {
    let text = String::from_utf8(decode_bytes(id)?).ok()?;
    let mut fields = text.split(SEPARATOR);
    let to_uri = fields
        .next()
        .filter(|pattern| !pattern.is_empty())?
        .to_owned();
    let mut field = || fields.next().unwrap_or("*").to_owned();
    let matching = RuleMatching {
        to_uri,
        from_uri: field(),
        day_of_week: field(),
        start_date: field(),
        end_date: field(),
        start_time: field(),
        end_time: field(),
    };
    fields.next().is_none().then_some(matching)
}

pub(crate) fn encode_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        // n bytes need n + 1 characters; the rest would be padding.
        for index in 0..=chunk.len() {
            let sextet = bits >> (18 - 6 * index) & 0x3f;
            out.push(char::from(URL_ALPHABET[sextet as usize]));
        }
    }
    out
}

pub(crate) fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text.bytes() {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(sextet);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    // One character alone carries no byte.
    (held < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_known_example() {
        let id = RuleMatching::to("*").id();
        assert_eq!(id, "Knx8Knx8Knx8Knx8Knx8Knx8Kg");
        assert_eq!(
            decode("Knx8Knx8Knx8Knx8Knx8Knx8Kg=="),
            Some(RuleMatching::to("*"))
        );
    }

    #[test]
    fn both_alphabets_are_read() {
        let matching = RuleMatching::to("sip:~?>~?>@*");
        let url = matching.id();
        let plain = url.replace('-', "+").replace('_', "/");
        assert_ne!(url, plain);
        assert_eq!(decode(&plain), Some(matching));
    }

    #[test]
    fn a_short_id_means_any_for_the_rest() {
        assert_eq!(decode("c2lwOjYxMUAq"), Some(RuleMatching::to("sip:611@*")));
    }

    #[test]
    fn what_is_no_id() {
        for id in ["", "=", "A", "Knx8%", "/w", "fHw"] {
            assert_eq!(decode(id), None, "{id}");
        }
    }

    proptest! {
        #[test]
        fn every_rule_comes_back(fields in proptest::collection::vec("[^|]{1,12}", 7)) {
            let mut fields = fields.into_iter();
            let mut next = || fields.next().unwrap_or_default();
            let matching = RuleMatching {
                to_uri: next(),
                from_uri: next(),
                day_of_week: next(),
                start_date: next(),
                end_date: next(),
                start_time: next(),
                end_time: next(),
            };
            prop_assert_eq!(decode(&matching.id()), Some(matching));
        }

        #[test]
        fn any_text_is_safe_to_read(text in ".{0,64}") {
            let _ = decode(&text);
        }
    }
}
