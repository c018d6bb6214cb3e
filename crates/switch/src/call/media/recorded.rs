//! Which relay a recording hears: that of the first audio line, whichever that is at the moment.

use super::CallMedia;
use super::lines::LineState;
use crate::core::Core;
use ::media::recorder::RecordingId;
use ::media::relay::{Command, RelayId};

/// A recording that runs, and the relay that hands its packets over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded {
    recording: RecordingId,
    relay: RelayId,
}

impl CallMedia {
    /// Whether a recording would hear anything.
    pub(crate) fn has_audio(&self) -> bool {
        self.audio().is_some()
    }

    /// Lets a recording hear the call from now on, or none.
    pub(crate) fn record(&mut self, core: &mut Core, recording: Option<RecordingId>) {
        if let Some(Recorded { relay, .. }) = self.recorded.take() {
            self.tell(core, relay, None);
        }
        let heard = recording.zip(self.audio());
        self.recorded = heard.map(|(recording, relay)| {
            self.tell(core, relay, Some(recording));
            Recorded { recording, relay }
        });
    }

    /// What was described anew may have moved the audio to another line.
    pub(super) fn follow_audio(&mut self, core: &mut Core) {
        if let (Some(recorded), Some(relay)) = (self.recorded, self.audio())
            && relay != recorded.relay
        {
            self.record(core, Some(recorded.recording));
        }
    }

    fn tell(&self, core: &mut Core, relay: RelayId, recording: Option<RecordingId>) {
        // A relay that is closed hands nothing over any more.
        if self.is_usable(relay) {
            core.media(Command::Record { relay, recording });
        }
    }

    /// Whether a relay of the call is open.
    pub(crate) fn is_usable(&self, relay: RelayId) -> bool {
        let mut lines = self.all_lines();
        lines.any(|line| line.relay == relay && line.state == LineState::Open)
    }

    fn audio(&self) -> Option<RelayId> {
        let mut lines = self.lines.iter().flatten();
        lines
            .find(|line| line.is_audio && line.state == LineState::Open)
            .map(|line| line.relay)
    }
}
