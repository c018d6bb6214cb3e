//! Any datagrams at both ends of a handshake, alone and among the flights of a real one, at any pace. Nothing panics, and
//! a datagram is answered with little: nobody is flooded in a stranger's name.

use std::time::{Duration, Instant};

use media::dtls::{Association, Endpoint, Fingerprint, HashFunction, Role};
use media::srtp::{KeySeed, KeySource};

/// A certificate and its key, made for this and used nowhere else.
const CERTIFICATE: &[u8] = include_bytes!("../identity/certificate.der");
const KEY: &[u8] = include_bytes!("../identity/key.der");

/// Bytes in answer to one datagram or one look at the clock, at most: a flight with its certificate, twice.
const ANSWER_BYTES_MAX: usize = 4_096;

pub fn run(bytes: &[u8]) {
    let endpoint = Endpoint::new(CERTIFICATE.to_vec(), KEY).expect("a pair");
    let fingerprints = [Fingerprint::of(HashFunction::Sha256, CERTIFICATE)];
    let mut source = KeySource::new(&KeySeed([7; 32]));
    let mut now = Instant::now();
    let mut ends = [Role::Client, Role::Server]
        .map(|role| Association::new(&endpoint, &mut source, now, role, fingerprints.into()));
    // What was said to each end and has not arrived.
    let mut waiting: [Vec<Vec<u8>>; 2] = Default::default();
    // Each step: what happens, to whom, a place, a length, then so many bytes.
    let mut rest = bytes;
    while let Some(([what, whom, place, length], tail)) = rest.split_first_chunk::<4>() {
        let (given, tail) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = tail;
        let whom = usize::from(whom & 1);
        let other = 1 - whom;
        let mut said = Vec::new();
        let mut send = |datagram: &[u8]| said.push(datagram.to_vec());
        match what % 4 {
            0 => {
                now += Duration::from_millis(u64::from(*place) * 10);
                ends[whom].tick(now, &mut send);
            }
            1 => {
                ends[whom].handle(now, given, &mut send);
            }
            // One that was said arrives, out of turn or again, and with other bytes in one place.
            kind => {
                let queue = &mut waiting[whom];
                if queue.is_empty() {
                    continue;
                }
                let index = usize::from(*place) % queue.len();
                let mut datagram = if kind == 2 {
                    queue.remove(index)
                } else {
                    queue[index].clone()
                };
                if let Some((at, with)) = given.split_first() {
                    let at = usize::from(*at).min(datagram.len());
                    let end = (at + with.len()).min(datagram.len());
                    datagram.splice(at..end, with.iter().copied());
                }
                ends[whom].handle(now, &datagram, &mut send);
            }
        }
        assert!(said.iter().map(Vec::len).sum::<usize>() <= ANSWER_BYTES_MAX);
        waiting[other].extend(said);
        // Nobody keeps what a slow network would have lost by now.
        waiting[other].truncate(64);
    }
}
