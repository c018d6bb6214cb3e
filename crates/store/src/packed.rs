//! How a call record lies in its row: packed.
//!
//! As JSON a record has two kilobytes, most of which every other record has too: the names of its fields, the sentences of
//! its decisions. LZ4 with these words known beforehand leaves a quarter, in less time than it takes to write the rest:
//! four records share a page of the database where each had one for itself.
//!
//! ```text
//! 0         1         5
//! │ form: 1 │ length │ LZ4 block
//! ```
//!
//! The length is that of the JSON, little-endian. Rows of earlier versions hold the JSON itself, as text: the column is one
//! of text, in which SQLite leaves bytes what they are. PostgreSQL would want a column of bytes.

use crate::error::{Result, StoreError};
use model::Cdr;
use rusqlite::types::ValueRef;

/// What records say over and over. Part of the form: a record can only be read with the words that it was packed with.
const WORDS: &[u8] = include_bytes!("cdr_words.txt");

/// The form that is written.
const FORM: u8 = 1;

/// Longest JSON of a record that is read: hundreds of times as long as records get. A longer one is damage, for which no
/// memory is taken.
const MAX_JSON_BYTES: usize = 16 << 20;

/// A record as it is stored.
pub(crate) fn pack(cdr: &Cdr) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(cdr).map_err(|error| StoreError::Database {
        why: format!("call record: {error}"),
    })?;
    let block = lz4_flex::block::compress_with_dict(&json, WORDS);
    let mut packed = Vec::with_capacity(5 + block.len());
    packed.push(FORM);
    packed.extend_from_slice(&(json.len() as u32).to_le_bytes());
    packed.extend_from_slice(&block);
    Ok(packed)
}

/// The record of a row; the error says what is wrong with it.
pub(crate) fn unpack(value: ValueRef<'_>) -> std::result::Result<Cdr, String> {
    let read = |json: &[u8]| serde_json::from_slice(json).map_err(|error| error.to_string());
    match value {
        ValueRef::Text(json) => read(json),
        ValueRef::Blob([FORM, a, b, c, d, block @ ..]) => {
            let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            if length > MAX_JSON_BYTES {
                return Err(format!("{length} bytes of JSON"));
            }
            let json = lz4_flex::block::decompress_with_dict(block, length, WORDS);
            read(&json.map_err(|error| error.to_string())?)
        }
        ValueRef::Blob([form, ..]) => Err(format!("it has the form {form}, of a later version")),
        _ => Err("it is empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CdrLeg, ReleaseSide};
    use proptest::prelude::*;

    fn record() -> Cdr {
        Cdr {
            id: "01a21a370c5e-00-2490d4e721f3485a".to_owned(),
            domain: "example.net".to_owned(),
            started_ms: 1_795_736_144_990,
            ringing_ms: Some(1_795_736_144_992),
            answered_ms: Some(1_795_736_144_992),
            ended_ms: 1_795_736_145_098,
            orig: CdrLeg {
                from_uri: "sip:12125550111@a1.example.net".to_owned(),
                ..CdrLeg::default()
            },
            term: None,
            dial_rule: None,
            release_side: ReleaseSide::Orig,
            release_status: 200,
            release_cause: Some(16),
            release_text: "Orig: Bye".to_owned(),
            minimum_call_duration_seconds: 0,
            media: None,
            recording: None,
            decisions: vec![
                "dial plan: \"calls\", named by the connection [connection example.net/sip*@a]"
                    .to_owned(),
                "translate called: sip:13105550100@127.0.0.1 → sip:13105550100@b1.example.net"
                    .to_owned(),
            ],
        }
    }

    #[test]
    fn a_record_comes_back_from_two_fifths_of_its_json() {
        let cdr = record();
        let packed = pack(&cdr).unwrap();
        let json = serde_json::to_string(&cdr).unwrap();
        assert!(
            packed.len() * 5 < json.len() * 2,
            "{} of {}",
            packed.len(),
            json.len()
        );
        assert_eq!(unpack(ValueRef::Blob(&packed)), Ok(cdr.clone()));
        assert_eq!(unpack(ValueRef::Text(json.as_bytes())), Ok(cdr));
    }

    #[test]
    fn the_words_never_change() {
        // Records are read for years. Other words need another form beside this one.
        let sum = WORDS.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!((WORDS.len(), sum), (2418, 4_840_083_369_241_034_125));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let packed = pack(&record()).unwrap();
        let error = |bytes: &[u8]| unpack(ValueRef::Blob(bytes)).unwrap_err();
        assert_eq!(error(&[]), "it is empty");
        assert_eq!(error(&[9, 0]), "it has the form 9, of a later version");
        assert_eq!(error(&[1, 255, 255, 255, 255]), "4294967295 bytes of JSON");
        assert!(!error(&packed[..packed.len() - 1]).is_empty());
    }

    proptest! {
        #[test]
        fn damage_is_an_error_and_no_more(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0_usize..200) {
            let mut packed = pack(&record()).unwrap();
            packed.truncate(cut);
            packed.extend(bytes);
            let _ = unpack(ValueRef::Blob(&packed));
        }
    }
}
