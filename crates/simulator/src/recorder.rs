//! The recorder of a world: it writes nothing, but remembers what it was told.

use media::recorder::{Command, Event, Outcome, RecordingId};
use media::relay::RelayId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How a recorder does its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Mood {
    /// Well.
    #[default]
    Works,
    /// It begins no recording, for this reason.
    Refuses(String),
    /// It never says a word, as one that hangs in a write.
    Hangs,
}

/// One recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The file as it was asked for.
    pub path: String,
    /// Relays that handed their packets over, one after the other.
    pub relays: Vec<RelayId>,
    /// The relay that does so now.
    pub heard: Option<RelayId>,
    /// When its time began, since the start of the world.
    pub begun: Duration,
    /// When its time ended.
    pub ended: Option<Duration>,
}

/// All recordings of a world.
#[derive(Debug, Default)]
pub struct Recorder {
    /// How it works from now on.
    pub mood: Mood,
    /// Of processes that are gone.
    past: Vec<Recording>,
    recordings: BTreeMap<RecordingId, Recording>,
    /// What was told that makes no sense.
    faults: Vec<String>,
}

impl Recorder {
    /// Recordings in the order of their beginnings.
    pub fn recordings(&self) -> impl Iterator<Item = &Recording> {
        self.past.iter().chain(self.recordings.values())
    }

    /// Commands that made no sense: packets for a recording that has not begun, an end without a beginning.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Ends all recordings that run, as a full disk does.
    pub fn fail(&mut self, now: Duration, why: &str) -> Vec<Event> {
        let mut events = Vec::new();
        for (recording, it) in &mut self.recordings {
            if it.ended.is_none() {
                it.ended = Some(now);
                events.push(ended(*recording, it, Some(why.to_owned())));
            }
        }
        events
    }

    /// The process ends, and all recordings that run with it.
    pub(crate) fn die(&mut self, now: Duration) {
        for (_, mut recording) in std::mem::take(&mut self.recordings) {
            recording.ended.get_or_insert(now);
            recording.heard = None;
            self.past.push(recording);
        }
    }

    /// Obeys. `start` is the beginning of the world.
    pub(crate) fn command(&mut self, start: Instant, command: Command) -> Option<Event> {
        match command {
            Command::Begin {
                recording,
                path,
                at,
            } => {
                if let Mood::Refuses(why) = &self.mood {
                    let outcome = Outcome {
                        failure: Some(why.clone()),
                        ..Outcome::default()
                    };
                    return Some(Event::Ended { recording, outcome });
                }
                let written = |it: &Recording| it.path == path && it.ended > Some(it.begun);
                if self.recordings().any(written) {
                    self.faults.push(format!("{path} is written over"));
                }
                let begun = Recording {
                    path,
                    relays: Vec::new(),
                    heard: None,
                    begun: at - start,
                    ended: None,
                };
                if self.recordings.insert(recording, begun).is_some() {
                    self.faults.push(format!("{recording:?} begins twice"));
                }
                None
            }
            Command::End { recording, at } => {
                let Some(it) = self.recordings.get_mut(&recording) else {
                    self.faults
                        .push(format!("{recording:?} ends and never began"));
                    return None;
                };
                if it.ended.replace(at - start).is_some() {
                    self.faults.push(format!("{recording:?} ends twice"));
                }
                (self.mood != Mood::Hangs).then(|| ended(recording, it, None))
            }
        }
    }

    /// A relay hands its packets over, or no longer.
    pub(crate) fn heard(&mut self, relay: RelayId, recording: Option<RecordingId>) {
        let others = self.recordings.values_mut();
        others
            .filter(|it| it.heard == Some(relay))
            .for_each(|it| it.heard = None);
        let Some(id) = recording else { return };
        match self.recordings.get_mut(&id) {
            Some(it) => {
                it.heard = Some(relay);
                it.relays.push(relay);
            }
            // Packets of a recording that was refused are thrown away.
            None if matches!(self.mood, Mood::Refuses(_)) => {}
            None => self
                .faults
                .push(format!("packets of {id:?} before it began")),
        }
    }
}

fn ended(recording: RecordingId, it: &Recording, failure: Option<String>) -> Event {
    let duration = it.ended.unwrap_or(it.begun) - it.begun;
    let outcome = Outcome {
        kept: true,
        duration_ms: duration.as_millis() as u64,
        failure,
    };
    Event::Ended { recording, outcome }
}
