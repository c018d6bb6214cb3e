//! The server transaction of every request but INVITE and ACK: RFC 3261 §17.2.2 (figure 8).

use bytes::Bytes;

use super::timers::{Letter, TimerId};
use super::{Context, Fired};
use crate::endpoint::Flow;
use crate::message::Message;

enum State {
    /// The layer above has said nothing yet: repetitions of the request are dropped.
    Trying,
    /// A provisional went out and is repeated when the request is.
    Proceeding {
        last: Bytes,
    },
    /// The final response went out and is repeated when the request is.
    Completed {
        last: Bytes,
    },
    Terminated,
}

/// One request that came in.
pub(crate) struct RequestServer {
    state: State,
    reply: Flow,
    reliable: bool,
    /// Nobody asks for it once the final response is out.
    request: Option<Message>,
    /// The patience with the layer above at first, J later.
    timer: Option<TimerId>,
}

impl RequestServer {
    pub(crate) fn start(
        cx: &mut Context<'_>,
        reply: Flow,
        reliable: bool,
        request: Message,
    ) -> Self {
        let timer = Some(cx.start(Letter::Unanswered, cx.timing.give_up()));
        Self {
            state: State::Trying,
            reply,
            reliable,
            request: Some(request),
            timer,
        }
    }

    /// The request, as long as it has no final response.
    pub(crate) fn request(&self) -> Option<&Message> {
        self.request.as_ref()
    }

    /// The response that is repeated when the request is.
    pub(crate) fn last(&self) -> Option<&Bytes> {
        match &self.state {
            State::Proceeding { last } | State::Completed { last } => Some(last),
            State::Trying | State::Terminated => None,
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

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding { .. })
    }

    /// The same request came again.
    pub(crate) fn receive_again(&mut self, cx: &mut Context<'_>) {
        if let Some(last) = self.last() {
            cx.transmit(self.reply, last.clone());
        }
    }

    /// Sends a response of the layer above. After a final one, further ones are ignored.
    pub(crate) fn respond(&mut self, cx: &mut Context<'_>, status: u16, response: Bytes) {
        if !self.is_open() {
            return;
        }
        cx.transmit(self.reply, response.clone());
        if status < 200 {
            self.state = State::Proceeding { last: response };
            return;
        }
        cx.stop(&mut self.timer);
        self.request = None;
        if self.reliable {
            self.state = State::Terminated;
        } else {
            self.timer = Some(cx.start(Letter::J, cx.timing.give_up()));
            self.state = State::Completed { last: response };
        }
    }

    pub(crate) fn fire(&mut self, letter: Letter) -> Fired {
        match (letter, &self.state) {
            (Letter::J, State::Completed { .. }) => {
                self.state = State::Terminated;
                Fired::Nothing
            }
            (Letter::Unanswered, State::Trying | State::Proceeding { .. }) => Fired::TimedOut,
            _ => Fired::Nothing,
        }
    }
}
