//! `connection-record-all-calls-enabled`: every answered call through the connection is recorded, whichever side calls.
//!
//! The recording begins with the answer and ends with the call; hold and whatever else is agreed in between do not
//! interrupt it. Relays hand their packets to the recorder, so there has to be one: [`asked`] is a reason for it. The
//! recorder reports once, when a recording has ended or had to; the call's record waits for that as it does for the
//! relay's statistics, and not longer.

use super::{Call, terms};
use crate::core::Core;
use crate::directory::Connection;
use crate::switch::Output;
use crate::trail::Trail;
use ::media::recorder::{Command, Outcome, RecordingId};
use jiff::Timestamp;
use model::cdr::CdrRecording;

/// The folder of all recordings, within the data folder.
pub const FOLDER: &str = "recordings";

/// Bytes of a domain in a file's path. No domain that can be created is longer.
const MAX_DOMAIN_BYTES: usize = 64;

/// The recording of a call.
#[derive(Debug)]
pub(crate) struct Recording {
    id: RecordingId,
    /// Relative to [`FOLDER`].
    path: String,
    owner: String,
    state: State,
    /// Parts that earlier processes have written.
    parts_before: u32,
}

// The recorder knows it by another number after a restart.
keep::keep!(struct Recording { path, owner, state, parts_before; id: RecordingId(0) });

#[derive(Debug)]
enum State {
    Running,
    /// It was told to end.
    Ending,
    Over(Outcome),
}

keep::keep!(enum State { 0 = Running, 1 = Ending, 2 = Over(outcome) });

/// Whether calls between two connections are recorded.
pub(crate) fn asked(source: &model::Connection, target: &model::Connection) -> bool {
    source.connection_record_all_calls_enabled || target.connection_record_all_calls_enabled
}

/// The call is answered: its recording begins, if one is asked for.
pub(super) fn begin(core: &mut Core, call: &mut Call) {
    let (source, _) = call.failover.origin();
    if !asked(&source.record, &call.plan.target.record) {
        return;
    }
    // Where both ask, it belongs to the side that called.
    let leg = match source.record.connection_record_all_calls_enabled {
        true => &call.a.record,
        false => &call.b.record,
    };
    let owner =
        terms::booked(leg, &call.domain).unwrap_or_else(|| format!("domain@{}", call.domain));
    let id = core.next_recording(call.key);
    let path = path(&owner, core.clock.unix_ms, &call.id);
    let state = if call.media.has_audio() {
        // The recorder has to know of it before the first packet.
        core.push(Output::Recording(Command::Begin {
            recording: id,
            path: path.clone(),
            at: core.clock.now,
        }));
        call.media.record(core, Some(id));
        State::Running
    } else {
        State::Over(Outcome {
            failure: Some("no audio of the call passes the relay".to_owned()),
            ..Outcome::default()
        })
    };
    call.recording = Some(Box::new(Recording {
        id,
        path,
        owner,
        state,
        parts_before: 0,
    }));
}

/// Goes on with the recording of an earlier process, in another file: nobody knows how far the first was written.
pub(crate) fn resume(core: &mut Core, call: &mut Call) {
    let Some(recording) = call.recording.as_deref_mut() else {
        return;
    };
    if !matches!(recording.state, State::Running) {
        return;
    }
    recording.id = core.next_recording(call.key);
    recording.parts_before += 1;
    let (id, path) = (recording.id, recording.part_path());
    core.push(Output::Recording(Command::Begin {
        recording: id,
        path,
        at: core.clock.now,
    }));
    call.media.record(core, Some(id));
}

/// The recording of a call that does not go on after a restart ended with the earlier process.
pub(crate) fn break_off(call: &mut Call) {
    if let Some(recording) = call.recording.as_deref_mut() {
        recording.break_off();
    }
}

impl Recording {
    /// Nobody is going to say what became of it.
    pub(crate) fn break_off(&mut self) {
        if !matches!(self.state, State::Over(_)) {
            self.state = State::Over(Outcome {
                kept: true,
                duration_ms: 0,
                failure: Some("it was broken off when the switch was restarted".to_owned()),
            });
        }
    }

    /// The file of the part that is written now, relative to [`FOLDER`].
    fn part_path(&self) -> String {
        match (self.parts_before, self.path.strip_suffix(".wav")) {
            (0, _) | (_, None) => self.path.clone(),
            (before, Some(path)) => format!("{path}-{}.wav", before + 1),
        }
    }
}

/// The recorder reports the end of the recording.
pub(crate) fn on_ended(core: &mut Core, call: &mut Call, outcome: Outcome) {
    if let Some(recording) = &mut call.recording {
        recording.state = State::Over(outcome);
        call.media.record(core, None);
    }
}

/// No relay of the call is open any more: the recording ends. True once that is reported, or where there is none.
pub(crate) fn has_ended(core: &mut Core, call: &mut Call) -> bool {
    let Some(recording) = &mut call.recording else {
        return true;
    };
    if matches!(recording.state, State::Running) {
        recording.state = State::Ending;
        core.push(Output::Recording(Command::End {
            recording: recording.id,
            at: core.clock.now,
        }));
    }
    matches!(recording.state, State::Over(_))
}

/// Whether the recorder still owes us a word.
pub(super) fn is_open(call: &Call) -> bool {
    let recording = call.recording.as_ref();
    recording.is_some_and(|it| !matches!(it.state, State::Over(_)))
}

/// The identifier of the call's recording.
pub(crate) fn id(call: &Call) -> Option<RecordingId> {
    call.recording.as_ref().map(|recording| recording.id)
}

/// What the call's record says.
pub(crate) fn cdr(recording: Recording) -> CdrRecording {
    let path = recording.part_path();
    let mut outcome = match recording.state {
        State::Over(outcome) => outcome,
        State::Running | State::Ending => Outcome {
            kept: true,
            duration_ms: 0,
            failure: Some("the recorder did not report in time".to_owned()),
        },
    };
    if recording.parts_before > 0 {
        let missing = outcome
            .failure
            .map_or_else(String::new, |why| format!("; {why}"));
        outcome.failure = Some(format!(
            "the switch was restarted: what came before is in {FOLDER}/{}, and this is part {}{missing}",
            recording.path,
            recording.parts_before + 1
        ));
    }
    CdrRecording {
        path: outcome.kept.then(|| format!("{FOLDER}/{path}")),
        owner: recording.owner,
        duration_ms: outcome.duration_ms,
        failure: outcome.failure,
    }
}

/// Notes in the trail which record asks for a recording.
pub(super) fn note(source: &Connection, target: &Connection, trail: &mut Trail) {
    for connection in [source, target] {
        if connection.record.connection_record_all_calls_enabled {
            trail.step("recording", Some(connection.label()), || {
                "the call is recorded once it is answered".to_owned()
            });
        }
    }
}

/// Where the recording of a call that was answered at a moment lies, relative to [`FOLDER`].
fn path(owner: &str, answered_ms: i64, call: &str) -> String {
    let (_, domain) = owner.split_once('@').unwrap_or(("", owner));
    let day = Timestamp::from_millisecond(answered_ms).unwrap_or_default();
    let day = day.strftime("%Y-%m-%d");
    format!("{}/{day}/{call}.wav", folder_name(domain))
}

/// A domain as the name of a folder, whatever is in it: no separator, no hidden folder, not the parent.
fn folder_name(domain: &str) -> String {
    let mut name = String::new();
    for (index, byte) in domain.bytes().take(MAX_DOMAIN_BYTES).enumerate() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_')
            || (byte == b'.' && index > 0);
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.is_empty() {
        "%".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_plain_whatever_the_domain_is_called() {
        let path = |owner: &str| path(owner, 1_795_176_000_000, "018-01-ab");
        assert_eq!(
            path("domain@acme.example"),
            "acme.example/2026-11-20/018-01-ab.wav"
        );
        assert_eq!(path("1000@*"), "%2A/2026-11-20/018-01-ab.wav");
        assert_eq!(
            path("1000@../../etc"),
            "%2E.%2F..%2Fetc/2026-11-20/018-01-ab.wav"
        );
        assert_eq!(path("1000@.."), "%2E./2026-11-20/018-01-ab.wav");
        assert_eq!(path("1000@"), "%/2026-11-20/018-01-ab.wav");
        assert_eq!(path("1000@ä\0\n"), "%C3%A4%00%0A/2026-11-20/018-01-ab.wav");
        assert!(path(&format!("1@{}", "*".repeat(1_000))).len() < 255);
    }
}
