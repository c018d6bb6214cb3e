//! The INVITE server transaction: RFC 3261 §17.2.1 (figure 7) with the Accepted state of RFC 6026 §7.1.

use std::time::Duration;

use bytes::Bytes;
use keep::{Keep, Writer};

use super::Context;
use super::timers::{Letter, TimerId};
use crate::endpoint::Flow;
use crate::message::Message;

enum State {
    /// No final response yet. The last provisional is repeated when the INVITE is.
    Proceeding {
        last: Bytes,
    },
    /// A failure went out and waits for its ACK.
    Completed {
        last: Bytes,
        interval: Duration,
    },
    /// The failure was acknowledged.
    Confirmed,
    /// A 2xx went out. The session repeats it; here repeated INVITEs are absorbed.
    Accepted,
    Terminated,
}

/// One INVITE that came in.
pub(crate) struct InviteServer {
    state: State,
    reply: Flow,
    reliable: bool,
    /// Nobody asks for it once a 2xx is out.
    request: Option<Message>,
    /// G while completed, I or L later.
    timer: Option<TimerId>,
    /// H.
    give_up: Option<TimerId>,
}

impl InviteServer {
    /// Takes the INVITE and answers `trying` at once, so that nobody repeats it.
    pub(crate) fn start(
        cx: &mut Context<'_>,
        reply: Flow,
        reliable: bool,
        request: Message,
        trying: Bytes,
    ) -> Self {
        cx.transmit(reply, trying.clone());
        Self {
            state: State::Proceeding { last: trying },
            reply,
            reliable,
            request: Some(request),
            timer: None,
            give_up: None,
        }
    }

    /// Goes on with an INVITE that an earlier process has taken.
    pub(crate) fn resume(reply: Flow, reliable: bool, request: Message, trying: Bytes) -> Self {
        Self {
            state: State::Proceeding { last: trying },
            reply,
            reliable,
            request: Some(request),
            timer: None,
            give_up: None,
        }
    }

    /// Writes a refusal that may have to be repeated, as `endpoint::Kept` is read.
    pub(crate) fn keep_refusal(&self, out: &mut Writer) {
        let (State::Completed { last, .. }, Some(request)) = (&self.state, &self.request) else {
            // Acknowledged: nothing has to be repeated.
            out.byte(0);
            return;
        };
        let status = std::str::from_utf8(last.get(8..11).unwrap_or_default());
        let status: u16 = status.ok().and_then(|it| it.parse().ok()).unwrap_or(500);
        out.byte(2);
        request.keep(out);
        self.reply.keep(out);
        status.keep(out);
        last.keep(out);
    }

    /// The INVITE, unless it was accepted.
    pub(crate) fn request(&self) -> Option<&Message> {
        self.request.as_ref()
    }

    /// The response that is repeated when the INVITE is.
    pub(crate) fn last(&self) -> Option<&Bytes> {
        match &self.state {
            State::Proceeding { last } | State::Completed { last, .. } => Some(last),
            State::Confirmed | State::Accepted | State::Terminated => None,
        }
    }

    pub(crate) fn reply(&self) -> Flow {
        self.reply
    }

    /// Moves the replies to another flow, for a stream that closed and was opened again.
    pub(crate) fn set_reply(&mut self, reply: Flow) {
        self.reply = reply;
    }

    pub(crate) fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }

    pub(crate) fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// The same INVITE came again.
    pub(crate) fn receive_again(&mut self, cx: &mut Context<'_>) {
        if let Some(last) = self.last() {
            cx.transmit(self.reply, last.clone());
        }
    }

    /// An ACK that matches this transaction: it acknowledges a failure.
    pub(crate) fn receive_ack(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.state, State::Completed { .. }) {
            return;
        }
        cx.stop(&mut self.timer);
        cx.stop(&mut self.give_up);
        if self.reliable {
            self.state = State::Terminated;
        } else {
            self.timer = Some(cx.start(Letter::I, cx.timing.t4));
            self.state = State::Confirmed;
        }
    }

    /// Ends without waiting for the ACK.
    pub(crate) fn forget(&mut self, cx: &mut Context<'_>) {
        cx.stop(&mut self.timer);
        cx.stop(&mut self.give_up);
        self.state = State::Terminated;
    }

    /// Sends a response of the layer above. After a final one, further ones are ignored.
    pub(crate) fn respond(&mut self, cx: &mut Context<'_>, status: u16, response: Bytes) {
        if !self.is_proceeding() {
            return;
        }
        cx.transmit(self.reply, response.clone());
        match status {
            0..200 => self.state = State::Proceeding { last: response },
            200..300 => {
                self.timer = Some(cx.start(Letter::L, cx.timing.give_up()));
                self.request = None;
                self.state = State::Accepted;
            }
            _ => {
                let interval = cx.timing.t1;
                if !self.reliable {
                    self.timer = Some(cx.start(Letter::G, interval));
                }
                self.give_up = Some(cx.start(Letter::H, cx.timing.give_up()));
                self.state = State::Completed {
                    last: response,
                    interval,
                };
            }
        }
    }

    pub(crate) fn fire(&mut self, cx: &mut Context<'_>, letter: Letter) {
        match (letter, &mut self.state) {
            (Letter::G, State::Completed { last, interval }) => {
                *interval = (*interval * 2).min(cx.timing.t2);
                cx.transmit(self.reply, last.clone());
                self.timer = Some(cx.start(Letter::G, *interval));
            }
            (Letter::H, State::Completed { .. })
            | (Letter::I, State::Confirmed)
            | (Letter::L, State::Accepted) => {
                cx.stop(&mut self.timer);
                cx.stop(&mut self.give_up);
                self.state = State::Terminated;
            }
            _ => {}
        }
    }
}
