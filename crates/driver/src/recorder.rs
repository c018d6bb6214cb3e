//! Writes recordings without ever making a media thread or a shard wait.
//!
//! Media threads put copies of packets into a bounded queue, shards say when a recording begins and ends. One thread
//! takes both, lets [`media::recorder::Recorder`] make a stream of each recording, and writes it twice a second. While
//! the disk is slow the queue fills up; when it is full packets are thrown away and counted, and a recording has a gap.
//! A recording that cannot be written ends, with one line in the log, and its call goes on.
//!
//! The thread looks into its queue by itself, twenty times a second while anything is recorded: no packet wakes it, so
//! that a media thread pays a copy and nothing else.

mod desk;
mod file;

pub(crate) use desk::RecorderDesk;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use media::recorder::{Command, Event, Meaning, Outcome, Recorder, RecordingId};
use media::relay::{Heard, Side};
use sockets::{Poller, Ready};
use tokio::sync::mpsc;
use tracing::{error, warn};

use self::file::{Cut, RecordingFile};
use crate::mailbox::{self, Mailbox, Refused, Sender};
use crate::shards::Mail;

/// Recordings at the same time: each has an open file.
pub(crate) const RECORDINGS_MAX: usize = 4096;

/// Commands that wait. A call makes two.
const COMMANDS: usize = 16_384;

/// Packets that wait: more than a second of three hundred recorded calls. Memory is taken as they come.
const PACKETS: usize = 32_768;

/// Packets that one turn takes before it writes again.
const PACKETS_PER_TURN: usize = PACKETS;

/// How often the queue is looked into.
const PACE: Duration = Duration::from_millis(50);

/// How often a recording is written.
const FLUSH: Duration = Duration::from_millis(500);

/// The longest recording. What goes on longer was forgotten, and would fill any disk.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Where recordings go.
#[derive(Clone, Debug)]
pub(crate) struct RecorderConfig {
    /// The folder; without one there are no recordings.
    pub(crate) folder: Option<PathBuf>,
    /// Room that is left to others: with less, no recording begins.
    pub(crate) reserve_mib: u64,
}

/// Counts for the metrics.
#[derive(Default)]
pub(crate) struct RecorderCounts {
    /// Recordings now.
    pub(crate) running: AtomicUsize,
    /// Recordings that are all of their call.
    pub(crate) complete: AtomicU64,
    /// Recordings that are not.
    pub(crate) cut: AtomicU64,
    /// Recordings of which there is no file.
    pub(crate) failed: AtomicU64,
    /// Packets thrown away because the thread was behind.
    pub(crate) lost: AtomicU64,
    /// Bytes written.
    pub(crate) bytes: AtomicU64,
    pub(crate) panics: AtomicU64,
}

enum Order {
    Command { shard: u16, command: Command },
    Stop,
}

/// A packet on its way to the recorder.
pub(crate) struct Copied {
    pub(crate) recording: RecordingId,
    pub(crate) from: Side,
    pub(crate) meaning: Meaning,
    pub(crate) at: Instant,
    pub(crate) packet: Box<[u8]>,
}

/// What leads to the recorder.
#[derive(Clone)]
pub(crate) struct RecorderQueue {
    commands: Sender<Order>,
    packets: mpsc::Sender<Copied>,
    counts: Arc<RecorderCounts>,
}

impl RecorderQueue {
    /// Copies a packet into the queue, or counts it as lost. Never waits.
    pub(crate) fn hear(&self, at: Instant, heard: Heard<'_>) {
        let copied = Copied {
            recording: heard.recording,
            from: heard.from,
            meaning: heard.meaning,
            at,
            packet: heard.packet.into(),
        };
        if self.packets.try_send(copied).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
impl RecorderQueue {
    /// A queue with room for so many packets, and its other end, which no recorder reads.
    pub(crate) fn unread(packets: usize) -> (Self, mpsc::Receiver<Copied>, Arc<RecorderCounts>) {
        let (commands, _) = mailbox::mailbox(1).expect("mailbox");
        let (packets, copied) = mpsc::channel(packets);
        let counts = Arc::new(RecorderCounts::default());
        let queue = Self {
            commands,
            packets,
            counts: Arc::clone(&counts),
        };
        (queue, copied, counts)
    }
}

/// The thread.
pub(crate) struct RecorderThread {
    commands: Sender<Order>,
    thread: thread::JoinHandle<()>,
}

impl RecorderThread {
    /// Starts the thread; it reports to `shards`, by their numbers.
    pub(crate) fn start(
        config: RecorderConfig,
        shards: Vec<Sender<Mail>>,
        counts: Arc<RecorderCounts>,
    ) -> io::Result<(RecorderQueue, Self)> {
        let (commands, mailbox) = mailbox::mailbox(COMMANDS)?;
        let (packets, copied) = mpsc::channel(PACKETS);
        let poller = Poller::new()?;
        poller.add(mailbox.waker(), 0)?;
        let queue = RecorderQueue {
            commands: commands.clone(),
            packets,
            counts: Arc::clone(&counts),
        };
        let worker = Worker {
            config,
            mailbox,
            packets: copied,
            shards,
            unsaid: VecDeque::new(),
            running: HashMap::new(),
            counts,
            poller,
            ready: Ready::new(1),
        };
        let thread = thread::Builder::new()
            .name("recorder".into())
            .spawn(move || worker.run())?;
        Ok((queue, Self { commands, thread }))
    }

    /// Finishes the files and ends. Nobody may send any more.
    pub(crate) fn stop(self) {
        let mut mail = Order::Stop;
        while let Err(Refused::Full(back)) = self.commands.try_send(mail) {
            mail = back;
            thread::sleep(PACE);
        }
        if self.thread.join().is_err() {
            error!("the recorder had panicked");
        }
    }
}

/// A recording that runs.
struct Running {
    /// Who is told of its end.
    shard: u16,
    path: String,
    recorder: Recorder,
    file: RecordingFile,
    next_flush: Instant,
}

struct Worker {
    config: RecorderConfig,
    mailbox: Mailbox<Order>,
    packets: mpsc::Receiver<Copied>,
    shards: Vec<Sender<Mail>>,
    /// Events for which a shard had no room: one per recording.
    unsaid: VecDeque<(u16, Event)>,
    running: HashMap<RecordingId, Running>,
    counts: Arc<RecorderCounts>,
    poller: Poller,
    ready: Ready,
}

impl Worker {
    fn run(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(true) => self.sleep(),
                Ok(false) => break,
                Err(_) => {
                    self.counts.panics.fetch_add(1, Ordering::Relaxed);
                    error!("the recorder panicked and goes on");
                }
            }
        }
    }

    /// Beginnings, packets, ends, in this order: whoever ends a recording has seen its last packet into the queue, and
    /// the queue is read after the command. `false` when told to stop.
    fn turn(&mut self) -> bool {
        let mut ends = Vec::new();
        let mut stop = false;
        while let Some(mail) = self.mailbox.next() {
            match mail {
                Order::Command { shard, command } => match command {
                    Command::Begin {
                        recording,
                        path,
                        at,
                    } => self.begin(shard, recording, path, at),
                    Command::End { recording, at } => ends.push((recording, at)),
                },
                Order::Stop => stop = true,
            }
        }
        for _ in 0..PACKETS_PER_TURN {
            let Ok(copied) = self.packets.try_recv() else {
                break;
            };
            self.hear(&copied);
        }
        for (recording, at) in ends {
            self.end(recording, at);
        }
        let now = Instant::now();
        if stop {
            let left: Vec<_> = self.running.keys().copied().collect();
            left.into_iter()
                .for_each(|recording| self.end(recording, now));
        }
        self.flush(now);
        self.say();
        self.counts
            .running
            .store(self.running.len(), Ordering::Relaxed);
        !stop
    }

    fn begin(&mut self, shard: u16, recording: RecordingId, path: String, at: Instant) {
        match self.create(&path) {
            Ok(file) => {
                let running = Running {
                    shard,
                    path,
                    recorder: Recorder::new(at),
                    file,
                    next_flush: at + FLUSH,
                };
                self.running.insert(recording, running);
            }
            Err(why) => {
                warn!(path, %why, "a call is not recorded");
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                let outcome = Outcome {
                    failure: Some(why.to_string()),
                    ..Outcome::default()
                };
                self.unsaid
                    .push_back((shard, Event::Ended { recording, outcome }));
            }
        }
    }

    fn create(&self, path: &str) -> Result<RecordingFile, Cut> {
        let folder = self.config.folder.as_deref().ok_or(Cut::NoFolder)?;
        if self.running.len() >= RECORDINGS_MAX {
            return Err(Cut::TooMany);
        }
        RecordingFile::create(folder, path, self.config.reserve_mib)
    }

    fn hear(&mut self, copied: &Copied) {
        self.work(copied.recording, |running, _| {
            let Copied {
                at, from, meaning, ..
            } = *copied;
            running.recorder.hear(at, from, meaning, &copied.packet);
            Ok(())
        });
    }

    fn end(&mut self, recording: RecordingId, at: Instant) {
        self.work(recording, |running, counts| {
            running.recorder.end(at);
            running.write(at, counts)
        });
        // One that had to end before has said so.
        self.close(recording, None);
    }

    /// Writes the recordings whose turn it is.
    fn flush(&mut self, now: Instant) {
        let due = self.running.iter().filter(|(_, it)| it.next_flush <= now);
        let due: Vec<_> = due.map(|(recording, _)| *recording).collect();
        for recording in due {
            self.work(recording, |running, counts| {
                running.next_flush = now + FLUSH;
                running.write(now, counts)
            });
        }
    }

    /// Works on a recording, and closes it when that fails. A bug that one of its packets uncovers costs this recording
    /// alone.
    fn work(
        &mut self,
        recording: RecordingId,
        work: impl FnOnce(&mut Running, &RecorderCounts) -> Result<(), Cut>,
    ) {
        let Some(running) = self.running.get_mut(&recording) else {
            return;
        };
        let counts = &self.counts;
        let done = catch_unwind(AssertUnwindSafe(|| work(running, counts)));
        let done = done.unwrap_or_else(|_| {
            self.counts.panics.fetch_add(1, Ordering::Relaxed);
            Err(Cut::Panicked)
        });
        if let Err(why) = done {
            self.close(recording, Some(why));
        }
    }

    /// Lets go of a recording and reports what there is of it.
    fn close(&mut self, recording: RecordingId, cut: Option<Cut>) {
        let Some(running) = self.running.remove(&recording) else {
            return;
        };
        let failure = match &cut {
            Some(why) => {
                warn!(path = running.path, %why, "a recording ends before its call");
                Some(why.to_string())
            }
            None => running.unknown(),
        };
        let counter = match failure {
            Some(_) => &self.counts.cut,
            None => &self.counts.complete,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let outcome = Outcome {
            kept: true,
            duration_ms: running.file.duration().as_millis() as u64,
            failure,
        };
        self.unsaid
            .push_back((running.shard, Event::Ended { recording, outcome }));
    }

    /// Tells the shards what they have room for; the rest waits for the next turn.
    fn say(&mut self) {
        for _ in 0..self.unsaid.len() {
            let Some((shard, event)) = self.unsaid.pop_front() else {
                break;
            };
            let Some(mailbox) = self.shards.get(usize::from(shard)) else {
                continue;
            };
            if let Err(Refused::Full(Mail::Recording(event))) =
                mailbox.try_send(Mail::Recording(event))
            {
                self.unsaid.push_back((shard, event));
            }
        }
    }

    fn sleep(&mut self) {
        let busy = !self.running.is_empty() || !self.unsaid.is_empty();
        let timeout = match (self.mailbox.may_sleep(), busy) {
            (false, _) => Some(Duration::ZERO),
            (true, true) => Some(PACE),
            (true, false) => None,
        };
        if let Err(error) = self.poller.wait(&mut self.ready, timeout) {
            error!(%error, "the recorder cannot wait for commands");
            thread::sleep(PACE);
        }
        self.mailbox.awake();
    }
}

impl Running {
    /// Writes what can be handed out at a moment.
    fn write(&mut self, now: Instant, counts: &RecorderCounts) -> Result<(), Cut> {
        let mut frames = Vec::new();
        let mut more = true;
        while more {
            more = self.recorder.take(now, &mut frames);
            let written = self.file.append(&frames)?;
            counts.bytes.fetch_add(written, Ordering::Relaxed);
            frames.clear();
            if self.file.duration() >= DURATION_MAX {
                return Err(Cut::TooLong);
            }
        }
        Ok(())
    }

    /// Which side is silent because nobody here understands its codec.
    fn unknown(&self) -> Option<String> {
        let sides = [(Side::A, "calling"), (Side::B, "called")];
        let unknown: Vec<_> = sides
            .iter()
            .map(|(side, name)| (self.recorder.counts(*side).unknown, name))
            .filter(|(packets, _)| *packets > 0)
            .map(|(packets, name)| format!("{packets} packets of the {name} side"))
            .collect();
        (!unknown.is_empty()).then(|| {
            format!(
                "{} are in no codec that can be recorded",
                unknown.join(" and ")
            )
        })
    }
}

#[cfg(test)]
mod tests;
