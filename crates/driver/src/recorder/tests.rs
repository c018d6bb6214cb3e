//! Commands and packets in, files out: the thread as shards and media threads use it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use media::codec::Format;
use media::g711;
use media::recorder::{Coding, wav};
use media::rtp::Header;

use super::*;

const RECORDING: RecordingId = RecordingId(5);
const MU: Meaning = Meaning {
    coding: Coding::Sound(Format::Pcmu),
    clock_rate_hz: 8_000,
};

/// The recorder and the mailbox of the one shard it reports to.
struct World {
    folder: tempfile::TempDir,
    queue: RecorderQueue,
    desk: RecorderDesk,
    thread: Option<RecorderThread>,
    mailbox: Mailbox<Mail>,
    counts: Arc<RecorderCounts>,
    begun: Instant,
}

impl World {
    fn new(reserve_mib: u64) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        Self::with(
            RecorderConfig {
                folder: Some(folder.path().join("recordings")),
                reserve_mib,
            },
            folder,
        )
    }

    fn with(config: RecorderConfig, folder: tempfile::TempDir) -> Self {
        let (shard, mailbox) = mailbox::mailbox(64).expect("mailbox");
        let counts = Arc::new(RecorderCounts::default());
        let (queue, thread) =
            RecorderThread::start(config, vec![shard], Arc::clone(&counts)).expect("start");
        Self {
            folder,
            desk: RecorderDesk::new(0, queue.clone()),
            queue,
            thread: Some(thread),
            mailbox,
            counts,
            begun: Instant::now(),
        }
    }

    fn begin(&mut self, recording: RecordingId, path: &str) {
        let (path, at) = (path.to_owned(), self.begun);
        let refused = self.desk.command(Command::Begin {
            recording,
            path,
            at,
        });
        assert_eq!(refused, None);
    }

    /// 20 ms of audio of one side, as if it arrived that long after the beginning.
    fn hear(&self, at_ms: u64, from: Side, meaning: Meaning, sample: i16) {
        let number = at_ms / 20;
        let header = Header {
            marker: false,
            payload_type: 0,
            sequence: number as u16,
            timestamp: number as u32 * 160,
            ssrc: 7,
        };
        let packet = header.packet(&[g711::encode_mu(sample); 160]);
        let heard = Heard {
            recording: RECORDING,
            from,
            meaning,
            packet: &packet,
        };
        self.queue
            .hear(self.begun + Duration::from_millis(at_ms), heard);
    }

    fn end(&mut self, at_ms: u64) {
        let at = self.begun + Duration::from_millis(at_ms);
        let recording = RECORDING;
        assert_eq!(self.desk.command(Command::End { recording, at }), None);
    }

    fn outcome(&mut self) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.mailbox.next() {
                Some(Mail::Recording(Event::Ended { outcome, .. })) => return outcome,
                Some(_) => panic!("mail of another kind"),
                None => thread::sleep(Duration::from_millis(1)),
            }
            assert!(Instant::now() < deadline, "the recorder reports");
        }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("recordings").join(path)
    }

    fn outcomes(&self) -> [u64; 3] {
        let counts = &self.counts;
        [&counts.complete, &counts.cut, &counts.failed].map(|it| it.load(Ordering::Relaxed))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.stop();
        }
    }
}

/// The frames of a file whose header is in order.
fn frames(path: &Path) -> Vec<[i16; 2]> {
    let bytes = fs::read(path).expect("a file");
    let (header, data) = bytes.split_at(wav::HEADER_BYTES);
    let frames = data.len() / wav::FRAME_BYTES;
    assert_eq!(
        header,
        wav::header(frames as u64),
        "the header counts what there is"
    );
    let sample = |bytes: &[u8]| i16::from_le_bytes([bytes[0], bytes[1]]);
    data.chunks_exact(wav::FRAME_BYTES)
        .map(|frame| [sample(frame), sample(&frame[2..])])
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("exists").permissions().mode() & 0o7777
}

#[test]
fn a_recording_becomes_a_file_for_our_own_eyes() {
    let mut world = World::new(0);
    world.begin(RECORDING, "d1/2026-01-02/x.wav");
    for at_ms in (0..1_000).step_by(20) {
        world.hear(at_ms, Side::A, MU, 1_000);
        world.hear(at_ms, Side::B, MU, -1_000);
    }
    world.end(1_000);
    let expected = Outcome {
        kept: true,
        duration_ms: 1_000,
        failure: None,
    };
    assert_eq!(world.outcome(), expected);
    let path = world.path("d1/2026-01-02/x.wav");
    let one = g711::decode_mu(g711::encode_mu(1_000));
    assert_eq!(frames(&path), vec![[one, -one]; 8_000]);
    assert_eq!(mode(&path), 0o600);
    for folder in ["", "d1", "d1/2026-01-02"] {
        assert_eq!(mode(&world.path(folder)), 0o700, "{folder}");
    }
    assert_eq!(world.outcomes(), [1, 0, 0]);
    assert_eq!(world.counts.bytes.load(Ordering::Relaxed), 32_000);
}

#[test]
fn while_it_runs_the_file_is_a_whole_one() {
    let mut world = World::new(0);
    world.begin(RECORDING, "d1/x.wav");
    world.hear(0, Side::A, MU, 1_000);
    let path = world.path("d1/x.wav");
    let deadline = Instant::now() + Duration::from_secs(20);
    // Nobody says anything for a second and a half, and the file grows all the same.
    while !fs::metadata(&path).is_ok_and(|it| it.len() > 16_000) {
        assert!(Instant::now() < deadline, "the file grows");
        thread::sleep(Duration::from_millis(5));
    }
    // Between the frames and the header that counts them there is a moment.
    while {
        let bytes = fs::read(&path).expect("a file");
        let frames = (bytes.len() - wav::HEADER_BYTES) / wav::FRAME_BYTES;
        bytes[..wav::HEADER_BYTES] != wav::header(frames as u64)
    } {
        assert!(Instant::now() < deadline, "the header follows");
    }
    assert!(frames(&path).len() >= 4_000);
    assert_eq!(world.counts.running.load(Ordering::Relaxed), 1);
}

#[test]
fn with_too_little_room_none_begins() {
    let mut world = World::new(u64::MAX / 2);
    world.begin(RECORDING, "d1/x.wav");
    let outcome = world.outcome();
    let failure = outcome.failure.clone().unwrap_or_default();
    assert!(
        !outcome.kept && failure.contains("recording_reserve_mib"),
        "{outcome:?}"
    );
    assert!(!world.path("d1/x.wav").exists());
    // What follows of it disturbs nobody.
    world.hear(0, Side::A, MU, 1);
    world.end(100);
    world.begin(RecordingId(6), "d1/y.wav");
    assert!(!world.outcome().kept);
    assert_eq!(world.outcomes(), [0, 0, 2]);
}

#[test]
fn no_path_leads_out_of_the_folder_and_no_file_is_overwritten() {
    let mut world = World::new(0);
    for path in ["../x.wav", "/tmp/x.wav", "d1/../../x.wav", "./x.wav"] {
        world.begin(RECORDING, path);
        let outcome = world.outcome();
        assert!(
            !outcome.kept && outcome.failure.is_some(),
            "{path}: {outcome:?}"
        );
    }
    assert_eq!(
        fs::read_dir(world.folder.path()).expect("readable").count(),
        0
    );
    world.begin(RECORDING, "d1/x.wav");
    world.begin(RecordingId(6), "d1/x.wav");
    assert!(
        world
            .outcome()
            .failure
            .is_some_and(|why| why.contains("exists"))
    );
}

#[test]
fn a_folder_that_cannot_be_is_a_failure_and_no_more() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let config = |folder| RecorderConfig {
        folder,
        reserve_mib: 0,
    };
    let mut world = World::with(config(Some(file.join("recordings"))), folder);
    world.begin(RECORDING, "d1/x.wav");
    assert!(!world.outcome().kept);
    let mut world = World::with(config(None), tempfile::tempdir().expect("temporary folder"));
    world.begin(RECORDING, "d1/x.wav");
    let failure = world.outcome().failure;
    assert_eq!(
        failure.as_deref(),
        Some("there is no folder for recordings")
    );
}

#[test]
fn a_codec_nobody_can_decode_is_named() {
    let mut world = World::new(0);
    world.begin(RECORDING, "d1/x.wav");
    let other = Meaning {
        coding: Coding::Other,
        ..MU
    };
    for at_ms in (0..200).step_by(20) {
        world.hear(at_ms, Side::B, other, 1);
    }
    world.end(200);
    let outcome = world.outcome();
    assert_eq!(outcome.duration_ms, 200);
    let failure = outcome.failure.expect("said");
    assert!(
        failure.contains("10 packets of the called side"),
        "{failure}"
    );
    assert_eq!(world.outcomes(), [0, 1, 0]);
}

#[test]
fn a_stop_finishes_what_runs() {
    let mut world = World::new(0);
    world.begin(RECORDING, "d1/x.wav");
    for at_ms in (0..100).step_by(20) {
        world.hear(at_ms, Side::A, MU, 1_000);
    }
    world.thread.take().expect("runs").stop();
    let frames = frames(&world.path("d1/x.wav"));
    assert!(frames.len() >= 800, "{}", frames.len());
    assert_ne!(frames[0], [0, 0]);
}

#[test]
fn a_recorder_that_is_behind_refuses_beginnings_and_gets_ends_later() {
    let (commands, mut mailbox) = mailbox::mailbox(1).expect("mailbox");
    let (mut queue, ..) = RecorderQueue::unread(1);
    queue.commands = commands;
    let mut desk = RecorderDesk::new(0, queue);
    let at = Instant::now();
    let begin = |recording| Command::Begin {
        recording,
        path: "x".into(),
        at,
    };
    assert_eq!(desk.command(begin(RECORDING)), None);
    let refused = desk.command(begin(RecordingId(6)));
    assert!(matches!(
        refused,
        Some(Event::Ended {
            recording: RecordingId(6),
            ..
        })
    ));
    let recording = RECORDING;
    assert_eq!(desk.command(Command::End { recording, at }), None);
    assert!(!desk.flush());
    assert!(mailbox.next().is_some());
    assert!(desk.flush());
    let command = Command::End { recording, at };
    assert!(
        matches!(mailbox.next(), Some(Order::Command { shard: 0, command: it }) if it == command)
    );
}
