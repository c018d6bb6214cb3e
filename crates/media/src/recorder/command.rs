//! What call control says to whoever writes recordings, and what it hears back.

use std::time::Instant;

/// Names a recording for as long as it runs; chosen by call control.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Ord, PartialOrd)]
pub struct RecordingId(pub u64);

/// From call control to the recorder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// A recording begins. Said before any relay is told to hand its packets over.
    Begin {
        /// The new recording.
        recording: RecordingId,
        /// The file, relative to the folder of recordings: plain names with `/` between them.
        path: String,
        /// When its time begins.
        at: Instant,
    },
    /// It is over, and no packet of it is on its way any more. Answered by [`Event::Ended`], unless that was said
    /// before.
    End {
        /// Which recording.
        recording: RecordingId,
        /// When its time ends.
        at: Instant,
    },
}

/// From the recorder to call control.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A recording has ended: because it was told to, or because it had to.
    Ended {
        /// Which recording.
        recording: RecordingId,
        /// What there is of it.
        outcome: Outcome,
    },
}

keep::keep!(struct Outcome { kept, duration_ms, failure });

/// What there is of a recording.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// There is a file.
    pub kept: bool,
    /// How much is in it.
    pub duration_ms: u64,
    /// Why it is not all of the call.
    pub failure: Option<String>,
}
