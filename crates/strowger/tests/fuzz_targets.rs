//! The fuzz targets over their seeds, and over seeds with bytes changed: that they compile and hold is seen here, at
//! once, and not by whoever fuzzes next. Finding what is new is libFuzzer's work, see `fuzz/README.md`.

#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the source is of another crate, which is not built here"
)]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

/// Changed copies of each seed.
const CHANGED: u64 = 40;

#[test]
fn the_fuzz_targets_hold_for_their_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let messages = ["rfc4475", "rfc5118"].map(|rfc| format!("crates/sip/tests/torture/{rfc}"));
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    type Target = fn(&[u8]);
    let targets: [(&str, Target, &[&str]); 9] = [
        ("body", fuzz::body::run, &["fuzz/seeds/body"]),
        ("digest", fuzz::digest::run, &messages),
        ("dtls", fuzz::dtls::run, &["fuzz/seeds/dtls"]),
        ("recorder", fuzz::recorder::run, &["fuzz/seeds/dtls"]),
        ("relay", fuzz::relay::run, &["fuzz/seeds/dtls"]),
        ("sdp", fuzz::sdp::run, &["fuzz/seeds/sdp"]),
        ("sip_framing", fuzz::sip_framing::run, &messages),
        ("sip_message", fuzz::sip_message::run, &messages),
        ("sip_uri", fuzz::sip_uri::run, &messages),
    ];
    for (name, run, folders) in targets {
        let seeds: Vec<PathBuf> = folders
            .iter()
            .flat_map(|at| files(&root.join(at)))
            .collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            let bytes = fs::read(&seed).expect("a seed");
            // The name of the seed, for whoever sees a panic; shown only then.
            println!("{name}: {}", seed.display());
            run(&bytes);
            let mut random = sip::random::Random::new(bytes.len() as u64);
            for _ in 0..CHANGED {
                run(&changed(&bytes, &mut random));
            }
            // Those that read one value see each line's.
            for line in bytes.split(|byte| *byte == b'\n') {
                run(line.trim_ascii());
                if let Some(at) = line.iter().position(|byte| *byte == b':') {
                    run(line[at + 1..].trim_ascii());
                }
            }
        }
    }
}

/// The files of a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

/// The same with a few bytes replaced, left out or doubled.
fn changed(bytes: &[u8], random: &mut sip::random::Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(6) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let end = (at + random.below(8) as usize).min(bytes.len());
        match random.below(4) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.insert(at, random.next_u64() as u8),
            2 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes[at..end].fill(random.next_u64() as u8),
        }
    }
    bytes
}
