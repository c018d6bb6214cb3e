//! The media lines of a call and the life of their relays: opened, used, closed.

use super::{Body, CallMedia};
use crate::core::Core;
use ::media::relay::{
    Command, Conversion, Noise, RelayId, RelayStats, Ringback, Side, Silent, Traffic,
};
use ::media::sdp::Session;
use std::time::Duration;

/// One media line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) relay: RelayId,
    pub(super) traffic: Traffic,
    /// What it carried before the offer that is on the table, if that changes it.
    pub(super) traffic_before: Option<Traffic>,
    /// Our RTP ports towards the two sides; zero until the relay is open.
    pub(super) a_port: u16,
    pub(super) b_port: u16,
    /// What packets to each side need so that it understands them.
    pub(super) conversions: [Option<Conversion>; 2],
    /// The codec that each side speaks, by the last answer.
    pub(super) codecs: [Option<String>; 2],
    pub(super) expects_a: bool,
    pub(super) expects_b: bool,
    /// What the two sides are sent in pauses, by the last answer.
    pub(super) noise: [Option<Noise>; 2],
    /// What silence is for the called side, should its caller leave before it may.
    pub(super) silence: Option<Noise>,
    /// A ringing tone as the caller understands it, by the last answer.
    pub(super) ringback: Option<Ringback>,
    /// By the last description, it carries audio that a recorder can be handed.
    pub(super) is_audio: bool,
    pub(super) stats: Option<Box<RelayStats>>,
    pub(super) state: LineState,
}

// Statistics are of one process.
keep::keep!(struct Line {
    relay, traffic, traffic_before, a_port, b_port, conversions, codecs, expects_a, expects_b, noise, silence, ringback, is_audio,
    state; stats: None,
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineState {
    Opening,
    Open,
    Closing,
    Closed,
}

keep::keep!(enum LineState { 0 = Opening, 1 = Open, 2 = Closing, 3 = Closed });

impl CallMedia {
    /// Makes sure that every line that can be relayed has a relay. True when one is still being opened.
    pub(super) fn open_lines(&mut self, core: &mut Core, session: &Session) -> bool {
        let count = session.media.len().max(self.lines.len());
        self.lines.resize_with(count, || None);
        for (index, media) in session.media.iter().enumerate() {
            let Some(traffic) = Traffic::of(media).filter(|_| media.is_active()) else {
                continue;
            };
            // SRTP is opened and sealed at the relay, which therefore carries RTP.
            let traffic = match traffic {
                Traffic::Srtp => Traffic::Rtp,
                traffic => traffic,
            };
            match &mut self.lines[index] {
                Some(line) if line.traffic == traffic => {}
                Some(line) => {
                    line.traffic_before.get_or_insert(line.traffic);
                    line.traffic = traffic;
                    core.media(Command::Traffic {
                        relay: line.relay,
                        traffic,
                    });
                }
                None => self.open_line(core, index, traffic),
            }
        }
        self.is_opening()
    }

    pub(super) fn open_line(&mut self, core: &mut Core, index: usize, traffic: Traffic) {
        let relay = core.next_relay(self.call);
        // Only the first stream's silence ends a call.
        let timeout = if self.lines.iter().flatten().next().is_none() {
            self.timeout
        } else {
            Duration::ZERO
        };
        core.media(Command::Open {
            relay,
            a: self.a.bind,
            b: self.b.bind,
            timeout,
            traffic,
        });
        for (side, face) in [(Side::A, &self.a), (Side::B, &self.b)] {
            if face.policy.latch_once {
                core.media(Command::LatchOnce { relay, side });
            }
        }
        self.lines[index] = Some(Line {
            relay,
            traffic,
            traffic_before: None,
            a_port: 0,
            b_port: 0,
            conversions: [None, None],
            codecs: [None, None],
            expects_a: false,
            expects_b: false,
            noise: [None; 2],
            silence: None,
            ringback: None,
            is_audio: false,
            stats: None,
            state: LineState::Opening,
        });
    }

    fn is_opening(&self) -> bool {
        self.lines
            .iter()
            .flatten()
            .any(|line| line.state == LineState::Opening)
    }

    /// A relay is open. Returns the side whose offer waited for it and the body to pass on.
    pub(crate) fn opened(
        &mut self,
        core: &mut Core,
        relay: RelayId,
        a_port: u16,
        b_port: u16,
        setup: bool,
    ) -> Option<(Side, Body)> {
        let line = self.line_mut(relay)?;
        if line.state == LineState::Closing {
            core.media(Command::Close { relay });
            return None;
        }
        if line.state == LineState::Open {
            // Of an earlier process, on the ports it had.
            return None;
        }
        (line.a_port, line.b_port, line.state) = (a_port, b_port, LineState::Open);
        if self.is_opening() {
            return None;
        }
        let side = self.waiting.take()?;
        if setup {
            self.accept_offer(core, side);
        }
        Some((side, self.offer_for_other(side)))
    }

    /// There are no ports for a relay. Returns the side whose offer waited for it.
    pub(crate) fn open_failed(&mut self, relay: RelayId) -> Option<Side> {
        let line = self.line_mut(relay)?;
        line.state = LineState::Closed;
        let side = self.waiting.take();
        self.offered = None;
        side
    }

    /// Whether the call is over for its media: everybody who should be heard is silent.
    pub(crate) fn is_dead(&self, relay: RelayId, silent: Silent) -> bool {
        // A second line, video say, may rest for as long as it likes.
        let first = self.lines.iter().flatten().next();
        first.is_some_and(|line| {
            line.relay == relay
                && match silent {
                    Silent::Both => true,
                    Silent::A => !line.expects_b,
                    Silent::B => !line.expects_a,
                }
        })
    }

    /// Whether this relay carries the line that a call cannot do without: the first.
    pub(crate) fn is_first(&self, relay: RelayId) -> bool {
        let first = self.lines.iter().flatten().next();
        first.is_some_and(|line| line.relay == relay)
    }

    /// Closes all relays; their statistics follow.
    pub(crate) fn close(&mut self, core: &mut Core) {
        for line in self.lines.iter_mut().flatten() {
            match line.state {
                LineState::Open => {
                    line.state = LineState::Closing;
                    core.media(Command::Close { relay: line.relay });
                }
                LineState::Opening => line.state = LineState::Closing,
                LineState::Closing | LineState::Closed => {}
            }
        }
    }

    /// A relay is closed.
    pub(crate) fn closed(&mut self, core: &mut Core, relay: RelayId, stats: Box<RelayStats>) {
        if let Some(line) = self.line_mut(relay) {
            line.stats = Some(stats);
            line.state = LineState::Closed;
        }
        core.disown_relay(relay);
    }

    /// Whether no relay is open any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.all_lines().all(|line| line.state == LineState::Closed)
    }

    /// Relays of this call, for the call that is dropped without their statistics.
    pub(crate) fn relays(&self) -> impl Iterator<Item = RelayId> {
        self.all_lines().map(|line| line.relay)
    }

    pub(super) fn all_lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().flatten().chain(&self.spent)
    }

    fn line_mut(&mut self, relay: RelayId) -> Option<&mut Line> {
        self.lines
            .iter_mut()
            .flatten()
            .chain(&mut self.spent)
            .find(|line| line.relay == relay)
    }
}
